/**
 * Serves metrics over HTTP or HTTPS from a dedicated server, as a Layer.
 *
 * It serves the registry in context on `/metrics`. On `/` it serves a small page for health checks, and to browsers a
 * page that shows the metrics. If a `ServiceDiscovery` is provided to it, the server is registered while it serves.
 *
 * @example
 * import { ConsulAgent, MetricsServer } from "effect-prometheus"
 * import { Layer } from "effect"
 *
 * export const Metrics = MetricsServer.layer({ port: 9464 }).pipe(
 *   Layer.provide(ConsulAgent.layer({ name: "checkout" }))
 * )
 *
 * @since 0.1.0
 * @module
 */

import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Tag } from "./compat/context.js"
import { scoped } from "./compat/layer.js"
import { Registry } from "./compat/registry.js"
import { type ConfigError, type FromConfig, unwrapped } from "./effect/config.js"
import { lazily } from "./effect/lazily.js"
import { invalidOptions, type MetricsServerError } from "./effect/serverError.js"
import type { Options, RunningServer, WorkerOptions } from "./effect/serverOptions.js"
import { ServiceDiscovery, type ServiceDiscoveryError } from "./ServiceDiscovery.js"
import { workerEntry } from "./workerEntry.js"

export type { FromConfig } from "./effect/config.js"
export { MetricsServerError } from "./effect/serverError.js"
export type {
  AuthenticationOptions,
  ConnectionLimits,
  Options,
  RunningServer,
  TlsOptions,
  WorkerOptions
} from "./effect/serverOptions.js"

/**
 * The running metrics server in context.
 *
 * @since 0.1.0
 * @category tags
 */
export class MetricsServer extends Tag("effect-prometheus/MetricsServer")<MetricsServer, RunningServer>() {}

/**
 * Starts a metrics server, and registers it with the service discovery in context, if one is provided.
 *
 * When the scope closes, the server shuts down in this order: it removes the registration, stops accepting connections,
 * lets running scrapes finish, and cuts the remaining connections. Each step is bounded by `shutdownTimeout`, and runs
 * even if the previous step failed.
 *
 * Fails with a `MetricsServerError`, or with the `ServiceDiscoveryError` of the registration. In both cases the server is
 * closed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<RunningServer, MetricsServerError | ServiceDiscoveryError, Scope.Scope> =>
  Effect.flatMap(context, ([{ inThisThread, serve }, registry, discovery]) =>
    serve(options, registry, discovery, inThisThread)
  )

// The server code is loaded with the first server.
const server = lazily(() => import("./effect/server.js"))

const context = Effect.all([
  server,
  Registry,
  Effect.map(Effect.serviceOption(ServiceDiscovery), Option.getOrUndefined)
])

/**
 * Starts the server of `make` as a layer. To register it, provide a `ServiceDiscovery` to this layer (`Layer.provide`).
 * To serve a registry other than prom-client's global one, provide `Registry.layer`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<MetricsServer, MetricsServerError | ServiceDiscoveryError> =>
  scoped(MetricsServer, make(options))

/**
 * Starts the server of `make` as a layer, with options read from configuration. A `Config.option` that is not set counts
 * as an option that is not given.
 *
 * @example
 * import { MetricsServer } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const Metrics = MetricsServer.layerConfig({
 *   host: Config.withDefault(Config.string("METRICS_HOST"), "127.0.0.1"),
 *   port: Config.withDefault(Config.port("METRICS_PORT"), 9464)
 * })
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: FromConfig<Options>
): Layer.Layer<MetricsServer, ConfigError | MetricsServerError | ServiceDiscoveryError> =>
  scoped(MetricsServer, Effect.flatMap(unwrapped(options), make))

/**
 * Starts a metrics server in a worker thread. HTTP, TLS and compression leave the application's event loop.
 *
 * The worker requests each scrape from the main thread. While that thread is blocked, the worker serves the last
 * exposition, filtered by `name[]`, for up to `staleFor`. Every response has the age of the exposition, in seconds, as
 * the metric `effect_prometheus_exposition_age_seconds`, unless the registry has a metric of that name or `selfMetrics`
 * is off. If the requested format is not available during that time, the response is text with its own content type.
 *
 * A worker that dies is restarted on the same port, and this is logged as an error. If the worker lived for less than one
 * second, the restart waits one second.
 *
 * Fails as `make` does, and with `reason: "Worker"` and the name of the file if the worker cannot be started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeWorker = (
  options: WorkerOptions = {}
): Effect.Effect<RunningServer, MetricsServerError | ServiceDiscoveryError, Scope.Scope> =>
  Effect.flatMap(context, ([{ inWorker, serve }, registry, discovery]) =>
    serve(options, registry, discovery, inWorker(workerEntry))
  )

/**
 * Starts the server of `makeWorker` as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWorker = (
  options: WorkerOptions = {}
): Layer.Layer<MetricsServer, MetricsServerError | ServiceDiscoveryError> => scoped(MetricsServer, makeWorker(options))

/**
 * Starts the server of `makeWorker` as a layer, with options read from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWorkerConfig = (
  options: FromConfig<WorkerOptions>
): Layer.Layer<MetricsServer, ConfigError | MetricsServerError | ServiceDiscoveryError> =>
  scoped(MetricsServer, Effect.flatMap(unwrapped(options), makeWorker))

/**
 * Checks options without serving, including the files of `tls`. Does not check whether the port is free and the worker
 * starts. Fails with a `MetricsServerError`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const validate = (options: WorkerOptions = {}): Effect.Effect<void, MetricsServerError> =>
  Effect.flatMap(server, ({ readSettings }) => Effect.asVoid(readSettings(options)))

/**
 * Returns the salted hash of a password, for `authentication.users`: scrypt with 16 MiB of memory, in the PHC string
 * format. Two hashes of the same password differ. The hash is computed in the thread pool of Node.js.
 *
 * Fails with a `MetricsServerError` with `reason: "InvalidOptions"` for a password that the server rejects: one that is
 * empty, that has control characters or a letter with more than 30 accents, or that is not a string.
 *
 * @example
 * import { MetricsServer } from "effect-prometheus"
 * import { Effect } from "effect"
 *
 * export const program = Effect.flatMap(MetricsServer.hashPassword("correct horse battery staple"), (hash) =>
 *   Effect.log(hash)
 * )
 *
 * @since 0.1.0
 * @category constructors
 */
export const hashPassword = (password: string | Redacted.Redacted<string>): Effect.Effect<string, MetricsServerError> =>
  Effect.tryPromise({
    try: async () => {
      const { readRedacted } = await import("./effect/secrets.js")
      const { hashPassword: hashed } = await import("./core/server/auth/hashPassword.js")
      readRedacted()
      return hashed(password)
    },
    catch: invalidOptions
  })
