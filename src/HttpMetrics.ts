/**
 * Measures the requests of an `@effect/platform` application by method, route pattern and status: their number, their
 * duration, the number in progress, and, with the option `sizes`, the sizes of request and response bodies.
 *
 * - `http_server_requests_total{method, route, status}` counts requests that have ended.
 * - `http_server_request_duration_seconds{method, route, status}` observes the time until the response, with its body,
 *   was complete or cut, in **seconds**.
 * - `http_server_requests_in_progress{method}` is the number of requests that are being answered.
 * - `http_server_request_size_bytes` and `http_server_response_size_bytes`, both `{method, route, status}`, observe the
 *   sizes of the bodies, in **bytes**, if they are known. They need the option `sizes`.
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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { unwrapEffect } from "./compat/layer.js"
import { Registry } from "./compat/registry.js"
import { httpSource } from "./core/http/metrics.js"
import type { HttpNamesOption } from "./core/http/names.js"
import type { HttpCode, OwnHttpMetrics } from "./core/http/options.js"
import { getOrCreate } from "./core/registry/getOrCreate.js"
import type { MetricRegistry } from "./core/registry/metricRegistry.js"
import type { Given as GivenOptions } from "./core/util/options.js"
import { messageOf } from "./core/util/text.js"
import { type ConfigError, type FromConfig, unwrapped } from "./effect/config.js"
import { measuredRouter } from "./effect/http/measuredRouter.js"
import type { Exchange, Measuring } from "./effect/http/measuring.js"
import type { Given, MiddlewareSettings, middlewareOptions } from "./effect/http/meters.js"
import { meters, readMiddlewareOptions } from "./effect/http/meters.js"
import { TaggedError } from "./effect/taggedError.js"
import { measured } from "./runtime/http/measuredApp.js"
import { measuredRpcs, type RpcGroup } from "./runtime/http/rpc.js"

export type {
  CheckHttpLabelNames,
  CheckHttpMetrics,
  CheckHttpNames,
  HttpNameIn,
  HttpNames,
  HttpNamesOption
} from "./core/http/names.js"
export type { OwnHttpMetrics } from "./core/http/options.js"
export type { Exchange } from "./effect/http/measuring.js"
export type { RpcGroup } from "./runtime/http/rpc.js"

/**
 * The metrics could not be created. `message` names the option or the metric.
 *
 * `reason` is `"InvalidOptions"` if an option is unknown or invalid. It is `"Metric"` if the registry has another metric
 * by one of the names, or rejects the metric.
 *
 * @since 0.1.0
 * @category errors
 */
