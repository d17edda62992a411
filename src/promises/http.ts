/** In a server that there is already: its metrics mounted, and its requests measured. */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { ServeOptions } from "../Exposition.js"
import { nodeListener as nodeListenerEffect, webHandler as webHandlerEffect } from "../Exposition.js"
import type { Family } from "../internal/family.js"
import { httpRecorder, httpSource, targetOf } from "../internal/httpMetrics.js"
import type { CheckHttpMetrics, CheckHttpNames, HttpNames, OwnHttpMetrics } from "../internal/httpOptions.js"
import { excludeOption, httpShape, labelsOption, longLivedOption, ownHttpMetrics } from "../internal/httpOptions.js"
import type { HttpMeasure, HttpOutcome } from "../internal/httpRequests.js"
import { watching } from "../internal/httpRequests.js"
import type { Labels } from "../internal/labels.js"
import { knownOptions, ownOptions, without } from "../internal/options.js"
import type { MetricRegistry } from "../Registry.js"
import { unsafeFamily } from "../Registry.js"
import type { Options } from "./registry.js"
import { checkRegistry, onRegistry, registryOf, reporting } from "./registry.js"

/**
 * The metrics as a listener for `node:http`, Express, Koa and Fastify. It answers GET and HEAD on whatever path it is
 * mounted, and anything else with 405. It throws a `RangeError` that names an option that is unknown or cannot be
 * right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nodeListener = (
  options: ServeOptions & Options = {}
): ((request: IncomingMessage, response: ServerResponse) => void) => mounted(nodeListenerEffect, options)

/**
 * The metrics as a function from a web `Request` to a `Response`, for Hono, Next and whatever else speaks them. It
 * answers GET and HEAD on whatever path it is mounted, and anything else with 405. It throws as `nodeListener` does.
 *
 * What stands behind the request can be given as well, as to the `fetch` of Hono: where that (its `context.env`) names the
 * `incoming` request of Node.js, `httpMetrics` does not count it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const webHandler = (
  options: ServeOptions & Options = {}
): ((request: Request, bindings?: unknown) => Promise<Response>) => mounted(webHandlerEffect, options)

/**
 * What `httpMetrics` records, and of which requests.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpMetricsOptions extends Options {
  /**
   * Where the metrics are made, and failures of theirs are counted. Those that are there already by the same name and
   * with the same labels are used. Default: prom-client's global registry.
   */
  readonly registry?: MetricRegistry | undefined
  /**
   * The unit of the duration: `"seconds"`, as Prometheus advises, or `"milliseconds"`, for dashboards that are there
   * already. It is part of the metric's default name. Default: `"seconds"`.
   */
  readonly durationUnit?: "seconds" | "milliseconds" | undefined
  /**
   * Upper bounds of the duration, in its unit. Default: 0.005 to 10 seconds, those of OpenTelemetry's semantic
   * conventions.
   */
  readonly buckets?: ReadonlyArray<number> | undefined
  /**
   * What is left out: paths, without a query, and patterns of routes; what ends in `/*` leaves out every path under it.
   * Or a function that says so of a request when it arrives. Default: nothing but the metrics themselves.
   */
  readonly exclude?: ReadonlyArray<string> | ((request: IncomingMessage) => boolean) | undefined
  /**
   * Answers that last as long as their client wants, such as server-sent events and long polls: patterns of routes
   * (`"/events/:room"`) and content types (`"text/event-stream"`); or a function that says so when the request has ended.
   * Their duration is not observed. Where their client ends one, its status is the one that was sent, or 200 if none was,
   * instead of 499. Default: none.
   */
  readonly longLived?:
    | ReadonlyArray<string>
    | ((request: IncomingMessage, response: ServerResponse) => boolean)
    | undefined
}

