import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Context, Deferred, Effect, Exit, Fiber, Option, Stream } from "effect"
import type { Only } from "../src/StreamMetrics.js"
import * as StreamMetrics from "../src/StreamMetrics.js"
import { type Measure, measures, type Plain, unmeasured } from "./support/measuredStreams.js"
import { FakeCounter, FakeObserver, fakes } from "./support/metrics.js"

type Run = (self: Plain) => Effect.Effect<unknown, unknown>

/** What becomes of what a stream has given, while it has nothing more to give. */
const holding: Readonly<Record<string, (self: Plain, use: Effect.Effect<void>) => Effect.Effect<unknown, unknown>>> = {
  "flatMap with concurrency": (self, use) => Stream.runDrain(Stream.flatMap(self, () => use, { concurrency: 2 })),
  "mapEffect with concurrency": (self, use) => Stream.runDrain(Stream.mapEffect(self, () => use, { concurrency: 2 })),
  buffer: (self, use) => Stream.runForEach(Stream.buffer(self, { capacity: 2 }), () => use),
  merge: (self, use) => Stream.runForEach(Stream.merge(self, Stream.fromEffect(Effect.as(use, 2))), () => use),
  toPull: (self, use) =>
    Effect.scoped(Effect.flatMap(Stream.toPull(self), (pull) => Effect.all([pull, Effect.exit(pull), use]))),
  mapEffect: (self, use) => Stream.runDrain(Stream.mapEffect(self, () => use)),
  concat: (self, use) => Stream.runDrain(Stream.concat(self, Stream.fromEffect(use)))
}

for (const [name, make] of Object.entries(measures)) {
  describe(name, () => {
    for (const [title, run] of Object.entries(holding)) {
      it.effect(`has what a stream acquired released where it would have been: ${title}`, () =>
        Effect.gen(function* () {
          const events = (measure: Measure) =>
            Effect.gen(function* () {
              const log: Array<string> = []
              const say = (what: string) => Effect.sync(() => log.push(what))
              const resource = Stream.acquireRelease(Effect.as(say("acquired"), 1), () => say("released"))
              const use = Effect.replicateEffect(Effect.yieldNow(), 50).pipe(Effect.zipRight(say("used")))
              yield* run(measure(resource), Effect.asVoid(use))
              return log
            })
          const expected = yield* events(unmeasured)
          assert.include(expected, "released")
          assert.deepStrictEqual(yield* events(make()), expected)
        })
      )
    }
  })
}

const failure = new RangeError("the stream failed")
const defect = new TypeError("its finalizer died")
const one: Plain = Stream.make(1)

/** Where a finalizer is in a stream. */
const placed: Readonly<Record<string, (body: Plain, finalizer: Effect.Effect<void>) => Plain>> = {
  ensuring: (body, finalizer) => Stream.ensuring(body, finalizer),
  acquireRelease: (body, finalizer) =>
    Stream.flatMap(
      Stream.acquireRelease(Effect.void, () => finalizer),
      () => body
    ),
  "a scope": (body, finalizer) =>
    Stream.unwrapScoped(
      Effect.as(
        Effect.addFinalizer(() => finalizer),
        body
      )
    ),
  "ensuring, with another around it": (body, finalizer) =>
    Stream.ensuring(Stream.ensuring(body, finalizer), Effect.void)
}

/** How a run comes to its end. */
const endings: Readonly<Record<string, { readonly body: Plain; readonly run: Run }>> = {
  "has ended": { body: one, run: Stream.runDrain },
  "has failed": { body: Stream.concat(one, Stream.fail(failure)), run: Stream.runDrain },
  "has died": { body: Stream.concat(one, Stream.die(failure)), run: Stream.runDrain },
  "is left early": { body: Stream.forever(one), run: (self) => Stream.runDrain(Stream.take(self, 1)) },
  "is left by a sink": { body: Stream.forever(one), run: Stream.runHead },
  "has a consumer that fails": { body: one, run: (self) => Stream.runForEach(self, () => Effect.fail("consumer")) },
  "is interrupted": {
    body: Stream.concat(one, Stream.never),
    run: (self) =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(Stream.runForEach(self, () => Deferred.succeed(begun, undefined)))
        yield* Deferred.await(begun)
        return yield* Effect.flatten(Fiber.interrupt(fiber))
      })
  },
  "is merged": { body: one, run: (self) => Stream.runDrain(Stream.merge(self, Stream.empty)) },
  "is pulled by hand": {
    body: one,
    run: (self) => Effect.scoped(Effect.flatMap(Stream.toPull(self), (pull) => Effect.all([pull, Effect.exit(pull)])))
  },
  "is broadcast": {
    body: one,
    run: (self) => Effect.scoped(Effect.flatMap(Stream.broadcast(self, 1, 2), ([it]) => Stream.runDrain(it)))
  }
}

