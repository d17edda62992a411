import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Layer } from "effect"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import { authority, certificate } from "./support/certificates.js"
import { bearer } from "./support/credentials.js"
import { type AskOptions, get, rawConnection } from "./support/httpClient.js"
import { logging, refused, serverKinds, someMetrics, started, workerUrl } from "./support/servers.js"

const token = "0123456789abcdef0123"

/** Names of this machine, as they can be written. */
const local = [
  "localhost",
  "localhost:9464",
  "LOCALHOST:1",
  "localhost.",
  "app.localhost",
  "a.b.LocalHost:80",
  "127.0.0.1",
  "127.0.0.1:443",
  "127.255.1.2:65535",
  "[::1]",
  "[::1]:9464",
  "[0:0:0:0:0:0:0:1]",
  "[::ffff:127.0.0.1]",
  ""
]

/** What a website can be called by, and what is no host. */
const foreign = [
  "evil.example",
  "evil.example:9464",
  "localhost.evil.example",
  "evil-localhost",
  "xlocalhost",
  "127.0.0.1.evil.example",
  "127.evil.example",
  "127.0.0.1.5",
  "10.0.0.1",
  "192.168.0.1:9464",
  "0.0.0.0",
  "[::]",
  "[::2]",
  "[fe80::1]",
  "evil.example@localhost",
  "localhost@evil.example",
  "localhost/evil.example",
  "localhost#evil.example",
  "localhost?evil.example",
  "localhost\\evil.example",
  "localhost, evil.example",
  "localhost evil.example",
  "localhost:evil",
  "localhost:99999",
  ":9464",
  "a".repeat(5_000)
]

const status = (text: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])

const sent = (port: number, lines: string, host = "127.0.0.1") =>
  Effect.scoped(
    Effect.gen(function* () {
      const connection = yield* rawConnection(port, host)
      connection.socket.end(`${lines}\r\n\r\n`)
      yield* connection.closed
      return yield* connection.received(() => true)
    })
  )

