import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiSchema,
  HttpApp,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Tracer } from "effect"
import { type Counter, Gauge, Registry as PromRegistry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import type * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { inProgress, listen, measuring, requests, samples, samplesOf } from "./support/httpApps.js"
import { eventually, rawConnection } from "./support/httpClient.js"

const router = HttpRouter.empty.pipe(
  HttpRouter.get("/a", HttpServerResponse.text("a")),
  HttpRouter.get("/b/:x", HttpServerResponse.text("b"))
)

const asking = <const Names extends string = never>(
  registry: PromRegistry,
  options: HttpMetrics.Options<Names, { readonly [K in Names]: string | number }> = {},
  app: HttpApp.Default<unknown> = router
) =>
  Effect.gen(function* () {
    const middleware = yield* measuring(registry, { sizes: true, ...options } as never)
    const handler = HttpApp.toWebHandlerRuntime(
      yield* Effect.provideService(Effect.runtime<never>(), Registry.Registry, registry)
    )(app, middleware)
    return (path: string) =>
      Effect.promise(async () => {
        const answer = await handler(new Request(`http://localhost${path}`))
        await answer.arrayBuffer()
        return answer.status
      })
  })

describe("The series of requests", () => {
  it.effect("are there again after their registry was cleared, and begin anew after it was reset", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const ask = yield* asking(registry)
      yield* ask("/a")
      yield* ask("/b/1")
      registry.clear()
      yield* ask("/a")
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200: 1"])
      yield* ask("/b/2")
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200: 1", "GET /b/:x 200: 1"])
      registry.resetMetrics()
      yield* ask("/a")
      yield* ask("/a")
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200: 2"])
      const sizes = yield* samplesOf(registry, "http_server_response_size_bytes", "_sum")
      assert.deepStrictEqual(sizes, ["GET /a 200: 2"])
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )

  it.effect("are counted right beyond the number of those that are kept at hand", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      let next = 0
      const ask = yield* asking(registry, {
        labelNames: ["tenant"],
        labels: () => {
          next = (next + 1) % 1_050
          return { tenant: next }
        }
      })
      for (let i = 0; i < 2_100; i += 1) yield* ask("/a")
      const all = yield* samplesOf(registry, requests)
      assert.strictEqual(all.length, 1_050)
      assert.isTrue(all.every((text) => text.endsWith(": 2")))
    })
  )

  it.effect("hold apart what labels say in other places", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const given = [
        { first: "a", second: "" },
        { first: "", second: "a" },
        { first: "a", second: "a" },
        { first: 200, second: "GET" }
      ]
      let turn = 0
      const ask = yield* asking(registry, {
        labelNames: ["first", "second"],
        labels: () => given[turn++ % given.length] ?? assert.fail("none")
      })
      for (let i = 0; i < 8; i += 1) yield* ask("/a")
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET /a 200  a: 2",
        "GET /a 200 200 GET: 2",
        "GET /a 200 a : 2",
        "GET /a 200 a a: 2"
      ])
    })
  )

  it.effect("come again in the exposition where they were taken out of it, also while a request is answered", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const labels = { method: "GET", route: "/c", status: "200" }
      const metric = (name: string) => registry.getSingleMetric(name) as Counter<string> | undefined
      // Each is done within one request, and again before a second one: how many are counted then.
      const changes: ReadonlyArray<readonly [() => void, number]> = [
        [() => {}, 2],
        [() => registry.clear(), 1],
        [() => registry.resetMetrics(), 1],
        [() => registry.removeSingleMetric(requests), 1],
        [() => metric(requests)?.remove(labels), 1],
        [() => metric(requests)?.reset(), 1],
        [() => metric("http_server_requests_in_progress")?.remove({ method: "GET" }), 3],
        [() => registry.removeSingleMetric("http_server_requests_in_progress"), 5]
      ]
      let change = () => {}
      const changing = HttpRouter.get(
        HttpRouter.empty,
        "/c",
        Effect.sync(() => {
          change()
          return HttpServerResponse.text("c")
        })
      )
      const ask = yield* asking(registry, {}, changing)
      for (const [each, counted] of changes) {
        change = each
        yield* ask("/c")
        change = () => {}
        each()
        yield* ask("/c")
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [`GET /c 200: ${counted}`])
        assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
      }
    })
  )

  it.effect("are right for requests side by side in fibers of one parent", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const app = middleware(
        HttpRouter.empty.pipe(
          HttpRouter.get("/a/:x", Effect.as(Effect.yieldNow(), HttpServerResponse.text("a"))),
          HttpRouter.get("/b/:y", Effect.as(Effect.repeatN(Effect.yieldNow(), 3), HttpServerResponse.text("bb")))
        )
      )
      const asked = (path: string) =>
        Effect.provideService(
          app,
          HttpServerRequest.HttpServerRequest,
          HttpServerRequest.fromWeb(new Request(`http://localhost${path}`))
        )
      const paths = Array.from({ length: 40 }, (_, index) => (index % 4 === 0 ? `/a/${index}` : `/b/${index}`))
      const before = yield* Effect.context<never>()
      yield* Effect.forEach(paths, asked, { concurrency: "unbounded" })
      assert.strictEqual(yield* Effect.context<never>(), before)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a/:x 200: 10", "GET /b/:y 200: 30"])
      const sizes = yield* samplesOf(registry, "http_server_response_size_bytes", "_sum")
      assert.deepStrictEqual(sizes, ["GET /a/:x 200: 10", "GET /b/:y 200: 60"])
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )

  it.effect("of requests in progress are right again after one that could not be taken back", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const gauge = new Gauge({
        name: "http_server_requests_in_progress",
        help: "Those of an application that looks at each value.",
        labelNames: ["method"],
        registers: [registry]
      })
      const set = gauge.set.bind(gauge) as (labels: object, value: number) => void
      let isRefused = false
      gauge.set = ((labels: object, value: number) => {
        if (isRefused) throw new Error("not now")
        set(labels, value)
      }) as typeof gauge.set
      const refusing = HttpRouter.get(
        router,
        "/refusing",
        Effect.sync(() => {
          isRefused = true
          return HttpServerResponse.text("refused")
        })
      )
      const ask = yield* asking(registry, {}, refusing)
      assert.strictEqual(yield* ask("/refusing"), 200)
      isRefused = false
      assert.strictEqual(yield* ask("/a"), 200)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200: 1", "GET /refusing 200: 1"])
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )

  it.effect("have empty texts where a value of a label throws when it is read", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const ask = yield* asking(registry, {
        labelNames: ["tenant"],
        labels: () => ({
          get tenant(): string {
            throw new Error("no tenant")
          }
        })
      })
      assert.strictEqual(yield* ask("/a"), 200)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200 : 1"])
      assert.include(yield* samplesOf(registry, "effect_prometheus_errors_total"), "inc: 1")
    })
  )
})

