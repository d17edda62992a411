/**
 * Renders the registry as text, and serves it inside an application that already has a server.
 *
 * This library writes both formats itself: Prometheus' text 0.0.4 and OpenMetrics 1.0.0. A render changes nothing in the
 * registry, and concurrent scrapes in different formats do not affect each other. Scrapes of the same format that arrive
 * together share one render, whatever families they request and however long they wait. Their values are at most one
 * second older than the scrape, or as old as the time that writing them takes, if that is longer. One reading of a metric serves all renders that need
 * it before the reading ends. A metric that fails is counted once per reading.
 *
 * What a format forbids is left out and logged once as a warning. Everything else is served:
 *
 * - If two families have samples of the same name, such as a histogram `jobs` and a gauge `jobs_count`, the one that was
 *   registered first is exposed, in both formats. `effect_prometheus_metrics_left_out` is the number of families that are
 *   left out. It is exposed only if there are any.
 * - Left out are: a value that is not a number, a counter that is NaN or negative, a quantile outside of 0 to 1, buckets
 *   that do not add up to their count, and a sample with an invalid name or invalid labels.
 * - Left out in OpenMetrics only: the sum and the count of a histogram with buckets below 0 or with a negative sum,
 *   negative sums and quantiles of a summary, and exemplars of a counter whose name does not end in `_total`. The text
 *   format has these values.
 * - A counter `jobs_total` beside a metric `jobs` has the type `unknown` in OpenMetrics.
 *
 * A large registry is rendered in pieces. All renders of a thread share 5 milliseconds per turn of the event loop; other
 * work runs in between. Some parts cannot be split: a synchronous `collect`, the `get()` of a summary or of a metric with
 * its own `collect` or `get`, and the list of the series of one family. prom-client keeps these series in one object,
 * whose keys can only be read all at once: 15 to 20 milliseconds for a family of 100,000 series, 120 to 150 for one of
 * 500,000 (`npm run bench:attack -- --only turns-family` in a clone of the library).
 *
 * The text of each series is cached as long as the series exists. This takes about 270 bytes for a series with three
 * labels (`npm run bench -- kept`). A registry that is served keeps up to 4 MiB of memory for its next exposition.
 *
 * @example
 * import { HttpRouter, HttpServer } from "@effect/platform"
 * import { Exposition } from "effect-prometheus"
 *
 * export const app = HttpRouter.empty.pipe(
 *   HttpRouter.all("/metrics", Exposition.httpApp()),
 *   HttpServer.serve(),
 *   Exposition.withTracerDisabled()
 * )
 *
 * @since 0.1.0
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { unwrapEffect } from "./compat/layer.js"
import { Registry } from "./compat/registry.js"
import { Cancellation } from "./core/exposition/renderRequest.js"
import { leaveOut } from "./core/http/scrapeMarker.js"
import type { MetricRegistry } from "./core/registry/metricRegistry.js"
import { scrapeRecorder } from "./core/registry/scrapeRecorder.js"
import { mountOptions, readHandlerOptions, renderOptions, type ServeOptions } from "./core/server/handlerOptions.js"
import { handlerModules, newNodeListener, newWebHandler, preloadHandlers } from "./core/server/handlers.js"
import { type Given, readOptions } from "./core/util/options.js"
import { messageOf } from "./core/util/text.js"
import { type ConfigError, type FromConfig, unwrapped } from "./effect/config.js"
import { lazily } from "./effect/lazily.js"
import { currentLog } from "./effect/log.js"
import { TaggedError } from "./effect/taggedError.js"

export type { ErrorPolicy, ServeOptions } from "./core/server/handlerOptions.js"

/**
 * The registry could not be rendered or served.
 *
 * - `reason: "Collect"`: metrics could not be read; `metrics` names them.
 * - `reason: "Registry"`: the registry itself could not be read.
 * - `reason: "Timeout"`: the time limit of the scrape was exceeded; `metrics` names the metrics that had not answered.
 * - `reason: "InvalidOptions"`: an option is unknown or invalid. The message names it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ExpositionError extends TaggedError("ExpositionError")<{
  readonly reason: "Collect" | "Registry" | "Timeout" | "InvalidOptions"
  readonly metrics: ReadonlyArray<string>
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * The text of a registry, and the exact `Content-Type` of that text.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exposition {
  readonly contentType: string
  /** The text in UTF-8, as it is sent in a response. */
  readonly bytes: Uint8Array
  /** The same text as a string. It is created at the first access. */
  readonly body: string
}

