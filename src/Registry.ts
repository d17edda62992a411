/**
 * Provides the registry that is exposed, and creates metrics on it or returns existing ones. The library's own metrics
 * are on the same registry.
 *
 * The default registry is prom-client's global `register`. An application that never names a registry does not need this
 * module. Only this module imports `prom-client`. To use the newer client instead, an application sets
 * `"prom-client": "npm:@prometheus-io/client@…"` in its dependencies.
 *
 * @example
 * import { Metrics, Registry } from "effect-prometheus"
 * import { Effect } from "effect"
 *
 * export const program = Effect.gen(function* () {
 *   const failures = yield* Registry.counter({
 *     name: "job_failures_total",
 *     help: "Jobs that failed, by queue.",
 *     labelNames: ["queue"],
 *     series: { queue: ["mail", "print"] }
 *   })
 *   yield* Effect.fail("no paper").pipe(Metrics.countExceptions(failures, { labels: { queue: "print" } }))
 * })
 *
 * @since 0.1.0
 * @module
 */

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { DurationInput } from "./compat/duration.js"
import { Registry } from "./compat/registry.js"
import type { Registry as ClientRegistry, Counter, Gauge, Histogram, Summary } from "./core/client/clientTypes.js"
import { newMetric, newRegistry } from "./core/client/promClient.js"
import { commonOptions, declare, familyOf } from "./core/registry/declare.js"
import { checkSampleNames } from "./core/registry/getOrCreate.js"
import { ClashError, checkFamily, type Family, markReadAtScrape } from "./core/registry/metricDefinition.js"
import type {
  CounterOptions,
  GaugeOptions,
  HistogramOptions,
  MetricOptions,
  SummaryOptions
} from "./core/registry/metricOptions.js"
import type { MetricRegistry } from "./core/registry/metricRegistry.js"
import { checkNames, duration } from "./core/util/options.js"
import { loggable, messageOf, shown } from "./core/util/text.js"
import { currentFork, type Fork } from "./effect/bothMajors.js"
import { type ScrapeValue, ScrapeValues } from "./effect/gaugeEffect.js"
import { TaggedError } from "./effect/taggedError.js"

export { Registry } from "./compat/registry.js"
export type * from "./core/registry/metricOptions.js"
export type { MetricRegistry } from "./core/registry/metricRegistry.js"

/**
 * Provides `registry` instead of prom-client's global registry, to every layer and effect that gets this layer.
 *
 * @example
 * import { MetricsServer, Registry } from "effect-prometheus"
 * import { Layer } from "effect"
 * import * as Prometheus from "prom-client"
 *
 * const registry = new Prometheus.Registry()
 * export const Metrics = MetricsServer.layer({ port: 9464 }).pipe(Layer.provide(Registry.layer(registry)))
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (registry: MetricRegistry): Layer.Layer<Registry> => Layer.succeed(Registry, registry)

/**
 * Creates an empty registry of the application's client.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<ClientRegistry> = Effect.sync(newRegistry)

/**
 * Provides an empty registry, for tests: metrics of one test are not on the registry of another one.
 *
 * @example
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { Exposition, Registry } from "effect-prometheus"
 *
 * it.effect("counts the failed payments", () =>
 *   Effect.gen(function* () {
 *     const failures = yield* Registry.counter({ name: "payment_failures_total", help: "Payments that failed." })
 *     failures.inc()
 *     const { body } = yield* Exposition.render()
 *     // …
 *   }).pipe(Effect.provide(Registry.layerFresh))
 * )
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFresh: Layer.Layer<Registry> = Layer.effect(Registry, make)

/**
 * A metric could not be created. Nothing was registered.
 *
 * - `reason: "Clash"`: another metric has the name, or has samples of that name. The message says what differs, or names
 *   the other metric.
 * - `reason: "InvalidOptions"`: an option is unknown or invalid. The message names it.
 * - `reason: "Registry"`: the registry itself failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RegistryError extends TaggedError("RegistryError")<{
  readonly reason: "Clash" | "InvalidOptions" | "Registry"
  /** The requested name of the metric. */
  readonly metric: string
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * Options of a gauge whose value is read at the scrape.
 *
 * @since 0.1.0
 * @category models
 */
export interface GaugeEffectOptions<Names extends string, E, R>
  extends Omit<MetricOptions<Names>, "series" | "maxSeries"> {
  /**
   * An effect that returns the value. For a gauge with labels it returns the complete list of series. If two have the
   * same labels, the last one counts.
   */
  readonly value: Effect.Effect<GaugeValue<NoInfer<Names>>, E, R>
  /** The time limit of the effect. After that it is interrupted. Default: 1 second. */
  readonly timeout?: DurationInput | undefined
}

/**
 * The value of a gauge: a number, or a list of labelled numbers if the gauge has labels.
 *
 * @since 0.1.0
 * @category models
 */
export type GaugeValue<Names extends string> = [Names] extends [never]
  ? number
  : ReadonlyArray<{ readonly labels: { readonly [K in Names]: string | number }; readonly value: number }>

