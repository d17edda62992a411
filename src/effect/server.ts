/** The metrics server in a scope: options, start, TLS reload, registration and shutdown. */
import { pathToFileURL } from "node:url"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { defaultRegistry, hasBothClients } from "../core/client/promClient.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { scrapeRecorder, serverMetrics } from "../core/registry/scrapeRecorder.js"
import { type ServerState, serversOf } from "../core/registry/selfMetrics.js"
import { type ListeningServer, listen } from "../core/server/listen.js"
import { newEndpoint, newScrape } from "../core/server/scrape.js"
import { readServerOptions, type ServerSettings } from "../core/server/serverOptions.js"
import { checkTls, readTls, type TlsTexts, validUntil } from "../core/server/tls/material.js"
import type { TlsSources } from "../core/server/tls/options.js"
import type { TlsMaterial } from "../core/server/tls/secureContext.js"
import { isWildcard, urlHost } from "../core/util/address.js"
import { messageOf, visible } from "../core/util/text.js"
import { WorkerStartError } from "../core/worker/startWorker.js"
import { currentLog } from "./log.js"
import { notRegistered, registration } from "./registration.js"
import { readRedacted } from "./secrets.js"
import { invalidOptions, MetricsServerError } from "./serverError.js"
import type { Discovery, RunningServer } from "./serviceDiscovery.js"
import { reloadTls } from "./tlsReload.js"
import { type SupervisedServer, supervised } from "./worker.js"

/** Also reads the files of `tls`. The checks are the same for both kinds of server. */
export const readSettings = (
  options: unknown
): Effect.Effect<{ settings: ServerSettings; sources: TlsSources | undefined }, MetricsServerError> =>
  Effect.gen(function* () {
    const { tls: sources, ...settings } = yield* Effect.try({
      try: () => {
        readRedacted()
        return readServerOptions(options)
      },
      catch: invalidOptions
    })
    if (sources === undefined) return { settings: { ...settings, tls: undefined }, sources }
    const tls = yield* Effect.tryPromise({
      try: async () => checkTls(await readTls(sources), sources),
      catch: (cause) => new MetricsServerError({ reason: "Tls", message: messageOf(cause), cause })
    })
    return { settings: { ...settings, tls }, sources }
  })

/** Fails with the error of Node.js, or with a `WorkerStartError`. */
type Start = (
  settings: ServerSettings,
  registry: MetricRegistry
) => Effect.Effect<ListeningServer & Partial<Pick<SupervisedServer, "supervise">>, unknown>

export const inThisThread: Start = (settings, registry) =>
  Effect.flatMap(currentLog, (log) =>
    Effect.tryPromise({
      try: async () =>
        listen(settings, newEndpoint(registry, settings, log, scrapeRecorder(registry, settings, serverMetrics))),
      catch: (cause) => cause
    })
  )

/** `entry` is the worker file of this package, the default. */
export const inWorker =
  (entry: () => URL): Start =>
  (settings, registry) =>
    Effect.gen(function* () {
      const log = yield* currentLog
      const url = yield* Effect.try({ try: () => workerUrl(settings.workerUrl, entry), catch: (cause) => cause })
      const onEvent = scrapeRecorder(registry, settings, serverMetrics)
      return yield* supervised({ url, scrape: newScrape(registry, settings, log), onEvent }, settings)
    })

const workerUrl = (given: string | undefined, entry: () => URL): URL => {
  try {
    if (given !== undefined) return /^[a-z][a-z\d+.-]+:/i.test(given) ? new URL(given) : pathToFileURL(given)
    const url = entry()
    if (url.protocol === "file:") return url
    // A bundler may replace it by an object that is no URL.
    throw new TypeError(`${url.href} is not the URL of a file`)
  } catch (cause) {
    throw new WorkerStartError(
      "the worker file cannot be located, which is normal in a bundled program: set workerUrl, or keep " +
        "effect-prometheus outside of the bundle (in Next.js: serverExternalPackages)",
      { cause }
    )
  }
}

