/** No secret comes out: each secret option in every shape, through every face, in every way to fail. */
import { readFileSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer as createRawServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted } from "effect"
import { Registry as PromRegistry } from "prom-client"
import { afterAll, beforeAll, vi } from "vitest"
import * as ConsulAgent from "../src/ConsulAgent.js"
// Which options are secret is no part of what is public.
import type { variables as allVariables } from "../src/core/consul/environment.js"
import type { workerOptions } from "../src/core/server/serverOptions.js"
import type { Group, Secret } from "../src/core/util/options.js"
import type { agentOptions as allAgentOptions } from "../src/effect/consul/options.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { ServiceDiscovery } from "../src/ServiceDiscovery.js"
import { canary, fullLog, outputOf, piecesIn, shapes, texts, visibleText } from "./support/canary.js"
import { type Certificate, encrypted, selfSigned, temporaryFiles } from "./support/certificates.js"
import { runFixture } from "./support/childProcess.js"
import { startConsulAgentStub, there } from "./support/consulAgentStub.js"
import { bearer, hashOf } from "./support/credentials.js"
import { ask, eventually } from "./support/httpClient.js"
import { serverKinds, started, workerUrl } from "./support/servers.js"
import { freePorts } from "./support/services.js"
import { root } from "./support/snippets.js"

let own: Certificate
let locked: string
const hash = hashOf("an ordinary password")

// What plain promises say goes to the console by default.
const said: Array<string> = []

beforeAll(async () => {
  own = await selfSigned()
  locked = encrypted(own.key, "another passphrase")
  for (const level of ["log", "info", "warn", "error", "debug"] as const) {
    vi.spyOn(console, level).mockImplementation((...all) => void said.push(visibleText(all)))
  }
})

afterAll(() => {
  vi.restoreAllMocks()
})

const base = { host: "127.0.0.1", workerUrl, shutdownTimeout: "1 second" } as const

/** The names of the options of a set whose declared type has a secret. An option that is missing below fails the check. */
type SecretNames<S> = {
  [K in keyof S & string]: S[K] extends { readonly input?: infer In } ? SecretName<K, NonNullable<In>> : never
}[keyof S & string]
type SecretName<K extends string, In> =
  In extends Group<infer S>
    ? `${K}.${SecretNames<S>}`
    : In extends Secret | ReadonlyArray<Secret> | Readonly<Record<string, Secret>>
      ? K
      : never

type ServerOption = `MetricsServer.${SecretNames<typeof workerOptions>}`
type Put = (value: unknown) => object

/** Where a secret goes, on purpose and by mistake. */
const serverOptions: Readonly<Record<ServerOption, ReadonlyArray<Put>>> = {
  "MetricsServer.tls.key": [
    (value) => ({ tls: { key: value, cert: own.cert } }),
    (value) => ({ tls: { key: own.key, cert: value } }),
    (value) => ({ tls: { ...own, ca: value } }),
    (value) => ({ tls: value })
  ],
  "MetricsServer.tls.passphrase": [
    (value) => ({ tls: { key: locked, cert: own.cert, passphrase: value } }),
    (value) => ({ tls: { ...own, passphrase: value, minVersion: "TLSv1" } })
  ],
  "MetricsServer.authentication.users": [
    (value) => ({ authentication: { users: { scraper: value } } }),
    (value) => ({ authentication: { users: value } }),
    (value) => ({ authentication: { users: { [`user:${String(textOf(value))}`]: hash } } }),
    (value) => ({ authentication: value })
  ],
  "MetricsServer.authentication.tokens": [
    (value) => ({ authentication: { tokens: [value] } }),
    (value) => ({ authentication: { tokens: value } }),
    (value) => ({ authentication: { tokens: ["0123456789abcdef", value] } })
  ]
}

const textOf = (value: unknown): unknown => {
  try {
    return typeof value === "string" ? value : Redacted.isRedacted(value) ? Redacted.value(value) : ""
  } catch {
    return ""
  }
}

// A certificate is no secret, and what ends as its file does is shown; so is the name of a user.
const isShown = (shape: string, option: string, place: number): boolean =>
  (shape === "a file name" && option.endsWith("tls.key") && (place === 1 || place === 2)) ||
  (shape === "an object called so" && option.endsWith("users") && place === 1)

type Options = MetricsServer.WorkerOptions

