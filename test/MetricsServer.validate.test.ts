import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import { certificate, temporaryFiles } from "./support/certificates.js"
import { hashOf } from "./support/credentials.js"
import { unusedListener } from "./support/httpClient.js"
import { refused, serverKinds, started } from "./support/servers.js"

const token = "0123456789abcdef"

/** Misspelt options, and a part of the message. */
const misspelt: ReadonlyArray<readonly [given: object, message: string]> = [
  [{ authentification: { tokens: [token] } }, "authentification"],
  [{ prot: 9464 }, "unknown option prot (did you mean port?); the options are host, port, "],
  [{ hots: "127.0.0.1" }, "unknown option hots (did you mean host?)"],
  [{ Port: 9464 }, "unknown option Port (did you mean port?)"],
  [{ shutdownTimeot: 1 }, "unknown option shutdownTimeot (did you mean shutdownTimeout?)"],
  [{ unre: true }, "unknown option unre (did you mean unref?)"],
  [{ colour: "red" }, "unknown option colour; the options are host"],
  [{ allowedHosst: ["localhost"] }, "allowedHosst"],
  [{ Authentication: { tokens: [token] } }, "Authentication"],
  [{ hots: "127.0.0.1" }, "hots"],
  [{ users: { scraper: "x" } }, "users"],
  [{ tls: { key: "k", cert: "c", clientCertificates: "required" } }, "unknown option tls.clientCertificates"],
  [{ tls: { key: "k", cert: "c", ca_file: "ca" } }, "tls.ca_file"],
  [{ tls: null }, "tls"],
  [{ authentication: { tokens: [token], openHealthpage: true } }, "unknown option authentication.openHealthpage"]
]

/** Options that the compiler refuses, and a part of the message. */
const mistyped: ReadonlyArray<readonly [given: object, message: string]> = [
  [{ onError: "contineu" }, 'onError must be "fail" or "continue", not "contineu"'],
  [{ compression: "no" }, 'compression must be true or false, not "no"'],
  [{ selfMetrics: "false" }, 'selfMetrics must be true or false, not "false"'],
  [{ host: 5 }, "host must be a host name or an IP address, not 5"],
  [{ host: "" }, 'host must be a host name or an IP address, not ""'],
  [{ host: " " }, 'host must be a host name or an IP address, not " "'],
  [{ port: "9464" }, 'port must be a whole number from 0 to 65535, not "9464"'],
  [{ path: Object.create(null) }, "path must be / followed by"],
  [{ scrapeTimeout: Object.create(null) }, "scrapeTimeout must be a duration"],
  [{ staleFor: Object.create(null) }, "staleFor must be a duration"],
  [{ workerUrl: 42 }, "workerUrl must be a path or a URL, not 42"],
  [{ workerUrl: null }, "workerUrl must be a path or a URL, not null"],
  [{ workerUrl: "" }, 'workerUrl must be a path or a URL, not ""'],
  [{ authentication: null }, "authentication must be an object with options, not null"],
  [{ authentication: { tokens: [token], openHealthPage: 1 } }, "openHealthPage must be true or false, not 1"]
]

for (const kind of serverKinds) {
  describe(`the options of a metrics server ${kind.name}`, () => {
    for (const [kindOfMistake, rows] of [
      ["unknown", misspelt],
      ["of another type", mistyped]
    ] as const) {
      for (const [given, message] of rows) {
        it.scopedLive(`are refused if one is ${kindOfMistake}: ${message}`, () =>
          Effect.gen(function* () {
            for (const start of [started(kind, given), MetricsServer.validate(given)]) {
              const error = yield* refused(start)
              assert.strictEqual(error.reason, "InvalidOptions")
              assert.include(error.message, message)
            }
          })
        )
      }
    }

    it.scopedLive("may be undefined, known or unknown", () =>
      Effect.gen(function* () {
        const given = { tls: undefined, authentication: undefined, another: undefined }
        assert.strictEqual((yield* started(kind, given)).https, false)
      })
    )
  })
}

