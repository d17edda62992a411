import { assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Fiber } from "effect"
import * as PromClient from "prom-client"
import * as Metrics from "../src/Metrics.js"
import { countingClock } from "./support/countingClock.js"
import { seeded, YieldingAtRandom } from "./support/interruption.js"
import { counts } from "./support/metrics.js"
import { soak } from "./support/soak.js"

const seed = Number(process.env["FAST_CHECK_SEED"] ?? 20_260_103)
const fibers = 200
const most = soak(1_000_000)

type Run = Effect.Effect<unknown, unknown>
type Measure = (self: Run) => Run
type Random = () => number

interface Measuring {
  readonly duration: Metrics.Observer
  readonly exceptions: Metrics.Counter
  readonly inProgress: Metrics.Gauge
}

interface Way {
  readonly title: string
  /** On each fiber. */
  readonly runs: number
  /** Whether an interruption can come between two of them that begin. Then the inner one is not started. */
  readonly isSplit: boolean
  readonly measure: (metrics: Measuring) => Measure
}

const nested = ({ duration, exceptions, inProgress }: Measuring): Measure => {
  const [timed, counting] = [Metrics.timed(duration), Metrics.countExceptions(exceptions)]
  const tracked = Metrics.trackInProgress(inProgress)
  return (self) => timed(counting(tracked(self)))
}

const ways: ReadonlyArray<Way> = [
  {
    title: "instrumented",
    runs: most / fibers / 2,
    isSplit: false,
    measure: (metrics) => Metrics.instrumented(metrics)
  },
  {
    title: "timed, countExceptions and trackInProgress nested, where they begin without an interruption between them",
    runs: most / fibers / 4,
    isSplit: false,
    measure: (metrics) => {
      const measure = nested(metrics)
      return (self) => Effect.uninterruptibleMask((restore) => measure(restore(self)))
    }
  },
  {
    title: "timed, countExceptions and trackInProgress nested",
    runs: most / fibers / 4,
    isSplit: true,
    measure: (metrics) => nested(metrics)
  }
]

/** What one fiber measures, and what is counted there beside the metrics. */
class Measured {
  started = 0
  finished = 0
  /** The failures and defects that were put into what is measured. */
  injected = 0
  readonly launched = new Map<string, number>()
  readonly measure: Measure

  constructor(way: Way, metrics: Measuring) {
    const { inProgress } = metrics
    const inc = () => {
      this.started += 1
      inProgress.inc()
    }
    const dec = () => {
      this.finished += 1
      inProgress.dec()
    }
    this.measure = way.measure({ ...metrics, inProgress: { inc, dec } })
  }

  readonly inject = <E>(failing: Effect.Effect<never, E>): Effect.Effect<never, E> =>
    Effect.suspend(() => {
      this.injected += 1
      return failing
    })
}

const yields = (random: Random): Effect.Effect<void> => {
  const times = Math.floor(random() * 4)
  return times === 0 ? Effect.void : Effect.repeatN(Effect.yieldNow(), times - 1)
}

// At most this long, so that neither of two such times is always the shorter one.
const moment = (random: Random): Duration.DurationInput => random() * 3

const interruptedSoon = (random: Random, self: Run): Run =>
  Effect.flatMap(Effect.fork(self), (fiber) => Effect.zipRight(yields(random), Fiber.interrupt(fiber)))

const error = new Error("made by a test")
const failure = Effect.fail(error)
const defect = Effect.die(error)

/**
 * How a run goes. What fails is not interrupted from outside before its failure has arrived: an interruption that meets
 * a failure on its way may take its place, and the expected count would be unknown.
 */
