import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Channel,
  Chunk,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  HashSet,
  Layer,
  Logger,
  Option,
  Schedule,
  Scope,
  Sink,
  Stream,
  TestClock,
  Tracer
} from "effect"
import * as PromClient from "prom-client"
import { Registry } from "../src/Registry.js"
import * as StreamMetrics from "../src/StreamMetrics.js"
import { InterruptingOneAtRandom, interruptedEverywhere, seeded } from "./support/interruption.js"
import {
  clients,
  counts,
  errors,
  FakeCounter,
  FakeGauge,
  FakeObserver,
  fakes,
  metrics,
  metricsWithExemplars,
  rejecting,
  series,
  throwing
} from "./support/metrics.js"

/** Counts elements, and keeps with how many each call came. */
class FakeElements {
  readonly name = "fake_elements_total"
  readonly calls: Array<number> = []
  constructor(private readonly broken?: () => never) {}
  get counted() {
    return this.calls.reduce((sum, count) => sum + count, 0)
  }
  inc(elements: number | undefined) {
    this.calls.push(elements ?? 1)
    this.broken?.()
  }
}

const allFakes = () => ({ ...fakes(), elements: new FakeElements() })

type Fakes = ReturnType<typeof allFakes>
type Measure = <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>

interface Recorded {
  readonly seconds: ReadonlyArray<number>
  readonly elements: number
  readonly failed: number
  readonly progress: ReadonlyArray<number>
}

const recorded = ({ duration, elements, exceptions, inProgress }: Fakes): Recorded => ({
  seconds: duration.observed,
  elements: elements.counted,
  failed: exceptions.counted,
  progress: inProgress.history
})

const nothing: Recorded = { seconds: [], elements: 0, failed: 0, progress: [] }

const only =
  (key: keyof Recorded) =>
  (all: Recorded): Recorded => ({ ...nothing, [key]: all[key] })

/** The ways to measure a stream with hand-written metrics, and what each of them keeps of what could be recorded. */
const combinators: ReadonlyArray<{
  readonly name: string
  readonly with: (metrics: Fakes) => Measure
  readonly kept: (all: Recorded) => Recorded
}> = [
  { name: "timed", with: ({ duration }) => StreamMetrics.timed(duration), kept: only("seconds") },
  { name: "countElements", with: ({ elements }) => StreamMetrics.countElements(elements), kept: only("elements") },
  {
    name: "countExceptions",
    with: ({ exceptions }) => StreamMetrics.countExceptions(exceptions),
    kept: only("failed")
  },
  {
    name: "trackInProgress",
    with: ({ inProgress }) => StreamMetrics.trackInProgress(inProgress),
    kept: only("progress")
  },
  { name: "instrumented", with: (metrics) => (self) => StreamMetrics.instrumented(self, metrics), kept: (all) => all },
  {
    name: "the four in a pipe",
    with:
      ({ duration, elements, exceptions, inProgress }) =>
      (self) =>
        self.pipe(
          StreamMetrics.timed(duration),
          StreamMetrics.countElements(elements),
          StreamMetrics.countExceptions(exceptions),
          StreamMetrics.trackInProgress(inProgress)
        ),
    kept: (all) => all
  },
  {
    name: "the four, called with the stream first",
    with:
      ({ duration, elements, exceptions, inProgress }) =>
      (self) =>
        StreamMetrics.timed(
          StreamMetrics.countExceptions(
            StreamMetrics.trackInProgress(StreamMetrics.countElements(self, elements), inProgress),
            exceptions
          ),
          duration
        ),
    kept: (all) => all
  }
]

const failure = new RangeError("the stream failed")
const defect = new TypeError("the stream died")

/** An element a second: 0, 1, and so on. */
const ticks = Stream.repeatEffectWithSchedule(Effect.void, Schedule.spaced("1 second")).pipe(
  Stream.rechunk(1),
  Stream.mapAccum(0, (at) => [at + 1, at])
)

const three = Stream.take(ticks, 3)

/** Forks it, lets the time pass, and waits for its exit. */
const passing = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.await(fiber)
  })

const drained = <A, E, R>(self: Stream.Stream<A, E, R>) => passing(Stream.runCollect(self))

/** A run of a measured stream, what it must come out as, and what must be recorded of it. */
interface Scenario {
  readonly title: string
  readonly run: (measure: Measure) => Effect.fn.Return<void, unknown, Scope.Scope>
  readonly records: Recorded
}

const interruptedAfter = (time: "2500 millis", self: Stream.Stream<unknown, unknown>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(Stream.runDrain(self))
    yield* TestClock.adjust(time)
    return yield* Fiber.interrupt(fiber)
  })

