import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  HashSet,
  Logger,
  LogLevel,
  Runtime,
  type Scope,
  TestClock,
  Tracer
} from "effect"
import * as PromClient from "prom-client"
import * as Metrics from "../src/Metrics.js"
import { type MetricRegistry, Registry } from "../src/Registry.js"
import type { MeasuredRun, Measurement, MetricEntry } from "./support/combinatorTests.js"
import { describeMeasurements } from "./support/combinatorTests.js"
import { countingClock } from "./support/countingClock.js"
import { InterruptingAtRandom, interruptedEverywhere, seeded } from "./support/interruption.js"
import { major } from "./support/major.js"
import {
  clients,
  counts,
  errors,
  FakeCounter,
  FakeGauge,
  FakeObserver,
  fakes,
  metricsWithExemplars,
  throwing
} from "./support/metrics.js"

type Fakes = ReturnType<typeof fakes>
type Measure = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

interface Recorded {
  readonly seconds: ReadonlyArray<number>
  readonly counted: number
  readonly progress: ReadonlyArray<number>
}

const recorded = ({ duration, exceptions, inProgress }: Fakes): Recorded => ({
  seconds: duration.observed,
  counted: exceptions.counted,
  progress: inProgress.history
})

const nothing: Recorded = { seconds: [], counted: 0, progress: [] }

const only =
  (key: keyof Recorded) =>
  (all: Recorded): Recorded => ({ ...nothing, [key]: all[key] })

/** The ways to measure an effect with hand-written metrics, and what each of them keeps of what could be recorded. */
const combinators: ReadonlyArray<{
  readonly name: string
  readonly with: (metrics: Fakes) => Measure
  readonly kept: (all: Recorded) => Recorded
}> = [
  { name: "timed", with: ({ duration }) => Metrics.timed(duration), kept: only("seconds") },
  { name: "countExceptions", with: ({ exceptions }) => Metrics.countExceptions(exceptions), kept: only("counted") },
  { name: "trackInProgress", with: ({ inProgress }) => Metrics.trackInProgress(inProgress), kept: only("progress") },
  { name: "instrumented", with: (metrics) => (self) => Metrics.instrumented(self, metrics), kept: (all) => all },
  {
    name: "the three combinators in a pipe",
    with:
      ({ duration, exceptions, inProgress }) =>
      (self) =>
        self.pipe(Metrics.timed(duration), Metrics.countExceptions(exceptions), Metrics.trackInProgress(inProgress)),
    kept: (all) => all
  },
  {
    name: "the three combinators, called with the effect first",
    with:
      ({ duration, exceptions, inProgress }) =>
      (self) =>
        Metrics.timed(Metrics.countExceptions(Metrics.trackInProgress(self, inProgress), exceptions), duration),
    kept: (all) => all
  }
]

const value = { its: "value" }
const failure = new RangeError("the body failed")
const defect = new TypeError("the body died")
const afterTwoSeconds = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.delay(self, "2 seconds")

/** Forks it, lets the time pass, and waits for its exit. */
const passing = <A, E, R>(time: string, self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust(time as "1 second")
    return yield* Fiber.await(fiber)
  })

/** A run of a measured effect, what it must come out as, and what must be recorded of it. */
interface Scenario {
  readonly title: string
  readonly run: (measure: Measure) => Effect.fn.Return<void, unknown, Scope.Scope>
  readonly records: Recorded
}

const settingFiberRef: Scenario = {
  title: "what the body sets on its fiber stays set",
  *run(measure) {
    const ref = yield* FiberRef.make("before")
    yield* measure(FiberRef.set(ref, "set by the body"))
    assert.strictEqual(yield* FiberRef.get(ref), "set by the body")
  },
  records: { seconds: [0], counted: 0, progress: [1, 0] }
}