describe("A finalizer of a measured stream that dies", () => {
  for (const [where, place] of Object.entries(placed)) {
    for (const [how, { body, run }] of Object.entries(endings)) {
      it.effect(`lets its run end as it would without the measurement: by ${where}, when the stream ${how}`, () =>
        Effect.gen(function* () {
          const stream = place(body, Effect.die(defect))
          const expected = yield* Effect.exit(run(stream))
          for (const make of Object.values(measures)) {
            assert.deepStrictEqual(yield* Effect.exit(run(make()(stream))), expected)
          }
        })
      )
    }
  }

  /** How the run was timed, and how it was counted. */
  const seen = (body: Plain, run: Run, only?: Only) =>
    Effect.gen(function* () {
      const timed: Array<Exit.Exit<void, unknown>> = []
      const counted: Array<Exit.Exit<void, unknown>> = []
      const { duration, exceptions: counter, inProgress } = fakes()
      const observer = Object.assign(new FakeObserver(), { labels: (_: { readonly a: number }) => duration })
      const exceptions = Object.assign(new FakeCounter(), { labels: (_: { readonly a: number }) => counter })
      const keeping = (exits: Array<Exit.Exit<void, unknown>>) => (exit: Exit.Exit<void, unknown>) => {
        exits.push(exit)
        return { a: 1 }
      }
      const stream = StreamMetrics.instrumented(Stream.ensuring(body, Effect.die(defect)), {
        duration: { metric: observer, labels: keeping(timed) },
        exceptions: { metric: exceptions, labels: keeping(counted), only },
        inProgress
      })
      const exit = yield* Effect.exit(run(stream))
      assert.deepStrictEqual(inProgress.history, [1, 0])
      assert.strictEqual(timed.length, 1)
      assert.strictEqual(counter.counted, counted.length)
      return { exit, timed, counted }
    })
  const ending = (how: string) => endings[how] ?? assert.fail(how)
  const defects = (exit: Exit.Exit<unknown, unknown> | undefined) =>
    exit !== undefined && Exit.isFailure(exit) ? Chunk.toReadonlyArray(Cause.defects(exit.cause)) : []
  const failures = (exit: Exit.Exit<unknown, unknown> | undefined) =>
    exit !== undefined && Exit.isFailure(exit) ? Chunk.toReadonlyArray(Cause.failures(exit.cause)) : []

  for (const how of ["is left early", "has a consumer that fails", "is interrupted"]) {
    it.effect(`is a defect of the run, for labels as well, when the stream ${how}`, () =>
      Effect.gen(function* () {
        const { body, run } = ending(how)
        const { counted, exit, timed } = yield* seen(
          how === "has a consumer that fails" ? Stream.forever(body) : body,
          run
        )
        assert.include(defects(exit), defect)
        assert.deepStrictEqual(timed.map(defects), [[defect]])
        assert.deepStrictEqual(counted.map(defects), [[defect]])
        assert.deepStrictEqual(timed.map(Exit.isInterrupted), [how === "is interrupted"])
      })
    )
  }

  it.effect("is counted when the stream has ended, which was timed as the success that it was by then", () =>
    Effect.gen(function* () {
      const { body, run } = ending("has ended")
      const { counted, exit, timed } = yield* seen(body, run)
      assert.deepStrictEqual(exit, Exit.die(defect))
      assert.deepStrictEqual(timed, [Exit.void])
      assert.deepStrictEqual(counted, [Exit.die(defect)])
    })
  )

  it.effect("is no second failure of a run", () =>
    Effect.gen(function* () {
      const { body, run } = ending("has failed")
      for (const only of [undefined, { exit: "any" }, RangeError] as const) {
        const { counted, exit } = yield* seen(body, run, only)
        assert.include(defects(exit), defect)
        assert.deepStrictEqual(counted, [Exit.fail(failure)])
      }
    })
  )

  it.effect("is the one that is counted if only it is asked for", () =>
    Effect.gen(function* () {
      const { body, run } = ending("has failed")
      const { counted } = yield* seen(body, run, TypeError)
      assert.deepStrictEqual(counted.map(defects), [[defect]])
      assert.deepStrictEqual(counted.map(failures), [[failure]])
      assert.deepStrictEqual((yield* seen(body, run, SyntaxError)).counted, [])
    })
  )
})

describe("A finalizer of a measured stream", () => {
  it.effect("finds the services that it would find without the measurement", () =>
    Effect.gen(function* () {
      class Name extends Context.Tag("Name")<Name, string>() {}
      const found = (measure: Measure) =>
        Effect.gen(function* () {
          const names: Array<string> = []
          const look = Effect.map(Effect.serviceOption(Name), (name) => {
            names.push(Option.getOrElse(name, () => "none"))
          })
          const stream = measure(Stream.ensuring(one, look))
          yield* Stream.runDrain(stream)
          yield* Stream.runDrain(Stream.provideService(stream, Name, "of the stream"))
          yield* Effect.provideService(Stream.runDrain(stream), Name, "of the caller")
          return names
        })
      const expected = yield* found(unmeasured)
      assert.include(expected, "of the caller")
      for (const make of Object.values(measures)) assert.deepStrictEqual(yield* found(make()), expected)
    })
  )
})
