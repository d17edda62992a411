/** The observations of histograms and summaries: quantiles, mean and count, and for histograms their buckets as bars. */
import { arrange, element, entitle, write } from "./dom.js"
import { counted, exact, formatted, perSecond, shortest, type Unit } from "./format.js"
import { labelsNode } from "./labels.js"
import { apart, type Bucket, quantileOf, thinned } from "./quantile.js"
import { keptRows, type View } from "./rows.js"
import { sparkline } from "./sparkline.js"
import type { Family, Series } from "./store.js"

/** Since the start of the process, or since the page was opened. */
export type Span = "start" | "open"

/** The observations in that time. */
export interface Observed {
  readonly buckets: ReadonlyArray<Bucket>
  readonly sum: number
  readonly count: number
}

// A count that decreased was reset, so all of its observations are of this time.
const since = (value: number, first: number, span: Span): number =>
  span === "start" || value < first ? value : value - first

/** The observations of one series. */
export const observedBy = ({ distribution, first, value }: Series, span: Span): Observed => {
  const { firstSum = Number.NaN, points = [], sum = Number.NaN } = distribution ?? {}
  const isAnew = value < first
  const from = isAnew ? "start" : span
  return {
    buckets: points.map((point) => ({ bound: point.bound, count: since(point.value, point.first, from) })),
    // A sum can decrease without a reset if there are negative observations.
    sum: from === "start" ? sum : sum - firstSum,
    count: since(value, first, from)
  }
}

/** The observations of all series together; without buckets if the series have different bounds. */
export const observedByAll = (series: Iterable<Series>, span: Span): Observed => {
  let all: Observed | undefined
  for (const one of series) {
    const observed = observedBy(one, span)
    all = all === undefined ? observed : added(all, observed)
  }
  return all ?? { buckets: [], sum: 0, count: 0 }
}

const added = (a: Observed, b: Observed): Observed => {
  const same =
    a.buckets.length === b.buckets.length && a.buckets.every(({ bound }, at) => bound === b.buckets[at]?.bound)
  const buckets = same
    ? a.buckets.map(({ bound, count }, at) => ({ bound, count: count + (b.buckets[at]?.count ?? 0) }))
    : []
  return { buckets, sum: a.sum + b.sum, count: a.count + b.count }
}

/** The quantiles that are shown for a histogram. */
export const shownQuantiles = [0.5, 0.9, 0.99] as const

const nameOf = (quantile: number): string => `p${Number((quantile * 100).toFixed(6))}`

/** A separate view of each series. */
export const distributionView = (family: Family, unit: Unit, span: () => Span): View => {
  const node = element("div", "distributions")
  return { node, show: keptRows(node, (series) => figure(family, series, unit, span)) }
}

const figure = ({ kind }: Family, series: Series, unit: Unit, span: () => Span) => {
  const stats = statistics()
  const bars = kind === "histogram" ? histogramBars(unit) : undefined
  const spark = sparkline()
  const head = element("div", "figure-head", labelsNode(series.labels), spark.node)
  const node = element("div", "figure", head, stats.node)
  if (bars !== undefined) node.append(bars.node)
  const update = (): void => {
    const observed = observedBy(series, span())
    const quantiles =
      kind === "histogram"
        ? shownQuantiles.map((quantile) => [quantile, quantileOf(quantile, observed.buckets)] as const)
        : (series.distribution?.points ?? []).map(({ bound, value }) => [bound, value] as const)
    const rest = quantiles.length - mostQuantiles
    stats.show([
      ...quantiles.slice(0, mostQuantiles).map(([quantile, value]) => valued(nameOf(quantile), value, unit)),
      ...(rest > 0 ? [{ name: "quantiles", text: `${counted(rest, "more", "more")}`, title: "" }] : []),
      valued("mean", observed.sum / observed.count, unit),
      valued("count", observed.count, "none"),
      { name: "per second", text: perSecond(series.rate, "none") || "–", title: exact(series.rate) }
    ])
    bars?.show(observed, kind === "histogram" ? quantiles : [])
    spark.draw(series.history, true)
  }
  return { node, update }
}

// More would not be readable.
const mostQuantiles = 30

interface Statistic {
  readonly name: string
  readonly text: string
  readonly title: string
}

// Without observations there is no quantile and no mean.
const valued = (name: string, value: number, unit: Unit): Statistic => ({
  name,
  text: Number.isNaN(value) ? "–" : formatted(value, unit),
  title: exact(value)
})

const statistics = () => {
  const node = element("dl", "statistics")
  const parts: Array<{ readonly name: HTMLElement; readonly value: HTMLElement; readonly node: HTMLElement }> = []
  const show = (all: ReadonlyArray<Statistic>): void => {
    while (parts.length < all.length) {
      const name = element("dt", "")
      const value = element("dd", "")
      parts.push({ name, value, node: element("div", "", name, value) })
    }
    parts.length = all.length
    arrange(
      node,
      parts.map((part) => part.node)
    )
    all.forEach(({ name, text, title }, index) => {
      const part = parts[index]
      if (part === undefined) return
      write(part.name, name)
      write(part.value, text)
      entitle(part.value, title)
    })
  }
  return { node, show }
}