export class HttpMetricsError extends TaggedError("HttpMetricsError")<{
  readonly reason: "InvalidOptions" | "Metric"
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * A middleware that measures the requests of an app. The type of the app does not change.
 *
 * @since 0.1.0
 * @category models
 */
export type Middleware = <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R>

/**
 * Options that can also be read from configuration.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings
  extends GivenOptions<Pick<typeof middlewareOptions, "exclude" | "sizes" | "durationUnit" | "buckets" | "exemplar">> {}

/**
 * Options: which requests are recorded, and on which metrics and labels.
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
 * Options that cannot be read from configuration.
 *
 * @since 0.1.0
 * @category models
 */
export type Code<Names extends string = never, O = unknown, M = OwnHttpMetrics, L = Record<never, never>> = HttpCode<
  Names,
  O,
  M,
  L,
  readonly [exchange: Exchange]
>

/**
 * Returns a middleware that measures requests on the registry in context, which is the registry where this effect runs.
 * Fails with an `HttpMetricsError`.
 *
 * Put the middleware around everything else: `HttpServer.serve(middleware)`, `HttpRouter.Default.serve(middleware)`,
 * `HttpApiBuilder.serve(middleware)`, `HttpLayerRouter.serve(app, { middleware })`,
 * `HttpApp.toWebHandler(app, middleware)`. Combine it with another one as `flow(middleware, HttpMiddleware.logger)`. It
 * does not see requests that a middleware outside of it answers itself, such as the preflights that `HttpMiddleware.cors`
 * answers. `flow(HttpMiddleware.cors(), middleware)` counts them.
 *
 * Each request counts once on each metric, even if several middlewares and layers measure it on the same registry. If one
 * of them leaves a request out by `exclude`, another one still counts it. Handlers get the same request, services, spans
 * and finalizers as without the middleware.
 *
 * **Route.** The complete pattern of the router that matched. It includes the prefixes of `HttpRouter.mountApp`,
 * `prefixAll`, `HttpApi` and `HttpLayerRouter`. An app that is mounted under `/files` and has no router of its own has
 * the route `/files/*`. Requests that match no route, and requests of an application without a router, share the route
 * `unmatched`.
 *
 * **Status.** The status that was sent, except:
 *
 * - 499 if the client disconnected before the response was complete, even if a part was already sent, or if the body of a
 *   web response was cancelled;
 * - 503 if the server interrupted the request or closed its connection;
 * - 408 or 400 if the rest of the request did not arrive in time or could not be read;
 * - for an error that carries its own response, the status of that response; for any other error or defect, and for a
 *   body that fails part way, 500.
 *
 * **Websockets** have the status 101 as soon as they are open. They count as in progress until they close. Their duration
 * and sizes are not observed, because the lifetime of a connection says nothing about response times.
 *
 * **Sizes**, with the option `sizes`. The size of a request body is its `Content-Length`, or what arrived in chunks, or 0
 * if the request cannot have a body. The size of a response body is what was written. In a web handler and over HTTP/2, it
 * is what was streamed, or the length of the given body. Some sizes are not observed: a request body that did not arrive
 * completely, a request body without a length in a web handler, and a file or web stream without a length in a web handler
 * and over HTTP/2.
 *
 * **Names.** `names` changes the names of the metrics and labels. `names: "otel"` gives them the names, labels and buckets
 * of OpenTelemetry's semantic conventions, without a counter of requests. An unknown method is then `_OTHER`, and the label
 * of a route that did not match is empty. `url_scheme` is `https` on a TLS connection, or if the URL of a web request says
 * so; headers of proxies are not read. `error_type` is the status for 499 and for 500 and above.
 *
 * A metric that throws does not change the response. The failure is logged as a warning once, and counted in
 * `effect_prometheus_errors_total` of the registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMiddleware = <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNamesOption = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Effect.Effect<Middleware, HttpMetricsError> =>
  Effect.flatMap(Registry, (registry) =>
    Effect.flatMap(
      Effect.try({ try: () => readMiddlewareOptions((options ?? {}) as Given), catch: failed("InvalidOptions") }),
      (settings) =>
        Effect.try({
          try: () => {
            // The metrics are created now, not with the first request.
            httpSource(settings, registry, (family) => getOrCreate(registry, family))
            return measured(measuring(settings, () => registry))
          },
          catch: failed("Metric")
        })
    )
  )

/**
 * Returns a middleware that measures requests on the registry in the context of each request. See `makeMiddleware`. Throws a
 * `RangeError` that names an unknown or invalid option. If a registry cannot hold the metrics, this is reported like a
 * metric that throws.
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
  const L extends HttpNamesOption = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Middleware =>
  measured(measuring(readMiddlewareOptions((options ?? {}) as Given), (context) => Context.get(context, Registry)))

/**
 * Measures the requests of an `HttpLayerRouter` on the registry that is provided to this layer. See `makeMiddleware`.
 *
 * Whatever the order in which layers are merged, this layer is outside of all global middlewares of the router. It counts
 * what they answer themselves, such as a 401 or a CORS preflight. Only the `middleware` of `HttpLayerRouter.serve` or
 * `toWebHandler` is further out. If that middleware answers requests itself, pass `flow(yours, HttpMetrics.middleware())`
 * there instead of using this layer.
 *
 * A router that is provided as a copy, as by `prefixed`, is measured by a global middleware. In this case the layer that
 * is merged first is the outermost.
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
  const L extends HttpNamesOption = Record<never, never>
>(
  options?: Options<Names, O, M, L>
): Layer.Layer<never, HttpMetricsError, HttpLayerRouter.HttpRouter> =>
  Layer.effectDiscard(
    Effect.flatMap(makeMiddleware<Names, O, M, L>(options), (measure) =>
      // The tag is made from its key, because the module that exports it would load all of HttpApi.
      Effect.flatMap(Context.GenericTag<HttpLayerRouter.HttpRouter>("@effect/platform/HttpLayerRouter"), (router) =>
        measuredRouter(router, measure)
      )
    )
  )

/**
 * Measures requests as `layer` does, with options read from configuration. The second argument holds the options that
 * configuration cannot hold.
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
  const L extends HttpNamesOption = Record<never, never>
>(
  settings: FromConfig<Settings>,
  code?: Code<Names, O, M, L>
): Layer.Layer<never, ConfigError | HttpMetricsError, HttpLayerRouter.HttpRouter> =>
  unwrapEffect(
    Effect.map(unwrapped(settings), (read) =>
      layer<Names, O, M, L>({ ...code, ...read } as unknown as Options<Names, O, M, L>)
    )
  )

/**
 * Measures the requests of an `@effect/rpc` group by procedure and outcome, and returns the same group. HTTP metrics
 * cannot separate these requests: all of them have one route and the status 200. The measurement applies to the server
 * only, with every protocol and every handler. Pass the returned group to `RpcServer.layer`, `layerHttpRouter`,
 * `toHttpApp` or `toWebHandler`.
 *
 * - `rpc_server_request_duration_seconds{procedure, outcome}` observes the time from the start of the handler until its
 *   response or its stream has ended, in **seconds**. Its `_count` is the number of requests.
 * - `rpc_server_requests_in_progress{procedure}` is the number of requests that are being answered.
 *
 * `outcome` is `success`, `failure` (a typed error), `defect`, or `interrupt` (by the client, or by the server when it
 * closes). `procedure` is the tag of the `Rpc`. Several requests in one HTTP request are counted separately. A middleware
 * that is added to the group before this call is measured with the handler; one that is added later is not.
 *
 * Requests that reach no handler are not recorded: an unknown tag, and a payload that cannot be decoded. A handler that
 * throws instead of returning an effect or a stream is not recorded either. Encoding errors are visible to the protocol
 * only: a response or an error that cannot be encoded keeps the outcome of the handler, and a stream is interrupted at
 * that point.
 *
 * The metrics are on the registry in the context of the server. If the registry cannot hold them, a warning is logged,
 * and the requests are answered without measurement. Throws a `TypeError` if the argument is not a group.
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

const measuring = (
  settings: MiddlewareSettings,
  registryIn: (context: Context.Context<never>) => MetricRegistry
): Measuring => ({
  ...settings,
  meterIn: meters(settings, registryIn)
})
