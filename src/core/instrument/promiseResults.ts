/** Follows the result of a measured function to its end, and gives an equivalent result to the caller. */
import { types } from "node:util"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { isThenable } from "../util/thenable.js"
import { begin, end, leave, type Plan, type Reporter } from "./instruments.js"
import type { Gauge } from "./labels.js"

export type Settled = PromiseSettledResult<unknown>

/** One run of a measured function. It is recorded once, at its first end. */
export class Run {
  /** Whether `then` of a thenable, which may be lazy, was called. */
  isAwaited = false
  private isFollowed = false
  private isResting = false
  private isOver = false
  private gauge: Gauge | undefined
  private start = 0

  constructor(
    readonly plan: Plan<Settled>,
    readonly reporter: Reporter
  ) {
    this.begin()
  }

  fulfilled(value: unknown): void {
    this.end(this.plan.looksAtExit ? { status: "fulfilled", value } : unseen)
  }

  rejected(reason: unknown): void {
    this.end(this.plan.looksAtExit ? { status: "rejected", reason } : unseen)
  }

  /** Takes the run back until `follow` is called, because its work may not have begun. */
  rest(): void {
    if (this.isFollowed || this.isOver) return
    this.isResting = true
    leave(this.plan.inProgress, this.gauge, this.reporter)
    this.gauge = undefined
  }

  /** Marks the run as certain to end. If it was taken back, it begins again. */
  follow(): void {
    this.isFollowed = true
    if (!this.isResting || this.isOver) return
    this.isResting = false
    this.begin()
  }

  /** Whether another run of the same instruments can replace it. */
  isReplacedBy({ plan }: Run): boolean {
    return this.isResting && this.plan === plan
  }

  private begin(): void {
    this.gauge = begin(this.plan, this.reporter)
    this.start = this.plan.duration === undefined ? 0 : performance.now()
  }

  private end(exit: Settled): void {
    if (this.isOver) return
    this.isOver = true
    // Not below 0 if a test has replaced the clock in between.
    const seconds = this.plan.duration === undefined ? 0 : Math.max(0, performance.now() - this.start) / 1e3
    end(this.plan, this.gauge, seconds, exit, undefined, this.reporter)
  }
}

/**
 * What the caller of a measured function gets for `result`, which is followed to its end if it has one:
 *
 * - a native promise, such as the result of an `async` function: the promise that follows it
 * - a native promise with its own properties, or of a class with the same `then`: the same promise
 * - another thenable, which may be lazy: the same thenable, measured when its `then` is called
 * - a generator: a generator that delegates to it
 * - anything else: the same value
 */
export const follow = (result: unknown, run: Run): unknown => {
  if (typeof result !== "object" && typeof result !== "function") {
    run.fulfilled(result)
    return result
  }
  if (isThenable(result)) return followThenable(result, run, false)
  if (types.isGeneratorObject(result)) return followGenerator(result as AnyGenerator, run)
  run.fulfilled(result)
  return result
}

/** Like `follow` for promises. Any other `then` is called once, immediately. */
export const followPromise = (thenable: PromiseLike<unknown>, run: Run): PromiseLike<unknown> => {
  if (isNative(thenable)) return followNative(thenable, run, false)
  return derived(thenable instanceof Promise ? thenable : Promise.resolve(thenable), run, false)
}

type SyncGenerator = Generator<unknown, unknown, unknown>
type AnyGenerator = SyncGenerator | AsyncGenerator<unknown, unknown, unknown>

/** The run lasts from the first `next` to the end. */
export function* measuredGenerator(generator: SyncGenerator, plan: Plan<Settled>, reporter: Reporter): SyncGenerator {
  const run = new Run(plan, reporter)
  try {
    const value = yield* generator
    run.fulfilled(value)
    return value
  } catch (reason) {
    run.rejected(reason)
    throw reason
  } finally {
    // The caller left it early, unless it has already ended.
    run.fulfilled(undefined)
  }
}

