/** Series that are there, at 0, before anything is recorded on them. */
import type { Family } from "./family.js"
import type { LabelTexts } from "./labelText.js"
import { shown } from "./options.js"

/** As many as one may want to see at 0, where nobody has said how many series there may be. */
const mostCombinations = 1_000

/**
 * The labels of each combination of the values, in the order of the labels. It throws a `RangeError` if there are too
 * many of them, or if a label has no values.
 */
export const combinations = ({ labelNames, maxSeries, series }: Family): ReadonlyArray<LabelTexts> => {
  if (series === undefined) return []
  if (typeof series !== "object" || series === null) throw new RangeError("series must be an object of lists of values")
  for (const name of Object.keys(series)) {
    if (!labelNames.includes(name)) throw new RangeError(`series has a label ${name}, which is not among labelNames`)
  }
  const lists = labelNames.map((name) => [name, valuesOf(name, series[name])] as const)
  if (lists.length === 0) throw new RangeError("series is of no use without labelNames")
  const most = maxSeries ?? mostCombinations
  const count = lists.reduce((product, [, values]) => product * values.length, 1)
  if (count > most) {
    const why = maxSeries === undefined ? "; give maxSeries where there have to be as many" : ", as maxSeries says"
    throw new RangeError(`series has ${count} combinations, which must be at most ${most}${why}`)
  }
  let all: ReadonlyArray<LabelTexts> = [{}]
  for (const [name, values] of lists) {
    all = all.flatMap((labels) => values.map((value) => ({ ...labels, [name]: value })))
  }
  return all
}

const valuesOf = (name: string, values: unknown): ReadonlyArray<string> => {
  const isList = Array.isArray(values) && values.length > 0
  if (!isList) throw new RangeError(`series.${name} must be a list of values that is not empty`)
  for (const value of values) {
    if (typeof value === "string" || typeof value === "number") continue
    throw new RangeError(`series.${name} must be a list of texts and numbers, not ${shown(value)}`)
  }
  return [...new Set(values.map(String))]
}

/** A metric of a client, as far as its series can be begun. */
interface Beginning {
  readonly type?: unknown
  readonly inc?: (labels: unknown, by?: number) => void
  readonly observe?: (labels: LabelTexts, value: number) => void
  readonly zero?: (labels: LabelTexts) => void
  reset(): void
}

type Zeros = Map<string, LabelTexts>

// On the metric, where another copy of this library finds it.
const zeros = Symbol.for("effect-prometheus/zeros")

/**
 * Begins those series at 0, and begins them again whenever the metric is reset. Those of a summary, which keeps its series
 * when it is reset, can only begin while it is new.
 */
export const beginAtZero = (metric: object, all: ReadonlyArray<LabelTexts>, isNew: boolean): void => {
  if (all.length === 0) return
  const beginning = metric as Beginning & { [zeros]?: Zeros }
  const known = beginning[zeros] ?? kept(beginning)
  for (const labels of all) {
    const key = JSON.stringify(Object.entries(labels).sort())
    if (known.has(key)) continue
    known.set(key, labels)
    begin(beginning, labels, isNew)
  }
  if (isNew && beginning.type === "summary") beginning.reset()
}

const kept = (metric: Beginning & { [zeros]?: Zeros }): Zeros => {
  const known: Zeros = new Map()
  const reset = metric.reset.bind(metric)
  const value = (): void => {
    reset()
    if (metric.type === "summary") return
    for (const labels of known.values()) begin(metric, labels, true)
  }
  Object.defineProperty(metric, "reset", { value, configurable: true, writable: true })
  Object.defineProperty(metric, zeros, { value: known })
  return known
}

const begin = (metric: Beginning, labels: LabelTexts, isNew: boolean): void => {
  // The client keeps the object.
  const own = { ...labels }
  const { enableExemplars } = metric as { readonly enableExemplars?: unknown }
  if (metric.type === "counter" && enableExemplars === true) metric.inc?.({ labels: own, value: 0 })
  else if (metric.type === "counter" || metric.type === "gauge") metric.inc?.(own, 0)
  else if (metric.type === "summary" && isNew) metric.observe?.(own, 0)
  // It would set to 0 what has been observed.
  else if (metric.type === "histogram" && (isNew || !has(metric, own))) metric.zero?.(own)
}

// Neither client can be asked whether a histogram has a series; whether one is there that is nowhere to be found is not
// known, and so it is not touched.
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
