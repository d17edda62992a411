/** The buckets of a histogram and the quantiles of a summary, in the order of their bounds. */
import type { Distribution, Point } from "./model.js"

export const addPoint = (distribution: Distribution, point: Point): void => {
  const last = distribution.points.at(-1)
  if (last !== undefined && byBound(last, point) > 0) distribution.isInOrder = false
  point.index = distribution.points.length
  distribution.points.push(point)
}

/** Sorted once: inserting each in its place would take time in proportion to their number. */
export const sortPoints = (distribution: Distribution): void => {
  if (distribution.isInOrder) return
  distribution.points.sort(byBound)
  distribution.isInOrder = true
}

// NaN comes last.
const byBound = ({ bound: one }: Point, { bound: other }: Point): number => {
  if (one < other) return -1
  return one > other ? 1 : Number(Number.isNaN(one)) - Number(Number.isNaN(other))
}