export async function* measuredAsyncGenerator(
  generator: AsyncGenerator<unknown, unknown, unknown>,
  plan: Plan<Settled>,
  reporter: Reporter
): AsyncGenerator<unknown, unknown, unknown> {
  const run = new Run(plan, reporter)
  try {
    const value = yield* generator
    run.fulfilled(value)
    return value
  } catch (reason) {
    run.rejected(reason)
    throw reason
  } finally {
    // The caller left it early, unless it has already ended.
    run.fulfilled(undefined)
  }
}

// The exit for instruments that do not use it.
const unseen: Settled = { status: "fulfilled", value: undefined }

class Same {
  constructor(original: object) {
    // biome-ignore lint/correctness/noConstructorReturn: this is what puts the private field of Substitute on it
    return original
  }
}

// What callers get instead of a promise or a generator. It is stored in a private field of the original object, which
// is invisible there and costs a fraction of an entry of a WeakMap.
class Substitute extends Same {
  readonly #substitute: unknown

  constructor(original: object, substitute: unknown) {
    super(original)
    this.#substitute = substitute
  }

  static of(original: object): unknown {
    return #substitute in original ? original.#substitute : undefined
  }
}

// The properties of a generator that `yield*` reads.
const asked: ReadonlyArray<PropertyKey> = ["next", "return", "throw", Symbol.iterator, Symbol.asyncIterator]

const followGenerator = (generator: AnyGenerator, run: Run): unknown => {
  run.rest()
  const known = Substitute.of(generator)
  if (known !== undefined) return known
  const { plan, reporter } = run
  const outer =
    Symbol.asyncIterator in generator
      ? measuredAsyncGenerator(generator, plan, reporter)
      : measuredGenerator(generator, plan, reporter)
  Object.setPrototypeOf(outer, Object.getPrototypeOf(generator))
  for (const key of Reflect.ownKeys(generator)) {
    const own = Object.getOwnPropertyDescriptor(generator, key)
    if (own !== undefined && !asked.includes(key)) Reflect.defineProperty(outer, key, own)
  }
  new Substitute(generator, outer)
  return outer
}

type Observer = (value: unknown) => unknown

// The class of promises that `await` uses without a wrapper, even if a program has replaced the global class.
const nativePrototype: Promise<unknown> = Object.getPrototypeOf((async () => {})())
const NativePromise = nativePrototype.constructor

const fulfilling =
  (run: Run, isLesser: boolean): Observer =>
  (value) => {
    if (!isLesser || !run.isAwaited) run.fulfilled(value)
    return value
  }

const rejecting =
  (run: Run, isLesser: boolean): Observer =>
  (reason) => {
    if (!isLesser || !run.isAwaited) run.rejected(reason)
    throw reason
  }

const ignore = (): void => {}

const followThenable = (thenable: PromiseLike<unknown>, run: Run, isLesser: boolean): unknown =>
  isNative(thenable) ? followNative(thenable, run, isLesser) : postponed(thenable, run)

/** Whether it is a promise whose state `await` reads directly, so that calling its `then` has no side effects. */
const isNative = (thenable: PromiseLike<unknown>): thenable is Promise<unknown> =>
  types.isPromise(thenable) &&
  (Substitute.of(thenable) !== undefined ||
    thenable.constructor === NativePromise ||
    thenable.then === nativePrototype.then ||
    isNativePrototype(Object.getPrototypeOf(thenable)))

/** Whether it is the prototype of the promises of this realm or of another one. */
const isNativePrototype = (prototype: object | null): boolean =>
  prototype === nativePrototype ||
  (prototype !== null &&
    Object.getOwnPropertyDescriptor(prototype, Symbol.toStringTag)?.value === "Promise" &&
    isTop(Object.getPrototypeOf(prototype)))

const isTop = (prototype: object | null): boolean => prototype === null || Object.getPrototypeOf(prototype) === null

const followNative = (promise: Promise<unknown>, run: Run, isLesser: boolean): Promise<unknown> => {
  run.follow()
  const known = Substitute.of(promise)
  if (known !== undefined) {
    // The substitute shows whether its rejection is handled.
    observed(promise, fulfilling(run, isLesser), rejecting(run, isLesser)).catch(ignore)
    return known as Promise<unknown>
  }
  const substitute = isBare(promise)
    ? derived(promise, run, isLesser)
    : (mirrored(promise, run, isLesser) ?? copied(promise, run, isLesser))
  new Substitute(promise, substitute)
  return substitute
}

