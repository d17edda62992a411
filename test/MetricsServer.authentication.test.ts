import { createHook } from "node:async_hooks"
import { scryptSync } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Fiber, Layer, Redacted } from "effect"
import * as MetricsServer from "../src/MetricsServer.js"
import { authority } from "./support/certificates.js"
import { fixture } from "./support/childProcess.js"
import { basic, bearer, cheap, hashOf } from "./support/credentials.js"
import { eventually, get, rawConnection, requestLines } from "./support/httpClient.js"
import type { ServerKind } from "./support/servers.js"
import { inThisThread, inWorker, logging, refused, serverKinds, someMetrics, started } from "./support/servers.js"

const token = "0123456789abcdef"
const password = "correct horse battery staple"
const basicOnly = 'Basic realm="metrics", charset="UTF-8"'
const bearerOnly = 'Bearer realm="metrics"'

type Headers = Readonly<Record<string, string>>

const serving = (kind: ServerKind, authentication: MetricsServer.AuthenticationOptions) =>
  Effect.map(started(kind, { authentication }, { registry: someMetrics() }), (server) => ({
    ...server,
    asked: (headers: Headers = {}, target = "/metrics") =>
      get(server.healthUrl.replace(/\/$/, target), { headers: { ...headers } }),
    status: (headers: Headers = {}, target = "/metrics") =>
      Effect.map(get(server.healthUrl.replace(/\/$/, target), { headers: { ...headers } }), ({ status }) => status)
  }))

const base64 = (text: string): string => Buffer.from(text).toString("base64")

/** Options that require a password. */
const nothing: ReadonlyArray<{ readonly title: string; readonly headers: Headers }> = [
  { title: "no header", headers: {} },
  { title: "an empty header", headers: { authorization: "" } },
  { title: "another scheme", headers: { authorization: `Digest ${base64(`scraper:${password}`)}` } },
  { title: "a scheme alone", headers: { authorization: "Basic" } },
  { title: "a wrong password", headers: basic("scraper", "guess") },
  { title: "the password of another user", headers: basic("scraper", "another password") },
  { title: "the password in another case", headers: basic("scraper", password.toUpperCase()) },
  { title: "the beginning of the password", headers: basic("scraper", password.slice(0, -1)) },
  { title: "an unknown user", headers: basic("nobody", password) },
  { title: "a user whose name every object has", headers: basic("constructor", password) },
  { title: "no password", headers: basic("scraper", "") },
  { title: "no user", headers: basic("", password) },
  { title: "no colon", headers: { authorization: `Basic ${base64("scraper")}` } },
  { title: "nothing in base64", headers: { authorization: "Basic ====" } },
  { title: "text that is no base64", headers: { authorization: "Basic {scraper}" } },
  { title: "the password as it is", headers: { authorization: `Basic scraper:${password}` } },
  { title: "a huge password", headers: basic("scraper", password.repeat(300)) },
  { title: "a token if no tokens are configured", headers: bearer(token) }
]