/**
 * Options of `render`: the format, the families, and what happens if a metric cannot be read.
 *
 * @since 0.1.0
 * @category models
 */
export interface RenderOptions extends Given<typeof renderOptions> {}

/**
 * The path under which a router serves the exposition.
 *
 * @since 0.1.0
 * @category models
 */
export interface MountOptions extends Given<Pick<typeof mountOptions, "path">> {}

/**
 * Renders the registry in context as text, in the format that `accept` selects.
 *
 * Fails with an `ExpositionError` if a metric cannot be read, unless `onError` is `"continue"`, and if an option is unknown
 * or invalid.
 *
 * @example
 * import { Exposition } from "effect-prometheus"
 * import { Effect } from "effect"
 *
 * export const program = Exposition.render({ names: ["process_cpu_seconds_total"] }).pipe(
 *   Effect.flatMap(({ body }) => Effect.log(body))
 * )
 *
 * @since 0.1.0
 * @category encoding
 */
export const render = (options: RenderOptions = {}): Effect.Effect<Exposition, ExpositionError> =>
  Effect.gen(function* () {
    const { accept, names, ...policy } = yield* checked(() => readOptions(renderOptions, options))
    const { formats, negotiate, renderOnce, textOf } = yield* modules
    const registry = yield* Registry
    const log = yield* currentLog
    const format = negotiate(accept)
    const rendered = yield* untilInterrupted((cancellation) =>
      renderOnce(registry, { format, names, hasShortDeadline: false }, policy, cancellation, log)
    )
    // The result is undefined only if the caller was interrupted.
    if (rendered === undefined) return yield* Effect.never
    if ("reason" in rendered) return yield* new ExpositionError(rendered)
    const { families, source } = rendered
    const bytes = yield* Effect.promise(() => source.bytesOf(families, formats[format].epilogue))
    return expositionOf(formats[format].contentType, bytes, textOf)
  })

/** A thrown error becomes a failure with `reason: "InvalidOptions"`. */
const checked = <A>(read: () => A): Effect.Effect<A, ExpositionError> =>
  Effect.try({
    try: read,
    catch: (cause) => new ExpositionError({ reason: "InvalidOptions", metrics: [], message: messageOf(cause), cause })
  })

// The renderer is loaded at first use.
const modules = lazily(handlerModules)

const expositionOf = (contentType: string, bytes: Uint8Array, textOf: (bytes: Uint8Array) => string): Exposition => {
  let body: string | undefined
  return {
    contentType,
    bytes,
    get body() {
      body ??= textOf(bytes)
      return body
    }
  }
}

// An interruption also ends the render.
const untilInterrupted = <A>(work: (cancellation: Cancellation) => Promise<A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const cancellation = new Cancellation()
    return Effect.onInterrupt(
      Effect.promise(() => work(cancellation)),
      () => Effect.sync(() => cancellation.cancel())
    )
  })

/**
 * Serves the exposition of the registry in context as an app for `@effect/platform`. The registry is taken from the
 * context of the request.
 *
 * The app answers GET and HEAD on every path where it is mounted, and other methods with 405. Its requests do not appear
 * in the access log of `HttpMiddleware.logger`, and `HttpMetrics` does not count them. To keep them out of the traces,
 * see `withTracerDisabled`.
 *
 * Throws a `RangeError` that names an unknown or invalid option.
 *
 * @since 0.1.0
 * @category constructors
 */