const scenarios: ReadonlyArray<Scenario> = [
  {
    title: "a success is timed, not counted, and comes through as the same value",
    *run(measure) {
      const exit = yield* passing("3 seconds", measure(afterTwoSeconds(Effect.succeed(value))))
      assert.strictEqual(yield* exit, value)
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "a failure is timed, counted, and comes through as the same error",
    *run(measure) {
      const exit = yield* passing("3 seconds", measure(afterTwoSeconds(Effect.fail(failure))))
      assert.strictEqual(yield* Effect.flip(exit), failure)
    },
    records: { seconds: [2], counted: 1, progress: [1, 0] }
  },
  {
    title: "a defect is timed, counted, and comes through as the same defect",
    *run(measure) {
      const exit = yield* passing("3 seconds", measure(afterTwoSeconds(Effect.die(defect))))
      assert.strictEqual(yield* Effect.catchAllDefect(exit, Effect.succeed), defect)
    },
    records: { seconds: [2], counted: 1, progress: [1, 0] }
  },
  {
    title: "an interruption is timed, not counted, and comes through as an interruption by the same fiber",
    *run(measure) {
      const fiber = yield* Effect.fork(measure(Effect.never))
      yield* TestClock.adjust("3 seconds")
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      const cause = yield* Effect.flip(Effect.sandbox(exit))
      assert.isTrue(Cause.isInterruptedOnly(cause))
      assert.deepStrictEqual(HashSet.toValues(Cause.interruptors(cause)), [yield* Effect.fiberId])
    },
    records: { seconds: [3], counted: 0, progress: [1, 0] }
  },
  {
    title: "a timeout around the measurement is an interruption",
    *run(measure) {
      const exit = yield* passing("9 seconds", Effect.timeout(measure(Effect.never), "5 seconds"))
      assert.isTrue(Exit.isFailure(exit))
    },
    records: { seconds: [5], counted: 0, progress: [1, 0] }
  },
  {
    title: "a timeout inside the measurement is a failure",
    *run(measure) {
      const exit = yield* passing("9 seconds", measure(Effect.timeout(Effect.never, "5 seconds")))
      assert.strictEqual((yield* Effect.flip(exit))._tag, major === 3 ? "TimeoutException" : "TimeoutError")
    },
    records: { seconds: [5], counted: 1, progress: [1, 0] }
  },
  {
    title: "the loser of a race is timed until it lost",
    *run(measure) {
      const exit = yield* passing("9 seconds", Effect.race(measure(Effect.never), afterTwoSeconds(Effect.succeed(1))))
      assert.deepStrictEqual(exit, Exit.succeed(1))
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "each retry is a run of its own",
    *run(measure) {
      const exit = yield* passing(
        "9 seconds",
        Effect.retry(measure(afterTwoSeconds(Effect.fail(failure))), { times: 2 })
      )
      assert.strictEqual(yield* Effect.flip(exit), failure)
    },
    records: { seconds: [2, 2, 2], counted: 3, progress: [1, 0, 1, 0, 1, 0] }
  },
  {
    title: "each repetition is a run of its own",
    *run(measure) {
      yield* passing("9 seconds", Effect.repeatN(measure(afterTwoSeconds(Effect.succeed(1))), 2))
    },
    records: { seconds: [2, 2, 2], counted: 0, progress: [1, 0, 1, 0, 1, 0] }
  },
  {
    title: "runs side by side are in progress side by side",
    *run(measure) {
      const run = measure(afterTwoSeconds(Effect.fail(failure)))
      yield* passing("9 seconds", Effect.all([Effect.exit(run), Effect.exit(run)], { concurrency: 2 }))
    },
    records: { seconds: [2, 2], counted: 2, progress: [1, 2, 1, 0] }
  },
  {
    title: "a daemon is measured until it ends, after the fiber that forked it",
    *run(measure) {
      const daemon = yield* Effect.fork(Effect.forkDaemon(measure(afterTwoSeconds(Effect.die(defect))))).pipe(
        Effect.flatMap(Fiber.join)
      )
      yield* TestClock.adjust("9 seconds")
      yield* Fiber.await(daemon)
    },
    records: { seconds: [2], counted: 1, progress: [1, 0] }
  },
  {
    title: "an effect that forks a daemon is measured until it ends itself",
    *run(measure) {
      yield* passing("3 seconds", measure(afterTwoSeconds(Effect.forkDaemon(Effect.never))))
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "the clock starts when the effect is run, not when it is built",
    *run(measure) {
      const measured = measure(afterTwoSeconds(Effect.void))
      yield* TestClock.adjust("1 hour")
      yield* passing("3 seconds", measured)
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "an effect that is built and never run is not measured",
    *run(measure) {
      yield* Effect.sync(() => measure(Effect.void))
    },
    records: nothing
  },
  {
    title: "the time of the finalizers of an interrupted effect is part of its run",
    *run(measure) {
      const fiber = yield* Effect.fork(measure(Effect.onInterrupt(Effect.never, () => Effect.sleep("4 seconds"))))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("9 seconds")
      yield* Fiber.await(fiber)
    },
    records: { seconds: [7], counted: 0, progress: [1, 0] }
  },
  {
    title: "a finalizer of an interrupted effect that dies is counted",
    *run(measure) {
      const fiber = yield* Effect.fork(measure(Effect.onInterrupt(Effect.never, () => Effect.die(defect))))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.interrupt(fiber)
    },
    records: { seconds: [3], counted: 1, progress: [1, 0] }
  },
  {
    title: "an uninterruptible region stays one",
    *run(measure) {
      const last = yield* Deferred.make<string>()
      const body = afterTwoSeconds(Deferred.succeed(last, "reached"))
      const fiber = yield* Effect.fork(Effect.uninterruptible(measure(body)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* Deferred.await(last), "reached")
      yield* Fiber.await(fiber)
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "an uninterruptible body stays one",
    *run(measure) {
      const fiber = yield* Effect.fork(measure(Effect.uninterruptible(afterTwoSeconds(Effect.void))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("9 seconds")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
    },
    records: { seconds: [2], counted: 0, progress: [1, 0] }
  },
  {
    title: "an interruptible body of an uninterruptible region can be interrupted",
    *run(measure) {
      const fiber = yield* Effect.fork(Effect.uninterruptibleMask((restore) => measure(restore(Effect.never))))
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    },
    records: { seconds: [3], counted: 0, progress: [1, 0] }
  },
  {
    title: "an effect without a wait stays synchronous",
    *run(measure) {
      const runtime = yield* Effect.runtime()
      assert.strictEqual(Runtime.runSync(runtime)(measure(Effect.sync(() => value))), value)
    },
    records: { seconds: [0], counted: 0, progress: [1, 0] }
  },
  // Effect 4 has no such references.
  ...(major === 3 ? [settingFiberRef] : []),
  {
    title: "the body runs on the fiber and with the services of its caller",
    *run(measure) {
      class Name extends Context.Tag("Name")<Name, string>() {}
      const body = Effect.all([Effect.fiberId, Name])
      const [fiberId, name] = yield* Effect.provideService(measure(body), Name, "provided")
      assert.deepStrictEqual(fiberId, yield* Effect.fiberId)
      assert.strictEqual(name, "provided")
    },
    records: { seconds: [0], counted: 0, progress: [1, 0] }
  }
]

for (const combinator of combinators) {
  describe(combinator.name, () => {
    for (const { records, run, title } of scenarios) {
      it.scoped(title, () =>
        Effect.gen(function* () {
          const metrics = fakes()
          yield* run(combinator.with(metrics))
          assert.deepStrictEqual(recorded(metrics), combinator.kept(records))
        })
      )
    }

    for (const region of ["interruptible", "uninterruptible"] as const) {
      it.effect(`an ${region} body runs as such`, () =>
        Effect.gen(function* () {
          const runs = yield* Effect[region](combinator.with(fakes())(Effect.checkInterruptible(Effect.succeed)))
          assert.strictEqual(runs, region === "interruptible")
        })
      )
    }

    it.effect("a cause comes through as it is", () =>
      Effect.gen(function* () {
        for (const { cause } of causes) {
          const exit = yield* Effect.exit(combinator.with(fakes())(Effect.failCause(cause)))
          assert.strictEqual(Exit.isFailure(exit) && exit.cause, cause)
        }
      })
    )
  })
}

class HttpError extends Error {
  readonly _tag = "HttpError"
}

const fail = (error: unknown): Cause.Cause<unknown> => Cause.fail(error)
const interrupt: Cause.Cause<unknown> = Cause.interrupt(FiberId.none)

/** Causes in the order of the columns below. */
const causes = [
  { name: "a failure", cause: fail(new TypeError("a")) },
  { name: "a failure of another kind", cause: fail(new HttpError("b")) },
  { name: "a defect", cause: Cause.die(new TypeError("c")) },
  { name: "an interruption", cause: interrupt },
  { name: "an interruption twice, as a handler sees it", cause: Cause.sequential(interrupt, interrupt) },
  { name: "a failure beside an interruption", cause: Cause.parallel(fail(new HttpError("d")), interrupt) },
  { name: "an interruption and then a defect", cause: Cause.sequential(interrupt, Cause.die(new HttpError("e"))) },
  { name: "a failure and then a defect", cause: Cause.sequential(fail(new TypeError("f")), Cause.die("text")) },
  { name: "no cause at all", cause: Cause.empty }
]

const countedCauses: ReadonlyArray<{ readonly title: string; readonly only?: Metrics.Only; readonly counted: string }> =
  [
    { title: "by default a failure or a defect counts", counted: "+ + + - - + + + -" },
    { title: "a class counts failures and defects", only: TypeError, counted: "+ - + - - - - + -" },
    { title: "a list of classes", only: [HttpError, TypeError], counted: "+ + + - - + + + -" },
    { title: "a class that nothing is of", only: RangeError, counted: "- - - - - - - - -" },
    { title: "a tag", only: { tag: "HttpError" }, counted: "- + - - - + + - -" },
    { title: "a list of tags", only: { tag: ["Other", "HttpError"] }, counted: "- + - - - + + - -" },
    { title: "a predicate", only: { when: (error) => error === "text" }, counted: "- - - - - - - + -" },
    { title: "exit: failure", only: { exit: "failure" }, counted: "+ + - - - + - + -" },
    { title: "exit: defect", only: { exit: "defect" }, counted: "- - + - - - + + -" },
    { title: "exit: interrupt", only: { exit: "interrupt" }, counted: "- - - + + + + - -" },
    { title: "exit: any", only: { exit: "any" }, counted: "+ + + + + + + + +" }
  ]

describe("which causes are counted", () => {
  for (const { counted, only, title } of countedCauses) {
    it.effect(title, () =>
      Effect.gen(function* () {
        const marks = yield* Effect.forEach(causes, ({ cause }) => {
          const alone = new FakeCounter()
          const entry = new FakeCounter()
          return Effect.failCause(cause).pipe(
            Metrics.countExceptions(alone, { only }),
            (self) => Metrics.instrumented(self, { exceptions: { metric: entry, only } }),
            Effect.exit,
            Effect.map(() => {
              assert.strictEqual(alone.counted, entry.counted)
              return alone.counted === 1 ? "+" : "-"
            })
          )
        })
        assert.strictEqual(marks.join(" "), counted)
      })
    )
  }

  it.effect("a success is never counted", () =>
    Effect.gen(function* () {
      const counter = new FakeCounter()
      yield* Effect.succeed(new TypeError("a value")).pipe(
        Metrics.countExceptions(counter, { only: { exit: "any" } }),
        Metrics.countExceptions(counter, { only: TypeError }),
        Metrics.countExceptions(counter)
      )
      assert.strictEqual(counter.counted, 0)
    })
  )

  it.effect("one failure among parallel effects is counted once, although the others are interrupted", () =>
    Effect.gen(function* () {
      const byDefault = new FakeCounter()
      const interrupted = new FakeCounter()
      yield* Effect.all([Effect.never, Effect.never, afterTwoSeconds(Effect.fail(failure))], {
        concurrency: "unbounded"
      }).pipe(
        Metrics.countExceptions(byDefault),
        Metrics.countExceptions(interrupted, { only: { exit: "interrupt" } }),
        (self) => passing("3 seconds", self)
      )
      assert.strictEqual(byDefault.counted, 1)
      // Effect 4 leaves the interruptions of the others out of the cause.
      assert.strictEqual(interrupted.counted, major === 3 ? 1 : 0)
    })
  )

  it.effect("an interrupted fiber counts as an interruption only", () =>
    Effect.gen(function* () {
      const exits = ["failure", "defect", "interrupt", "any"] as const
      const counted = yield* Effect.forEach(exits, (exit) =>
        Effect.gen(function* () {
          const counter = new FakeCounter()
          const fiber = yield* Effect.fork(Metrics.countExceptions(Effect.never, counter, { only: { exit } }))
          yield* Effect.yieldNow()
          yield* Fiber.interrupt(fiber)
          return counter.counted
        })
      )
      assert.deepStrictEqual(counted, [0, 0, 1, 1])
    })
  )
})

/** What was logged meanwhile. */
const logged = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<Logger.Logger.Options<unknown>> = []
    return self.pipe(
      Effect.exit,
      Effect.map((exit) => ({ exit, lines })),
      Effect.provide(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make((line) => lines.push(line))
        )
      )
    )
  })

const messageOf = ({ message }: Logger.Logger.Options<unknown>) => (Array.isArray(message) ? message : [message]).join()

const allBroken = () => ({
  duration: new FakeObserver({ observe: throwing("observe") }),
  exceptions: new FakeCounter({ inc: throwing("inc") }),
  inProgress: new FakeGauge({ inc: throwing("inc"), dec: throwing("dec") })
})

for (const combinator of combinators) {
  describe(`with metrics that throw, ${combinator.name}`, () => {
    const outcomes = [
      { title: "a success", body: Effect.succeed(value) },
      { title: "a failure", body: Effect.fail(failure) },
      { title: "a defect", body: Effect.die(defect) },
      { title: "an interruption", body: Effect.interrupt }
    ]

    for (const { body, title } of outcomes) {
      it.effect(`leaves ${title} as it is, and calls each of them once`, () =>
        Effect.gen(function* () {
          const metrics = allBroken()
          const registry = new PromClient.Registry()
          const bare = yield* Effect.exit(body)
          const { exit, lines } = yield* logged(combinator.with(metrics)(body)).pipe(
            Effect.provideService(Registry, registry)
          )
          assert.deepStrictEqual(exit, bare)
          const counted = bare._tag === "Failure" && !Cause.isInterruptedOnly(bare.cause) ? 1 : 0
          const calls = recorded(metrics)
          assert.deepStrictEqual(
            { ...calls, seconds: calls.seconds.map(() => 0) },
            combinator.kept({ seconds: [0], counted, progress: [1] })
          )
          const failed = calls.seconds.length + calls.counted + calls.progress.length
          assert.strictEqual(lines.length, failed)
          const errorCounts = yield* Effect.promise(() => errors(registry))
          assert.strictEqual((errorCounts["observe"] ?? 0) + (errorCounts["inc"] ?? 0), failed)
          assert.isUndefined(errorCounts["dec"])
        })
      )
    }

    it.effect("a logger that dies changes nothing", () =>
      Effect.gen(function* () {
        const dies = Logger.replace(Logger.defaultLogger, Logger.make(throwing("logger")))
        for (const { body } of outcomes) {
          const exit = yield* Effect.exit(combinator.with(allBroken())(body)).pipe(Effect.provide(dies))
          assert.deepStrictEqual(exit, yield* Effect.exit(body))
        }
      })
    )
  })
}

describe("a metric that throws", () => {
  it.effect("is logged as a warning that names the operation, the metric and the error", () =>
    Effect.gen(function* () {
      const error = new Error("no such label")
      const observe = () => {
        throw error
      }
      const { lines } = yield* Effect.void.pipe(Metrics.timed(new FakeObserver({ observe })), Effect.repeatN(4), logged)
      assert.strictEqual(lines.length, 1)
      assert.deepStrictEqual(
        lines.map(({ logLevel }) => logLevel),
        [LogLevel.Warning]
      )
      assert.include(lines.map(messageOf)[0], "observe on metric fake_seconds failed: no such label")
      assert.deepStrictEqual(
        lines.map(({ cause }) => Chunk.toReadonlyArray(Cause.defects(cause))),
        [[error]]
      )
    })
  )

  it.effect("is logged for each metric of its own, though they have one name", () =>
    Effect.gen(function* () {
      const run = () => Metrics.timed(Effect.void, new FakeObserver({ observe: throwing("observe") }))
      const { lines } = yield* logged(Effect.all([run(), run(), run()]))
      assert.strictEqual(lines.length, 3)
    })
  )

  it.effect("at its start is logged before the body runs", () =>
    Effect.gen(function* () {
      const { lines } = yield* Effect.logInfo("the body").pipe(
        Metrics.trackInProgress(new FakeGauge({ inc: throwing("inc") })),
        logged
      )
      assert.include(lines.map(messageOf)[0], "inc on metric fake_in_progress")
      assert.strictEqual(lines.map(messageOf)[1], "the body")
    })
  )

  it.effect("is counted on the registry in context at the run, and on no other", () =>
    Effect.gen(function* () {
      const [first, second] = [new PromClient.Registry(), new PromClient.Registry()]
      const measured = Metrics.timed(Effect.void, new FakeObserver({ observe: throwing("observe") }))
      yield* Effect.provideService(measured, Registry, first)
      yield* Effect.provideService(Effect.repeatN(measured, 2), Registry, second)
      assert.deepStrictEqual(yield* Effect.promise(() => errors(first)), { observe: 1 })
      assert.deepStrictEqual(yield* Effect.promise(() => errors(second)), { observe: 3 })
    })
  )

  it.effect("is counted on prom-client's global registry where no other is in context", () =>
    Effect.gen(function* () {
      PromClient.register.removeSingleMetric("effect_prometheus_errors_total")
      yield* Metrics.timed(Effect.void, new FakeObserver({ observe: throwing("observe") }))
      assert.deepStrictEqual(yield* Effect.promise(() => errors(PromClient.register)), { observe: 1 })
    })
  )

  it.effect("is not registered anywhere before something failed", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* Metrics.timed(Effect.void, new FakeObserver()).pipe(Effect.provideService(Registry, registry))
      assert.deepStrictEqual(registry.getMetricsAsArray(), [])
    })
  )

  it.effect("by a value that is not a number changes nothing, and leaves no sample", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const summary = new PromClient.Histogram({ name: "run_seconds", help: "h", registers: [registry] })
      const notANumber = { observe: () => summary.observe(Number.NaN) }
      const exit = yield* Effect.fail(failure).pipe(
        Metrics.timed(notANumber),
        Effect.provideService(Registry, registry),
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail(failure))
      assert.deepStrictEqual(yield* Effect.promise(() => counts(summary)), { run_seconds_count: 0 })
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { observe: 1 })
    })
  )
})

