import { createServer } from "node:http"
import { HttpApp, HttpLayerRouter, HttpMiddleware, HttpRouter, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Config, type Context, Effect, flow, Layer, Schedule } from "effect"
import { Counter, Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import { httpMetrics } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { awaitIdle, inProgress, measuring, requests, samplesOf } from "./support/httpApps.js"
import { get } from "./support/httpClient.js"
import { listen } from "./support/listen.js"

const ok = Effect.as(Effect.yieldNow(), HttpServerResponse.text("ok"))
const users = HttpRouter.get(HttpRouter.empty, "/users/:id", ok)

type Handler = (request: Request, context: Context.Context<never>) => Promise<Response>
type Apart = () => HttpMetrics.Middleware
type Outer = (app: HttpApp.Default<unknown>) => HttpApp.Default<unknown>

const served = (app: HttpApp.Default<unknown>, middleware: Outer): Handler =>
  HttpApp.toWebHandler(app, middleware as HttpMiddleware.HttpMiddleware)

const route = HttpLayerRouter.add("GET", "/users/:id", ok)

const routed = (
  app: Layer.Layer<never, HttpMetrics.HttpMetricsError, HttpLayerRouter.HttpRouter>,
  registry: PromRegistry,
  middleware: HttpMetrics.Middleware = (inner) => inner
): Handler =>
  HttpLayerRouter.toWebHandler(Layer.provide(app, Registry.layer(registry)), {
    middleware: middleware as never,
    disableLogger: true
  }).handler

let failures = 0

/** Ways in which one request is measured more than once. */
const ways: ReadonlyArray<readonly [string, (apart: Apart, registry: PromRegistry) => Handler]> = [
  [
    "the same middleware twice",
    (apart) => {
      const middleware = apart()
      return served(users, flow(middleware, middleware))
    }
  ],
  ["two middlewares", (apart) => served(users, flow(apart(), apart()))],
  ["a middleware around all and one around a route", (apart) => served(HttpRouter.use(users, apart()), apart())],
  [
    "a middleware around all and one around what is mounted",
    (apart) =>
      served(
        HttpRouter.mountApp(HttpRouter.empty, "/users", apart()(HttpRouter.get(HttpRouter.empty, "/:id", ok))),
        apart()
      )
  ],
  [
    "a middleware in between that changes the request",
    (apart) => served(HttpMiddleware.xForwardedHeaders(apart()(users)), apart())
  ],
  [
    "a middleware in between that runs the app in a fiber and a scope of its own",
    (apart) =>
      served(
        users,
        flow(apart(), (app) => Effect.scoped(Effect.timeout(app, "10 seconds")) as HttpApp.Default<unknown>, apart())
      )
  ],
  [
    "a retry in between",
    (apart) => {
      const flaky = Effect.suspend(() => (failures++ % 2 === 0 ? Effect.fail("no") : ok))
      const app = apart()(HttpRouter.get(HttpRouter.empty, "/users/:id", flaky))
      return served(Effect.retry(app, Schedule.recurs(1)), (inner) => inner)
    }
  ],
  ["a layer and a middleware", (apart, registry) => routed(Layer.merge(route, HttpMetrics.layer()), registry, apart())],
  ["two layers", (_, registry) => routed(Layer.mergeAll(HttpMetrics.layer(), route, HttpMetrics.layer()), registry)],
  [
    "a layer in each of two modules, one of them under a prefix",
    (_, registry) => {
      const module = Layer.merge(HttpLayerRouter.add("GET", "/other", ok), HttpMetrics.layer()).pipe(
        Layer.provide(
          Layer.effect(
            HttpLayerRouter.HttpRouter,
            Effect.map(HttpLayerRouter.HttpRouter, (router) => router.prefixed("/module"))
          )
        )
      )
      return routed(Layer.mergeAll(module, route, HttpMetrics.layer()), registry)
    }
  ],
  [
    "a layer and one that is configured",
    (_, registry) =>
      routed(
        Layer.mergeAll(
          HttpMetrics.layerConfig({ exclude: Config.succeed([]) }) as ReturnType<typeof HttpMetrics.layer>,
          route,
          HttpMetrics.layer()
        ),
        registry
      )
  ]
]

describe("A request counts once on a registry, with", () => {
  const made = (registry: PromRegistry): Effect.Effect<Apart> =>
    Effect.map(Effect.runtime<never>(), () => () => Effect.runSync(measuring(registry)))
  for (const [name, way] of ways) {
    for (const [of, apart] of [
      ["made", made],
      ["in one line", () => Effect.succeed(() => HttpMetrics.middleware())]
    ] as const) {
      it.effect(`${name}, ${of}`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const handler = way(yield* apart(registry), registry)
          const context = yield* Effect.provideService(Effect.context<never>(), Registry.Registry, registry)
          for (const id of [1, 2]) {
            const { status } = yield* Effect.promise(() =>
              handler(new Request(`http://localhost/users/${id}`), context)
            )
            assert.strictEqual(status, 200)
          }
          yield* awaitIdle(registry)
          assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 2"])
          assert.deepStrictEqual(yield* samplesOf(registry, "http_server_request_duration_seconds", "_count"), [
            "GET /users/:id 200: 2"
          ])
        })
      )
    }
  }
})

