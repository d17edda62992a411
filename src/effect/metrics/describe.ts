/** What a metric of Effect becomes: the family that it belongs to, and its labels. */
import type * as MetricKey from "effect/MetricKey"
import * as MetricKeyType from "effect/MetricKeyType"
import * as Option from "effect/Option"
import { labelsOf, metricName } from "./effectNames.js"
import type { SourceFamily } from "./sources.js"

/** What stays the same about a metric. */
export interface Described {
  readonly kind: "counter" | "frequency" | "gauge" | "histogram" | "summary"
  readonly type: SourceFamily["type"]
  readonly name: string
  /** As a sentence begins with it. */
  readonly subject: string
  readonly description: string | undefined
  readonly labels: ReadonlyArray<readonly [name: string, value: string]>
  /** What its observations are divided by, to be in seconds where they are a time. */
  readonly divisor: number
  /** The bounds of a histogram but the one up to infinity. */
  readonly bounds: ReadonlyArray<number>
  /** Whether the values of two such metrics can be added up to one. */
  readonly isSum: boolean
}

/** A metric as it is exposed with that prefix, or the sentence that tells why it cannot be. */
export const described = (key: MetricKey.MetricKey.Untyped, prefix: string): Described | string => {
  const original = String(key.name)
  const kind = kindOf(key.keyType)
  const subject = `Effect's ${kind ?? "metric"} ${original}`
  if (kind === undefined) return `${subject} is left out: there is no such kind`
  const isTime = kind === "histogram" && key.tags.some(isMilliseconds)
  const divisor = isTime ? 1_000 : 1
  const bounds = MetricKeyType.isHistogramKey(key.keyType) ? boundsOf(key.keyType.boundaries.values, divisor) : []
  if (bounds === undefined) return `${subject} is left out: its bounds are not in increasing order, or no numbers`
  // Effect looks for the place before the first, and never finds it.
  if (MetricKeyType.isSummaryKey(key.keyType) && !(key.keyType.maxSize >= 1)) {
    return `${subject} is left out: its maxSize is ${key.keyType.maxSize}, and reading it would never come to an end`
  }
  const goesDown = MetricKeyType.isCounterKey(key.keyType) && !key.keyType.incremental
  const shape = goesDown ? "gauge" : kind
  const type = shape === "frequency" ? "counter" : shape
  return {
    kind: shape,
    type,
    name: nameOf(metricName(prefix, original), type, isTime),
    subject,
    description: Option.getOrUndefined(key.description) ?? fiberHelp[original],
    labels: labelsOf(isTime ? key.tags.filter((tag) => !isMilliseconds(tag)) : key.tags, reserved[shape]),
    divisor,
    bounds,
    isSum: kind === "counter" || kind === "frequency" || kind === "histogram"
  }
}

const kindOf = (type: unknown): Described["kind"] | undefined => {
  if (MetricKeyType.isCounterKey(type)) return "counter"
  if (MetricKeyType.isFrequencyKey(type)) return "frequency"
  if (MetricKeyType.isGaugeKey(type)) return "gauge"
  if (MetricKeyType.isHistogramKey(type)) return "histogram"
  return MetricKeyType.isSummaryKey(type) ? "summary" : undefined
}

// The labels that samples of a kind have beside those of the metric.
const reserved: { readonly [K in Described["kind"]]: string | undefined } = {
  counter: undefined,
  frequency: "key",
  gauge: undefined,
  histogram: "le",
  summary: "quantile"
}

// The only unit that Effect has: of its timers, and of the lifetimes of fibers.
const isMilliseconds = ({ key, value }: { readonly key: unknown; readonly value: unknown }): boolean =>
  key === "time_unit" && value === "milliseconds"

const nameOf = (name: string, type: Described["type"], isTime: boolean): string => {
  if (type === "counter") return ending(name, "_total")
  return isTime ? ending(name.replace(/_(?:ms|millis|milliseconds)$/, ""), "_seconds") : name
}

const ending = (name: string, suffix: string): string => (name.endsWith(suffix) ? name : `${name}${suffix}`)

// Effect sorts them before it counts.
const boundsOf = (values: ReadonlyArray<number>, divisor: number): ReadonlyArray<number> | undefined => {
  const bounds = [...values]
    .sort((a, b) => a - b)
    .filter((bound) => bound !== Number.POSITIVE_INFINITY)
    .map((bound) => bound / divisor)
  return bounds.every((bound, at) => bound > (bounds[at - 1] ?? Number.NEGATIVE_INFINITY)) ? bounds : undefined
}

// Effect describes none of its own.
const fiberHelp: { readonly [name: string]: string | undefined } = Object.assign(Object.create(null), {
  effect_fiber_started: "Fibers that were started.",
  effect_fiber_active: "Fibers that have started and have not ended.",
  effect_fiber_successes: "Fibers that ended in success.",
  effect_fiber_failures: "Fibers that ended in failure, of interruption or of a defect.",
  effect_fiber_lifetimes: "Time from the start of a fiber to its end, in seconds."
})
