/**
 * Measures the requests of an `@effect/platform` application: how many, how long they take, how many are in progress,
 * how large they and their answers are, by method, route pattern and status.
 *
 * - `http_server_requests_total{method, route, status}` counts requests that have ended.
 * - `http_server_request_duration_seconds{method, route, status}` observes the time until the answer was whole or cut, its
 *   body included, in **seconds**.
 * - `http_server_requests_in_progress{method}` is how many are being answered.
 * - `http_server_request_size_bytes` and `http_server_response_size_bytes`, both `{method, route, status}`, observe the
 *   bodies, in **bytes**, where their size is known.
 *
 * @example
 * import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
 * import { HttpMetrics } from "effect-prometheus"
 *
 * export const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/users/:id", HttpServerResponse.text("Ada")),
 *   HttpServer.serve(HttpMetrics.middleware())
 * )
 *
 * @since 0.1.0
 * @module
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { RpcGroup } from "./httpMetrics/rpc.js"
import { measuredRpcs } from "./httpMetrics/rpc.js"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import type { Checked, Given } from "./internal/httpMeters.js"
import { checked, meters } from "./internal/httpMeters.js"
import { httpSource } from "./internal/httpMetrics.js"
import type { Exchange, Measuring } from "./internal/httpMiddleware.js"
import { measured, measuredRouter } from "./internal/httpMiddleware.js"
import type { CheckHttpMetrics, CheckHttpNames, HttpNames, OwnHttpMetrics } from "./internal/httpOptions.js"
import { messageOf } from "./internal/message.js"
import type { MetricRegistry } from "./Registry.js"
import { Registry, unsafeCountError, unsafeFamily } from "./Registry.js"

export type { RpcGroup } from "./httpMetrics/rpc.js"
export type { Exchange } from "./internal/httpMiddleware.js"
export type { CheckHttpMetrics, CheckHttpNames, HttpNameIn, HttpNames, OwnHttpMetrics } from "./internal/httpOptions.js"

/**
 * The metrics cannot be as they are asked for: an option is unknown or cannot be right (`reason: "InvalidOptions"`), or the
 * registry has another metric by one of their names, or cannot take it (`reason: "Metric"`). `message` names which.
 *
 * @since 0.1.0
 * @category errors
 */
export class HttpMetricsError extends Data.TaggedError("HttpMetricsError")<{
  readonly reason: "InvalidOptions" | "Metric"
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * A middleware that measures. What it is put around keeps its type.
 *
 * @since 0.1.0
 * @category models
 */
export type Middleware = <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R>

/**
 * What can come from configuration as well.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /**
   * What is left out: route patterns (`"/users/:id"`) and paths (`"/health"`, or `"/internal/*"` for all under it); or a
   * function that says so of a request when it arrives. Default: none. The metrics that `Exposition` serves are left out
   * by themselves.
   *
   * A path is known when a request arrives. A pattern with parameters is known when it has been answered: until then the
   * request is among those in progress.
   */
  readonly exclude?: ReadonlyArray<string> | ((request: HttpServerRequest.HttpServerRequest) => boolean) | undefined
  /**
   * The unit of the duration: `"seconds"`, as Prometheus advises, or `"milliseconds"`, for dashboards that are there
   * already. It is part of the metric's default name. Default: `"seconds"`.
   */
  readonly durationUnit?: "seconds" | "milliseconds" | undefined
  /**
   * The upper bounds of the duration's buckets, in its unit. Default: those that OpenTelemetry's semantic conventions
   * advise, 0.005 to 10 seconds.
   */
  readonly buckets?: ReadonlyArray<number> | undefined
  /**
   * Puts `trace_id` and `span_id` of the request's span on the requests and their duration, if that span is sampled. They
   * appear in OpenMetrics expositions only. Metrics that are there already, or the caller's own, take them only if they
   * were made with `enableExemplars`. Default: none.
   */
  readonly exemplar?: "currentSpan" | undefined
}

/**
 * What is recorded, and on what.
 *
 * @since 0.1.0
 * @category models
 */
export type Options<
  Names extends string = never,
  O = unknown,
  M = OwnHttpMetrics,
  L = Record<never, never>
> = Settings & Code<Names, O, M, L>

/**
 * What only code can say.
 *
 * @since 0.1.0
 * @category models
 */
