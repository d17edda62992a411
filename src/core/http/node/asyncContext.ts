/** The asynchronous context in which a request is handled: the event that ends it may come from another context. */
import { AsyncResource } from "node:async_hooks"

export const newContext = (): AsyncResource => new AsyncResource("effect-prometheus/httpMetrics")

const key = Symbol("effect-prometheus/context")

/** Stores the context of the caller, unless the request accepts no properties. */
export const keepContext = (request: object): void => {
  Reflect.set(request, key, newContext())
}

export const keptContext = (request: object): AsyncResource | undefined =>
  (request as { readonly [key]?: AsyncResource })[key]

const freeKey = Symbol("effect-prometheus/contextFree")

/** Marks a function that runs no code of the application, so that it can be called in any context. */
export const contextFree = <F extends () => unknown>(run: F): F => {
  ;(run as F & { [freeKey]: boolean })[freeKey] = true
  return run
}

export const isContextFree = (run: () => unknown): boolean => freeKey in run