describe("a value that cannot do what is asked of it", () => {
  const notAMetric = {} as FakeObserver & FakeCounter & FakeGauge

  it("is refused where it is given, with what was expected", () => {
    assert.throws(() => Metrics.timed(notAMetric), TypeError, "observe()")
    assert.throws(() => Metrics.countExceptions(notAMetric), TypeError, "inc()")
    assert.throws(() => Metrics.trackInProgress(notAMetric), TypeError, "inc()")
    assert.throws(() => Metrics.instrumented({ duration: notAMetric }), TypeError, "observe()")
  })

  it("is refused as a gauge if it only counts", () => {
    const counter = new PromClient.Counter({ name: "a_total", help: "h", registers: [] })
    assert.throws(() => Metrics.trackInProgress(counter as never), TypeError, "dec() (a_total)")
  })
})

describe("instrumented", () => {
  it.effect("records nothing when it is given nothing", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Effect.succeed(value).pipe(Metrics.instrumented({})), value)
      assert.strictEqual(yield* Effect.succeed(value).pipe(Metrics.instrumented({ duration: undefined })), value)
    })
  )

  it.effect("records any two of the three", () =>
    Effect.gen(function* () {
      const { duration, exceptions, inProgress } = fakes()
      yield* Effect.fail(failure).pipe(Metrics.instrumented({ duration, exceptions }), Effect.exit)
      yield* Effect.fail(failure).pipe(
        Metrics.instrumented({ duration, inProgress: { metric: inProgress } }),
        Effect.exit
      )
      assert.deepStrictEqual(recorded({ duration, exceptions, inProgress }), {
        seconds: [0, 0],
        counted: 1,
        progress: [1, 0]
      })
    })
  )
})

