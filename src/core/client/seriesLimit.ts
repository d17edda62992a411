/**
 * Limits the series of a metric: a recording that would create one series too many goes to an overflow series instead.
 * The recording methods are replaced, so the limit does not depend on how a client stores series, and does not affect
 * scrapes.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16.
 * - The methods of a metric are replaced on the metric itself. Calls that the clients reject are still rejected.
 * - Children of a gauge, and of a counter without exemplars, record by the methods of their metric; all other children
 *   are replaced as well. If a client changes that, children of gauges and counters record without the limit.
 */
import { redirectSeries, rememberParent } from "./gauges.js"
import { labelsOf, replaceMethod, takesExemplars } from "./recording.js"

type Labels = Readonly<Record<string, unknown>>

export const overflow = "overflow"

const none: Labels = Object.freeze({})

interface Level extends Map<unknown, Level> {}

// The level after the last label.
const last: Level = new Map()

/** A tree of label values: a look-up builds no string. */
class LabelSets {
  private root: Level = new Map()
  count = 0
  /** Changes when a label set is removed. */
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

// The clients compare values as strings.
const keyOf = (value: unknown): unknown => (typeof value === "string" || value === undefined ? value : String(value))

const isLabels = (given: unknown): given is Labels => typeof given === "object" && given !== null

type Method = (...args: ReadonlyArray<unknown>) => unknown

/** The type determines which of the methods it has. */
interface Capped {
  readonly type: "counter" | "gauge" | "histogram" | "summary"
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

/** The metric must have no series yet. `onOverflow` is called for each recording beyond the limit. */
export const limitSeries = (
  metric: object,
  labelNames: ReadonlyArray<string>,
  maxSeries: number,
  onOverflow: () => void
): void => {
  const capped = metric as Capped
  const others: Labels = Object.freeze(Object.fromEntries(labelNames.map((name) => [name, overflow])))
  const limits: Limits = { known: new LabelSets(labelNames), labelNames, maxSeries, others, onOverflow, balance: 0 }
  const { type } = capped
  for (const method of recording[type]) {
    if (takesExemplars(metric)) capWithExemplars(capped, method, limits)
    else capLabelled(capped, method, limits)
  }
  if (type === "histogram") capZero(capped, limits)
  // The other children of both clients record by the methods that are replaced above.
  if (type === "histogram" || type === "summary" || takesExemplars(metric)) capChildren(capped, limits)
  freeRoom(capped, limits)
  if (type !== "gauge") return
  const recordedAs = (labels: Labels): Labels => (limits.known.has(labels) ? labels : limits.others)
  redirectSeries(metric, recordedAs)
  const childOf = capped.labels.bind(capped)
  put(capped, "labels", (...args) => {
    const child = childOf(...args) as object
    rememberParent(child, capped, labelsOf(labelNames, args) as Readonly<Record<string, string>>)
    return child
  })
}

const recording = {
  counter: ["inc"],
  gauge: ["inc", "dec", "set"],
  histogram: ["observe"],
  summary: ["observe"]
} as const

type Recording = (typeof recording)[keyof typeof recording][number]

interface Limits {
  readonly known: LabelSets
  readonly labelNames: ReadonlyArray<string>
  readonly maxSeries: number
  /** Of the overflow series. */
  readonly others: Labels
  readonly onOverflow: () => void
  /** A gauge's overflow. Until it is 0, no label set gets a new series: a `dec` must go to the series of its `inc`. */
  balance: number
}

const put = (metric: Capped, name: keyof Capped, value: Method): void => replaceMethod(metric, name, value)

// Labels that are not known yet: records on a new series, or on the overflow series.
const enter = (
  { balance, known, labelNames, maxSeries, others, onOverflow }: Limits,
  labels: Labels,
  call: (labels: Labels) => unknown,
  recordsBeforeItThrows = false
): unknown => {
  // The client rejects labels that the metric does not have.
  for (const name in labels) if (!labelNames.includes(name)) return call(labels)
  const hasRoom = known.count < maxSeries && balance === 0
  const done = (): void => (hasRoom ? known.add(labels) : onOverflow())
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
      // The overflow series would only show the last value that was set.
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
    // The client records the value before it rejects an exemplar that is too long.
    return enter(limits, labels, call, exemplarLabels !== undefined)
  })
}

interface WithExemplar {
  readonly labels?: unknown
  readonly exemplarLabels?: unknown
}

// Beyond the limit `zero` does nothing: it records nothing.
const capZero = (metric: Capped, limits: Limits): void => {
  const zero = metric.zero.bind(metric)
  const { known, others } = limits
  put(metric, "zero", (labels) => {
    if (!isLabels(labels) || known.has(labels)) return zero(labels)
    return enter({ ...limits, onOverflow: () => {} }, labels, (target) =>
      target === others ? undefined : zero(target)
    )
  })
}

const capChildren = (metric: Capped, { known, labelNames }: Limits): void => {
  const childOf = metric.labels.bind(metric)
  const withExemplars = takesExemplars(metric as object)
  put(metric, "labels", (...args) => {
    // A copy: if the caller changes its object, the child must not silently move to another series.
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
