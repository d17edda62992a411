/** Gets metrics from a registry, and creates missing ones with the application's client. */
import { newMetric } from "../client/promClient.js"
import { beginAtZero } from "../client/recording.js"
import { limitSeries } from "../client/seriesLimit.js"
import { conflictWith, kindOf } from "../exposition/nameConflicts.js"
import { ClashError, checkExisting, checkFamily, combinations, type Family, markLimited } from "./metricDefinition.js"
import type { MetricRegistry } from "./metricRegistry.js"
import { selfMetric, type Usable } from "./selfMetrics.js"

type Registering = Pick<MetricRegistry, "registerMetric" | "getSingleMetric">

/**
 * `warn` is called once, for the first recording beyond `maxSeries`. Throws a `RangeError` for a wrong definition, a
 * `ClashError` if the registry has another metric with the name or with a sample name, and what the registry throws.
 */
export const getOrCreate = (
  registry: Registering,
  family: Family,
  warn: (message: string) => unknown = () => {}
): object => {
  checkFamily(family)
  const zeros = combinations(family)
  const { labelNames, maxSeries = Number.POSITIVE_INFINITY, name } = family
  const existing = registry.getSingleMetric(name)
  if (existing !== undefined) {
    checkExisting(existing, family)
    beginAtZero(existing as object, zeros, false)
    return existing as object
  }
  checkSampleNames(registry, family)
  const made = newMetric(family)
  if (Number.isFinite(maxSeries)) {
    markLimited(made, maxSeries)
    const overflowed = overflowing(registry, family, warn)
    if (labelNames.length > 0) limitSeries(made, labelNames, maxSeries, overflowed)
  }
  beginAtZero(made, zeros, true)
  registry.registerMetric(made as never)
  return made
}

/** Throws a `ClashError` that names the other metric. */
export const checkSampleNames = (registry: Registering, { name, type }: Pick<Family, "name" | "type">): void => {
  const typeOf = (other: string): unknown => typeOn(registry, other)
  const conflict = conflictWith({ name, type }, typeOf)
  if (conflict === undefined) return
  const { owner, sample } = conflict
  throw new ClashError(
    `the ${type} ${name} needs the sample name ${sample}, which the ${kindOf(typeOf(owner))} ${owner} already has; ` +
      "choose another name"
  )
}

// A registry that stores its metrics in an object also returns properties that every object has.
const typeOn = (registry: Registering, name: string): unknown => {
  const metric = registry.getSingleMetric(name)
  return typeof metric === "object" && metric !== null ? ((metric as { type?: unknown }).type ?? "unknown") : undefined
}

// Counts, starting from 0, each recording beyond the limit, and logs the first one.
const overflowing = (
  registry: Registering,
  { maxSeries, name: metric }: Family,
  warn: (message: string) => unknown
): (() => void) => {
  const onCounter = (act: (counter: Usable) => void): void => {
    try {
      act(selfMetric(registry, "overflows"))
    } catch {
      // Something else has the name of the counter. The log still has the warning.
    }
  }
  onCounter((counter) => beginAtZero(counter, [{ metric }], false))
  // Released after its use: the function may hold references to a whole application.
  let warnFirst: typeof warn | undefined = warn
  return () => {
    onCounter((counter) => counter.inc({ metric }))
    const first = warnFirst
    warnFirst = undefined
    first?.(
      `metric ${metric} has reached its limit of ${maxSeries} series (maxSeries). Recordings with other labels go to ` +
        'a series whose label values are "overflow", and are counted in effect_prometheus_series_overflow_total. ' +
        "This is logged once per metric"
    )
  }
}
