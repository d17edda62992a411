/** Maps a metric of Effect to its metric family and labels. */
import type { EffectMetric } from "./model.js"
import { labelsOf, metricName } from "./names.js"

export type FamilyType = "counter" | "gauge" | "histogram" | "summary"

export interface Described {
  readonly kind: "counter" | "frequency" | "gauge" | "histogram" | "summary"
  readonly type: FamilyType
  readonly name: string
  /** The beginning of a sentence about the metric. */
  readonly subject: string
  readonly description: string | undefined
  readonly labels: ReadonlyArray<readonly [name: string, value: string]>
  /** Converts observations of a time to seconds. */
  readonly divisor: number
  /** Without `+Inf`. */
  readonly bounds: ReadonlyArray<number>
  /** The values of two such metrics can be added up. */
  readonly isSum: boolean
}

/** A sentence with the reason if the metric cannot be exposed. */
export const described = (metric: EffectMetric, prefix: string): Described | string => {
  const { description, isIncremental, kind, tags, trouble } = metric
  const original = String(metric.name)
  const subject = `Effect's ${kind ?? "metric"} ${original}`
  if (kind === undefined) return `${subject} is left out: its kind is unknown`
  const isTime = kind === "histogram" && tags.some(isMilliseconds)
  const divisor = isTime ? 1_000 : 1
  const bounds = boundsOf(metric.boundaries, divisor)
  if (bounds === undefined) return `${subject} is left out: its boundaries must be numbers in increasing order`
  if (trouble !== undefined) return `${subject} is left out: ${trouble}`
  const goesDown = kind === "counter" && !isIncremental
  const shape = goesDown ? "gauge" : kind
  const type = shape === "frequency" ? "counter" : shape
  return {
    kind: shape,
    type,
    name: nameOf(metricName(prefix, original), type, isTime),
    subject,
    description: description ?? fiberHelp[original],
    labels: labelsOf(isTime ? tags.filter((tag) => !isMilliseconds(tag)) : tags, reserved[shape]),
    divisor,
    bounds,
    isSum: kind === "counter" || kind === "frequency" || kind === "histogram"
  }
}

// The labels that samples of a kind have in addition to those of the metric.
const reserved: { readonly [K in Described["kind"]]: string | undefined } = {
  counter: undefined,
  frequency: "key",
  gauge: undefined,
  histogram: "le",
  summary: "quantile"
}

// The only unit in Effect: that of its timers and of the lifetimes of fibers.
const isMilliseconds = ({ key, value }: { readonly key: unknown; readonly value: unknown }): boolean =>
  key === "time_unit" && value === "milliseconds"

const nameOf = (name: string, type: Described["type"], isTime: boolean): string => {
  if (type === "counter") return ending(name, "_total")
  return isTime ? ending(name.replace(/_(?:ms|millis|milliseconds)$/, ""), "_seconds") : name
}

const ending = (name: string, suffix: string): string => (name.endsWith(suffix) ? name : `${name}${suffix}`)

// Effect sorts the bounds before it counts.
const boundsOf = (values: ReadonlyArray<number>, divisor: number): ReadonlyArray<number> | undefined => {
  const bounds = [...values]
    .sort((a, b) => a - b)
    .filter((bound) => bound !== Number.POSITIVE_INFINITY)
    .map((bound) => bound / divisor)
  return bounds.every((bound, at) => bound > (bounds[at - 1] ?? Number.NEGATIVE_INFINITY)) ? bounds : undefined
}

// Effect 3 gives its own metrics no descriptions.
const fiberHelp: { readonly [name: string]: string | undefined } = Object.assign(Object.create(null), {
  effect_fiber_started: "Fibers started.",
  effect_fiber_active: "Fibers that have started but not ended.",
  effect_fiber_successes: "Fibers that succeeded.",
  effect_fiber_failures: "Fibers that failed, were interrupted, or died of a defect.",
  effect_fiber_lifetimes: "Time from the start of a fiber to its end, in seconds."
})
