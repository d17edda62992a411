/** The asynchronous context (`AsyncLocalStorage`) in which a request is dealt with: whatever ends it may come from elsewhere. */
import { AsyncResource } from "node:async_hooks"

/** The context of the caller. */
export const newContext = (): AsyncResource => new AsyncResource("effect-prometheus/httpMetrics")

const key = Symbol("effect-prometheus/context")

interface Kept {
  readonly [key]?: AsyncResource
}

/** Keeps the context of the caller, which is about to deal with that request, unless the request takes no properties. */
export const keepContext = (request: object): void => {
  Reflect.set(request, key, newContext())
}

/** The context that was kept last. */
export const keptContext = (request: object): AsyncResource | undefined => (request as Kept)[key]
