/**
 * The registry whose metrics are exposed, and on which the library creates what it counts itself; and constructors that
 * give back the metric that is there already.
 *
 * By default that is prom-client's global `register`, so an application that never names a registry needs nothing of
 * this module. This is also the only module that imports `prom-client`: with
 * `"prom-client": "npm:@prometheus-io/client@…"` in its dependencies an application puts the newer client in its place.
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
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { Counter, Gauge, Histogram, register, Summary } from "prom-client"
import type { Family } from "./internal/family.js"
import { ClashError, checkFamily, markReadAtScrape } from "./internal/family.js"
import { knownGauges } from "./internal/gaugeChildren.js"
import { messageOf } from "./internal/message.js"
import { durationOption, knownOptions, shown } from "./internal/options.js"
import type { Classes } from "./internal/registered.js"
import { checkNames, familyOn, newMetric, ownMetricOn } from "./internal/registered.js"
import { readable } from "./internal/registeredMetrics.js"
import type { ScrapeValue } from "./internal/scrapeValue.js"
import { ScrapeValues } from "./internal/scrapeValue.js"
import type { OwnMetricName, Usable } from "./internal/selfMetrics.js"
import type { Operation } from "./internal/warnings.js"

/**
 * What is asked of a registry. A `Registry` of prom-client 15 and of `@prometheus-io/client` fits, whichever content
 * type it was made for.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricRegistry {
  /** The metrics themselves, in the order of the exposition; each has a `get()`. */
  getMetricsAsArray(): ReadonlyArray<{ readonly name: string; readonly help: string; readonly type: unknown }>
  /** Takes in what the library counts itself. */
  registerMetric(metric: never): void
  /** The metric of that name, if there is one. */
  getSingleMetric(name: string): unknown
  /** Takes the metric of that name off. Both clients can; on a registry that cannot, a metric stays when its scope closes. */
  removeSingleMetric?(name: string): void
}

/**
 * The registry in context. Its default is prom-client's global `register`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Registry extends Context.Reference<Registry>()("effect-prometheus/Registry", {
  defaultValue: (): MetricRegistry => register
}) {}

/**
 * Puts `registry` in the place of prom-client's global one, for every layer and effect that it is provided to.
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
 * The metric cannot be had: another one has its name, or has samples of the same name (`reason: "Clash"`; the message says
 * what differs, or which one), an option is
 * unknown or cannot be right (`"InvalidOptions"`; the message names it), or the registry itself failed (`"Registry"`).
 * Nothing was registered.
 *
 * @since 0.1.0
 * @category errors
 */
