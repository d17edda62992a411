/** The ways in which an exposition comes about. All of them must lead to the same bytes. */
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

/** What is seen of a metric: `get` alone, the method that makes no copies of labels as well, or its bounds besides. */
type Face = "get" | "getForPromString" | "whole"

// Its own object, of which nothing is kept yet, with methods of its own, for which there is no shortcut.
const asked = (metric: Metric, face: Face): Metric => ({
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
export const askedOnly = (registry: MetricRegistry, face: Face = "get"): MetricRegistry => {
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
export interface Way {
  readonly name: string
  readonly isShortcut: boolean
  readonly of: (registry: MetricRegistry) => MetricRegistry
}

export const ways: ReadonlyArray<Way> = [
  // No shortcut leads to the series of the newer client, so that its own metrics are asked as well.
  isNewer(PromClient)
    ? { name: "as they are", isShortcut: false, of: (registry) => registry }
    : { name: "by the shortcut", isShortcut: true, of: (registry) => registry },
  { name: "by what its metrics answer", isShortcut: false, of: (registry) => askedOnly(registry, "whole") }
]

/** Whether nobody notices that a registry is read several times. */
export const isQuiet = (registry: MetricRegistry): boolean =>
  (registry.getMetricsAsArray() as ReadonlyArray<Metric>).every(({ collect }) => collect === undefined)

/** How often that metric was asked from now on: of what a client reads there, only `get` reads the aggregator. */
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