export type Code<Names extends string = never, O = unknown, M = OwnHttpMetrics, L = Record<never, never>> = {
  /** Metrics of the caller's own, each in the place of one that would be made on the registry; `false` leaves one out. */
  readonly metrics?: (M & CheckHttpMetrics<M, Names, L>) | undefined
  /** Other names for the metrics and for their labels. Default: their own names. */
  readonly names?: (L & CheckHttpNames<L, Names>) | undefined
} & (
  | { readonly labelNames?: undefined; readonly labels?: undefined }
  | {
      /** Further labels of all but those in progress. */
      readonly labelNames: ReadonlyArray<Names>
      /**
       * Their values, asked for once when the exchange has ended. Each new value is a series for good: nothing that anybody
       * can make up belongs here. Where it throws, the labels are empty texts.
       */
      readonly labels: (exchange: Exchange) => O & { readonly [K in Exclude<keyof O, Names>]: never }
    }
)

/**
 * A middleware that measures on the registry in context, which is the one where this effect runs. It fails with an
 * `HttpMetricsError`.
 *
 * Put it around everything: `HttpServer.serve(middleware)`, `HttpRouter.Default.serve(middleware)`,
 * `HttpApiBuilder.serve(middleware)`, `HttpLayerRouter.serve(app, { middleware })`, `HttpApp.toWebHandler(app, middleware)`;
 * with another one as `flow(middleware, HttpMiddleware.logger)`. A middleware outside of it that answers itself, such as
 * `HttpMiddleware.cors` does preflights, keeps these requests from it: `flow(HttpMiddleware.cors(), middleware)` counts
 * them.
 *
 * Each request counts once on each metric, however many middlewares and layers measure it on the same registry. What one
 * of them leaves out by `exclude`, another one still counts. Handlers see the same request, services, spans and
 * finalizers as without it.
 *
 * **Route.** The pattern of the router that matched, whole: with the prefixes of `HttpRouter.mountApp`, `prefixAll`,
 * `HttpApi` and `HttpLayerRouter`; `/files/*` for an app that is mounted under `/files` and has no router of its own.
 * `unmatched` is the one group for what matches none, and for an application without a router.
 *
 * **Status.** What was sent. 499 where the client went away before the answer was whole, whatever had been sent of it,
 * or where the body of a web response was cancelled; 503 where the server interrupted the request or closed its
 * connection; 408 or 400 where the rest of the request did not come in time or could not be read; an error that carries
 * its own response has that one's, and any other error or defect 500, as has a body that breaks off.
 *
 * **Websockets** have the status 101 as soon as they are open. They are in progress while they live, and have neither
 * duration nor sizes: how long they live says nothing of how fast requests are answered.
 *
 * **Sizes.** Of a request's body what `Content-Length` says, or what came of it in chunks, and 0 where it can have none;
 * of an answer's what was streamed, or the length of what was handed over. Not observed are a request's body that did not
 * come whole, or comes to a web handler without saying its length, and a file or a web stream that does not say its own.
 *
 * A metric that throws changes nothing in the answer: it is logged as a warning once, and counted in
 * `effect_prometheus_errors_total` of the registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNames = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Effect.Effect<Middleware, HttpMetricsError> =>
  Effect.flatMap(Registry, (registry) =>
    Effect.flatMap(
      Effect.try({ try: () => checked((options ?? {}) as Given), catch: failed("InvalidOptions") }),
      (settings) =>
        Effect.try({
          try: () => {
            // They are made at once, and not with the first request.
            httpSource(settings.metrics, registry, settings.families, (family) => unsafeFamily(registry, family))
            return measured(measuring(settings, () => registry))
          },
          catch: failed("Metric")
        })
    )
  )

/**
 * The same as `make` in one line: a middleware that measures on the registry in the context of each request. It throws a
 * `RangeError` that names an option which is unknown or cannot be right. A registry that cannot take the metrics is told
 * as a metric that throws is.
 *
 * @example
 * import { HttpApiBuilder, HttpMiddleware } from "@effect/platform"
 * import { HttpMetrics } from "effect-prometheus"
 * import { flow } from "effect"
 *
 * export const server = HttpApiBuilder.serve(
 *   flow(
 *     HttpMetrics.middleware({
 *       exclude: ["/health"],
 *       labelNames: ["tenant"],
 *       labels: ({ request }) => ({ tenant: request.headers["x-tenant"] === "acme" ? "acme" : "other" })
 *     }),
 *     HttpMiddleware.logger
 *   )
 * )
 *
 * @since 0.1.0
 * @category constructors
 */
export const middleware = <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNames = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Middleware => measured(measuring(checked((options ?? {}) as Given), (context) => Context.get(context, Registry)))