const invalid: ReadonlyArray<{ readonly title: string; readonly given: unknown; readonly message: string }> = [
  { title: "nothing at all", given: {}, message: "authentication" },
  { title: "empty lists", given: { users: {}, tokens: [] }, message: "authentication" },
  { title: "null", given: null, message: "authentication" },
  { title: "true", given: true, message: "authentication" },
  {
    title: "a misspelt key",
    given: { tokens: [token], user: {} },
    message: "unknown option authentication.user (did you mean users?); the options are users"
  },
  { title: "a password in the place of its hash", given: { users: { scraper: password } }, message: '"scraper"' },
  { title: "a redacted one", given: { users: { scraper: Redacted.make(password) } }, message: '"scraper"' },
  { title: "an invalid hash", given: { users: { scraper: 7 } }, message: '"scraper"' },
  {
    title: "a hash of another kind",
    given: { users: { scraper: "$2y$10$abcdefghijklmnopqrstuv" } },
    message: '"scraper"'
  },
  { title: "a hash that is cheap", given: { users: { a: hashOf(password, { ...cheap, ln: 9 }) } }, message: '"a"' },
  {
    title: "a hash that takes 512 MiB",
    given: { users: { a: hashOf(password).replace("ln=10", "ln=19") } },
    message: '"a"'
  },
  {
    title: "a hash that takes for ever",
    given: { users: { a: hashOf(password).replace("p=1", "p=17") } },
    message: '"a"'
  },
  { title: "a hash that is cut", given: { users: { a: hashOf(password).slice(0, -30) } }, message: '"a"' },
  { title: "an empty name", given: { users: { "": hashOf(password) } }, message: "the name of entry 1" },
  {
    title: "a name with a colon, behind which the password is",
    given: { users: { a: hashOf(password), [`b:${password}`]: hashOf(password) } },
    message: "accents, but it is a string of 30 characters"
  },
  {
    title: "a name with a letter of 31 accents",
    given: { users: { [`a${"\u0301".repeat(31)}`]: hashOf(password) } },
    message:
      "the name of entry 1 must not be empty, and must not contain colons, control characters or letters with more than 30 accents"
  },
  { title: "a name of two lines", given: { users: { "a\nb": hashOf(password) } }, message: "the name of entry 1" },
  {
    title: "one name twice, composed and decomposed",
    given: { users: { "J\u00fcrgen": hashOf(password), "Ju\u0308rgen": hashOf(password) } },
    message: 'contains "J\u00fcrgen" twice'
  },
  { title: "a map of users", given: { users: new Map([["a", hashOf(password)]]) }, message: "authentication.users" },
  { title: "users redacted as a whole", given: { users: Redacted.make({ a: hashOf(password) }) }, message: "redacted" },
  { title: "a list of users", given: { users: [password] }, message: "authentication.users" },
  { title: "a short token", given: { tokens: [token, "correct-horse"] }, message: "authentication.tokens[1]" },
  { title: "a token with a space", given: { tokens: [password] }, message: "authentication.tokens[0]" },
  { title: "an invalid token", given: { tokens: [undefined] }, message: "authentication.tokens[0]" },
  { title: "a token for a list", given: { tokens: token }, message: "authentication.tokens" },
  { title: "yes for true", given: { tokens: [token], openHealthPage: "no" }, message: "authentication.openHealthPage" }
]

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name} with users`, () => {
    it.scopedLive("lets in those who know their password, each of several", () =>
      Effect.gen(function* () {
        const users = { scraper: hashOf(password), "Jürgen B.": Redacted.make(hashOf("pässwörd: ✓")) }
        const { asked } = yield* serving(kind, { users })
        for (const headers of [
          basic("scraper", password),
          basic("Jürgen B.", "pässwörd: ✓"),
          basic("scraper", password),
          { authorization: basic("scraper", password).authorization.replace("Basic", "bAsIc") }
        ]) {
          const { body, headers: responseHeaders, status } = yield* asked(headers)
          assert.strictEqual(status, 200)
          assert.include(body, "jobs_total 3\n")
          assert.notProperty(responseHeaders, "www-authenticate")
        }
      })
    )

    it.scopedLive("answers requests without valid credentials with 401 on every path, without details", () =>
      Effect.gen(function* () {
        const users = { scraper: hashOf(password), other: hashOf("another password") }
        const { address, asked, lines } = yield* serving(kind, { users })
        // Also once a password is remembered.
        for (const isKnown of [false, true]) {
          for (const { headers, title } of nothing) {
            const { body, headers: responseHeaders, status } = yield* asked(headers)
            assert.strictEqual(status, 401, title)
            assert.strictEqual(responseHeaders["www-authenticate"], basicOnly, title)
            assert.strictEqual(body, "Unauthorized\n", title)
          }
          if (!isKnown) assert.strictEqual((yield* asked(basic("scraper", password))).status, 200)
        }
        for (const [target, answered] of [
          ["/", 200],
          ["/metrics?name[]=jobs_total", 200],
          ["/nowhere", 404]
        ] as const) {
          assert.strictEqual((yield* asked({}, target)).status, 401, target)
          assert.strictEqual((yield* asked(basic("scraper", password), target)).status, answered, target)
        }
        const connection = yield* rawConnection(address.port)
        connection.send(requestLines("http://[/metrics"))
        assert.match(yield* connection.received((text) => text.includes("\r\n\r\n")), /^HTTP\/1\.1 401 /)
        const { body } = yield* asked(basic("scraper", password))
        assert.include(body, `effect_prometheus_scrapes_total{code="401"} ${2 * nothing.length + 1}\n`)
        for (const { message } of lines) assert.notInclude(message, password)
      })
    )

    it.scopedLive("leaves the page for health checks open, and nothing else, where that is wished for", () =>
      Effect.gen(function* () {
        const { status } = yield* serving(kind, { users: { scraper: hashOf(password) }, openHealthPage: true })
        assert.strictEqual(yield* status({}, "/"), 200)
        assert.strictEqual(yield* status({}, "/?"), 200)
        for (const target of ["/metrics", "/nowhere", "//", "//metrics", "/x/../metrics"]) {
          assert.strictEqual(yield* status({}, target), 401, target)
        }
      })
    )

    it.scopedLive(
      "verifies one password at a time while another waits, and answers more with 429; remembered ones need no turn",
      () =>
        Effect.gen(function* () {
          const { asked, status } = yield* serving(kind, {
            users: { scraper: hashOf(password, { ln: 16, r: 8, p: 4 }) },
            tokens: [token]
          })
          const right = basic("scraper", password)
          assert.strictEqual(yield* status(right), 200)
          const attempts = ["a", "b", "c", "d", "e", "f"].map((guess) => asked(basic(`user-${guess}`, guess)))
          const honest = Effect.zipRight(Effect.sleep("100 millis"), Effect.all([status(right), status(bearer(token))]))
          const [guesses, answers] = yield* Effect.all([Effect.all(attempts, { concurrency: 6 }), honest], {
            concurrency: 2
          })
          const statuses = guesses.map((guess) => guess.status).sort()
          assert.deepEqual(statuses, [401, 401, 429, 429, 429, 429])
          for (const guess of guesses.filter((one) => one.status === 429)) {
            assert.strictEqual(guess.headers["retry-after"], "1")
          }
          assert.deepEqual(answers, [200, 200])
          assert.strictEqual(yield* status(basic("user-f", "f")), 401)
        })
    )

    it.scopedLive("caches the right password of each user, also after other attempts, and no wrong one", () =>
      Effect.gen(function* () {
        const slow = { ln: 17, r: 8, p: 4 }
        const names = ["anna", "bert", "carl"]
        const users = {
          ...Object.fromEntries(names.map((name) => [name, hashOf(`${name}'s`)])),
          slow: hashOf("s", slow)
        }
        const { status } = yield* serving(kind, { users })
        for (let round = 0; round < 30; round += 1) {
          for (const name of names) {
            assert.strictEqual(yield* status(basic(name, `guess ${round}`)), 401)
            if (round % 10 === 0) assert.strictEqual(yield* status(basic(name, `${name}'s`)), 200)
          }
        }
        // Once four are refused, two have the places, and keep them for as long as their verifying takes.
        const answered: Array<number> = []
        const guess = (sent: string) =>
          Effect.tap(status(basic("slow", sent)), (status) => Effect.sync(() => answered.push(status)))
        const guesses = yield* Effect.fork(
          Effect.forEach(["a", "b", "c", "d", "e", "f"], guess, { concurrency: "unbounded" })
        )
        yield* eventually("both places are taken", async () => answered.length === 4)
        const wrong = (name: string, round: number) => status(basic(name, `guess ${round}`))
        for (let round = 0; round < 3; round += 1) {
          for (const name of names) {
            assert.strictEqual(yield* status(basic(name, `${name}'s`)), 200)
            // It was verified before, and would have to be again.
            assert.strictEqual(yield* wrong(name, 10 * round), 429)
          }
        }
        assert.deepEqual(answered, [429, 429, 429, 429])
        yield* Fiber.join(guesses)
        for (const name of names) assert.strictEqual(yield* wrong(name, 0), 401)
      })
    )

    it.scopedLive("verifies the same credentials once for all who send them at the same time", () =>
      Effect.gen(function* () {
        const { status } = yield* serving(kind, { users: { scraper: hashOf(password, { ln: 16, r: 8, p: 4 }) } })
        for (const [sent, expected] of [
          ["guess", 401],
          [password, 200]
        ] as const) {
          const asking = Effect.replicateEffect(status(basic("scraper", sent)), 8, { concurrency: 8 })
          assert.deepEqual(
            yield* asking,
            Array.from({ length: 8 }, () => expected)
          )
        }
      })
    )
  })

  describe(`a metrics server ${kind.name} with tokens`, () => {
    it.scopedLive("accepts each of them, and answers other tokens with 401 and invalid_token", () =>
      Effect.gen(function* () {
        const tokens = [token, Redacted.make("abc-._~+/DEF012345==")]
        const { asked, status } = yield* serving(kind, { tokens })
        for (const sent of [token, "abc-._~+/DEF012345=="]) assert.strictEqual(yield* status(bearer(sent)), 200)
        assert.strictEqual(yield* status({ authorization: `bearer  ${token} ` }), 200)
        for (const sent of [`${token}0`, token.slice(0, -1), token.toUpperCase(), "x".repeat(8_000)]) {
          const { body, headers, status } = yield* asked(bearer(sent))
          assert.strictEqual(status, 401)
          assert.strictEqual(headers["www-authenticate"], `${bearerOnly}, error="invalid_token"`)
          assert.strictEqual(body, "Unauthorized\n")
        }
        for (const headers of [{}, basic("scraper", password), { authorization: "Bearer" }]) {
          const { headers: responseHeaders, status } = yield* asked(headers)
          assert.deepEqual([status, responseHeaders["www-authenticate"]], [401, bearerOnly])
        }
      })
    )

    it.scopedLive("takes users as well, and asks for either", () =>
      Effect.gen(function* () {
        const { asked, status } = yield* serving(kind, { tokens: [token], users: { scraper: hashOf(password) } })
        assert.strictEqual(yield* status(bearer(token)), 200)
        assert.strictEqual(yield* status(basic("scraper", password)), 200)
        const challenge = (headers: Headers) =>
          Effect.map(asked(headers), ({ headers: responseHeaders }) => responseHeaders["www-authenticate"])
        assert.strictEqual(yield* challenge({}), `${basicOnly}, ${bearerOnly}`)
        assert.strictEqual(yield* challenge(basic("scraper", "guess")), `${basicOnly}, ${bearerOnly}`)
        assert.strictEqual(yield* challenge(bearer("guess")), `${basicOnly}, ${bearerOnly}, error="invalid_token"`)
      })
    )
  })

  describe(`the authentication of a metrics server ${kind.name}`, () => {
    for (const { given, title, message } of invalid) {
      it.scopedLive(`with ${title} is a typed failure that names the option, and no secret`, () =>
        Effect.gen(function* () {
          const error = yield* refused(started(kind, { authentication: given as never }))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, message)
          for (const secret of [password, "correct-horse", "$scrypt$", "$2y$"]) {
            assert.notInclude(JSON.stringify(error), secret)
          }
        })
      )
    }

    it.scopedLive("comes after the certificate: who shows a wrong one is not asked for a password", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const own = yield* trusted.issue()
        const tls = { ...own, ca: trusted.cert, allowedNames: ["prometheus"] }
        const server = yield* started(kind, { tls, authentication: { users: { scraper: hashOf(password) } } })
        const named = yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }] })
        const status = (client: object, headers: Headers) =>
          Effect.map(get(server.url, { ca: trusted.cert, ...client, headers: { ...headers } }), ({ status }) => status)
        assert.strictEqual(yield* status(own, basic("scraper", password)), 403)
        assert.strictEqual(yield* status(named, {}), 401)
        assert.strictEqual(yield* status(named, basic("scraper", password)), 200)
      })
    )
  })
}