describe("in the pipeline of Effect.fn", () => {
  it.effect("each call is measured", () =>
    Effect.gen(function* () {
      const { duration, exceptions, inProgress } = fakes()
      const load = Effect.fn("load")(
        function* (id: string, wait: "1 second" | "2 seconds") {
          yield* Effect.sleep(wait)
          return yield* id === "" ? Effect.fail(failure) : Effect.succeed(id)
        },
        Metrics.timed(duration),
        Metrics.instrumented({ exceptions, inProgress })
      )
      yield* passing("9 seconds", Effect.all([load("a", "1 second"), load("", "2 seconds")]))
      assert.deepStrictEqual(recorded({ duration, exceptions, inProgress }), {
        seconds: [1, 2],
        counted: 1,
        progress: [1, 0, 1, 0]
      })
    })
  )
})

it.live("A metric that rejects is also logged if the run was interrupted", () =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String([message].flat()[0])))
    const observer = { name: "late_seconds", observe: async () => Promise.reject(new Error("no connection")) }
    const fiber = yield* Effect.fork(Metrics.timed(Effect.never, observer as never)).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Effect.provideService(Registry, new PromClient.Registry())
    )
    yield* Effect.yieldNow()
    yield* Fiber.interrupt(fiber)
    yield* Effect.promise(() => new Promise(setImmediate))
    assert.lengthOf(lines, 1)
    assert.include(lines[0], "observe on metric late_seconds failed: no connection")
  })
)

