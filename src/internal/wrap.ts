/** Measures functions, methods and promises: the hot path of the Promise side, where no effect runs. */
import type { Plan, Reporter } from "./plan.js"
import { begin, end } from "./plan.js"

/** How a call or a promise ended. */
export type Settled = PromiseSettledResult<unknown>

type AnyFunction = (this: unknown, ...args: ReadonlyArray<unknown>) => unknown

/** The same function, measured from its call until it returns, throws, or what it returned has settled. */
const measuredFunction = (fn: AnyFunction, plan: Plan<Settled>, reporter: Reporter): AnyFunction => {
  const measured: AnyFunction = function (...args) {
    const ended = started(plan, reporter)
    let result: unknown
    try {
      result = Reflect.apply(fn, this, args)
    } catch (reason) {
      ended({ status: "rejected", reason })
      throw reason
    }
    if (isThenable(result)) return settling(result, ended)
    ended({ status: "fulfilled", value: result })
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
): Promise<unknown> => settling(thenable, started(plan, reporter))

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

const started = (plan: Plan<Settled>, reporter: Reporter): ((exit: Settled) => void) => {
  const gauge = begin(plan, reporter)
  const start = plan.duration === undefined ? 0 : performance.now()
  let over = false
  return (exit) => {
    // The `then` of a class derived from Promise can answer more than once.
    if (over) return
    over = true
    const seconds = plan.duration === undefined ? 0 : (performance.now() - start) / 1e3
    end(plan, { gauge, exemplar: undefined }, seconds, exit, reporter)
  }
}

// A promise keeps its class. Any other thenable is followed by a promise, which calls its `then` once and believes only
// the first of its answers.
const settling = (thenable: PromiseLike<unknown>, ended: (exit: Settled) => void): Promise<unknown> => {
  const failed = (reason: unknown): never => {
    ended({ status: "rejected", reason })
    throw reason
  }
  try {
    return (thenable instanceof Promise ? thenable : Promise.resolve(thenable)).then((value) => {
      ended({ status: "fulfilled", value })
      return value
    }, failed)
  } catch (error) {
    // It can throw as well.
    return Promise.reject(error).catch(failed)
  }
}
