import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Scope, Tracer } from "effect"
import type * as Registry from "../src/Registry.js"
import { bothClients, fresh } from "./support/bothClients.js"
import { logged, parsers, renderedOnce } from "./support/expositions.js"
import { eventually, get } from "./support/httpClient.js"
import { errors } from "./support/metrics.js"
import { serverKinds, started } from "./support/servers.js"

const help = "A metric of a test."

class Pool extends Context.Tag("Pool")<Pool, { readonly idle: () => number }>() {}

/** What an exposition has of `m`, without what fails. */
const lines = (registry: Registry.MetricRegistry) =>
  Effect.map(renderedOnce(registry, { onError: "continue" }), ({ body }) =>
    body.split("\n").filter((line) => line.startsWith("m{") || line.startsWith("m "))
  )

for (const withClient of bothClients) {
  const { client, name } = withClient
  const { gaugeEffect } = withClient.Registry

  describe(`A gauge whose value is an effect, with ${name},`, () => {
    it.scoped("has the value of each scrape, from the services of where it was made", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        let idle = 0
        const value = Effect.map(Pool, (pool) => pool.idle())
        yield* on(gaugeEffect({ name: "m", help, value })).pipe(Effect.provideService(Pool, { idle: () => ++idle }))
        assert.strictEqual(idle, 0)
        for (const expected of [1, 2, 3]) assert.deepStrictEqual(yield* lines(registry), [`m ${expected}`])
        assert.include(yield* Effect.promise(() => registry.metrics()), "m 4\n")
      })
    )

    it.scoped("has only the series of the current scrape, if it has labels", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const labels = { queue: "mail" }
        let all = [{ labels, value: 1 }]
        const value = Effect.sync(() => all)
        yield* on(gaugeEffect({ name: "m", help, labelNames: ["queue"], value }))
        assert.deepStrictEqual(yield* lines(registry), ['m{queue="mail"} 1'])
        all = [
          { labels: { queue: "print" }, value: Number.NaN },
          { labels: { queue: "fax" }, value: 2 }
        ]
        assert.deepStrictEqual(yield* lines(registry), ['m{queue="print"} NaN', 'm{queue="fax"} 2'])
        all = []
        assert.deepStrictEqual(yield* lines(registry), [])
      })
    )

    const failing: ReadonlyArray<readonly [title: string, value: Effect.Effect<unknown, unknown>, message: string]> = [
      ["fails", Effect.fail(new Error("no pool")), "no pool"],
      ["dies", Effect.die(new Error("a defect")), "a defect"],
      ["throws where it is made", Effect.suspend(() => assert.fail("a throw")), "a throw"],
      ["interrupts itself", Effect.interrupt, "Interrupted by"],
      ["does not end", Effect.never, "its effect did not end within 50 ms"],
      ["does not end, even if it is interrupted,", Effect.uninterruptible(Effect.never), "did not end within 50 ms"]
    ]
    for (const [title, broken, message] of failing) {
      it.scopedLive(`is a metric that cannot be read while its value ${title}, and shows no old number`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          new client.Counter({ name: "others_total", help, registers: [registry] }).inc()
          const causes: Array<string> = []
          yield* logged(function* (logLines) {
            let value = Effect.succeed(5) as Effect.Effect<unknown, unknown>
            const asked = Effect.suspend(() => value) as Effect.Effect<number, unknown>
            yield* on(gaugeEffect({ name: "m", help, value: asked, timeout: "50 millis" }))
            assert.deepStrictEqual(yield* lines(registry), ["m 5"])
            value = broken
            for (let time = 0; time < 3; time += 1) {
              const exit = yield* Effect.exit(renderedOnce(registry))
              assert.isTrue(Exit.isFailure(exit))
              if (Exit.isFailure(exit)) causes.push(String(Cause.squash(exit.cause)))
              const { body } = yield* renderedOnce(registry, { onError: "continue" })
              assert.include(body, "others_total 1\n")
              assert.notMatch(body, /^m /m)
            }
            assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 6 })
            assert.deepStrictEqual(logLines, ["ERROR collecting m failed"])
            const late = yield* Effect.either(Effect.tryPromise(() => registry.metrics()))
            assert.strictEqual(late._tag, "Left")
            if (!title.includes("even if")) {
              assert.include(late._tag === "Left" ? String(late.left.error) : "", message)
              value = Effect.succeed(6)
              assert.deepStrictEqual(yield* lines(registry), ["m 6"])
            }
          })
          for (const cause of causes) assert.include(cause, "collecting m failed")
        })
      )
    }

    const leftOut: ReadonlyArray<
      readonly [title: string, value: unknown, lines: ReadonlyArray<string>, warning?: RegExp]
    > = [
      ["a text", "7", [], /its value must be a number, not "7"$/],
      ["an empty text", "", [], /its value must be a number, not ""$/],
      ["nothing", undefined, [], /its value must be a number, not undefined$/],
      ["a list without having labels", [], [], /its value must be a number/],
      ["a bigint", 7n, ["m 7"]],
      ["NaN", Number.NaN, ["m NaN"]]
    ]
    for (const [title, value, expected, warning] of leftOut) {
      it.scoped(`has no value while the effect gives ${title}, unless that is a number, and fails no scrape`, () =>
        logged(function* (logLines) {
          const { on, registry } = fresh(withClient)
          let current: unknown = 5
          yield* on(gaugeEffect({ name: "m", help, value: Effect.sync(() => current as number) }))
          assert.deepStrictEqual(yield* lines(registry), ["m 5"])
          current = value
          for (let time = 0; time < 3; time += 1) assert.deepStrictEqual(yield* lines(registry), expected)
          assert.strictEqual(logLines.length, warning === undefined ? 0 : 1)
          if (warning !== undefined) assert.match(logLines[0] ?? "", warning)
          current = 6
          assert.deepStrictEqual(yield* lines(registry), ["m 6"])
        })
      )
    }

    it.scoped("has those of its series whose value is a number, where it has labels", () =>
      logged(function* (logLines) {
        const { on, registry } = fresh(withClient)
        const all = [
          { labels: { a: "text" }, value: "1" },
          { labels: { b: "other label" }, value: 1 },
          { labels: { a: "bigint" }, value: 2n },
          null,
          { labels: { a: "number" }, value: 3 }
        ]
        let current: unknown = all
        const value = Effect.sync(() => current as never)
        yield* on(gaugeEffect({ name: "m", help, labelNames: ["a"], value }))
        assert.deepStrictEqual(yield* lines(registry), ['m{a="bigint"} 2', 'm{a="number"} 3'])
        current = 7
        assert.deepStrictEqual(yield* lines(registry), [])
        assert.strictEqual(logLines.length, 1)
      })
    )

    it.scopedLive("is not asked again until it has ended, which it may refuse to when it is interrupted", () =>
      logged(function* () {
        const { on, registry } = fresh(withClient)
        const gate = yield* Deferred.make<number>()
        let runs = 0
        const value = Effect.uninterruptible(
          Effect.suspend(() => {
            runs += 1
            return Deferred.await(gate)
          })
        )
        yield* on(gaugeEffect({ name: "m", help, value, timeout: "20 millis" }))
        for (let time = 0; time < 3; time += 1) assert.deepStrictEqual(yield* lines(registry), [])
        assert.strictEqual(runs, 1)
        const refused = yield* Effect.either(Effect.tryPromise(() => registry.metrics()))
        assert.include(
          String(refused._tag === "Left" && refused.left.error),
          "its effect timed out in an earlier scrape"
        )
        yield* Deferred.succeed(gate, 7)
        const read = () => Effect.runPromise(lines(registry)).then((found) => found[0] === "m 7")
        yield* eventually("it is asked again", read)
        assert.isAtLeast(runs, 2)
      })
    )

    it.scopedLive("is run once for scrapes at the same time", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const gate = yield* Deferred.make<number>()
        let runs = 0
        const value = Effect.suspend(() => {
          runs += 1
          return Deferred.await(gate)
        })
        yield* on(gaugeEffect({ name: "m", help, value, timeout: "1 minute" }))
        let scraped = 0
        const collect = () => {
          scraped += 1
        }
        new client.Gauge({ name: "after_it", help, registers: [registry], collect })
        const scrapes = yield* Effect.fork(Effect.all([lines(registry), lines(registry)], { concurrency: 2 }))
        const others = registry.metrics()
        // The two renders share one reading of each metric, and the client asks by itself.
        yield* eventually("all of them have asked for it", async () => scraped === 2)
        yield* Deferred.succeed(gate, 7)
        assert.deepStrictEqual(yield* Fiber.join(scrapes), [["m 7"], ["m 7"]])
        assert.include(yield* Effect.promise(() => others), "m 7\n")
        assert.strictEqual(runs, 1)
      })
    )

    it.live("is unregistered when its scope closes, and runs nothing for a holder of a reference", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const scope = yield* Scope.make()
        let runs = 0
        const value = Effect.sync(() => ++runs)
        yield* Scope.extend(on(gaugeEffect({ name: "m", help, value })), scope)
        const gauge = registry.getSingleMetric("m")
        assert.deepStrictEqual(yield* lines(registry), ["m 1"])
        yield* Scope.close(scope, Exit.void)
        assert.isUndefined(registry.getSingleMetric("m"))
        assert.deepStrictEqual((yield* Effect.promise(async () => gauge?.get()))?.values, [])
        assert.strictEqual(runs, 1)
        // There is room for another one now.
        yield* Effect.scoped(
          Effect.zipRight(
            on(gaugeEffect({ name: "m", help, value: Effect.succeed(8) })),
            Effect.map(lines(registry), (found) => assert.deepStrictEqual(found, ["m 8"]))
          )
        )
      })
    )

    it.live("has no series after its scope closes for a holder of a reference, if it has labels", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const scope = yield* Scope.make()
        const value = Effect.succeed([{ labels: { a: "1" }, value: 2 }])
        yield* Scope.extend(on(gaugeEffect({ name: "m", help, labelNames: ["a"], value })), scope)
        const gauge = registry.getSingleMetric("m")
        assert.deepStrictEqual(yield* lines(registry), ['m{a="1"} 2'])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual((yield* Effect.promise(async () => gauge?.get()))?.values, [])
      })
    )

    it.live("ends its value and closes its scope also where the registry does not let it go", () =>
      Effect.gen(function* () {
        class Keeping extends client.Registry {
          override removeSingleMetric(): void {
            throw new Error("not this one")
          }
        }
        const registry = new Keeping()
        const running = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const value = Deferred.succeed(running, undefined).pipe(
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
        const scope = yield* Scope.make()
        const made = gaugeEffect({ name: "m", help, value, timeout: "1 minute" })
        yield* Scope.extend(Effect.provideService(made, withClient.Registry.Registry, registry), scope)
        const scrape = yield* Effect.fork(renderedOnce(registry))
        yield* Deferred.await(running)
        yield* Scope.close(scope, Exit.void)
        yield* Deferred.await(ended)
        yield* Fiber.join(scrape)
      })
    )

    it.live("leaves a metric alone that has come in its place before its scope closes", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const scope = yield* Scope.make()
        yield* Scope.extend(on(gaugeEffect({ name: "m", help, value: Effect.succeed(1) })), scope)
        registry.clear()
        const other = new client.Gauge({ name: "m", help, registers: [registry] })
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(registry.getSingleMetric("m") as unknown, other)
      })
    )

    it.live("is interrupted when its scope closes, and the scrape that waits for it has no value of it", () =>
      logged(function* (logLines) {
        const { on, registry } = fresh(withClient)
        const scope = yield* Scope.make()
        const running = yield* Deferred.make<void>()
        let isInterrupted = false
        const value = Effect.zipRight(Deferred.succeed(running, undefined), Effect.never).pipe(
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              isInterrupted = true
            })
          )
        )
        // The scope is that of an uninterruptible region as well, as where a layer is acquired.
        yield* Effect.uninterruptible(
          Scope.extend(on(gaugeEffect({ name: "m", help, value, timeout: "1 minute" })), scope)
        )
        const scrape = yield* Effect.fork(renderedOnce(registry))
        yield* Deferred.await(running)
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(isInterrupted)
        assert.notMatch((yield* Fiber.join(scrape)).body, /^m /m)
        assert.deepStrictEqual(logLines, [])
      })
    )

    it.live("does not hold up its scope for longer than for a value", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const scope = yield* Scope.make()
        const running = yield* Deferred.make<void>()
        const value = Effect.uninterruptible(Effect.zipRight(Deferred.succeed(running, undefined), Effect.never))
        yield* Scope.extend(on(gaugeEffect({ name: "m", help, value, timeout: "100 millis" })), scope)
        const rendering = logged(function* () {
          yield* renderedOnce(registry)
        })
        const scrape = yield* Effect.fork(Effect.exit(rendering))
        yield* Deferred.await(running)
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(scrape)))
      })
    )

    it.scoped("is in no trace of the application, nor in the one that made it", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const names: Array<string> = []
        const parents: Array<unknown> = []
        const tracer = Tracer.make({
          span: (name, parent, context, links, startTime, kind) => {
            names.push(name)
            return {
              ...{ _tag: "Span", name, parent, context, kind, links: [...links], spanId: "1", traceId: "1" },
              ...{ sampled: true, status: { _tag: "Started", startTime }, attributes: new Map() },
              ...{ attribute: () => {}, end: () => {}, event: () => {}, addLinks: () => {} }
            } as Tracer.Span
          },
          context: (run) => run()
        })
        const value = Effect.gen(function* () {
          parents.push(yield* Effect.option(Effect.currentParentSpan).pipe(Effect.map((span) => span._tag)))
          return yield* Effect.withSpan(Effect.succeed(1), "read")
        })
        yield* on(gaugeEffect({ name: "m", help, value })).pipe(Effect.withSpan("made"), Effect.withTracer(tracer))
        assert.deepStrictEqual(yield* lines(registry), ["m 1"])
        assert.deepStrictEqual(names, ["made"])
        assert.deepStrictEqual(parents, ["None"])
      })
    )

    it.scoped("is refused where there is a metric by that name, another of its kind as well", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const made = new client.Gauge({ name: "m", help, registers: [registry] })
        const asked = on(gaugeEffect({ name: "m", help, value: Effect.succeed(1) }))
        const error = yield* Effect.flip(asked)
        assert.strictEqual(error.reason, "Clash")
        assert.strictEqual(error.message, "the metric m is already registered")
        assert.strictEqual(registry.getSingleMetric("m") as unknown, made)
        registry.clear()
        yield* asked
        assert.strictEqual((yield* Effect.flip(asked)).reason, "Clash")
        const plain = yield* Effect.flip(on(withClient.Registry.gauge({ name: "m", help })))
        assert.strictEqual(
          plain.message,
          "the gauge m is already registered, and an effect computes its value at each scrape"
        )
      })
    )

    const wrong: ReadonlyArray<readonly [options: unknown, message: string]> = [
      [undefined, "options must be an object with options, not undefined"],
      [{ name: "a-b", help, value: Effect.succeed(1) }, "name must consist of letters"],
      [{ name: "m", help }, "metric m: value must be an effect, not undefined"],
      [{ name: "m", help, value: 1 }, "value must be an effect, not 1"],
      [
        { name: "m", help, value: Effect.succeed(1), timeout: "soon" },
        'timeout must be a duration such as "5 seconds"'
      ],
      [{ name: "m", help, value: Effect.succeed(1), timeout: 0 }, "timeout must be a duration"],
      [{ name: "m", help, value: Effect.succeed(1), maxSeries: 3 }, "unknown option maxSeries"]
    ]
    for (const [options, message] of wrong) {
      it.scoped(`is refused before anything is registered: ${message}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const error = yield* Effect.flip(on(gaugeEffect(options as Registry.GaugeEffectOptions<never, never, never>)))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, message)
          assert.deepStrictEqual(registry.getMetricsAsArray(), [])
        })
      )
    }

    for (const kind of serverKinds) {
      it.scopedLive(`is served by a metrics server ${kind.name}, and gone from it with its layer`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const scope = yield* Scope.make()
          let value = 0
          const gauge = Layer.scopedDiscard(on(gaugeEffect({ name: "m", help, value: Effect.sync(() => ++value) })))
          yield* Layer.buildWithScope(gauge, scope)
          const { url } = yield* started(kind, {}, { registry })
          const read = Effect.map(get(url), ({ body }) =>
            parsers.text(body).flatMap((family) => (family.name === "m" ? family.samples.map((one) => one.value) : []))
          )
          const [first = 0] = yield* read
          const [second = 0] = yield* read
          assert.isAbove(second, first)
          yield* Scope.close(scope, Exit.void)
          assert.deepStrictEqual(yield* read, [])
        })
      )
    }
  })
}
