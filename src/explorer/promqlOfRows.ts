/** The expressions for what is shown of a family. */
import type { Copy } from "./actions.js"
import type { Found } from "./filter.js"
import type { Group } from "./groups.js"
import { type Matcher, matchersOf, matchersOfLabels } from "./matchers.js"
import type { Series } from "./model.js"
import { expressionsOf } from "./promql.js"

/** Of one row: a series, or a sum that keeps the labels `by`. */
export const copyOfRow = (found: Found, by: ReadonlyArray<string>, { labels, series }: Group): Copy => {
  const all = [...found.family.series.values()]
  if (by.length === 0) return copyOf(found, series, matchersOfLabels(labels, all), undefined)
  return copyOf(found, series, matchersOf(series, all, { fixed: labels, words: found.words }), [])
}

/** Of all rows. */
export const copyOfFamily = (found: Found, by: ReadonlyArray<string>): Copy => {
  const matchers = matchersOf(found.series, [...found.family.series.values()], { fixed: [], words: found.words })
  return copyOf(found, found.series, matchers, by.length === 0 ? undefined : by)
}

const copyOf = (
  { family }: Found,
  series: ReadonlyArray<Series>,
  matchers: ReadonlyArray<Matcher> | undefined,
  by: ReadonlyArray<string> | undefined
): Copy => {
  const quantiles = series[0]?.distribution?.points.map(({ bound }) => bound) ?? []
  const expressions = expressionsOf({ family, by, quantiles, matchers: matchers ?? [] })
  const note = matchers === undefined ? "It is of all series, because label matchers cannot express this filter." : ""
  const first = expressions.find(({ name }) => name === "p95") ?? expressions[0]
  return { expressions, first, note }
}