describe("An exemplar", () => {
  const ids = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }
  const tracer = (sampled: boolean) =>
    Tracer.make({
      span: (name, parent, context, links, startTime, kind) => ({
        _tag: "Span",
        name,
        ...ids,
        parent,
        context,
        links,
        kind,
        sampled,
        status: { _tag: "Started", startTime },
        attributes: new Map(),
        attribute: () => {},
        event: () => {},
        addLinks: () => {},
        end: () => {}
      }),
      context: (f) => f()
    })
  for (const sampled of [true, false]) {
    it.effect(sampled ? "is the sampled span of the request" : "is missing if that span is not sampled", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const ask = yield* Effect.withTracer(asking(registry, { exemplar: "currentSpan" }), tracer(sampled))
        assert.strictEqual(yield* ask("/a"), 200)
        const { body } = yield* Exposition.render({ accept: "application/openmetrics-text" }).pipe(
          Effect.provideService(Registry.Registry, registry)
        )
        const exemplar = `# {trace_id="${ids.traceId}",span_id="${ids.spanId}"}`
        const on = body.split("\n").filter((line) => line.includes(exemplar))
        assert.deepStrictEqual(
          on.map((line) => line.split("{")[0]),
          sampled ? [requests, "http_server_request_duration_seconds_bucket"] : []
        )
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /a 200: 1"])
      })
    )
  }
})

describe("What is sent", () => {
  it.scopedLive("for an error of an HttpApi is its own status", () =>
    Effect.gen(function* () {
      class Gone extends Schema.TaggedError<Gone>()("Gone", {}, HttpApiSchema.annotations({ status: 410 })) {}
      const group = HttpApiGroup.make("things")
        .add(HttpApiEndpoint.get("gone", "/gone/:id").addError(Gone).addSuccess(Schema.String))
        .add(HttpApiEndpoint.get("bad", "/bad").setUrlParams(Schema.Struct({ n: Schema.NumberFromString })))
        .prefix("/v1")
      const api = HttpApi.make("api").add(group).prefix("/api")
      const live = HttpApiBuilder.group(api, "things", (handlers) =>
        handlers.handle("gone", () => new Gone()).handle("bad", () => Effect.void)
      )
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry)
      const served = HttpApiBuilder.serve(middleware as never).pipe(
        Layer.provide(Layer.provide(HttpApiBuilder.api(api), live))
      )
      const url = yield* listen(served as never)
      const status = (path: string) => Effect.promise(async () => (await fetch(`${url}${path}`)).status)
      assert.strictEqual(yield* status("/api/v1/gone/1"), 410)
      assert.strictEqual(yield* status("/api/v1/bad?n=x"), 400)
      yield* eventually("both", async () => (await samples(registry, requests)).length === 2)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET /api/v1/bad 400: 1",
        "GET /api/v1/gone/:id 410: 1"
      ])
    })
  )

  it.scopedLive("to a request that waits for 100 Continue is counted once, as what comes in the end", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry)
      const app = HttpRouter.post(HttpRouter.empty, "/read", HttpServerResponse.text("read", { status: 202 }))
      const url = yield* listen(HttpServer.serve(app, middleware) as never)
      const connection = yield* rawConnection(Number(new URL(url).port))
      connection.send("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
      yield* connection.received((text) => text.includes("100 Continue"))
      connection.send("hello")
      yield* connection.received((text) => text.includes("202 Accepted"))
      yield* eventually("counted", async () => (await samples(registry, requests))[0] === "POST /read 202: 1")
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )
})
