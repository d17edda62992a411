/**
 * An HTTP or HTTPS server for the metrics alone, as a Layer.
 *
 * It serves the registry in context on `/metrics`, and on `/` a small page for health checks, or for browsers one that
 * shows the metrics to people. With a `ServiceDiscovery` provided to it, it is registered while it serves.
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
import { pathToFileURL } from "node:url"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { endpoint, scraper, telling } from "./exposition/scraping.js"
import { isWildcard, urlHost } from "./internal/address.js"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import { messageOf } from "./internal/message.js"
import { hashed, passwordTrouble } from "./internal/password.js"
import { notRegistered, registration } from "./internal/registration.js"
import { reloading } from "./internal/reload.js"
import { described as describedSecret, secretText } from "./internal/secret.js"
import { serverMetrics, serversOf } from "./internal/selfMetrics.js"
import type { Running } from "./internal/server.js"
import { listen } from "./internal/server.js"
import type { Options, Settings, WorkerOptions } from "./internal/settings.js"
import { checkedSettings } from "./internal/settings.js"
import { startThread } from "./internal/thread.js"
import type { TlsSources, TlsTexts } from "./internal/tls.js"
import { checkTls, readTls } from "./internal/tls.js"
import { visible } from "./internal/visible.js"
import { WorkerStartError } from "./internal/workerStartError.js"
import { Registry } from "./Registry.js"
import type { Server, ServiceDiscoveryError } from "./ServiceDiscovery.js"
import { ServiceDiscovery } from "./ServiceDiscovery.js"

export type { AuthenticationOptions } from "./internal/authentication.js"
export type { FromConfig } from "./internal/config.js"
export type { ConnectionLimits } from "./internal/limits.js"
export type { Options, WorkerOptions } from "./internal/settings.js"
export type { TlsOptions } from "./internal/tls.js"

/**
 * The server could not be started. `message` names the host and the port, the file, or the option to look at.
 *
 * `reason` is `"AddressInUse"`, `"Listen"` (any other failure to listen), `"Tls"` (the key, the certificate or the
 * authorities), `"Worker"` (the worker thread did not start), or `"InvalidOptions"`.
 *
 * @since 0.1.0
 * @category errors
 */
