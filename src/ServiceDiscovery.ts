/**
 * How the world learns of a metrics server: one operation, `register`. `ConsulAgent` is one implementation; writing
 * one's own takes a few lines.
 *
 * @example
 * import { MetricsServer, ServiceDiscovery } from "effect-prometheus"
 * import { Effect, Layer } from "effect"
 * import { rm, writeFile } from "node:fs/promises"
 *
 * const file = "/etc/prometheus/targets/checkout.json"
 *
 * // Prometheus' file_sd_configs reads such files.
 * const FileDiscovery = ServiceDiscovery.layer({
 *   name: `file ${file}`,
 *   register: ({ address }) =>
 *     Effect.acquireRelease(
 *       Effect.tryPromise({
 *         try: () => writeFile(file, JSON.stringify([{ targets: [`${address.hostname}:${address.port}`] }])),
 *         catch: (cause) =>
 *           new ServiceDiscovery.ServiceDiscoveryError({ reason: "Unreachable", message: `cannot write ${file}`, cause })
 *       }),
 *       () => Effect.promise(() => rm(file, { force: true }))
 *     )
 * })
 *
 * export const Metrics = MetricsServer.layer({ host: "10.0.0.7", port: 9464 }).pipe(Layer.provide(FileDiscovery))
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/**
 * A metrics server that listens, as it is told to the world.
 *
 * @since 0.1.0
 * @category models
 */
export interface Server {
  /** What was bound. On a wildcard bind the hostname is `0.0.0.0` or `::`, which nobody else can connect to. */
  readonly address: { readonly hostname: string; readonly port: number }
  /** Whether it speaks HTTPS. */
  readonly https: boolean
  /** The metrics endpoint, ready to fetch. On a wildcard bind it is a loopback address, good on this machine only. */
  readonly url: string
  /** A small page that answers cheaply whatever the registry's size, for health checks. Local as `url` is. */
  readonly healthUrl: string
  /** Whether `healthUrl` asks for no credentials. Those who lack a certificate may still not get there. */
  readonly isHealthOpen: boolean
  /** Whether clients need a certificate of their own to connect. */
  readonly needsCertificate: boolean
}

/**
 * A server could not be registered.
 *
 * `reason` is `"Unreachable"` (nobody answered), `"Timeout"` (nobody answered in time), `"Refused"` (the answer was no;
 * `status` and `body` tell what it was), `"NotVerified"` (the answer was yes, but what was registered is not there, or
 * different), `"Token"` (there was no token to ask with), or `"InvalidOptions"`. `message` names the address that was
 * asked.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServiceDiscoveryError extends Data.TaggedError("ServiceDiscoveryError")<{
  readonly reason: "Unreachable" | "Timeout" | "Refused" | "NotVerified" | "Token" | "InvalidOptions"
  readonly message: string
  readonly status?: number | undefined
  readonly body?: string | undefined
  readonly cause?: unknown
}> {}

/**
 * Registers servers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /**
   * Registers `server`. Closing the scope takes the registration back; the server still listens then, and waits for it
   * as long as its `shutdownTimeout`. A failure closes the server again.
   */
  readonly register: (server: Server) => Effect.Effect<void, ServiceDiscoveryError, Scope.Scope>
  /** By whom servers are registered, for the log. Default: `"service discovery"`. */
  readonly name?: string | undefined
  /**
   * Whether `server` is registered at this moment, for an implementation whose `register` may succeed without. Default:
   * it is from when `register` has succeeded until its scope closes.
   */
  readonly isRegistered?: ((server: Server) => Effect.Effect<boolean>) | undefined
}

/**
 * The service discovery in context. It is optional: without one a server is simply not registered.
 *
 * @since 0.1.0
 * @category tags
 */
export class ServiceDiscovery extends Context.Tag("effect-prometheus/ServiceDiscovery")<
  ServiceDiscovery,
  Discovery
>() {}

/**
 * A service discovery of one's own. Provide it *to* the layer of the server (`Layer.provide`): merged beside that layer
 * it is not seen. The line that the server logs at its start tells whether it was.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (discovery: Discovery): Layer.Layer<ServiceDiscovery> => Layer.succeed(ServiceDiscovery, discovery)
