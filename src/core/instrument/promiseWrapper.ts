/** Measures functions, methods and promises: the hot path of the Promise side, where no effect runs. */
import { promisify, types } from "node:util"
import { getOrInsert } from "../util/getOrInsert.js"
import type { Plan, Reporter } from "./instruments.js"
import type { Settled } from "./promiseResults.js"
import { follow, followPromise, measuredAsyncGenerator, measuredGenerator, Run } from "./promiseResults.js"

type AnyFunction = (this: unknown, ...args: ReadonlyArray<unknown>) => unknown

interface Measuring {
  readonly call: (self: unknown, args: ArrayLike<unknown>) => unknown
  readonly plan: Plan<Settled>
  readonly reporter: Reporter
}

/** Returns the same promise, or the one that follows `thenable`. */
export const measuredPromise = (
  thenable: PromiseLike<unknown>,
  plan: Plan<Settled>,
  reporter: Reporter
): PromiseLike<unknown> => followPromise(thenable, new Run(plan, reporter))

/** Wraps functions and decorates methods, by the standard (TC39) or by `experimentalDecorators`. */
export const wrapper =
  (plan: Plan<Settled>, reporter: Reporter) =>
  (target: unknown, second?: unknown, third?: unknown): unknown => {
    // Arguments of these shapes come from `experimentalDecorators`. The target of a static method is a function.
    const isKey = typeof second === "string" || typeof second === "symbol"
    if (typeof third === "number") {
      throw notAMethod(`parameter ${third} of ${isKey ? String(second) : "a constructor"}`)
    }
    if (isKey && (third === undefined || isDescriptor(third))) {
      if (typeof third?.value !== "function") throw notAMethod(String(second))
      return { ...third, value: measuredFunction(third.value, plan, reporter) }
    }
    const context = second as Partial<DecoratorContext> | null | undefined
    if (typeof context?.kind === "string" && context.kind !== "method") {
      throw notAMethod(`${context.kind} ${String(context.name)}`)
    }
    if (typeof target !== "function") throw notAMethod(target === null ? "null" : typeof target)
    return measuredFunction(target as AnyFunction, plan, reporter)
  }

const measuredFunction = (fn: AnyFunction, plan: Plan<Settled>, reporter: Reporter): AnyFunction => {
  if (isClass(fn)) throw notAMethod(`class ${fn.name}`)
  let isCalled = false
  const call: Measuring["call"] = (self, args) => {
    if (!isCalled) {
      isCalled = true
      // Metadata that later decorators put on the measured function, for code that reads them from the original.
      copyMetadata(measured, fn)
    }
    return Reflect.apply(fn, self, args)
  }
  const measured = ofSameKind(fn, { call, plan, reporter }) ?? proxied(fn, { call, plan, reporter })
  copyMetadata(fn, measured)
  return measured
}

// Async functions and generator functions get one of the same kind: a Proxy is not recognized as one. Others get a
// Proxy, also those with own properties that are not frozen: changes of the original would not appear on a copy.
const ofSameKind = (fn: AnyFunction, measuring: Measuring): AnyFunction | undefined => {
  const make = kindOf(fn)
  if (make === undefined || (hasMore(fn) && !Object.isFrozen(fn))) return undefined
  const measured = make(measuring)
  return copyProperties(fn, measured, measured, measuring)
}

/** The function that `util.promisify` returns is measured. */
const copyProperties = (
  fn: AnyFunction,
  copy: AnyFunction,
  measured: AnyFunction,
  { plan, reporter }: Measuring
): AnyFunction => {
  const own: { [key: PropertyKey]: PropertyDescriptor } = Object.getOwnPropertyDescriptors(fn)
  const custom = own[promisify.custom]
  if (typeof custom?.value === "function") {
    custom.value = custom.value === fn ? measured : measuredFunction(custom.value, plan, reporter)
  }
  Object.setPrototypeOf(copy, Object.getPrototypeOf(fn))
  Object.defineProperties(copy, own)
  return Object.isExtensible(fn) ? copy : Object.preventExtensions(copy)
}

const kindOf = (fn: AnyFunction): ((measuring: Measuring) => AnyFunction) | undefined => {
  if (!types.isGeneratorFunction(fn)) return types.isAsyncFunction(fn) ? asyncFunction : undefined
  return types.isAsyncFunction(fn) ? asyncGeneratorFunction : generatorFunction
}

const everyones: ReadonlyArray<PropertyKey> = ["length", "name", "prototype"]

const hasMore = (fn: AnyFunction): boolean => Reflect.ownKeys(fn).some((key) => !everyones.includes(key))

