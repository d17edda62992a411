/** Quantiles of observations of which only the buckets are known. */

/** How many observations there were up to that bound, all of the buckets below it included. */
export interface Bucket {
  readonly bound: number
  readonly count: number
}

/**
 * The quantile as Prometheus' `histogram_quantile` estimates it: by a straight line within its bucket, of which the first
 * begins at 0. Of one in the last bucket, which has no end, nothing is known but the highest finite bound. NaN where there
 * are no observations, or no bucket that has no end. The buckets stand in order.
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

// What was read while it changed can be a little less than what stands before it.
const neverFalling = (buckets: ReadonlyArray<Bucket>): ReadonlyArray<Bucket> => {
  let most = 0
  return buckets.map(({ bound, count }) => {
    most = Math.max(most, Number.isNaN(count) ? 0 : count)
    return { bound, count: most }
  })
}

/** How many observations fell into each bucket alone. */
export const apart = (cumulative: ReadonlyArray<Bucket>): ReadonlyArray<number> => {
  const buckets = neverFalling(cumulative)
  return buckets.map(({ count }, index) => count - (buckets[index - 1]?.count ?? 0))
}

/** So many buckets and not many more, for which several become one. That without an end is alone. */
export const thinned = (cumulative: ReadonlyArray<Bucket>, most: number): ReadonlyArray<Bucket> => {
  const step = Math.ceil(cumulative.length / most)
  const last = cumulative.length - 1
  return step === 1 ? cumulative : cumulative.filter((_, index) => index === last || (last - 1 - index) % step === 0)
}
