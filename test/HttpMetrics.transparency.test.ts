import {
  HttpApp,
  HttpLayerRouter,
  HttpMiddleware,
  HttpRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, FiberRef, Layer, Option, Scope, Stream, Tracer } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { measuring, samplesOf } from "./support/httpApps.js"

class Session extends Context.Tag("test/Session")<Session, string>() {}

const setting = FiberRef.unsafeMake("not set")

/** What one request shows, as texts: objects are numbered in the order in which they are met. */
class Shown {
  readonly all: Array<string> = []
  private readonly known = new Map<unknown, number>()
  tell(what: string, ...values: ReadonlyArray<unknown>) {
    this.all.push([what, ...values.map((value) => this.text(value))].join(" "))
  }
  private text(value: unknown): string {
    if ((typeof value !== "object" || value === null) && typeof value !== "function") return String(value)
    if (!this.known.has(value)) this.known.set(value, this.known.size)
    return `${value.constructor?.name ?? ""}#${this.known.get(value)}`
  }
}

/** A tracer that knows, as OpenTelemetry's does, which span is active while code runs. */
const recording = (shown: Shown) => {
  let active: Tracer.AnySpan | undefined
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: `${spans.length}`,
        traceId: "trace",
        parent,
        context,
        links,
        kind,
        sampled: true,
        status: { _tag: "Started", startTime },
        attributes,
        attribute: (key, value) => void attributes.set(key, value),
        event: (event) => void attributes.set(event, true),
        addLinks: () => {},
        end: (_, exit) => shown.tell("span ended", name, exit._tag, [...attributes.keys()].join())
      }
      spans.push(span)
      shown.tell("span", span, name, Option.getOrUndefined(parent), context)
      return span
    },
    context: (f, fiber) => {
      active = fiber.currentSpan
      return f()
    }
  })
  return { tracer, active: () => active }
}

type Look = (shown: Shown, active: () => Tracer.AnySpan | undefined) => HttpApp.Default<unknown, Scope.Scope>

const answered = (look: Effect.Effect<unknown, unknown, HttpServerRequest.HttpServerRequest | Scope.Scope>) =>
  Effect.as(look, HttpServerResponse.text("ok"))

/** What a handler does to see where it is. */
const looks: ReadonlyArray<readonly [string, Look]> = [
  [
    "its spans",
    (shown, active) =>
      answered(
        Effect.gen(function* () {
          shown.tell("parent", Option.getOrUndefined(yield* Effect.option(Effect.currentParentSpan)))
          shown.tell("current", Option.getOrUndefined(yield* Effect.option(Effect.currentSpan)))
          shown.tell("in context", (yield* Effect.context<never>()).unsafeMap.get(Tracer.ParentSpan.key))
          shown.tell("active", active())
          yield* Effect.withSpan(
            Effect.sync(() => shown.tell("active within", active())),
            "child"
          )
          shown.tell("active after", active())
          const made = yield* Effect.makeSpan("made")
          shown.tell("parent of what is made", Option.getOrUndefined(made.parent))
        })
      )
  ],
  [
    "its request",
    (shown) =>
      answered(
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          shown.tell("request", request, request.url, request.originalUrl, request.method, request.headers["x-one"])
          shown.tell("keys", Object.keys(request).join())
          shown.tell("text", yield* request.text, yield* request.text)
          const modified = request.modify({ url: "/other", remoteAddress: "::1" })
          shown.tell("modified", modified === request, modified.url, Option.getOrUndefined(modified.remoteAddress))
          shown.tell("after that", request.url, JSON.stringify(request) === JSON.stringify(modified))
        })
      )
  ],
  [
    "its services",
    (shown) =>
      answered(
        Effect.gen(function* () {
          const { unsafeMap } = yield* Effect.context<never>()
          for (const [key, value] of unsafeMap) shown.tell(key, value)
          const { url } = yield* HttpServerRequest.HttpServerRequest
          const again = (yield* Effect.context<never>()).unsafeMap
          shown.tell("the same after a look at the URL", url, [...again].join() === [...unsafeMap].join())
        })
      )
  ],
  [
    "its finalizers",
    (shown) =>
      answered(
        Effect.gen(function* () {
          const finalizer = (name: string) => (exit: Exit.Exit<unknown, unknown>) =>
            Effect.gen(function* () {
              const services = yield* Effect.context<never>()
              shown.tell(name, exit._tag, yield* FiberRef.get(setting), services.unsafeMap.size)
              shown.tell("in span", Option.getOrUndefined(yield* Effect.option(Effect.currentParentSpan)))
            })
          yield* Effect.addFinalizer(finalizer("first"))
          yield* FiberRef.set(setting, "set in the handler")
          yield* Effect.addFinalizer(finalizer("second"))
          yield* Scope.addFinalizerExit(yield* Effect.scope, finalizer("third"))
          yield* Effect.scoped(Effect.addFinalizer(finalizer("inner")))
        })
      )
  ],
  [
    "the finalizers of its body",
    (shown) => {
      const said = (name: string) =>
        Effect.flatMap(FiberRef.get(setting), (value) => Effect.sync(() => shown.tell(name, value)))
      const body = Stream.fromEffect(FiberRef.set(setting, "set in the body")).pipe(
        Stream.as(new Uint8Array(3)),
        Stream.concat(Stream.acquireRelease(Effect.succeed(new Uint8Array(2)), () => said("released"))),
        Stream.ensuring(said("ended")),
        Stream.ensuring(said("after that"))
      )
      return Effect.zipRight(
        Effect.addFinalizer(() => said("request")),
        HttpServerResponse.stream(body)
      )
    }
  ],
  ["an error", () => Effect.fail("no")],
  ["a defect", () => Effect.die("boom")],
  ["an interruption", () => Effect.interrupt]
]

