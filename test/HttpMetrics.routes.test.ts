import { HttpApp, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, FiberId, type Runtime } from "effect"
import { Registry as PromRegistry } from "prom-client"
import { inProgress, measuring, samples, samplesOf } from "./support/httpApps.js"

const ok = Effect.as(Effect.yieldNow(), HttpServerResponse.text("ok"))
const reading = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => HttpServerResponse.text(url))

class Session extends Context.Tag("test/Session")<Session, string>() {}

/** Responds without waiting for the handler, as behind a timeout, nor for the end of what it interrupts. */
const leaving = (app: (waits: Effect.Effect<never>) => HttpApp.Default<unknown>) =>
  Effect.suspend(() => {
    const reached = Deferred.unsafeMake<void>(FiberId.none)
    // What cannot be interrupted still waits when the request has been answered.
    const never = Effect.uninterruptible(Effect.async<never>(() => {}))
    const waits = Effect.zipRight(Deferred.succeed(reached, undefined), never)
    const late = Effect.as(Deferred.await(reached), HttpServerResponse.empty({ status: 504 }))
    return Effect.raceFirst(Effect.interruptible(Effect.disconnect(app(waits))), late)
  })

/** Where the handlers run: what of them is traced. */
const worlds: ReadonlyArray<{
  readonly name: string
  readonly around: (run: Effect.Effect<Runtime.Runtime<never>>) => Effect.Effect<Runtime.Runtime<never>>
}> = [
  { name: "traced", around: (run) => run },
  { name: "where no request is traced", around: HttpMiddleware.withTracerDisabledWhenEffect(() => true) },
  {
    name: "where no request is traced, within a span",
    around: (run) =>
      run.pipe(
        HttpMiddleware.withTracerDisabledWhenEffect(() => true),
        Effect.withSpan("server")
      )
  },
  { name: "where nothing is traced", around: Effect.withTracerEnabled(false) }
]

/** Asks an app for paths, all of them at the same time, and gives back what was counted of them. */
const counted = (
  app: HttpApp.Default<unknown>,
  paths: ReadonlyArray<string>,
  {
    around = (run) => run,
    times = 1
  }: { readonly around?: (typeof worlds)[number]["around"]; readonly times?: number } = {}
) =>
  Effect.gen(function* () {
    const registries = Array.from({ length: times }, () => new PromRegistry())
    const middlewares = yield* Effect.forEach(registries, (registry) => measuring(registry))
    const runtime = yield* around(Effect.runtime<never>())
    const handler = HttpApp.toWebHandlerRuntime(runtime)(app, (inner) =>
      middlewares.reduce((measured, middleware) => middleware(measured), inner as HttpApp.Default<unknown>)
    )
    yield* Effect.forEach(
      paths,
      (path) => Effect.promise(async () => (await handler(new Request(`http://localhost${path}`))).arrayBuffer()),
      { concurrency: "unbounded" }
    )
    const seen = yield* Effect.forEach(registries, (registry) =>
      Effect.promise(async () => {
        assert.strictEqual(await inProgress(registry), 0)
        return (await samples(registry, "http_server_requests_total")).map((text) => text.replace(/^GET /, ""))
      })
    )
    const [first = []] = seen
    for (const each of seen) assert.deepStrictEqual(each, first)
    return first
  })

const users = HttpRouter.empty.pipe(HttpRouter.get("/", ok), HttpRouter.get("/users/:id", ok))

