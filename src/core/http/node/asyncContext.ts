/** The asynchronous context in which a request is handled: the event that ends it may come from another context. */
import { AsyncResource } from "node:async_hooks"

export const newContext = (): AsyncResource => new AsyncResource("effect-prometheus/httpMetrics")

const key = Symbol("effect-prometheus/context")

interface Kept {
  [key]?: AsyncResource | undefined
}

/** From now on, `keepContext` stores contexts of the request. The first one is that of the caller. */
export const awaitContext = (request: object, context: AsyncResource): void => {
  Reflect.set(request, key, context)
}

/** Stores the context of the caller, if it is awaited and the request accepts properties. */
export const keepContext = (request: object): void => {
  if (keptContext(request) !== undefined) Reflect.set(request, key, newContext())
}

export const keptContext = (request: object): AsyncResource | undefined => (request as Kept)[key]

const freeKey = Symbol("effect-prometheus/contextFree")

/** Marks a function that runs no code of the application, so that it can be called in any context. */
export const contextFree = <F extends () => unknown>(run: F): F => {
  ;(run as Free)[freeKey] = run
  return run
}

interface Free {
  [freeKey]?: unknown
}

/** A wrapper that has copied the properties of such a function may run any code. */
export const isContextFree = (run: unknown): boolean => typeof run === "function" && (run as Free)[freeKey] === run
