/** A metric from the options of a caller, who may have misspelt one. */
import { checkNames, ownOptions } from "../util/options.js"
import { getOrCreate } from "./getOrCreate.js"
import type { Family } from "./metricDefinition.js"
import type { MetricRegistry } from "./metricRegistry.js"

/** The options that every metric has. */
export const commonOptions = { name: true, help: true, labelNames: true }

const ofSeries = { ...commonOptions, series: true, maxSeries: true }

const optionsOf = {
  counter: { ...ofSeries, enableExemplars: true },
  gauge: ofSeries,
  histogram: { ...ofSeries, buckets: true, enableExemplars: true },
  summary: { ...ofSeries, percentiles: true, maxAgeSeconds: true, ageBuckets: true }
}

type Declared = Omit<Family, "type" | "labelNames"> & { readonly labelNames?: Family["labelNames"] | undefined }

/** Returns the metric of that name, or creates it. Throws a `RangeError` for an unknown option, and as `getOrCreate`. */
export const declare = (
  registry: MetricRegistry,
  type: Family["type"],
  options: Declared,
  warn: (message: string) => unknown
): object => {
  checkNames(optionsOf[type], options)
  return getOrCreate(registry, familyOf(type, options), warn)
}

export const familyOf = (type: Family["type"], options: Declared): Family => {
  const { labelNames = [], ...own } = ownOptions(options)
  return { ...own, type, labelNames }
}
