/** The buckets of a histogram as bars, with markers for its quantiles. */
import { element, entitle } from "./dom.js"
import { counted, exact, formatted, shortest, type Unit } from "./format.js"
import { type Observed, quantileName } from "./observations.js"
import { apart, thinned } from "./quantile.js"

// The number of bars that can be distinguished.
const mostColumns = 120

// The number of bounds that can be read beside each other.
const mostBounds = 7

/** The bars of one histogram, which can be drawn again. */
export const histogramBars = (unit: Unit) => {
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
      made.append(element("span", "marker-name", quantileName(quantile)))
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
