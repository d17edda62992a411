/**
 * Records on the series of a metric where the client stores them. The public methods of prom-client check the labels and build a text of
 * them at each call, which takes longer than everything else in a measured request.
 *
 * A series is recorded directly only if its metric has the client's own methods, has no exemplars, and stores the series
 * as a metric does that was created for this check. Otherwise, and for the first value of a series, the public method is
 * called.
 *
 * Client internals: tested with prom-client 15.1.
 * - `hashMap` of a metric: its series by a text of their labels, in the order of `sortedLabelNames`. A series that is
 *   removed, or whose metric is reset, is no longer there. @prometheus-io/client has no `hashMap`: the public methods are
 *   called.
 * - `bucketValues`, `sum` and `count` of a series of a histogram, and `value` of one of a counter or a gauge.
 */
import { newMetric } from "./promClient.js"
import { takesExemplars } from "./recording.js"

type Labels = Readonly<Record<string, string | number>>

interface StoredValue {
  value: number
  readonly labels: Labels
}

interface StoredHistogram {
  sum: number
  count: number
  readonly bucketValues: Record<string | number, number>
}

/** The recording method of a metric. */
type Method = "inc" | "observe" | "set"

interface ClientMetric {
  readonly type: "counter" | "gauge" | "histogram"
  readonly labelNames: ReadonlyArray<string>
  readonly sortedLabelNames: ReadonlyArray<string>
  readonly upperBounds: ReadonlyArray<number>
  readonly hashMap: Record<string, StoredValue | StoredHistogram | undefined>
  readonly inc?: (labels?: Labels) => void
  readonly observe?: (...labelsAndValue: readonly [number] | readonly [Labels, number]) => void
  readonly set?: (...labelsAndValue: readonly [number] | readonly [Labels, number]) => void
  readonly labels: unknown
}

const methods: Readonly<Record<ClientMetric["type"], Method>> = { counter: "inc", gauge: "set", histogram: "observe" }

/** Undefined if the series of the metric cannot be recorded directly. */
export const directMetric = (metric: object): DirectMetric | undefined => {
  try {
    return isDirect(metric) ? new DirectMetric(metric) : undefined
  } catch {
    // A metric can be any object.
    return undefined
  }
}

/**
 * Records on a series, by its key and its labels. The labels are undefined for a metric without labels. The methods throw
 * what the metric throws. A method that was replaced, as by a test, gets all further values.
 */
export class DirectMetric {
  readonly labelNames: ReadonlyArray<string>
  private readonly names: ReadonlyArray<string>
  private readonly bounds: ReadonlyArray<number>
  private readonly buckets: ReadonlyArray<string | number>
  private readonly method: unknown
  private readonly lookUp: unknown

  constructor(private readonly metric: ClientMetric) {
    this.labelNames = metric.labelNames
    this.names = metric.sortedLabelNames
    this.bounds = metric.upperBounds ?? []
    // The engine finds a property fastest by a whole number, and otherwise by a text.
    this.buckets = this.bounds.map((bound) => (Number.isSafeInteger(bound) && bound >= 0 ? bound : String(bound)))
    this.method = metric[methods[metric.type]]
    this.lookUp = metric.labels
  }

  /** False if the method `labels` was replaced: then it is to be called for each child. */
  hasOwnLabels(): boolean {
    return this.metric.labels === this.lookUp
  }

  hasNames(sorted: ReadonlyArray<string>): boolean {
    return this.names.length === sorted.length && this.names.every((name, at) => name === sorted[at])
  }

  /** Undefined unless the labels are exactly those of the metric. */
  keyOf(labels: Labels | undefined): string | undefined {
    const own: Readonly<Record<string, unknown>> = labels ?? {}
    const { names } = this
    if (Object.keys(own).length !== names.length) return undefined
    const isOwn = names.every((name) => Object.hasOwn(own, name) && isText(own[name]))
    return isOwn ? keyOf(names, own) : undefined
  }

  /** For a histogram. */
  observe(key: string, labels: Labels | undefined, value: number): unknown {
    const { bounds, metric } = this
    const stored = metric.hashMap[key] as StoredHistogram | undefined
    if (stored === undefined || metric.observe !== this.method || !Number.isFinite(value)) {
      return labels === undefined ? metric.observe?.(value) : metric.observe?.(copyOf(labels), value)
    }
    stored.sum += value
    stored.count += 1
    for (let at = 0; at < bounds.length; at += 1) {
      if (value > (bounds[at] as number)) continue
      const { bucketValues } = stored
      const bucket = this.buckets[at] as string
      bucketValues[bucket] = (bucketValues[bucket] as number) + 1
      break
    }
    return undefined
  }

