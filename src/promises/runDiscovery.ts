/** Runs service discoveries for promises. */
import * as Effect from "effect/Effect"
import { variables } from "../core/consul/environment.js"
import { ownOptions } from "../core/util/options.js"
import { makeFor } from "../effect/consul/discovery.js"
import { withEnvironment } from "../effect/consul/environment.js"
import type { Options } from "../effect/consul/options.js"
import { running, toLog } from "../effect/runScoped.js"
import type { RunningServer, ServiceDiscoveryError } from "../effect/serviceDiscovery.js"
import { type ConsulAgentOptions, type Discovery, loadService, type Service, type ServiceEffect } from "./discovery.js"

export const consulAgent = (options: ConsulAgentOptions, servers: Set<RunningServer>): ServiceEffect =>
  makeFor(withToken(options), servers)

export const consulAgentFromEnv = (options: ConsulAgentOptions, servers: Set<RunningServer>): ServiceEffect =>
  Effect.flatMap(withEnvironment(withToken(options), environment), (all) => makeFor(all, servers))

const environment = Effect.sync(() =>
  Object.fromEntries(
    Object.entries(variables).flatMap(([key, name]) => {
      const value = process.env[name]
      return value === undefined ? [] : [[key, value]]
    })
  )
)

const withToken = (options: ConsulAgentOptions): Options => {
  const token = options?.token
  // Some effects are also functions.
  if (typeof token !== "function" || Effect.isEffect(token)) return options as Options
  return { ...ownOptions(options), token: Effect.tryPromise({ try: async () => token(), catch: (error) => error }) }
}

/** Runs in its own scope, and logs to the console. */
export const register = async (make: ServiceEffect, server: RunningServer) => {
  const { close, value } = await running(
    Effect.tap(make, (service) => service.register(server)),
    toLog(undefined)
  )
  return { close, isRegistered: () => Effect.runSync(value.isRegistered?.(server) ?? Effect.succeed(false)) }
}

export const serviceOf = (discovery: Discovery): ServiceEffect => {
  const own = loadService(discovery)
  return own === undefined ? Effect.succeed(serviceWith(discovery)) : Effect.flatten(Effect.promise(() => own))
}

// The methods are called on the object, because it may be an instance of a class.
const serviceWith = (discovery: Discovery): Service => ({
  name: discovery.name,
  isRegistered: (server) => Effect.sync(() => discovery.isRegistered?.(server) ?? true),
  register: (server) =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: async () => discovery.register(server),
        catch: (error) => error as ServiceDiscoveryError
      }),
      (takeBack) => Effect.promise(async () => takeBack?.())
    )
})