/** When each verification of a password began and ended in this thread. */
const verifications = Effect.gen(function* () {
  const times: Array<{ readonly id: number; readonly began: number; ended: number }> = []
  const hook = createHook({
    init: (id, type) => {
      if (type === "SCRYPTREQUEST") times.push({ id, began: performance.now(), ended: Number.NaN })
    },
    before: (id) => {
      for (const each of times) if (each.id === id) each.ended = performance.now()
    }
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => hook.enable()),
    () => Effect.sync(() => hook.disable())
  )
  return times
})

describe("Between two passwords that are verified", () => {
  it.scopedLive("there is a pause as long as the verification before it", () =>
    Effect.gen(function* () {
      const { status } = yield* serving(inThisThread, { users: { scraper: hashOf(password, { ln: 14, r: 8, p: 2 }) } })
      const times = yield* verifications
      const guess = (sent: string) => status(basic("scraper", sent))
      // One that waits from the beginning, and one that comes later.
      yield* Effect.all([guess("a"), guess("b")], { concurrency: 2 })
      yield* guess("c")
      assert.lengthOf(times, 3)
      for (const [index, { began }] of times.entries()) {
        const before = times[index - 1]
        if (before === undefined) continue
        // Timers are exact to a millisecond.
        assert.isAtLeast(began - before.ended, before.ended - before.began - 2)
      }
    })
  )
})