/** One run per side of the table of common cases. */
const settled = (self: Effect.Effect<unknown, unknown>, registry: MetricRegistry): Promise<MeasuredRun> =>
  logged(self).pipe(
    Effect.provideService(Registry, registry),
    // What a metric rejects with later is logged then.
    Effect.tap(() => Effect.promise(() => new Promise(setImmediate))),
    Effect.map(({ exit, lines }) => ({
      outcome: Exit.match(exit, {
        onFailure: (cause): MeasuredRun["outcome"] => ({ status: "rejected", reason: Cause.squash(cause) }),
        onSuccess: (value): MeasuredRun["outcome"] => ({ status: "fulfilled", value })
      }),
      warnings: lines.map(messageOf)
    })),
    Effect.runPromise
  )

const exitLabels = ({ labels }: MetricEntry<unknown>) =>
  typeof labels === "function" ? (exit: Exit.Exit<unknown, unknown>) => labels(Exit.isSuccess(exit)) : labels

/** The combinators, for labels of which the table knows no more than that they are labels. */
type Loosely<Metric> = (
  self: Effect.Effect<unknown, unknown>,
  metric: Metric,
  options: {
    readonly labels: Metrics.LabelsFrom<Exit.Exit<unknown, unknown>> | undefined
    readonly only?: Metrics.OnlyErrors | undefined
  }
) => Effect.Effect<unknown, unknown>
const timed = Metrics.timed as unknown as Loosely<Metrics.Observer>
const countExceptions = Metrics.countExceptions as unknown as Loosely<Metrics.Counter>
const trackInProgress = Metrics.trackInProgress as unknown as Loosely<Metrics.Gauge>
const instrumented = Metrics.instrumented as unknown as (
  self: Effect.Effect<unknown, unknown>,
  instruments: Metrics.Instruments<Metrics.LabelsFrom<Exit.Exit<unknown, unknown>>>
) => Effect.Effect<unknown, unknown>

const measurements: ReadonlyArray<Measurement> = [
  {
    name: "an effect, by instrumented",
    measured: ({ duration, exceptions, inProgress }, registry) => {
      let body: () => unknown
      const self = Effect.try({ try: () => body(), catch: (error) => error })
      const measured = instrumented(self, {
        duration: duration && { ...duration, labels: exitLabels(duration) },
        exceptions: exceptions && { ...exceptions, labels: exitLabels(exceptions) },
        inProgress
      })
      return (given) => {
        body = given
        return settled(measured, registry)
      }
    }
  },
  {
    name: "an effect, by the combinators one by one",
    measured: ({ duration, exceptions, inProgress }, registry) => {
      let body: () => unknown
      let self: Effect.Effect<unknown, unknown> = Effect.try({ try: () => body(), catch: (error) => error })
      if (duration !== undefined) self = timed(self, duration.metric, { labels: exitLabels(duration) })
      if (exceptions !== undefined) {
        self = countExceptions(self, exceptions.metric, { labels: exitLabels(exceptions), only: exceptions.only })
      }
      if (inProgress !== undefined) self = trackInProgress(self, inProgress.metric, { labels: inProgress.labels })
      return (given) => {
        body = given
        return settled(self, registry)
      }
    }
  }
]

describeMeasurements(measurements)

for (const { client, name } of clients) {
  describe(`labels of ${name}`, () => {
    it.effect("see the whole exit: its value, its error, its interruption", () =>
      Effect.gen(function* () {
        const registers = [new client.Registry()]
        const seconds = new client.Histogram({ name: "run_seconds", help: "h", labelNames: ["outcome"], registers })
        const text = (cause: Cause.Cause<unknown>) =>
          Cause.isInterruptedOnly(cause) ? "interrupted" : Cause.squash(cause)
        const labelled = <A, E>(self: Effect.Effect<A, E>) =>
          Metrics.timed(self, seconds, {
            labels: (exit) => ({ outcome: String(Exit.match(exit, { onFailure: text, onSuccess: String })) })
          })
        yield* labelled(Effect.succeed(42))
        yield* Effect.exit(labelled(Effect.fail("no")))
        yield* Effect.exit(labelled(Effect.interrupt))
        assert.deepStrictEqual(yield* Effect.promise(() => counts(seconds)), {
          'run_seconds_count{outcome="42"}': 1,
          'run_seconds_count{outcome="no"}': 1,
          'run_seconds_count{outcome="interrupted"}': 1
        })
      })
    )

    it.effect("that are constant are copied when the combinator is made", () =>
      Effect.gen(function* () {
        const registers = [new client.Registry()]
        const seconds = new client.Histogram({ name: "run_seconds", help: "h", labelNames: ["method"], registers })
        const labels = { method: "GET" }
        const measured = Metrics.timed(Effect.void, seconds, { labels })
        labels.method = "POST"
        yield* measured
        labels.method = "PUT"
        yield* measured
        assert.deepStrictEqual(yield* Effect.promise(() => counts(seconds)), { 'run_seconds_count{method="GET"}': 2 })
      })
    )

    it.effect("are on the sum of the seconds too", () =>
      Effect.gen(function* () {
        const registers = [new client.Registry()]
        const seconds = new client.Summary({ name: "run_seconds", help: "h", labelNames: ["queue"], registers })
        yield* passing(
          "9 seconds",
          Effect.delay(Effect.void, "2500 millis").pipe(
            Metrics.timed(seconds, { labels: { queue: "mail" } }),
            Effect.repeatN(1)
          )
        )
        const { values } = yield* Effect.promise(() => seconds.get())
        assert.strictEqual(values.find(({ metricName }) => metricName === "run_seconds_sum")?.value, 5)
      })
    )
  })
}

