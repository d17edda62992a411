/** Quantiles, estimated from buckets. */

/** The number of observations up to the bound, including those of all lower buckets. */
export interface Bucket {
  readonly bound: number
  readonly count: number
}

/**
 * The quantile as `histogram_quantile` of Prometheus estimates it: by linear interpolation within its bucket; the first
 * bucket begins at 0. For a quantile in the bucket `+Inf` it is the highest finite bound. NaN without observations, or
 * without a bucket `+Inf`. The buckets are in order.
 */
export const quantileOf = (quantile: number, cumulative: ReadonlyArray<Bucket>): number => {
  const buckets = neverFalling(cumulative)
  const last = buckets.at(-1)
  if (last?.bound !== Number.POSITIVE_INFINITY || !(last.count > 0)) return Number.NaN
  const rank = quantile * last.count
  const index = buckets.findIndex(({ count }) => count >= rank)
  const before = buckets[index - 1]
  const { bound, count } = buckets[index] ?? last
  if (bound === Number.POSITIVE_INFINITY) return before?.bound ?? Number.NaN
  if (before === undefined && bound <= 0) return bound
  const from = before?.bound ?? 0
  const below = before?.count ?? 0
  return from + (bound - from) * ((rank - below) / (count - below))
}

// A bucket that changed while it was read can be a little lower than the one before.
const neverFalling = (buckets: ReadonlyArray<Bucket>): ReadonlyArray<Bucket> => {
  let most = 0
  return buckets.map(({ bound, count }) => {
    most = Math.max(most, Number.isNaN(count) ? 0 : count)
    return { bound, count: most }
  })
}

/** The number of observations of each bucket alone. */
export const apart = (cumulative: ReadonlyArray<Bucket>): ReadonlyArray<number> => {
  const buckets = neverFalling(cumulative)
  return buckets.map(({ count }, index) => count - (buckets[index - 1]?.count ?? 0))
}

/** Merges neighbouring buckets until about `most` remain. The bucket `+Inf` is never merged. */
export const thinned = (cumulative: ReadonlyArray<Bucket>, most: number): ReadonlyArray<Bucket> => {
  const step = Math.ceil(cumulative.length / most)
  const last = cumulative.length - 1
  return step === 1 ? cumulative : cumulative.filter((_, index) => index === last || (last - 1 - index) % step === 0)
}
