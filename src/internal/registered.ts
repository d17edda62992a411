/** Metrics on a registry, made where they are not there yet, with whichever client the application has. */
import { cap } from "./cap.js"
import type { Family } from "./family.js"
import { ClashError, checkExisting, checkFamily, markLimited } from "./family.js"
import { conflictWith, kindOf } from "./nameConflicts.js"
import type { SettableGauge } from "./scrapeValue.js"
import type { OwnMetric, OwnMetricName, Usable } from "./selfMetrics.js"
import { ownMetrics } from "./selfMetrics.js"
import { beginAtZero, combinations } from "./zeros.js"

/** The classes of a client. */
export interface Classes {
  readonly Counter: Class
  readonly Gauge: Class
  readonly Histogram: Class
  readonly Summary: Class
}

type Class = new (configuration: object) => object

/** What is asked of a registry here. */
export interface Registering {
  registerMetric(metric: never): void
  getSingleMetric(name: string): unknown
}

/** Is called by a gauge, on itself, whenever it is read. */
export type Collect = (this: SettableGauge) => void | Promise<void>

/** The metric of that shape, made if there is none by its name. `warn` is told of the first series too many. */
export const familyOn = (
  classes: Classes,
  registry: Registering,
  family: Family,
  warn: (message: string) => unknown
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
  checkNames(registry, family)
  const made = newMetric(classes, family)
  if (Number.isFinite(maxSeries)) {
    markLimited(made, maxSeries)
    const overflowed = overflowing(classes, registry, family, warn)
    if (labelNames.length > 0) cap(made, labelNames, maxSeries, overflowed)
  }
  beginAtZero(made, zeros, true)
  registry.registerMetric(made as never)
  return made
}

/** Throws a `ClashError` that names the metric on the registry with samples of the same name. */
export const checkNames = (registry: Registering, { name, type }: Pick<Family, "name" | "type">): void => {
  const typeOf = (other: string): unknown => typeOn(registry, other)
  const conflict = conflictWith({ name, type }, typeOf)
  if (conflict === undefined) return
  const { owner, sample } = conflict
  throw new ClashError(
    `the sample name ${sample} of the ${type} ${name} belongs to the ${kindOf(typeOf(owner))} ${owner} already; ` +
      "choose another name"
  )
}

// A registry that keeps its metrics in an object has what every object has as well.
const typeOn = (registry: Registering, name: string): unknown => {
  const metric = registry.getSingleMetric(name)
  return typeof metric === "object" && metric !== null ? ((metric as { type?: unknown }).type ?? "unknown") : undefined
}

/** A metric that is on no registry yet. */
export const newMetric = (classes: Classes, family: Family, collect?: Collect): object => {
  const {
    ageBuckets = 5,
    buckets,
    enableExemplars = false,
    help,
    labelNames,
    maxAgeSeconds,
    name,
    percentiles
  } = family
  // The client keeps the lists, and freezes one of them.
  const configuration = { name, help, labelNames: [...labelNames], registers: [] }
  return {
    counter: () => new classes.Counter({ ...configuration, enableExemplars }),
    gauge: () => new classes.Gauge({ ...configuration, ...(collect && { collect }) }),
    histogram: () =>
      new classes.Histogram({ ...configuration, enableExemplars, ...(buckets && { buckets: [...buckets] }) }),
    summary: () =>
      new classes.Summary({
        ...configuration,
        ...(percentiles && { percentiles: [...percentiles] }),
        ...(maxAgeSeconds !== undefined && { maxAgeSeconds, ageBuckets })
      })
  }[family.type]()
}

/** A metric of the library's own, whatever there is by its name, or else made with all its series at 0. */
export const ownMetricOn = (classes: Classes, registry: Registering, key: OwnMetricName): Usable => {
  const { buckets, help, label, name, type, value, values }: OwnMetric = ownMetrics[key]
  const existing = registry.getSingleMetric(name)
  if (existing !== undefined) return existing as Usable
  const labelNames = label === undefined ? [] : [label]
  const series = label !== undefined && values !== undefined ? { [label]: values } : undefined
  const family: Family = { type, name, help, labelNames, buckets, series }
  const collect: Collect | undefined =
    value &&
    function () {
      this.set({}, value(registry))
    }
  const made = newMetric(classes, family, collect)
  beginAtZero(made, combinations(family), true)
  registry.registerMetric(made as never)
  return made as Usable
}

// Counts, from 0 on, each recording for which there is no room, and tells of the first one.
const overflowing = (
  classes: Classes,
  registry: Registering,
  { maxSeries, name: metric }: Family,
  warn: (message: string) => unknown
): (() => void) => {
  const onCounter = (act: (counter: Usable) => void): void => {
    try {
      act(ownMetricOn(classes, registry, "overflows"))
    } catch {
      // Something else has its name. The log still tells.
    }
  }
  onCounter((counter) => beginAtZero(counter, [{ metric }], false))
  // Not kept longer than it is needed, for it may know of a whole application.
  let tell: typeof warn | undefined = warn
  return () => {
    onCounter((counter) => counter.inc({ metric }))
    const first = tell
    tell = undefined
    first?.(
      `metric ${metric} has ${maxSeries} series, which is all that it may have: what has other labels is recorded on ` +
        "one more series, whose labels are overflow. Each such recording is counted in " +
        "effect_prometheus_series_overflow_total, and this is logged once per metric"
    )
  }
}
