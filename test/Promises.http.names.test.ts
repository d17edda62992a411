import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { Counter, Histogram, Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import { httpMetrics } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { eventually, get } from "./support/httpClient.js"
import { clients } from "./support/metrics.js"

type Measured = Registry.MetricRegistry & { metrics(): Promise<string> }

/** Both sides measure one request that takes at least 30 ms, with those options. */
const sides: Readonly<Record<string, (registry: Measured, options: object) => Effect.Effect<void>>> = {
  httpMetrics: (registry, options) => {
    const measure = httpMetrics({ registry, ...options })
    const server = createServer((request, response) => {
      measure(request, response, () => "/users/:id")
      setTimeout(() => response.writeHead(201).end("12345"), 40)
    })
    return Effect.acquireUseRelease(
      Effect.async<number>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
      }),
      (port) => get(`http://127.0.0.1:${port}/users/7`),
      () => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    )
  },
  HttpMetrics: (registry, options) =>
    Effect.promise(async () => {
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/users/:id", Effect.delay(HttpServerResponse.text("12345", { status: 201 }), "40 millis"))
      )
      const context = Context.make(Registry.Registry, registry)
      const handler = HttpApp.toWebHandler(router, HttpMetrics.middleware(options))
      await (await handler(new Request("http://localhost/users/7"), context)).text()
    })
}

/** The samples whose names begin with that, but for the buckets, once the request has ended. */
const samples = (registry: Measured, total: string, prefix: RegExp) =>
  Effect.zipRight(
    eventually("the request has ended", async () => (await registry.metrics()).includes(`${total}{`)),
    Effect.promise(async () =>
      (await registry.metrics()).split("\n").filter((line) => prefix.test(line) && !line.includes("_bucket"))
    )
  )

for (const [side, measuring] of Object.entries(sides)) {
  describe(`The names of ${side}`, () => {
    for (const { name, client } of clients) {
      it.live(`are those of the options, and the duration is in its unit, on a registry of ${name}`, () =>
        Effect.gen(function* () {
          const registry = new client.Registry() as unknown as Measured
          yield* measuring(registry, {
            names: {
              requests: "http_requests_total",
              duration: "http_request_duration_ms",
              inProgress: "http_requests_active",
              method: "verb",
              route: "path",
              status: "status_code"
            },
            durationUnit: "milliseconds",
            sizes: true
          })
          const labels = '{verb="GET",path="/users/:id",status_code="201"}'
          const found = yield* samples(registry, "http_requests_total", /^http_/)
          const [, sum = ""] = found.find((line) => line.startsWith("http_request_duration_ms_sum"))?.split(" ") ?? []
          assert.isAtLeast(Number(sum), 39)
          assert.isBelow(Number(sum), 30_000)
          assert.sameMembers(
            found.filter((line) => !line.includes("_sum") && !line.includes("request_size")),
            [
              `http_requests_total${labels} 1`,
              `http_request_duration_ms_count${labels} 1`,
              `http_server_response_size_bytes_count${labels} 1`,
              'http_requests_active{verb="GET"} 0'
            ]
          )
          const text = yield* Effect.promise(() => registry.metrics())
          assert.include(text, 'http_request_duration_ms_bucket{le="5",verb="GET"')
          assert.include(text, 'http_request_duration_ms_bucket{le="10000",verb="GET"')
          assert.match(text, /# HELP http_request_duration_ms .* in milliseconds\.\n/)
        })
      )
    }

    it.live("say the unit of the duration where they are not chosen", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        yield* measuring(registry, { durationUnit: "milliseconds", buckets: [100, 60_000] })
        const found = yield* samples(registry, "http_server_requests_total", /^http_server_request_duration/)
        assert.lengthOf(found, 2)
        for (const line of found) assert.match(line, /^http_server_request_duration_milliseconds_(sum|count)\{/)
      })
    )

    it.live("are those of metrics that are the caller's own, with labels of theirs and a unit", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const shape = { labelNames: ["method", "route", "code"] as const, help: "h", registers: [registry] }
        const requests = new Counter({ name: "mine_total", ...shape })
        const duration = new Histogram({ name: "mine_ms", buckets: [1, 39, 30_000], ...shape })
        yield* measuring(registry, {
          names: { status: "code" },
          durationUnit: "milliseconds",
          metrics: { requests, duration, requestSize: false, responseSize: false, inProgress: false }
        })
        yield* samples(registry, "mine_total", /^mine/)
        const text = yield* Effect.promise(() => registry.metrics())
        assert.include(text, 'mine_total{method="GET",route="/users/:id",code="201"} 1')
        assert.include(text, 'mine_ms_bucket{le="39",method="GET",route="/users/:id",code="201"} 0')
        assert.include(text, 'mine_ms_bucket{le="30000",method="GET",route="/users/:id",code="201"} 1')
        assert.notInclude(text, "http_server")
      })
    )
  })
}