interface WithExemplars {
  get(): Promise<{
    readonly values: ReadonlyArray<{
      readonly labels: object
      readonly exemplar?: { readonly labelSet: object; readonly value: number } | null
    }>
  }>
}

/** The samples that have an exemplar, with its labels and value. */
const exemplars = (metric: unknown) =>
  Effect.promise(async () => {
    const { values } = await (metric as WithExemplars).get()
    return values.flatMap(({ exemplar, labels }) =>
      exemplar == null ? [] : [{ labels, exemplar: exemplar.labelSet, value: exemplar.value }]
    )
  })

const spanOf = ({ spanId, traceId }: Tracer.Span) => ({ trace_id: traceId, span_id: spanId })

for (const { client, name } of clients) {
  describe(`exemplars of ${name}`, () => {
    const labels = { method: "GET", outcome: "any" }

    it.effect("a histogram gets the trace and the span of the current span, on the bucket of its value", () =>
      Effect.gen(function* () {
        const { duration } = metricsWithExemplars(client)
        const body = Effect.zipRight(Effect.sleep("500 millis"), Effect.currentSpan).pipe(
          Metrics.timed(duration, { labels, exemplar: "currentSpan" }),
          Effect.withSpan("request")
        )
        const span = yield* yield* passing("1 second", body)
        assert.deepStrictEqual(yield* exemplars(duration), [
          { labels: { le: 1, ...labels }, exemplar: spanOf(span), value: 0.5 }
        ])
      })
    )

    it.effect("a counter gets them too, on the series of its labels", () =>
      Effect.gen(function* () {
        const { exceptions } = metricsWithExemplars(client)
        const span = yield* Effect.currentSpan.pipe(
          Effect.flatMap(Effect.fail),
          Metrics.countExceptions(exceptions, { labels: () => labels, exemplar: "currentSpan" }),
          Effect.withSpan("request"),
          Effect.flip
        )
        assert.deepStrictEqual(yield* exemplars(exceptions), [
          { labels, exemplar: spanOf(span as Tracer.Span), value: 1 }
        ])
        assert.deepStrictEqual(yield* Effect.promise(() => counts(exceptions)), {
          'run_failures_total{method="GET",outcome="any"}': 1
        })
      })
    )

    it.effect("instrumented puts them on the entries that ask for them", () =>
      Effect.gen(function* () {
        const { duration, exceptions, inProgress } = metricsWithExemplars(client)
        const span = yield* Effect.currentSpan.pipe(
          Effect.flatMap(Effect.fail),
          Metrics.instrumented({
            duration: { metric: duration, labels: () => labels, exemplar: "currentSpan" },
            exceptions: { metric: exceptions, labels },
            inProgress: { metric: inProgress, labels }
          }),
          Effect.withSpan("request"),
          Effect.flip
        )
        assert.deepStrictEqual(
          (yield* exemplars(duration)).map(({ exemplar }) => exemplar),
          [spanOf(span as Tracer.Span)]
        )
        assert.deepStrictEqual(yield* exemplars(exceptions), [])
        assert.deepStrictEqual(yield* exemplars(inProgress), [])
      })
    )

    it.effect("each run brings its own span", () =>
      Effect.gen(function* () {
        const { duration } = metricsWithExemplars(client)
        const run = Effect.currentSpan.pipe(
          Metrics.timed(duration, { labels, exemplar: "currentSpan" }),
          Effect.withSpan("request")
        )
        const [first, second] = yield* Effect.all([run, run])
        assert.notStrictEqual(first.spanId, second.spanId)
        assert.deepStrictEqual(
          (yield* exemplars(duration)).map(({ exemplar }) => exemplar),
          [spanOf(second)]
        )
      })
    )

    const external = (sampled: boolean) =>
      Tracer.externalSpan({ traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled })

    it.effect("a sampled span from outside is the current span where no other is", () =>
      Effect.gen(function* () {
        const { duration } = metricsWithExemplars(client)
        yield* Effect.void.pipe(
          Metrics.timed(duration, { labels, exemplar: "currentSpan" }),
          Effect.withParentSpan(external(true))
        )
        assert.deepStrictEqual(
          (yield* exemplars(duration)).map(({ exemplar }) => exemplar),
          [{ trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", span_id: "00f067aa0ba902b7" }]
        )
      })
    )

    const unmarked: ReadonlyArray<{
      readonly title: string
      readonly around: Measure
      readonly body: Effect.Effect<void>
    }> = [
      { title: "without a span", around: (self) => self, body: Effect.void },
      { title: "in a span that is not sampled", around: Effect.withParentSpan(external(false)), body: Effect.void },
      {
        title: "where tracing is off",
        around: (self) => self.pipe(Effect.withSpan("request"), Effect.withTracerEnabled(false)),
        body: Effect.void
      },
      { title: "with a span only inside", around: (self) => self, body: Effect.withSpan(Effect.void, "inside") }
    ]

    for (const { around, body, title } of unmarked) {
      it.effect(`${title} a sample has no exemplar, and is still recorded`, () =>
        Effect.gen(function* () {
          const { duration, exceptions } = metricsWithExemplars(client)
          yield* Effect.zipRight(body, Effect.fail(failure)).pipe(
            Metrics.timed(duration, { labels, exemplar: "currentSpan" }),
            Metrics.countExceptions(exceptions, { labels, exemplar: "currentSpan" }),
            around,
            Effect.exit
          )
          assert.deepStrictEqual(yield* exemplars(duration), [])
          assert.deepStrictEqual(yield* exemplars(exceptions), [])
          assert.deepStrictEqual(yield* Effect.promise(() => counts(duration)), {
            'run_seconds_count{method="GET",outcome="any"}': 1
          })
          assert.deepStrictEqual(yield* Effect.promise(() => counts(exceptions)), {
            'run_failures_total{method="GET",outcome="any"}': 1
          })
        })
      )
    }

    it.effect("without the option a sample has no exemplar, with any span", () =>
      Effect.gen(function* () {
        const { duration, exceptions } = metricsWithExemplars(client)
        yield* Effect.fail(failure).pipe(
          Metrics.timed(duration, { labels }),
          Metrics.countExceptions(exceptions, { labels: () => labels }),
          Metrics.instrumented({ duration: { metric: duration, labels }, exceptions: { metric: exceptions, labels } }),
          Effect.withSpan("request"),
          Effect.exit
        )
        assert.deepStrictEqual(yield* exemplars(duration), [])
        assert.deepStrictEqual(yield* exemplars(exceptions), [])
        assert.deepStrictEqual(yield* Effect.promise(() => counts(exceptions)), {
          'run_failures_total{method="GET",outcome="any"}': 2
        })
      })
    )

    it.effect("a metric that cannot have them is recorded as always", () =>
      Effect.gen(function* () {
        const registers = [new client.Registry()]
        const config = { help: "h", labelNames: ["method", "outcome"] as const, registers }
        const histogram = new client.Histogram({ ...config, name: "run_seconds" })
        const counter = new client.Counter({ ...config, name: "run_failures_total" })
        const { summary } = metricsWithExemplars(client)
        yield* Effect.fail(failure).pipe(
          Metrics.timed(histogram, { labels, exemplar: "currentSpan" }),
          Metrics.timed(summary, { labels, exemplar: "currentSpan" }),
          Metrics.countExceptions(counter, { labels, exemplar: "currentSpan" }),
          Effect.withSpan("request"),
          Effect.exit
        )
        const series = '{method="GET",outcome="any"}'
        assert.deepStrictEqual(yield* Effect.promise(() => counts(histogram)), { [`run_seconds_count${series}`]: 1 })
        assert.deepStrictEqual(yield* Effect.promise(() => counts(summary)), { [`run_quantiles_count${series}`]: 1 })
        assert.deepStrictEqual(yield* Effect.promise(() => counts(counter)), { [`run_failures_total${series}`]: 1 })
        assert.deepStrictEqual(yield* exemplars(histogram), [])
      })
    )

    it.effect("one that is too long for the client is logged, and the sample is not recorded twice", () =>
      Effect.gen(function* () {
        const { duration, exceptions, registry } = metricsWithExemplars(client)
        const long = Tracer.externalSpan({ traceId: "4bf92f35".repeat(16), spanId: "00f067aa0ba902b7", sampled: true })
        const { exit, lines } = yield* Effect.fail(failure).pipe(
          Metrics.timed(duration, { labels, exemplar: "currentSpan" }),
          Metrics.countExceptions(exceptions, { labels, exemplar: "currentSpan" }),
          Effect.withParentSpan(long),
          logged,
          Effect.provideService(Registry, registry)
        )
        assert.deepStrictEqual(exit, Exit.fail(failure))
        assert.strictEqual(lines.length, 2)
        assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { inc: 1, observe: 1 })
        assert.deepStrictEqual(yield* Effect.promise(() => counts(duration)), {
          'run_seconds_count{method="GET",outcome="any"}': 1
        })
        assert.deepStrictEqual(yield* Effect.promise(() => counts(exceptions)), {
          'run_failures_total{method="GET",outcome="any"}': 1
        })
      })
    )
  })
}

/** What a body saw of itself: how often its first step ran, and how often it ended with more than an interruption. */
class Witness {
  began = 0
  failed = 0
  readonly see: Measure = (self) =>
    Effect.suspend(() => {
      this.began += 1
      return self
    }).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (holdsMoreThanInterruptions(exit)) this.failed += 1
        })
      )
    )
}