// Whatever is accepted is asked for something, and closed.
const layered = (layer: Layer.Layer<MetricsServer.MetricsServer, unknown>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { MetricsServer: tag } = MetricsServer
      const server = yield* Effect.provide(tag, yield* Layer.build(layer))
      const { body, headers } = yield* Effect.tryPromise(() =>
        ask(server.url, { headers: bearer("fedcba9876543210"), ca: own.cert })
      )
      return [server, body, headers]
    })
  ).pipe(Effect.provide(Registry.layer(new PromRegistry())))

const handled = async (handle: Promise<Promises.RunningServer>) => {
  const server = await handle
  await server.close()
  return server
}

const configured = (options: object) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [name, Config.succeed(value)])) as never

const promised = (act: () => Promise<unknown>) => Effect.tryPromise({ try: act, catch: (error) => error })

const serverFaces: Readonly<Record<string, (options: Options) => Effect.Effect<unknown, unknown>>> = {
  "MetricsServer.layer": (options) => layered(MetricsServer.layer(options)),
  "MetricsServer.layerConfig": (options) => layered(MetricsServer.layerConfig(configured(options))),
  "MetricsServer.layerWorker": (options) => layered(MetricsServer.layerWorker(options)),
  "MetricsServer.layerWorkerConfig": (options) => layered(MetricsServer.layerWorkerConfig(configured(options))),
  "MetricsServer.validate": MetricsServer.validate,
  "Promises.validateServerOptions": (options) => promised(() => Promises.validateServerOptions(options)),
  "Promises.startHttpServer": (options) =>
    promised(() => handled(Promises.startHttpServer({ ...options, registry: new PromRegistry() }))),
  "Promises.startHttpServerInThread": (options) =>
    promised(() => handled(Promises.startHttpServerInThread({ ...options, registry: new PromRegistry() })))
}

// What is accepted starts a server; a worker is only started for some of these.
const isInThread = (face: string): boolean => /Worker|Thread/.test(face)
const inThread = new Set(["a short text", "a text redacted twice", "a text that is long", "PEM that is broken"])

const assertKept = (out: string, what: string): void => {
  assert.deepStrictEqual(piecesIn(out), [], `${what}: ${out.slice(0, 2_000)}`)
  assert.isAbove(out.length, 0)
}

describe("A secret of a metrics server", () => {
  for (const [option, puts] of Object.entries(serverOptions)) {
    for (const [face, start] of Object.entries(serverFaces)) {
      it.live(`in ${option} does not come out of ${face}`, () =>
        Effect.gen(function* () {
          for (const [shape, value] of Object.entries(shapes)) {
            for (const [place, put] of puts.entries()) {
              if (isShown(shape, option, place)) continue
              const options = { ...base, ...put(value) } as Options
              // As the other faces, unless it is accepted.
              if (isInThread(face) && !inThread.has(shape)) {
                const checked = yield* Effect.exit(MetricsServer.validate(options))
                if (checked._tag === "Success") continue
              }
              said.length = 0
              const out = yield* outputOf(start(options))
              assertKept([out, ...said].join("\n"), `${shape}, place ${place}`)
            }
          }
        })
      )
    }
  }

  it.live("in MetricsServer.hashPassword does not come out of it, nor of that for promises", () =>
    Effect.gen(function* () {
      for (const [shape, value] of Object.entries(shapes)) {
        // What is accepted takes its time.
        if (/, redacted$|of PEM|base64/.test(shape)) continue
        assertKept(yield* outputOf(MetricsServer.hashPassword(value as string)), shape)
        if (typeof value === "string") continue
        assertKept(yield* outputOf(promised(() => Promises.hashPassword(value as string))), shape)
      }
    })
  )

  for (const kind of serverKinds) {
    it.scopedLive(`in a file that is broken later does not come out of the log of one ${kind.name}`, () =>
      Effect.gen(function* () {
        const paths = yield* temporaryFiles({ ...own })
        const { inPlace, lines } = fullLog()
        const server = yield* inPlace(
          started(kind, { tls: { ...paths, key: Redacted.make(paths.key), reloadInterval: "10 millis" } })
        )
        const errors = () => server.lines.filter(({ level }) => level === "ERROR")
        for (const [shape, text] of Object.entries(texts)) {
          const before = errors().length
          writeFileSync(paths.key, text)
          yield* eventually("it is said", async () => errors().length > before)
          assert.include(errors().at(-1)?.message, paths.key, shape)
          assertKept([...lines, visibleText(server.lines)].join("\n"), shape)
        }
      })
    )
  }
})

