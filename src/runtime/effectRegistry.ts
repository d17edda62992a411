/**
 * The metrics in Effect's registry, which is global in the process. Metrics are never removed from it. The public
 * `snapshot()` also reads the values of all metrics, which takes long.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22: the property `map` of the registry. If the
 * registry has no such map, `snapshot()` is used. And `get` of a summary's hook reads the `maxAge` of its key at each call.
 * If that changes, summaries are read as they are, and one with a NaN blocks the process.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as MetricHook from "effect/MetricHook"
import type * as MetricKey from "effect/MetricKey"
import * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricState from "effect/MetricState"
import * as MutableHashMap from "effect/MutableHashMap"
import * as Option from "effect/Option"
import type { Content, EffectMetric, EffectRegistry, Entry, Hook } from "../effect/metrics/model.js"

type Key = MetricKey.MetricKey.Untyped

type AnyHook = Pick<MetricHook.MetricHook.Root, "get">

const content = (): Content => {
  const registry = Metric.globalMetricRegistry
  const { map } = registry as { readonly map?: unknown }
  if (isMap(map)) return { entries: map, size: MutableHashMap.size(map) }
  const entries = registry.snapshot().map(({ metricKey }) => [metricKey, registry.get(metricKey)] as const)
  return { entries, size: entries.length }
}

const isMap = (map: unknown): map is MutableHashMap.MutableHashMap<unknown, unknown> =>
  typeof map === "object" && map !== null && Symbol.iterator in map && "buckets" in map && "bucketsSize" in map

const metricOf = (entry: Entry): EffectMetric => {
  const [key, hook] = entry as readonly [Key, AnyHook]
  const { keyType, name, tags } = key
  return {
    name,
    kind: kindOf(keyType),
    tags,
    description: Option.getOrUndefined(key.description),
    isIncremental: MetricKeyType.isCounterKey(keyType) && keyType.incremental,
    boundaries: MetricKeyType.isHistogramKey(keyType) ? keyType.boundaries.values : [],
    // With a `maxSize` below 1, Effect searches for the previous slot for ever.
    trouble:
      MetricKeyType.isSummaryKey(keyType) && !(keyType.maxSize >= 1)
        ? `its maxSize must be at least 1, not ${keyType.maxSize}`
        : undefined,
    hook: MetricKeyType.isSummaryKey(keyType) ? summary(hook, keyType.maxAge) : (hook as Hook)
  }
}

const kindOf = (type: unknown): EffectMetric["kind"] => {
  if (MetricKeyType.isCounterKey(type)) return "counter"
  if (MetricKeyType.isFrequencyKey(type)) return "frequency"
  if (MetricKeyType.isGaugeKey(type)) return "gauge"
  if (MetricKeyType.isHistogramKey(type)) return "histogram"
  return MetricKeyType.isSummaryKey(type) ? "summary" : undefined
}

/** Effect reads it at each reading of the summary: older observations do not count for the quantiles. */
interface Age {
  value: unknown
}

const none = { _tag: "Millis", millis: -1 }

/**
 * If there is a NaN among the values that Effect sorts for the quantiles, Effect never finishes. After the first NaN, the
 * sum is NaN and the quantiles have no value. The sum is read first, with an age limit that excludes all observations from
 * sorting.
 */
const summary = (hook: AnyHook, maxAge: object): Hook => {
  const age = maxAge as Age
  const read = () => hook.get() as MetricState.MetricState.Summary
  const readUnsorted = () => {
    const { value } = age
    age.value = none
    try {
      return read()
    } finally {
      age.value = value
    }
  }
  const get = () => {
    const unsorted = readUnsorted()
    // A sum that is not a number may hide a NaN.
    const canBeSorted = typeof unsorted.sum === "number" && !Number.isNaN(unsorted.sum)
    const { count, quantiles, sum } = canBeSorted ? read() : unsorted
    return { count, sum, quantiles: quantiles.map(([at, value]) => [at, Option.getOrUndefined(value)] as const) }
  }
  return { get }
}

const global: EffectRegistry = { identity: Metric.globalMetricRegistry, canShrink: false, content, metricOf }

/** The registry of the fiber that runs this. */
export const effectRegistry: Effect.Effect<EffectRegistry> = Effect.succeed(global)
