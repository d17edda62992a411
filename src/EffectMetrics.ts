/**
 * Exposes Effect's own metrics, those of `effect/Metric` and of its fibers, with the registry in context.
 *
 * They are read at the scrape, from Effect's registry. Nothing is copied, and the
 * registry in context does not change. They come after the metrics of the registry:
 *
 * - A counter that is `incremental` becomes a counter whose name ends in `_total`. Any other counter can decrease, and
 *   becomes a gauge.
 * - A gauge becomes a gauge.
 * - A histogram becomes a histogram. A timer is in **seconds**; its name ends in `_seconds` (which replaces `_ms`,
 *   `_millis` or `_milliseconds`), and the tag `time_unit` is removed.
 * - A summary becomes a summary. A quantile is `NaN` before the first observation, and also after the first observation
 *   of `NaN`, because from then on Effect never finishes computing quantiles.
 * - A frequency becomes a counter with the label `key`, which holds what occurred.
 *
 * A bigint is exposed as the nearest 64-bit float, the number type of Prometheus. A value that is not a number, and
 * anything else that a format forbids (see `Exposition`), is left out and logged once.
 *
 * In names and in tags, each invalid character becomes `_`. A name that begins with a digit or an underscore is invalid in
 * at least one of the two formats: a metric name gets the prefix `metric_`, a tag `tag_`. The prefix `tag_` is also used for a tag `le`
 * of a histogram, `quantile` of a summary and `key` of a frequency. If several tags become the same label, their values
 * are joined by `;`, in the order of the tag names.
 *
 * Metrics that become the same family are exposed as one. Effect keeps metrics apart that were created twice or whose
 * tags are in a different order. If such metrics have the same labels, the values of counters, frequencies and histograms
 * are added up. A metric that conflicts with another one is left out: a metric that has the name of a metric on the
 * registry, of one that this library adds to an exposition, or of a metric of Effect of another kind; a gauge or a
 * summary that exists twice; a histogram with the labels of another one but different bounds. Each is logged once as a
 * warning, and `effect_prometheus_metrics_left_out` is their number.
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

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { scopedDiscard, unwrapEffect } from "./compat/layer.js"
import { messageOf } from "./core/util/text.js"
import { type ConfigError, type FromConfig, unwrapped } from "./effect/config.js"
import { type EffectOptions, type EffectSettings, readEffectOptions } from "./effect/metrics/options.js"
import { openEffectSource } from "./effect/metrics/source.js"
import { TaggedError } from "./effect/taggedError.js"
import { Registry } from "./Registry.js"
import { effectRegistry } from "./runtime/effectRegistry.js"
import { fibersLayer, switchFibers } from "./runtime/fiberMetrics.js"

/**
 * Options: which of Effect's metrics are exposed, and under which names.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends EffectOptions {}

/**
 * An option is unknown or invalid. `message` names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class EffectMetricsError extends TaggedError("EffectMetricsError")<{
  readonly reason: "InvalidOptions"
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * Exposes Effect's metrics with the registry in context until the scope closes.
 *
 * If this runs twice, each metric is exposed once, until the last of the scopes closes. A metric is exposed if the
 * options of either select it. With a different `prefix`, the metrics are exposed under those names as well.
 *
 * Fails with an `EffectMetricsError` if an option is unknown or invalid.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<void, EffectMetricsError, Scope.Scope> =>
  Effect.flatMap(settingsOf(options), (settings) => {
    const { fibers } = settings
    const switched = fibers === undefined ? Effect.void : switchFibers(fibers)
    return Effect.andThen(Effect.mapError(switched, invalidOptions), exposed(settings))
  })

const exposed = ({ prefix, wanted }: EffectSettings): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.all([Registry, effectRegistry]), ([registry, effects]) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => openEffectSource(registry, effects, prefix, wanted)),
        (close) => Effect.sync(close)
      )
    )
  )

/**
 * Exposes Effect's metrics, as `make` does, as a layer. To use a registry other than prom-client's global one, provide
 * `Registry.layer` to it, with the registry that is served.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, EffectMetricsError> =>
  unwrapEffect(
    Effect.map(settingsOf(options), (settings): Layer.Layer<never> => {
      const { fibers } = settings
      const exposing = scopedDiscard(exposed(settings))
      return fibers === undefined ? exposing : Layer.merge(exposing, fibersLayer(fibers))
    })
  )

/**
 * Exposes the same metrics as `layer`, with options read from configuration.
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
export const layerConfig = (options: FromConfig<Options>): Layer.Layer<never, ConfigError | EffectMetricsError> =>
  unwrapEffect(Effect.map(unwrapped(options), layer))

const settingsOf = (options: Options): Effect.Effect<EffectSettings, EffectMetricsError> =>
  Effect.try({ try: () => readEffectOptions(options), catch: invalidOptions })

const invalidOptions = (cause: unknown): EffectMetricsError =>
  new EffectMetricsError({ reason: "InvalidOptions", message: messageOf(cause), cause })
