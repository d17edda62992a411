/**
 * A metric with at most so many series, and one for all others. It stands before the methods that record, so that it
 * knows nothing of how a client keeps its series, and a scrape nothing of it.
 */
import { rememberParent } from "./gaugeChildren.js"

type Labels = Readonly<Record<string, unknown>>

/** What stands in each label of the series for all others. */
export const overflow = "overflow"

const none: Labels = Object.freeze({})

interface Level extends Map<unknown, Level> {}

// Where no label follows.
const last: Level = new Map()

/** The label sets that a metric has. They stand in a tree of their values: to look one up puts no text together. */
class Known {
  private root: Level = new Map()
  count = 0
  /** Becomes another one when a label set goes. */
  generation = 0

  constructor(private readonly names: ReadonlyArray<string>) {}

  has(labels: Labels): boolean {
    let level = this.root
    for (const name of this.names) {
      const next = level.get(keyOf(labels[name]))
      if (next === undefined) return false
      level = next
    }
    return true
  }

  add(labels: Labels): void {
    const { names } = this
    if (this.has(labels)) return
    let level = this.root
    for (let at = 0; at < names.length; at += 1) {
      const key = keyOf(labels[names[at] as string])
      const next = at === names.length - 1 ? last : (level.get(key) ?? new Map())
      level.set(key, next)
      level = next
    }
    this.count += 1
  }

  remove(labels: Labels): void {
    if (!this.has(labels)) return
    this.prune(this.root, labels, 0)
    this.count -= 1
    this.generation += 1
  }

  clear(): void {
    this.root = new Map()
    this.count = 0
    this.generation += 1
  }

  private prune(level: Level, labels: Labels, at: number): void {
    const key = keyOf(labels[this.names[at] as string])
    const next = level.get(key)
    if (next !== undefined && at < this.names.length - 1) {
      this.prune(next, labels, at + 1)
      if (next.size > 0) return
    }
    level.delete(key)
  }
}

// The clients make texts of the values. Where they take two values for the same and this does not, there are fewer series.
const keyOf = (value: unknown): unknown => (typeof value === "string" || value === undefined ? value : String(value))

const isLabels = (given: unknown): given is Labels => typeof given === "object" && given !== null

type Method = (...args: ReadonlyArray<unknown>) => unknown

/** A metric of a client. Which of the methods it has is seen by its type. */
interface Capped {
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  readonly enableExemplars?: unknown
  labels: Method
  remove: Method
  reset: Method
  inc: Method
  dec: Method
  set: Method
  observe: Method
  zero: Method
  startTimer: Method
}

/**
 * Has the metric keep to `maxSeries` from now on; it has no series yet. `told` hears of each recording beyond them. What
 * is refused is refused by the client, in its words.
 */
export const cap = (metric: object, labelNames: ReadonlyArray<string>, maxSeries: number, told: () => void): void => {
  const capped = metric as Capped
  const others: Labels = Object.freeze(Object.fromEntries(labelNames.map((name) => [name, overflow])))
  const limits: Limits = { known: new Known(labelNames), labelNames, maxSeries, others, told, balance: 0 }
  const { type } = capped
  for (const method of recording[type]) {
    if (capped.enableExemplars === true) capWithExemplars(capped, method, limits)
    else capLabelled(capped, method, limits)
  }
  if (type === "histogram") capZero(capped, limits)
  // The other children of both clients record by these methods.
  if (type === "histogram" || type === "summary" || capped.enableExemplars === true) capChildren(capped, limits)
  freeRoom(capped, limits)
  if (type !== "gauge") return
  const recordedAs = (labels: Labels): Labels => (limits.known.has(labels) ? labels : limits.others)
  Object.defineProperty(metric, redirected, { value: recordedAs })
  const childOf = capped.labels.bind(capped)
  put(capped, "labels", (...args) => {
    const child = childOf(...args) as object
    rememberParent(child, capped, labelsOf(labelNames, args) as Readonly<Record<string, string>>)
    return child
  })
}

// On the metric, where another copy of this library finds it.
const redirected = Symbol.for("effect-prometheus/recorded-as")

/** The labels of the series on which a metric records what has those labels. */
export const recordedAs = (metric: object, labels: Labels): Labels =>
  (metric as { readonly [redirected]?: (labels: Labels) => Labels })[redirected]?.(labels) ?? labels

const recording = {
  counter: ["inc"],
  gauge: ["inc", "dec", "set"],
  histogram: ["observe"],
  summary: ["observe"]
} as const

type Recording = (typeof recording)[keyof typeof recording][number]

interface Limits {
  readonly known: Known
  readonly labelNames: ReadonlyArray<string>
  readonly maxSeries: number
  /** The labels of the series for all others. */
  readonly others: Labels
  readonly told: () => void
  /**
   * What a gauge has in the series for all others. As long as that is not 0, no label set gets a series of its own: what
   * `inc` put there, `dec` must find there.
   */
  balance: number
}

