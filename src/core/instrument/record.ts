/** How one observation is written to a metric: the same on the Effect and on the Promise side. */
import type { Counter, Gauge, Labels, LabelsFrom, Observer, SomeLabels } from "./labels.js"
import { atOnce, isThenable } from "./thenable.js"

/** One observation. It throws what the metric or the function of labels throws, and returns what the metric returns. */
export type Observe<X> = (seconds: number, exit: X, exemplar: Labels | undefined) => unknown

/** Several increments at once. It throws what the metric throws, and returns what the metric returns. */
export type Add = (count: number) => unknown

/** Counts several at once if its `inc` takes a number, and one after the other if it takes nothing. */
interface Adder {
  inc(count?: number): void
}

/** One increment. It throws what the metric or the function of labels throws, and returns what the metric returns. */
export type Increment<X> = (exit: X, exemplar: Labels | undefined) => unknown

interface Labelled<Child> {
  labels(labels: Labels): Child
}

interface WithExemplars {
  observe(data: { value: number; labels: Labels | undefined; exemplarLabels: Labels | undefined }): void
  inc(data: { value: number; labels: Labels | undefined; exemplarLabels: Labels | undefined }): void
}

/**
 * Whether `observe` and `inc` want one object instead of labels and a value. Both clients replace the methods of a
 * histogram and a counter that were made with `enableExemplars`; on a gauge or a summary the flag changes nothing.
 */
const takesExemplars = (metric: object): metric is WithExemplars => {
  const { enableExemplars, type } = metric as { enableExemplars?: unknown; type?: unknown }
  return enableExemplars === true && (type === "histogram" || type === "counter")
}

/** A metric that cannot do what it is asked for is a mistake in the program, told where it was made. */
const requires = (metric: unknown, method: "observe" | "inc" | "dec", expected: string): void => {
  const known = metric as
    | { readonly observe?: unknown; readonly inc?: unknown; readonly dec?: unknown; readonly name?: unknown }
    | null
    | undefined
  if (typeof known?.[method] === "function") return
  const name = typeof known?.name === "string" ? ` (${known.name})` : ""
  throw new TypeError(`expected ${expected}, got a value without ${method}()${name}`)
}

/** How a duration in seconds is written to `metric`. Static labels are looked up once. */
export const observing = <X>(metric: Observer, labels: LabelsFrom<X> | undefined): Observe<X> => {
  requires(metric, "observe", "a histogram or a summary")
  if (takesExemplars(metric)) {
    const labelsOf = resolving(labels)
    return (value, exit, exemplarLabels) => metric.observe({ value, labels: labelsOf(exit), exemplarLabels })
  }
  if (labels === undefined) return (seconds) => metric.observe(seconds)
  const target = targeting<X, Observer>(metric, labels)
  return (seconds, exit) => target(exit).observe(seconds)
}

/** How an event is counted on `metric`. Static labels are looked up once. */
export const incrementing = <X>(metric: Counter, labels: LabelsFrom<X> | undefined): Increment<X> => {
  requires(metric, "inc", "a counter")
  if (takesExemplars(metric)) {
    const labelsOf = resolving(labels)
    return (exit, exemplarLabels) => metric.inc({ value: 1, labels: labelsOf(exit), exemplarLabels })
  }
  if (isBrokenChild(metric)) return refusing
  const target = targeting<X, Counter>(metric, labels)
  return (exit) => target(exit).inc()
}

/** How several events are counted on `metric`. The labels are looked up once. */
export const adding = (metric: Adder, labels: SomeLabels | undefined): Add => {
  requires(metric, "inc", "a counter")
  if (takesExemplars(metric)) {
    const labelsOf = resolving<undefined>(labels)
    return (value) => metric.inc({ value, labels: labelsOf(undefined), exemplarLabels: undefined })
  }
  if (isBrokenChild(metric)) return refusing
  const target = targeting<undefined, Adder>(metric, labels)
  return (count) => {
    const counter = target(undefined)
    // Those of both clients, and of their children, have parameters. One without any would count one.
    if (counter.inc.length > 0) return counter.inc(count)
    const pending: Array<unknown> = []
    for (let i = 0; i < count; i += 1) {
      const result: unknown = counter.inc()
      if (isThenable(result)) pending.push(result)
    }
    return pending.length === 0 ? undefined : Promise.all(pending)
  }
}

// A child of a counter with exemplars is the counter's own `inc` bound to the wrong arguments: it would count, without an
// error, the series that has no labels.
const isBrokenChild = (metric: Adder): boolean => metric.inc.name === "bound incWithExemplar"

const refusing = (): never => {
  throw new Error(
    "a child of a counter with enableExemplars counts the series without labels: pass the counter whole, with { labels }"
  )
}

/** The gauge, or its child for the labels. They cannot depend on the exit: there is none yet. */
export const tracking = (metric: Gauge, labels: SomeLabels | undefined): (() => Gauge) => {
  requires(metric, "inc", "a gauge")
  requires(metric, "dec", "a gauge")
  const target = targeting<undefined, Gauge>(metric, labels)
  return () => target(undefined)
}

const isFunction = <X>(labels: LabelsFrom<X> | undefined): labels is (exit: X) => object => typeof labels === "function"

const targeting = <X, M>(metric: M, labels: LabelsFrom<X> | undefined): ((exit: X) => M) => {
  if (labels === undefined) return () => metric
  const labelled = metric as Labelled<M>
  const childOf = (own: Labels) => atOnce(labelled.labels(own), "labels() of the metric")
  if (isFunction(labels)) return (exit) => childOf({ ...atOnce(labels(exit), "labels") })
  // Looked up at the first use, because a lookup can throw, and a throw belongs to the observation it spoils. The copy
  // is the series' own: a client keeps the object, and the caller may change theirs.
  const own = Object.freeze({ ...labels })
  let child: M | undefined
  return () => {
    child ??= childOf(own)
    return child
  }
}

const resolving = <X>(labels: LabelsFrom<X> | undefined): ((exit: X) => Labels | undefined) => {
  if (isFunction(labels)) return (exit) => ({ ...atOnce(labels(exit), "labels") })
  const own = labels && Object.freeze({ ...labels })
  return () => own
}
