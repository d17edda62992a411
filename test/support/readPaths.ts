/** The paths by which an exposition reads its metrics. All must give the same bytes. */
import * as PromClient from "prom-client"
import type { MetricRegistry } from "../../src/Registry.js"
import { isNewer } from "./metrics.js"

interface Metric {
  readonly name: string
  readonly help: string
  readonly type: unknown
  readonly collect?: unknown
  readonly get: () => Promise<unknown>
  readonly getForPromString?: () => Promise<unknown>
}

/** The methods that a metric shows: `get` alone, also `getForPromString`, or also its bounds. */
type ReadMethods = "get" | "getForPromString" | "whole"

// Its own object, of which nothing is kept yet, with methods of its own, for which there is no shortcut.
const asked = (metric: Metric, face: ReadMethods): Metric => ({
  get name() {
    return metric.name
  },
  get help() {
    return metric.help
  },
  get type() {
    return metric.type
  },
  get: () => metric.get(),
  ...("labelNames" in metric ? { labelNames: [] } : {}),
  ...(face === "whole" && "upperBounds" in metric
    ? {
        get upperBounds() {
          return metric.upperBounds
        }
      }
    : {}),
  ...(face === "get" || metric.getForPromString === undefined
    ? {}
    : { getForPromString: async () => metric.getForPromString?.() })
})

/**
 * The registry, whose metrics can only be asked for their series. The first exposition of it builds every line; what is
 * kept for the next ones goes with this registry, and belongs to no other.
 */
export const withoutDirectRead = (registry: MetricRegistry, face: ReadMethods = "get"): MetricRegistry => {
  const views = new WeakMap<object, Metric>()
  const view = (metric: object): Metric => {
    const known = views.get(metric) ?? asked(metric as Metric, face)
    views.set(metric, known)
    return known
  }
  const own: MetricRegistry & { readonly _defaultLabels: unknown } = {
    getMetricsAsArray: () => registry.getMetricsAsArray().map(view),
    getSingleMetric: (name) => {
      const metric = registry.getSingleMetric(name)
      return typeof metric === "object" && metric !== null ? view(metric) : undefined
    },
    registerMetric: (metric) => registry.registerMetric(metric),
    get _defaultLabels() {
      return (registry as typeof own)._defaultLabels
    }
  }
  return own
}

/** How an exposition reads its metrics, once the shortcut is known and something is kept. */
export interface ReadPath {
  readonly name: string
  readonly isShortcut: boolean
  readonly of: (registry: MetricRegistry) => MetricRegistry
}

export const readPaths: ReadonlyArray<ReadPath> = [
  // No shortcut leads to the series of the newer client, so that its own metrics are asked as well.
  isNewer(PromClient)
    ? { name: "as they are", isShortcut: false, of: (registry) => registry }
    : { name: "by the shortcut", isShortcut: true, of: (registry) => registry },
  { name: "by what its metrics answer", isShortcut: false, of: (registry) => withoutDirectRead(registry, "whole") }
]

/** Whether reading a registry several times has no side effects. */
export const hasNoCollect = (registry: MetricRegistry): boolean =>
  (registry.getMetricsAsArray() as ReadonlyArray<Metric>).every(({ collect }) => collect === undefined)

/** Counts the reads of a metric from now on: only `get` reads its aggregator. */
export const countingReads = (metric: object): (() => number) => {
  const { aggregator } = metric as { readonly aggregator?: unknown }
  let reads = 0
  const get = (): unknown => {
    reads += 1
    return aggregator
  }
  Object.defineProperty(metric, "aggregator", { get, configurable: true })
  return () => reads
}
