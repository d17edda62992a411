/**
 * The metrics of the process and of Node.js, as a Layer: CPU time, memory, file descriptors, the heap, garbage
 * collections, how late the event loop is.
 *
 * They have the names, types and labels of those of prom-client's `collectDefaultMetrics`, so that every dashboard made
 * for these fits, and are gone with their scope. See `layer` for where their numbers are other ones.
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
import type * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import { closeDefaultMetrics, openDefaultMetrics } from "./internal/defaultMetrics.js"
import type { Options } from "./internal/defaultMetricsOptions.js"
import { checkedOptions } from "./internal/defaultMetricsOptions.js"
import { messageOf } from "./internal/message.js"
import { client, Registry } from "./Registry.js"

export type { Options } from "./internal/defaultMetricsOptions.js"

/**
 * The metrics could not be put on the registry. `message` names the option or the metric to look at.
 *
 * `reason` is `"InvalidOptions"`, or `"Registry"` if the registry refused a metric, or is one from which none can be taken
 * away.
 *
 * @since 0.1.0
 * @category errors
 */
export class DefaultMetricsError extends Data.TaggedError("DefaultMetricsError")<{
  readonly reason: "InvalidOptions" | "Registry"
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * Puts the metrics of the process on the registry in context, until the scope closes: see `layer`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<void, DefaultMetricsError, Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const checked = yield* attempt("InvalidOptions", () => checkedOptions(options))
    const opened = yield* Effect.acquireRelease(
      attempt("Registry", () => openDefaultMetrics(client, registry, checked)),
      ({ collection }) => Effect.sync(() => closeDefaultMetrics(registry, collection))
    )
    if (opened.differs) {
      yield* Effect.logWarning(
        "the metrics of the process are on this registry already, with other options: those hold, these do not"
      )
    }
  })

/**
 * The metrics of the process and of Node.js on the registry in context.
 *
 * A second layer of the same registry and prefix shares them, also one that is built anew; they are gone with the last of
 * them. With other options than the first it says in a warning that those of the first hold. A metric that somebody else
 * has on the registry by one of the names, as after `collectDefaultMetrics`, stays, and stays theirs;
 * `collectDefaultMetrics` after this layer throws, as it does after itself. When the scope closes, the metrics are taken
 * off the registry, unless somebody has put others in their place, and nothing goes on measuring. After
 * `registry.clear()` they do not come back by themselves, but do with the next layer.
 *
 * Where the numbers are other ones than prom-client's:
 *
 * - Counters of CPU time count from the start of the process, not from the first scrape, and the three of a scrape fit
 *   each other. Every metric is read for itself, so a scrape of some of them (`name[]=`) gets no old numbers.
 * - `nodejs_eventloop_lag_seconds` is how late the loop is at this scrape, not at the one before.
 * - `nodejs_eventloop_lag_*_seconds` are of the last one to two minutes, whoever asks: prom-client's are reset by each
 *   scrape, so two Prometheus servers take them from each other. The time between two measurements is no part of them: an
 *   idle process is late by about 0, not by 10 ms. They are left out until there was a measurement.
 * - `nodejs_gc_duration_seconds` has every collection, where prom-client's leaves out those that are told together, and
 *   is there at 0 for each kind from the start.
 * - `process_max_fds` follows the limit, and is `+Inf` where there is none.
 * - `nodejs_eventloop_active_seconds_total` is new: `rate(…[1m])` of it is the utilization of the event loop, 0 to 1.
 *   (The `nodejs_eventloop_utilization_*` of `@prometheus-io/client` are not here: it takes ten samples a second for them.)
 * - `nodejs_heap_size_limit_bytes` is new: what V8's heap may have at most, as `--max-old-space-size` says or V8 itself.
 *
 * What the system does not tell is left out: without `/proc` that is the memory but for the resident one, and the file
 * descriptors. In a worker thread, those of the process are the whole process', those of Node.js the thread's.
 *
 * It fails with a `DefaultMetricsError` if an option is unknown or cannot be right, or if the registry refuses a metric;
 * nothing is left on it then.
 *
 * @example
 * import { DefaultMetrics } from "effect-prometheus"
 *
 * export const Process = DefaultMetrics.layer({ prefix: "checkout_", labels: { zone: "a" } })
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, DefaultMetricsError> =>
  Layer.scopedDiscard(make(options))

/**
 * The same, its options read from configuration.
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
export const layerConfig = (
  options: FromConfig<Options>
): Layer.Layer<never, ConfigError.ConfigError | DefaultMetricsError> =>
  Layer.scopedDiscard(Effect.flatMap(unwrapped(options), make))

const attempt = <A>(reason: DefaultMetricsError["reason"], body: () => A): Effect.Effect<A, DefaultMetricsError> =>
  Effect.try({
    try: body,
    catch: (cause) => new DefaultMetricsError({ reason, message: messageOf(cause), cause })
  })
