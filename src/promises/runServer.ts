/** Runs the server of `MetricsServer` behind a promise. */
import * as Effect from "effect/Effect"
import { without } from "../core/util/options.js"
import { messageOf, shown } from "../core/util/text.js"
import { promised, running, toLog } from "../effect/runScoped.js"
import { inThisThread, inWorker, readSettings, serve } from "../effect/server.js"
import { MetricsServerError } from "../effect/serverError.js"
import type { WorkerOptions } from "../effect/serverOptions.js"
import { workerEntry } from "../workerEntry.js"
import { checkRegistry, registryOf } from "./registry.js"
import { serviceOf } from "./runDiscovery.js"
import type { RunningServer, ServerOptions, ThreadOptions } from "./runningServer.js"

export const start = (options: ServerOptions): Promise<RunningServer> => started(inThisThread, options)

export const startInThread = (options: ThreadOptions): Promise<RunningServer> => started(inWorker(workerEntry), options)

export const validate = async (options: ThreadOptions): Promise<void> => {
  checkOwn(options)
  await promised(readSettings(serverOptions(options)))
}

// The server rejects unknown options, so these are removed.
const serverOptions = (given: ThreadOptions): WorkerOptions => without(given, "log", "registry", "serviceDiscovery")

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
    throw new MetricsServerError({ reason: "InvalidOptions", message: messageOf(error) })
  }
}

const started = async (start: Parameters<typeof serve>[3], options: ServerOptions): Promise<RunningServer> => {
  checkOwn(options)
  const serviceDiscovery = options?.serviceDiscovery
  const discovery = serviceDiscovery === undefined ? Effect.succeed(undefined) : serviceOf(serviceDiscovery)
  const { value: server, close } = await running(
    Effect.flatMap(discovery, (service) => serve(serverOptions(options), registryOf(options ?? {}), service, start)),
    toLog(options?.log)
  )
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
