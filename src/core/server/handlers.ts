/**
 * Handlers for an application's own server. The modules that render are loaded meanwhile; earlier requests wait for
 * them.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { leaveOut } from "../http/scrapeMarker.js"
import type { MetricRegistry } from "../registry/metricRegistry.js"
import { scrapeRecorder } from "../registry/scrapeRecorder.js"
import type { Log } from "../util/log.js"
import type { Endpoint } from "./endpoint.js"
import type { HandlerSettings } from "./handlerOptions.js"

type HandlerModules = typeof import("./handlerModules.js")

let loaded: HandlerModules | undefined

/** The modules, or a promise of them until they are loaded: even for a loaded module, `import()` takes some time. */
export const handlerModules = (): HandlerModules | Promise<HandlerModules> =>
  loaded ??
  import("./handlerModules.js").then((modules) => {
    loaded = modules
    return modules
  })

export const newNodeListener = (
  registry: MetricRegistry,
  serving: HandlerSettings,
  log: Log
): ((request: IncomingMessage, response: ServerResponse) => void) => {
  const load = loading(registry, serving, log, ({ listener }, endpoint) => listener(endpoint))
  return (request, response) => {
    leaveOut(request)
    const pending = load((listener) => listener(request, response))
    if (pending instanceof Promise) pending.catch(() => response.destroy())
  }
}

export const newWebHandler = (
  registry: MetricRegistry,
  serving: HandlerSettings,
  log: Log
): ((request: Request, bindings?: unknown) => Promise<Response>) => {
  const load = loading(registry, serving, log, ({ webHandler }, endpoint) => webHandler(endpoint))
  return async (request, bindings) => {
    leaveOut(request)
    return load((handler) => handler(request, bindings))
  }
}

/** Loads the modules and checks how metrics can be read. */
export const preloadHandlers = (): void =>
  void Promise.resolve(handlerModules())
    .then(({ checkDirectReads }) => checkDirectReads())
    .catch(() => {})

// Calls the handler at once if the modules are loaded. A load that failed is tried again.
const loading = <Handler>(
  registry: MetricRegistry,
  serving: HandlerSettings,
  log: Log,
  handlerOf: (modules: HandlerModules, endpoint: Endpoint) => Handler
) => {
  const onEvent = scrapeRecorder(registry, serving)
  let handler: Handler | undefined
  let pending: Promise<Handler> | undefined
  const load = async (): Promise<Handler> => {
    const modules = await handlerModules()
    handler ??= handlerOf(modules, modules.newEndpoint(registry, serving, log, onEvent))
    return handler
  }
  void load().catch(() => {})
  return <A>(call: (handler: Handler) => A): A | Promise<A> => {
    if (handler !== undefined) return call(handler)
    pending ??= load().finally(() => {
      pending = undefined
    })
    return pending.then(call)
  }
}
