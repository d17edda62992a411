/** Writes one observation to a metric, for the Effect and the Promise side. */
import { type DirectMetric, directMetric } from "../client/directMetric.js"
import { isBrokenChild, takesExemplars } from "../client/recording.js"
import { atOnce, isThenable } from "../util/thenable.js"
import type { Counter, Gauge, Labels, LabelsFrom, Observer, SomeLabels } from "./labels.js"
import { LabelTree } from "./labelTree.js"

/** Throws what the metric or the label function throws, and returns what the metric returns; so do the next two. */
export type Observe<X> = (seconds: number, exit: X, exemplar: Labels | undefined) => unknown

export type Add = (count: number) => unknown

/** Adds several at once if its `inc` has a parameter, and otherwise one after the other. */
interface Adder {
  inc(count?: number): void
}

export type Increment<X> = (exit: X, exemplar: Labels | undefined) => unknown

/** Throws at the call that passes the wrong metric, because this is a mistake in the program. */
const requires = (metric: unknown, method: "observe" | "inc" | "dec", expected: string): void => {
  const known = metric as
    | { readonly observe?: unknown; readonly inc?: unknown; readonly dec?: unknown; readonly name?: unknown }
    | null
    | undefined
  if (typeof known?.[method] === "function") return
  const name = typeof known?.name === "string" ? ` (${known.name})` : ""
  throw new TypeError(`expected ${expected}, got a value without ${method}()${name}`)
}

/** In seconds. The series of labels are looked up once. */
export const observing = <X>(metric: Observer, labels: LabelsFrom<X> | undefined): Observe<X> => {
  requires(metric, "observe", "a histogram or a summary")
  if (takesExemplars(metric)) {
    const labelsOf = resolving(labels)
    return (value, exit, exemplarLabels) => metric.observe({ value, labels: labelsOf(exit), exemplarLabels })
  }
  return recording<X, Observer>(metric, labels, observe, (child, seconds) => child.observe(seconds))
}

export const incrementing = <X>(metric: Counter, labels: LabelsFrom<X> | undefined): Increment<X> => {
  requires(metric, "inc", "a counter")
  if (takesExemplars(metric)) {
    const labelsOf = resolving(labels)
    return (exit, exemplarLabels) => metric.inc({ value: 1, labels: labelsOf(exit), exemplarLabels })
  }
  if (isBrokenChild(metric)) return refusing
  const record = recording<X, Counter>(metric, labels, increment, (child) => child.inc())
  return (exit) => record(1, exit)
}

export const adding = (metric: Adder, labels: SomeLabels | undefined): Add => {
  requires(metric, "inc", "a counter")
  if (takesExemplars(metric)) {
    const labelsOf = resolving<undefined>(labels)
    return (value) => metric.inc({ value, labels: labelsOf(undefined), exemplarLabels: undefined })
  }
  if (isBrokenChild(metric)) return refusing
  const target = targeting(metric, labels)
  return (count) => {
    const counter = target()
    // `inc` of both clients and of their children has parameters. An `inc` without parameters would add only one.
    if (counter.inc.length > 0) return counter.inc(count)
    const pending: Array<unknown> = []
    for (let i = 0; i < count; i += 1) {
      const result: unknown = counter.inc()
      if (isThenable(result)) pending.push(result)
    }
    return pending.length === 0 ? undefined : Promise.all(pending)
  }
}

const refusing = (): never => {
  throw new Error(
    "a child of a counter with enableExemplars increments the series without labels: pass the counter with { labels }"
  )
}

/** The labels cannot depend on the exit, because the run has not ended yet. */
export const tracking = (metric: Gauge, labels: SomeLabels | undefined): (() => Gauge) => {
  requires(metric, "inc", "a gauge")
  requires(metric, "dec", "a gauge")
  return targeting(metric, labels)
}

/** Undefined for a gauge that cannot be set. */
export const setting = (metric: Gauge, labels: SomeLabels): ((value: number) => unknown) | undefined => {
  if (typeof (metric as Partial<Settable>).set !== "function") return undefined
  const record = recording<undefined, Settable>(metric as Settable, labels, set, (child, value) => child.set(value))
  return (value) => record(value, undefined)
}