describe("MetricsServer.validate", () => {
  it.scopedLive("takes what a server takes, and listens to nothing", () =>
    Effect.gen(function* () {
      const own = yield* certificate
      const paths = yield* temporaryFiles({ ...own, ca: own.cert })
      const port = yield* unusedListener()
      yield* MetricsServer.validate({
        host: "127.0.0.1",
        port,
        tls: { ...paths, clientCertificate: "requested", allowedNames: ["a"], minVersion: "TLSv1.3" },
        authentication: { users: { scraper: hashOf("p") }, tokens: [token], openHealthPage: true },
        maxConnections: 10,
        grace: "1 second"
      })
      yield* MetricsServer.validate()
    })
  )

  it.scopedLive("takes options of another realm, as those who test with other globals give them", () =>
    Effect.gen(function* () {
      yield* MetricsServer.validate(runInNewContext(`({ port: 0, authentication: { tokens: ["${token}"] } })`))
      const error = yield* refused(MetricsServer.validate(runInNewContext("({ prot: 0 })")))
      assert.include(error.message, "unknown option prot")
    })
  )

  it.scopedLive("refuses values that are not an options object, as both kinds of server do", () =>
    Effect.gen(function* () {
      const none = null as never
      const { make, makeWorker, validate } = MetricsServer
      for (const start of [Effect.asVoid(make(none)), Effect.asVoid(makeWorker(none)), validate(none)]) {
        const error = yield* refused(start)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, "options must be an object")
      }
    })
  )

  it.scopedLive("fails as a server would, naming option and file", () =>
    Effect.gen(function* () {
      const own = yield* certificate
      const other = yield* certificate
      const paths = yield* temporaryFiles({ cert: own.cert, key: other.key })
      for (const [options, reason, message] of [
        [{ port: 65_536 }, "InvalidOptions", "65536"],
        [{ path: "/" }, "InvalidOptions", "path"],
        [{ staleFor: "soon" as "1 second" }, "InvalidOptions", "staleFor"],
        [{ maxConnections: 0 }, "InvalidOptions", "maxConnections"],
        [{ scrapeTimeout: "soon" as "1 second" }, "InvalidOptions", "scrapeTimeout"],
        [{ authentication: {} }, "InvalidOptions", "authentication"],
        [{ tls: paths }, "Tls", paths.key],
        [{ tls: { ...own, ca: "/nowhere/ca.pem" } }, "Tls", "/nowhere/ca.pem"]
      ] as const) {
        const error = yield* refused(MetricsServer.validate({ host: "192.0.2.1", ...options }))
        assert.strictEqual(error.reason, reason)
        assert.isUndefined(error.host)
        assert.isUndefined(error.port)
        assert.include(error.message, message)
      }
    })
  )
})

describe("Promises.validateServerOptions", () => {
  it.effect("takes what startHttpServer takes, and rejects with the error itself", () =>
    Effect.gen(function* () {
      const validated = (options?: Promises.ThreadOptions) =>
        Effect.exit(
          Effect.tryPromise({
            try: () => Promises.validateServerOptions(options),
            catch: (error) => error as MetricsServer.MetricsServerError
          })
        )
      const serviceDiscovery = Promises.consulAgent()
      const given = { registry: new PromRegistry(), serviceDiscovery, log: false, grace: "1 second" } as const
      assert.deepEqual(yield* validated(given), Exit.void)
      assert.deepEqual(yield* validated(), Exit.void)
      const exit = yield* Effect.flip(Effect.flatten(validated({ ...given, port: -1 })))
      assert.instanceOf(exit, MetricsServer.MetricsServerError)
      assert.include(exit.message, "port")
    })
  )
})

describe("Promises.hashPassword", () => {
  it.live("makes a hash that the server takes", () =>
    Effect.gen(function* () {
      const hash = yield* Effect.promise(() => Promises.hashPassword("correct horse battery staple"))
      assert.match(hash, /^\$scrypt\$ln=14,r=8,p=5\$[^$=]{22}\$[^$=]{43}$/)
      yield* MetricsServer.validate({ authentication: { users: { scraper: hash } } })
    })
  )
})
