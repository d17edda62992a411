/** Servers for the metrics alone, as handles. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Log } from "../internal/edge.js"
import { running, toLog } from "../internal/edge.js"
import { messageOf } from "../internal/message.js"
import { shown, without } from "../internal/options.js"
import * as MetricsServer from "../MetricsServer.js"
import type { MetricRegistry } from "../Registry.js"
import type { Server } from "../ServiceDiscovery.js"
import { ServiceDiscovery } from "../ServiceDiscovery.js"
import type { Discovery } from "./discovery.js"
import { asService } from "./discovery.js"
import type { Options } from "./registry.js"
import { checkRegistry, onRegistry } from "./registry.js"

/**
 * How to serve.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions extends MetricsServer.Options, Options {
  /** The registry that is served. Default: prom-client's global registry. */
  readonly registry?: MetricRegistry | undefined
  /** Default: the server is not registered. */
  readonly serviceDiscovery?: Discovery | undefined
  /**
   * Where the server says where it is and by whom it is registered, and what goes wrong later; `false` for nowhere.
   * Default: the method of `console` that is called like the level.
   */
  readonly log?: Log | false | undefined
}

/**
 * How to serve from a worker thread.
 *
 * @since 0.1.0
 * @category models
 */
export interface ThreadOptions extends ServerOptions, MetricsServer.WorkerOptions {}

/**
 * A metrics server that runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerHandle extends Server {
  /** Whether it is registered with a service discovery at this moment. */
  readonly isRegistered: boolean
  /**
   * Shuts down: takes the registration back, stops accepting, lets running scrapes finish, and cuts what is left, each
   * step within `shutdownTimeout`. The port is free then, whatever the service discovery answers. It can be called twice.
   */
  readonly close: () => Promise<void>
  /** `close`, for `await using`. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/**
 * Starts a server for the metrics alone: `/metrics`, and `/` for health checks.
 *
 * It rejects with a `MetricsServerError` that names host and port, or with the error of the registration; nothing
 * listens any more then.
 *
 * @example
 * import { startHttpServer } from "effect-prometheus/Promises"
 *
 * const server = await startHttpServer({ host: "127.0.0.1" })
 * console.log(`metrics at ${server.url}`)
 * await server.close()
 *
 * @since 0.1.0
 * @category constructors
 */
export const startHttpServer = (options: ServerOptions = {}): Promise<ServerHandle> =>
  started(MetricsServer.make(serverOptions(options)), options)

/**
 * Starts the same server in a worker thread: HTTP, TLS and compression leave the application's event loop, and while
 * that loop is stuck the last exposition is served. See `MetricsServer.makeWorker`.
 *
 * It rejects as `startHttpServer` does, also with a `MetricsServerError` that names the file if the worker cannot be
 * started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startHttpServerInThread = (options: ThreadOptions = {}): Promise<ServerHandle> =>
  started(MetricsServer.makeWorker(serverOptions(options)), options)

/**
 * Checks the options of both without serving; see `MetricsServer.validate`. It rejects with a `MetricsServerError` that
 * names the option or the file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const validateServerOptions = async (options: ThreadOptions = {}): Promise<void> => {
  checkOwn(options)
  const checked = await Effect.runPromise(Effect.either(MetricsServer.validate(serverOptions(options))))
  if (Either.isLeft(checked)) throw checked.left
}

/**
 * The salted hash of a password, for `authentication.users`; see `MetricsServer.hashPassword`. It rejects with a
 * `MetricsServerError` for a password that the server refuses.
 *
 * @example
 * import { hashPassword } from "effect-prometheus/Promises"
 *
 * console.log(await hashPassword("correct horse battery staple"))
 *
 * @since 0.1.0
 * @category constructors
 */
export const hashPassword = async (password: string | Redacted.Redacted<string>): Promise<string> => {
  const hashed = await Effect.runPromise(Effect.either(MetricsServer.hashPassword(password)))
  if (Either.isLeft(hashed)) throw hashed.left
  return hashed.right
}

// What the server itself knows nothing of is left out: it refuses unknown options.
const serverOptions = (given: ThreadOptions): MetricsServer.WorkerOptions =>
  without(given, "log", "registry", "serviceDiscovery")

// These it knows nothing of either.
const checkOwn = (options: ServerOptions | null): void => {
  const { host = "", log, port = 0, serviceDiscovery } = options ?? {}
  try {
    checkRegistry(options)
    if (log !== undefined && log !== false && typeof log !== "function") {
      throw new RangeError(`log must be a function or false, not ${shown(log)}`)
    }
    if (serviceDiscovery !== undefined && typeof serviceDiscovery?.register !== "function") {
      throw new RangeError("serviceDiscovery must have a method register()")
    }
  } catch (error) {
    throw new MetricsServer.MetricsServerError({ reason: "InvalidOptions", host, port, message: messageOf(error) })
  }
}

const started = async <E>(
  make: Effect.Effect<MetricsServer.RunningServer, E, Scope.Scope>,
  options: ServerOptions | null
): Promise<ServerHandle> => {
  checkOwn(options)
  const serviceDiscovery = options?.serviceDiscovery
  const registering =
    serviceDiscovery === undefined
      ? make
      : Effect.flatMap(asService(serviceDiscovery), (service) => Effect.provideService(make, ServiceDiscovery, service))
  const { value: server, close } = await running(onRegistry(registering, options), toLog(options?.log))
  const { address, https, url, healthUrl, isHealthOpen, needsCertificate } = server
  return {
    address,
    https,
    url,
    healthUrl,
    isHealthOpen,
    needsCertificate,
    get isRegistered() {
      return Effect.runSync(server.isRegistered)
    },
    close,
    [Symbol.asyncDispose]: close
  }
}
