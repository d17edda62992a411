/** What is shown of an agent's answer, and of texts in options: one short line. */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { ServiceDiscovery } from "../src/ServiceDiscovery.js"
import { startConsulAgentStub, there } from "./support/consulAgentStub.js"
import { eventually } from "./support/httpClient.js"
import { logging, refused, serverKinds, started } from "./support/servers.js"
import { assertWithin } from "./support/timing.js"

const token = "7c2b6bd4-6f5c-4ac5-9c33-3c6ccd0f2a11"
const base64 = (text: string): string => Buffer.from(text).toString("base64")

interface Row {
  readonly title: string
  readonly body: string | Buffer
  /** What is left of it. Where it is cut: with what it begins. */
  readonly shown: string
  readonly isCut?: true
}

const rows: ReadonlyArray<Row> = [
  { title: "as Consul answers", body: "No cluster leader\n", shown: "No cluster leader" },
  { title: "nothing", body: "", shown: "" },
  { title: "lines alone", body: "\r\n\n", shown: "" },
  {
    title: "lines, one of them forged",
    body: 'denied\r\nlevel=INFO message="all is well"',
    shown: 'denied level=INFO message="all is well"'
  },
  { title: "the escapes of a terminal", body: "\u001b[31mdenied\u001b[0m\u001b[2J!", shown: "denied!" },
  { title: "the title of a window", body: "denied\u001b]0;owned\u0007!", shown: "denied ]0;owned !" },
  { title: "C1 control characters", body: "denied\u009b31m!", shown: "denied 31m!" },
  { title: "NUL and backspaces", body: "denied\0\b\b\bok", shown: "denied ok" },
  { title: "text from right to left", body: "denied \u202eko\u202c", shown: "denied  ko" },
  { title: "separators of lines", body: "denied\u2028and\u2029so", shown: "denied and so" },
  { title: "letters of all kinds", body: "zurückgewiesen 拒否 🚫", shown: "zurückgewiesen 拒否 🚫" },
  { title: "bytes that are no text", body: Buffer.from([0xff, 0xfe, 0x41]), shown: "��A" },
  { title: "a mebibyte", body: "x".repeat(1_000_000), shown: "x".repeat(500), isCut: true },
  { title: "a mebibyte of line ends", body: "\n".repeat(1_000_000), shown: "", isCut: true },
  {
    title: "a mebibyte with the token at its end",
    body: "y".repeat(900_000) + token,
    shown: "y".repeat(500),
    isCut: true
  },
  { title: "the token again and again", body: `${token} `.repeat(20_000), shown: "<redacted> <redacted>", isCut: true },
  { title: "the token", body: `no ACL for ${token}!`, shown: "no ACL for <redacted>!" },
  { title: "the token in capitals", body: `no ACL for ${token.toUpperCase()}!`, shown: "no ACL for <redacted>!" },
  { title: "a piece of the token", body: `no ACL for ${token.slice(0, 8)}…`, shown: "no ACL for <redacted>…" },
  { title: "the end of the token", body: `no ACL for …${token.slice(-9)}`, shown: "no ACL for …<redacted>" },
  { title: "the token in base64", body: `no ACL for ${base64(token)}`, shown: "no ACL for <redacted>" },
  {
    title: "the token in lines",
    body: `no ACL for ${token.replace(/.{4}/g, "$&\n")}!`,
    shown: "no ACL for <redacted> !"
  },
  { title: "the token URL-encoded", body: "no user%3Aswordf%C3%AEsh", shown: "no <redacted>" },
  { title: "the token in hexadecimal digits", body: Buffer.from(token).toString("hex"), shown: "<redacted>" },
  { title: "the password", body: "no swordfîsh", shown: "no <redacted>" },
  { title: "the password in JSON of ASCII alone", body: '{"no":"swordf\\u00EEsh"}', shown: '{"no":"<redacted>"}' },
  { title: "six characters of the token", body: `no ${token.slice(3, 9)}`, shown: "no <redacted>" },
  { title: "five characters of the token", body: `no ${token.slice(3, 8)}`, shown: `no ${token.slice(3, 8)}` }
]

