/** Measures functions, methods and promises: the hot path of the Promise side, where no effect runs. */
import type { Gauge } from "./labels.js"
import type { Plan, Reporter } from "./plan.js"
import { begin, end } from "./plan.js"

/** How a call or a promise ended. */
export type Settled = PromiseSettledResult<unknown>

type AnyFunction = (this: unknown, ...args: ReadonlyArray<unknown>) => unknown

/** The same function, measured from its call until it returns, throws, or what it returned has settled. */
const measuredFunction = (fn: AnyFunction, plan: Plan<Settled>, reporter: Reporter): AnyFunction => {
  const measured: AnyFunction = function (...args) {
    const gauge = begin(plan, reporter)
    const start = now(plan)
    let result: unknown
    try {
      result = Reflect.apply(fn, this, args)
    } catch (reason) {
      ended(plan, gauge, start, rejectedWith(reason, plan), reporter)
      throw reason
    }
    if (isThenable(result)) return settling(result, plan, gauge, start, reporter)
    ended(plan, gauge, start, fulfilledWith(result, plan), reporter)
    return result
  }
  // Its name, its length and whatever else it carries; a strict function has no place for the two legacy ones.
  const { arguments: _, caller: __, ...own } = Object.getOwnPropertyDescriptors(fn)
  return Object.defineProperties(measured, own)
}

/** The promise that follows `thenable`, measured from now on. `then` is called once, on what was given. */
export const measuredPromise = (
  thenable: PromiseLike<unknown>,
  plan: Plan<Settled>,
  reporter: Reporter
): Promise<unknown> => settling(thenable, plan, begin(plan, reporter), now(plan), reporter)

/**
 * What `timed(…)` and its like give back: a wrapper of functions, which is also a decorator of methods, both the
 * standard (TC39) one and that of `experimentalDecorators`.
 */
export const wrapper =
  (plan: Plan<Settled>, reporter: Reporter) =>
  (...args: ReadonlyArray<unknown>): unknown => {
    const [target, second, third] = args
    // Arguments of these shapes come from `experimentalDecorators`. The target of a static method is a function.
    if ((typeof second === "string" || typeof second === "symbol") && (third === undefined || isDescriptor(third))) {
      if (typeof third?.value !== "function") throw notAMethod(String(second))
      return { ...third, value: measuredFunction(third.value, plan, reporter) }
    }
    const context = second as Partial<DecoratorContext> | undefined
    if (typeof context === "object" && typeof context.kind === "string" && context.kind !== "method") {
      throw notAMethod(`${context.kind} ${String(context.name)}`)
    }
    if (typeof target !== "function") throw new TypeError(`expected a function or a method, got ${typeof target}`)
    return measuredFunction(target as AnyFunction, plan, reporter)
  }

/** Whether `await` would wait for it. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> => {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false
  try {
    return typeof (value as { readonly then?: unknown }).then === "function"
  } catch {
    return false
  }
}

// Not whatever else is called with a value, its key and where it is from, such as a `mapValues`.
const isDescriptor = (value: unknown): value is PropertyDescriptor =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "configurable") === "boolean"

const notAMethod = (what: string) => new TypeError(`only methods and functions can be measured, not ${what}`)

// How a run ended, for those that do not look.
const unseen: Settled = { status: "fulfilled", value: undefined }

const fulfilledWith = (value: unknown, { looksAtExit }: Plan<Settled>): Settled =>
  looksAtExit ? { status: "fulfilled", value } : unseen

const rejectedWith = (reason: unknown, { looksAtExit }: Plan<Settled>): Settled =>
  looksAtExit ? { status: "rejected", reason } : unseen

const now = (plan: Plan<Settled>): number => (plan.duration === undefined ? 0 : performance.now())

const ended = (
  plan: Plan<Settled>,
  gauge: Gauge | undefined,
  start: number,
  exit: Settled,
  reporter: Reporter
): void => {
  end(plan, gauge, (now(plan) - start) / 1e3, exit, undefined, reporter)
}

// A promise keeps its class. Any other thenable is followed by a promise, which calls its `then` once and believes only
// the first of its answers.
const settling = (
  thenable: PromiseLike<unknown>,
  plan: Plan<Settled>,
  gauge: Gauge | undefined,
  start: number,
  reporter: Reporter
): Promise<unknown> => {
  // The `then` of a class derived from Promise can answer more than once.
  let over = false
  const fulfilled = (value: unknown): unknown => {
    if (!over) {
      over = true
      ended(plan, gauge, start, fulfilledWith(value, plan), reporter)
    }
    return value
  }
  const rejected = (reason: unknown): never => {
    if (!over) {
      over = true
      ended(plan, gauge, start, rejectedWith(reason, plan), reporter)
    }
    throw reason
  }
  try {
    return (thenable instanceof Promise ? thenable : Promise.resolve(thenable)).then(fulfilled, rejected)
  } catch (error) {
    // It can throw as well.
    return Promise.reject(error).catch(rejected)
  }
}
