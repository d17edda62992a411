/**
 * What is on a registry, read so that nothing odd on it can spoil the rest. Applications put objects of their own there,
 * and any property of these may throw or be anything. Each is read once, and what cannot be read is named: by its name,
 * or else by its place.
 */
import { messageOf } from "./message.js"
import { isMetricName } from "./nameConflicts.js"
import { shown } from "./options.js"
import type { Metric } from "./store.js"

/** A registry, as far as it is read here. */
interface Registry {
  getMetricsAsArray(): Iterable<unknown>
  getSingleMetric(name: string): unknown
}

/** What a metric says of itself. Its name is checked where names are compared. */
export interface RegisteredMetric {
  readonly name: string
  readonly help: string
  readonly type: unknown
  readonly metric: Metric
  /** Whether it may answer later than at once: a metric of the clients without `collect` does not. */
  readonly mayTakeTime: boolean
}

/** An entry that cannot be read, and what it threw. */
export interface UnreadableEntry {
  readonly name: string
  readonly metric: unknown
  readonly error: unknown
}

/** What was found on a registry, in its order. */
export interface Found {
  readonly metrics: ReadonlyArray<RegisteredMetric>
  readonly unreadable: ReadonlyArray<UnreadableEntry>
}

// So many are read before the event loop may go on.
const pieceSize = 256

// A registry that has more of them does not end, or has a length that is none.
const most = 1_000_000

/** Reads what is on a registry now. It throws if the registry does not say what that is. */
export function* metricsOn(registry: Registry): Generator<void, Found> {
  const entries = entriesOf(registry.getMetricsAsArray())
  const metrics: Array<RegisteredMetric> = []
  const unreadable: Array<UnreadableEntry> = []
  const known = new Set<unknown>()
  for (let at = 0; at < entries.length; at += 1) {
    if (at % pieceSize === pieceSize - 1) yield
    const entry = entries[at]
    // The same object again is no other metric, and where a list has a hole there is nothing.
    if (known.has(entry) || !(at in entries)) continue
    if (isObject(entry)) known.add(entry)
    const read = entryRead(registry, entry, at)
    if ("error" in read) unreadable.push(read)
    else metrics.push(read)
  }
  return { metrics, unreadable }
}

// A copy: the list may be the registry's own, and change meanwhile.
const entriesOf = (given: Iterable<unknown>): ReadonlyArray<unknown> => {
  if (Array.isArray(given)) {
    if (given.length > most) throw tooMany()
    return Array.prototype.slice.call(given)
  }
  if (typeof given !== "object" || given === null || !(Symbol.iterator in given)) {
    throw new TypeError(`getMetricsAsArray() must give a list of metrics, not ${shown(given)}`)
  }
  const entries: Array<unknown> = []
  for (const entry of given) {
    if (entries.length === most) throw tooMany()
    entries.push(entry)
  }
  return entries
}

const tooMany = (): RangeError => new RangeError(`getMetricsAsArray() gives more than ${most} metrics`)

const isObject = (entry: unknown): entry is object =>
  (typeof entry === "object" && entry !== null) || typeof entry === "function"

const entryRead = (registry: Registry, entry: unknown, at: number): RegisteredMetric | UnreadableEntry => {
  let known: unknown
  try {
    if (!isObject(entry)) throw new TypeError(`it must be a metric, not ${shown(entry)}`)
    const metric = entry as Metric & { readonly name: string; readonly help: string; readonly type: unknown }
    const { name } = metric
    known = name
    const { collect, help, type } = metric
    const mayTakeTime = collect !== undefined || !("labelNames" in metric)
    return { name: registeredName(registry, metric, name, type), help, type, metric, mayTakeTime }
  } catch (error) {
    const name = isMetricName(known) ? known : `entry ${at + 1} of the registry`
    return { name, metric: entry, error: readable(error) }
  }
}

// When prom-client renders OpenMetrics itself, it takes `_total` off the counters for good. The registry still knows
// each of them by the name that it was given. One that cannot say so has metrics nevertheless.
const registeredName = (registry: Registry, metric: object, name: string, type: unknown): string => {
  if (type !== "counter" || typeof name !== "string") return name
  const original = `${name}_total`
  try {
    return registry.getSingleMetric(original) === metric ? original : name
  } catch {
    return name
  }
}

/** What was thrown, as it can be logged: of an object that throws again where it is looked at, no more than that. */
export const readable = (error: unknown): unknown => {
  try {
    if (!(error instanceof Error)) return error
    const { cause: _, message, name, stack } = error
    return [message, name, stack].some((text) => typeof text === "symbol") ? new Error(messageOf(error)) : error
  } catch {
    return new Error("what was thrown cannot be read")
  }
}
