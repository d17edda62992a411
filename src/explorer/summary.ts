/** The most useful number of a family: of those of its series that are selected. */
import { rateOf, totalOf } from "./figures.js"
import type { Found } from "./filter.js"
import { counted, earliest, exact, formatted, perSecond, type Unit } from "./format.js"
import { isGauge, type Series } from "./model.js"
import { latestName, type Observed, observedByAll } from "./observations.js"
import { quantileOf } from "./quantile.js"

/** A number, what it is, and for observations the same number since the start. */
export interface Summary {
  readonly text: string
  readonly title: string
  readonly more: string
  readonly since: string
}

/** The number of the selected series. */
export const summaryOf = (found: Found, unit: Unit): Summary => {
  const { family, series } = found
  const [only] = series
  if (only === undefined) return { text: "–", title: "", more: "no series yet", since: "" }
  if (family.kind === "counter") {
    const sum = totalOf(series)
    return { text: formatted(sum, unit), title: exact(sum), more: perSecond(rateOf(series), unit), since: "" }
  }
  if (!isGauge(family.kind)) return observedSummary(found, unit)
  if (series.length > 1) return rangeOf(series, unit)
  return { text: formatted(only.value, unit), title: exact(only.value), more: ageOf(only.value, unit), since: "" }
}

const observedSummary = ({ family, series, window }: Found, unit: Unit): Summary => {
  const typical = family.kind === "histogram" ? quantilesOrMean : meanOf
  const all = observedByAll(series, "start")
  const sinceStart = typical(all, unit)
  if (sinceStart === undefined) {
    return { text: counted(all.count, "observation", "observations"), title: exact(all.count), more: "", since: "" }
  }
  const { text, title } = sinceStart
  if (window === 0) return { text, title, more: `${sinceStart.name} since start`, since: "" }
  const since = `since start ${text}`
  const observed = observedByAll(series, "minute")
  const latest = typical(observed, unit)
  if (latest === undefined) return { text: "–", title: "", more: `nothing in the ${latestName(window)}`, since }
  const rate = perSecond(observed.count / window, "none")
  return { text: latest.text, title: latest.title, more: `${latest.name}, ${latestName(window)}, ${rate}`, since }
}

interface Typical {
  readonly name: string
  readonly text: string
  readonly title: string
}

const quantilesOf = ({ buckets }: Observed, unit: Unit): Typical | undefined => {
  const median = quantileOf(0.5, buckets)
  const high = quantileOf(0.99, buckets)
  if (Number.isNaN(median)) return undefined
  const title = `p50 – p99: ${exact(median)} – ${exact(high)}`
  return { name: "p50 – p99", text: `${formatted(median, unit)} – ${formatted(high, unit)}`, title }
}

const meanOf = ({ count, sum }: Observed, unit: Unit): Typical | undefined => {
  const mean = sum / count
  return Number.isNaN(mean) ? undefined : { name: "mean", text: formatted(mean, unit), title: exact(mean) }
}

// Series with different buckets have no common quantiles.
const quantilesOrMean = (observed: Observed, unit: Unit): Typical | undefined =>
  quantilesOf(observed, unit) ?? meanOf(observed, unit)

// A point in time is shown with its age.
const ageOf = (value: number, unit: Unit): string => {
  const age = Date.now() / 1e3 - value
  return unit === "timestamp" && value >= earliest && age > 0 ? `${formatted(age, "seconds")} ago` : ""
}

const rangeOf = (series: ReadonlyArray<Series>, unit: Unit): Summary => {
  let least = Number.POSITIVE_INFINITY
  let most = Number.NEGATIVE_INFINITY
  let numbers = 0
  for (const { value } of series) {
    if (value < least) least = value
    if (value > most) most = value
    if (!Number.isNaN(value)) numbers += 1
  }
  if (numbers === 0) return { text: "NaN", title: "", more: "each", since: "" }
  const isOne = least === most
  const text = isOne ? formatted(most, unit) : `${formatted(least, unit)} – ${formatted(most, unit)}`
  const rest = numbers === series.length ? [] : [counted(series.length - numbers, "NaN", "NaN")]
  const more = [isOne ? "each" : "lowest – highest", ...rest].join(", ")
  return { text, title: `${exact(least)} – ${exact(most)}`, more, since: "" }
}