interface Settable extends Gauge {
  set(value: number): void
}

/** Records on a series of the metric, where the client stores it. */
type Directly = (metric: DirectMetric, series: DirectSeries, value: number) => unknown

interface DirectSeries {
  readonly key: string
  readonly labels: Labels | undefined
}

const observe: Directly = (metric, { key, labels }, value) => metric.observe(key, labels, value)

const increment: Directly = (metric, { key, labels }) => metric.inc(key, labels)

const set: Directly = (metric, { key, labels }, value) => metric.set(key, labels, value)

/** Records by the method of a child, if the metric cannot be recorded directly or the labels are not those of the metric. */
const recording = <X, M extends object>(
  metric: M,
  labels: LabelsFrom<X> | undefined,
  directly: Directly,
  onChild: (child: M, value: number) => unknown
): ((value: number, exit: X) => unknown) => {
  const direct = directMetric(metric)
  if (isFunction(labels)) {
    const known = direct && new KnownSeries(direct)
    const childOf = children(metric)
    return (value, exit) => {
      const own: Labels = { ...atOnce(labels(exit), "labels") }
      const series = direct?.hasOwnLabels() === true ? known?.of(own) : undefined
      if (direct === undefined || series === undefined) return onChild(childOf(own), value)
      return directly(direct, series, value)
    }
  }
  const own = copied(labels)
  const key = direct?.keyOf(own)
  const child = targeting(metric, own)
  if (direct === undefined || key === undefined) return (value) => onChild(child(), value)
  const series: DirectSeries = { key, labels: own }
  return (value) => (direct.hasOwnLabels() ? directly(direct, series, value) : onChild(child(), value))
}

// Their labels may be long texts, and of series that were removed.
const mostSeries = 2_000

/** The series of one metric, by labels that are computed for each run. */
class KnownSeries {
  private readonly all = new LabelTree<DirectSeries>(mostSeries)

  constructor(private readonly metric: DirectMetric) {}

  /** Undefined unless the labels are exactly those of the metric. The labels belong to the series from now on. */
  of(labels: Labels): DirectSeries | undefined {
    const { labelNames } = this.metric
    if (labelNames.length === 0) return this.found([], labels)
    const values: Array<string | number> = []
    for (const name of labelNames) {
      const value: unknown = Object.hasOwn(labels, name) ? labels[name] : undefined
      if (typeof value !== "string" && typeof value !== "number") return undefined
      values.push(value)
    }
    if (Object.keys(labels).length !== values.length) return undefined
    return this.all.get(values) ?? this.found(values, labels)
  }

  private found(values: ReadonlyArray<string | number>, labels: Labels): DirectSeries | undefined {
    const key = this.metric.keyOf(labels)
    if (key === undefined) return undefined
    const series = { key, labels }
    if (values.length > 0) this.all.set(values, series)
    return series
  }
}

const isFunction = <X>(labels: LabelsFrom<X> | undefined): labels is (exit: X) => object => typeof labels === "function"

// The client keeps the object, and the caller may change theirs.
const copied = (labels: SomeLabels | undefined): Labels | undefined =>
  labels === undefined ? undefined : Object.freeze({ ...labels })

const children = <M>(metric: M): ((labels: Labels) => M) => {
  const labelled = metric as { labels(labels: Labels): M }
  return (own) => atOnce(labelled.labels(own), "labels() of the metric")
}

const targeting = <M>(metric: M, labels: SomeLabels | undefined): (() => M) => {
  if (labels === undefined) return () => metric
  const childOf = children(metric)
  // Looked up at the first use: a look-up can throw, and the error belongs to the observation that fails.
  const own = copied(labels) as Labels
  let child: M | undefined
  return () => {
    child ??= childOf(own)
    return child
  }
}

const resolving = <X>(labels: LabelsFrom<X> | undefined): ((exit: X) => Labels | undefined) => {
  if (isFunction(labels)) return (exit) => ({ ...atOnce(labels(exit), "labels") })
  const own = copied(labels)
  return () => own
}
