import { createServer, type RequestListener, type Server, ServerResponse } from "node:http"
import { connect, createServer as createHttp2Server, createSecureServer } from "node:http2"
import { createServer as createHttpsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus"
import { MeterProvider } from "@opentelemetry/sdk-metrics"
import { Context, Effect, Layer, type Scope } from "effect"
import * as HttpMetrics from "../src/HttpMetrics.js"
import { httpMetrics, webHandler } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { type Certificate, certificate } from "./support/certificates.js"
import { ask, eventually, rawConnection, requestLines } from "./support/httpClient.js"
import { clients } from "./support/metrics.js"

type Measured = Registry.MetricRegistry & { metrics(): Promise<string> }

interface Served {
  readonly port: number
}

type Serve = (
  make: (listener?: RequestListener) => Server,
  registry: Measured,
  options: object
) => Effect.Effect<Served, never, Scope.Scope>

/** The same application: `/orders/:id`, `/fails`, which answers with 500, and `/waits`, which never answers. */
const sides: Readonly<Record<string, Serve>> = {
  httpMetrics: (make, registry, options) => {
    const measure = httpMetrics({ registry, ...options })
    const server = make((request, response) => {
      const path = request.url ?? ""
      const route = path.startsWith("/orders/") ? "/orders/:id" : path === "/missing" ? undefined : path
      measure(request, response, () => route)
      if (path === "/waits") return
      request.resume()
      response.statusCode = path === "/fails" ? 500 : route === undefined ? 404 : 200
      response.end("12345")
    })
    return Effect.acquireRelease(
      Effect.async<Served>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ port: (server.address() as AddressInfo).port })))
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections?.()
        })
    )
  },
  HttpMetrics: (make, registry, options) => {
    const app = HttpRouter.empty.pipe(
      HttpRouter.all("/orders/:id", HttpServerResponse.text("12345")),
      HttpRouter.get("/fails", Effect.fail("no")),
      HttpRouter.get("/waits", Effect.never)
    )
    const middleware = Effect.provideService(HttpMetrics.makeMiddleware(options), Registry.Registry, registry)
    return Effect.gen(function* () {
      const served = HttpServer.serve(app, yield* middleware)
      const server = NodeHttpServer.layer(() => make(), { host: "127.0.0.1", port: 0 })
      const { address } = Context.get(yield* Layer.build(Layer.provideMerge(served, server)), HttpServer.HttpServer)
      return { port: address._tag === "TcpAddress" ? address.port : 0 }
    }).pipe(Effect.orDie)
  }
}

const text = (registry: Measured) => Effect.promise(() => registry.metrics())

const duration = "http_server_request_duration_seconds"

/** The values of the labels of a sample, in the order of the exposition, with its value. */
const samples = (exposition: string, name: string): ReadonlyArray<string> =>
  exposition
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .map((line) => {
      const values = [...line.matchAll(/="([^"]*)"/g)].map(([, value]) => (value === "" ? "-" : value))
      return `${values.join(" ")}: ${line.split(" ").at(-1)}`
    })
    .sort()

const ended = (registry: Measured, many: number) =>
  eventually(`${many} requests have ended`, async () => {
    const counts = samples(await registry.metrics(), `${duration}_count`).map((line) => Number(line.split(": ")[1]))
    return counts.reduce((total, count) => total + count, 0) === many
  })

/** A family of an exposition: its type, its unit, and the names of its labels. */
interface Family {
  readonly type: string
  readonly unit: string | undefined
  readonly labels: ReadonlyArray<string>
}

