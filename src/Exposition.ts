/**
 * The registry as text, and the ways to serve it inside an application that has a server already.
 *
 * Both formats, Prometheus' text 0.0.4 and OpenMetrics 1.0.0, are written by this library's own encoder: a render
 * changes nothing in the registry, and concurrent scrapes in different formats do not disturb each other. Scrapes of the
 * same format that arrive together share one render, whatever families they ask for and however long they wait; their
 * numbers are at most a second older than the scrape, or as old as it takes to write them. One reading of a metric serves
 * all renders that need it before it is over. A metric that fails is counted once for each reading.
 *
 * What a format forbids is left out and logged once as a warning; all else is served:
 *
 * - Of two families with samples of the same name, such as a histogram `jobs` and a gauge `jobs_count`, the one that is
 *   registered first is exposed, in both formats. `effect_prometheus_metrics_left_out` is how many families are left out,
 *   where there are any.
 * - A value that is not a number, a counter that is NaN or negative, a quantile that is not from 0 to 1, buckets that do not
 *   add up to their count, and a sample whose name or labels are not valid.
 * - In OpenMetrics alone: the sum and the count of a histogram with buckets below 0 or with a negative sum, negative sums
 *   and quantiles of a summary, and exemplars of a counter whose name does not end in `_total`. Text has the values.
 * - A counter `jobs_total` beside a metric `jobs` is of type `unknown` in OpenMetrics.
 *
 * A large registry is rendered in pieces: all renders of a thread share 5 milliseconds in a turn of the event loop, which
 * goes on in between. What cannot be cut takes its time: a `collect` that is synchronous, the `get()` of a metric that has
 * a `collect` or a `get` of its own, of a summary, and the list of the series of one family. prom-client keeps these in one
 * object, whose keys can only be read all at once: 15 to 20 milliseconds for a family of 100,000 series, 120 to 150 for one of
 * 500,000 (`npm run bench:attack -- --only turns-family` in a clone of the library).
 *
 * The text of each series is kept for as long as the series lives, which takes some 270 bytes for one with three labels
 * (`npm run bench -- kept`). Up to 4 MiB of memory stay with a registry that is served, for its next exposition.
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
import * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type { ExpositionError } from "./exposition/scraping.js"
import { endpoint, readAlone } from "./exposition/scraping.js"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import { epilogues } from "./internal/encoder.js"
import type { Answer, Endpoint, Question } from "./internal/endpoint.js"
import { answer } from "./internal/endpoint.js"
import { leaveOut } from "./internal/leftOut.js"
import { listener } from "./internal/listener.js"
import { messageOf } from "./internal/message.js"
import { contentTypes, negotiate } from "./internal/negotiation.js"
import { without } from "./internal/options.js"
import { withBytes } from "./internal/pace.js"
import type { ErrorPolicy, ServeOptions } from "./internal/serving.js"
import { onlyServing } from "./internal/serving.js"
import type { Leaving } from "./internal/sharedRender.js"
import { lookForShortcuts } from "./internal/shortcuts.js"
import { textOf } from "./internal/writer.js"
import type { MetricRegistry } from "./Registry.js"
import { client, Registry } from "./Registry.js"

export { ExpositionError } from "./exposition/scraping.js"
export type { ErrorPolicy, ServeOptions } from "./internal/serving.js"

/**
 * A registry as text, with the exact `Content-Type` of that text.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exposition {
  readonly contentType: string
  /** The text in UTF-8, as it is sent. */
  readonly bytes: Uint8Array
  /** The same text as a string, which is made when it is asked for first. */
  readonly body: string
}

/**
 * What to render.
 *
 * @since 0.1.0
 * @category models
 */
export interface RenderOptions extends ErrorPolicy {
  /** An `Accept` header. It gets OpenMetrics 1.0.0 if it prefers that, and text 0.0.4 in every other case. */
  readonly accept?: string | undefined
  /** The families to render, by the names that they are registered by. Default: all. */
  readonly names?: ReadonlyArray<string> | undefined
}