describe("The worker of a metrics server", () => {
  it.scopedLive("is sent no memory but that of the hashes, which other secrets could lie in", () =>
    Effect.gen(function* () {
      const authentication = { users: { scraper: hashOf(password) } }
      const error = yield* refused(started(inWorker, { workerUrl: fixture("hash-memory-worker.js"), authentication }))
      assert.include(error.message, "sent 16 and 32 bytes")
    })
  )
})

describe("The authentication of MetricsServer.layerConfig", () => {
  it.scopedLive("is read from configuration, redacted", () =>
    Effect.gen(function* () {
      const layer = MetricsServer.layerConfig({
        host: Config.succeed("127.0.0.1"),
        authentication: {
          users: { scraper: Config.redacted("PASSWORD_HASH") },
          tokens: Config.array(Config.redacted(), "TOKENS"),
          openHealthPage: Config.boolean("OPEN")
        }
      })
      const values = [
        ["PASSWORD_HASH", hashOf(password)],
        ["TOKENS", `${token}, another-long-token`],
        ["OPEN", "true"]
      ] as const
      const provider = Layer.setConfigProvider(ConfigProvider.fromMap(new Map(values)))
      const { healthUrl, url } = Context.get(
        yield* Layer.build(layer.pipe(Layer.provide(provider), Layer.provide(logging().layer))),
        MetricsServer.MetricsServer
      )
      const status = (asked: string, headers: Headers = {}) =>
        Effect.map(get(asked, { headers: { ...headers } }), ({ status }) => status)
      assert.strictEqual(yield* status(url), 401)
      assert.strictEqual(yield* status(url, basic("scraper", password)), 200)
      assert.strictEqual(yield* status(url, bearer("another-long-token")), 200)
      assert.strictEqual(yield* status(healthUrl), 200)
    })
  )
})