const scenarios: ReadonlyArray<Scenario> = [
  {
    title: "a stream that ends is timed to its end, and each of its elements is counted",
    *run(measure) {
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Effect.orDie(yield* drained(measure(three)))), [0, 1, 2])
    },
    records: { seconds: [2], elements: 3, failed: 0, progress: [1, 0] }
  },
  {
    title: "a failure is timed, counted, and comes through as the same error",
    *run(measure) {
      const exit = yield* drained(measure(Stream.concat(three, Stream.fail(failure))))
      assert.strictEqual(yield* Effect.flip(exit), failure)
    },
    records: { seconds: [2], elements: 3, failed: 1, progress: [1, 0] }
  },
  {
    title: "a defect is timed, counted, and comes through as the same defect",
    *run(measure) {
      const exit = yield* drained(measure(Stream.concat(three, Stream.die(defect))))
      assert.strictEqual(yield* Effect.catchAllDefect(exit, Effect.succeed), defect)
    },
    records: { seconds: [2], elements: 3, failed: 1, progress: [1, 0] }
  },
  {
    title: "what is thrown while a stream is made is a defect of its run",
    *run(measure) {
      const thrown = Stream.suspend((): Stream.Stream<number> => {
        throw defect
      })
      const exit = yield* drained(measure(thrown))
      assert.strictEqual(yield* Effect.catchAllDefect(exit, Effect.succeed), defect)
    },
    records: { seconds: [0], elements: 0, failed: 1, progress: [1, 0] }
  },
  {
    title: "an interruption is timed, not counted, and comes through as one by the same fiber",
    *run(measure) {
      const exit = yield* interruptedAfter("2500 millis", measure(ticks))
      const cause = yield* Effect.flip(Effect.sandbox(exit))
      assert.isTrue(Cause.isInterruptedOnly(cause))
      assert.deepStrictEqual(HashSet.toValues(Cause.interruptors(cause)), [yield* Effect.fiberId])
    },
    records: { seconds: [2.5], elements: 3, failed: 0, progress: [1, 0] }
  },
  {
    title: "a stream whose consumer has enough is a success that ends there",
    *run(measure) {
      const exit = yield* drained(Stream.take(measure(ticks), 2))
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* exit), [0, 1])
    },
    records: { seconds: [1], elements: 2, failed: 0, progress: [1, 0] }
  },
  {
    title: "a sink that is done early ends it as well",
    *run(measure) {
      const exit = yield* passing(Stream.run(measure(ticks), Sink.take(2)))
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* exit), [0, 1])
    },
    records: { seconds: [1], elements: 2, failed: 0, progress: [1, 0] }
  },
  {
    title: "a failure of the consumer is not a failure of the stream, and ends it",
    *run(measure) {
      const exit = yield* passing(
        Stream.runForEach(measure(ticks), (at) => (at === 2 ? Effect.fail(failure) : Effect.void))
      )
      assert.deepStrictEqual(exit, Exit.fail(failure))
    },
    records: { seconds: [2], elements: 3, failed: 0, progress: [1, 0] }
  },
  {
    title: "a failure further down the pipe is not a failure of the stream",
    *run(measure) {
      const exit = yield* drained(Stream.mapEffect(measure(ticks), () => Effect.die(defect)))
      assert.isTrue(Exit.isFailure(exit))
    },
    records: { seconds: [0], elements: 1, failed: 0, progress: [1, 0] }
  },
  {
    title: "the time that the consumer takes is part of the run, and what it does after the end is not",
    *run(measure) {
      yield* passing(Stream.runForEachChunk(measure(Stream.make(1, 2)), () => Effect.sleep("4 seconds"))).pipe(
        Effect.zipRight(passing(Stream.runDrain(Stream.concat(measure(Stream.empty), Stream.drain(three)))))
      )
    },
    records: { seconds: [4, 0], elements: 2, failed: 0, progress: [1, 0, 1, 0] }
  },
  {
    title:
      "the time of the stream's own finalizers is part of the run where it is left or interrupted, not after its end",
    *run(measure) {
      const slow = Stream.ensuring(three, Effect.sleep("4 seconds"))
      yield* drained(measure(slow))
      yield* drained(Stream.take(measure(slow), 2))
      const fiber = yield* Effect.fork(Stream.runDrain(measure(slow)))
      yield* TestClock.adjust("1500 millis")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("1 minute")
      yield* Fiber.await(fiber)
    },
    records: { seconds: [2, 5, 5.5], elements: 7, failed: 0, progress: [1, 0, 1, 0, 1, 0] }
  },
  {
    title: "each run is measured by itself, one after the other",
    *run(measure) {
      const stream = measure(three)
      yield* drained(stream)
      yield* drained(stream)
      yield* drained(Stream.concat(stream, stream))
    },
    records: { seconds: [2, 2, 2, 2], elements: 12, failed: 0, progress: [1, 0, 1, 0, 1, 0, 1, 0] }
  },
  {
    title: "runs side by side are in progress side by side",
    *run(measure) {
      const stream = measure(three)
      yield* drained(Stream.merge(stream, stream))
    },
    records: { seconds: [2, 2], elements: 6, failed: 0, progress: [1, 2, 1, 0] }
  },
  {
    title: "each retry is a run of its own",
    *run(measure) {
      // An element would begin the schedule anew.
      const stream = measure(Stream.concat(Stream.drain(three), Stream.fail(failure)))
      const exit = yield* drained(Stream.retry(stream, Schedule.recurs(2)))
      assert.isTrue(Exit.isFailure(exit))
    },
    records: { seconds: [2, 2, 2], elements: 0, failed: 3, progress: [1, 0, 1, 0, 1, 0] }
  },
  {
    title: "the inner streams of a flatMap are runs of their own, and end where they are left",
    *run(measure) {
      const inner = measure(three)
      yield* drained(Stream.flatMap(Stream.make(1, 2), () => Stream.take(inner, 2)))
      yield* drained(Stream.flatMap(Stream.make(1, 2), () => inner, { concurrency: 2 }))
    },
    records: { seconds: [1, 1, 2, 2], elements: 10, failed: 0, progress: [1, 0, 1, 0, 1, 2, 1, 0] }
  },
  {
    title: "the loser of a switching flatMap is interrupted",
    *run(measure) {
      const outer = Stream.concat(Stream.make(1), Stream.fromEffect(Effect.delay(Effect.succeed(2), "1500 millis")))
      yield* drained(Stream.flatMap(outer, (at) => (at === 1 ? measure(ticks) : Stream.empty), { switch: true }))
    },
    records: { seconds: [1.5], elements: 2, failed: 0, progress: [1, 0] }
  },
  {
    title: "a broadcast stream is one run, however many listen",
    *run(measure) {
      const [one, two] = yield* Stream.broadcast(measure(three), 2, 4)
      const exit = yield* passing(Effect.all([Stream.runCount(one), Stream.runCount(two)], { concurrency: 2 }))
      assert.deepStrictEqual(exit, Exit.succeed([3, 3] as [number, number]))
    },
    records: { seconds: [2], elements: 3, failed: 0, progress: [1, 0] }
  },
  {
    title: "a stream that is pulled by hand ends with its scope",
    *run(measure) {
      const scope = yield* Scope.make()
      const pull = yield* Scope.extend(Stream.toPull(measure(ticks)), scope)
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Effect.orDie(pull)), [0])
      yield* TestClock.adjust("3 seconds")
      yield* Scope.close(scope, Exit.void)
    },
    records: { seconds: [3], elements: 1, failed: 0, progress: [1, 0] }
  },
  {
    title: "a stream that is never pulled was never run",
    *run(measure) {
      const scope = yield* Scope.make()
      yield* Scope.extend(Stream.toPull(measure(ticks)), scope)
      yield* Scope.close(scope, Exit.void)
      const fiber = yield* Effect.fork(Stream.runDrain(measure(ticks)))
      yield* Fiber.interrupt(fiber)
      measure(ticks)
    },
    records: nothing
  },
  {
    title: "an effect is a stream of one element",
    *run(measure) {
      const exit = yield* drained(measure(Effect.delay(Effect.succeed("its value"), "1 second")))
      assert.deepStrictEqual(exit, Exit.succeed(Chunk.of("its value")))
    },
    records: { seconds: [1], elements: 1, failed: 0, progress: [1, 0] }
  },
  {
    title: "the services of the caller and those provided to the stream arrive",
    *run(measure) {
      class Name extends Context.Tag("Name")<Name, string>() {}
      const stream = measure(Stream.fromEffect(Name))
      const provided = yield* Stream.runHead(Stream.provideService(stream, Name, "provided"))
      const called = yield* Effect.provideService(Stream.runHead(stream), Name, "called")
      assert.deepStrictEqual([provided, called].map(Exit.succeed), [provided, called].map(Exit.succeed))
      assert.deepStrictEqual(JSON.stringify([provided, called]).match(/provided|called/g), ["provided", "called"])
    },
    records: { seconds: [0, 0], elements: 2, failed: 0, progress: [1, 0, 1, 0] }
  }
]