// These functions are methods, because methods have no prototype and are not constructors either.
const asyncFunction = ({ call, plan, reporter }: Measuring): AnyFunction =>
  ({
    async measured(this: unknown, ...args: ReadonlyArray<unknown>): Promise<unknown> {
      const run = new Run(plan, reporter)
      try {
        const value = await call(this, args)
        run.fulfilled(value)
        return value
      } catch (reason) {
        run.rejected(reason)
        throw reason
      }
    }
  }).measured

// A generator function can throw at its call, before the generator exists: when its parameters are evaluated.
const generatorFunction = ({ call, plan, reporter }: Measuring): AnyFunction =>
  ({
    // biome-ignore lint/complexity/noArguments: there is no other name for them there
    *measured(this: unknown, ...{ [given]: generator = call(this, arguments) }: Given): Generator {
      return yield* measuredGenerator(generator as Generator, plan, reporter)
    }
  }).measured

const asyncGeneratorFunction = ({ call, plan, reporter }: Measuring): AnyFunction =>
  ({
    // biome-ignore lint/complexity/noArguments: there is no other name for them there
    async *measured(this: unknown, ...{ [given]: generator = call(this, arguments) }: Given): AsyncGenerator {
      return yield* measuredAsyncGenerator(generator as AsyncGenerator, plan, reporter)
    }
  }).measured

const given = Symbol("given")
type Given = ReadonlyArray<unknown> & { readonly [given]?: unknown }

const proxied = (fn: AnyFunction, measuring: Measuring): AnyFunction => {
  const { call, plan, reporter } = measuring
  const customs = new WeakMap<AnyFunction, AnyFunction>()
  const customOf = (custom: AnyFunction): AnyFunction =>
    getOrInsert(customs, custom, () => measuredFunction(custom, plan, reporter))
  const target = isPinned(fn) ? blank(fn) : fn
  const measured: AnyFunction = new Proxy(target, {
    apply(_, self, args) {
      const run = new Run(plan, reporter)
      let result: unknown
      try {
        result = call(self, args)
      } catch (reason) {
        run.rejected(reason)
        throw reason
      }
      return follow(result, run)
    },
    construct(_, args, newTarget) {
      const run = new Run(plan, reporter)
      let result: object
      try {
        result = Reflect.construct(fn, args, newTarget === measured ? fn : newTarget)
      } catch (reason) {
        run.rejected(reason)
        throw reason
      }
      return follow(result, run) as object
    },
    // `util.promisify` marks its result, which is measured as well, with the result itself as the value.
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver)
      const isCustom = key === promisify.custom && typeof value === "function" && !isPinned(target)
      return isCustom ? customOf(value as AnyFunction) : value
    },
    defineProperty: (target, key, own) =>
      Reflect.defineProperty(
        target,
        key,
        key === promisify.custom && own.value === measured ? { ...own, value: fn } : own
      )
  })
  customs.set(fn, measured)
  if (target !== fn) copyProperties(fn, target, measured, measuring)
  return measured
}

// A Proxy is a constructor only if its target is one.
const blank = (fn: AnyFunction): AnyFunction => {
  try {
    Reflect.construct(Object, [], fn)
    // biome-ignore lint/complexity/useArrowFunction: an arrow function is no constructor
    return function () {}
  } catch {
    return () => {}
  }
}

/** Whether a Proxy cannot return another value for the property that `util.promisify` reads. */
const isPinned = (fn: AnyFunction): boolean => {
  const own = Object.getOwnPropertyDescriptor(fn, promisify.custom)
  return own?.configurable === false && own.writable === false
}

const isClass = (fn: AnyFunction): boolean =>
  Object.hasOwn(fn, "prototype") && /^class\b/.test(Function.prototype.toString.call(fn))

/** The functions that `reflect-metadata` adds to `Reflect`. It finds metadata by the identity of a function. */
interface Metadata {
  defineMetadata(key: unknown, value: unknown, target: object): void
  getOwnMetadata(key: unknown, target: object): unknown
  getOwnMetadataKeys(target: object): ReadonlyArray<unknown>
}

const copyMetadata = (from: object, to: object): void => {
  const { defineMetadata, getOwnMetadata, getOwnMetadataKeys } = Reflect as Partial<Metadata>
  if (defineMetadata === undefined || getOwnMetadata === undefined || getOwnMetadataKeys === undefined) return
  for (const key of getOwnMetadataKeys(from)) defineMetadata(key, getOwnMetadata(key, from), to)
}

// Excludes other calls with a value, its key and its container, such as those of `mapValues`.
const isDescriptor = (value: unknown): value is PropertyDescriptor =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "configurable") === "boolean"

const notAMethod = (what: string) =>
  new TypeError(`only functions and methods can be measured or decorated, not ${what}`)