const asked = (handler: (request: Request) => Promise<Response>, ...paths: ReadonlyArray<string>) =>
  Effect.forEach(paths, (path) => Effect.promise(() => handler(new Request(`http://localhost${path}`))))

describe("A request counts", () => {
  it.effect("on each of two registries", () =>
    Effect.gen(function* () {
      const registries = [new PromRegistry(), new PromRegistry()] as const
      const [one, other] = [yield* measuring(registries[0]), yield* measuring(registries[1])]
      yield* asked(HttpApp.toWebHandler(users, flow(one, other, one, other)), "/users/1", "/no")
      for (const registry of registries) {
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 1", "GET unmatched 404: 1"])
        assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
      }
    })
  )

  it.scopedLive("once, also where httpMetrics measures the application that it is mounted in", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const app = yield* NodeHttpServer.makeHandler((yield* measuring(registry))(users))
      const server = createServer((request, response) => {
        measure(request, response, () => "/users/:id")
        app(request, response)
      })
      const port = yield* listen(server)
      assert.strictEqual((yield* get(`http://127.0.0.1:${port}/users/1`)).status, 200)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 1"])
    })
  )

  it.effect("each time that it is answered, at once or one after another", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const handler = HttpApp.toWebHandler(users, yield* measuring(registry))
      const request = new Request("http://localhost/users/1")
      yield* Effect.promise(() => Promise.all([handler(request), handler(request)]))
      yield* Effect.promise(() => handler(request))
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 3"])
    })
  )

  it.effect("on metrics of the caller's own, and once on those beside them that two middlewares share", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const own = new Counter({
        name: "own_total",
        help: "h",
        labelNames: ["method", "route", "status"],
        registers: [registry]
      })
      const all = yield* measuring(registry)
      const apart = yield* measuring(registry, { metrics: { requests: own } })
      yield* asked(HttpApp.toWebHandler(users, flow(all, apart)), "/users/1")
      yield* asked(HttpApp.toWebHandler(users, flow(apart, all, apart)), "/users/2")
      const duration = "http_server_request_duration_seconds"
      assert.deepStrictEqual(yield* samplesOf(registry, "own_total"), ["GET /users/:id 200: 2"])
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 2"])
      assert.deepStrictEqual(yield* samplesOf(registry, duration, "_count"), ["GET /users/:id 200: 2"])
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )

  const orders: ReadonlyArray<
    readonly [string, (a: HttpMetrics.Middleware, b: HttpMetrics.Middleware) => HttpMetrics.Middleware]
  > = [
    ["further in", (some, all) => flow(some, all)],
    ["further out", (some, all) => flow(all, some)]
  ]
  for (const [where, order] of orders) {
    it.effect(`where one middleware leaves it out and another does not, which is ${where}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const some = yield* measuring(registry, { exclude: ["/users/1", "/users/:id"] })
        yield* asked(HttpApp.toWebHandler(users, order(some, yield* measuring(registry))), "/users/1", "/users/2")
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 2"])
        yield* asked(HttpApp.toWebHandler(users, flow(some, some)), "/users/1", "/users/2")
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 2"])
      })
    )
  }
})