for (const combinator of combinators) {
  describe(combinator.name, () => {
    for (const { records, run, title } of scenarios) {
      it.scoped(title, () =>
        Effect.gen(function* () {
          const metrics = allFakes()
          yield* run(combinator.with(metrics))
          assert.deepStrictEqual(recorded(metrics), combinator.kept(records))
        })
      )
    }

    it.effect("chunks stay as they are, empty ones as well, and nothing is pulled without demand", () =>
      Effect.gen(function* () {
        const made: Array<number> = []
        const chunks = [Chunk.make(1, 2, 3), Chunk.empty<number>(), Chunk.make(4), Chunk.range(5, 14)]
        const source = Stream.repeatEffectChunkOption(
          Effect.suspend(() => {
            const chunk = chunks[made.length]
            if (chunk === undefined) return Effect.fail({ _tag: "None" } as never)
            made.push(chunk.length)
            return Effect.succeed(chunk)
          })
        )
        const fakes = allFakes()
        const seen: Array<Chunk.Chunk<number>> = []
        const pulled: Array<number> = []
        yield* Stream.runForEachChunk(combinator.with(fakes)(source), (chunk) =>
          Effect.sync(() => {
            seen.push(chunk)
            pulled.push(made.length)
          })
        ).pipe(Effect.exit)
        for (const [at, chunk] of seen.entries()) assert.strictEqual(chunk, chunks[at])
        assert.deepStrictEqual(pulled, [1, 2, 3, 4])
        const records = combinator.kept({ seconds: [], elements: 14, failed: 0, progress: [] })
        assert.strictEqual(fakes.elements.counted, records.elements)
      })
    )

    for (const { name, program, uninterrupted } of isWatched(combinator.name) ? hostile() : []) {
      it.effect(`what is started is ended, wherever an interruption comes: ${name}`, () =>
        Effect.gen(function* () {
          const ended = combinator.kept({ seconds: [1], elements: 1, failed: 1, progress: [1, 0] })
          const results = yield* interruptedEverywhere(
            () => {
              const metrics = allFakes()
              const delivered = { elements: 0 }
              const run = program(combinator.with(metrics), delivered)
              return { program: run, result: () => ({ metrics, delivered }) }
            },
            { whole: true }
          )
          assert.isAbove(results.length, 20)
          const starts = new Set<number>()
          for (const { delivered, metrics } of results) {
            const { duration, elements, inProgress } = metrics
            assert.strictEqual(inProgress.value, 0)
            assert.strictEqual(inProgress.history.length, 2 * inProgress.started)
            if (combinator.name === "instrumented") {
              assert.strictEqual(duration.observed.length, inProgress.started)
            }
            starts.add(Math.max(duration.observed.length, inProgress.started))
            if (ended.elements > 0) assert.isAtLeast(elements.counted, delivered.elements)
          }
          // There were interruptions both before and after the start.
          if (ended.seconds.length > 0 || ended.progress.length > 0)
            assert.isAtLeast(starts.size, uninterrupted ? 1 : 2)
        })
      )
    }
  })
}

