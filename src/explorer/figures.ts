/** What several series are together. The line of a family, its rows and their sums all show these numbers. */
import { longest } from "./history.js"
import { linesOf, type Series } from "./model.js"

const sum = (series: ReadonlyArray<Series>, of: (one: Series) => number): number => {
  let all = 0
  for (const one of series) all += of(one)
  return all
}

/** The sum of the values; of observations, their number. */
export const totalOf = (series: ReadonlyArray<Series>): number => sum(series, ({ value }) => value)

/** The increase per second; of gauges, the sum of the values. */
export const rateOf = (series: ReadonlyArray<Series>): number => sum(series, ({ rate }) => rate)

/** The number of series, as Prometheus counts them. */
export const lineCount = (series: ReadonlyArray<Series>): number => sum(series, linesOf)

/** The last points of the sum of the rates; empty if nothing changed, or if not all of the changes are known. */
export const historyOf = (series: ReadonlyArray<Series>): ReadonlyArray<number> => {
  let length = 0
  for (const { history, isUntraced } of series) {
    if (isUntraced) return []
    length = Math.max(length, history?.length ?? 0)
  }
  if (length === 0) return []
  const points = new Array<number>(Math.min(length, longest)).fill(0)
  let constant = 0
  for (const { appeared, history, rate, seen } of series) {
    // Before it appeared, it was 0.
    const first = points.length - 1 - (seen - appeared)
    if (history === undefined && first <= 0) {
      constant += rate
      continue
    }
    // A history begins with what the series was before its first change.
    const own = history?.all() ?? [rate]
    const missing = points.length - own.length
    for (let at = Math.max(0, first); at < points.length; at += 1)
      points[at] = (points[at] ?? 0) + (own[Math.max(0, at - missing)] ?? 0)
  }
  return points.map((point) => point + constant)
}
