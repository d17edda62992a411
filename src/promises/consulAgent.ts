/** Registration with Consul for promises. The implementation uses Effect, and is loaded when a server is registered. */
import type { RunningServer } from "../effect/serviceDiscovery.js"
import { type ConsulAgentOptions, type Discovery, type ServiceEffect, withService } from "./discovery.js"

/**
 * Returns a service discovery that registers servers with the local Consul agent. For the options see
 * `ConsulAgent.Options`.
 *
 * As `serviceDiscovery` of a server, it logs to the server's `log`. If other code calls it, it logs to `console`.
 * `register` rejects with a `ServiceDiscoveryError` that names the agent's address. The error has the status and the body
 * of the agent's answer, if the agent answered.
 *
 * @example
 * import { consulAgent, startHttpServer } from "effect-prometheus/Promises"
 *
 * export const server = startHttpServer({ port: 9464, serviceDiscovery: consulAgent({ name: "checkout" }) })
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgent = (options: ConsulAgentOptions = {}): Discovery =>
  lazyDiscovery(async (servers) => (await import("./runDiscovery.js")).consulAgent(options, servers))

/**
 * Returns the service discovery of `consulAgent`, with the connection to the agent read from the environment variables of
 * Consul's own tools (`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, …). Values in `options` take precedence. See
 * `ConsulAgent.fromEnv`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgentFromEnv = (options: ConsulAgentOptions = {}): Discovery =>
  lazyDiscovery(async (servers) => (await import("./runDiscovery.js")).consulAgentFromEnv(options, servers))

const lazyDiscovery = (load: (servers: Set<RunningServer>) => Promise<ServiceEffect>): Discovery => {
  const servers = new Set<RunningServer>()
  const service = (): Promise<ServiceEffect> => load(servers)
  const states = new WeakMap<RunningServer, () => boolean>()
  const discovery: Discovery = {
    register: async (server) => {
      const { register } = await import("./runDiscovery.js")
      const { close, isRegistered } = await register(await service(), server)
      states.set(server, isRegistered)
      return close
    },
    isRegistered: (server) => states.get(server)?.() ?? false
  }
  return withService(discovery, service)
}