// Each takes thousands of runs.
function isWatched(name: string) {
  return name === "instrumented" || name === "trackInProgress"
}

interface Delivered {
  elements: number
}

/**
 * Programs that end when they are interrupted at any of their operations, measured or not. Those that do not end are in
 * `forking`.
 */
function hostile(): ReadonlyArray<{
  readonly name: string
  readonly program: (measure: Measure, delivered: Delivered) => Effect.Effect<unknown, unknown>
  readonly uninterrupted?: true
}> {
  const source = Stream.make(1, 2).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((at) => Effect.as(Effect.yieldNow(), at)),
    Stream.ensuring(Effect.yieldNow())
  )
  const delivering = (delivered: Delivered) => () =>
    Effect.sync(() => {
      delivered.elements += 1
    })
  return [
    {
      name: "a run to the end",
      program: (measure, delivered) => Stream.runForEach(measure(source), delivering(delivered))
    },
    {
      name: "a failure",
      program: (measure) => Stream.runDrain(measure(Stream.concat(source, Stream.fail(failure))))
    },
    {
      name: "an early end",
      program: (measure, delivered) => Stream.runForEach(Stream.take(measure(source), 1), delivering(delivered))
    },
    {
      name: "a flatMap",
      program: (measure, delivered) =>
        Stream.runForEach(
          Stream.flatMap(measure(source), () => measure(source)),
          delivering(delivered)
        )
    },
    {
      name: "a buffer",
      program: (measure, delivered) =>
        Stream.runForEach(Stream.buffer(measure(source), { capacity: 2 }), delivering(delivered))
    },
    {
      name: "several effects at once",
      program: (measure, delivered) =>
        Stream.runForEach(Stream.mapEffect(measure(source), Effect.succeed, { concurrency: 2 }), delivering(delivered))
    },
    {
      name: "in an uninterruptible region",
      uninterrupted: true,
      program: (measure) => Effect.uninterruptible(Stream.runDrain(measure(source)))
    },
    {
      name: "a scope closed while it is pulled",
      program: (measure) =>
        Effect.scoped(Effect.flatMap(Stream.toPull(measure(source)), (pull) => Effect.zipRight(pull, pull)))
    }
  ]
}

