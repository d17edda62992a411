/**
 * The metrics in Effect's registry. The public `snapshot()` also reads the values of all metrics, which takes long.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22: the property `map` of the registry. If the
 * registry has no such map, `snapshot()` is used.
 */
import * as Metric from "effect/Metric"
import type * as MetricKey from "effect/MetricKey"
import * as MutableHashMap from "effect/MutableHashMap"
import type { Hook } from "./families.js"

export type Key = MetricKey.MetricKey.Untyped

export const content = (): { readonly entries: Iterable<readonly [Key, Hook]>; readonly size: number } => {
  const registry = Metric.globalMetricRegistry
  const { map } = registry as { readonly map?: unknown }
  if (isMap(map)) return { entries: map, size: MutableHashMap.size(map) }
  const entries = registry.snapshot().map(({ metricKey }) => [metricKey, registry.get(metricKey)] as const)
  return { entries, size: entries.length }
}

const isMap = (map: unknown): map is MutableHashMap.MutableHashMap<Key, Hook> =>
  typeof map === "object" && map !== null && Symbol.iterator in map && "buckets" in map && "bucketsSize" in map
