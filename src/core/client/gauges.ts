/**
 * From a labelled child back to its gauge. A child of either client is made of bound functions alone, so nothing can be
 * read from it.
 *
 * It reaches into the clients: the timer of a child ends in the method `set` of its gauge, which is replaced, once for
 * the class, by one that can answer for whom it was called. The timer is ended with a label that no gauge can have:
 * where this goes wrong, the client refuses the call, and nothing is written. Tested with prom-client 15.1 and
 * @prometheus-io/client 0.16; a child that cannot be identified is used as it is.
 */
import { createRequire } from "node:module"
import type { Gauge, Labels } from "./labels.js"

/** The gauge of a child, and the labels of the child. */
export interface Parent {
  readonly gauge: object
  readonly labels: Labels
}

interface Child extends Gauge {
  startTimer(): (labels: Labels) => void
}

// On the child, where another copy of this library finds it.
const known = Symbol.for("effect-prometheus/parent")

/** Keeps the gauge of a child, where it is known. */
export const rememberParent = (child: object, gauge: object, labels: Labels): void => {
  const value: Parent = { gauge, labels }
  Object.defineProperty(child, known, { value, configurable: true })
}

/** The gauge of that child; `undefined` for what is no child, or for one whose gauge cannot be found. */
export const parentOf = (metric: object): Parent | undefined =>
  (metric as { readonly [known]?: Parent })[known] ?? (isChild(metric) ? identified(metric) : undefined)

const isChild = (metric: object): metric is Child => {
  const { inc, startTimer } = metric as Partial<Child>
  return inc?.name === "bound inc" && startTimer?.name === "bound startTimer"
}

interface GaugeClass {
  readonly prototype: { set(labels: unknown, value: unknown): void }
}

const classes = new Set<GaugeClass>()
const prepared = new WeakSet<GaugeClass>()

/** A class of gauges whose children may have to be identified. */
export const knownGauges = (gauge: GaugeClass): void => {
  classes.add(gauge)
}

// No label name has a hyphen.
const noLabel = "effect-prometheus"

// Of children that are made anew for each call, each question in vain takes its time.
const mostInVain = 100

let inVain = 0
let isAsking = false
let answer: Parent | undefined

const identified = (child: Child): Parent | undefined => {
  if (inVain === mostInVain) return undefined
  const error = ask(child)
  if (answer === undefined && learnedFrom(error)) ask(child)
  const found = answer
  answer = undefined
  if (found === undefined) inVain += 1
  return found
}

const ask = (child: Child): unknown => {
  for (const gauge of classes) prepare(gauge)
  isAsking = true
  try {
    child.startTimer()({ [noLabel]: "" })
    return undefined
  } catch (error) {
    return error
  } finally {
    isAsking = false
  }
}

/** Whether a call of `set` was the question for the gauge of a child, which is answered now. */
export const answers = (gauge: object, labels: unknown): boolean => {
  if (!isAsking) return false
  answer = { gauge, labels: labels as Labels }
  return true
}

const prepare = (gauge: GaugeClass): void => {
  if (prepared.has(gauge)) return
  prepared.add(gauge)
  const { prototype } = gauge
  const { set: original } = prototype
  const { set } = {
    set(this: object, labels: unknown, value: unknown): void {
      if (!answers(this, labels)) original.call(this, labels, value)
    }
  }
  Object.defineProperty(prototype, "set", { value: set, configurable: true, writable: true })
}

// Another copy of a client, or the other client: what it threw says where its class is.
const learnedFrom = (error: unknown): boolean => {
  const file = error instanceof Error ? /\((.+gauge\.js):\d+:\d+\)/.exec(error.stack ?? "")?.[1] : undefined
  if (file === undefined) return false
  const found = createRequire(import.meta.url).cache[file]?.exports as Partial<GaugeClass> | undefined
  if (typeof found?.prototype?.set !== "function") return false
  classes.add(found as GaugeClass)
  return true
}