const asked = (url: string, host: string, options: AskOptions = {}) =>
  Effect.map(get(url, { ...options, headers: { ...options.headers, host } }), (answer) => answer.status)

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    for (const bound of ["127.0.0.1", "localhost", "::1", "127.0.0.2"]) {
      it.scopedLive(`on ${bound}, without authentication, accepts only host names of this machine`, () =>
        Effect.gen(function* () {
          const server = yield* started(kind, { host: bound }, { registry: someMetrics() })
          const { hostname, port } = server.address
          for (const path of ["/metrics", "/", "/nowhere"]) {
            const found = path === "/nowhere" ? 404 : 200
            for (const host of [...local, bound === "::1" ? "[::1]" : bound]) {
              const text = yield* sent(port, `GET ${path} HTTP/1.1\r\nHost: ${host}`, hostname)
              assert.strictEqual(status(text), found, host)
            }
            for (const host of foreign) {
              const text = yield* sent(port, `GET ${path} HTTP/1.1\r\nHost: ${host}`, hostname)
              assert.strictEqual(status(text), 421, host)
              assert.match(text, /\r\nconnection: close\r\n/i)
              assert.notInclude(text, "jobs_total")
            }
          }
        })
      )
    }

    it.scopedLive("takes the host of a whole URL for that of the header, and does without one", () =>
      Effect.gen(function* () {
        const { address } = yield* started(kind, {}, { registry: someMetrics() })
        const rows: ReadonlyArray<readonly [lines: string, status: number]> = [
          ["GET http://localhost/metrics HTTP/1.1\r\nHost: evil.example", 200],
          ["GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost", 421],
          ["GET HTTP://evil.example/metrics HTTP/1.0", 421],
          ["GET http://localhost@evil.example/metrics HTTP/1.1\r\nHost: localhost", 421],
          ["GET //evil.example/metrics HTTP/1.1\r\nHost: localhost", 404],
          ["GET /metrics HTTP/1.0", 200],
          ["GET /metrics HTTP/1.0\r\nHost: evil.example", 421],
          ["GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example", 200],
          ["GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400],
          ["GET /metrics HTTP/1.1\r\nHost: evil.example\r\nHost: localhost", 400],
          ["GET /metrics HTTP/1.1", 400],
          ["HEAD /metrics HTTP/1.1\r\nHost: evil.example", 421],
          ["OPTIONS /metrics HTTP/1.1\r\nHost: evil.example", 421]
        ]
        for (const [lines, expected] of rows)
          assert.strictEqual(status(yield* sent(address.port, lines)), expected, lines)
      })
    )

    it.scopedLive("refuses a whole URL whose host has more than 1,024 letters, and no shorter one", () =>
      Effect.gen(function* () {
        const { address } = yield* started(kind, { authentication: { tokens: [token] } }, { registry: someMetrics() })
        const headers = `Host: localhost\r\nAuthorization: Bearer ${token}`
        for (const [host, expected] of [
          ["a".repeat(1_024), 200],
          ["a".repeat(1_025), 400]
        ] as const) {
          const text = yield* sent(address.port, `GET http://${host}/metrics HTTP/1.1\r\n${headers}`)
          assert.strictEqual(status(text), expected, host)
        }
      })
    )

    it.scopedLive("counts what it refuses for its host as scrapes with 421", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        assert.strictEqual(yield* asked(server.url, "evil.example"), 421)
        assert.match((yield* get(server.url)).body, /^effect_prometheus_scrapes_total\{code="421"\} 1$/m)
      })
    )

    it.scopedLive("answers to any host elsewhere, and where only some are let in", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const open = yield* started(kind, { host: "0.0.0.0" }, { registry })
        assert.strictEqual(yield* asked(open.url, "evil.example"), 200)
        const guarded = yield* started(kind, { authentication: { tokens: [token] } }, { registry })
        assert.strictEqual(yield* asked(guarded.url, "evil.example"), 401)
        assert.strictEqual(yield* asked(guarded.url, "any.example", { headers: bearer(token) }), 200)
        const trusted = yield* authority()
        const client = yield* trusted.issue()
        const own = yield* certificate
        for (const [clientCertificate, expected] of [
          ["required", 200],
          ["requested", 421]
        ] as const) {
          const tls = { ...own, ca: trusted.cert, clientCertificate }
          const secure = yield* started(kind, { tls }, { registry })
          assert.strictEqual(
            yield* asked(secure.url, "evil.example", { ...client, ca: own.cert, servername: "localhost" }),
            expected
          )
        }
      })
    )

    it.scopedLive("accepts allowedHosts, names of this machine and its own, with and without authentication", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const allowedHosts = ["Metrics.Example.com", "10.1.2.3", "2001:db8::1", "[2001:db8::2]", "bücher.example"]
        const yes = [
          "metrics.example.com",
          "METRICS.example.com:80",
          "metrics.example.com.",
          "10.1.2.3:9464",
          "[2001:db8::1]:1",
          "[2001:DB8:0::2]",
          "xn--bcher-kva.example",
          "localhost",
          "127.0.0.1:1"
        ]
        const no = ["example.com", "a.metrics.example.com", "10.1.2.4", "[2001:db8::3]", "evil.example"]
        for (const host of ["127.0.0.1", "0.0.0.0"]) {
          for (const authentication of [undefined, { tokens: [token] }]) {
            const server = yield* started(kind, { host, authentication, allowedHosts }, { registry })
            const options = { headers: authentication === undefined ? {} : bearer(token) }
            for (const name of yes) assert.strictEqual(yield* asked(server.url, name, options), 200, name)
            for (const name of no) assert.strictEqual(yield* asked(server.url, name, options), 421, name)
          }
        }
      })
    )

    it.scopedLive("refuses to start with invalid allowedHosts, and names them", () =>
      Effect.gen(function* () {
        const wrong = [
          "example.com",
          5,
          {},
          [],
          [""],
          [" "],
          [5],
          [undefined],
          ["*"],
          ["*.example.com"],
          ["example.com:9464"],
          ["http://example.com"],
          ["example.com/"],
          ["user@example.com"],
          ["a b"],
          ["[::1]:80"],
          ["[localhost]"],
          ["fe80::1%eth0"],
          ["good.example", "bad:1"]
        ]
        for (const allowedHosts of wrong) {
          const error = yield* refused(started(kind, { allowedHosts: allowedHosts as never }))
          assert.strictEqual(error.reason, "InvalidOptions", String(allowedHosts))
          assert.include(error.message, "allowedHosts must ", String(allowedHosts))
        }
      })
    )
  })
}

describe("allowedHosts", () => {
  const both = [MetricsServer.layerConfig, MetricsServer.layerWorkerConfig] as const

  it.scopedLive("are read from configuration", () =>
    Effect.gen(function* () {
      for (const layer of both) {
        const built = layer({
          host: Config.succeed("127.0.0.1"),
          allowedHosts: Config.array(Config.string(), "HOSTS"),
          ...(layer === MetricsServer.layerWorkerConfig ? { workerUrl: Config.succeed(workerUrl) } : {})
        })
        const provider = ConfigProvider.fromMap(new Map([["HOSTS", "a.example, b.example"]]))
        const context = yield* Layer.build(
          built.pipe(Layer.provide(Layer.setConfigProvider(provider)), Layer.provide(logging().layer))
        )
        const { url } = Context.get(context, MetricsServer.MetricsServer)
        assert.strictEqual(yield* asked(url, "b.example"), 200)
        assert.strictEqual(yield* asked(url, "c.example"), 421)
      }
    })
  )

  it.live("are taken by servers of promises", () =>
    Effect.promise(async () => {
      for (const start of [Promises.startHttpServer, Promises.startHttpServerInThread]) {
        const thread = start === Promises.startHttpServerInThread ? { workerUrl } : {}
        const options = { host: "127.0.0.1", allowedHosts: ["a.example"], registry: someMetrics(), log: () => {} }
        const server = await start({ ...options, ...thread })
        assert.strictEqual(await Effect.runPromise(asked(server.url, "a.example")), 200)
        assert.strictEqual(await Effect.runPromise(asked(server.url, "c.example")), 421)
        await server.close()
      }
    })
  )
})
