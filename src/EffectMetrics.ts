/**
 * Effect's own metrics, those of `effect/Metric` and of its fibers, in the expositions of the registry in context.
 *
 * They are read at the scrape, from the one registry that Effect has for the whole process; nothing is copied, and nothing
 * on the registry in context is changed. They come after the metrics that are there:
 *
 * - a counter that is `incremental`, as a counter whose name ends in `_total`; any other can go down and is a gauge;
 * - a gauge, as a gauge;
 * - a histogram, as a histogram; a timer in **seconds**, under a name that ends in `_seconds` (in the place of `_ms`,
 *   `_millis` or `_milliseconds`), without the tag `time_unit`;
 * - a summary, as a summary; a quantile is `NaN` as long as nothing was observed, and from the first `NaN` on that was,
 *   for Effect itself never comes to the end of reading one then;
 * - a frequency, as a counter with the label `key`, which is what occurred.
 *
 * A bigint is exposed as the nearest number that Prometheus has, a 64-bit float. A value that is not a number, and whatever
 * else a format forbids (see `Exposition`), is left out and logged once.
 *
 * Characters that a name cannot have become `_`, in names and in tags. A name that begins with a digit or an underscore,
 * which is not valid in both formats, gets `metric_` before it, a tag `tag_`; so does a tag `le` of a histogram, `quantile`
 * of a summary and `key` of a frequency. The values of tags that become the same label are joined by `;`, in the order of
 * their names.
 *
 * Metrics that become the same family are exposed as one. Where even the labels are the same (Effect keeps metrics apart
 * that were made twice, or whose tags are in another order), the values of counters, frequencies and histograms are added up.
 * Whatever cannot stand beside what is there already is left out: a metric whose name is that of one on the registry, of
 * one that this library adds to an exposition, or of a metric of Effect that is of another kind; a gauge or a summary
 * that is there twice; a histogram with the labels of one with other bounds. Each is logged once as a warning, and
 * `effect_prometheus_metrics_left_out` is how many there are.
 *
 * @example
 * import { EffectMetrics, MetricsServer } from "effect-prometheus"
 * import { Layer } from "effect"
 *
 * export const Metrics = Layer.merge(MetricsServer.layer({ port: 9464 }), EffectMetrics.layer())
 *
 * @since 0.1.0
 * @module
 */
import type * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as RuntimeFlagsPatch from "effect/RuntimeFlagsPatch"
import type * as Scope from "effect/Scope"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import type { EffectOptions, EffectSettings } from "./internal/effectOptions.js"
import { checkedEffectOptions } from "./internal/effectOptions.js"
import { openEffectSource } from "./internal/effectSource.js"
import { messageOf } from "./internal/message.js"
import { Registry } from "./Registry.js"

/**
 * Which of Effect's metrics are exposed, and how.
 *
 * @since 0.1.0
 * @category models
 */
export type Options = EffectOptions

/**
 * An option is unknown, or its value cannot be right. `message` names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class EffectMetricsError extends Data.TaggedError("EffectMetricsError")<{
  readonly reason: "InvalidOptions"
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * Has Effect's metrics in the expositions of the registry in context until the scope closes.
 *
 * To do so twice exposes them once, until the last of the scopes closes: a metric is there that either wants. With another
 * `prefix` they are there under those names as well.
 *
 * It fails with an `EffectMetricsError` where an option is unknown, or its value cannot be right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<void, EffectMetricsError, Scope.Scope> =>
  Effect.flatMap(settingsOf(options), ({ fibers, prefix, wanted }) =>
    Effect.flatMap(Registry, (registry) =>
      Effect.zipRight(
        fibers === undefined ? Effect.void : Effect.withRuntimeFlagsPatchScoped(switched[fibers ? "on" : "off"]),
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => openEffectSource(registry, prefix, wanted)),
            (close) => Effect.sync(close)
          )
        )
      )
    )
  )

/**
 * The same as a layer. Provide `Registry.layer` to it for another registry than prom-client's global one: the one that is
 * served.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, EffectMetricsError> =>
  Layer.scopedDiscard(make(options))

/**
 * The same, its options read from configuration.
 *
 * @example
 * import { EffectMetrics } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const Metrics = EffectMetrics.layerConfig({
 *   prefix: Config.withDefault(Config.string("METRICS_PREFIX"), ""),
 *   exclude: Config.withDefault(Config.array(Config.string(), "METRICS_EXCLUDE"), ["effect_fiber_*"])
 * })
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: FromConfig<Options>
): Layer.Layer<never, ConfigError.ConfigError | EffectMetricsError> =>
  Layer.scopedDiscard(Effect.flatMap(unwrapped(options), make))

const settingsOf = (options: Options): Effect.Effect<EffectSettings, EffectMetricsError> =>
  Effect.try({
    try: () => checkedEffectOptions(options),
    catch: (cause) => new EffectMetricsError({ reason: "InvalidOptions", message: messageOf(cause), cause })
  })

const switched = {
  on: RuntimeFlagsPatch.enable(RuntimeFlags.RuntimeMetrics),
  off: RuntimeFlagsPatch.disable(RuntimeFlags.RuntimeMetrics)
}