// Besides the declared secrets, those options whose values may contain one.
type AgentOption = `ConsulAgent.${SecretNames<typeof allAgentOptions> | "address" | "token" | "check.url"}`

const agentOptions: Readonly<Record<AgentOption, ReadonlyArray<Put>>> = {
  "ConsulAgent.address": [(value) => ({ address: value })],
  "ConsulAgent.token": [
    (value) => ({ token: value }),
    (value) => ({ token: Effect.succeed(value) }),
    (value) => ({ token: Effect.suspend(() => Effect.fail(value)) }),
    (value) => ({ token: Effect.suspend(() => Effect.die(value)) })
  ],
  "ConsulAgent.auth": [(value) => ({ auth: value })],
  "ConsulAgent.tls.key": [
    (value) => ({ tls: { key: value, cert: own.cert } }),
    (value) => ({ tls: { key: own.key, cert: value } }),
    (value) => ({ tls: { ca: value } }),
    (value) => ({ tls: value })
  ],
  "ConsulAgent.check.url": [(value) => ({ check: { url: value } }), (value) => ({ check: value })],
  "ConsulAgent.check.header": [
    (value) => ({ check: { header: { authorization: value } } }),
    (value) => ({ check: { header: value } }),
    (value) => ({ check: { header: { [`authorization: ${String(textOf(value))}`]: "x" } } })
  ]
}

type PublicVariable = "ssl" | "verify" | "ca" | "cert" | "serverName" | "namespace"
type Variable = `environment.${(typeof allVariables)[Exclude<keyof typeof allVariables, PublicVariable>]}`

const variables: Readonly<Record<Variable, (value: string) => Readonly<Record<string, string>>>> = {
  "environment.CONSUL_HTTP_ADDR": (value) => ({ CONSUL_HTTP_ADDR: value }),
  "environment.CONSUL_HTTP_TOKEN": (value) => ({ CONSUL_HTTP_TOKEN: value }),
  "environment.CONSUL_HTTP_TOKEN_FILE": (value) => ({ CONSUL_HTTP_TOKEN_FILE: value }),
  "environment.CONSUL_HTTP_AUTH": (value) => ({ CONSUL_HTTP_AUTH: value }),
  "environment.CONSUL_CLIENT_KEY": (value) => ({ CONSUL_CLIENT_KEY: value, CONSUL_CLIENT_CERT: own.cert })
}

// Addresses where nothing listens may be shown as they are: with no place for a password, what is in them is a host.
const isHost = (value: unknown): boolean =>
  typeof value === "string" && /^[\w.:/→✓-]+$/u.test(value) && !/user:/.test(value)

const registering = (layer: Layer.Layer<ServiceDiscovery, unknown>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const discovery = yield* Effect.provide(ServiceDiscovery, yield* Layer.build(layer))
      yield* discovery.register(there)
      return discovery
    })
  )

const agentFaces: Readonly<Record<string, (options: ConsulAgent.Options) => Effect.Effect<unknown, unknown>>> = {
  "ConsulAgent.layer": (options) => registering(ConsulAgent.layer(options)),
  "ConsulAgent.layerConfig": (options) => registering(ConsulAgent.layerConfig(configured(options))),
  "ConsulAgent.layerEnv": (options) => registering(ConsulAgent.layerEnv(options)),
  "Promises.consulAgent": (options) =>
    promised(async () => {
      const discovery = Promises.consulAgent(options)
      const takeBack = await discovery.register(there)
      await takeBack?.()
      return discovery
    }),
  "Promises.startHttpServer": (options) =>
    promised(() =>
      handled(
        Promises.startHttpServer({
          host: "127.0.0.1",
          registry: new PromRegistry(),
          serviceDiscovery: Promises.consulAgent(options)
        })
      )
    )
}

