import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import { assert, describe, it } from "@effect/vitest"
import { Layer, Tracer } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import { logged } from "./support/expositions.js"
import { platformMounts, startPlatform } from "./support/mounts.js"

/** A tracer, and the targets of the requests that it has spans of. */
const tracing = () => {
  const traced: Array<string> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => ({
      ...{ _tag: "Span", name, parent, context, kind, links: [...links], spanId: "1", traceId: "1", sampled: true },
      status: { _tag: "Started", startTime },
      attributes: new Map(),
      attribute: (key: string, value: unknown) => {
        if (key === "url.full") traced.push(String(value).replace(/^http:\/\/[^/]+/, ""))
      },
      end: () => {},
      event: () => {},
      addLinks: () => {}
    }),
    context: (run) => run()
  })
  return { traced, layer: Layer.setTracer(tracer) }
}

const registry = (): PromRegistry => {
  const registry = new PromRegistry()
  new Gauge({ name: "up", help: "Up.", registers: [registry] })
  return registry
}

describe("withTracerDisabled", () => {
  for (const { app, name } of platformMounts) {
    it.scopedLive(`keeps the path out of the traces, with any query, and no other path: ${name}`, () =>
      logged(function* () {
        const { layer, traced } = tracing()
        const server = app(registry()).pipe(Exposition.withTracerDisabled(), Layer.provide(layer))
        const ask = yield* startPlatform(server)
        for (const target of ["/metrics", "/metrics?name[]=x", "/metrics?", "/other", "/other?name[]=x", "/metrics2"]) {
          yield* ask(target)
        }
        yield* ask("/metrics", { method: "HEAD" })
        assert.deepStrictEqual(traced, ["/other", "/other?name[]=x", "/metrics2"])
      })
    )

    it.scopedLive(`keeps what the application disabled itself out of them, too: ${name}`, () =>
      logged(function* () {
        const { layer, traced } = tracing()
        const server = app(registry()).pipe(
          Exposition.withTracerDisabled(),
          HttpMiddleware.withTracerDisabledForUrls(["/health"]),
          Layer.provide(layer)
        )
        const ask = yield* startPlatform(server)
        for (const target of ["/metrics?name[]=x", "/health", "/other"]) yield* ask(target)
        assert.deepStrictEqual(traced, ["/other"])
      })
    )
  }

  it.scopedLive("keeps another path out of them if it is given, also with the layer first", () =>
    logged(function* () {
      const path = "/internal/prometheus"
      for (const disabled of [Exposition.withTracerDisabled(path), around(path)]) {
        for (const { app } of platformMounts) {
          const { layer, traced } = tracing()
          const ask = yield* startPlatform(Layer.provide(disabled(app(registry(), { path })), layer))
          for (const target of [path, `${path}?name[]=x`, "/metrics", "/other"]) yield* ask(target)
          assert.deepStrictEqual(traced, ["/metrics", "/other"])
        }
      }
    })
  )

  it.scopedLive("is what keeps it out of them", () =>
    logged(function* () {
      for (const { app } of platformMounts) {
        const { layer, traced } = tracing()
        const ask = yield* startPlatform(Layer.provide(app(registry()), layer))
        yield* ask("/metrics")
        assert.deepStrictEqual(traced, ["/metrics"])
      }
    })
  )
})

const around =
  (path: string) =>
  <A, E, R>(self: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Exposition.withTracerDisabled(self, path)

describe("The exposition in an application of @effect/platform", () => {
  for (const { app, name } of platformMounts) {
    it.scopedLive(`stays out of the access log for every status, and keeps other paths in: ${name}`, () =>
      logged(function* (lines) {
        const made = registry()
        let isBroken = false
        const collect = () => {
          if (isBroken) throw new Error("broken")
        }
        new Gauge({ name: "sometimes", help: "h", registers: [made], collect })
        const ask = yield* startPlatform(app(made, { onError: "fail" }))
        assert.strictEqual((yield* ask("/metrics")).status, 200)
        assert.strictEqual((yield* ask("/metrics?name[]=up", { method: "HEAD" })).status, 200)
        assert.strictEqual((yield* ask("/metrics", { method: "POST" })).status, 405)
        assert.deepStrictEqual(lines, [])
        isBroken = true
        assert.strictEqual((yield* ask("/metrics")).status, 500)
        assert.deepStrictEqual(lines, ["ERROR collecting sometimes failed"])
        yield* ask("/other")
        assert.deepStrictEqual(lines.slice(1), ["INFO Sent HTTP response"])
      })
    )
  }
})
