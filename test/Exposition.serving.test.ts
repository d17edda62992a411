import { createServer } from "node:http"
import { gunzipSync } from "node:zlib"
import { HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Fiber, Layer, Option, type Scope } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import type { ServeOptions } from "../src/Exposition.js"
import * as Exposition from "../src/Exposition.js"
import type { MetricRegistry } from "../src/Registry.js"
import * as Registry from "../src/Registry.js"
import { parseText } from "./support/expositionParser.js"
import { bodyOf, contentTypes, formats, logged } from "./support/expositions.js"
import { errors } from "./support/metrics.js"
import { type Answer, type Ask, mounts, platformMounts, startPlatform } from "./support/mounts.js"
import { occupied } from "./support/threadPool.js"

const secret = "postgres://user:password@db is down"

const small = (): PromRegistry => {
  const registry = new PromRegistry()
  const registers = [registry]
  new Counter({ name: "jobs_total", help: "Jobs done.", registers }).inc(3)
  new Gauge({ name: "queue_length", help: "Jobs that wait.", registers }).set(2)
  new Gauge({ name: "temperature_celsius", help: "Größe – outside \ud83d.", registers }).set(-7)
  return registry
}

/** A registry with a family `padded` of the given length. */
const padded = (bytes: number): PromRegistry => {
  const registry = new PromRegistry()
  const around = "# HELP padded \n# TYPE padded gauge\npadded 0\n".length
  new Gauge({ name: "padded", help: "-".repeat(bytes - around), registers: [registry] })
  return registry
}

const broken = (): PromRegistry => {
  const registry = small()
  const collect = () => {
    throw new Error(secret)
  }
  new Gauge({ name: "broken", help: "h", registers: [registry], collect })
  return registry
}

const text = ({ bytes }: Answer): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes)

/** The headers that the exposition decides on. */
const own = ({ headers }: Answer) => ({
  type: headers["content-type"],
  length: headers["content-length"],
  encoding: headers["content-encoding"],
  vary: headers["vary"],
  allow: headers["allow"]
})

const familiesIn = (answer: Answer): ReadonlyArray<string> => parseText(text(answer)).map(({ name }) => name)

const withEncoding = (encoding: string) => ({ headers: { "accept-encoding": encoding } })

interface Case<Registry extends MetricRegistry = PromRegistry> {
  readonly title: string
  readonly registry: () => Registry
  readonly options?: ServeOptions
  readonly check: (ask: Ask, registry: Registry) => Effect.fn.Return<void, never, Scope.Scope>
}