const assertLine = (text: string, most = 1_000): void => {
  assert.notMatch(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  assert.isBelow(text.length, most, text)
}

const secrets = { token: Redacted.make(token), auth: Redacted.make("user:swordfîsh") }

const registering = (options: ConsulAgent.Options) =>
  Effect.scoped(Effect.flatMap(ConsulAgent.make({ ...secrets, ...options }), ({ register }) => register(there)))

describe("The answer of a Consul agent", () => {
  for (const { body, isCut, title, shown } of rows) {
    it.scopedLive(`that has ${title} is shown in one short line without secrets`, () =>
      Effect.gen(function* () {
        for (const status of [403, 200]) {
          const { address } = yield* startConsulAgentStub(({ method }, response) => {
            // A service is what is expected with 200.
            if (method === "GET" && status === 403) return false
            response.writeHead(status).end(body)
            return true
          })
          const error = yield* Effect.flip(registering({ address, required: true }))
          assert.strictEqual(error.reason, "Refused")
          assert.strictEqual(error.status, status)
          if (isCut === true) {
            assert.isTrue(error.body?.startsWith(shown), error.body)
            const [ending = ""] = /… \(\d+ characters\)$/.exec(error.body ?? "") ?? []
            assert.notStrictEqual(ending, "")
            assert.isAtMost((error.body?.length ?? 0) - ending.length, 500)
          } else assert.strictEqual(error.body, shown)
          if (status === 403) assert.include(error.message, shown)
          assertLine(error.message)
          assertLine(error.body ?? "")
          const { layer, lines } = logging()
          yield* Effect.provide(registering({ address }), layer)
          assert.isNotEmpty(lines)
          for (const { message } of lines) assertLine(message)
          const said: Array<string> = []
          const thrown = yield* Effect.promise(() =>
            Promises.startHttpServer({
              host: "127.0.0.1",
              registry: new PromRegistry(),
              log: (_, message) => void said.push(message),
              serviceDiscovery: Promises.consulAgent({ ...secrets, address, required: true })
            }).catch((error) => error)
          )
          assert.strictEqual(thrown.body, error.body)
          for (const line of [thrown.message, ...said]) assertLine(line)
        }
      })
    )
  }

  it.scopedLive("that is another service is shown in one short line, in the error and in the log", () =>
    Effect.gen(function* () {
      const other = {
        Service: "x\ny".repeat(100_000),
        Address: `10.0.0.7\n\u001b[31m${token}`,
        Port: 1,
        Tags: ["a\nb", token, "t".repeat(100_000)],
        Meta: { "\n": token }
      }
      for (const verify of [true, false]) {
        const { address, requests } = yield* startConsulAgentStub(({ method }, response) => {
          if (method === "GET") response.end(JSON.stringify(other))
          return method === "GET"
        })
        const { layer, lines } = logging()
        const options = { address, verify, watchInterval: "10 millis", token, required: true } as const
        const outcome = yield* Effect.provide(
          Effect.scoped(
            Effect.gen(function* () {
              const { register } = yield* ConsulAgent.make(options)
              yield* register(there)
              yield* eventually("it looks again", async () => requests.length > 6)
            })
          ),
          layer
        ).pipe(Effect.either)
        if (verify) {
          assert.strictEqual(outcome._tag, "Left")
          if (outcome._tag === "Left") {
            assertLine(String(outcome.left), 4_000)
            assert.notInclude(inspect(outcome.left), token.slice(0, 8))
            assert.include(String(outcome.left), "instead of")
          }
        }
        assert.isNotEmpty(lines)
        for (const { message } of lines) {
          assertLine(message, 2_000)
          assert.notInclude(message, token.slice(0, 8))
        }
      }
    })
  )

  it.scopedLive("that comes a byte at a time is waited for no longer than timeout", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub((_, response) => {
        const timer = setInterval(() => response.write("x"), 20)
        response.on("close", () => clearInterval(timer))
        return true
      })
      const start = performance.now()
      const error = yield* Effect.flip(registering({ address, timeout: "300 millis", required: true }))
      assert.strictEqual(error.reason, "Timeout")
      assertWithin(performance.now() - start, 5_000)
    })
  )
})

