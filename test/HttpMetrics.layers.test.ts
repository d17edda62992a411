import { HttpLayerRouter, HttpMiddleware, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, flow, Layer } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { awaitIdle, requests, samplesOf } from "./support/httpApps.js"

const ok = Effect.as(Effect.yieldNow(), HttpServerResponse.text("ok"))

type App = Layer.Layer<never, HttpMetrics.HttpMetricsError, HttpLayerRouter.HttpRouter>
type HttpEffect = Effect.Effect<HttpServerResponse.HttpServerResponse>

class Session extends Context.Tag("test/Session")<Session, string>() {}

const global = (middleware: (app: HttpEffect) => Effect.Effect<unknown, unknown, unknown>) =>
  HttpLayerRouter.middleware(middleware as never, { global: true }) as App

const guarded = (refuse: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>) =>
  global((app) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
      headers["authorization"] === undefined ? refuse : app
    )
  )

const routes = Layer.merge(
  HttpLayerRouter.add("GET", "/users/:id", ok),
  HttpLayerRouter.add("GET", "/api/things/:id", Effect.zipRight(Effect.yieldNow(), ok))
)

/** What is asked of the application by `registry`, and what was counted of it. */
const counted = (
  app: App,
  asked: ReadonlyArray<readonly [method: string, path: string, status: number]>,
  middleware?: (app: HttpEffect) => HttpEffect
) =>
  Effect.gen(function* () {
    const registry = new PromRegistry()
    const { handler } = HttpLayerRouter.toWebHandler(Layer.provide(app, Registry.layer(registry)), {
      disableLogger: true,
      ...(middleware === undefined ? {} : { middleware: middleware as never })
    })
    const context = yield* Effect.provideService(Effect.context<never>(), Registry.Registry, registry)
    for (const [method, path, status] of asked) {
      const headers = path.endsWith("!") ? [] : [["authorization", "yes"] as [string, string]]
      const request = new Request(`http://localhost${path.replace("!", "")}`, { method, headers })
      assert.strictEqual((yield* Effect.promise(() => handler(request, context))).status, status, `${method} ${path}`)
    }
    yield* awaitIdle(registry)
    return yield* samplesOf(registry, requests)
  })

const others: ReadonlyArray<readonly [string, App, string, number, ReadonlyArray<string>]> = [
  [
    "answers 401 itself",
    guarded(Effect.succeed(HttpServerResponse.empty({ status: 401 }))),
    "GET",
    401,
    ["GET unmatched 401: 1"]
  ],
  ["answers the preflights of CORS", HttpLayerRouter.cors() as App, "OPTIONS", 204, ["OPTIONS unmatched 204: 1"]],
  ["fails", guarded(Effect.fail("no")), "GET", 500, ["GET unmatched 500: 1"]],
  ["dies", guarded(Effect.die("no")), "GET", 500, ["GET unmatched 500: 1"]],
  [
    "answers in the place of what it has run",
    global((app) => Effect.as(app, HttpServerResponse.empty({ status: 203 }))),
    "GET",
    203,
    ["GET /users/:id 203: 1"]
  ],
  [
    "provides a service, and answers 404",
    global((app) =>
      Effect.catchAll(Effect.provideService(app, Session, "one"), () =>
        Effect.succeed(HttpServerResponse.empty({ status: 404 }))
      )
    ),
    "GET",
    200,
    ["GET /users/:id 200: 1"]
  ],
  ["runs the app in a fiber of its own", global(Effect.timeout("10 seconds")), "GET", 200, ["GET /users/:id 200: 1"]]
]

const measuring = HttpMetrics.layer()

const orders: ReadonlyArray<readonly [string, (other: App) => App]> = [
  ["before the layer", (other) => Layer.mergeAll(other, measuring, routes)],
  ["after the layer", (other) => Layer.mergeAll(measuring, other, routes)],
  ["after the routes", (other) => Layer.mergeAll(routes, other, measuring)],
  ["twice, around the layer", (other) => Layer.mergeAll(other, measuring, Layer.fresh(other), routes)],
  ["which the layer is provided to", (other) => Layer.provide(Layer.merge(other, routes), measuring)],
  ["which is provided to the layer", (other) => Layer.merge(routes, Layer.provide(measuring, other))]
]

describe("The layer counts all requests, beside a global middleware that", () => {
  for (const [name, other, method, status, expected] of others) {
    for (const [order, merged] of orders) {
      it.effect(`${name}, merged ${order}`, () =>
        Effect.map(counted(merged(other), [[method, "/users/1!", status]]), (all) =>
          assert.deepStrictEqual(all, expected)
        )
      )
    }
  }
})

describe("The layer", () => {
  it.effect("counts what is added to the router after it", () =>
    Effect.gen(function* () {
      const later = HttpLayerRouter.add("GET", "/later", ok)
      const app = Layer.provideMerge(later, measuring)
      assert.deepStrictEqual(yield* counted(app, [["GET", "/later", 200]]), ["GET /later 200: 1"])
    })
  )

  it.effect("counts as a global middleware where the router is a copy", () =>
    Effect.gen(function* () {
      const copy = Layer.effect(
        HttpLayerRouter.HttpRouter,
        Effect.map(HttpLayerRouter.HttpRouter, (router) => router.prefixed("/api"))
      )
      const module = Layer.provide(Layer.merge(HttpLayerRouter.add("GET", "/in/:id", ok), measuring), copy)
      const all = yield* counted(Layer.merge(module, routes), [
        ["GET", "/api/in/1", 200],
        ["GET", "/users/1", 200]
      ])
      assert.deepStrictEqual(all, ["GET /api/in/:id 200: 1", "GET /users/:id 200: 1"])
    })
  )

  it.effect("counts as a global middleware where the router cannot be changed", () =>
    Effect.gen(function* () {
      const frozen = Layer.effect(
        HttpLayerRouter.HttpRouter,
        Effect.map(HttpLayerRouter.HttpRouter, (router) => Object.freeze(router))
      )
      const all = yield* counted(Layer.merge(Layer.provide(measuring, frozen), routes), [["GET", "/users/1", 200]])
      assert.deepStrictEqual(all, ["GET /users/:id 200: 1"])
    })
  )

  it.effect("leaves what a middleware around the server answers to one that is put there", () =>
    Effect.gen(function* () {
      const cors = HttpMiddleware.cors()
      const around = flow(cors, HttpMetrics.middleware()) as never
      const all = yield* counted(
        Layer.merge(measuring, routes),
        [
          ["OPTIONS", "/users/1", 204],
          ["GET", "/users/1", 200]
        ],
        around
      )
      assert.deepStrictEqual(all, ["GET /users/:id 200: 1", "OPTIONS unmatched 204: 1"])
    })
  )
})