export const httpApp = (options: ServeOptions = {}): HttpApp.Default => {
  const serving = readHandlerOptions(options)
  preloadHandlers()
  const load = { scrapes: 0 }
  return Effect.gen(function* () {
    const { respondUntil, newEndpoint } = yield* modules
    const request = yield* HttpServerRequest.HttpServerRequest
    if (typeof request.source === "object" && request.source !== null) leaveOut(request.source)
    const registry = yield* Registry
    const served = newEndpoint(registry, { ...serving, load }, yield* currentLog, scrapeRecorder(registry, serving))
    const { status, headers, body } = yield* Effect.promise((signal) =>
      respondUntil(signal, served, {
        method: request.method,
        target: request.url,
        accept: request.headers["accept"],
        acceptEncoding: request.headers["accept-encoding"],
        scrapeTimeout: request.headers["x-prometheus-scrape-timeout-seconds"]
      })
    )
    if (isClosed(request.source)) return closed
    const contentType = headers["content-type"]
    return HttpServerResponse.uint8Array(body, { status, headers, contentType })
  }).pipe(HttpMiddleware.withLoggerDisabled)
}

// `@effect/platform-node` waits until the body is sent, and keeps the resources of the request until then. If the
// connection was closed in this turn of the event loop, that wait never ends. A response without a body avoids the wait.
const closed = HttpServerResponse.empty({ status: 499 })

const isClosed = (source: unknown): boolean =>
  (source as { readonly socket?: { readonly destroyed?: unknown } | null } | undefined)?.socket?.destroyed === true

/**
 * Mounts the exposition in a router of `@effect/platform`, under `path` (default: `/metrics`). It serves the registry
 * that is provided to this layer.
 *
 * The router is given by its tag: `HttpLayerRouter.HttpRouter`, `HttpRouter.Default`, or `HttpApiBuilder.Router`. Fails
 * with an `ExpositionError` if an option is unknown or invalid.
 *
 * @example
 * import { HttpRouter } from "@effect/platform"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Exposition } from "effect-prometheus"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * export const server = HttpRouter.Default.serve().pipe(
 *   Layer.provide(Exposition.layerRouter(HttpRouter.Default)),
 *   Exposition.withTracerDisabled(),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 }))
 * )
 *
 * @since 0.1.0
 * @category layers
 */
const layerRouter: {
  <Self, Name extends string, E, R>(
    router: HttpRouter.HttpRouter.TagClass<Self, Name, E, R>,
    options?: ServeOptions & MountOptions
  ): Layer.Layer<never, ExpositionError>
  <Self>(
    router: Context.Tag<Self, HttpLayerRouter.HttpRouter>,
    options?: ServeOptions & MountOptions
  ): Layer.Layer<never, ExpositionError, Self>
} = (router: unknown, options: ServeOptions & MountOptions = {}): Layer.Layer<never, ExpositionError> =>
  unwrapEffect(
    Effect.map(
      checked(() => readOptions(mountOptions, options)),
      ({ path, ...serving }): Layer.Layer<never> => {
        const app = (registry: MetricRegistry) => Effect.provideService(httpApp(serving), Registry, registry)
        return isTagClass(router)
          ? router.use((routes) => Effect.flatMap(Registry, (registry) => routes.all(path, app(registry))))
          : Layer.effectDiscard(
              Effect.flatMap(
                Effect.all([router as Context.Tag<never, HttpLayerRouter.HttpRouter>, Registry]),
                ([routes, registry]) => routes.add("*", path, app(registry)) as Effect.Effect<void>
              )
            )
      }
    )
  )

/**
 * Mounts the exposition as `layerRouter` does, with options read from configuration.
 *
 * @example
 * import { HttpLayerRouter } from "@effect/platform"
 * import { Exposition } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const MetricsRoute = Exposition.layerRouterConfig(HttpLayerRouter.HttpRouter, {
 *   scrapeTimeout: Config.withDefault(Config.duration("METRICS_TIMEOUT"), "10 seconds")
 * })
 *
 * @since 0.1.0
 * @category layers
 */