export class MetricsServerError extends Data.TaggedError("MetricsServerError")<{
  readonly reason: "AddressInUse" | "Listen" | "Tls" | "Worker" | "InvalidOptions"
  readonly host: string
  readonly port: number
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * A metrics server that runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningServer extends Server {
  /** Whether it is registered with a service discovery at this moment. */
  readonly isRegistered: Effect.Effect<boolean>
}

/**
 * The metrics server.
 *
 * @since 0.1.0
 * @category tags
 */
export class MetricsServer extends Context.Tag("effect-prometheus/MetricsServer")<MetricsServer, RunningServer>() {}

/**
 * Starts the server, and registers it with the service discovery in context, if there is one.
 *
 * When the scope closes it shuts down in this order, each step bounded by `shutdownTimeout` and done even if the one
 * before failed: it takes the registration back, stops accepting, lets running scrapes finish, and cuts what is left.
 *
 * It fails with a `MetricsServerError` that names host and port, or with the `ServiceDiscoveryError` of the registration;
 * nothing listens any more then.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<RunningServer, MetricsServerError | ServiceDiscoveryError, Scope.Scope> =>
  serving(options, (settings) =>
    Effect.flatMap(endpoint(settings, serverMetrics), (served) =>
      Effect.tryPromise(() => listen(settings.listen, served))
    )
  )

/**
 * The server as a layer: see `make`. Provide a `ServiceDiscovery` to it (`Layer.provide`) to have it registered, and
 * `Registry.layer` to have it serve another registry than prom-client's global one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<MetricsServer, MetricsServerError | ServiceDiscoveryError> =>
  Layer.scoped(MetricsServer, make(options))

/**
 * The server as a layer, its options read from configuration. A `Config.option` that is not set is an
 * option that is not given.
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
): Layer.Layer<MetricsServer, ConfigError.ConfigError | MetricsServerError | ServiceDiscoveryError> =>
  Layer.scoped(MetricsServer, Effect.flatMap(unwrapped(options), make))

/**
 * The same server from a worker thread: HTTP, TLS and compression leave the application's event loop.
 *
 * The worker asks the main thread for each scrape. While that thread is stuck, the worker serves the last exposition,
 * cut to `name[]`, for up to `staleFor`; how old the numbers are is a metric of its own in every answer,
 * `effect_prometheus_exposition_age_seconds`, unless the registry has one by that name or `selfMetrics` is off. If the
 * format asked for is not at hand then, text is served under its own content type. A worker that dies is started anew on the same port, a second
 * later if it lived no longer than that; it is logged as an error.
 *
 * It fails as `make` does, and with `reason: "Worker"` and the name of the file if the worker cannot be started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeWorker = (
  options: WorkerOptions = {}
): Effect.Effect<RunningServer, MetricsServerError | ServiceDiscoveryError, Scope.Scope> =>
  serving(options, (checked) =>
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime<never>()
      const tell = yield* telling(checked, serverMetrics)
      const scrape = yield* scraper(checked)
      const { shutdownTimeout: _, sources: __, ...settings } = checked
      return yield* Effect.tryPromise(() =>
        startThread({
          url: workerUrl(options.workerUrl),
          options: { ...settings, tellsAge: settings.selfMetrics },
          tell,
          scrape,
          onTrouble: (message) => Runtime.runFork(runtime)(Effect.logError(message))
        })
      )
    })
  )

/**
 * The server of `makeWorker` as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWorker = (
  options: WorkerOptions = {}
): Layer.Layer<MetricsServer, MetricsServerError | ServiceDiscoveryError> =>
  Layer.scoped(MetricsServer, makeWorker(options))

/**
 * The server of `makeWorker` as a layer, its options read from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWorkerConfig = (
  options: FromConfig<WorkerOptions>
): Layer.Layer<MetricsServer, ConfigError.ConfigError | MetricsServerError | ServiceDiscoveryError> =>
  Layer.scoped(MetricsServer, Effect.flatMap(unwrapped(options), makeWorker))

/**
 * Checks options without serving: everything that is checked before a server listens, the files of `tls` included. What
 * only the attempt can tell, whether the port is free and the worker starts, is not.
 *
 * @since 0.1.0
 * @category constructors
 */
export const validate = (options: WorkerOptions = {}): Effect.Effect<void, MetricsServerError> =>
  Effect.asVoid(settingsOf(options))

/**
 * The salted hash of a password, for `authentication.users`: scrypt with 16 MiB of memory, in the PHC string format. Two
 * of the same password are never the same. It is made in a thread that is not the application's.
 *
 * It fails with a `MetricsServerError` with `reason: "InvalidOptions"` for a password that the server refuses: one that is
 * empty, that has control characters or a letter with more than 30 accents, or that is no text.
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
  Effect.flatMap(
    Effect.try({
      try: () => checkedPassword(password),
      catch: (error) => failing({})("InvalidOptions", messageOf(error))
    }),
    (text) => Effect.promise(() => hashed(text))
  )

const checkedPassword = (password: unknown): string => {
  const text = secretText("MetricsServer.hashPassword", password, "the password")
  const trouble = passwordTrouble(text)
  if (trouble === undefined) return text
  throw new RangeError(
    `the password must not be empty, nor have control characters, nor a letter with more than 30 accents: ${trouble} (${describedSecret(password)})`
  )
}

const workerUrl = (given: string | URL | undefined): URL => {
  try {
    if (given === undefined) return new URL("./internal/worker.mjs", import.meta.url)
    return typeof given === "string" && !given.startsWith("file:") ? pathToFileURL(given) : new URL(given)
  } catch (cause) {
    throw new WorkerStartError("the file of the worker is not known here, as in a bundle: give workerUrl", { cause })
  }
}

// Both kinds of server check all of it, so that what is validated holds for each of them.
const settingsOf = (options: WorkerOptions): Effect.Effect<Settings, MetricsServerError> => {
  const failed = failing(options)
  return Effect.flatMap(
    Effect.try({
      try: () => checkedSettings(options),
      catch: (error) => failed("InvalidOptions", messageOf(error))
    }),
    (settings) => {
      const { sources } = settings
      if (sources === undefined) return Effect.succeed(settings)
      return Effect.tryPromise({
        try: async () => {
          const tls = await checkTls(await readTls(sources), sources)
          return { ...settings, listen: { ...settings.listen, tls } }
        },
        catch: (cause) => failed("Tls", messageOf(cause), cause)
      })
    }
  )
}

// What both kinds of server have in common: checked options, a bounded close, files that change, addresses, the
// registration, the line.
const serving = <E>(
  options: WorkerOptions,
  start: (settings: Settings) => Effect.Effect<Running, E>
): Effect.Effect<RunningServer, MetricsServerError | ServiceDiscoveryError, Scope.Scope> =>
  closedOnFailure(
    Effect.gen(function* () {
      const settings = yield* settingsOf(options)
      const { shutdownTimeout } = settings
      const { host, port, tls } = settings.listen
      const running = yield* Effect.acquireRelease(
        Effect.catchAll(start(settings), (error) => startError(error, host, port, failing(options))),
        ({ close }) => Effect.promise(() => close(shutdownTimeout))
      )
      if (tls !== undefined) yield* reloaded(running, settings.sources, tls)
      const server = described(running, settings)
      const discovery = yield* Effect.serviceOption(ServiceDiscovery)
      const { isRegistered, told } = Option.isNone(discovery)
        ? notRegistered
        : yield* registration(discovery.value, server, shutdownTimeout)
      if (settings.selfMetrics) yield* toldAsRegistered(isRegistered)
      yield* Effect.logInfo(`metrics at ${server.url}, ${yield* told}`)
      return { ...server, isRegistered }
    })
  )

const reloaded = (running: Running, sources: TlsSources | undefined, first: TlsTexts) =>
  sources?.reloadInterval === undefined
    ? Effect.void
    : Effect.forkScoped(reloading(sources, first, sources.reloadInterval, running.renew))

// What fails keeps nothing open, also in a scope that goes on.
const closedOnFailure = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit)),
    (scope) => Effect.onError(Scope.extend(effect, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
  )

type Failed = (reason: MetricsServerError["reason"], message: string, cause?: unknown) => MetricsServerError

const failing = (options: Options | null): Failed => {
  const { host = "", port = 0 } = options ?? {}
  return (reason, message, cause) => new MetricsServerError({ reason, host, port, message, cause })
}

const startError = (error: unknown, host: string | undefined, port: number, failed: Failed) => {
  const cause = (error as { readonly error?: unknown }).error ?? error
  if (cause instanceof WorkerStartError) return failed("Worker", cause.message, cause)
  const { code } = cause as NodeJS.ErrnoException
  const address = `${host === undefined ? "all interfaces, port " : `${visible(urlHost(host))}:`}${port}`
  return failed(
    code === "EADDRINUSE" ? "AddressInUse" : "Listen",
    `cannot listen on ${address}: ${visible(messageOf(cause))}`,
    cause
  )
}

const described = ({ hostname, port }: Running, { listen: { authentication, tls }, path }: Settings): Server => {
  const https = tls !== undefined
  const origin = `${https ? "https" : "http"}://${isWildcard(hostname) ? "127.0.0.1" : urlHost(hostname)}:${port}`
  return {
    address: { hostname, port },
    https,
    url: `${origin}${path}`,
    healthUrl: `${origin}/`,
    isHealthOpen: authentication?.openHealthPage ?? true,
    needsCertificate: tls?.clientCertificate === "required"
  }
}

const toldAsRegistered = (isRegistered: Effect.Effect<boolean>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Registry, (registry) => {
    // What does not say so at once is not registered.
    const is = (): boolean => Exit.getOrElse(Effect.runSyncExit(isRegistered), () => false)
    const servers = serversOf(registry)
    return Effect.acquireRelease(
      Effect.sync(() => void servers.add(is)),
      () => Effect.sync(() => void servers.delete(is))
    )
  })
