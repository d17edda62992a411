/**
 * The cost of measuring an effect: the time of 1,000 runs in one fiber, minus the time of the unmeasured effect in the same
 * loop. The effect is an `Effect.sync` that does almost nothing. The metrics have no labels, and all histograms have the
 * same eleven bounds.
 */
import { Effect, Metric } from "effect"
import * as Metrics from "effect-prometheus/Metrics"
import * as promClient from "prom-client"
import { type Bar, compare, type Row } from "../report.js"
import { alternate, type Measure, mapRounds, namesOf, timing } from "../rounds.js"

const runs = 1_000

let calls = 0
const bare = Effect.sync(() => {
  calls++
})

const running = (effect: Effect.Effect<unknown>): Measure<number> => {
  let run = 0
  const loop = Effect.suspend(() => {
    run = 0
    return Effect.whileLoop({
      while: () => run < runs,
      body: () => effect,
      step: () => {
        run++
      }
    })
  })
  const before = () => {
    calls = 0
  }
  const after = () => {
    if (calls !== runs) throw new Error(`the effect ran ${calls} times`)
  }
  return timing(() => Effect.runSync(loop), { iterations: 30, async: false, before, after })
}

interface Against<Peer extends string> {
  readonly id: string
  readonly title: string
  readonly ours: { readonly name: string; readonly effect: Effect.Effect<unknown> }
  readonly peers: { readonly [Name in Peer]: { readonly effect: Effect.Effect<unknown>; readonly bar: Bar } }
}

const overBare = <Peer extends string>({ id, title, ours, peers }: Against<Peer>): Row => ({
  id,
  title,
  run: async () => {
    const names = namesOf(peers)
    const contenders = {
      bare: running(bare),
      ours: running(ours.effect),
      ...Object.fromEntries(names.map((name) => [name, running(peers[name].effect)]))
    } as Record<"bare" | "ours" | Peer, Measure<number>>
    const times = await alternate(contenders, { rounds: 25, warmup: 3 })
    const nanoseconds = (name: "bare" | "ours" | Peer) => mapRounds(times[name], (time) => (time / runs) * 1e6)
    return {
      comparisons: names.map((name) =>
        compare(
          { name: ours.name, unit: "ns", rounds: nanoseconds("ours") },
          { name, unit: "ns", rounds: nanoseconds(name) },
          { without: nanoseconds("bare"), bar: peers[name].bar }
        )
      )
    }
  }
})

const histogram = (name: string) => new promClient.Histogram({ name, help: "Seconds.", registers: [] })
const duration = histogram("timed_seconds")
const exceptions = new promClient.Counter({ name: "failures_total", help: "Failures.", registers: [] })
const inProgress = new promClient.Gauge({ name: "in_progress", help: "Running.", registers: [] })

const handObserved = histogram("by_hand_seconds")
const byHand = Effect.clockWith((clock) => {
  const start = clock.unsafeCurrentTimeNanos()
  return Effect.onExit(bare, () =>
    Effect.sync(() => handObserved.observe(Number(clock.unsafeCurrentTimeNanos() - start) / 1e9))
  )
})

const milliseconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10].map((seconds) => seconds * 1_000)
const timer = Metric.timerWithBoundaries("timer", milliseconds)

export const timed = overBare({
  id: "timed",
  title: "time that Metrics.timed adds to an effect",
  ours: { name: "timed", effect: bare.pipe(Metrics.timed(duration)) },
  peers: {
    "Metric.trackDuration": { effect: bare.pipe(Metric.trackDuration(timer)), bar: { atMost: 1.2 } },
    "by hand": { effect: byHand, bar: { atMost: 0.8 } }
  }
})

export const instrumented = overBare({
  id: "instrumented",
  title: "time that Metrics.instrumented with all three metrics adds to an effect",
  ours: { name: "instrumented", effect: bare.pipe(Metrics.instrumented({ duration, exceptions, inProgress })) },
  peers: {
    timed: { effect: bare.pipe(Metrics.timed(duration)), bar: { atMost: 1.15 } },
    "three nested": {
      effect: bare.pipe(
        Metrics.timed(duration),
        Metrics.countExceptions(exceptions),
        Metrics.trackInProgress(inProgress)
      ),
      bar: { atMost: 0.65 }
    }
  }
})
