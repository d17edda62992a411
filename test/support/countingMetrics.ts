/** Metrics of each kind that count by their labels, and their series in an exposition. */
import { Counter, Gauge, Histogram, type Metric, type Registry } from "prom-client"

/** A metric `m` (a counter is called `m_total`), whichever kind it is. */
export interface CountingMetric {
  readonly metric: Metric & { help: string }
  /** Counts one for the series with these labels, which may be of any kind. */
  readonly count: (labels?: object) => void
  readonly remove: (labels: object) => void
}

export interface CountingKind {
  readonly kind: string
  readonly make: (registers: Array<Registry>, labelNames: Array<string>, help?: string) => CountingMetric
}

// The types of the client allow for less than it takes.
type Any = never

export const countingKinds: ReadonlyArray<CountingKind> = [
  {
    kind: "counter",
    make: (registers, labelNames, help = "h") => {
      const counter = new Counter({ name: "m_total", help, labelNames, registers })
      return counting(counter, (labels) => counter.inc(labels as Any))
    }
  },
  {
    kind: "gauge",
    make: (registers, labelNames, help = "h") => {
      const gauge = new Gauge({ name: "m", help, labelNames, registers })
      return counting(gauge, (labels) => gauge.inc(labels as Any))
    }
  },
  {
    kind: "histogram",
    make: (registers, labelNames, help = "h") => {
      const histogram = new Histogram({ name: "m", help, labelNames, buckets: [1], registers })
      return counting(histogram, (labels) => histogram.observe(labels as Any, 0.5))
    }
  }
]

const counting = (
  metric: Counter<string> | Gauge<string> | Histogram<string>,
  count: (labels: object) => void
): CountingMetric => ({
  metric: metric as unknown as CountingMetric["metric"],
  count: (labels = {}) => count(labels),
  remove: (labels) => metric.remove(labels as Any)
})

/** The series of such a metric, as `{a="x"} 1`; of a histogram the counts. */
export const seriesIn = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^m(?:_total|_count)?(\{.*\})? (\S+)/gmu)].map(([, labels = "", value]) => `${labels} ${value}`)
