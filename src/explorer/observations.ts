/** The observations of histograms and summaries in some time. */
import { formatted } from "./format.js"
import type { Series } from "./model.js"
import type { Bucket } from "./quantile.js"

/** The last minute, the time since the start of the process, or the time since the page was opened. */
export const spans = ["minute", "start", "open"] as const

/** One of these times. */
export type Span = (typeof spans)[number]

/** The observations in that time. */
export interface Observed {
  readonly buckets: ReadonlyArray<Bucket>
  readonly sum: number
  readonly count: number
}

/** The observations of one series. */
export const observedBy = (series: Series, span: Span): Observed => {
  const { distribution, first, value } = series
  const { firstSum = Number.NaN, points = [], recent, sum = Number.NaN } = distribution ?? {}
  if (span === "minute") {
    const { count = value, sum: sumBefore = sum, values } = recent?.base ?? {}
    return {
      buckets: points.map((point) => ({
        bound: point.bound,
        count: increase(point.value, values === undefined ? point.value : (values[point.index] ?? 0))
      })),
      sum: sum - sumBefore,
      count: increase(value, count)
    }
  }
  // A count that decreased was reset, so all of its observations are of this time.
  if (span === "start" || value < first) {
    return { buckets: points.map((point) => ({ bound: point.bound, count: point.value })), sum, count: value }
  }
  return {
    buckets: points.map((point) => ({ bound: point.bound, count: increase(point.value, point.first) })),
    // A sum can decrease without a reset if there are negative observations.
    sum: sum - firstSum,
    count: value - first
  }
}

// A bucket that decreased while the count did not was reset as well.
const increase = (value: number, before: number): number => (value < before ? value : value - before)

/** The observations of all series together; without buckets if the series have different bounds. */
export const observedByAll = (series: ReadonlyArray<Series>, span: Span): Observed => {
  const [first, ...others] = series
  if (first === undefined) return { buckets: [], sum: 0, count: 0 }
  const one = observedBy(first, span)
  if (others.length === 0) return one
  let { count, sum } = one
  const buckets = one.buckets.map(({ bound, count }) => ({ bound, count }))
  let isSame = true
  for (const other of others) {
    const observed = observedBy(other, span)
    count += observed.count
    sum += observed.sum
    isSame &&=
      observed.buckets.length === buckets.length &&
      buckets.every(({ bound }, at) => bound === observed.buckets[at]?.bound)
    if (!isSame) continue
    buckets.forEach((bucket, at) => {
      bucket.count += observed.buckets[at]?.count ?? 0
    })
  }
  return { buckets: isSame ? buckets : [], sum, count }
}

/** The quantiles that are shown for a histogram. */
export const shownQuantiles = [0.5, 0.95, 0.99] as const

/** The name of a quantile. */
export const quantileName = (quantile: number): string => `p${Number((quantile * 100).toFixed(6))}`

/** Whether a time, in seconds, may be called a minute. */
export const isMinute = (seconds: number): boolean => seconds >= 55 && seconds <= 65

/** How the time of the latest observations is called, from its length in seconds. */
export const latestName = (seconds: number): string =>
  isMinute(seconds) ? "last minute" : `last ${formatted(Math.max(1, Math.round(seconds)), "seconds")}`