/**
 * Measures the requests of an `HttpLayerRouter`, on the registry that is provided to this layer: see `make`. In whatever
 * order the layers are merged, it is further out than all global middlewares of the router: it counts what they answer
 * themselves, such as a 401 or a preflight of CORS. Only what is given as `middleware` to `HttpLayerRouter.serve` or
 * `toWebHandler` is further out still: where that answers requests itself, give `flow(yours, HttpMetrics.middleware())`
 * there in the place of this layer.
 *
 * A router that is provided as a copy, as by `prefixed`, is measured by a global middleware: there the layer that is
 * merged first is the outermost.
 *
 * @example
 * import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
 * import { HttpMetrics } from "effect-prometheus"
 * import { Layer } from "effect"
 *
 * const users = HttpLayerRouter.add("GET", "/users/:id", HttpServerResponse.text("Ada"))
 *
 * export const server = HttpLayerRouter.serve(Layer.merge(users, HttpMetrics.layer()))
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNames = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Layer.Layer<never, HttpMetricsError, HttpLayerRouter.HttpRouter> =>
  Layer.effectDiscard(
    Effect.flatMap(make(options), (measure) =>
      // By its key: the module of the tag would load all of HttpApi.
      Effect.flatMap(Context.GenericTag<HttpLayerRouter.HttpRouter>("@effect/platform/HttpLayerRouter"), (router) =>
        measuredRouter(router, measure)
      )
    )
  )

/**
 * The same as `layer`, with options that are read from configuration; what only code can say comes second.
 *
 * @example
 * import { HttpMetrics } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const Measured = HttpMetrics.layerConfig({
 *   exclude: Config.withDefault(Config.array(Config.string(), "METRICS_EXCLUDE"), [])
 * })
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNames = Record<never, never>
>(
  settings: FromConfig<Settings>,
  code?: Code<Names, O, M, L>
): Layer.Layer<never, ConfigError.ConfigError | HttpMetricsError, HttpLayerRouter.HttpRouter> =>
  Layer.unwrapEffect(
    Effect.map(unwrapped(settings), (read) => layer({ ...code, ...read } as unknown as Options<Names, O, M, L>))
  )

/**
 * The group of `@effect/rpc` that it is given, with each request measured by procedure and outcome: HTTP has one route
 * and the status 200 for all of them. It is for the server alone, whatever the protocol and the handlers; give it in the
 * place of the group to `RpcServer.layer`, `layerHttpRouter`, `toHttpApp` or `toWebHandler`.
 *
 * - `rpc_server_request_duration_seconds{procedure, outcome}` observes the time from the start of the handler until its
 *   answer, or its stream, has ended, in **seconds**. Its `_count` is the number of requests.
 * - `rpc_server_requests_in_progress{procedure}` is how many are being answered.
 *
 * `outcome` is `success`, `failure` (a typed error), `defect`, or `interrupt` (by the client, or by the server as it
 * closes). `procedure` is the tag of the `Rpc`. Several requests in one HTTP request count each by itself. A middleware
 * that is added to the group before this is measured with the handler; one that is added later is not. Not recorded is
 * what reaches no handler: an unknown tag, and a payload that cannot be decoded; nor a handler that throws instead of
 * giving an effect or a stream. What cannot be encoded is seen by the protocol alone: an answer or an error is what it was
 * to the handler, and a stream is interrupted there.
 *
 * They are recorded on the registry in the context of the server. A registry that cannot take these metrics is logged as
 * a warning, and the requests are answered unmeasured. It throws a `TypeError` if it is given no group.
 *
 * @example
 * import { Rpc, RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
 * import { Effect, Layer, Schema } from "effect"
 * import { HttpMetrics } from "effect-prometheus"
 *
 * class Users extends RpcGroup.make(
 *   Rpc.make("user", { payload: { id: Schema.Number }, success: Schema.String })
 * ) {}
 *
 * export const routes = RpcServer.layerHttpRouter({
 *   group: HttpMetrics.rpc(Users),
 *   path: "/rpc",
 *   protocol: "http"
 * }).pipe(
 *   Layer.provide(Users.toLayer({ user: ({ id }) => Effect.succeed(`user ${id}`) })),
 *   Layer.provide(RpcSerialization.layerJson)
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
export const rpc: <Group extends RpcGroup>(group: Group) => Group = measuredRpcs

const failed =
  (reason: HttpMetricsError["reason"]) =>
  (cause: unknown): HttpMetricsError =>
    new HttpMetricsError({ reason, message: messageOf(cause), cause })

const measuring = (settings: Checked, registryIn: (context: Context.Context<never>) => MetricRegistry): Measuring => ({
  ...settings,
  meterIn: meters(settings, { registryIn, make: unsafeFamily, countError: unsafeCountError })
})