/** Node.js puts its own symbols on promises, with values that are not functions. */
const isBare = (promise: Promise<unknown>): boolean =>
  isNativePrototype(Object.getPrototypeOf(promise)) &&
  Object.getOwnPropertyNames(promise).length === 0 &&
  Object.getOwnPropertySymbols(promise).every((symbol) => typeof Reflect.get(promise, symbol) !== "function")

/** An unhandled rejection is reported there. */
const derived = (promise: Promise<unknown>, run: Run, isLesser: boolean): Promise<unknown> => {
  try {
    return promise.then(fulfilling(run, isLesser), rejecting(run, isLesser))
  } catch (error) {
    // The `then` of a class derived from Promise can also throw.
    return Promise.reject(error).catch(rejecting(run, isLesser))
  }
}

const copied = (promise: Promise<unknown>, run: Run, isLesser: boolean): Promise<unknown> => {
  const { then: _, ...own } = Object.getOwnPropertyDescriptors(promise)
  return Object.defineProperties(derived(promise, run, isLesser), own)
}

/** Calls the native `then`, without making an instance of a derived class. */
const observed = (promise: Promise<unknown>, fulfilled: Observer, rejected: Observer): Promise<unknown> => {
  const prototype = Object.getPrototypeOf(promise)
  const isSwapped = prototype !== nativePrototype && Reflect.setPrototypeOf(promise, nativePrototype)
  try {
    return Reflect.apply(nativePrototype.then, promise, [fulfilled, rejected])
  } finally {
    if (isSwapped) Object.setPrototypeOf(promise, prototype)
  }
}

// A promise that is itself returned is already handled, by the promise that follows it. An unhandled rejection is
// reported there, until the caller awaits the returned one or calls its `then`, also through its own methods.
const mirrors = oncePerProcess("mirrors of promises", () => new WeakMap<object, Promise<unknown>>())

const mirrored = (promise: Promise<unknown>, run: Run, isLesser: boolean): Promise<unknown> | undefined => {
  if (!Object.isExtensible(promise) || Object.hasOwn(promise, "then") || Object.hasOwn(promise, "constructor")) {
    return undefined
  }
  mirrors.set(promise, observed(promise, fulfilling(run, isLesser), rejecting(run, isLesser)))
  return Object.setPrototypeOf(promise, mirrorLayer(Object.getPrototypeOf(promise)))
}

/** Makes the layer between an object and its prototype, once per prototype. */
const layers = (make: (prototype: object) => object): ((prototype: object) => object) => {
  const made = new WeakMap<object, object>()
  return (prototype) => getOrInsert(made, prototype, make)
}

// Both `await` and the native `then` read the constructor of a promise.
const mirrorLayer = layers((prototype) =>
  Object.create(prototype, {
    constructor: {
      configurable: true,
      get(this: object) {
        mirrors.get(this)?.catch(ignore)
        return Reflect.get(prototype, "constructor")
      },
      set(this: object, value: unknown) {
        Object.defineProperty(this, "constructor", { value, configurable: true, enumerable: true, writable: true })
      }
    }
  })
)

// Runs of thenables that may be lazy: the work is done by `then`, or by another method that returns a promise.
const waiting = oncePerProcess("waiting thenables", () => new WeakMap<object, Set<Run>>())
const watchers = oncePerProcess("watched methods", () => new WeakSet<object>())

const postponed = (thenable: PromiseLike<unknown>, run: Run): unknown => {
  let runs = waiting.get(thenable)
  if (runs === undefined) {
    if (!isWatched(thenable)) {
      run.fulfilled(thenable)
      return thenable
    }
    runs = new Set()
    waiting.set(thenable, runs)
  }
  for (const other of runs) if (other.isReplacedBy(run)) runs.delete(other)
  runs.add(run)
  // After all jobs of this turn: code that awaits it immediately has called its `then` by now.
  queueMicrotask(() => process.nextTick(() => run.rest()))
  return thenable
}

