/** Histograms and summaries: quantiles, mean and count of each row, and the buckets of a histogram as bars. */
import { histogramBars } from "./bars.js"
import { element, write } from "./dom.js"
import { historyOf, rateOf } from "./figures.js"
import { counted, exact, formatted, perSecond, type Unit } from "./format.js"
import type { Group } from "./groups.js"
import { groupLabels } from "./labels.js"
import type { Kind } from "./model.js"
import { type Observed, observedByAll, quantileName, type Span, shownQuantiles } from "./observations.js"
import { copyIcon } from "./promqlPanel.js"
import { quantileOf } from "./quantile.js"
import { keptRows, type Row, type RowActions, type View } from "./rows.js"
import { sparkline } from "./sparkline.js"
import { type Statistic, statistics, valued } from "./statistics.js"

/** The time that is shown. */
export interface ShownSpan {
  readonly span: Span
  /** The length of the last minute in seconds. */
  readonly window: number
}

type Quantiles = ReadonlyArray<readonly [quantile: number, value: number]>

/** A separate figure for each row. `span` returns the time that is shown. */
export const distributionView = (kind: Kind, unit: Unit, span: () => ShownSpan, actions: RowActions): View => {
  const node = element("div", "distributions")
  return { node, show: keptRows(node, (group) => figure(kind, unit, span, group, actions)) }
}

const figure = (kind: Kind, unit: Unit, shown: () => ShownSpan, first: Group, actions: RowActions): Row => {
  let current = first
  const labels = groupLabels(first)
  const spark = sparkline()
  const copy = copyIcon(labels.node, (from) => actions.copy(current, from))
  const stats = statistics()
  const secondary = element("p", "secondary")
  const bars = kind === "histogram" ? histogramBars(unit) : undefined
  const head = element("div", "figure-head", labels.node, spark.node, copy)
  const node = element("div", "figure", head, stats.node, secondary, ...(bars === undefined ? [] : [bars.node]))
  const update = (group: Group): void => {
    current = group
    const { span, window } = shown()
    const observed = observedByAll(group.series, span)
    const quantiles = quantilesOf(kind, group, observed)
    labels.update(group)
    const rate = span === "minute" ? observed.count / window : rateOf(group.series)
    stats.show([
      ...quantileStatistics(unit, quantiles),
      ...(kind === "summary" && group.series.length > 1 ? [valued("sum", observed.sum, unit)] : []),
      valued("mean", observed.sum / observed.count, unit),
      valued("count", observed.count, "none"),
      { name: "per second", text: perSecond(rate, "none") || "–", title: exact(rate) }
    ])
    secondary.hidden = span !== "minute"
    if (!secondary.hidden) write(secondary, sinceStart(kind, unit, group))
    bars?.show(observed, quantiles)
    spark.draw(historyOf(group.series), true)
  }
  return { node, update }
}

// Those of a summary come from the application. Those of several summaries have no sum.
const quantilesOf = (kind: Kind, { series }: Group, { buckets }: Observed): Quantiles => {
  if (kind === "histogram") return shownQuantiles.map((quantile) => [quantile, quantileOf(quantile, buckets)])
  const [only] = series
  const points = series.length === 1 ? (only?.distribution?.points ?? []) : []
  return points.map(({ bound, value }) => [bound, value])
}

// More would not be readable.
const mostQuantiles = 30

const quantileStatistics = (unit: Unit, quantiles: Quantiles): ReadonlyArray<Statistic> => {
  const rest = quantiles.length - mostQuantiles
  return [
    ...quantiles.slice(0, mostQuantiles).map(([quantile, value]) => valued(quantileName(quantile), value, unit)),
    ...(rest > 0 ? [{ name: "quantiles", text: counted(rest, "more", "more"), title: "" }] : [])
  ]
}

const sinceStart = (kind: Kind, unit: Unit, { series }: Group): string => {
  const { buckets, count, sum } = observedByAll(series, "start")
  const named = (name: string, value: number): ReadonlyArray<string> =>
    Number.isNaN(value) ? [] : [`${name} ${formatted(value, unit)}`]
  const quantiles = kind === "histogram" ? shownQuantiles : []
  const parts = [
    ...quantiles.flatMap((quantile) => named(quantileName(quantile), quantileOf(quantile, buckets))),
    ...named("mean", sum / count),
    counted(count, "observation", "observations")
  ]
  return `Since the start: ${parts.join(", ")}`
}