const put = (metric: Capped, name: keyof Capped, value: Method): void => {
  Object.defineProperty(metric, name, { value, configurable: true, writable: true })
}

// A label set that is not known, on its way to a series of its own or to the one for all others.
const enter = (
  { balance, known, labelNames, maxSeries, others, told }: Limits,
  labels: Labels,
  call: (labels: Labels) => unknown,
  recordsBeforeItThrows = false
): unknown => {
  // Those that the metric does not have are refused.
  for (const name in labels) if (!labelNames.includes(name)) return call(labels)
  const hasRoom = known.count < maxSeries && balance === 0
  const done = (): void => (hasRoom ? known.add(labels) : told())
  try {
    const result = call(hasRoom ? labels : others)
    done()
    return result
  } catch (error) {
    if (recordsBeforeItThrows) done()
    throw error
  }
}

const capLabelled = (metric: Capped, name: Recording, limits: Limits): void => {
  const record = metric[name].bind(metric)
  const { known, others } = limits
  put(metric, name, (first, value) => {
    const labels = isLabels(first) ? first : none
    if (known.has(labels)) return record(first, value)
    return enter(limits, labels, (target) => {
      if (target !== others) return record(first, value)
      const amount = isLabels(first) ? value : first
      // Of all values that were set it could only be the last.
      if (name === "set" && typeof amount === "number") return undefined
      const result = record(target, amount)
      const by = typeof amount === "number" ? amount : 1
      if (metric.type === "gauge") limits.balance += name === "dec" ? -by : by
      return result
    })
  })
}

const capWithExemplars = (metric: Capped, name: Recording, limits: Limits): void => {
  const record = metric[name].bind(metric)
  const { known, others } = limits
  put(metric, name, (data) => {
    const { exemplarLabels, labels: given } = (data ?? {}) as WithExemplar
    const labels = isLabels(given) ? given : none
    if (known.has(labels)) return record(data)
    const call = (target: Labels): unknown =>
      record(target === others ? { ...(data as WithExemplar), labels: others } : data)
    // An exemplar that is too long is refused when the value is there already.
    return enter(limits, labels, call, exemplarLabels !== undefined)
  })
}

interface WithExemplar {
  readonly labels?: unknown
  readonly exemplarLabels?: unknown
}

// What is beyond the limit stays what it is: nothing has been recorded.
const capZero = (metric: Capped, limits: Limits): void => {
  const zero = metric.zero.bind(metric)
  const { known, others } = limits
  put(metric, "zero", (labels) => {
    if (!isLabels(labels) || known.has(labels)) return zero(labels)
    return enter({ ...limits, told: () => {} }, labels, (target) => (target === others ? undefined : zero(target)))
  })
}

const capChildren = (metric: Capped, { known, labelNames }: Limits): void => {
  const childOf = metric.labels.bind(metric)
  const withExemplars = metric.enableExemplars === true
  put(metric, "labels", (...args) => {
    // A copy: whose labels change would be another series, and nobody would notice.
    const labels = labelsOf(labelNames, args)
    if (labels === undefined) return childOf(...args)
    const child = childOf(labels) as { readonly observe: (value: unknown) => void }
    if (metric.type === "counter") return { inc: (value: unknown) => metric.inc({ labels, value }) }
    let generation = -1
    const observe = (value: unknown): void => {
      if (generation === known.generation) {
        child.observe(value)
        return
      }
      metric.observe(labels, value)
      if (known.has(labels)) generation = known.generation
    }
    return {
      observe: withExemplars ? (value: unknown) => metric.observe({ labels, value }) : observe,
      startTimer: () => metric.startTimer(labels)
    }
  })
}

/** Labels as the clients take them, or `undefined` where they refuse them. */
export const labelsOf = (labelNames: ReadonlyArray<string>, args: ReadonlyArray<unknown>): Labels | undefined => {
  const [first] = args
  if (typeof first === "object") return { ...first }
  if (args.length !== labelNames.length) return undefined
  return Object.fromEntries(labelNames.map((name, at) => [name, args[at]]))
}

const freeRoom = (metric: Capped, limits: Limits): void => {
  const { known, labelNames } = limits
  const remove = metric.remove.bind(metric)
  put(metric, "remove", (...args) => {
    const labels = labelsOf(labelNames, args)
    remove(...args)
    if (labels === undefined) return
    known.remove(labels)
    if (labelNames.every((name) => labels[name] === overflow)) limits.balance = 0
  })
  // A summary keeps its series when it is reset.
  if (metric.type === "summary") return
  const reset = metric.reset.bind(metric)
  put(metric, "reset", () => {
    reset()
    known.clear()
    limits.balance = 0
  })
}
