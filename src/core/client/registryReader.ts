/**
 * Reads a registry so that one invalid entry does not affect the others: any property of an application's own objects
 * may throw or have any value. Each property is read once. An entry that cannot be read is reported by its name, or by
 * its position if its name is unknown.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16.
 * - `_defaultLabels` of a registry: neither client has a public way to read them. If it is missing, there are no
 *   default labels.
 * - When prom-client itself renders OpenMetrics, it permanently removes `_total` from the names of the counters. The
 *   registry still has each of them under the original name. If it does not, the counter's own name is used.
 */
import type { FamilyReader, RegistryContents, RegistryReader, UnreadableMetric } from "../exposition/model.js"
import { pieceSize } from "../exposition/model.js"
import { isMetricName } from "../exposition/nameConflicts.js"
import { loggable, shown } from "../util/text.js"
import { type ClientMetric, type DirectReads, metricReader } from "./metricReader.js"

export interface ClientRegistry {
  getMetricsAsArray(): Iterable<unknown>
  getSingleMetric(name: string): unknown
}

// A longer list may never end, or have an invalid length.
const mostMetrics = 1_000_000

/** Reads directly the metrics that `directReads` allows. */
export const readerOf = (registry: ClientRegistry, directReads: DirectReads): RegistryReader => ({
  registry,
  *read(): Generator<void, RegistryContents> {
    const entries = entriesOf(registry.getMetricsAsArray())
    const families: Array<FamilyReader> = []
    const unreadable: Array<UnreadableMetric> = []
    const known = new Set<unknown>()
    for (let at = 0; at < entries.length; at += 1) {
      if (at % pieceSize === pieceSize - 1) yield
      const entry = entries[at]
      // Skips an object that is on the list a second time, and a hole in the list.
      if (known.has(entry) || !(at in entries)) continue
      if (isObject(entry)) known.add(entry)
      const read = entryRead(registry, entry, at, directReads)
      if ("error" in read) unreadable.push(read)
      else families.push(read)
    }
    return { families, unreadable, defaultLabels: defaultLabelsOf(registry) }
  }
})

/** Unchecked. */
export const defaultLabelsOf = (registry: object): unknown =>
  (registry as { readonly _defaultLabels?: unknown })._defaultLabels

// Makes a copy: the list may be the registry's own, and change while it is read.
const entriesOf = (given: Iterable<unknown>): ReadonlyArray<unknown> => {
  if (Array.isArray(given)) {
    if (given.length > mostMetrics) throw tooMany()
    return Array.prototype.slice.call(given)
  }
  if (typeof given !== "object" || given === null || !(Symbol.iterator in given)) {
    throw new TypeError(`getMetricsAsArray() must return a list of metrics, not ${shown(given)}`)
  }
  const entries: Array<unknown> = []
  for (const entry of given) {
    if (entries.length === mostMetrics) throw tooMany()
    entries.push(entry)
  }
  return entries
}

const tooMany = (): RangeError => new RangeError(`getMetricsAsArray() returned more than ${mostMetrics} metrics`)

const isObject = (entry: unknown): entry is object =>
  (typeof entry === "object" && entry !== null) || typeof entry === "function"

const entryRead = (
  registry: ClientRegistry,
  entry: unknown,
  at: number,
  directReads: DirectReads
): FamilyReader | UnreadableMetric => {
  let known: unknown
  try {
    if (!isObject(entry)) throw new TypeError(`it must be a metric, not ${shown(entry)}`)
    const metric = entry as ClientMetric & { readonly name: string; readonly help: string; readonly type: unknown }
    const { name } = metric
    known = name
    const { collect, help, type } = metric
    // A client's metric without `collect` answers immediately.
    const mayTakeTime = collect !== undefined || !("labelNames" in metric)
    const head = { name: registeredName(registry, metric, name, type), help, type }
    return metricReader(metric, head, mayTakeTime, directReads)
  } catch (error) {
    const name = isMetricName(known) ? known : `entry ${at + 1} of the registry`
    return { name, error: loggable(error) }
  }
}

const registeredName = (registry: ClientRegistry, metric: object, name: string, type: unknown): string => {
  if (type !== "counter" || typeof name !== "string") return name
  const original = `${name}_total`
  try {
    return registry.getSingleMetric(original) === metric ? original : name
  } catch {
    return name
  }
}
