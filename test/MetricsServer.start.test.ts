import { networkInterfaces } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigError, ConfigProvider, Context, Duration, Effect, Layer, Option, Redacted, Tracer } from "effect"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Registry from "../src/Registry.js"
import * as ServiceDiscovery from "../src/ServiceDiscovery.js"
import { assertFree, get, unusedListener } from "./support/httpClient.js"
import { logging, refused, serverKinds, serverLayer, someMetrics, started, workerUrl } from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

// Some containers have no IPv6.
const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1")
)

for (const kind of serverKinds) {
  describe(`where a metrics server ${kind.name} listens`, () => {
    it.scopedLive("by default it is on all interfaces, and its urls are local", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { host: undefined })
        assert.include(["0.0.0.0", "::"], server.address.hostname)
        assert.isAbove(server.address.port, 0)
        assert.strictEqual(server.url, `http://127.0.0.1:${server.address.port}/metrics`)
        assert.strictEqual((yield* get(server.url)).status, 200)
      })
    )

    for (const host of ["0.0.0.0", "::", "::ffff:0.0.0.0"]) {
      const on = it.scopedLive.skipIf(host !== "0.0.0.0" && !hasIPv6)
      on(`a wildcard bind to ${host} is reported as such, and its urls are loopback addresses`, () =>
        Effect.gen(function* () {
          const server = yield* started(kind, { host })
          assert.strictEqual(server.address.hostname, host)
          assert.match(server.url, /^http:\/\/(127\.0\.0\.1|\[::1\]):\d+\/metrics$/)
          assert.match(server.healthUrl, /^http:\/\/(127\.0\.0\.1|\[::1\]):\d+\/$/)
          assert.strictEqual((yield* get(server.url)).status, 200)
          assert.strictEqual((yield* get(server.healthUrl)).status, 200)
        })
      )
    }

    it.scopedLive.skipIf(!hasIPv6)("an IPv6 address is in brackets in its urls", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { host: "::1" })
        assert.strictEqual(server.address.hostname, "::1")
        assert.strictEqual(server.url, `http://[::1]:${server.address.port}/metrics`)
        assert.strictEqual(server.healthUrl, `http://[::1]:${server.address.port}/`)
        assert.strictEqual((yield* get(server.url)).status, 200)
      })
    )

    itInTime("a port that is taken is a failure that names host and port, within a second", function* () {
      const port = yield* unusedListener()
      const start = performance.now()
      const error = yield* refused(started(kind, { port }))
      assertWithin(performance.now() - start, 1_000)
      assert.strictEqual(error.reason, "AddressInUse")
      assert.strictEqual(error.host, "127.0.0.1")
      assert.strictEqual(error.port, port)
      assert.include(error.message, `127.0.0.1:${port}`)
    })

    it.scopedLive("an address that is not of this machine is a failure that names host and port", () =>
      Effect.gen(function* () {
        const error = yield* refused(started(kind, { host: "192.0.2.1", port: 9464 }))
        assert.strictEqual(error.reason, "Listen")
        assert.deepStrictEqual([error.host, error.port], ["192.0.2.1", 9464])
        assert.include(error.message, "192.0.2.1:9464")
        const ipv6 = yield* refused(started(kind, { host: "2001:db8::1", port: 9464 }))
        assert.include(ipv6.message, "[2001:db8::1]:9464")
      })
    )

    it.scopedLive("the port is free again after its scope, so that the same one can be asked for at once", () =>
      Effect.gen(function* () {
        const { address } = yield* Effect.scoped(Effect.tap(started(kind), ({ url }) => get(url)))
        yield* assertFree(address.port)
        const again = yield* started(kind, { port: address.port })
        assert.strictEqual(again.address.port, address.port)
        // Any other process may have taken it meanwhile, but not each time.
      }).pipe(Effect.retry({ times: 2 }))
    )
  })

  describe(`the options of a metrics server ${kind.name}`, () => {
    for (const port of [-1, 65_536, 1.5, Number.NaN]) {
      it.scopedLive(`the port ${port} is a typed failure`, () =>
        Effect.gen(function* () {
          const error = yield* refused(started(kind, { port }))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, String(port))
        })
      )
    }

    it.scopedLive("a host with a zone, which no URL can contain, is a typed failure", () =>
      Effect.gen(function* () {
        const error = yield* refused(started(kind, { host: "fe80::1%lo" }))
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, '"fe80::1%lo"')
      })
    )

    for (const path of ["", "/", "metrics", "/a b", "/metrics?x=1", "/metrics#x", "/<b>", "http://x/metrics"]) {
      it.scopedLive(`the path ${JSON.stringify(path)} is a typed failure`, () =>
        Effect.gen(function* () {
          const error = yield* refused(started(kind, { path }))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, JSON.stringify(path))
        })
      )
    }

    for (const name of ["shutdownTimeout", "grace", "staleFor"] as const) {
      it.scopedLive(`a ${name} that is no duration is a typed failure`, () =>
        Effect.gen(function* () {
          const error = yield* refused(started(kind, { [name]: "5 Sekunden" as "5 seconds" }))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, name)
          assert.include(error.message, "5 Sekunden")
        })
      )
    }

    for (const path of ["//metrics", "/.", "/a/../b", "/./metrics"]) {
      it.scopedLive(`the path ${path}, which no request has literally, is refused or served`, () =>
        Effect.gen(function* () {
          const start = yield* Effect.either(started(kind, { path }, { registry: someMetrics() }))
          if (start._tag === "Right") assert.include((yield* get(start.right.url)).body, "jobs_total 3\n")
          else assert.strictEqual((start.left as MetricsServer.MetricsServerError).reason, "InvalidOptions")
        })
      )
    }
  })

  describe(`the log of a metrics server ${kind.name}`, () => {
    const register = () => Effect.void

    it.scopedLive("one line at info when it starts, with its url", () =>
      Effect.gen(function* () {
        const server = yield* started(kind)
        assert.strictEqual(server.lines.length, 1)
        assert.strictEqual(server.lines[0]?.level, "INFO")
        assert.strictEqual(server.lines[0]?.message, `metrics at ${server.url}`)
        assert.strictEqual(yield* server.isRegistered, false)
      })
    )

    it.scopedLive("by whom it is registered, if it is", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { discovery: { name: "the town crier", register } })
        assert.strictEqual(server.lines.length, 1)
        assert.strictEqual(server.lines[0]?.message, `metrics at ${server.url}, registered by the town crier`)
        assert.strictEqual(yield* server.isRegistered, true)
      })
    )

    it.scopedLive("nothing of a registration when a discovery was merged beside it instead of provided to it", () =>
      Effect.gen(function* () {
        const { layer, lines } = serverLayer(kind)
        const context = yield* Layer.build(Layer.merge(layer, ServiceDiscovery.layer({ name: "unheard", register })))
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]?.message ?? "", /^metrics at \S+$/)
        assert.strictEqual(yield* Context.get(context, MetricsServer.MetricsServer).isRegistered, false)
      })
    )

    it.scopedLive("nothing of its scrapes: no access log and no spans", () =>
      Effect.gen(function* () {
        const spans: Array<string> = []
        const native = yield* Effect.tracer
        const tracer = Tracer.make({
          span: (name, ...rest) => {
            spans.push(name)
            return native.span(name, ...rest)
          },
          context: (run) => run()
        })
        const { layer: logger, lines } = logging()
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { url, healthUrl } = yield* Effect.map(
              Layer.build(kind.layer({ host: "127.0.0.1" })),
              Context.get(MetricsServer.MetricsServer)
            )
            for (const target of [url, url, `${url}?name[]=x`, healthUrl, `${healthUrl}nowhere`]) yield* get(target)
            yield* get(url, { headers: { accept: "application/openmetrics-text" } })
          }).pipe(Effect.provide(Layer.mergeAll(Layer.setTracer(tracer), logger, Registry.layer(someMetrics()))))
        )
        assert.deepStrictEqual(spans, [])
        assert.strictEqual(lines.length, 1)
      })
    )
  })
}