/** What cannot be seen, and what is too long to be read. */
const odd = ["a\nb", "a\u001b[31mb", "a\u202eb", "a\u2028b", "a\u009bb", "a\rb", `a${"b".repeat(1_000_000)}`]

describe("Texts in the options of a Consul agent", () => {
  it.scopedLive("are in one short line of the error that refuses them", () =>
    Effect.gen(function* () {
      for (const text of odd) {
        const wrong: ReadonlyArray<object> = [
          { address: text },
          { address: `unix://${text}` },
          { name: text, tags: [`${text},`] },
          { serviceId: `${text}\ud800` },
          { meta: { [text]: "" } },
          { meta: { a: [text] } },
          { advertise: { address: `${text}/` } },
          { advertise: { port: text } },
          { timeout: text },
          { watchInterval: text },
          { required: text },
          { tls: { serverName: [text] } },
          { tls: { verify: text } },
          { tls: { ca: `/nowhere/${text}` } },
          { check: { interval: text } },
          { check: { ttl: text } },
          { check: { url: text } },
          { check: { header: { [text]: "" } } },
          { [text]: 1 },
          { tls: { [text]: 1 } }
        ]
        for (const options of wrong) {
          const error = yield* Effect.flip(Effect.scoped(ConsulAgent.make(options)))
          assert.strictEqual(error.reason, "InvalidOptions")
          assertLine(error.message)
        }
      }
    })
  )

  it.scopedLive("are in one short line of what is logged of them", () =>
    Effect.gen(function* () {
      for (const text of odd) {
        const agent = yield* startConsulAgentStub()
        const { layer, lines } = logging()
        const server = MetricsServer.layer({ host: "127.0.0.1" }).pipe(
          Layer.provide(ConsulAgent.layer({ address: agent.address, name: text, tags: [text], serviceId: text })),
          Layer.provide(Registry.layer(new PromRegistry())),
          Layer.provide(layer)
        )
        yield* Effect.either(Effect.scoped(Layer.build(server)))
        for (const { message } of lines) assertLine(message, 2_000)
        const broken = yield* startConsulAgentStub((_, response) => {
          response.writeHead(500).end("no")
          return true
        })
        const discovery = ConsulAgent.layer({
          address: broken.address,
          serviceId: text,
          required: true,
          meta: { a: text.slice(0, 99) }
        })
        const error = yield* Effect.flip(
          Effect.scoped(
            Effect.flatMap(Layer.build(discovery), (context) =>
              Effect.flatMap(Effect.provide(ServiceDiscovery, context), ({ register }) => register(there))
            )
          )
        )
        assertLine(error.message)
      }
    })
  )
})

for (const kind of serverKinds) {
  describe(`Texts in the options of a metrics server ${kind.name}`, () => {
    it.scopedLive("are in one short line of the error that refuses them", () =>
      Effect.gen(function* () {
        for (const text of odd) {
          const wrong: ReadonlyArray<object> = [
            { host: text },
            { host: `${text}%eth0` },
            { host: [text] },
            { port: text },
            { path: text },
            { path: `/${text} ` },
            { grace: text },
            { scrapeTimeout: text },
            { maxConnections: text },
            { explorer: text },
            { [text]: 1 },
            { tls: { key: `/nowhere/${text}`, cert: "" } },
            { tls: { key: "k", cert: "c", minVersion: text } },
            { tls: { key: "k", cert: "c", ca: "a", allowedNames: [`fe80::1%${text}`] } },
            { authentication: { users: { [text]: "no hash" } } },
            { authentication: { tokens: [`${text} `] } }
          ]
          for (const options of wrong) {
            const error = yield* refused(started(kind, options))
            assertLine(error.message)
          }
        }
      })
    )
  })
}