const cases: ReadonlyArray<Case> = [
  {
    title: "answers GET with text, its content type, its length and what it varies by",
    registry: small,
    *check(ask, registry) {
      const answer = yield* ask("/metrics")
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(text(answer), (yield* bodyOf(registry, "text")).replace("\ud83d", "\ufffd"))
      assert.deepStrictEqual(own(answer), {
        type: contentTypes.text,
        length: String(answer.bytes.byteLength),
        encoding: undefined,
        vary: "Accept, Accept-Encoding",
        allow: undefined
      })
    }
  },
  {
    title: "answers GET with OpenMetrics where that is accepted",
    registry: small,
    *check(ask, registry) {
      const answer = yield* ask("/metrics", { headers: { accept: "application/openmetrics-text; version=1.0.0" } })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers["content-type"], contentTypes.openmetrics)
      assert.strictEqual(text(answer), (yield* bodyOf(registry, "openmetrics")).replace("\ud83d", "\ufffd"))
    }
  },
  ...["", "gzip"].map(
    (encoding): Case => ({
      title: `answers HEAD with the headers of GET and no body${encoding === "" ? "" : ", also with gzip"}`,
      registry: () => padded(2_048),
      *check(ask) {
        const got = yield* ask("/metrics", withEncoding(encoding))
        const head = yield* ask("/metrics", { method: "HEAD", ...withEncoding(encoding) })
        assert.strictEqual(head.status, 200)
        assert.strictEqual(head.bytes.byteLength, 0)
        assert.deepStrictEqual(own(head), own(got))
        assert.strictEqual(own(head).length, String(got.bytes.byteLength))
      }
    })
  ),
  ...["POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(
    (method): Case => ({
      title: `answers ${method} with 405 and the methods that it allows`,
      registry: small,
      *check(ask) {
        const answer = yield* ask("/metrics", { method })
        assert.strictEqual(answer.status, 405)
        assert.strictEqual(answer.headers["allow"], "GET, HEAD")
        assert.notInclude(text(answer), "jobs_total")
      }
    })
  ),
  {
    title: "narrows the exposition to name[], once, several times, and percent-encoded",
    registry: small,
    *check(ask) {
      assert.deepStrictEqual(familiesIn(yield* ask("/metrics?name[]=jobs_total")), ["jobs_total"])
      const several = "/metrics?name[]=temperature_celsius&x=y&name[]=jobs_total&name[]=nothing"
      assert.deepStrictEqual(familiesIn(yield* ask(several)), ["jobs_total", "temperature_celsius"])
      assert.deepStrictEqual(familiesIn(yield* ask("/metrics?name%5B%5D=queue%5Flength")), ["queue_length"])
      assert.deepStrictEqual(familiesIn(yield* ask("/metrics?name[]=nothing")), [])
    }
  },
  {
    title: "takes no notice of another query",
    registry: small,
    *check(ask) {
      const whole = yield* ask("/metrics")
      for (const query of ["?", "?name=jobs_total", "?names[]=jobs_total", "?%", "?name[", "??#"]) {
        assert.strictEqual(text(yield* ask(`/metrics${query}`)), text(whole), query)
      }
    }
  },
  {
    title: "compresses a body of 1 KiB or more where gzip is asked for",
    registry: () => padded(2_048),
    *check(ask) {
      const whole = yield* ask("/metrics")
      for (const encoding of [
        "gzip",
        "GZIP",
        "x-gzip",
        "br, gzip;q=0.001",
        "*",
        "deflate, *;q=0.5",
        " gzip ; q=1.0 "
      ]) {
        const answer = yield* ask("/metrics", withEncoding(encoding))
        assert.deepStrictEqual(
          own(answer),
          { ...own(whole), encoding: "gzip", length: String(answer.bytes.byteLength) },
          encoding
        )
        assert.isBelow(answer.bytes.byteLength, whole.bytes.byteLength)
        assert.deepStrictEqual(gunzipSync(answer.bytes), whole.bytes)
      }
    }
  },
  {
    title: "compresses in another thread, without blocking other requests",
    registry: () => padded(2_048),
    *check(ask) {
      const whole = yield* ask("/metrics")
      const release = yield* occupied
      const zipped = yield* Effect.fork(ask("/metrics", withEncoding("gzip")))
      for (let time = 0; time < 5; time += 1) {
        assert.deepStrictEqual((yield* ask("/metrics")).bytes, whole.bytes)
      }
      assert.isTrue(Option.isNone(yield* Fiber.poll(zipped)))
      yield* release
      assert.deepStrictEqual(gunzipSync((yield* Fiber.join(zipped)).bytes), whole.bytes)
    }
  },
  {
    title: "compresses nothing where gzip is not asked for",
    registry: () => padded(2_048),
    *check(ask) {
      const whole = yield* ask("/metrics")
      for (const encoding of [
        "",
        "identity",
        "br, deflate",
        "gzip;q=0",
        "gzip;q=0.000, *",
        "*;q=0",
        "gzip;q=x",
        "gzipped"
      ]) {
        const answer = yield* ask("/metrics", withEncoding(encoding))
        assert.deepStrictEqual(own(answer), own(whole), encoding)
        assert.deepStrictEqual(answer.bytes, whole.bytes)
      }
    }
  },
  ...[1_023, 1_024].map(
    (bytes): Case => ({
      title: `${bytes < 1_024 ? "does not compress" : "compresses"} a body of ${bytes} bytes`,
      registry: () => padded(bytes),
      *check(ask) {
        assert.strictEqual((yield* ask("/metrics?name[]=padded")).bytes.byteLength, bytes)
        const answer = yield* ask("/metrics?name[]=padded", withEncoding("gzip"))
        assert.strictEqual(answer.headers["content-encoding"], bytes < 1_024 ? undefined : "gzip")
      }
    })
  ),
  {
    title: "compresses nothing where compression is switched off",
    registry: () => padded(2_048),
    options: { compression: false },
    *check(ask) {
      const answer = yield* ask("/metrics", withEncoding("gzip"))
      assert.deepStrictEqual(own(answer), own(yield* ask("/metrics")))
    }
  },
  {
    title: "has the counter of failures at 0 from the first scrape on",
    registry: small,
    *check(ask) {
      assert.include(text(yield* ask("/metrics")), 'effect_prometheus_errors_total{operation="collect"} 0\n')
    }
  },
  {
    title: "answers 500 that names the metric that fails, and not what it failed with, where it is to fail",
    registry: broken,
    options: { onError: "fail" },
    *check(ask, registry) {
      const answer = yield* ask("/metrics")
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
      assert.include(text(answer), "broken")
      assert.notInclude(text(answer), "postgres")
      assert.notInclude(text(answer), "jobs_total")
      const head = yield* ask("/metrics", { method: "HEAD" })
      assert.deepStrictEqual([head.status, head.bytes.byteLength, own(head)], [500, 0, own(answer)])
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 2 })
    }
  },
  {
    title: "leaves the metric that fails out",
    registry: broken,
    *check(ask, registry) {
      const answer = yield* ask("/metrics")
      assert.strictEqual(answer.status, 200)
      const names = ["jobs_total", "queue_length", "temperature_celsius", "effect_prometheus_errors_total"]
      assert.deepStrictEqual(familiesIn(answer), names)
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 1 })
    }
  },
  {
    title: "is not bothered by a metric that fails and is not asked for",
    registry: broken,
    *check(ask) {
      assert.deepStrictEqual(familiesIn(yield* ask("/metrics?name[]=jobs_total")), ["jobs_total"])
    }
  },
  {
    title: "serves scrapes in both formats at once",
    registry: small,
    *check(ask) {
      const scrape = (format: "text" | "openmetrics") => ask("/metrics", { headers: { accept: contentTypes[format] } })
      const alone = yield* Effect.forEach(formats, scrape)
      const many = yield* Effect.forEach(Array.from({ length: 20 }, () => formats).flat(), scrape, {
        concurrency: "unbounded"
      })
      many.forEach((answer, index) => {
        assert.deepStrictEqual(answer.bytes, alone[index % 2]?.bytes)
        assert.deepStrictEqual(own(answer), own(alone[index % 2] as Answer))
      })
    }
  }
]