const holdsMoreThanInterruptions = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)

const bodies: { readonly [title: string]: Effect.Effect<unknown, RangeError> } = {
  "that succeeds": Effect.succeed(1).pipe(Effect.map(String), Effect.flatMap(Effect.succeed)),
  "that fails": Effect.flatMap(Effect.void, () => Effect.fail(failure)),
  "that dies": Effect.sync(() => {
    throw defect
  }),
  "that yields": Effect.repeatN(Effect.yieldNow(), 3),
  "that waits": Effect.async<void>((resume) => queueMicrotask(() => resume(Effect.void))),
  "that is uninterruptible": Effect.uninterruptible(Effect.repeatN(Effect.yieldNow(), 3)),
  "that has a finalizer": Effect.ensuring(Effect.yieldNow(), Effect.yieldNow()),
  "that forks and joins": Effect.flatMap(Effect.fork(Effect.yieldNow()), Fiber.join)
}

const surroundings: { readonly [title: string]: Measure } = {
  alone: (self) => self,
  retried: (self) => Effect.retry(self, { times: 1 }),
  repeated: (self) => Effect.repeatN(self, 1),
  "in an uninterruptible region": Effect.uninterruptible,
  "in a region that restores": (self) => Effect.uninterruptibleMask((restore) => restore(self))
}

const everyCombination = Object.entries(bodies).flatMap(([body, self]) =>
  Object.entries(surroundings).map(([where, surround]) => ({ title: `a body ${body}, ${where}`, self, surround }))
)

for (const combinator of combinators) {
  describe(`interrupted at any operation, ${combinator.name}`, () => {
    const all = combinator.kept({ seconds: [1], counted: 1, progress: [1] })
    const records = { duration: all.seconds.length, exceptions: all.counted, inProgress: all.progress.length }

    for (const { self, surround, title } of everyCombination) {
      it.live(`finishes what it started: ${title}`, () =>
        Effect.gen(function* () {
          const runs = yield* interruptedEverywhere(() => {
            const metrics = fakes()
            const witness = new Witness()
            const clock = countingClock()
            const program = surround(combinator.with(metrics)(witness.see(self))).pipe(Effect.withClock(clock))
            return { program, result: (exit) => ({ clock, exit, metrics, witness }) }
          })
          assert.isAbove(runs.length, 5)
          for (const [index, { clock, exit, metrics, witness }] of runs.entries()) {
            const k = `interrupted at operation ${index + 1}`
            const { exceptions, inProgress } = metrics
            const observed = metrics.duration.observed.length
            assert.strictEqual(inProgress.value, 0, k)
            if (records.duration) assert.isAtLeast(observed, witness.began, k)
            if (records.inProgress) assert.isAtLeast(inProgress.started, witness.began, k)
            // An interruption that arrives on its way out may take the place of a failure.
            if (records.exceptions) {
              assert.isAtLeast(exceptions.counted, holdsMoreThanInterruptions(exit) ? 1 : 0, k)
              assert.isAtMost(exceptions.counted, witness.failed, k)
            }
            // The clock is read at the start and at the end.
            if (combinator.name === "timed") assert.strictEqual(observed, Math.ceil(clock.reads / 2), k)
            if (combinator.name === "instrumented") assert.strictEqual(observed, inProgress.started, k)
          }
        })
      )
    }
  })
}

