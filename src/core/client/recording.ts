/**
 * How to call the recording methods of a client's metric, and how to create series with the value 0 before anything is
 * recorded on them.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16.
 * - `enableExemplars` on a histogram or a counter: its methods then take one object instead of labels and a value. A
 *   metric without it is called with labels and a value.
 * - The name `bound incWithExemplar` of the `inc` of a broken child. A child with another name is used as it is.
 * - `reset` of a metric with series at 0 is replaced by one that creates these series again.
 * - `hashMap` of a histogram of prom-client, and `store.entry` of one of @prometheus-io/client, which show whether a
 *   series exists. Without either, a histogram that is not new gets no series at 0.
 */
import type { LabelTexts } from "../exposition/labelText.js"

export interface WithExemplars {
  observe(data: Recorded): void
  inc(data: Recorded): void
}

export interface Recorded {
  readonly value: number
  readonly labels: Readonly<Record<string, string | number>> | undefined
  readonly exemplarLabels: Readonly<Record<string, string | number>> | undefined
}

/**
 * `observe` and `inc` take one object if a histogram or a counter was made with `enableExemplars`; on a gauge or a
 * summary the flag changes nothing.
 */
export const takesExemplars = (metric: object): metric is WithExemplars => {
  const { enableExemplars, type } = metric as { readonly enableExemplars?: unknown; readonly type?: unknown }
  return enableExemplars === true && (type === "histogram" || type === "counter")
}

/**
 * A child of a counter with exemplars: its `inc` is the counter's own, bound to the wrong arguments, and would silently
 * count the series without labels.
 */
export const isBrokenChild = ({ inc }: { readonly inc: (...args: never) => unknown }): boolean =>
  inc.name === "bound incWithExemplar"

/** `undefined` for arguments that the clients reject. */
export const labelsOf = (
  labelNames: ReadonlyArray<string>,
  args: ReadonlyArray<unknown>
): Readonly<Record<string, unknown>> | undefined => {
  const [first] = args
  if (typeof first === "object") return { ...first }
  if (args.length !== labelNames.length) return undefined
  return Object.fromEntries(labelNames.map((name, at) => [name, args[at]]))
}

export const replaceMethod = <M extends object>(metric: M, name: keyof M & string, value: unknown): void => {
  Object.defineProperty(metric, name, { value, configurable: true, writable: true })
}

/** What creates series. */
interface ClientMetric {
  readonly type?: unknown
  readonly inc?: (labels: unknown, by?: number) => void
  readonly observe?: (labels: LabelTexts, value: number) => void
  readonly zero?: (labels: LabelTexts) => void
  reset(): void
}

type Zeros = Map<string, LabelTexts>

// A property of the metric, so that another copy of this library finds it.
const zeros = Symbol.for("effect-prometheus/zeros")

/** Creates them again on each reset. A summary keeps its series then, and can only get new ones while new. */
export const beginAtZero = (metric: object, all: ReadonlyArray<LabelTexts>, isNew: boolean): void => {
  if (all.length === 0) return
  const made = metric as ClientMetric & { [zeros]?: Zeros }
  const known = made[zeros] ?? kept(made)
  for (const labels of all) {
    const key = JSON.stringify(Object.entries(labels).sort())
    if (known.has(key)) continue
    known.set(key, labels)
    begin(made, labels, isNew)
  }
  if (isNew && made.type === "summary") made.reset()
}

const kept = (metric: ClientMetric & { [zeros]?: Zeros }): Zeros => {
  const known: Zeros = new Map()
  const reset = metric.reset.bind(metric)
  const value = (): void => {
    reset()
    if (metric.type === "summary") return
    for (const labels of known.values()) begin(metric, labels, true)
  }
  replaceMethod(metric, "reset", value)
  Object.defineProperty(metric, zeros, { value: known })
  return known
}

const begin = (metric: ClientMetric, labels: LabelTexts, isNew: boolean): void => {
  // The client keeps this object.
  const own = { ...labels }
  if (metric.type === "counter" && takesExemplars(metric))
    metric.inc({ labels: own, value: 0, exemplarLabels: undefined })
  else if (metric.type === "counter" || metric.type === "gauge") metric.inc?.(own, 0)
  else if (metric.type === "summary" && isNew) metric.observe?.(own, 0)
  // `zero` would set a series with observations back to 0.
  else if (metric.type === "histogram" && (isNew || !has(metric, own))) metric.zero?.(own)
}

// Neither client has a public method for it. A series that cannot be found is assumed to exist and is not changed.
const has = (metric: object, labels: LabelTexts): boolean => {
  const { hashMap, store } = metric as {
    readonly hashMap?: Readonly<Record<string, { readonly labels?: object }>>
    readonly store?: { entry?(labels: object): unknown }
  }
  if (typeof store?.entry === "function") return store.entry(labels) !== undefined
  if (typeof hashMap !== "object") return true
  const entries = Object.entries(labels)
  return Object.values(hashMap).some(({ labels: there = {} }) => {
    const values = there as Readonly<Record<string, unknown>>
    return entries.every(([name, value]) => String(values[name]) === value)
  })
}
