/**
 * Records metrics of the process and of Node.js: CPU time, memory, file descriptors, the heap, garbage collections, and
 * the event loop lag.
 *
 * They have the names, types and labels of prom-client's `collectDefaultMetrics`, so existing dashboards work. They are
 * removed when their scope closes. `layer` lists where the values differ.
 *
 * @example
 * import { DefaultMetrics, MetricsServer } from "effect-prometheus"
 * import { Layer } from "effect"
 *
 * export const Metrics = Layer.merge(MetricsServer.layer({ port: 9464 }), DefaultMetrics.layer())
 *
 * @since 0.1.0
 * @module
 */

import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { scopedDiscard } from "./compat/layer.js"
import { Registry } from "./compat/registry.js"
import { closeDefaultMetrics, openDefaultMetrics } from "./core/process/collection.js"
import { type Options, readProcessOptions } from "./core/process/options.js"
import { messageOf } from "./core/util/text.js"
import { type ConfigError, type FromConfig, unwrapped } from "./effect/config.js"
import { TaggedError } from "./effect/taggedError.js"

export type { Options } from "./core/process/options.js"

/**
 * The metrics could not be registered. `message` names the option or the metric.
 *
 * `reason` is `"InvalidOptions"`, or `"Registry"` if the registry rejected a metric or cannot remove metrics.
 *
 * @since 0.1.0
 * @category errors
 */
export class DefaultMetricsError extends TaggedError("DefaultMetricsError")<{
  readonly reason: "InvalidOptions" | "Registry"
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * Registers the metrics of the process and of Node.js on the registry in context until the scope closes. See `layer`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<void, DefaultMetricsError, Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const checked = yield* attempt("InvalidOptions", () => readProcessOptions(options))
    const opened = yield* Effect.acquireRelease(
      attempt("Registry", () => openDefaultMetrics(registry, checked)),
      ({ collection }) => Effect.sync(() => closeDefaultMetrics(registry, collection))
    )
    if (opened.differs) {
      yield* Effect.logWarning(
        "the process metrics are already on this registry with other options; these options are ignored"
      )
    }
  })

/**
 * Registers the metrics of the process and of Node.js on the registry in context. Times are in seconds, sizes in bytes.
 *
 * A second layer for the same registry and prefix, also one that is built anew, shares the metrics of the first. They are
 * removed with the last of these layers. If its options differ, a warning says that the options of the first layer apply.
 *
 * If the registry already has a metric of one of these names, as after `collectDefaultMetrics`, that metric stays, and
 * this layer never removes it. `collectDefaultMetrics` throws after this layer, as it does after a first call of itself.
 * When the scope closes, the metrics are removed from the registry, except where other code has replaced them, and all
 * measurement stops. After `registry.clear()` the metrics do not return by themselves; the next layer registers them
 * again.
 *
 * Values that differ from those of prom-client:
 *
 * - Counters of CPU time count from the start of the process, not from the first scrape. The three counters of one scrape
 *   are consistent with each other. Each metric is read separately, so a scrape of some of them (`name[]=`) gets no old
 *   values.
 * - `nodejs_eventloop_lag_seconds` is the lag at this scrape, not at the previous one.
 * - `nodejs_eventloop_lag_*_seconds` cover the last one to two minutes, for every scraper. prom-client resets its values
 *   at each scrape, so each of two Prometheus servers sees only a part. The time between two measurements is not
 *   included: an idle process has a lag of about 0, not of 10 ms. They are left out until the first measurement.
 * - `nodejs_gc_duration_seconds` includes every collection; prom-client leaves out collections that are reported
 *   together. Each kind exists at 0 from the start.
 * - `process_max_fds` follows the limit, and is `+Inf` if the limit is unlimited.
 * - `nodejs_eventloop_active_seconds_total` is new: `rate(…[1m])` of it is the utilization of the event loop, 0 to 1.
 *   (`nodejs_eventloop_utilization_*` of `@prometheus-io/client` are not included, because they need ten samples per
 *   second.)
 * - `nodejs_heap_size_limit_bytes` is new: the V8 heap size limit in bytes, from `--max-old-space-size` or from V8
 *   itself.
 * - `nodejs_heap_old_generation_limit_bytes` is new: the part of that limit which ends the process when it is used up. The
 *   rest is room for new objects. It is exact for V8's own limit, `--max-old-space-size`, `--max-old-space-size-percentage`,
 *   both also in `NODE_OPTIONS`, and the resource limits of a worker thread. With `--max-heap-size` alone it is up to a
 *   tenth too high until the process has created some garbage. Compare it with `nodejs_heap_space_size_used_bytes` of the
 *   spaces other than `new`, `new_large_object` and `read_only`.
 * - `process_memory_limit_bytes` is new: the memory limit of the process's control group, as of a container, or the memory
 *   of the machine if that is less. Limits of parent groups are not included. Compare it with
 *   `process_resident_memory_bytes`.
 *
 * Values that the system does not provide are left out. Without `/proc`, these are all memory values except the resident
 * memory, and the file descriptors. In a worker thread, the metrics of the process cover the whole process, and those of
 * Node.js cover the thread.
 *
 * Fails with a `DefaultMetricsError` if an option is unknown or invalid, or if the registry rejects a metric. In that
 * case no metric stays on the registry.
 *
 * @example
 * import { DefaultMetrics } from "effect-prometheus"
 *
 * export const Process = DefaultMetrics.layer({ prefix: "checkout_", labels: { zone: "a" } })
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, DefaultMetricsError> => scopedDiscard(make(options))

/**
 * Registers the same metrics as `layer`, with options read from configuration.
 *
 * @example
 * import { DefaultMetrics } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const Process = DefaultMetrics.layerConfig({
 *   prefix: Config.withDefault(Config.string("METRICS_PREFIX"), "")
 * })
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: FromConfig<Options>): Layer.Layer<never, ConfigError | DefaultMetricsError> =>
  scopedDiscard(Effect.flatMap(unwrapped(options), make))

const attempt = <A>(reason: DefaultMetricsError["reason"], body: () => A): Effect.Effect<A, DefaultMetricsError> =>
  Effect.try({
    try: body,
    catch: (cause) => new DefaultMetricsError({ reason, message: messageOf(cause), cause })
  })
