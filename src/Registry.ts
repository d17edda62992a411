/**
 * The registry whose metrics are exposed, and on which the library creates what it counts itself.
 *
 * By default that is prom-client's global `register`, so an application that never names a registry needs nothing of
 * this module. This is also the only module that imports `prom-client`: with
 * `"prom-client": "npm:@prometheus-io/client@…"` in its dependencies an application puts the newer client in its place.
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { Counter, Gauge, Histogram, register, Summary } from "prom-client"
import type { Family } from "./internal/family.js"
import type { OwnMetric, OwnMetricName, Usable } from "./internal/selfMetrics.js"
import { ownMetrics, seriesOf } from "./internal/selfMetrics.js"
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
 * The classes that most metrics of an application are of.
 *
 * @internal
 */
export const client = { Counter, Gauge, Histogram }

/**
 * A metric of the library's own on that registry, made with all its series at 0 if it is not there yet. It throws what
 * the registry throws.
 *
 * @internal
 */
export const unsafeOwnMetric = (registry: MetricRegistry, key: OwnMetricName): Usable => {
  const definition: OwnMetric = ownMetrics[key]
  const existing = registry.getSingleMetric(definition.name)
  if (existing !== undefined) return existing as Usable
  const made = newMetric(definition, registry)
  registry.registerMetric(made as never)
  return made as unknown as Usable
}

const newMetric = (definition: OwnMetric, registry: MetricRegistry): Counter | Gauge | Histogram => {
  const { buckets = [], help, label, name, type, value } = definition
  const configuration = { name, help, labelNames: label === undefined ? [] : [label], registers: [] }
  if (type === "histogram") return new Histogram({ ...configuration, buckets: [...buckets] })
  if (type === "gauge" && value === undefined) return new Gauge(configuration)
  if (type === "gauge") {
    return new Gauge({
      ...configuration,
      collect() {
        this.set(value?.(registry) ?? 0)
      }
    })
  }
  const counter = new Counter(configuration)
  for (const labels of seriesOf(definition)) counter.inc(labels, 0)
  return counter
}

/**
 * The metric of that name on that registry, made if it is not there yet. It throws what the registry throws, and where
 * there is another metric by that name.
 *
 * @internal
 */
export const unsafeFamily = (registry: MetricRegistry, family: Family): object => {
  const existing = registry.getSingleMetric(family.name) as Existing | undefined
  if (existing !== undefined) {
    const labels = [...(existing.labelNames ?? [])].sort().join()
    if (existing.type === family.type && labels === [...family.labelNames].sort().join()) return existing
    throw new Error(`there is another metric named ${family.name}`)
  }
  const { buckets, help, labelNames, name, type } = family
  const configuration = { name, help, labelNames: [...labelNames], registers: [] }
  const made = {
    counter: () => new Counter(configuration),
    gauge: () => new Gauge(configuration),
    histogram: () => new Histogram({ ...configuration, ...(buckets && { buckets: [...buckets] }) }),
    summary: () => new Summary(configuration)
  }[type]()
  registry.registerMetric(made as never)
  return made
}

interface Existing {
  readonly type?: unknown
  readonly labelNames?: ReadonlyArray<string>
}

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