/**
 * Programs that do not end by themselves after some interruptions, measured or not: 5 in 1,500 of the runs of
 * `Stream.merge` and 147 of `Stream.broadcast`, by the same seeds.
 */
const forking: ReadonlyArray<{ readonly name: string; readonly program: (measured: Plain) => Effect.Effect<unknown> }> =
  [
    { name: "Stream.merge", program: (measured) => Stream.runDrain(Stream.merge(measured, measured)) },
    { name: "Stream.zipLatest", program: (measured) => Stream.runDrain(Stream.zipLatest(measured, measured)) },
    {
      name: "Stream.interruptWhen",
      program: (measured) => Stream.runDrain(Stream.interruptWhen(measured, Effect.never))
    },
    {
      name: "Stream.broadcast",
      program: (measured) =>
        Effect.scoped(
          Effect.flatMap(Stream.broadcast(measured, 2, 4), (each) =>
            Effect.all(each.map(Stream.runDrain), { concurrency: 2 })
          )
        )
    }
  ]

type Plain = Stream.Stream<number>

describe("Streams of several fibers", () => {
  for (const { name, program } of forking) {
    it.live(`are over when their program is, however it is interrupted: ${name}`, () =>
      Effect.gen(function* () {
        let [begun, ended] = [0, 0]
        for (let seed = 0; seed < 150; seed += 1) {
          const metrics = allFakes()
          const { duration, inProgress } = metrics
          const source = Stream.mapEffect(Stream.rechunk(Stream.make(1, 2), 1), (at) =>
            Effect.as(Effect.yieldNow(), at)
          )
          const scheduler = new InterruptingOneAtRandom(seeded(seed), 0.05)
          const run = program(StreamMetrics.instrumented(source, metrics))
          const fiber = Effect.runFork(run, { scheduler, immediate: false })
          scheduler.fiber = fiber
          const exit = yield* Effect.timeoutOption(Fiber.await(fiber), "100 millis")
          if (Option.isNone(exit)) continue
          ended += 1
          begun += inProgress.started
          assert.strictEqual(inProgress.value, 0, `seed ${seed}`)
          assert.strictEqual(duration.observed.length, inProgress.started, `seed ${seed}`)
        }
        assert.isAbove(ended, 100)
        assert.isAbove(begun, 10)
      })
    )
  }
})

describe("A stream that leaves Effect", () => {
  it.live("ends as an interruption when its ReadableStream is cancelled", () =>
    Effect.gen(function* () {
      const metrics = allFakes()
      const exits: Array<Exit.Exit<void>> = []
      const observer = Object.assign(new FakeObserver(), { labels: (_: { readonly exit: string }) => metrics.duration })
      const stream = Stream.concat(Stream.make(1), Stream.never).pipe(
        StreamMetrics.timed(observer, {
          labels: (exit) => {
            exits.push(exit)
            return { exit: exit._tag }
          }
        }),
        StreamMetrics.instrumented(metrics)
      )
      const reader = Stream.toReadableStream(stream).getReader()
      const first = yield* Effect.promise(() => reader.read())
      assert.deepStrictEqual(first, { done: false, value: 1 })
      assert.strictEqual(metrics.inProgress.value, 1)
      yield* Effect.promise(() => reader.cancel())
      assert.deepStrictEqual(metrics.inProgress.history, [1, 0])
      assert.strictEqual(metrics.duration.observed.length, 2)
      assert.deepStrictEqual(exits.map(Exit.isInterrupted), [true])
    })
  )

  it.live("ends, and not as a failure, when its ReadableStream is cancelled with an element on its way", () =>
    Effect.gen(function* () {
      for (let turns = 0; turns < 20; turns += 1) {
        const metrics = allFakes()
        const stream = StreamMetrics.instrumented(Stream.rechunk(Stream.make(1, 2, 3), 1), metrics)
        const reader = Stream.toReadableStream(stream).getReader()
        yield* Effect.promise(() => reader.read())
        yield* Effect.replicateEffect(Effect.yieldNow(), turns)
        // It is refused where the element is given to what is closed by then.
        yield* Effect.promise(() => reader.cancel().catch(() => {}))
        assert.deepStrictEqual(metrics.inProgress.history, [1, 0])
        assert.strictEqual(metrics.duration.observed.length, 1)
        assert.strictEqual(metrics.exceptions.counted, 0)
      }
    })
  )

  it.live("ends as an interruption when its async iteration is left, and by itself when that is done", () =>
    Effect.gen(function* () {
      const metrics = allFakes()
      const interrupted = new FakeCounter()
      const stream = Stream.rechunk(Stream.make(1, 2, 3), 1).pipe(
        StreamMetrics.instrumented(metrics),
        StreamMetrics.countExceptions(interrupted, { only: { exit: "interrupt" } })
      )
      const seen: Array<number> = []
      yield* Effect.promise(async () => {
        for await (const element of Stream.toAsyncIterable(stream)) {
          seen.push(element)
          if (element === 2) break
        }
        assert.deepStrictEqual(metrics.inProgress.history, [1, 0])
        assert.strictEqual(interrupted.counted, 1)
        for await (const element of Stream.toAsyncIterable(stream)) seen.push(element)
      })
      assert.strictEqual(interrupted.counted, 1)
      assert.deepStrictEqual(seen, [1, 2, 1, 2, 3])
      assert.deepStrictEqual(metrics.inProgress.history, [1, 0, 1, 0])
      assert.strictEqual(metrics.duration.observed.length, 2)
      assert.strictEqual(metrics.exceptions.counted, 0)
    })
  )
})

