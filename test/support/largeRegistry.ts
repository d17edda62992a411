/** A registry whose render takes several turns of the event loop on any machine. */
import { Counter, Histogram, Registry } from "prom-client"

const names = ["one_total", "two_total", "three_total", "four_total", "five_total"]

// A render yields after five milliseconds.
const enough = 6

export interface LargeRegistry {
  readonly registry: Registry
  /** How often a render must yield, at the least. */
  readonly pauses: number
  /** Counts, makes new series, and removes others; never those whose place in their family can be divided by four. */
  readonly change: () => void
  /** Is called before each pause. */
  onPause: () => void
  /** Whether a render takes its time. */
  isSlow: boolean
}

/** Five counters and a histogram with so many series each, some of which have a slow `toString` of their label. */
export const largeRegistry = (series: number, slow = 2): LargeRegistry => {
  const registry = new Registry()
  const options = { help: "h", labelNames: ["place"], registers: [registry] }
  const slowLabel = (place: number) => ({
    toString: () => {
      if (made.isSlow) {
        made.onPause()
        for (const until = performance.now() + enough; performance.now() < until; );
      }
      return String(place)
    }
  })
  const made = { registry, pauses: 6 * slow, change: () => {}, onPause: () => {}, isSlow: false }
  const histogram = new Histogram({ ...options, name: "run_seconds", buckets: [1, 10] })
  const counters = names.map((name) => new Counter({ ...options, name }))
  const families = [
    ...counters.map((counter) => ({ count: (labels: object) => counter.inc(labels as never), metric: counter })),
    { count: (labels: object) => histogram.observe(labels as never, 0.5), metric: histogram }
  ]
  const every = series / slow
  for (const { count } of families) {
    for (let place = 0; place < series; place += 1) count({ place: place % every === 0 ? slowLabel(place) : place })
  }
  made.isSlow = true
  let turn = 0
  made.change = () => {
    turn += 1
    for (const { count, metric } of families) {
      count({ place: 4 * turn + 1 })
      count({ place: `new ${turn}` })
      metric.remove({ place: 4 * ((7 * turn) % (series / 4)) + 2 })
      metric.remove({ place: `new ${turn - 5}` })
    }
  }
  return made
}