/** Watches the methods of a thenable. Returns false if that is not possible. */
const isWatched = (thenable: PromiseLike<unknown>): boolean => {
  try {
    const prototype = Object.getPrototypeOf(thenable)
    if (isOfClass(prototype)) Reflect.setPrototypeOf(thenable, watchingLayer(prototype))
    const own: Descriptors = Object.getOwnPropertyDescriptors(thenable)
    watchMethods(own, thenable, (key) => own[key]?.value)
    return watchers.has(thenable.then)
  } catch {
    return false
  }
}

const isOfClass = (prototype: object | null): prototype is object =>
  prototype !== null && !isTop(prototype) && !isNativePrototype(prototype) && prototype !== Function.prototype

const isMethod = (value: unknown): value is (...args: ReadonlyArray<unknown>) => unknown => typeof value === "function"

const watchingLayer = layers((prototype) => {
  let all: Descriptors = {}
  for (let from: object | null = prototype; isOfClass(from); from = Object.getPrototypeOf(from))
    all = { ...Object.getOwnPropertyDescriptors(from), ...all }
  const layer = Object.create(prototype)
  // The current method at the time of the call: tests replace it by stubs.
  watchMethods(all, layer, (key) => Reflect.get(prototype, key))
  return layer
})

type Descriptors = Readonly<Record<PropertyKey, PropertyDescriptor>>

const watchMethods = (all: Descriptors, on: object, now: (key: PropertyKey) => Method): void => {
  for (const key of Reflect.ownKeys(all)) {
    const own = all[key]
    if (key === "constructor" || !isMethod(own?.value) || isConstructor(own.value)) continue
    const watch = key === "then" ? watchedThen : watched
    Reflect.defineProperty(on, key, { ...own, value: watch(own.value, key, () => now(key)) })
  }
}

// A constructor is recognized by its identity, so it must not be replaced; and calling it does no work of a run.
const isConstructor = (fn: Method): boolean => {
  const own = Object.getOwnPropertyDescriptor(fn, "prototype")
  return own !== undefined && (own.writable === false || Reflect.ownKeys(Object(own.value)).length > 1)
}

type Method = (...args: ReadonlyArray<unknown>) => unknown

const none: ReadonlySet<Run> = new Set()

const runsOf = (self: unknown): ReadonlySet<Run> => waiting.get(self as object) ?? none

const watched = (method: Method, key: PropertyKey, now: () => Method): Method =>
  new Proxy(method, {
    apply(_, self, args) {
      const method = now()
      const runs = [...runsOf(self)]
      // The promise that `catch` returns does not reject any more, so the rejection is recorded in its handler.
      const handlers = key === "catch" && args.length === 1 ? [onRejection(runs, args[0])] : args
      const result = Reflect.apply(method, self, handlers)
      if (result === self || !isThenable(result)) return result
      return runs.reduce<unknown>((given, run) => followThenable(given as PromiseLike<unknown>, run, true), result)
    }
  })

const watchedThen = (method: Method, _: PropertyKey, now: () => Method): Method => {
  const watching = new Proxy(method, {
    apply(_, self, args) {
      const then = now()
      const runs = [...runsOf(self)]
      if (runs.length === 0) return Reflect.apply(then, self, args)
      waiting.get(self as object)?.clear()
      for (const run of runs) {
        run.follow()
        run.isAwaited = true
      }
      const [onFulfilled, onRejected, ...others] = args
      const fulfilled = function (this: unknown, ...values: ReadonlyArray<unknown>) {
        for (const run of runs) run.fulfilled(values[0])
        return isMethod(onFulfilled) ? Reflect.apply(onFulfilled, this, values) : values[0]
      }
      const rethrow = (reason: unknown) => {
        throw reason
      }
      const rejected = onRejection(runs, isMethod(onRejected) ? onRejected : rethrow)
      try {
        return Reflect.apply(then, self, [fulfilled, rejected, ...others])
      } catch (error) {
        for (const run of runs) run.rejected(error)
        throw error
      }
    }
  })
  watchers.add(watching)
  return watching
}

const onRejection = (runs: ReadonlyArray<Run>, handler: unknown): unknown =>
  isMethod(handler)
    ? function (this: unknown, ...reasons: ReadonlyArray<unknown>) {
        for (const run of runs) run.rejected(reasons[0])
        return Reflect.apply(handler, this, reasons)
      }
    : handler