const familiesIn = (exposition: string): Readonly<Record<string, Family>> => {
  const unitOf = (name: string) => new RegExp(`^# UNIT ${name} (\\S+)$`, "m").exec(exposition)?.[1]
  return Object.fromEntries(
    [...exposition.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", type = ""]) => {
      const lines = exposition
        .split("\n")
        .filter((line) => line.startsWith(name) && /^(?:_bucket|_sum|_count)?\{/.test(line.slice(name.length)))
      const labels = lines.flatMap((line) => [...line.matchAll(/(\w+)="/g)].map(([, label = ""]) => label))
      return [name, { type, unit: unitOf(name), labels: [...new Set(labels)] }]
    })
  )
}

/** The metrics of the conventions, recorded with the SDK of OpenTelemetry as an instrumentation would record them. */
const ofOpenTelemetry = (): Promise<string> => {
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true })
  const meter = new MeterProvider({ readers: [exporter] }).getMeter("http")
  const arrival = { "http.request.method": "GET", "url.scheme": "http" }
  const end = { ...arrival, "http.route": "/fails", "http.response.status_code": 500, "error.type": "500" }
  meter.createHistogram("http.server.request.duration", { unit: "s" }).record(0.1, end)
  meter.createUpDownCounter("http.server.active_requests", { unit: "{request}" }).add(1, arrival)
  meter.createHistogram("http.server.request.body.size", { unit: "By" }).record(5, end)
  meter.createHistogram("http.server.response.body.size", { unit: "By" }).record(5, end)
  return new Promise((resolve) => {
    const response = new ServerResponse({} as never)
    response.end = ((body: string) => resolve(body)) as never
    exporter.getMetricsRequestHandler({} as never, response)
  })
}

// The exporter of JavaScript states the unit beside the name. All others, and Prometheus, add it to the name; a unit in
// braces is a remark, not a unit.
const suffixes: Readonly<Record<string, string>> = { s: "_seconds", By: "_bytes", "{request}": "" }

const translated = (exposition: string): Readonly<Record<string, Pick<Family, "type" | "labels">>> =>
  Object.fromEntries(
    Object.entries(familiesIn(exposition))
      .filter(([name]) => name !== "target_info")
      .map(([name, { labels, type, unit = "" }]) => {
        const suffix = suffixes[unit]
        assert.isDefined(suffix, `the unit ${unit} of ${name}`)
        return [`${name}${suffix}`, { type, labels: [...labels].sort() }]
      })
  )

const otel = { names: "otel" } as const

for (const [side, serve] of Object.entries(sides)) {
  describe(`The names of OpenTelemetry in ${side}`, () => {
    for (const { client, name } of clients) {
      const newRegistry = () => new client.Registry() as unknown as Measured

      it.scopedLive(`are the names, types, units and labels that its SDK exports (${name})`, () =>
        Effect.gen(function* () {
          const registry = newRegistry()
          const { port } = yield* serve((listener) => createServer(listener), registry, { ...otel, sizes: true })
          yield* Effect.promise(() => ask(`http://127.0.0.1:${port}/fails`))
          yield* ended(registry, 1)
          const handler = webHandler({ registry, selfMetrics: false })
          const exposition = yield* Effect.promise(async () => (await handler(new Request("http://test/"))).text())
          const ours = Object.entries(familiesIn(exposition)).filter(([family]) => family.startsWith("http_"))
          const theirs = translated(yield* Effect.promise(ofOpenTelemetry))
          assert.deepStrictEqual(
            Object.fromEntries(ours.map(([name, { labels, type }]) => [name, { type, labels: [...labels].sort() }])),
            theirs
          )
          assert.lengthOf(ours, 4)
        })
      )

      it.scopedLive(`have the values of the conventions (${name})`, () =>
        Effect.gen(function* () {
          const registry = newRegistry()
          const { port } = yield* serve((listener) => createServer(listener), registry, { ...otel, sizes: true })
          const url = `http://127.0.0.1:${port}`
          const forwarded = { "x-forwarded-proto": "https", forwarded: "proto=https" }
          for (const [method, path] of [
            ["GET", "/orders/1"],
            ["GET", "/orders/2"],
            ["PURGE", "/orders/1"],
            ["GET", "/missing"],
            ["GET", "/fails"]
          ] as const) {
            yield* Effect.promise(() => ask(`${url}${path}`, { method, headers: forwarded }))
          }
          const leaving = yield* rawConnection(port)
          leaving.send(requestLines("/waits"))
          yield* eventually("it is in progress", async () =>
            samples(await registry.metrics(), "http_server_active_requests").includes("GET http: 1")
          )
          leaving.socket.destroy()
          yield* ended(registry, 6)
          const exposition = yield* text(registry)
          const expected = [
            "GET http - 404 -: 1",
            "GET http /fails 500 500: 1",
            "GET http /orders/:id 200 -: 2",
            "GET http /waits 499 499: 1",
            "_OTHER http /orders/:id 200 -: 1"
          ]
          assert.deepStrictEqual(samples(exposition, `${duration}_count`), expected)
          assert.deepStrictEqual(samples(exposition, "http_server_active_requests"), ["GET http: 0", "_OTHER http: 0"])
          assert.deepStrictEqual(
            samples(exposition, "http_server_response_body_size_bytes_sum").filter((line) => line.includes("orders")),
            ["GET http /orders/:id 200 -: 10", "_OTHER http /orders/:id 200 -: 5"]
          )
          assert.include(samples(exposition, "http_server_request_body_size_bytes_count"), expected[2])
          assert.notInclude(exposition, "http_server_requests")
        })
      )

      it.scopedLive(`are those of the caller's own metrics, also of a count of requests (${name})`, () =>
        Effect.gen(function* () {
          const registry = newRegistry()
          const arrival = ["http_request_method", "url_scheme"] as const
          const end = [...arrival, "http_route", "http_response_status_code", "error_type", "tenant"] as const
          const registers = [registry as never]
          const requests = new client.Counter({ name: "my_requests_total", help: "h", labelNames: end, registers })
          const inProgress = new client.Gauge({ name: "my_active", help: "h", labelNames: arrival, registers })
          const { port } = yield* serve((listener) => createServer(listener), registry, {
            ...otel,
            metrics: { requests, inProgress },
            labelNames: ["tenant"],
            labels: () => ({ tenant: "acme" })
          })
          yield* Effect.promise(() => ask(`http://127.0.0.1:${port}/fails`))
          yield* ended(registry, 1)
          const exposition = yield* text(registry)
          assert.deepStrictEqual(samples(exposition, "my_requests_total"), ["GET http /fails 500 500 acme: 1"])
          assert.deepStrictEqual(samples(exposition, `${duration}_count`), ["GET http /fails 500 500 acme: 1"])
          assert.deepStrictEqual(samples(exposition, "my_active"), ["GET http: 0"])
          assert.sameMembers(
            Object.keys(familiesIn(exposition)).filter((family) => !family.startsWith("effect_")),
            ["my_requests_total", "my_active", duration]
          )
        })
      )
    }

    const { client } = clients[0] ?? assert.fail("no client")
    const newRegistry = () => new client.Registry() as unknown as Measured

    const secure: Readonly<
      Record<string, readonly [make: (shown: Certificate) => (listener?: RequestListener) => Server, scheme: string]>
    > = {
      "HTTP/2": [() => (listener) => createHttp2Server(listener as never) as unknown as Server, "http"],
      "HTTP/2 over TLS": [
        ({ cert, key }) =>
          (listener) =>
            createSecureServer({ cert, key }, listener as never) as unknown as Server,
        "https"
      ]
    }
    for (const [protocol, [make, scheme]] of Object.entries(secure)) {
      it.scopedLive(`have the scheme ${scheme} over ${protocol}`, () =>
        Effect.gen(function* () {
          const registry = newRegistry()
          const shown = yield* certificate
          const { port } = yield* serve(make(shown), registry, otel)
          const session = yield* Effect.acquireRelease(
            Effect.sync(() => connect(`${scheme}://127.0.0.1:${port}`, { ca: shown.cert }).on("error", () => {})),
            (open) => Effect.sync(() => open.destroy())
          )
          session.request({ ":path": "/orders/1" }).resume()
          yield* ended(registry, 1)
          assert.deepStrictEqual(samples(yield* text(registry), `${duration}_count`), [
            `GET ${scheme} /orders/:id 200 -: 1`
          ])
        })
      )
    }

    it.scopedLive("count requests of both schemes in progress on one gauge", () =>
      Effect.gen(function* () {
        const registry = newRegistry()
        const { cert, key } = yield* certificate
        const plain = yield* serve((listener) => createServer(listener), registry, otel)
        const tls = yield* serve((listener) => createHttpsServer({ cert, key }, listener), registry, otel)
        const leaving = yield* rawConnection(plain.port)
        leaving.send(requestLines("/waits"))
        const origin = `https://127.0.0.1:${tls.port}`
        yield* Effect.promise(() => ask(`${origin}/orders/1`, { ca: cert }))
        const gone = new AbortController()
        void ask(`${origin}/waits`, { ca: cert, signal: gone.signal }).catch(() => {})
        yield* eventually("both are in progress", async () => {
          const found = samples(await registry.metrics(), "http_server_active_requests")
          return found.join() === "GET http: 1,GET https: 1"
        })
        leaving.socket.destroy()
        yield* eventually("one is in progress", async () => {
          const found = samples(await registry.metrics(), "http_server_active_requests")
          return found.join() === "GET http: 0,GET https: 1"
        })
        gone.abort()
        yield* ended(registry, 3)
        assert.deepStrictEqual(samples(yield* text(registry), `${duration}_count`), [
          "GET http /waits 499 499: 1",
          "GET https /orders/:id 200 -: 1",
          "GET https /waits 499 499: 1"
        ])
      })
    )

    it.scopedLive("have the buckets that the conventions advise, unless others are given", () =>
      Effect.gen(function* () {
        const bounds = function* (options: object) {
          const registry = newRegistry()
          const { port } = yield* serve((listener) => createServer(listener), registry, { ...otel, ...options })
          yield* Effect.promise(() => ask(`http://127.0.0.1:${port}/orders/1`))
          yield* ended(registry, 1)
          return [...(yield* text(registry)).matchAll(/_bucket\{le="([\d.]+)"/g)].map(([, bound]) => Number(bound))
        }
        assert.deepStrictEqual(
          yield* Effect.gen(() => bounds({})),
          [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
        )
        assert.deepStrictEqual(yield* Effect.gen(() => bounds({ buckets: [1, 2] })), [1, 2])
      })
    )
  })
}

describe("The scheme of a web handler", () => {
  const { client } = clients[0] ?? assert.fail("no client")

  it.live.each(["http", "https"])("is that of the URL of its requests: %s", (scheme) =>
    Effect.gen(function* () {
      const registry = new client.Registry() as unknown as Measured
      const router = HttpRouter.empty.pipe(HttpRouter.get("/orders/:id", HttpServerResponse.text("12345")))
      const handler = HttpApp.toWebHandler(router, HttpMetrics.middleware(otel))
      const context = Context.make(Registry.Registry, registry)
      yield* Effect.promise(async () => (await handler(new Request(`${scheme}://localhost/orders/1`), context)).text())
      yield* ended(registry, 1)
      assert.deepStrictEqual(samples(yield* text(registry), `${duration}_count`), [
        `GET ${scheme} /orders/:id 200 -: 1`
      ])
    })
  )
})

describe("The names of OpenTelemetry are refused", () => {
  const { client } = clients[0] ?? assert.fail("no client")
  const labels = () => ({})
  const refused: ReadonlyArray<readonly [what: string, options: object, message: string]> = [
    [
      "with milliseconds",
      { ...otel, durationUnit: "milliseconds" },
      'durationUnit must be seconds with names: "otel", not "milliseconds"'
    ],
    [
      "with an additional label of one of their labels",
      { ...otel, labelNames: ["url_scheme"], labels },
      "labelNames must not contain url_scheme: this label name is already used or reserved"
    ],
    [
      "with an additional label of one that is known at the end",
      { ...otel, labelNames: ["error_type"], labels },
      "labelNames must not contain error_type: this label name is already used or reserved"
    ],
    ["in another case", { names: "OTel" }, 'names must be "otel", or an object with names, not "OTel"'],
    ["in a list", { names: ["otel"] }, "names must be an object with options, not a list"]
  ]
  for (const [what, options, message] of refused) {
    it(what, () => {
      const registry = new client.Registry()
      assert.throws(() => httpMetrics({ registry, ...options } as never), RangeError, message)
      assert.deepStrictEqual(registry.getMetricsAsArray(), [])
      assert.throws(() => HttpMetrics.middleware(options as never), RangeError, message)
    })
  }

  it("but labels with the default names may be additional ones", () => {
    const options = { ...otel, labelNames: ["method", "status"] as const, labels: () => ({ method: "", status: "" }) }
    assert.isFunction(httpMetrics({ registry: new client.Registry(), ...options }))
    assert.isFunction(HttpMetrics.middleware(options))
  })

  it("on a registry that has the duration with the default labels, which has the same name", () => {
    const registry = new client.Registry()
    httpMetrics({ registry })
    assert.throws(() => httpMetrics({ registry, ...otel }), Error, duration)
    assert.isFunction(httpMetrics({ registry: new client.Registry(), ...otel }))
  })
})
