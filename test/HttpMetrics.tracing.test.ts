import { HttpApp, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Exit, FiberRef, Option, Tracer } from "effect"
import { Registry as PromRegistry } from "prom-client"
import type * as HttpMetrics from "../src/HttpMetrics.js"
import { measuring, samplesOf } from "./support/httpApps.js"

/** A custom span with private state. */
class OwnSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly #recorded: Array<unknown> = []
  readonly traceId = "t".repeat(32)
  readonly sampled = true
  readonly attributes = new Map<string, unknown>()
  readonly links = []
  readonly status = { _tag: "Started", startTime: 0n } as const
  constructor(
    readonly name: string,
    readonly spanId: string,
    readonly parent: Option.Option<Tracer.AnySpan>,
    readonly context: Tracer.Span["context"],
    readonly kind: Tracer.SpanKind
  ) {}
  get recorded() {
    return this.#recorded
  }
  attribute(key: string, value: unknown) {
    this.#recorded.push([key, value])
  }
  event(name: string) {
    this.#recorded.push(name)
  }
  addLinks(links: ReadonlyArray<Tracer.SpanLink>) {
    this.#recorded.push(links.length)
  }
  end(_: bigint, exit: Exit.Exit<unknown, unknown>) {
    this.#recorded.push(exit._tag)
  }
}

const recording = () => {
  const spans: Array<OwnSpan> = []
  const tracer = Tracer.make({
    span: (name, parent, context, _links, _start, kind) => {
      const span = new OwnSpan(name, `${spans.length}`, parent, context, kind)
      spans.push(span)
      return span
    },
    context: (f) => f()
  })
  return { spans, tracer }
}

/** What a handler sees of where it is, in many ways. */
const looking = Effect.gen(function* () {
  const seen: Array<unknown> = []
  const name = (span: Tracer.AnySpan) => (span._tag === "Span" ? `${span.name} ${span.spanId}` : span.spanId)
  seen.push(yield* Effect.either(Effect.map(Effect.currentSpan, (span) => [name(span), span instanceof OwnSpan])))
  seen.push(yield* Effect.either(Effect.map(Effect.currentParentSpan, (span) => [name(span), span instanceof OwnSpan])))
  yield* Effect.annotateCurrentSpan("of", "handler")
  yield* Effect.logInfo("an event of the span")
  yield* Effect.withSpan(Effect.annotateCurrentSpan("of", "child"), "child")
  yield* Effect.linkSpanCurrent(Tracer.externalSpan({ spanId: "x", traceId: "y" }))
  const made = yield* Effect.makeSpan("made")
  seen.push(Option.map(made.parent, name))
  return seen
})

const outside = Tracer.externalSpan({ spanId: "outside", traceId: "o" })

const worlds: ReadonlyArray<{
  readonly name: string
  readonly around: <A, E, R>(run: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}> = [
  { name: "a traced request", around: (run) => run },
  { name: "one that is not traced", around: HttpMiddleware.withTracerDisabledWhenEffect(() => true) },
  {
    name: "one that is not traced, within a span",
    around: (run) =>
      run.pipe(
        HttpMiddleware.withTracerDisabledWhenEffect(() => true),
        Effect.withSpan("server")
      )
  },
  {
    name: "one that is not traced, within a span from elsewhere",
    around: (run) =>
      run.pipe(
        HttpMiddleware.withTracerDisabledWhenEffect(() => true),
        Effect.withParentSpan(outside) as never
      )
  },
  { name: "nothing traced", around: Effect.withTracerEnabled(false) }
]

describe("The application's traces are the same with and without the middleware", () => {
  const between: ReadonlyArray<readonly [string, HttpMetrics.Middleware]> = [
    ["", (app) => app],
    [", with a span in between", (app) => Effect.withSpan(app, "between") as typeof app]
  ]
  const cases = worlds.flatMap((world) => between.map(([where, within]) => ({ ...world, where, within })))
  for (const { around, name, where, within } of cases) {
    it.effect(`${name}${where}`, () =>
      Effect.gen(function* () {
        const shown = (middleware: HttpMetrics.Middleware) =>
          Effect.gen(function* () {
            const { spans, tracer } = recording()
            let seen: unknown
            const app = HttpRouter.get(
              HttpRouter.empty,
              "/users/:id",
              Effect.map(looking, (all) => {
                seen = all
                return HttpServerResponse.text("ok")
              })
            )
            const runtime = yield* around(Effect.runtime<never>()).pipe(Effect.withTracer(tracer))
            const handler = HttpApp.toWebHandlerRuntime(runtime)(within(app), middleware)
            yield* Effect.promise(async () => (await handler(new Request("http://localhost/users/1"))).text())
            const parents = spans.map(({ parent }) =>
              Option.map(parent, (span) => (spans as Array<unknown>).indexOf(span))
            )
            return { seen, parents, recorded: spans.map((span) => [span.name, span.kind, span.recorded]) }
          })
        const registry = new PromRegistry()
        const middleware = yield* measuring(registry)
        const without = yield* shown((app) => app)
        assert.deepStrictEqual(yield* shown(middleware), without)
        assert.deepStrictEqual(yield* shown((app) => middleware(middleware(app))), without)
        assert.isDefined(without.seen)
        assert.deepStrictEqual(yield* samplesOf(registry, "http_server_requests_total"), ["GET /users/:id 200: 2"])
      })
    )
  }
})

describe("What runs after a measured app in the same fiber", () => {
  const ends: ReadonlyArray<readonly [string, HttpApp.Default<unknown>]> = [
    ["an answer", HttpServerResponse.text("ok")],
    ["an error", Effect.fail("no")],
    ["a defect", Effect.die("boom")],
    ["an interruption", Effect.interrupt]
  ]
  for (const [name, app] of ends) {
    it.effect(`has the context of before, and what the app has set, after ${name}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const middleware = yield* measuring(registry)
        const setting = FiberRef.unsafeMake("not set")
        yield* Effect.gen(function* () {
          const before = yield* Effect.context<HttpServerRequest.HttpServerRequest>()
          let within: unknown
          const asked = Effect.zipRight(
            Effect.map(Effect.context<never>(), (context) => {
              within = context
            }),
            Effect.zipRight(FiberRef.set(setting, "set"), app)
          )
          yield* Effect.exit(middleware(asked))
          assert.strictEqual(within, before)
          assert.strictEqual(yield* Effect.context<HttpServerRequest.HttpServerRequest>(), before)
          assert.strictEqual(yield* FiberRef.get(setting), "set")
        }).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://localhost/"))
          )
        )
      })
    )
  }
})