const outcomes: { readonly [kind: string]: (measured: Measured, random: Random) => Run } = {
  successes: ({ measure }, random) => measure(yields(random)),
  "asynchronous successes": ({ measure }) => measure(Effect.promise(() => Promise.resolve())),
  failures: ({ inject, measure }, random) => measure(Effect.zipRight(yields(random), inject(failure))),
  defects: ({ inject, measure }, random) => measure(Effect.zipRight(yields(random), inject(defect))),
  throws: ({ inject, measure }) =>
    measure(
      inject(
        Effect.sync(() => {
          throw error
        })
      )
    ),
  "interruptions of itself": ({ measure }, random) => measure(Effect.zipRight(yields(random), Effect.interrupt)),
  "interruptions from outside": ({ measure }, random) => interruptedSoon(random, measure(Effect.never)),
  "interruptions at about the end": ({ measure }, random) => interruptedSoon(random, measure(yields(random))),
  "interruptions with a defect": ({ inject, measure }, random) =>
    interruptedSoon(
      random,
      Effect.uninterruptible(measure(Effect.ensuring(Effect.interruptible(Effect.never), inject(defect))))
    ),
  "timeouts inside": ({ inject, measure }, random) =>
    measure(Effect.catchAll(Effect.timeout(Effect.never, moment(random)), (error) => inject(Effect.fail(error)))),
  "timeouts outside": ({ measure }, random) => Effect.timeout(measure(Effect.sleep(moment(random))), moment(random))
}

const kinds = Object.entries(outcomes)

// Those without a second fiber and without a timer, which take the least time, come three times as often.
const quick = kinds.filter(([kind]) => ["successes", "failures", "defects", "throws"].includes(kind))
const drawn = [...kinds, ...quick, ...quick]

/** Runs one effect after the other until so many were started. Some are interrupted before that: they do not count. */
const worker = (measured: Measured, random: Random, runs: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { launched } = measured
    while (measured.started < runs) {
      const [kind, outcome] = drawn[Math.floor(random() * drawn.length)] ?? assert.fail()
      launched.set(kind, (launched.get(kind) ?? 0) + 1)
      yield* Effect.exit(outcome(measured, random))
    }
  })

const sum = <A>(all: ReadonlyArray<A>, of: (each: A) => number): number => all.reduce((total, a) => total + of(a), 0)

describe(`${most.toLocaleString("en")} measured effects on ${fibers} fibers (seed ${seed})`, () => {
  for (const way of ways) {
    const { isSplit, runs } = way
    it.live(
      `are all accounted for, whatever becomes of them: ${(fibers * runs).toLocaleString("en")} by ${way.title}`,
      () =>
        Effect.gen(function* () {
          const config = { help: "A metric of a test.", registers: [new PromClient.Registry()] }
          const duration = new PromClient.Histogram({ ...config, name: "run_seconds" })
          const exceptions = new PromClient.Counter({ ...config, name: "run_failures_total" })
          const inProgress = new PromClient.Gauge({ ...config, name: "runs_in_progress" })
          const workers = Array.from({ length: fibers }, () => new Measured(way, { duration, exceptions, inProgress }))
          const clock = countingClock()
          yield* Effect.forEach(workers, (measured, at) => worker(measured, seeded(seed + at), runs), {
            concurrency: "unbounded",
            discard: true
          }).pipe(Effect.withClock(clock), Effect.withScheduler(new YieldingAtRandom(seeded(seed), 0.005)))
          const started = sum(workers, (measured) => measured.started)
          const finished = sum(workers, (measured) => measured.finished)
          const injected = sum(workers, (measured) => measured.injected)
          const { run_seconds_count: observed = 0 } = yield* Effect.promise(() => counts(duration))
          const { run_failures_total: counted } = yield* Effect.promise(() => counts(exceptions))
          const { runs_in_progress: running } = yield* Effect.promise(() => counts(inProgress))
          const launched = kinds.map(([kind]) => ({
            kind,
            count: sum(workers, (each) => each.launched.get(kind) ?? 0)
          }))
          console.log(
            `${way.title}: ${started} started, ${finished} finished, ${observed} observed, ${running} in progress, ` +
              `${counted} exceptions of ${injected}, of ${sum(launched, ({ count }) => count)} that were launched: ` +
              launched.map(({ count, kind }) => `${count} ${kind}`).join(", ")
          )
          assert.strictEqual(started, fibers * runs)
          assert.strictEqual(finished, started)
          assert.strictEqual(running, 0)
          // Whatever was started to be timed was observed: a run reads the clock then, and once more when it ends.
          assert.strictEqual(clock.reads, 2 * observed)
          // The outermost one may have been started alone: some are, so that there are such interruptions.
          if (isSplit) assert.isAbove(observed, started)
          else assert.strictEqual(observed, started)
          assert.strictEqual(counted, injected)
          for (const { count, kind } of launched) assert.isAbove(count, (fibers * runs) / 100, kind)
        }),
      1_200_000
    )
  }
})
