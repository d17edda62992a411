/** The rows of a family: its series one by one, or their sums by some labels. */
import type { Series } from "./model.js"
import type { Labels } from "./parse.js"

/** One row. */
export interface Group {
  /** The same for the same row at the next exposition. */
  readonly key: unknown
  readonly labels: Labels
  /** The order of rows by their labels. */
  readonly text: string
  readonly series: ReadonlyArray<Series>
}

// More could not be chosen from.
const mostNames = 20

/** The names of all labels of these series. */
export const labelNames = (series: ReadonlyArray<Series>): ReadonlyArray<string> => {
  const names = new Set<string>()
  for (const { labels } of series) for (const [name] of labels) names.add(name)
  return [...names]
}

/** The labels by which the series can be summed. */
export const summableBy = (series: ReadonlyArray<Series>): ReadonlyArray<string> =>
  series.length < 2 ? [] : labelNames(series).slice(0, mostNames)

/** The value of a label; a missing label is an empty one, as in PromQL. */
export const labelOf = ({ labels }: Pick<Series, "labels">, name: string): string => {
  for (const [own, value] of labels) if (own === name) return value
  return ""
}

/** The rows: one for each series, or one for each combination of the values of the labels `by`. */
export const groupsOf = (series: ReadonlyArray<Series>, by: ReadonlyArray<string>): ReadonlyArray<Group> =>
  by.length === 0 ? series.map(alone) : summed(series, by)

const alone = (series: Series): Group => ({
  key: series,
  labels: series.labels,
  text: series.text,
  series: [series]
})

const summed = (all: ReadonlyArray<Series>, by: ReadonlyArray<string>): ReadonlyArray<Group> => {
  const groups = new Map<string, Group & { readonly series: Array<Series> }>()
  for (const one of all) {
    const labels = by.map((name) => [name, labelOf(one, name)] as const)
    const key = JSON.stringify(labels)
    const known = groups.get(key)
    if (known === undefined) groups.set(key, { key, labels, text: key.toLowerCase(), series: [one] })
    else known.series.push(one)
  }
  return [...groups.values()]
}