const thrower = () => {
  throw new Error(secret)
}

describe("The exposition through", () => {
  for (const { name, start } of mounts) {
    describe(name, () => {
      for (const { check, options, registry, title } of cases) {
        it.scopedLive(title, () =>
          logged(function* () {
            const made = registry()
            yield* check(yield* start(made, { selfMetrics: false, ...options }), made)
          })
        )
      }

      it.scopedLive("answers 500 for a registry that throws, and only the log has the error", () =>
        logged(function* (lines) {
          const registry = { getMetricsAsArray: thrower, registerMetric: thrower, getSingleMetric: thrower }
          const ask = yield* start(registry, { selfMetrics: false })
          const answer = yield* ask("/metrics")
          assert.strictEqual(answer.status, 500)
          assert.notInclude(text(answer), "postgres")
          assert.strictEqual(lines.length, 1)
          assert.match(lines[0] ?? "", /^ERROR .*registry/)
        })
      )
    })
  }
})

describe("layerRouter", () => {
  for (const { app, name } of platformMounts.slice(1)) {
    it.scopedLive(`serves another path if it is given, and no other: ${name}`, () =>
      logged(function* () {
        const ask = yield* startPlatform(app(small(), { path: "/internal/prometheus" }))
        assert.include(text(yield* ask("/internal/prometheus?name[]=jobs_total")), "jobs_total 3\n")
        assert.strictEqual((yield* ask("/internal/prometheus", { method: "POST" })).status, 405)
        assert.strictEqual((yield* ask("/metrics")).status, 404)
        assert.strictEqual(text(yield* ask("/other")), "other")
      })
    )
  }
})

describe("layerRouterConfig", () => {
  const served = (values: ReadonlyArray<readonly [string, string]>) =>
    HttpLayerRouter.serve(
      Exposition.layerRouterConfig(HttpLayerRouter.HttpRouter, {
        path: Config.map(Config.string("METRICS_PATH"), (path): `/${string}` => `/${path}`),
        maxScrapesInFlight: Config.integer("METRICS_SCRAPES")
      }).pipe(Layer.provide(Registry.layer(small()))),
      { disableListenLog: true }
    ).pipe(Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(values)))))

  it.scopedLive("serves as configuration says", () =>
    Effect.gen(function* () {
      const app = served([
        ["METRICS_PATH", "configured"],
        ["METRICS_SCRAPES", "2"]
      ])
      const ask = yield* startPlatform(Layer.orDie(app))
      assert.include(text(yield* ask("/configured")), "jobs_total 3\n")
      assert.strictEqual((yield* ask("/metrics")).status, 404)
    })
  )

  for (const [values, named, reason] of [
    [[["METRICS_PATH", "configured"]], "METRICS_SCRAPES", "MissingData"],
    [
      [
        ["METRICS_PATH", "configured"],
        ["METRICS_SCRAPES", "0"]
      ],
      "maxScrapesInFlight",
      "InvalidOptions"
    ]
  ] as const) {
    it.scopedLive(`fails with an error that names ${named} where that cannot be used`, () =>
      Effect.gen(function* () {
        const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
        const error = yield* Effect.flip(
          Layer.build(Layer.provide(served(values), Layer.merge(server, HttpLayerRouter.layer)))
        )
        assert.strictEqual("reason" in error ? error.reason : "_op" in error ? error._op : error._tag, reason)
        assert.include(String(error), named)
      })
    )
  }
})