/**
 * Returns the counter of that name on the registry in context, or creates it. The counter stays on the registry when the
 * scope closes.
 *
 * Fails with a `RegistryError` if the registry has a different metric of that name: one of another type, with other label
 * names (their order does not matter), or one that differs in an option that is given. A counter of either client is
 * accepted. Also fails if another metric has samples of the same name. For example, a histogram `jobs` has the samples
 * `jobs_bucket`, `jobs_sum` and `jobs_count`, and reserves `jobs_created`. A summary has the same except `_bucket`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const counter = <const Names extends string = never>(
  options: CounterOptions<Names>
): Effect.Effect<Counter<Names>, RegistryError> =>
  declared("counter", options) as Effect.Effect<Counter<Names>, RegistryError>

/**
 * Returns the gauge of that name on the registry in context, or creates it, as `counter` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const gauge = <const Names extends string = never>(
  options: GaugeOptions<Names>
): Effect.Effect<Gauge<Names>, RegistryError> =>
  declared("gauge", options) as Effect.Effect<Gauge<Names>, RegistryError>

/**
 * Returns the histogram of that name on the registry in context, or creates it, as `counter` does. The label `le` is
 * reserved.
 *
 * @since 0.1.0
 * @category constructors
 */
export const histogram = <const Names extends string = never>(
  options: HistogramOptions<Names>
): Effect.Effect<Histogram<Names>, RegistryError> =>
  declared("histogram", options) as Effect.Effect<Histogram<Names>, RegistryError>

/**
 * Returns the summary of that name on the registry in context, or creates it, as `counter` does. The label `quantile` is
 * reserved.
 *
 * @since 0.1.0
 * @category constructors
 */
export const summary = <const Names extends string = never>(
  options: SummaryOptions<Names>
): Effect.Effect<Summary<Names>, RegistryError> =>
  declared("summary", options) as Effect.Effect<Summary<Names>, RegistryError>

/**
 * Registers a gauge whose value is an effect, on the registry in context. Each scrape runs the effect with the services
 * of this context; simultaneous scrapes share one run. When the scope closes, the gauge is removed from the registry and
 * a running effect is interrupted.
 *
 * If the effect fails, dies, or takes longer than `timeout`, the gauge has no value. It is then a metric that cannot be
 * read; see `onError` of the endpoint. If the effect does not end when it is interrupted, it is not run again until it
 * has ended. A value that is not a number is left out, which is logged once. A bigint becomes the nearest number. The
 * effect does not appear in the application's traces.
 *
 * Fails with a `RegistryError` if the registry has any metric of that name, or one with samples of that name.
 *
 * @example
 * import { Registry } from "effect-prometheus"
 * import { Layer, Queue, Effect } from "effect"
 *
 * export const waiting = (queue: Queue.Queue<string>) =>
 *   Layer.scopedDiscard(
 *     Registry.gaugeEffect({ name: "jobs_waiting", help: "Jobs in the queue.", value: Queue.size(queue) })
 *   )
 *
 * @since 0.1.0
 * @category constructors
 */
export const gaugeEffect = <const Names extends string = never, E = never, R = never>(
  options: GaugeEffectOptions<Names, E, R>
): Effect.Effect<void, RegistryError, R | Scope.Scope> =>
  Effect.flatMap(Effect.all([currentFork<R>(), Registry]), ([fork, registry]) =>
    Effect.acquireRelease(
      attempted(options, () => newGaugeEffect(registry, options, fork)),
      (remove) => remove
    )
  )

const declared = (type: Family["type"], options: MetricOptions<string>): Effect.Effect<object, RegistryError> =>
  Effect.flatMap(Effect.all([currentFork<never>(), Registry]), ([fork, registry]) =>
    attempted(options, () => {
      const warn = (message: string): unknown => fork(Effect.logWarning(message))
      return declare(registry, type, options, warn)
    })
  )

const attempted = <A>(options: unknown, attempt: () => A): Effect.Effect<A, RegistryError> =>
  Effect.try({ try: attempt, catch: (error) => registryError(options, error) })

const registryError = (options: unknown, thrown: unknown): RegistryError => {
  const cause = loggable(thrown)
  const name = (options as { readonly name?: unknown } | null | undefined)?.name
  const metric = typeof name === "string" ? name : shown(name)
  const isOption = cause instanceof RangeError
  const reason = cause instanceof ClashError ? "Clash" : isOption ? "InvalidOptions" : "Registry"
  const message = isOption ? `metric ${metric}: ${messageOf(cause)}` : messageOf(cause)
  return new RegistryError({ reason, metric, message, cause })
}

const newGaugeEffect = <Names extends string, E, R>(
  registry: MetricRegistry,
  options: GaugeEffectOptions<Names, E, R>,
  fork: Fork<R>
): Effect.Effect<void> => {
  checkNames({ ...commonOptions, value: true, timeout: true }, options)
  const { name, help, labelNames } = options
  const family = familyOf("gauge", { name, help, labelNames })
  checkFamily(family)
  if (!Effect.isEffect(options.value)) throw new RangeError(`value must be an effect, not ${shown(options.value)}`)
  const milliseconds = duration.check(options.timeout ?? "1 second", "timeout")
  if (registry.getSingleMetric(name) !== undefined) throw new ClashError(`the metric ${name} is already registered`)
  checkSampleNames(registry, family)
  const value = options.value as Effect.Effect<ScrapeValue, E, R>
  const values = new ScrapeValues(value, fork, family.labelNames.length > 0, milliseconds)
  const made = newMetric(family, function () {
    return values.read(this)
  })
  markReadAtScrape(made)
  registry.registerMetric(made as never)
  const remove = Effect.sync(() => {
    // Another metric may have replaced it.
    if (registry.getSingleMetric(name) === made) registry.removeSingleMetric?.(name)
  })
  return Effect.andThen(Effect.exit(remove), values.close)
}
