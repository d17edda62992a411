/** The metrics in Effect's registry, which is a `Map` in context. The default one is global in the process. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { EffectMetric, EffectRegistry, Entry, State } from "../../effect/metrics/model.js"

const kinds: ReadonlyMap<unknown, EffectMetric["kind"]> = new Map([
  ["Counter", "counter"],
  ["Frequency", "frequency"],
  ["Gauge", "gauge"],
  ["Histogram", "histogram"],
  ["Summary", "summary"]
])

/** The values of a metric are read in the context of the layer: those of a summary depend on the clock. */
const metricOf =
  (context: Context.Context<never>) =>
  ([, value]: Entry): EffectMetric => {
    const { attributes, description, hooks, id, type } = value as Metric.Metric.Metadata<unknown, State>
    const kind = kinds.get(type)
    const hook = { get: () => hooks.get(context) }
    const isCounter = kind === "counter"
    return {
      name: id,
      kind,
      tags: Object.entries(attributes ?? {}).map(([key, value]) => ({ key, value })),
      description,
      // Only the state shows these.
      isIncremental: isCounter && (hook.get() as Metric.CounterState<number>).incremental,
      boundaries: kind === "histogram" ? (hook.get().buckets ?? []).map(([bound]) => bound) : [],
      trouble: undefined,
      hook
    }
  }

/** The registry of the fiber that runs this. */
export const effectRegistry: Effect.Effect<EffectRegistry> = Effect.map(
  Effect.context<never>(),
  (context): EffectRegistry => {
    const map = Context.get(context, Metric.MetricRegistry)
    const content = () => ({ entries: map, size: map.size })
    return { identity: map, canShrink: true, content, metricOf: metricOf(context) }
  }
)