/** How an agent repeats what it was sent, or a piece of it. */
const repeats: Readonly<Record<string, (sent: string) => string>> = {
  "as it is": (sent) => sent,
  "in lines, with escapes": (sent) => `\u001b[31m${sent.replace(/.{5}/g, "$&\r\n")}\u001b[0m`,
  "in base64": (sent) => Buffer.from(sent).toString("base64"),
  "in base64, a character later": (sent) => Buffer.from(`x${sent}`).toString("base64url"),
  "in hexadecimal digits": (sent) => Buffer.from(sent).toString("hex").toUpperCase(),
  "URL-encoded": (sent) => encodeURIComponent(sent.replace(/\p{Cs}/gu, "")),
  "in JSON": (sent) => JSON.stringify({ sent }),
  "a piece of it": (sent) => canaryPieces(sent),
  "in capitals": (sent) => sent.toUpperCase(),
  "a thousand times": (sent) => `${sent} `.repeat(1_000).slice(0, 1_000_000),
  "behind much else": (sent) => `${"much else ".repeat(45)}${sent}`,
  "where it is cut": (sent) => `${"x".repeat(490)}${sent}`
}

const canaryPieces = (sent: string): string =>
  sent.includes(canary) ? `${canary.slice(2, 9)}... ...${canary.slice(8)}` : sent

// What reaches an agent: the headers and the body, base64 of HTTP taken off.
const sentOf = (headers: object, body: string): string => {
  const { authorization = "" } = headers as { readonly authorization?: string }
  return `${JSON.stringify(headers)} ${Buffer.from(authorization.replace(/^Basic /, ""), "base64")} ${body}`
}

describe("A secret of a Consul agent", () => {
  for (const [option, puts] of Object.entries(agentOptions)) {
    for (const [face, start] of Object.entries(agentFaces)) {
      it.scopedLive(`in ${option} does not come out of ${face}, wrong or repeated by the agent`, () =>
        Effect.gen(function* () {
          let repeat = (sent: string): string => sent
          const { address } = yield* startConsulAgentStub(({ body, method }, response, request) => {
            if (method === "GET") return false
            response.writeHead(400, { "content-type": "text/plain" }).end(repeat(sentOf(request.headers, body)))
            return true
          })
          const ways = Object.entries(repeats)
          let next = 0
          for (const [shape, value] of Object.entries(shapes)) {
            if (option === "ConsulAgent.address" && isHost(value)) continue
            for (const [place, put] of puts.entries()) {
              if (isShown(shape, option, place)) continue
              const [how, way] = ways[next % ways.length] as (typeof ways)[number]
              next += 1
              repeat = way
              said.length = 0
              const out = yield* outputOf(
                start({ address, timeout: "2 seconds", ...put(value) } as ConsulAgent.Options)
              )
              assertKept([out, ...said].join("\n"), `${shape}, place ${place}, ${how}`)
            }
          }
        })
      )
    }
  }

  for (const [variable, put] of Object.entries(variables)) {
    it.scopedLive(`in ${variable} does not come out, wrong or repeated by the agent`, () =>
      Effect.gen(function* () {
        let repeat = (sent: string): string => sent
        const { address } = yield* startConsulAgentStub(({ body, method }, response, request) => {
          if (method === "GET") return false
          response.writeHead(400).end(repeat(sentOf(request.headers, body)))
          return true
        })
        const ways = Object.entries(repeats)
        const content = yield* temporaryFiles({ content: "" })
        for (const [index, [shape, text]] of Object.entries(texts).entries()) {
          if (variable.endsWith("ADDR") && isHost(text)) continue
          const [how, way] = ways[index % ways.length] as (typeof ways)[number]
          repeat = way
          writeFileSync(content.content, text)
          const given = put(text)
          const withFile = "CONSUL_HTTP_TOKEN_FILE" in given ? [given, put(content.content)] : [given]
          for (const values of withFile) {
            const environment = { CONSUL_HTTP_ADDR: address, ...values }
            const provider = Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
            const layer = ConsulAgent.layerEnv({ timeout: "2 seconds" })
            const out = yield* outputOf(registering(Layer.provide(layer, provider)))
            assertKept(out, `${shape}, ${how}`)
            if (Object.values(environment).some((value) => value.includes("\0") || /\p{Cs}/u.test(value))) continue
            said.length = 0
            const ofProcess = yield* outputOf(
              promised(async () => {
                for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
                try {
                  const takeBack = await Promises.consulAgentFromEnv({ timeout: "2 seconds" }).register(there)
                  await takeBack?.()
                } finally {
                  vi.unstubAllEnvs()
                }
              })
            )
            assertKept([ofProcess, ...said].join("\n"), `${shape}, ${how}, of the process`)
          }
        }
      })
    )
  }

  const secrets = {
    token: canary,
    auth: Redacted.make(`user:${canary}`),
    check: { header: { authorization: canary }, url: `http://user:${canary}@127.0.0.1/?token=${canary}` }
  }

  for (const [how, way] of Object.entries(repeats)) {
    it.scopedLive(`does not come out where the agent repeats it in place of a service, ${how}`, () =>
      Effect.gen(function* () {
        for (const service of [
          (sent: string) => sent,
          (sent: string) => JSON.stringify({ Service: sent, Tags: [sent], Address: sent, Port: 1, Meta: { sent } })
        ]) {
          let count = 0
          const { address } = yield* startConsulAgentStub(({ body, method }, response, request) => {
            count += 1
            if (method !== "GET" || count === 1) return false
            response.end(service(way(sentOf(request.headers, body))))
            return true
          })
          for (const required of [true, false]) {
            count = 0
            const layer = ConsulAgent.layer({ address, ...secrets, required, watchInterval: "10 millis" })
            const held = Effect.scoped(
              Effect.flatMap(Layer.build(layer), (context) =>
                Effect.flatMap(Effect.provide(ServiceDiscovery, context), ({ register }) =>
                  Effect.zipRight(
                    register(there),
                    eventually("it is looked at again", async () => count > 8)
                  )
                )
              )
            )
            const out = yield* outputOf(held)
            assertKept(out, how)
            assert.notInclude(out, "\u001b")
          }
        }
      })
    )
  }

  it.scopedLive("does not come out where the answer is no HTTP, or is cut, or does not come", () =>
    Effect.gen(function* () {
      const answers = [
        (sent: string) => sent,
        (sent: string) => `HTTP/1.1 400 ${sent.split("\r\n").join(" ")}\r\n\r\n`,
        () => `HTTP/1.1 400 ${canary}\r\nx: ${canary}\r\ncontent-length: 3\r\n\r\nno!`,
        () => `HTTP/1.1 200 ${canary}\r\n${canary}\r\n\r\n`,
        () => `HTTP/1.1 200 OK\r\n${canary}: ${canary}\u0000\r\n\r\n`,
        () => `HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n${canary}`,
        () => `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${canary}\r\n`,
        () => `HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/${canary}\r\ncontent-length: 0\r\n\r\n`,
        () => ""
      ]
      for (const answer of answers) {
        const server = createRawServer((socket) => {
          socket.on("error", () => {})
          socket.on("data", (sent) => socket.end(answer(String(sent))))
        })
        yield* Effect.async<void>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.void))
        })
        const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
        const out = yield* outputOf(registering(ConsulAgent.layer({ address, ...secrets, timeout: "2 seconds" })))
        server.close()
        assertKept(out, String(answer))
      }
      const [port = 0] = yield* freePorts(1)
      assertKept(
        yield* outputOf(registering(ConsulAgent.layer({ address: `127.0.0.1:${port}`, ...secrets }))),
        "no answer"
      )
    })
  )
})