describe("The exit that a function of labels gets of a stream", () => {
  type Plain = Stream.Stream<number, unknown>
  const seenOf = (use: (measure: (self: Plain) => Plain) => Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const exits: Array<Exit.Exit<void, unknown>> = []
      const metric = Object.assign(new FakeObserver(), { labels: (_: { readonly a: number }) => new FakeObserver() })
      yield* use((self) =>
        StreamMetrics.timed(self, metric, {
          labels: (exit) => {
            exits.push(exit)
            return { a: 1 }
          }
        })
      ).pipe(Effect.exit)
      return exits
    })

  it.effect("is its own failure, a success where the consumer failed or had enough, and interruption", () =>
    Effect.gen(function* () {
      const cause = Cause.sequential(Cause.fail(failure), Cause.die(defect))
      const own = yield* seenOf((measure) => Stream.runDrain(measure(Stream.fromChannel(Channel.failCause(cause)))))
      assert.strictEqual(own.length, 1)
      assert.strictEqual(own[0] !== undefined && Exit.isFailure(own[0]) && own[0].cause, cause)
      const ended = yield* seenOf((measure) => Stream.runDrain(measure(Stream.make(1))))
      assert.deepStrictEqual(ended.map(Exit.isSuccess), [true])
      const left = yield* seenOf((measure) => Stream.runDrain(Stream.take(measure(Stream.make(1, 2)), 1)))
      assert.deepStrictEqual(left.map(Exit.isSuccess), [true])
      const failed = yield* seenOf((measure) =>
        Stream.runForEach(measure(Stream.make(1, 2)), () => Effect.failCause(cause))
      )
      assert.deepStrictEqual(failed.map(Exit.isSuccess), [true])
      const [interrupted] = yield* seenOf((measure) =>
        Effect.gen(function* () {
          const begun = yield* Deferred.make<void>()
          const stream = Stream.concat(
            Stream.drain(Stream.fromEffect(Deferred.succeed(begun, undefined))),
            Stream.never
          )
          const fiber = yield* Effect.fork(Stream.runDrain(measure(stream)))
          yield* Deferred.await(begun)
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.isTrue(interrupted !== undefined && Exit.isInterrupted(interrupted))
    })
  )

  it.effect("counts an interruption only where it is asked for", () =>
    Effect.gen(function* () {
      for (const [exit, counted] of [
        ["interrupt", 1],
        ["any", 1],
        ["failure", 0]
      ] as const) {
        const counter = new FakeCounter()
        const begun = yield* Deferred.make<void>()
        const stream = Stream.concat(Stream.fromEffect(Deferred.succeed(begun, undefined)), Stream.never)
        const fiber = yield* Effect.fork(
          Stream.runDrain(StreamMetrics.countExceptions(stream, counter, { only: { exit } }))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(counter.counted, counted)
      }
    })
  )
})

describe("countElements", () => {
  it.effect("calls a counter that takes a number once a chunk, and another once an element", () =>
    Effect.gen(function* () {
      const many = new FakeElements()
      const one = new FakeCounter()
      const stream = Stream.fromChunks(Chunk.make(1, 2, 3), Chunk.empty<number>(), Chunk.make(4))
      yield* stream.pipe(StreamMetrics.countElements(many), StreamMetrics.countElements(one), Stream.runDrain)
      assert.deepStrictEqual(many.calls, [3, 1])
      assert.strictEqual(one.counted, 4)
    })
  )
})

for (const { client, name } of clients) {
  describe(`On the metrics of ${name}`, () => {
    it.effect("a stream is recorded with its labels", () =>
      Effect.gen(function* () {
        const { duration, exceptions, inProgress, registry } = metrics(client)
        const elements = new client.Counter({
          name: "elements_total",
          help: "h",
          labelNames: ["method"] as const,
          registers: [registry]
        })
        const labels = { method: "GET", outcome: "none" }
        const stream = (end: Stream.Stream<never, RangeError>) =>
          Stream.concat(Stream.range(1, 5_000), end).pipe(
            StreamMetrics.instrumented({
              duration: { metric: duration, labels: (exit) => ({ method: "GET", outcome: exit._tag }) },
              elements: { metric: elements, labels: { method: "GET" } },
              exceptions: { metric: exceptions, labels, only: RangeError },
              inProgress: { metric: inProgress, labels }
            }),
            StreamMetrics.countElements(elements.labels("POST")),
            StreamMetrics.timed(duration.labels("POST", "child"))
          )
        yield* Stream.runDrain(stream(Stream.empty))
        yield* Effect.exit(Stream.runDrain(stream(Stream.fail(failure))))
        assert.deepStrictEqual(yield* Effect.promise(() => counts(duration)), {
          'run_seconds_count{method="GET",outcome="Success"}': 1,
          'run_seconds_count{method="GET",outcome="Failure"}': 1,
          'run_seconds_count{method="POST",outcome="child"}': 2
        })
        assert.deepStrictEqual(yield* Effect.promise(() => series(elements)), {
          'elements_total{method="GET"}': 10_000,
          'elements_total{method="POST"}': 10_000
        })
        assert.deepStrictEqual(yield* Effect.promise(() => series(exceptions)), {
          'run_failures_total{method="GET",outcome="none"}': 1
        })
        assert.deepStrictEqual(yield* Effect.promise(() => series(inProgress)), {
          'runs_in_progress{method="GET",outcome="none"}': 0
        })
      })
    )

    it.effect("a sampled span comes with the duration, and elements are counted where exemplars are enabled", () =>
      Effect.gen(function* () {
        const { duration, exceptions } = metricsWithExemplars(client)
        const labels = { method: "GET", outcome: "ok" }
        const span = Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16) })
        yield* Stream.range(1, 3).pipe(
          StreamMetrics.timed(duration, { labels, exemplar: "currentSpan" }),
          StreamMetrics.countElements(exceptions, { labels }),
          Stream.runDrain,
          Effect.withParentSpan(span),
          Effect.withSpan("run")
        )
        const { values } = yield* Effect.promise(() => duration.get())
        const ids = values.flatMap((value) => {
          const { exemplar } = value as { readonly exemplar?: { readonly labelSet: object } | null }
          return exemplar ? [exemplar.labelSet] : []
        })
        assert.strictEqual(ids.length, 1)
        assert.propertyVal(ids[0], "trace_id", "a".repeat(32))
        assert.deepStrictEqual(yield* Effect.promise(() => series(exceptions)), {
          'run_failures_total{method="GET",outcome="ok"}': 3
        })
      })
    )
  })
}