  /** Adds one, for a counter. */
  inc(key: string, labels: Labels | undefined): unknown {
    const { metric } = this
    const stored = metric.hashMap[key] as StoredValue | undefined
    if (stored === undefined || metric.inc !== this.method) {
      return labels === undefined ? metric.inc?.() : metric.inc?.(copyOf(labels))
    }
    stored.value += 1
    return undefined
  }

  /** For a gauge. */
  set(key: string, labels: Labels | undefined, value: number): unknown {
    const { metric } = this
    if (metric.hashMap[key] === undefined || metric.set !== this.method) {
      return labels === undefined ? metric.set?.(value) : metric.set?.(copyOf(labels), value)
    }
    // As the client does it: others may hold the stored object, or have added labels to it.
    metric.hashMap[key] = { value, labels: copyOf(labels ?? {}) }
    return undefined
  }
}

// The client keeps the object, so each of its metrics gets its own.
const copyOf = (labels: Labels): Labels => (Object.isFrozen(labels) ? labels : { ...labels })

/** The key of the series with those labels. */
export const keyOf = (sortedNames: ReadonlyArray<string>, labels: Readonly<Record<string, unknown>>): string =>
  sortedNames.map((name) => `${name}:${labels[name]},`).join("")

const isText = (value: unknown): boolean => typeof value === "string" || typeof value === "number"

const isDirect = (metric: object): metric is ClientMetric => {
  const { hashMap, labels, labelNames, sortedLabelNames, type, upperBounds } = metric as Partial<ClientMetric>
  if (type === undefined || !Object.hasOwn(methods, type) || typeof hashMap !== "object" || takesExemplars(metric))
    return false
  const known = own(type)
  const method = methods[type]
  if (known === undefined || labels !== known.labels || (metric as ClientMetric)[method] !== known[method]) return false
  if (!isUnchanged(known[method], clientNames[type]) || !isUnchanged(known.labels, "labels")) return false
  const hasOddBound = type === "histogram" && !(Array.isArray(upperBounds) && upperBounds.every(isUsualBound))
  return Array.isArray(labelNames) && Array.isArray(sortedLabelNames) && !hasOddBound
}

// prom-client counts a value above all bounds in a bucket with the bound -1, if there is one.
const isUsualBound = (bound: unknown): boolean => typeof bound === "number" && !Number.isNaN(bound) && bound !== -1

const clientNames: Readonly<Record<ClientMetric["type"], string>> = {
  counter: "incWithoutExemplar",
  gauge: "set",
  histogram: "observeWithoutExemplar"
}

// A wrapper around a method of the class, which wants to see all values, has another name or is a plain function.
const isUnchanged = (method: unknown, name: string): boolean =>
  typeof method === "function" && method.name === name && !Object.hasOwn(method, "prototype")

const all = new Map<ClientMetric["type"], ClientMetric | undefined>()

/** A metric of the client that stores its series as this module expects, for its methods. */
const own = (type: ClientMetric["type"]): ClientMetric | undefined => {
  if (!all.has(type)) all.set(type, probe(type))
  return all.get(type)
}

const probe = (type: ClientMetric["type"]): ClientMetric | undefined => {
  try {
    const common = { type, name: "probe", help: "A metric that is never registered.", labelNames: ["b", "a"] }
    const made = newMetric({ ...common, buckets: [0.5, 2, 10] }) as unknown as ClientMetric
    record(made)
    const text = JSON.stringify(made.hashMap)
    const labels = { a: 1, b: "x" }
    const histogram = { labels, bucketValues: { "2": 1, "10": 0, "0.5": 0 }, sum: 1.5, count: 1 }
    const expected = { "a:1,b:x,": type === "histogram" ? histogram : { value: type === "gauge" ? 1.5 : 1, labels } }
    return text === JSON.stringify(expected) ? made : undefined
  } catch {
    return undefined
  }
}

const record = (metric: ClientMetric): void => {
  const labels = { a: 1, b: "x" }
  if (metric.type === "histogram") metric.observe?.(labels, 1.5)
  else if (metric.type === "counter") metric.inc?.(labels)
  else metric.set?.(labels, 1.5)
}