/** Serves until the scope closes. Registers the server with the service discovery, if there is one. */
export const serve = (options: unknown, registry: MetricRegistry, discovery: Discovery | undefined, start: Start) =>
  closedOnFailure(
    Effect.gen(function* () {
      const { settings, sources } = yield* readSettings(options)
      const { selfMetrics, shutdownTimeout, tls } = settings
      const server = yield* Effect.acquireRelease(
        Effect.mapError(start(settings, registry), (error) => startError(error, settings)),
        ({ close }) => Effect.promise(() => close(shutdownTimeout))
      )
      const described = describe(server, settings)
      const serving = Effect.gen(function* () {
        if (server.supervise !== undefined) yield* Effect.forkScoped(server.supervise)
        if (tls !== undefined && sources !== undefined)
          yield* keepCertificate(tls, sources, settings, registry, server.renew)
        const { summary, isRegistered } =
          discovery === undefined ? notRegistered : yield* registration(discovery, described, shutdownTimeout)
        if (selfMetrics && discovery !== undefined) {
          yield* recordState(registry, { isRegistered: () => isTrueNow(isRegistered) })
        }
        yield* Effect.logInfo(`metrics at ${described.url}${yield* summary}`)
        if (hasBothClients() && registry === defaultRegistry) yield* Effect.logInfo(ofWhichClient)
        return { ...described, isRegistered }
      })
      // Loggers that store fields can tell the lines of several servers apart. The messages are complete without them.
      return yield* Effect.annotateLogs(serving, "metrics_url", described.url)
    })
  )

// Metrics that the application creates with the other client are on the other global registry.
const ofWhichClient =
  "prom-client and @prometheus-io/client are both installed; the server exposes the global registry of prom-client. " +
  "To expose the other one, pass it: the option registry, or Registry.layer"

// A failure closes everything at once, also if the outer scope stays open.
const closedOnFailure = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit)),
    (scope) =>
      Effect.onError(Effect.provideService(effect, Scope.Scope, scope), (cause) =>
        Scope.close(scope, Exit.failCause(cause))
      )
  )

const startError = (cause: unknown, { host, port }: ServerSettings): MetricsServerError => {
  if (cause instanceof WorkerStartError) {
    return new MetricsServerError({ reason: "Worker", message: cause.message, cause })
  }
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  const address = `${host === undefined ? "all interfaces, port " : `${visible(urlHost(host))}:`}${port}`
  return new MetricsServerError({
    reason: code === "EADDRINUSE" ? "AddressInUse" : "Listen",
    host,
    port,
    message: `cannot listen on ${address}: ${visible(messageOf(cause))}`,
    cause
  })
}

const describe = (
  { hostname, port }: ListeningServer,
  { authentication, path, tls }: ServerSettings
): RunningServer => {
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

/** Reloads it when its files change, and exposes when it expires. */
const keepCertificate = (
  tls: TlsMaterial,
  sources: TlsSources,
  { selfMetrics, unref }: ServerSettings,
  registry: MetricRegistry,
  renew: ListeningServer["renew"]
) =>
  Effect.gen(function* () {
    let expiry = expiryOf(tls)
    if (selfMetrics) yield* recordState(registry, { certificateExpiry: () => expiry })
    if (sources.reloadInterval === undefined) return
    const renewed = (changed: TlsMaterial) => {
      renew(changed)
      expiry = expiryOf(changed)
    }
    yield* Effect.forkScoped(reloadTls(sources, tls, sources.reloadInterval, unref, renewed))
  })

/** In seconds since the Unix epoch. */
const expiryOf = (tls: TlsTexts): number => validUntil(tls).getTime() / 1e3

// An effect that does not end synchronously counts as not registered.
const isTrueNow = (isRegistered: Effect.Effect<boolean>): boolean => {
  const exit = Effect.runSyncExit(isRegistered)
  if (Exit.isSuccess(exit)) return exit.value
  const { fiber } = Object(Cause.squash(exit.cause)) as { readonly fiber?: unknown }
  if (Fiber.isFiber(fiber)) Effect.runFork(Fiber.interrupt(fiber))
  return false
}

const recordState = (registry: MetricRegistry, state: ServerState): Effect.Effect<void, never, Scope.Scope> => {
  const servers = serversOf(registry)
  return Effect.acquireRelease(
    Effect.sync(() => void servers.add(state)),
    () => Effect.sync(() => void servers.delete(state))
  )
}