const untraced = HttpMiddleware.withTracerDisabledWhenEffect(() => true)

/** What is traced, and what is around the server. */
const worlds: ReadonlyArray<readonly [string, <A, E, R>(run: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>]> = [
  ["traced", (run) => run],
  ["not traced for its URL", untraced],
  ["not traced for its URL, within a span", (run) => Effect.withSpan(untraced(run), "server")],
  [
    "not traced for its URL, within a span from elsewhere",
    (run) => Effect.withParentSpan(untraced(run), Tracer.externalSpan({ spanId: "x", traceId: "y" })) as never
  ],
  ["with tracing off", Effect.withTracerEnabled(false)]
]

type App = HttpApp.Default<unknown, Scope.Scope>

/** How the handler is reached. */
const ways: ReadonlyArray<readonly [string, string, (handler: App, shown: Shown) => App]> = [
  ["a router", "/users/:id", (handler) => HttpRouter.post(HttpRouter.empty, "/users/:id", handler)],
  [
    "a mounted router",
    "/users/:id",
    (handler) => HttpRouter.mountApp(HttpRouter.empty, "/users", HttpRouter.post(HttpRouter.empty, "/:id", handler))
  ],
  [
    "a span and a service",
    "/users/:id",
    (handler) =>
      HttpRouter.post(HttpRouter.empty, "/users/:id", handler).pipe(
        Effect.provideService(Session, "one"),
        Effect.withSpan("between")
      )
  ],
  [
    "a middleware that sees request, exit and context as well",
    "/users/:id",
    (handler, shown) =>
      Effect.gen(function* () {
        shown.tell("outside", yield* HttpServerRequest.HttpServerRequest)
        const before = yield* Effect.context<HttpServerRequest.HttpServerRequest | Scope.Scope>()
        const exit = yield* Effect.exit(HttpRouter.post(HttpRouter.empty, "/users/:id", handler))
        const after = yield* Effect.context<HttpServerRequest.HttpServerRequest | Scope.Scope>()
        for (const [key, value] of before.unsafeMap) shown.tell(key, value, after.unsafeMap.get(key) === value)
        shown.tell("exit", Exit.isSuccess(exit) ? exit.value.status : Cause.pretty(exit.cause).split("\n")[0])
        return yield* exit
      })
  ],
  [
    "a router of layers",
    "/users/:id",
    (handler) =>
      Effect.flatten(
        HttpLayerRouter.toHttpEffect(HttpLayerRouter.add("POST", "/users/:id", handler as never) as never)
      ) as never
  ]
]

describe("With and without the middleware a handler sees the same of", () => {
  for (const [what, look] of looks) {
    for (const [world, around] of worlds) {
      it.effect(`${what}, ${world}`, () =>
        Effect.gen(function* () {
          for (const [way, pattern, reached] of ways) {
            const show = (middleware: HttpMetrics.Middleware) =>
              Effect.gen(function* () {
                const shown = new Shown()
                const { active, tracer } = recording(shown)
                const runtime = yield* around(Effect.runtime<never>()).pipe(Effect.withTracer(tracer))
                const handler = HttpApp.toWebHandlerRuntime(runtime)(reached(look(shown, active), shown), (app) =>
                  middleware(
                    Effect.tap(HttpServerRequest.HttpServerRequest, (request) => shown.tell("around", request)).pipe(
                      Effect.zipRight(app)
                    ) as typeof app
                  )
                )
                const request = new Request("http://localhost/users/1?a=1", {
                  method: "POST",
                  headers: { "x-one": "two" },
                  body: "text"
                })
                const response = yield* Effect.promise(() => handler(request))
                shown.tell("answer", response.status, yield* Effect.promise(() => response.text()))
                return shown.all
              })
            const registry = new PromRegistry()
            const middleware = yield* measuring(registry)
            const without = yield* show((app) => app)
            assert.deepStrictEqual(yield* show(middleware), without, `reached by ${way}`)
            const [counted = ""] = yield* samplesOf(registry, "http_server_requests_total")
            assert.include(counted, `POST ${pattern} `)
          }
        })
      )
    }
  }
})

describe("A measured layer", () => {
  it.effect("hands the very request down that it was given", () =>
    Effect.gen(function* () {
      const sessions = new WeakMap<object, string>()
      const session = HttpLayerRouter.middleware(
        ((app: App) =>
          Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
            sessions.set(request, "ada")
            return app
          })) as never,
        { global: true }
      ) as Layer.Layer<never, never, HttpLayerRouter.HttpRouter>
      const route = HttpLayerRouter.add(
        "GET",
        "/me",
        Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
          HttpServerResponse.text(`${sessions.get(request)}`)
        )
      )
      const { handler } = HttpLayerRouter.toWebHandler(
        Layer.mergeAll(session, HttpMetrics.layer(), route).pipe(Layer.provide(Registry.layer(new PromRegistry()))),
        { disableLogger: true, middleware: HttpMetrics.middleware() as never }
      )
      const context = yield* Effect.provideService(Effect.context<never>(), Registry.Registry, new PromRegistry())
      const response = yield* Effect.promise(() => handler(new Request("http://localhost/me"), context as never))
      assert.strictEqual(yield* Effect.promise(() => response.text()), "ada")
    })
  )
})