/**
 * Counts, times and sizes the requests of a server of `node:http`, and so of Express, Fastify, Koa, Hono and whatever else
 * is built on it: what comes back is called with each request when it arrives. On the registry it records
 *
 * - `http_server_requests_total{method,route,status}`: requests that have ended, however they did;
 * - `http_server_request_duration_seconds{method,route,status}`: the time from the call until the last of the answer was
 *   handed to the operating system, or was cut, in seconds;
 * - `http_server_request_size_bytes{method,route,status}`: the request's body as it was sent (compressed, without the
 *   framing of chunks and without headers), in bytes: its `Content-Length`, or else what came of it. It is not observed
 *   where it did not come whole;
 * - `http_server_response_size_bytes{method,route,status}`: the answer's body as it was written, in the same way, in
 *   bytes. It is not observed where the answer was cut;
 * - `http_server_requests_in_progress{method}`: requests that are being answered.
 *
 * `method` is one of those of RFC 9110, PATCH and QUERY, or `other`. `route` is the pattern, or `unmatched`. `status` is
 * the code that was sent, whatever became of it afterwards. It is 499 if the client went away before all of the answer was
 * sent, whatever its beginning said. If nothing was sent, it is 408 or 400 where the rest of the request did not come in
 * time or could not be read, and else 500 (`response.destroy()`, a server that closes all its connections). The third
 * argument of `labels` says who cut an answer, for a label of its own. A connection that was upgraded counts as 101 once
 * it is closed, and its time and sizes are not observed.
 *
 * `names` and `durationUnit` give the metrics, their labels and the duration other names and another unit. Two calls on
 * one registry count each request once, unless they give its metrics different names.
 *
 * The request and the response may be those of a test tool, a serverless adapter or an in-process call. A
 * response that emits no event has ended with its `end()`. Nothing here throws into the application: a metric that throws, a
 * function of the options that throws or is async, and a request that cannot be measured change nothing in the answer.
 * Each such failure is counted in `effect_prometheus_errors_total`, and the first of each kind is a process warning.
 *
 * Requests for metrics that `nodeListener` answers, or `webHandler` where it knows the request of Node.js, are left out.
 * It throws a `RangeError` that names an option that is unknown or cannot be right, and an error where the registry has
 * another metric by one of the names.
 *
 * @example
 * import { createServer } from "node:http"
 * import { httpMetrics, nodeListener } from "effect-prometheus/Promises"
 *
 * const measure = httpMetrics()
 * const metrics = nodeListener()
 *
 * export const server = createServer((request, response) => {
 *   const path = request.url?.split("?", 1)[0]
 *   measure(request, response, () => (path === "/" ? "/" : undefined))
 *   if (path === "/metrics") return metrics(request, response)
 *   response.writeHead(path === "/" ? 200 : 404).end()
 * })
 *
 * @since 0.1.0
 * @category constructors
 */
const httpMetrics: {
  <const M extends OwnHttpMetrics = OwnHttpMetrics, const L extends HttpNames = Record<never, never>>(
    options?: HttpMetricsOptions & {
      readonly metrics?: (M & CheckHttpMetrics<M, never, L>) | undefined
      readonly names?: (L & CheckHttpNames<L, never>) | undefined
      readonly labelNames?: undefined
      readonly labels?: undefined
    }
  ): HttpMeasure
  <
    const Names extends string,
    O extends { readonly [K in Names]: string | number },
    const M extends OwnHttpMetrics = OwnHttpMetrics,
    const L extends HttpNames = Record<never, never>
  >(
    options: HttpMetricsOptions & {
      /** Metrics of one's own, with these labels as well. */
      readonly metrics?: (M & CheckHttpMetrics<M, Names, L>) | undefined
      /** Other names for the metrics and for their labels. Default: their own names. */
      readonly names?: (L & CheckHttpNames<L, Names>) | undefined
      /** The names of further labels, on all metrics but that of the requests in progress. */
      readonly labelNames: ReadonlyArray<Names>
      /**
       * Their values, asked when a request has ended, in the same asynchronous context (`AsyncLocalStorage`) as its
       * `route`. Where it throws they are empty.
       */
      readonly labels: (
        request: IncomingMessage,
        response: ServerResponse,
        outcome: HttpOutcome
      ) => O & { readonly [K in Exclude<keyof O, Names>]: never }
    }
  ): HttpMeasure
} = (given: AnyHttpMetricsOptions = {}): HttpMeasure => {
  knownOptions("options", given, httpOptionNames)
  const options = ownOptions(given)
  checkRegistry(options)
  const registry = registryOf(options)
  const own = ownHttpMetrics(options.metrics)
  const shape = httpShape(options, own)
  const asked = {
    labels: labelsOption(options.labels, shape.labelNames),
    ...excludeOption<IncomingMessage>(options.exclude),
    ...longLivedOption(options.longLived)
  }
  const make = (family: Family) => unsafeFamily(registry, family)
  const source = httpSource(own, registry, shape.families, make)
  return watching(httpRecorder(source, shape, reporting(registry)), asked, targetOf(source.metric))
}

interface AnyHttpMetricsOptions extends HttpMetricsOptions {
  readonly metrics?: OwnHttpMetrics | undefined
  readonly names?: HttpNames | undefined
  readonly labelNames?: ReadonlyArray<string> | undefined
  readonly labels?: ((request: IncomingMessage, response: ServerResponse, outcome: HttpOutcome) => Labels) | undefined
}

const httpOptionNames = {
  registry: true,
  durationUnit: true,
  buckets: true,
  exclude: true,
  longLived: true,
  metrics: true,
  names: true,
  labelNames: true,
  labels: true
} as const satisfies Record<keyof AnyHttpMetricsOptions, true>

export { httpMetrics }

// What it dies of is thrown as it is.
const mounted = <A>(handler: (options: ServeOptions) => Effect.Effect<A>, given: ServeOptions & Options): A => {
  checkRegistry(given)
  const handling = onRegistry(handler(without(given, "registry")), given)
  return Exit.getOrElse(Effect.runSyncExit(handling), (cause) => {
    throw Cause.squash(cause)
  })
}