describe("The route is the whole pattern", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      app: HttpApp.Default<unknown>,
      paths: ReadonlyArray<string>,
      expected: ReadonlyArray<string>
    ]
  > = [
    ["of a router", users, ["/", "/users/1?a=1"], ["/ 200: 1", "/users/:id 200: 1"]],
    ["of a catch-all", HttpRouter.empty.pipe(HttpRouter.get("*", ok)), ["/a", "/b/c"], ["* 200: 2"]],
    [
      "under a prefix",
      HttpRouter.prefixAll(users, "/api"),
      ["/api", "/api/users/1"],
      ["/api 200: 1", "/api/users/:id 200: 1"]
    ],
    [
      "under a mounted router",
      HttpRouter.mount(HttpRouter.empty, "/api", users),
      ["/api/users/1"],
      ["/api/users/:id 200: 1"]
    ],
    [
      "under a mounted app that is a router",
      HttpRouter.mountApp(HttpRouter.empty, "/api", users),
      ["/api/users/1", "/api/no", "/api"],
      ["/api/ 200: 1", "/api/users/:id 200: 1", "unmatched 404: 1"]
    ],
    [
      "under two of them",
      HttpRouter.mountApp(HttpRouter.empty, "/api", HttpRouter.mountApp(HttpRouter.empty, "/v1", users)),
      ["/api/v1/users/1"],
      ["/api/v1/users/:id 200: 1"]
    ],
    [
      "under one that keeps the prefix",
      HttpRouter.mountApp(HttpRouter.empty, "/api", HttpRouter.prefixAll(users, "/api"), { includePrefix: true }),
      ["/api/users/1"],
      ["/api/users/:id 200: 1"]
    ],
    [
      "under a prefix, in a router that a route of another one runs",
      HttpRouter.prefixAll(
        HttpRouter.all(HttpRouter.empty, "/in/*", HttpRouter.get(HttpRouter.empty, "/in/:x", ok)),
        "/api"
      ),
      ["/api/in/1"],
      ["/api/in/:x 200: 1"]
    ],
    [
      "of an app that is mounted",
      HttpRouter.mountApp(HttpRouter.empty, "/files", reading),
      ["/files/a", "/files/b"],
      ["/files/* 200: 2"]
    ],
    [
      "of one that never looks at its request",
      HttpRouter.mountApp(HttpRouter.empty, "/files", ok),
      ["/files/a", "/files/b", "/files"],
      ["/files/* 200: 3"]
    ],
    [
      "of one that keeps the prefix",
      HttpRouter.mountApp(HttpRouter.empty, "/files", reading, { includePrefix: true }),
      ["/files/a"],
      ["/files/* 200: 1"]
    ],
    ["of no router", reading, ["/a", "/b"], ["unmatched 200: 2"]],
    [
      "with a span in between",
      Effect.withSpan(users, "between"),
      ["/users/1", "/no"],
      ["/users/:id 200: 1", "unmatched 404: 1"]
    ],
    [
      "with a span in between, in a mounted router",
      HttpRouter.mountApp(HttpRouter.empty, "/api", Effect.withSpan(users, "between")),
      ["/api/users/1"],
      ["/api/users/:id 200: 1"]
    ],
    [
      "behind a middleware that changes the request",
      HttpMiddleware.xForwardedHeaders(users),
      ["/users/1"],
      ["/users/:id 200: 1"]
    ],
    [
      "of the router that was reached last, whatever the handler reads after that",
      HttpRouter.all(
        HttpRouter.empty,
        "/in/*",
        Effect.zipLeft(HttpRouter.get(HttpRouter.empty, "/in/:x", ok), reading)
      ),
      ["/in/1"],
      ["/in/:x 200: 1"]
    ],
    [
      "of the second router where the first has matched in vain",
      Effect.flatMap(HttpRouter.get(HttpRouter.empty, "/a/*", HttpServerResponse.empty({ status: 404 })), (response) =>
        response.status === 404 ? HttpRouter.get(HttpRouter.empty, "/a/:id", reading) : Effect.succeed(response)
      ),
      ["/a/1"],
      ["/a/:id 200: 1"]
    ],
    [
      "under a mounted router, behind what takes a name off the URL before and after",
      Effect.updateService(
        HttpRouter.mountApp(
          HttpRouter.empty,
          "/api",
          Effect.updateService(users, HttpServerRequest.HttpServerRequest, (request) =>
            request.modify({ url: request.url.replace(/^\/v\d/, "") })
          )
        ),
        HttpServerRequest.HttpServerRequest,
        (request) => request.modify({ url: request.url.replace(/^\/t\d/, "") })
      ),
      ["/t1/api/v1/users/1", "/t2/api/v2/users/2"],
      ["/api/users/:id 200: 2"]
    ],
    [
      "of a handler that nothing waits for any more",
      leaving((waits) => HttpRouter.get(HttpRouter.empty, "/users/:id", waits)),
      ["/users/1"],
      ["/users/:id 504: 1"]
    ],
    [
      "of one that has read its URL under a service of its own, in a mounted router",
      leaving((waits) =>
        HttpRouter.mountApp(
          HttpRouter.empty,
          "/api",
          HttpRouter.get(
            HttpRouter.empty,
            "/users/:id",
            Effect.provideService(Effect.zipRight(reading, waits), Session, "one")
          )
        )
      ),
      ["/api/users/1"],
      ["/api/users/:id 504: 1"]
    ],
    [
      "of a handler that runs a router which matches nothing",
      HttpRouter.get(HttpRouter.empty, "/in/:x", HttpRouter.get(HttpRouter.empty, "/out", ok)),
      ["/in/1"],
      ["/in/:x 404: 1"]
    ],
    [
      "and not what a handler calls it",
      HttpRouter.get(
        HttpRouter.empty,
        "/users/:id",
        Effect.zipRight(
          Effect.ignore(Effect.map(Effect.currentSpan, (span) => span.attribute("http.route", "/own"))),
          ok
        )
      ),
      ["/users/1"],
      ["/users/:id 200: 1"]
    ],
    [
      "and not what a handler calls it in a span of its own",
      HttpRouter.get(
        HttpRouter.empty,
        "/users/:id",
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
          Effect.zipRight(Effect.annotateCurrentSpan("http.route", url), ok)
        ).pipe(Effect.withSpan("own"))
      ),
      ["/users/1", "/users/2"],
      ["/users/:id 200: 2"]
    ],
    [
      "without the name of a tenant that a middleware removes from the path",
      Effect.updateService(users, HttpServerRequest.HttpServerRequest, (request) =>
        request.modify({ url: request.url.replace(/^\/t\d+/, "") })
      ),
      ["/t1/users/1", "/t2/users/1", "/t3/no"],
      ["/users/:id 200: 2", "unmatched 404: 1"]
    ]
  ]
  for (const { around, name } of worlds) {
    describe(name, () => {
      for (const [what, app, paths, expected] of cases) {
        it.effect(what, () =>
          Effect.map(counted(app, paths, { around }), (all) => assert.deepStrictEqual(all, expected))
        )
      }
    })
  }

  it.effect("with one span between all requests, whose routes stay their own", () =>
    Effect.gen(function* () {
      const shared = yield* Effect.makeSpan("shared")
      const app = Effect.withParentSpan(users, shared) as HttpApp.Default<unknown>
      assert.deepStrictEqual(yield* counted(app, ["/users/1", "/", "/no", "/users/2"], { times: 2 }), [
        "/ 200: 1",
        "/users/:id 200: 2",
        "unmatched 404: 1"
      ])
    })
  )

  it.effect("seen by two middlewares that have a registry each", () =>
    Effect.gen(function* () {
      for (const [what, app, paths, expected] of cases) {
        assert.deepStrictEqual(yield* counted(app, paths, { times: 2 }), expected, what)
      }
    })
  )

  it.effect("also where the middleware is within the router", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry)
      const app = HttpRouter.empty.pipe(
        HttpRouter.mountApp("/files", middleware(ok)),
        HttpRouter.mountApp("/in", middleware(users)),
        HttpRouter.concat(HttpRouter.prefixAll(HttpRouter.use(users, middleware), "/api"))
      )
      const handler = HttpApp.toWebHandler(app)
      for (const path of ["/files/1", "/in/users/1", "/api/users/1", "/none"]) {
        yield* Effect.promise(() => handler(new Request(`http://localhost${path}`)))
      }
      assert.deepStrictEqual(yield* samplesOf(registry, "http_server_requests_total"), [
        "GET /api/users/:id 200: 1",
        "GET /files/* 200: 1",
        "GET /in/users/:id 200: 1"
      ])
    })
  )

  it.effect("and nothing that is taken off the path of an app without a router", () =>
    Effect.gen(function* () {
      const app = Effect.updateService(ok, HttpServerRequest.HttpServerRequest, (request) =>
        request.modify({ url: request.url.replace(/^\/t\d+/, "") })
      )
      const all = yield* counted(
        app,
        Array.from({ length: 100 }, (_, index) => `/t${index}/a`)
      )
      assert.deepStrictEqual(all, ["unmatched 200: 100"])
    })
  )
})