describe("A name that cannot be is refused, and nothing is registered", () => {
  const own = { labels: () => ({ inc() {} }), inc() {} }
  const refused: ReadonlyArray<readonly [what: string, names: unknown, message: string, others?: object]> = [
    ["a name of no label or metric", { state: "x" }, "unknown option names.state"],
    ["a near one", { statu: "x" }, "unknown option names.statu"],
    ["a list", ["status_code"], "names must be an object with options, not a list"],
    ["a scheme that is not known", "mine", 'names must be "otel", or an object with names, not "mine"'],
    ["a label with a dash", { status: "status-code" }, 'names.status must be a valid label name, not "status-code"'],
    ["a label with a colon", { status: "a:b" }, 'names.status must be a valid label name, not "a:b"'],
    ["a label that is Prometheus' own", { route: "__r" }, 'names.route must be a valid label name, not "__r"'],
    ["a label of a histogram", { route: "le" }, "names.route must not be le: Prometheus reserves this label name"],
    ["a label that is no text", { method: 7 }, "names.method must be a valid label name, not 7"],
    ["a label that is empty", { method: "" }, 'names.method must be a valid label name, not ""'],
    ["a label twice", { route: "path", status: "path" }, "names.route and names.status must differ: both are path"],
    ["a label of another", { status: "method" }, "names.method and names.status must differ: both are method"],
    [
      "a label that is a further one",
      { status: "code" },
      "labelNames must not contain code: this label name is already used or reserved",
      { labelNames: ["code"], labels: () => ({ code: "" }) }
    ],
    ["a metric with a dot", { requests: "a.b" }, 'names.requests must be a valid metric name, not "a.b"'],
    ["a metric that begins with a digit", { duration: "5s" }, 'names.duration must be a valid metric name, not "5s"'],
    [
      "a metric twice",
      { requests: "http", inProgress: "http" },
      "names.requests and names.inProgress must differ: both would have samples with the name http"
    ],
    [
      "a sample of another metric",
      { requests: "http_count", duration: "http" },
      "names.requests and names.duration must differ: both would have samples with the name http_count"
    ],
    [
      "a metric that keeps its name",
      { duration: "http_server_request_size_bytes" },
      "names.duration and names.requestSize must differ: both would have samples with the name http_server_request_size_bytes",
      { sizes: true }
    ],
    [
      "a metric that is given",
      { requests: "x" },
      "names.requests has no effect together with metrics.requests: remove one of them",
      { metrics: { requests: own } }
    ],
    [
      "the name of a size that is left out",
      { requestSize: "x_bytes" },
      "names.requestSize has no effect together with metrics.requestSize: remove one of them",
      { sizes: true, metrics: { requestSize: false } }
    ],
    ["sizes that are no flag", undefined, 'sizes must be true or false, not "yes"', { sizes: "yes" }],
    [
      "a unit that is another one",
      { duration: "http_seconds" },
      'names.duration is http_seconds, but durationUnit is "milliseconds"',
      { durationUnit: "milliseconds" }
    ],
    [
      "a unit that is not known",
      undefined,
      'durationUnit must be "seconds" or "milliseconds", not "ms"',
      { durationUnit: "ms" }
    ],
    [
      "bounds that do not rise",
      undefined,
      "buckets must be an array of milliseconds above 0 in increasing order, not 2,1",
      { durationUnit: "milliseconds", buckets: [2, 1] }
    ],
    [
      "an invalid content type",
      undefined,
      "longLived must be a function, or an array of patterns",
      { longLived: ["stream"] }
    ],
    [
      "what is no list",
      undefined,
      "longLived must be a function, or an array of patterns",
      { longLived: "text/event-stream" }
    ]
  ]
  for (const [what, names, message, others = {}] of refused) {
    it(what, () => {
      const options = { ...others, names } as object
      const registry = new PromRegistry()
      assert.throws(() => httpMetrics({ registry, ...options }), RangeError, message)
      assert.deepStrictEqual(registry.getMetricsAsArray(), [])
      if ("longLived" in options) return
      assert.throws(() => HttpMetrics.middleware(options), RangeError, message)
    })
  }

  it("names of sizes may be given while these are not observed", () => {
    for (const sizes of [undefined, false]) {
      const registry = new PromRegistry()
      httpMetrics({ registry, sizes, names: { requests: "x_total", requestSize: "x_bytes", responseSize: "x" } })
      assert.lengthOf(registry.getMetricsAsArray(), 3)
    }
  })

  it("names of labels may change places", () => {
    const registry = new PromRegistry()
    httpMetrics({ registry, names: { route: "status", status: "route" } })
    assert.lengthOf(registry.getMetricsAsArray(), 3)
  })

  it("another metric by a chosen name is an error at once", () => {
    const registry = new PromRegistry()
    new Counter({ name: "mine", help: "h", registers: [registry] })
    assert.throws(
      () => httpMetrics({ registry, names: { requests: "mine" } }),
      Error,
      "the counter mine is already registered"
    )
  })
})