const layerRouterConfig: {
  <Self, Name extends string, E, R>(
    router: HttpRouter.HttpRouter.TagClass<Self, Name, E, R>,
    options: FromConfig<ServeOptions & MountOptions>
  ): Layer.Layer<never, ConfigError | ExpositionError>
  <Self>(
    router: Context.Tag<Self, HttpLayerRouter.HttpRouter>,
    options: FromConfig<ServeOptions & MountOptions>
  ): Layer.Layer<never, ConfigError | ExpositionError, Self>
} = (router: unknown, options: FromConfig<ServeOptions & MountOptions>) =>
  unwrapEffect(
    Effect.map(unwrapped(options), (read) =>
      layerRouter(router as Context.Tag<never, HttpLayerRouter.HttpRouter>, read)
    )
  )

const isTagClass = (router: unknown): router is HttpRouter.HttpRouter.TagClass<never, string, never, never> =>
  typeof (router as { readonly use?: unknown }).use === "function"

/**
 * Keeps requests for `path` (default: `/metrics`), with any query, out of the traces of the `@effect/platform` server
 * that `self` serves. A mounted handler cannot do this, because the tracer decides before the handler runs.
 *
 * A predicate that the application sets later in the pipe stays in effect as well. A predicate that it sets earlier in
 * the pipe replaces this one, so apply this combinator first.
 *
 * @example
 * import { HttpRouter, HttpServer } from "@effect/platform"
 * import { Exposition } from "effect-prometheus"
 *
 * export const server = HttpRouter.empty.pipe(
 *   HttpRouter.mountApp("/metrics", Exposition.httpApp()),
 *   HttpServer.serve(),
 *   Exposition.withTracerDisabled("/metrics")
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const withTracerDisabled: {
  (path?: string): <A, E, R>(self: Layer.Layer<A, E, R>) => Layer.Layer<A, E, R>
  <A, E, R>(self: Layer.Layer<A, E, R>, path?: string): Layer.Layer<A, E, R>
} = dual(
  (args) => Layer.isLayer(args[0]),
  <A, E, R>(self: Layer.Layer<A, E, R>, path = "/metrics"): Layer.Layer<A, E, R> =>
    Layer.locallyWith(self, HttpMiddleware.currentTracerDisabledWhen, (disabled) => (request) => {
      const [pathname] = request.url.split("?")
      return pathname === path || disabled(request)
    })
)

// Exported here and not at the declarations: with `export const`, editors show no documentation where these are called by
// their namespace.
export { layerRouter, layerRouterConfig, withTracerDisabled }

/**
 * Serves the exposition of the registry in context as a listener for `node:http`, and so for Express, Koa and Fastify.
 * The listener answers GET and HEAD on every path where it is mounted, and other methods with 405. Fails with an
 * `ExpositionError` if an option is unknown or invalid.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nodeListener = (
  options: ServeOptions = {}
): Effect.Effect<(request: IncomingMessage, response: ServerResponse) => void, ExpositionError> =>
  Effect.map(handling(options), (given) => newNodeListener(...given))

/**
 * Serves the exposition of the registry in context as a function from a web `Request` to a `Response`, for Hono, Next and
 * other frameworks with these types. The function answers GET and HEAD on every path where it is mounted, and other
 * methods with 405. Fails with an `ExpositionError` if an option is unknown or invalid.
 *
 * The second argument is optional: the bindings of the request, such as `context.env` of Hono. If they contain the
 * `incoming` request of Node.js, `Promises.httpMetrics` does not count the request.
 *
 * @since 0.1.0
 * @category constructors
 */
export const webHandler = (
  options: ServeOptions = {}
): Effect.Effect<(request: Request, bindings?: unknown) => Promise<Response>, ExpositionError> =>
  Effect.map(handling(options), (given) => newWebHandler(...given))

const handling = (options: ServeOptions): Effect.Effect<Parameters<typeof newNodeListener>, ExpositionError> =>
  Effect.all([Registry, checked(() => readHandlerOptions(options)), currentLog])