export class RegistryError extends Data.TaggedError("RegistryError")<{
  readonly reason: "Clash" | "InvalidOptions" | "Registry"
  /** The name that was asked for. */
  readonly metric: string
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * What every metric is made from.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricOptions<Names extends string> {
  /** Letters, digits, `_` and `:`; it begins with no digit. */
  readonly name: string
  /** What is measured, in which unit. It may differ from that of a metric that is there already, which keeps its own. */
  readonly help: string
  /** Default: none. Their order is of no matter. Those that begin with `__` are Prometheus' own. */
  readonly labelNames?: ReadonlyArray<Names> | undefined
  /**
   * The values of each label, where all of them are known: every combination of them is there from the start, at 0, and
   * again after `registry.resetMetrics()`. Other values can be recorded as well. There may be 1,000 combinations, or
   * `maxSeries` of them. Those of a summary that is there already are left as they are.
   */
  readonly series?: ClosedSet<NoInfer<Names>> | undefined
  /**
   * How many series there may be. What is recorded with further labels goes to one more series, whose labels all have the
   * value `overflow`, so that the sum over all series is right; but a `set` of a gauge is left out, for no sum comes of
   * it, and so is a `zero` of a histogram. Each such recording is counted in
   * `effect_prometheus_series_overflow_total{metric}`, and the first one of a metric is logged as a warning. `remove` and
   * `reset` make room again; `remove` of a gauge only once what `inc` has put on that one more series is taken back by
   * `dec`, so that each finds what the other did. Default: any number of series; a number is worth it wherever a label comes from outside.
   */
  readonly maxSeries?: number | undefined
}

/**
 * The values of each label. Where there are no labels, there is none.
 *
 * @since 0.1.0
 * @category models
 */
export type ClosedSet<Names extends string> = [Names] extends [never]
  ? never
  : { readonly [K in Names]: ReadonlyArray<string | number> }

/**
 * What a counter is made from.
 *
 * @since 0.1.0
 * @category models
 */
export interface CounterOptions<Names extends string> extends MetricOptions<Names> {
  /** Whether `inc` takes one object, which may have an exemplar. Such a counter can be on any registry. Default: no. */
  readonly enableExemplars?: boolean | undefined
}

/**
 * What a gauge is made from.
 *
 * @since 0.1.0
 * @category models
 */
export interface GaugeOptions<Names extends string> extends MetricOptions<Names> {}

/**
 * What a histogram is made from.
 *
 * @since 0.1.0
 * @category models
 */
export interface HistogramOptions<Names extends string> extends MetricOptions<Names> {
  /** The upper bounds, increasing; the infinite one is always there. Default: those of the client, 0.005 to 10. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Whether `observe` takes one object, which may have an exemplar. Such a histogram can be on any registry. Default: no. */
  readonly enableExemplars?: boolean | undefined
}

/**
 * What a summary is made from.
 *
 * @since 0.1.0
 * @category models
 */
export interface SummaryOptions<Names extends string> extends MetricOptions<Names> {
  /** The quantiles, from 0 to 1. Default: those of the client, 0.01 to 0.999. */
  readonly percentiles?: ReadonlyArray<number> | undefined
  /** For how many seconds an observation counts for the quantiles. Default: for ever. */
  readonly maxAgeSeconds?: number | undefined
  /** In how many steps observations grow old, with `maxAgeSeconds`. Default: 5. */
  readonly ageBuckets?: number | undefined
}

/**
 * What a gauge is made from whose value is read at the scrape.
 *
 * @since 0.1.0
 * @category models
 */
export interface GaugeEffectOptions<Names extends string, E, R>
  extends Omit<MetricOptions<Names>, "series" | "maxSeries"> {
  /** The value; of a gauge with labels the whole list of its series. Of two with the same labels the last one counts. */
  readonly value: Effect.Effect<GaugeValue<NoInfer<Names>>, E, R>
  /** How long the value may take. It is interrupted then. Default: 1 second. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The value of a gauge: a number, or with labels a list of them.
 *
 * @since 0.1.0
 * @category models
 */
export type GaugeValue<Names extends string> = [Names] extends [never]
  ? number
  : ReadonlyArray<{ readonly labels: { readonly [K in Names]: string | number }; readonly value: number }>

/**
 * The counter of that name on the registry in context, which is made if it is not there yet. It stays there: a scope does
 * not take it off.
 *
 * It fails with a `RegistryError` if there is another metric by that name: one of another type, with other label names
 * (in whichever order), or that is otherwise where something is asked for. A counter of either client will do. It also fails
 * if the samples of another metric have the same name: a histogram `jobs` has samples `jobs_bucket`, `jobs_sum` and
 * `jobs_count`, and reserves `jobs_created`; a summary the same but for `_bucket`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const counter = <const Names extends string = never>(
  options: CounterOptions<Names>
): Effect.Effect<Counter<Names>, RegistryError> =>
  declared("counter", options, { enableExemplars: true }) as Effect.Effect<Counter<Names>, RegistryError>

/**
 * The gauge of that name on the registry in context, as by `counter`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const gauge = <const Names extends string = never>(
  options: GaugeOptions<Names>
): Effect.Effect<Gauge<Names>, RegistryError> =>
  declared("gauge", options, {}) as Effect.Effect<Gauge<Names>, RegistryError>

/**
 * The histogram of that name on the registry in context, as by `counter`. Its label `le` is its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const histogram = <const Names extends string = never>(
  options: HistogramOptions<Names>
): Effect.Effect<Histogram<Names>, RegistryError> =>
  declared("histogram", options, { buckets: true, enableExemplars: true }) as Effect.Effect<
    Histogram<Names>,
    RegistryError
  >

/**
 * The summary of that name on the registry in context, as by `counter`. Its label `quantile` is its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const summary = <const Names extends string = never>(
  options: SummaryOptions<Names>
): Effect.Effect<Summary<Names>, RegistryError> =>
  declared("summary", options, { percentiles: true, maxAgeSeconds: true, ageBuckets: true }) as Effect.Effect<
    Summary<Names>,
    RegistryError
  >

/**
 * A gauge on the registry in context whose value is an effect, run for each scrape with the services of here, for scrapes
 * at the same time once. It is off the registry, and what runs for it is interrupted, when the scope closes.
 *
 * While the effect fails, dies, or takes longer than `timeout`, the gauge has no value: it is a metric that cannot be
 * read, which `onError` of the endpoint is for. A value that does not end when it is interrupted is not asked for again
 * until it has. A value that is not a number is left out, which is logged once; a bigint becomes the nearest number. Nothing
 * of it is in the traces of the application.
 *
 * It fails with a `RegistryError` if there is any metric by that name, or one with samples of that name.
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
  Effect.flatMap(Effect.all([Effect.runtime<R>(), Registry]), ([runtime, registry]) =>
    Effect.acquireRelease(
      attempted(options, () => unsafeGaugeEffect(registry, options, runtime)),
      (remove) => remove
    )
  )

const ofEvery = { name: true, help: true, labelNames: true } as const

const declared = (
  type: Family["type"],
  options: MetricOptions<string>,
  own: Readonly<Record<string, true>>
): Effect.Effect<object, RegistryError> =>
  Effect.flatMap(Effect.all([Effect.runtime<never>(), Registry]), ([runtime, registry]) =>
    attempted(options, () => {
      knownOptions("options", options, { ...ofEvery, series: true, maxSeries: true, ...own })
      const warn = (message: string): unknown => Runtime.runFork(runtime)(Effect.logWarning(message))
      return familyOn(classes, registry, familyOf(type, options), warn)
    })
  )

const attempted = <A>(options: unknown, attempt: () => A): Effect.Effect<A, RegistryError> =>
  Effect.try({ try: attempt, catch: (error) => registryError(options, error) })

type AnyOptions = MetricOptions<string> &
  Pick<Family, "ageBuckets" | "buckets" | "enableExemplars" | "maxAgeSeconds" | "percentiles">

// An instance of a class has some of them by inheritance.
const familyOf = (type: Family["type"], options: AnyOptions): Family => {
  const { ageBuckets, buckets, enableExemplars, help, labelNames, maxAgeSeconds } = options
  const { maxSeries, name, percentiles, series } = options
  return {
    ...{ type, name, help, labelNames: labelNames ?? [], series, maxSeries, enableExemplars },
    ...{ buckets, percentiles, maxAgeSeconds, ageBuckets }
  }
}

const registryError = (options: unknown, thrown: unknown): RegistryError => {
  const cause = readable(thrown)
  const name = (options as { readonly name?: unknown } | null | undefined)?.name
  const metric = typeof name === "string" ? name : shown(name)
  const isOption = cause instanceof RangeError
  const reason = cause instanceof ClashError ? "Clash" : isOption ? "InvalidOptions" : "Registry"
  const message = isOption ? `metric ${metric}: ${messageOf(cause)}` : messageOf(cause)
  return new RegistryError({ reason, metric, message, cause })
}

/**
 * The classes that most metrics of an application are of.
 *
 * @internal
 */
export const client = { Counter, Gauge, Histogram }

knownGauges(Gauge)

const classes = { ...client, Summary } as unknown as Classes

/**
 * The metric of that name on that registry, made if it is not there yet, as by the constructors. It throws a
 * `RegistryError`; `warn` is told when there is no room for another series of it, once.
 *
 * @internal
 */
export const unsafeFamily = (
  registry: MetricRegistry,
  family: Family,
  warn: (message: string) => unknown = (message) => Effect.runFork(Effect.logWarning(message))
): object => {
  try {
    return familyOn(classes, registry, family, warn)
  } catch (error) {
    throw registryError(family, error)
  }
}

const unsafeGaugeEffect = <Names extends string, E, R>(
  registry: MetricRegistry,
  options: GaugeEffectOptions<Names, E, R>,
  runtime: Runtime.Runtime<R>
): Effect.Effect<void> => {
  knownOptions("options", options, { ...ofEvery, value: true, timeout: true })
  const family = familyOf("gauge", options)
  checkFamily(family)
  const { name } = options
  if (!Effect.isEffect(options.value)) throw new RangeError(`value must be an effect, not ${shown(options.value)}`)
  const milliseconds = durationOption("timeout", options.timeout, "1 second")
  if (registry.getSingleMetric(name) !== undefined) throw new ClashError(`there is a metric ${name} already`)
  checkNames(registry, family)
  const value = options.value as Effect.Effect<ScrapeValue, E, R>
  const values = new ScrapeValues(value, runtime, family.labelNames.length > 0, milliseconds)
  const made = newMetric(classes, family, function () {
    return values.read(this)
  })
  markReadAtScrape(made)
  registry.registerMetric(made as never)
  const remove = Effect.sync(() => {
    // Another one may have come in its place.
    if (registry.getSingleMetric(name) === made) registry.removeSingleMetric?.(name)
  })
  return Effect.zipRight(Effect.ignoreLogged(remove), values.close)
}

/**
 * A metric of the library's own on that registry, made with all its series at 0 if it is not there yet. It throws what
 * the registry throws.
 *
 * @internal
 */
export const unsafeOwnMetric = (registry: MetricRegistry, key: OwnMetricName): Usable =>
  ownMetricOn(classes, registry, key)

/**
 * Counts a failed operation. It is called where a metric has just misbehaved, so it swallows what the registry throws.
 *
 * @internal
 */
export const unsafeCountError = (registry: MetricRegistry, operation: Operation): void => {
  try {
    unsafeOwnMetric(registry, "errors").inc({ operation })
  } catch {
    // A registry that cannot count its own failures has nothing left to tell them with; the log still does.
  }
}
