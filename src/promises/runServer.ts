/** Runs the server of `MetricsServer` behind a promise. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { without } from "../core/util/options.js"
import { messageOf, shown } from "../core/util/text.js"
import { Registry } from "../effect/registry.js"
import { running, toLog } from "../effect/runScoped.js"
import * as MetricsServer from "../MetricsServer.js"
import { ServiceDiscovery } from "../ServiceDiscovery.js"
import { checkRegistry } from "./registry.js"
import { serviceOf } from "./runDiscovery.js"
import type { RunningServer, ServerOptions, ThreadOptions } from "./runningServer.js"

export const start = (options: ServerOptions): Promise<RunningServer> =>
  started(MetricsServer.make(serverOptions(options)), options)

export const startInThread = (options: ThreadOptions): Promise<RunningServer> =>
  started(MetricsServer.makeWorker(serverOptions(options)), options)

export const validate = async (options: ThreadOptions): Promise<void> => {
  checkOwn(options)
  const checked = await Effect.runPromise(Effect.either(MetricsServer.validate(serverOptions(options))))
  if (Either.isLeft(checked)) throw checked.left
}

// The server rejects unknown options, so these are removed.
const serverOptions = (given: ThreadOptions): MetricsServer.WorkerOptions =>
  without(given, "log", "registry", "serviceDiscovery")

// Options that the server does not know.
const checkOwn = (options: ServerOptions | null): void => {
  const { log, serviceDiscovery } = options ?? {}
  try {
    checkRegistry(options)
    if (log !== undefined && log !== false && typeof log !== "function") {
      throw new RangeError(`log must be a function or false, not ${shown(log)}`)
    }
    if (serviceDiscovery !== undefined && typeof serviceDiscovery?.register !== "function") {
      throw new RangeError("serviceDiscovery must have a method register()")
    }
  } catch (error) {
    throw new MetricsServer.MetricsServerError({ reason: "InvalidOptions", message: messageOf(error) })
  }
}

const started = async <E>(
  make: Effect.Effect<MetricsServer.RunningServer, E, Scope.Scope>,
  options: ServerOptions | null
): Promise<RunningServer> => {
  checkOwn(options)
  const serviceDiscovery = options?.serviceDiscovery
  const registering =
    serviceDiscovery === undefined
      ? make
      : Effect.flatMap(serviceOf(serviceDiscovery), (service) => Effect.provideService(make, ServiceDiscovery, service))
  const registry = options?.registry
  const onRegistry = registry === undefined ? registering : Effect.provideService(registering, Registry, registry)
  const { value: server, close } = await running(onRegistry, toLog(options?.log))
  const { isRegistered, ...described } = server
  return {
    ...described,
    get isRegistered() {
      return Effect.runSync(isRegistered)
    },
    close,
    [Symbol.asyncDispose]: close
  }
}