// The number of bars that can be distinguished.
const mostColumns = 120

// The number of bounds that can be read beside each other.
const mostBounds = 7

const histogramBars = (unit: Unit) => {
  const columns = element("div", "columns")
  const markers = element("div", "markers")
  const axis = element("div", "axis")
  const plot = element("div", "plot", columns, markers)
  plot.setAttribute("role", "img")
  axis.setAttribute("aria-hidden", "true")
  const node = element("div", "bars", plot, axis)
  let drawn = ""
  const show = (observed: Observed, quantiles: ReadonlyArray<readonly [number, number]>): void => {
    const buckets = thinned(observed.buckets, mostColumns)
    const bounds = buckets.map(({ bound }) => bound)
    if (drawn !== bounds.join()) {
      drawn = bounds.join()
      columns.replaceChildren(...bounds.map(() => element("div", "column", element("div", "fill"))))
      axis.replaceChildren(...axisOf(bounds, unit))
    }
    const counts = apart(buckets)
    const most = Math.max(...counts, 0)
    const all = buckets.at(-1)?.count ?? 0
    counts.forEach((count, index) => {
      const column = columns.children[index] as HTMLElement
      const fill = column.firstElementChild as HTMLElement
      fill.style.height = count > 0 ? `max(2px, ${((100 * count) / most).toFixed(2)}%)` : "0"
      const share = all > 0 ? `, ${((100 * count) / all).toFixed(1)} %` : ""
      entitle(column, `${rangeOf(bounds, index, unit)}: ${exact(count)}${share}`)
    })
    markers.replaceChildren(...markersOf(quantiles, bounds))
    plot.setAttribute("aria-label", describedBars(bounds, counts, unit))
  }
  return { node, show }
}

const rangeOf = (bounds: ReadonlyArray<number>, index: number, unit: Unit): string => {
  const from = bounds[index - 1]
  const to = bounds[index] ?? Number.NaN
  if (from === undefined) return `up to ${formatted(to, unit)}`
  return to === Number.POSITIVE_INFINITY
    ? `more than ${formatted(from, unit)}`
    : `from ${formatted(from, unit)} to ${formatted(to, unit)}`
}

const describedBars = (bounds: ReadonlyArray<number>, counts: ReadonlyArray<number>, unit: Unit): string => {
  const parts = counts.flatMap((count, index) =>
    count > 0 ? [`${rangeOf(bounds, index, unit)}: ${exact(count)}`] : []
  )
  const text = parts.slice(0, 20).join("; ")
  return `${counted(counts.length, "bucket", "buckets")}. ${text === "" ? "No observations." : text}`
}

const axisOf = (bounds: ReadonlyArray<number>, unit: Unit): ReadonlyArray<HTMLElement> => {
  const step = Math.ceil(bounds.length / mostBounds)
  return bounds.flatMap((bound, index) => {
    // Every `step`-th bound, counted from the last one.
    if ((bounds.length - 1 - index) % step !== 0) return []
    const fromLast = (bounds.length - 1 - index) / step
    const made = element("span", fromLast === 0 ? "bound last" : "bound", shortest(bound, unit))
    if (fromLast % 2 === 1) made.classList.add("minor")
    made.style.left = `${((100 * (index + 1)) / bounds.length).toFixed(3)}%`
    return [made]
  })
}

// The least distance between two labels, as a part of the width.
const apartFor = 0.1

const markersOf = (
  quantiles: ReadonlyArray<readonly [number, number]>,
  bounds: ReadonlyArray<number>
): ReadonlyArray<HTMLElement> => {
  let last = Number.NEGATIVE_INFINITY
  return quantiles.flatMap(([quantile, value]) => {
    const place = placeOf(value, bounds)
    if (place === undefined) return []
    const made = element("div", "marker")
    made.style.left = `${(100 * place).toFixed(3)}%`
    if (place - last >= apartFor) {
      made.append(element("span", "marker-name", nameOf(quantile)))
      last = place
    }
    return [made]
  })
}

// All buckets have the same width; the position within a bucket is linear.
const placeOf = (value: number, bounds: ReadonlyArray<number>): number | undefined => {
  const index = bounds.findIndex((bound) => value <= bound)
  const to = bounds[index]
  if (index === -1 || to === undefined) return undefined
  const from = bounds[index - 1] ?? Math.min(0, to)
  const within = Number.isFinite(to) && to > from ? (value - from) / (to - from) : 1
  return (index + Math.min(Math.max(within, 0), 1)) / bounds.length
}
