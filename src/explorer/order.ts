/** The order of families, and of the rows of a family. */
import { rateOf, totalOf } from "./figures.js"
import type { Group } from "./groups.js"
import type { Kind } from "./model.js"
import { observedByAll, type Span } from "./observations.js"
import { quantileOf } from "./quantile.js"

// Metrics of the runtime may have a prefix. The name of the process alone is also in names of applications.
const runtime =
  /^process_|^effect_fiber_|(?:^|[_:])nodejs_|[_:]process_(?:cpu_|resident_memory_|memory_limit_|virtual_memory_|heap_bytes|open_fds|max_fds|start_time_)/

/** The order of families by name: those of the application, those of its process and runtime, those of this library. */
export const familyRank = (name: string): number => {
  if (name.startsWith("effect_prometheus_")) return 2
  return runtime.test(name) ? 1 : 0
}

/** What rows can be sorted by. */
export const columns = ["labels", "p99", "mean", "value", "rate"] as const

/** One of these. */
export type Column = (typeof columns)[number]

/** The columns of a type of family. The value of a distribution is the number of its observations. */
export const columnsOf: { readonly [K in Kind]: ReadonlyArray<Column> } = {
  counter: ["labels", "value", "rate"],
  gauge: ["labels", "value"],
  untyped: ["labels", "value"],
  histogram: ["labels", "p99", "value", "rate"],
  summary: ["labels", "mean", "value", "rate"]
}

/** An order of rows. */
export interface RowOrder {
  readonly column: Column
  readonly isDescending: boolean
  /** The time of the observations. */
  readonly span: Span
}

const numberOf = ({ series }: Group, { column, span }: RowOrder): number => {
  const isObserved = series[0]?.distribution !== undefined
  // In the last minute, the most observations are the most in a second.
  if (column === "rate" && !(isObserved && span === "minute")) return rateOf(series)
  if (!isObserved) return totalOf(series)
  const { buckets, count, sum } = observedByAll(series, span)
  if (column === "value" || column === "rate") return count
  return column === "mean" ? sum / count : quantileOf(0.99, buckets)
}

// A number in a label is compared as a number.
const { compare: compareTexts } = new Intl.Collator("en", { numeric: true })

/** The first `count` rows in that order. Equal numbers are in the order of the labels, and NaN is the last. */
export const firstOf = (groups: ReadonlyArray<Group>, order: RowOrder, count: number): ReadonlyArray<Group> => {
  const sign = order.isDescending ? -1 : 1
  if (order.column === "labels") return first(groups, count, (a, b) => sign * compareTexts(a.text, b.text))
  const numbers = new Map(groups.map((group) => [group, numberOf(group, order)]))
  return first(groups, count, (a, b) => {
    const [one = Number.NaN, other = Number.NaN] = [numbers.get(a), numbers.get(b)]
    if (one === other) return compareTexts(a.text, b.text)
    if (Number.isNaN(one) || Number.isNaN(other)) {
      return Number(Number.isNaN(one)) - Number(Number.isNaN(other)) || compareTexts(a.text, b.text)
    }
    return sign * (one < other ? -1 : 1)
  })
}

// Only the first ones of very many are put in order.
const first = <A>(all: ReadonlyArray<A>, count: number, compare: (a: A, b: A) => number): ReadonlyArray<A> => {
  if (count >= all.length) return [...all].sort(compare)
  const kept: Array<A> = []
  for (const one of all) {
    const last = kept[count - 1]
    if (last !== undefined && compare(one, last) >= 0) continue
    kept.splice(placeOf(one, kept, compare), 0, one)
    if (kept.length > count) kept.pop()
  }
  return kept
}

const placeOf = <A>(one: A, sorted: ReadonlyArray<A>, compare: (a: A, b: A) => number): number => {
  let from = 0
  let to = sorted.length
  while (from < to) {
    const middle = (from + to) >> 1
    const other = sorted[middle]
    if (other !== undefined && compare(one, other) < 0) to = middle
    else from = middle + 1
  }
  return from
}
