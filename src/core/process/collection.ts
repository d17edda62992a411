/** Creates the process metrics on a registry, shares them between their users, and removes them. */
import { type CollectedMetric, type MetricConfiguration, type NewMetric, newMetric } from "../client/promClient.js"
import { beginAtZero } from "../client/recording.js"
import { labelTexts } from "../exposition/labelText.js"
import type { MetricRegistry } from "../registry/metricRegistry.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { collections, type Definition, definitions, lagNow as lagNowMetric, lags } from "./definitions.js"
import { gcKinds, LagMonitor, lagNow, onGarbageCollection } from "./events.js"
import type { ProcessSettings } from "./options.js"
import { type OwnLabels, type Read, Reading } from "./readings.js"

type Registering = Pick<MetricRegistry, "registerMetric" | "getSingleMetric" | "removeSingleMetric">

/** The metrics with one prefix on one registry. */
export interface Collection {
  readonly options: ProcessSettings
  readonly metrics: ReadonlyArray<NewMetric>
  readonly stop: () => void
  scopes: number
}

const open = oncePerProcess("default metrics", () => new WeakMap<Registering, Map<string, Collection>>())

/** All users with the same prefix share the metrics. `differs`: their options differ. Throws what the registry does. */
export const openDefaultMetrics = (registry: Registering, options: ProcessSettings) => {
  if (registry.removeSingleMetric === undefined) {
    throw new Error(
      "the registry must have the method removeSingleMetric(), which removes the process metrics at the end"
    )
  }
  const collections = getOrInsert(open, registry, () => new Map())
  const existing = collections.get(options.prefix)
  const collection = existing ?? begun(registry, options)
  // Some are missing if the registry was cleared.
  if (existing !== undefined) registering(registry, existing.metrics)
  collections.set(options.prefix, collection)
  collection.scopes += 1
  return { collection, differs: textOf(collection.options) !== textOf(options) }
}

// Equal for options that create the same metrics.
const textOf = ({ labels, ...others }: ProcessSettings): string =>
  JSON.stringify([others, Object.entries(labels).map(String).sort()])

/** Removes the metrics after their last user has closed them. */
export const closeDefaultMetrics = (registry: Registering, collection: Collection): void => {
  collection.scopes -= 1
  if (collection.scopes > 0) return
  open.get(registry)?.delete(collection.options.prefix)
  collection.stop()
  removing(registry, collection.metrics)
}

// A metric of the same name from another source stays.
const registering = (registry: Registering, metrics: ReadonlyArray<NewMetric>): void => {
  const added: Array<NewMetric> = []
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

const removing = (registry: Registering, metrics: ReadonlyArray<NewMetric>): void => {
  for (const metric of metrics) {
    if (registry.getSingleMetric(metric.name) === metric) registry.removeSingleMetric?.(metric.name)
  }
}

const begun = (registry: Registering, options: ProcessSettings): Collection => {
  const isFree = ({ name }: NewMetric) => registry.getSingleMetric(options.prefix + name) === undefined
  const first = new Reading()
  const read = definitions.filter((definition) => definition.read(first) !== undefined)
  const monitored = lags.filter(([, definition]) => isFree(definition))
  const monitor = monitored.length === 0 ? undefined : new LagMonitor(options.eventLoopMonitoringPrecision)
  const gc = isFree(collections) ? gcHistogram(options) : undefined
  const metrics: ReadonlyArray<NewMetric> = [
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

// One reading serves all metrics of the same scrape.
const reading = (read: ReadonlyArray<Definition>, options: ProcessSettings): ReadonlyArray<NewMetric> => {
  let current = new Reading()
  return read.map((definition) =>
    shown(definition, options, () => {
      if (!current.serves(definition)) current = new Reading()
      current.servedTo(definition)
      return definition.read(current)
    })
  )
}

const configuration = (
  {
    aggregator,
    help,
    labelNames = [],
    name,
    type
  }: Omit<Definition, "read" | "type"> & Pick<MetricConfiguration, "type">,
  { labels, prefix }: ProcessSettings
): MetricConfiguration => ({
  type,
  name: prefix + name,
  help,
  labelNames: [...labelNames, ...Object.keys(labels)],
  aggregator
})

const shown = (definition: Omit<Definition, "read">, options: ProcessSettings, read: () => Read): NewMetric => {
  const method = definition.type === "gauge" ? "set" : "inc"
  return newMetric(configuration(definition, options), function () {
    show(this, read(), options.labels, (labels, value) => this[method](labels, value))
  })
}

const lagGauge = (options: ProcessSettings): NewMetric =>
  newMetric(configuration(lagNowMetric, options), async function () {
    const seconds = await lagNow()
    this.set(options.labels, seconds)
  })

interface Observing extends NewMetric {
  observe(labels: OwnLabels, value: number): void
}

const gcHistogram = (options: ProcessSettings): Observing => {
  const buckets = options.gcDurationBuckets
  const histogram = newMetric({ ...configuration(collections, options), buckets })
  const zeros = gcKinds.map((kind) => labelTexts({ kind, ...options.labels }))
  beginAtZero(histogram, zeros, true)
  return histogram as Observing
}

/** Sets exactly these values. A metric without labels would show 0 by default, so that series is removed. */
const show = (
  metric: CollectedMetric,
  read: Read,
  labels: OwnLabels,
  put: (labels: OwnLabels, value: number) => void
) => {
  metric.reset()
  if (read === undefined) {
    if (Object.keys(labels).length === 0) metric.remove(labels)
    return
  }
  for (const [own, value] of typeof read === "number" ? [[{}, read] as const] : read) put({ ...own, ...labels }, value)
}
