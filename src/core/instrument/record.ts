/** Writes one observation to a metric, for the Effect and the Promise side. */
import { isBrokenChild, takesExemplars } from "../client/recording.js"
import { atOnce, isThenable } from "../util/thenable.js"
import type { Counter, Gauge, Labels, LabelsFrom, Observer, SomeLabels } from "./labels.js"

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

/** In seconds. Static labels are looked up once. */
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
  const target = targeting<undefined, Gauge>(metric, labels)
  return () => target(undefined)
}

const isFunction = <X>(labels: LabelsFrom<X> | undefined): labels is (exit: X) => object => typeof labels === "function"

const targeting = <X, M>(metric: M, labels: LabelsFrom<X> | undefined): ((exit: X) => M) => {
  if (labels === undefined) return () => metric
  const labelled = metric as { labels(labels: Labels): M }
  const childOf = (own: Labels) => atOnce(labelled.labels(own), "labels() of the metric")
  if (isFunction(labels)) return (exit) => childOf({ ...atOnce(labels(exit), "labels") })
  // Looked up at the first use: a look-up can throw, and the error belongs to the observation that fails. The labels
  // are copied: a client keeps the object, and the caller may change theirs.
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
