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
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { unwrapped } from "./internal/config.js"
import type { Definition } from "./internal/defaultMetrics.js"
import { collections, definitions, lagNow as lagNowMetric, lags, show } from "./internal/defaultMetrics.js"
import type { Checked, Options } from "./internal/defaultMetricsOptions.js"
import { checkedOptions } from "./internal/defaultMetricsOptions.js"
import { labelTexts } from "./internal/labelText.js"
import { messageOf } from "./internal/message.js"
import type { Read } from "./internal/processMetrics.js"
import { Reading } from "./internal/processMetrics.js"
import { gcKinds, LagMonitor, lagNow, onGarbageCollection } from "./internal/processMetricsEvents.js"
import { beginAtZero } from "./internal/zeros.js"
import type { MetricRegistry } from "./Registry.js"
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
      attempt("Registry", () => opening(registry, checked)),
      ({ collection }) => Effect.sync(() => closing(registry, checked.prefix, collection))
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
  options: Config.Config.Wrap<Options>
): Layer.Layer<never, ConfigError.ConfigError | DefaultMetricsError> =>
  Layer.scopedDiscard(Effect.flatMap(unwrapped(options), make))

const attempt = <A>(reason: DefaultMetricsError["reason"], body: () => A): Effect.Effect<A, DefaultMetricsError> =>
  Effect.try({
    try: body,
    catch: (cause) => new DefaultMetricsError({ reason, message: messageOf(cause), cause })
  })

/** The metrics of one prefix on one registry. */
interface Collection {
  readonly options: Checked
  readonly metrics: ReadonlyArray<Named>
  readonly stop: () => void
  scopes: number
}

interface Named {
  readonly name: string
}

const open = new WeakMap<MetricRegistry, Map<string, Collection>>()

const opening = (registry: MetricRegistry, options: Checked) => {
  if (registry.removeSingleMetric === undefined) {
    throw new Error("the registry has no removeSingleMetric: the metrics could not be taken back")
  }
  const collections = open.get(registry) ?? new Map<string, Collection>()
  open.set(registry, collections)
  const existing = collections.get(options.prefix)
  const collection = existing ?? begun(registry, options)
  // Some are missing if it was cleared.
  if (existing !== undefined) registering(registry, existing.metrics)
  collections.set(options.prefix, collection)
  collection.scopes += 1
  return { collection, differs: textOf(collection.options) !== textOf(options) }
}

// The same for options that make the same metrics.
const textOf = ({ labels, ...others }: Checked): string =>
  JSON.stringify([others, Object.entries(labels).map(String).sort()])

const closing = (registry: MetricRegistry, prefix: string, collection: Collection): void => {
  collection.scopes -= 1
  if (collection.scopes > 0) return
  open.get(registry)?.delete(prefix)
  collection.stop()
  removing(registry, collection.metrics)
}

// Somebody else's is left where it is.
const registering = (registry: MetricRegistry, metrics: ReadonlyArray<Named>): void => {
  const added: Array<Named> = []
  try {
    for (const metric of metrics) {
      if (registry.getSingleMetric(metric.name) !== undefined) continue
      registry.registerMetric(metric as never)
      added.push(metric)
    }
  } catch (error) {
    removing(registry, added)
    throw error
  }
}

const removing = (registry: MetricRegistry, metrics: ReadonlyArray<Named>): void => {
  for (const metric of metrics) {
    if (registry.getSingleMetric(metric.name) === metric) registry.removeSingleMetric?.(metric.name)
  }
}

const begun = (registry: MetricRegistry, options: Checked): Collection => {
  const isFree = ({ name }: Named) => registry.getSingleMetric(options.prefix + name) === undefined
  const first = new Reading()
  const read = definitions.filter((definition) => isFree(definition) && definition.read(first) !== undefined)
  const monitored = lags.filter(([, definition]) => isFree(definition))
  const monitor = monitored.length === 0 ? undefined : new LagMonitor(options.resolution)
  const gc = isFree(collections) ? gcHistogram(options) : undefined
  const metrics: ReadonlyArray<Named> = [
    ...reading(read, options),
    lagGauge(options),
    ...monitored.map(([key, definition]) => shown(definition, options, () => monitor?.read()?.[key])),
    ...(gc === undefined ? [] : [gc])
  ]
  const observing = gc && onGarbageCollection((kind, seconds) => gc.observe({ kind, ...options.labels }, seconds))
  const stop = () => {
    monitor?.stop()
    observing?.()
  }
  try {
    registering(registry, metrics)
  } catch (error) {
    stop()
    throw error
  }
  return { options, metrics, stop, scopes: 0 }
}

// What is read for one of them serves the others of the same scrape.
const reading = (read: ReadonlyArray<Definition>, options: Checked): ReadonlyArray<Named> => {
  let current = new Reading()
  return read.map((definition) =>
    shown(definition, options, () => {
      if (!current.serves(definition)) current = new Reading()
      current.servedTo(definition)
      return definition.read(current)
    })
  )
}

const configuration = (definition: Omit<Definition, "read" | "type">, { labels, prefix }: Checked) => ({
  name: prefix + definition.name,
  help: definition.help,
  labelNames: [...(definition.labelNames ?? []), ...Object.keys(labels)],
  registers: [],
  ...(definition.aggregator && { aggregator: definition.aggregator })
})

const shown = (definition: Omit<Definition, "read">, options: Checked, read: () => Read): Named => {
  const common = configuration(definition, options)
  if (definition.type === "gauge") {
    return new client.Gauge({
      ...common,
      collect() {
        show(this, read(), options.labels, (labels, value) => this.set(labels, value))
      }
    }) as unknown as Named
  }
  return new client.Counter({
    ...common,
    collect() {
      show(this, read(), options.labels, (labels, total) => this.inc(labels, total))
    }
  }) as unknown as Named
}

const lagGauge = (options: Checked): Named =>
  new client.Gauge({
    ...configuration({ ...lagNowMetric, aggregator: "average" }, options),
    async collect() {
      const seconds = await lagNow()
      this.set(options.labels, seconds)
    }
  }) as unknown as Named

const gcHistogram = (options: Checked) => {
  const histogram = new client.Histogram({ ...configuration(collections, options), buckets: [...options.buckets] })
  const zeros = gcKinds.map((kind) => labelTexts({ kind, ...options.labels }))
  beginAtZero(histogram, zeros, true)
  return histogram as typeof histogram & Named
}