describe("MetricsServer.layerConfig", () => {
  const configured = (options: Config.Config.Wrap<MetricsServer.Options>) =>
    Effect.map(Layer.build(Layer.provide(MetricsServer.layerConfig(options), logging().layer)), (context) =>
      Context.get(context, MetricsServer.MetricsServer)
    )

  const asksForCredentials = (options: Config.Config.Wrap<MetricsServer.Options>) =>
    Effect.gen(function* () {
      const { healthUrl } = yield* configured(options)
      assert.strictEqual((yield* get(healthUrl)).status, 401)
    })

  const options = {
    host: Config.string("METRICS_HOST"),
    port: Config.integer("METRICS_PORT"),
    path: Config.withDefault(Config.string("METRICS_PATH"), "/metrics"),
    shutdownTimeout: Config.duration("METRICS_SHUTDOWN_TIMEOUT")
  }

  const built = (values: ReadonlyArray<readonly [string, string]>) =>
    Layer.build(
      MetricsServer.layerConfig(options).pipe(
        Layer.provide(logging().layer),
        Layer.provide(Registry.layer(someMetrics())),
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(values))))
      )
    )

  it.scopedLive("takes the options from configuration", () =>
    Effect.gen(function* () {
      const context = yield* built([
        ["METRICS_HOST", "127.0.0.1"],
        ["METRICS_PORT", "0"],
        ["METRICS_PATH", "/configured"],
        ["METRICS_SHUTDOWN_TIMEOUT", "500 millis"]
      ])
      const server = Context.get(context, MetricsServer.MetricsServer)
      assert.strictEqual(server.url, `http://127.0.0.1:${server.address.port}/configured`)
      assert.include((yield* get(server.url)).body, "jobs_total 3\n")
    })
  )

  const holdsItself: Record<string, unknown> = {}
  holdsItself["tls"] = holdsItself
  const plain: ReadonlyArray<readonly [given: unknown, name: string]> = [
    ["sesame", "the options"],
    [null, "the options"],
    [5, "the options"],
    [["sesame"], "the options"],
    [{ port: 9464 }, "port"],
    [{ host: "sesame" }, "host"],
    [{ port: Config.succeed(0), tls: { key: "sesame" } }, "tls.key"],
    [{ tls: null }, "tls"],
    [{ authentication: { tokens: ["sesame"] } }, "authentication.tokens"],
    [{ authentication: { users: { prom: "sesame" } } }, "authentication.users.prom"],
    [{ authentication: { users: { prom: Redacted.make("sesame") } } }, "authentication.users.prom"],
    [{ tls: Redacted.make("sesame") }, "tls"],
    [{ scrapeTimeout: Duration.seconds(5) }, "scrapeTimeout"],
    [{ workerUrl: new URL("file:///sesame") }, "workerUrl"],
    [{ tls: { key: Buffer.from("sesame") } }, "tls.key"],
    [{ host: Option.some("sesame") }, "host"],
    [holdsItself, "tls.tls.tls.tls.tls"]
  ]
  for (const [row, [given, name]] of plain.entries()) {
    it.scopedLive(`names what is no Config: ${name}, as ${row + 1}.`, () =>
      Effect.gen(function* () {
        for (const layer of [MetricsServer.layerConfig, MetricsServer.layerWorkerConfig]) {
          const error = yield* Effect.flip(Layer.build(layer(given as never).pipe(Layer.provide(logging().layer))))
          assert.match(error.toString(), new RegExp(`(^|[^.\\w])${name.replaceAll(".", "\\.")} must be a Config`))
          assert.notInclude(error.toString(), "sesame")
        }
      })
    )
  }

  it.scopedLive("and layerWorkerConfig those of the worker as well", () =>
    Effect.gen(function* () {
      const layer = MetricsServer.layerWorkerConfig({
        host: Config.succeed("127.0.0.1"),
        path: Config.string("METRICS_PATH"),
        workerUrl: Config.succeed(workerUrl),
        staleFor: Config.duration("METRICS_STALE_FOR")
      })
      const configuredWith = (path: string) =>
        Layer.build(
          layer.pipe(
            Layer.provide(Layer.merge(logging().layer, Registry.layer(someMetrics()))),
            Layer.provide(
              Layer.setConfigProvider(
                ConfigProvider.fromMap(
                  new Map([
                    ["METRICS_PATH", path],
                    ["METRICS_STALE_FOR", "5 seconds"]
                  ])
                )
              )
            )
          )
        )
      const server = Context.get(yield* configuredWith("/configured"), MetricsServer.MetricsServer)
      assert.include((yield* get(server.url)).body, "effect_prometheus_exposition_age_seconds")
      assert.include(server.url, "/configured")
      const refusal = yield* Effect.flip(configuredWith("configured"))
      assert.include(String(refusal), "path")
    })
  )

  const withTokens = { tokens: Config.succeed(["0123456789abcdef"]) }

  class Inherited {
    readonly host = Config.succeed("127.0.0.1")
    get authentication() {
      return withTokens
    }
  }

  for (const [how, given] of [
    ["is undefined", { host: Config.succeed("127.0.0.1"), tls: undefined, authentication: withTokens }],
    ["is undefined in others", { ...new Inherited(), authentication: { ...withTokens, users: undefined } }]
  ] as const) {
    it.scopedLive(`leaves out what ${how}`, () => Effect.asVoid(asksForCredentials(given)))
  }

  it.scopedLive("takes what an instance of a class has by inheritance", () => asksForCredentials(new Inherited()))

  it.scopedLive("treats empty options as the defaults, but refuses an empty authentication", () =>
    Effect.gen(function* () {
      for (const none of [{}, { port: undefined as never }]) {
        const { address } = yield* configured(none)
        assert.isAbove(address.port, 0)
      }
      const error = yield* refused(configured({ authentication: { users: undefined } }))
      assert.include(error.message, "authentication contains no credentials")
    })
  )

  it.scopedLive("fails as configuration does where a value is missing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(built([["METRICS_HOST", "127.0.0.1"]]))
      assert.isTrue(ConfigError.isConfigError(error))
      assert.include(String(error), "METRICS_PORT")
    })
  )
})
