/** The metrics of the process on a registry: made, shared by all who want them there, and taken off. */
import type { Definition } from "./defaultMetricsDefinitions.js"
import { collections, definitions, lagNow as lagNowMetric, lags } from "./defaultMetricsDefinitions.js"
import type { Checked } from "./defaultMetricsOptions.js"
import { labelTexts } from "./labelText.js"
import { gcKinds, LagMonitor, lagNow, onGarbageCollection } from "./processEvents.js"
import type { OwnLabels, Read } from "./processReadings.js"
import { Reading } from "./processReadings.js"
import { beginAtZero } from "./zeros.js"

/** The classes of a client, as far as they are used. */
export interface Client {
  readonly Counter: new (configuration: Configuration & { collect(this: Counting): void }) => object
  readonly Gauge: new (configuration: Configuration & { collect(this: Setting): void | Promise<void> }) => object
  readonly Histogram: new (configuration: Configuration & { readonly buckets: Array<number> }) => Observing
}

type Configuration = ReturnType<typeof configuration>

/** One of their metrics that hold a number by labels. */
interface Showing {
  reset(): void
  remove(labels: OwnLabels): void
}

interface Counting extends Showing {
  inc(labels: OwnLabels, by: number): void
}

interface Setting extends Showing {
  set(labels: OwnLabels, value: number): void
}

interface Observing {
  observe(labels: OwnLabels, value: number): void
}

/** What is asked of a registry here. */
interface Registering {
  registerMetric(metric: never): void
  getSingleMetric(name: string): unknown
  removeSingleMetric?(name: string): void
}

/** The metrics of one prefix on one registry. */
export interface Collection {
  readonly options: Checked
  readonly metrics: ReadonlyArray<Named>
  readonly stop: () => void
  scopes: number
}

interface Named {
  readonly name: string
}

interface Opened {
  readonly collection: Collection
  readonly differs: boolean
}

const open = new WeakMap<Registering, Map<string, Collection>>()

/**
 * The metrics with those options on that registry, which everybody shares who opens them with the same prefix, and whether
 * they have other options than these. It throws what the registry throws.
 */
export const openDefaultMetrics = (client: Client, registry: Registering, options: Checked): Opened => {
  if (registry.removeSingleMetric === undefined) {
    throw new Error("the registry has no removeSingleMetric: the metrics could not be taken back")
  }
  const collections = open.get(registry) ?? new Map<string, Collection>()
  open.set(registry, collections)
  const existing = collections.get(options.prefix)
  const collection = existing ?? begun(client, registry, options)
  // Some are missing if it was cleared.
  if (existing !== undefined) registering(registry, existing.metrics)
  collections.set(options.prefix, collection)
  collection.scopes += 1
  return { collection, differs: textOf(collection.options) !== textOf(options) }
}

// The same for options that make the same metrics.
const textOf = ({ labels, ...others }: Checked): string =>
  JSON.stringify([others, Object.entries(labels).map(String).sort()])

/** Takes them off the registry once nobody has them open any more. */
export const closeDefaultMetrics = (registry: Registering, collection: Collection): void => {
  collection.scopes -= 1
  if (collection.scopes > 0) return
  open.get(registry)?.delete(collection.options.prefix)
  collection.stop()
  removing(registry, collection.metrics)
}

// Somebody else's is left where it is.
const registering = (registry: Registering, metrics: ReadonlyArray<Named>): void => {
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

const removing = (registry: Registering, metrics: ReadonlyArray<Named>): void => {
  for (const metric of metrics) {
    if (registry.getSingleMetric(metric.name) === metric) registry.removeSingleMetric?.(metric.name)
  }
}

const begun = (client: Client, registry: Registering, options: Checked): Collection => {
  const isFree = ({ name }: Named) => registry.getSingleMetric(options.prefix + name) === undefined
  const first = new Reading()
  const read = definitions.filter((definition) => definition.read(first) !== undefined)
  const monitored = lags.filter(([, definition]) => isFree(definition))
  const monitor = monitored.length === 0 ? undefined : new LagMonitor(options.resolution)
  const gc = isFree(collections) ? gcHistogram(client, options) : undefined
  const metrics: ReadonlyArray<Named> = [
    ...reading(client, read, options),
    lagGauge(client, options),
    ...monitored.map(([key, definition]) => shown(client, definition, options, () => monitor?.read()?.[key])),
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
const reading = (client: Client, read: ReadonlyArray<Definition>, options: Checked): ReadonlyArray<Named> => {
  let current = new Reading()
  return read.map((definition) =>
    shown(client, definition, options, () => {
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
  registers: [] as [],
  ...(definition.aggregator && { aggregator: definition.aggregator })
})

const shown = (client: Client, definition: Omit<Definition, "read">, options: Checked, read: () => Read): Named => {
  const common = configuration(definition, options)
  if (definition.type === "gauge") {
    return new client.Gauge({
      ...common,
      collect() {
        show(this, read(), options.labels, (labels, value) => this.set(labels, value))
      }
    }) as Named
  }
  return new client.Counter({
    ...common,
    collect() {
      show(this, read(), options.labels, (labels, total) => this.inc(labels, total))
    }
  }) as Named
}

const lagGauge = (client: Client, options: Checked): Named =>
  new client.Gauge({
    ...configuration({ ...lagNowMetric, aggregator: "average" }, options),
    async collect() {
      const seconds = await lagNow()
      this.set(options.labels, seconds)
    }
  }) as Named

const gcHistogram = (client: Client, options: Checked) => {
  const histogram = new client.Histogram({ ...configuration(collections, options), buckets: [...options.buckets] })
  const zeros = gcKinds.map((kind) => labelTexts({ kind, ...options.labels }))
  beginAtZero(histogram, zeros, true)
  return histogram as typeof histogram & Named
}

/** Shows those values and no others. A metric without labels has the value 0 of itself, and loses it. */
const show = (metric: Showing, read: Read, labels: OwnLabels, put: (labels: OwnLabels, value: number) => void) => {
  metric.reset()
  if (read === undefined) {
    if (Object.keys(labels).length === 0) metric.remove(labels)
    return
  }
  for (const [own, value] of typeof read === "number" ? [[{}, read] as const] : read) put({ ...own, ...labels }, value)
}