describe("MetricsServer.hashPassword", () => {
  it.live("salts and hashes a password as OWASP recommends, redacted or not", () =>
    Effect.gen(function* () {
      const hashes = yield* Effect.all([
        MetricsServer.hashPassword("pässwörd"),
        MetricsServer.hashPassword(Redacted.make("pässwörd"))
      ])
      assert.notStrictEqual(hashes[0], hashes[1])
      for (const made of hashes) {
        const [, kind, cost, salt = "", hash = ""] = made.split("$")
        assert.deepEqual([kind, cost], ["scrypt", "ln=14,r=8,p=5"])
        const options = { N: 2 ** 14, r: 8, p: 5 }
        const expected = scryptSync("pässwörd", Buffer.from(salt, "base64"), 32, options)
        assert.strictEqual(hash, expected.toString("base64").replaceAll("=", ""))
        assert.strictEqual(Buffer.from(salt, "base64").length, 16)
      }
    })
  )

  for (const kind of serverKinds) {
    it.scopedLive(`makes what a server ${kind.name} takes, as well as hashes made elsewhere`, () =>
      Effect.gen(function* () {
        const users = {
          own: yield* MetricsServer.hashPassword(password),
          // The last test vector of RFC 7914, section 12, that fits into 16 MiB.
          rfc: "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
        }
        const { status } = yield* serving(kind, { users })
        assert.strictEqual(yield* status(basic("own", password)), 200)
        assert.strictEqual(yield* status(basic("rfc", "pleaseletmein")), 200)
        assert.strictEqual(yield* status(basic("rfc", password)), 401)
      })
    )
  }
})
