/** The interface of a service discovery, for its callers and its implementations. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TaggedError } from "./taggedError.js"

/**
 * A listening metrics server, as a service discovery receives it.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningServer {
  /** The bound address. On a wildcard bind the hostname is `0.0.0.0` or `::`, to which no other machine can connect. */
  readonly address: { readonly hostname: string; readonly port: number }
  /** Whether the server uses HTTPS. */
  readonly https: boolean
  /** The URL of the metrics. On a wildcard bind it has a loopback address, and is valid on this machine only. */
  readonly url: string
  /**
   * The URL of a small page for health checks. Its cost does not depend on the size of the registry. On a wildcard bind
   * it has a loopback address, like `url`.
   */
  readonly healthUrl: string
  /** Whether `healthUrl` needs no credentials. It may still need a client certificate. */
  readonly isHealthOpen: boolean
  /** Whether clients need a client certificate to connect. */
  readonly needsCertificate: boolean
}

/**
 * A metrics server could not be registered. `message` names the address or the option.
 *
 * `reason` is `"Unreachable"` (no answer), `"Timeout"` (no answer in time), `"Refused"` (an answer that refuses, with
 * `status` and `body`), `"NotVerified"` (accepted, but the registered service is missing or different), `"Token"` (the
 * token could not be obtained), or `"InvalidOptions"`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServiceDiscoveryError extends TaggedError("ServiceDiscoveryError")<{
  readonly reason: "Unreachable" | "Timeout" | "Refused" | "NotVerified" | "Token" | "InvalidOptions"
  readonly message: string
  readonly status?: number | undefined
  readonly body?: string | undefined
  readonly cause?: unknown
}> {}

/**
 * Registers metrics servers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /**
   * Registers `server`. Closing the scope removes the registration. At that time the server still listens, and waits for
   * the removal for at most its `shutdownTimeout`. If `register` fails, the server is closed.
   */
  readonly register: (server: RunningServer) => Effect.Effect<void, ServiceDiscoveryError, Scope.Scope>
  /** The name of the service discovery, for the log. Default: `"service discovery"`. */
  readonly name?: string | undefined
  /**
   * Whether `server` is registered at this moment, for an implementation whose `register` can succeed before the server
   * is registered. Default: it is from when `register` has succeeded until its scope closes.
   */
  readonly isRegistered?: ((server: RunningServer) => Effect.Effect<boolean>) | undefined
}