describe("interrupted at any operation, instrumented", () => {
  it.live("observes what it started when its gauge and its counter throw, and takes nothing back", () =>
    Effect.gen(function* () {
      const runs = yield* interruptedEverywhere(() => {
        const { exceptions, inProgress } = allBroken()
        const duration = new FakeObserver()
        const program = Effect.fail(failure).pipe(
          Metrics.instrumented({ duration, exceptions, inProgress }),
          Effect.provide(Logger.remove(Logger.defaultLogger))
        )
        return { program, result: () => ({ duration, inProgress }) }
      })
      for (const { duration, inProgress } of runs) {
        assert.strictEqual(duration.observed.length, inProgress.started)
        assert.strictEqual(inProgress.history.length, inProgress.started)
      }
    })
  )
})

describe("a gauge that is tracked wrongly, as a control of the test itself", () => {
  type Track = (gauge: FakeGauge) => Measure
  const dec = (gauge: FakeGauge) => Effect.sync(() => gauge.dec())
  const controls: ReadonlyArray<{ readonly title: string; readonly track: Track }> = [
    {
      title: "with inc before onExit",
      track: (gauge) => (self) =>
        Effect.suspend(() => {
          gauge.inc()
          return self.pipe(Effect.onExit(() => dec(gauge)))
        })
    },
    {
      title: "with inc before the mask",
      track: (gauge) => (self) =>
        Effect.withFiberRuntime(() => {
          gauge.inc()
          return Effect.uninterruptibleMask((restore) => Effect.ensuring(restore(self), dec(gauge)))
        })
    },
    {
      title: "without a mask",
      track: (gauge) => (self) =>
        Effect.suspend(() => {
          gauge.inc()
          return Effect.matchCauseEffect(self, {
            onFailure: (cause) => Effect.zipRight(dec(gauge), Effect.failCause(cause)),
            onSuccess: (value) => Effect.zipRight(dec(gauge), Effect.succeed(value))
          })
        })
    }
  ]

  for (const { title, track } of controls) {
    it.live(`${title} leaks`, () =>
      Effect.gen(function* () {
        const left = yield* interruptedEverywhere(() => {
          const gauge = new FakeGauge()
          return { program: track(gauge)(Effect.yieldNow()), result: () => gauge.value }
        })
        assert.isAbove(left.filter((value) => value !== 0).length, 0)
      })
    )
  }
})

describe("10,000 fibers, interrupted at random points", () => {
  const fibers = 10_000

  const run = (measured: (random: () => number) => Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const random = seeded(20_240_601)
      const scheduler = new InterruptingAtRandom(random)
      const running = Array.from({ length: fibers }, () =>
        Effect.runFork(measured(random), { scheduler, immediate: false })
      )
      const exits = yield* Effect.forEach(running, Fiber.await)
      const interrupted = exits.filter(Exit.isInterrupted).length
      assert.isAbove(interrupted, fibers / 10)
      assert.isBelow(interrupted, fibers)
      return { failed: exits.filter(holdsMoreThanInterruptions).length }
    })

  const body = (random: () => number) =>
    Effect.repeatN(Effect.yieldNow(), Math.floor(random() * 4)).pipe(
      Effect.flatMap(() => (random() < 0.5 ? Effect.fail(failure) : Effect.void))
    )

  const gaugeThatCounts = (registers: Array<PromClient.Registry>, name: string) => {
    const gauge = new PromClient.Gauge({ name, help: "h", registers })
    let started = 0
    const inc = () => {
      started += 1
      gauge.inc()
    }
    return { gauge, started: () => started, metric: { inc, dec: () => gauge.dec() } }
  }

  // An interruption that arrives on its way out may take the place of a failure.
  const countedBetween = (counter: PromClient.Counter, least: number, most: number) =>
    Effect.gen(function* () {
      const { run_failures_total: counted = 0 } = yield* Effect.promise(() => counts(counter))
      assert.isAtLeast(counted, least)
      assert.isAtMost(counted, most)
    })

  it.live("instrumented is at 0 in the end, and has observed each that started", () =>
    Effect.gen(function* () {
      const registers = [new PromClient.Registry()]
      const duration = new PromClient.Histogram({ name: "run_seconds", help: "h", registers })
      const exceptions = new PromClient.Counter({ name: "run_failures_total", help: "h", registers })
      const inProgress = gaugeThatCounts(registers, "runs_in_progress")
      const witness = new Witness()
      const { failed } = yield* run((random) =>
        witness.see(body(random)).pipe(Metrics.instrumented({ duration, exceptions, inProgress: inProgress.metric }))
      )
      assert.isAbove(inProgress.started(), fibers / 2)
      assert.deepStrictEqual(yield* Effect.promise(() => counts(inProgress.gauge)), { runs_in_progress: 0 })
      assert.deepStrictEqual(yield* Effect.promise(() => counts(duration)), { run_seconds_count: inProgress.started() })
      yield* countedBetween(exceptions, failed, witness.failed)
    })
  )

  it.live("the combinators one in the other are at 0 in the end, and have observed each that started", () =>
    Effect.gen(function* () {
      const registers = [new PromClient.Registry()]
      const duration = new PromClient.Histogram({ name: "run_seconds", help: "h", registers })
      const exceptions = new PromClient.Counter({ name: "run_failures_total", help: "h", registers })
      const inner = gaugeThatCounts(registers, "inner_in_progress")
      const outer = gaugeThatCounts(registers, "outer_in_progress")
      const witness = new Witness()
      const { failed } = yield* run((random) =>
        witness
          .see(body(random))
          .pipe(
            Metrics.countExceptions(exceptions),
            Metrics.trackInProgress(inner.metric),
            Metrics.timed(duration),
            Metrics.trackInProgress(outer.metric)
          )
      )
      assert.deepStrictEqual(yield* Effect.promise(() => counts(inner.gauge)), { inner_in_progress: 0 })
      assert.deepStrictEqual(yield* Effect.promise(() => counts(outer.gauge)), { outer_in_progress: 0 })
      yield* countedBetween(exceptions, failed, witness.failed)
      const { run_seconds_count: observed = 0 } = yield* Effect.promise(() => counts(duration))
      // An interruption may come between two of them: then the outer one has started and the inner one has not.
      assert.isAtLeast(observed, inner.started())
      assert.isAtMost(observed, outer.started())
    })
  )
})
