/** Dedicated metrics servers: their options, and what is known of a running one. */
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import type { Log } from "../effect/runScoped.js"
import type * as Server from "../effect/serverOptions.js"
import type * as ServiceDiscovery from "../effect/serviceDiscovery.js"
import type { Discovery } from "./discovery.js"
import type { Options } from "./registry.js"

/**
 * Options of a metrics server.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions extends Server.Options, Options {
  /** The registry to serve. Default: prom-client's global registry. */
  readonly registry?: MetricRegistry | undefined
  /** The service discovery to register with. Default: the server is not registered. */
  readonly serviceDiscovery?: Discovery | undefined
  /**
   * Receives the log lines of the server: its URL, its registration, and later problems. `false` disables logging.
   * Default: the method of `console` with the name of the level.
   */
  readonly log?: Log | false | undefined
}

/**
 * Options of a metrics server in a worker thread.
 *
 * @since 0.1.0
 * @category models
 */
export interface ThreadOptions extends ServerOptions, Server.WorkerOptions {}

/**
 * A running metrics server.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningServer extends ServiceDiscovery.RunningServer {
  /** Whether the server is registered with a service discovery at this moment. */
  readonly isRegistered: boolean
  /**
   * Shuts the server down: removes the registration, stops accepting connections, lets running scrapes finish, and cuts
   * the remaining connections. Each step is bounded by `shutdownTimeout`. Afterwards the port is free, whatever the
   * service discovery answers. It can be called twice.
   */
  readonly close: () => Promise<void>
  /** Calls `close`, for `await using`. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}