/**
 * Where to mount the exposition in a router.
 *
 * @since 0.1.0
 * @category models
 */
export interface MountOptions {
  /** Default: `/metrics`. */
  readonly path?: `/${string}` | undefined
}

/**
 * Renders the registry in context.
 *
 * It fails with an `ExpositionError` if a metric cannot be read, unless `onError` is `"continue"`.
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
  Effect.suspend(() => {
    const format = negotiate(options.accept)
    const ask = { format, names: options.names, isHurried: false }
    return Effect.flatMap(readAlone(ask, options), ({ families, source }) =>
      Effect.map(
        Effect.promise(() => source.bytesOf(families, epilogues[format])),
        (bytes) => {
          let body: string | undefined
          return {
            contentType: contentTypes[format],
            bytes,
            get body() {
              body ??= textOf(bytes)
              return body
            }
          }
        }
      )
    )
  })

/**
 * The exposition as an app for `@effect/platform`, of the registry in the context of the request. It answers GET and
 * HEAD on whatever path it is mounted, and anything else with 405. It keeps itself out of the access log of
 * `HttpMiddleware.logger` and out of what `HttpMetrics` counts; to keep it out of the traces see `withTracerDisabled`. It
 * throws a `RangeError` that names an option that is unknown or cannot be right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const httpApp = (options: ServeOptions = {}): HttpApp.Default => {
  void lookForShortcuts(client)
  const serving = onlyServing(options)
  const load = { scrapes: 0 }
  return Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (typeof request.source === "object" && request.source !== null) leaveOut(request.source)
    const served = yield* endpoint({ ...serving, load })
    const { status, headers, body } = yield* Effect.promise((signal) =>
      answeredUntil(signal, served, {
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

// `@effect/platform-node` waits until a body has been sent, with all that belongs to its request. On a connection that was
// closed in this turn of the event loop that never happens. An answer without a body is not waited for.
const closed = HttpServerResponse.empty({ status: 499 })

const isClosed = (source: unknown): boolean =>
  (source as { readonly socket?: { readonly destroyed?: unknown } | null } | undefined)?.socket?.destroyed === true

/**
 * Mounts the exposition in a router of `@effect/platform`, under `path` (default: `/metrics`), with the registry that is
 * provided to this layer.
 *
 * The router is given by its tag: `HttpLayerRouter.HttpRouter`, `HttpRouter.Default`, or `HttpApiBuilder.Router`. Options
 * are checked at once, as those of `httpApp`.
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
  ): Layer.Layer<never>
  <Self>(
    router: Context.Tag<Self, HttpLayerRouter.HttpRouter>,
    options?: ServeOptions & MountOptions
  ): Layer.Layer<never, never, Self>
} = (router: unknown, options: ServeOptions & MountOptions = {}): Layer.Layer<never> => {
  const served = without(options, "path")
  onlyServing(served)
  const { path = "/metrics" } = options
  const app = (registry: MetricRegistry) => Effect.provideService(httpApp(served), Registry, registry)
  return isTagClass(router)
    ? router.use((routes) => Effect.flatMap(Registry, (registry) => routes.all(path, app(registry))))
    : Layer.effectDiscard(
        Effect.flatMap(
          Effect.all([router as Context.Tag<never, HttpLayerRouter.HttpRouter>, Registry]),
          ([routes, registry]) => routes.add("*", path, app(registry)) as Effect.Effect<void>
        )
      )
}

/**
 * The same as `layerRouter`, its options read from configuration. Options that are none are a `ConfigError` that names
 * them.
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
  ): Layer.Layer<never, ConfigError.ConfigError>
  <Self>(
    router: Context.Tag<Self, HttpLayerRouter.HttpRouter>,
    options: FromConfig<ServeOptions & MountOptions>
  ): Layer.Layer<never, ConfigError.ConfigError, Self>
} = (router: unknown, options: FromConfig<ServeOptions & MountOptions>): Layer.Layer<never, ConfigError.ConfigError> =>
  Layer.unwrapEffect(
    Effect.flatMap(unwrapped(options), (read) =>
      Effect.try({
        try: () => layerRouter(router as Context.Tag<never, HttpLayerRouter.HttpRouter>, read),
        catch: (error) => ConfigError.InvalidData([], messageOf(error))
      })
    )
  )

const isTagClass = (router: unknown): router is HttpRouter.HttpRouter.TagClass<never, string, never, never> =>
  typeof (router as { readonly use?: unknown }).use === "function"

/**
 * Keeps `path` (default: `/metrics`), with any query, out of the traces of the `@effect/platform` server that `self`
 * serves. A mounted handler cannot do this: the tracer decides before it runs. What the application disables further
 * out in the pipe stays disabled; a predicate of its own further in takes the place of this one, so apply this first.
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

// Named here and not where they stand: an editor would show nothing of them where they are called by their namespace.
export { layerRouter, layerRouterConfig, withTracerDisabled }

/**
 * The exposition as a listener for `node:http`, and so for Express, Koa and Fastify, of the registry in context. It
 * answers GET and HEAD on whatever path it is mounted, and anything else with 405. It dies of an option that is unknown,
 * or cannot be right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nodeListener = (
  options: ServeOptions = {}
): Effect.Effect<(request: IncomingMessage, response: ServerResponse) => void> =>
  Effect.map(mounted(options), (served) => listener(served))

/**
 * The exposition as a function from a web `Request` to a `Response`, for Hono, Next and whatever else speaks them, of
 * the registry in context. It answers GET and HEAD on whatever path it is mounted, and anything else with 405. It dies
 * of an option that is unknown or cannot be right.
 *
 * What stands behind the request can be given as well, as to the `fetch` of Hono (`context.env`): where that names the
 * `incoming` request of Node.js, `Promises.httpMetrics` does not count it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const webHandler = (
  options: ServeOptions = {}
): Effect.Effect<(request: Request, bindings?: unknown) => Promise<Response>> =>
  Effect.map(mounted(options), (served) => async (request, bindings) => {
    leaveOut(request)
    const incoming = incomingOf(bindings)
    if (incoming !== undefined) leaveOut(incoming)
    const { status, headers, body, done } = await answeredUntil(request.signal, served, {
      method: request.method,
      target: request.url,
      accept: request.headers.get("accept") ?? undefined,
      acceptEncoding: request.headers.get("accept-encoding") ?? undefined,
      scrapeTimeout: request.headers.get("x-prometheus-scrape-timeout-seconds") ?? undefined
    })
    const copy = request.method === "HEAD" ? null : await withBytes(body, () => new Uint8Array(body))
    done?.()
    return new Response(copy, { status, headers })
  })

const incomingOf = (bindings: unknown): object | undefined => {
  const { incoming } = (bindings ?? {}) as { readonly incoming?: unknown }
  return typeof incoming === "object" && incoming !== null ? incoming : undefined
}

// Requests that only look like those of the web may have no signal; others may share one, which outlives them.
const answeredUntil = async (
  signal: AbortSignal | undefined,
  served: Endpoint,
  question: Question
): Promise<Answer> => {
  const leaving: Leaving = { hasLeft: signal?.aborted === true, onLeave: undefined }
  const leave = (): void => {
    leaving.hasLeft = true
    leaving.onLeave?.()
  }
  signal?.addEventListener("abort", leave, { once: true })
  try {
    return await answer(served, { ...question, leaving })
  } finally {
    signal?.removeEventListener("abort", leave)
  }
}

const mounted = (options: ServeOptions): Effect.Effect<Endpoint> => Effect.suspend(() => endpoint(onlyServing(options)))
