/**
 * Finds the gauge of a labelled child, and reports when series of a gauge are reset, removed or set. A child of either
 * client consists of bound functions, so its gauge cannot be read from it.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16. A child whose gauge cannot be found is
 * used without it.
 * - The names `bound inc` and `bound startTimer` of the methods of a child.
 * - The timer of a child ends in the method `set` of its gauge. This module replaces `set`, once per class, by one that
 *   reports its gauge and its labels. It ends the timer with a label that no gauge can have: if the replacement fails,
 *   the client rejects the call, and nothing is written.
 * - Neither client reports a change of a gauge, so `reset`, `remove` and `set` are replaced on the gauge itself.
 */
import { labelsOf, replaceMethod } from "./recording.js"

type Labels = Readonly<Record<string, string | number>>

export interface Parent {
  readonly gauge: object
  readonly labels: Labels
}

interface Child {
  startTimer(): (labels: Labels) => void
}

// A property of the child, so that another copy of this library finds it.
const known = Symbol.for("effect-prometheus/parent")

export const rememberParent = (child: object, gauge: object, labels: Labels): void => {
  const value: Parent = { gauge, labels }
  Object.defineProperty(child, known, { value, configurable: true })
}

/** `undefined` if the metric is not a child, or if its gauge cannot be found. */
export const parentOf = (metric: object): Parent | undefined =>
  (metric as { readonly [known]?: Parent })[known] ?? (isChild(metric) ? identified(metric) : undefined)

const isChild = (metric: object): metric is Child => {
  const { inc, startTimer } = metric as Partial<Child> & { readonly inc?: { readonly name: string } }
  return inc?.name === "bound inc" && startTimer?.name === "bound startTimer"
}

interface GaugeClass {
  readonly prototype: { set(labels: unknown, value: unknown): void }
}

const classes = new Set<GaugeClass>()
const prepared = new WeakSet<GaugeClass>()

/** Children of gauges of this class can then be identified. */
export const knownGauges = (gauge: GaugeClass): void => {
  classes.add(gauge)
}

// No label name has a hyphen.
const noLabel = "effect-prometheus"

// Limits the time spent on children whose gauge cannot be found. An application may create new ones for each call.
const mostFailures = 100

let failures = 0
let isAsking = false
let answer: Parent | undefined

const identified = (child: Child): Parent | undefined => {
  if (failures === mostFailures) return undefined
  const error = ask(child)
  if (answer === undefined && learnedFrom(error)) ask(child)
  const found = answer
  answer = undefined
  if (found === undefined) failures += 1
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

/** Whether this call of `set` comes from the search for the gauge of a child: it must not be recorded. */
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

// For another copy of a client, or the other client: the stack of its error names the file of its class.
const learnedFrom = (error: unknown): boolean => {
  const file = error instanceof Error ? /\((.+gauge\.js):\d+:\d+\)/.exec(error.stack ?? "")?.[1] : undefined
  if (file === undefined) return false
  // Bundlers do not follow this `require`.
  const { cache } = process.getBuiltinModule("node:module").createRequire(process.execPath)
  const found = cache[file]?.exports as Partial<GaugeClass> | undefined
  if (typeof found?.prototype?.set !== "function") return false
  classes.add(found as GaugeClass)
  return true
}

type Method = (...args: ReadonlyArray<unknown>) => unknown

export interface ClientGauge {
  readonly labelNames: ReadonlyArray<string>
  labels: Method
  reset: Method
  remove: Method
  set: Method
}

/** Whether the metric is a gauge of a client, and not a child. */
export const isClientGauge = (metric: object): metric is ClientGauge => {
  const { labelNames, labels, remove, reset, set } = metric as Partial<ClientGauge>
  return Array.isArray(labelNames) && [labels, remove, reset, set].every((method) => typeof method === "function")
}

/** They run after the change. */
export interface GaugeEvents {
  readonly onReset: () => void
  readonly onRemove: (labels: Readonly<Record<string, unknown>>) => void
  readonly onSet: (labels: Readonly<Record<string, unknown>>, value: number) => void
}

/** Throws if the methods of the gauge cannot be replaced. */
export const watchGauge = (gauge: ClientGauge, { onRemove, onReset, onSet }: GaugeEvents): void => {
  after(gauge, "reset", onReset)
  after(gauge, "remove", (args) => onRemove(labelsOf(gauge.labelNames, args) ?? {}))
  after(gauge, "set", ([first, second]) => {
    const [labels, value] = typeof first === "object" ? [first ?? {}, second] : [{}, first]
    onSet(labels as Labels, Number(value))
  })
}

const after = (
  gauge: ClientGauge,
  name: "reset" | "remove" | "set",
  report: (args: ReadonlyArray<unknown>) => void
): void => {
  const original = gauge[name]
  const replaced = {
    [name](this: unknown, ...args: ReadonlyArray<unknown>): unknown {
      if (name === "set" && answers(gauge, args[0])) return undefined
      const result = Reflect.apply(original, this, args)
      report(args)
      return result
    }
  }
  replaceMethod(gauge, name, replaced[name])
}

// A property of the metric, so that another copy of this library finds it.
const redirected = Symbol.for("effect-prometheus/recorded-as")

type Redirect = (labels: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>

/** The gauge records on other series than those of the labels. */
export const redirectSeries = (gauge: object, recordedAs: Redirect): void => {
  Object.defineProperty(gauge, redirected, { value: recordedAs })
}

export const recordedAs = (gauge: object, labels: Readonly<Record<string, unknown>>): typeof labels =>
  (gauge as { readonly [redirected]?: Redirect })[redirected]?.(labels) ?? labels