describe("A process", () => {
  it.live("that ends for a secret that is wrong writes nothing of it to its log", () =>
    Effect.gen(function* () {
      for (const how of ["promises", "layer", "config", "consul"]) {
        for (const shape of ["a short text", "its base64 with a mark", "PEM with literal line ends", "JSON text"]) {
          const secret = texts[shape] as string
          const { code, stderr, stdout } = yield* runFixture("wrongSecret.mjs", {
            args: [how],
            env: { SECRET: secret, CERTIFICATE: own.cert }
          })
          assert.notStrictEqual(code, 0)
          assert.include(stderr + stdout, how === "consul" ? "Consul agent" : "tls.key")
          assertKept(stderr + stdout, `${how}, ${shape}`)
        }
      }
    })
  )
})

describe("The secrets that are searched for", () => {
  it("are at least those that the documentation calls secret", () => {
    const rows = readFileSync(join(root, "docs/options.md"), "utf8").matchAll(
      /^\| `(\S+?)`[^|]* \| (.+?) \|.*?\| [^|]*\bsecrets?\b[^|]* \|[^|]*\|$/gm
    )
    const named = [...rows].flatMap(([, layer = "", names = ""]) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => `${layer}.${name}`)
    )
    assert.isAtLeast(named.length, 6)
    const others = ["MetricsServer.tls.cert", "ConsulAgent.tls.cert"]
    for (const name of named) assert.include([...Object.keys({ ...serverOptions, ...agentOptions }), ...others], name)
  })
})