describe("A metric that throws", () => {
  const warningsOf = (use: (registry: PromClient.Registry) => Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const warnings: Array<string> = []
      const logger = Logger.make(({ message }) => warnings.push(String(message)))
      const exit = yield* use(registry).pipe(
        Effect.provide(Layer.merge(Logger.replace(Logger.defaultLogger, logger), Layer.succeed(Registry, registry))),
        Effect.exit
      )
      // What a metric rejects with later is logged then.
      yield* Effect.promise(() => new Promise(setImmediate))
      return { exit, warnings, counted: yield* Effect.promise(() => errors(registry)) }
    })

  const broken: ReadonlyArray<{
    readonly title: string
    readonly make: () => Measure
    readonly counted: Record<string, number>
  }> = [
    {
      title: "an observer",
      make: () => StreamMetrics.timed(new FakeObserver({ observe: throwing("observe") })),
      counted: { observe: 2 }
    },
    {
      title: "a counter of elements, once a chunk",
      make: () => StreamMetrics.countElements(new FakeElements(throwing("inc"))),
      counted: { inc: 4 }
    },
    {
      title: "a counter of elements that counts them one after the other",
      make: () => StreamMetrics.countElements(new FakeCounter({ inc: throwing("inc") })),
      counted: { inc: 4 }
    },
    {
      title: "a gauge that cannot go up",
      make: () => StreamMetrics.trackInProgress(new FakeGauge({ inc: throwing("inc") })),
      counted: { inc: 2 }
    },
    {
      title: "a gauge that cannot go down",
      make: () => StreamMetrics.trackInProgress(new FakeGauge({ dec: throwing("dec") })),
      counted: { dec: 2 }
    },
    {
      title: "a function of labels",
      make: () =>
        StreamMetrics.timed(
          Object.assign(new FakeObserver(), { labels: (_: { readonly a: string }) => new FakeObserver() }),
          { labels: throwing("labels") }
        ),
      counted: { observe: 2 }
    },
    {
      title: "an observer whose promise rejects",
      make: () => StreamMetrics.timed({ name: "fake_seconds", observe: rejecting("observe") }),
      counted: { observe: 2 }
    },
    {
      title: "a counter of elements whose promise rejects, once a chunk",
      make: () => StreamMetrics.countElements({ name: "fake_total", inc: rejecting("inc") }),
      counted: { inc: 4 }
    },
    {
      title: "a gauge whose promises reject",
      make: () =>
        StreamMetrics.trackInProgress({ name: "fake_in_progress", inc: rejecting("inc"), dec: rejecting("dec") }),
      counted: { inc: 2, dec: 2 }
    },
    {
      title: "an async function of labels",
      make: () =>
        StreamMetrics.timed(
          Object.assign(new FakeObserver(), { labels: (_: { readonly a: string }) => new FakeObserver() }),
          { labels: rejecting("labels") as unknown as () => { readonly a: string } }
        ),
      counted: { observe: 2 }
    }
  ]
  for (const { counted, make, title } of broken) {
    it.effect(`changes nothing in the stream, is logged once and counted: ${title}`, () =>
      Effect.gen(function* () {
        const stream = Stream.fromChunks(Chunk.make(1, 2), Chunk.make(3)).pipe(make())
        const collected = Effect.map(Stream.runCollect(stream), Chunk.toArray)
        const seen = yield* warningsOf(() => Effect.all([collected, collected]))
        assert.deepStrictEqual(
          seen.exit,
          Exit.succeed([
            [1, 2, 3],
            [1, 2, 3]
          ])
        )
        assert.strictEqual(seen.warnings.length, 1)
        assert.deepStrictEqual(seen.counted, counted)
      })
    )
  }

  it.effect("is logged at once, though the stream never ends", () =>
    Effect.gen(function* () {
      const warned = yield* Deferred.make<string>()
      const logger = Logger.make(({ message }) => Deferred.unsafeDone(warned, Effect.succeed(String(message))))
      const fiber = yield* Stream.forever(Stream.make(1)).pipe(
        StreamMetrics.countElements(new FakeElements(throwing("inc"))),
        Stream.runDrain,
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.fork
      )
      assert.match(yield* Deferred.await(warned), /^inc on metric fake_elements_total failed: inc/)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("is logged at the start of a stream that never emits", () =>
    Effect.gen(function* () {
      const warned = yield* Deferred.make<string>()
      const logger = Logger.make(({ message }) => Deferred.unsafeDone(warned, Effect.succeed(String(message))))
      const fiber = yield* Stream.never.pipe(
        StreamMetrics.trackInProgress(new FakeGauge({ inc: throwing("inc") })),
        Stream.runDrain,
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.fork
      )
      for (let turns = 0; turns < 100; turns += 1) yield* Effect.yieldNow()
      assert.isTrue(yield* Deferred.isDone(warned))
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("is counted on the registry that was provided to the stream, also at its end", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const { warnings, counted } = yield* warningsOf(() =>
        Stream.make(1).pipe(
          StreamMetrics.timed(new FakeObserver({ observe: throwing("observe") })),
          Stream.provideSomeLayer(Layer.succeed(Registry, registry)),
          Stream.runDrain
        )
      )
      assert.strictEqual(warnings.length, 1)
      assert.deepStrictEqual(counted, {})
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { observe: 1 })
    })
  )
})

describe("A mistake in the program", () => {
  it("throws where the combinator is made", () => {
    const wrong = StreamMetrics.instrumented as (instruments: object) => unknown
    assert.throws(
      () => wrong({ element: new FakeElements() }),
      /unknown instrument element \(did you mean elements\?\)/
    )
    assert.throws(() => wrong({ elements: new FakeObserver() }), /expected a counter/)
    assert.throws(() => wrong({ elements: { metric: {}, labels: {} } }), /expected a counter/)
    assert.throws(() => (StreamMetrics.timed as (metric: object) => unknown)(new FakeCounter()), /expected a histogram/)
  })
})
