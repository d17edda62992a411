/** Serves metrics from an application's own server, and measures its requests. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { httpSource } from "../core/http/metrics.js"
import type { HttpNamesOption } from "../core/http/names.js"
import { type HttpMeasure, type HttpOutcome, watching } from "../core/http/node/requests.js"
import type { HttpCode, OwnHttpMetrics } from "../core/http/options.js"
import {
  checkedLater,
  excludeOption,
  httpOptions,
  httpShape,
  labelsOption,
  longLivedOption
} from "../core/http/options.js"
import { httpRecorder } from "../core/http/recorder.js"
import type { Labels } from "../core/instrument/labels.js"
import { getOrCreate } from "../core/registry/getOrCreate.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { handlerOptions, type ServeOptions } from "../core/server/handlerOptions.js"
import { newNodeListener, newWebHandler } from "../core/server/handlers.js"
import { toConsole } from "../core/util/log.js"
import { type Given, readOptions } from "../core/util/options.js"
import { checkRegistry, type Options, registryOf, reporting } from "./registry.js"

/**
 * Serves the metrics as a listener for `node:http`, Express, Koa and Fastify. The listener answers GET and HEAD on every
 * path where it is mounted, and other methods with 405. Throws a `RangeError` that names an unknown or invalid option.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nodeListener = (
  options: ServeOptions & Options = {}
): ((request: IncomingMessage, response: ServerResponse) => void) => newNodeListener(...handling(options))

/**
 * Serves the metrics as a function from a web `Request` to a `Response`, for Hono, Next and other frameworks with these
 * types. The function answers GET and HEAD on every path where it is mounted, and other methods with 405. Throws as
 * `nodeListener` does.
 *
 * The second argument is optional: the bindings of the request, such as `context.env` of Hono. If they contain the
 * `incoming` request of Node.js, `httpMetrics` does not count the request.
 *
 * @since 0.1.0
 * @category constructors
 */
export const webHandler = (
  options: ServeOptions & Options = {}
): ((request: Request, bindings?: unknown) => Promise<Response>) => newWebHandler(...handling(options))

/**
 * Options of `httpMetrics`: which requests it records, and on which metrics.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpMetricsOptions
  extends Options,
    Given<Pick<typeof httpOptions, "sizes" | "durationUnit" | "buckets">> {
  /**
   * The registry on which the metrics are created and their failures are counted. Existing metrics with the same name and
   * the same labels are used. Default: prom-client's global registry.
   */
  readonly registry?: MetricRegistry | undefined
  /**
   * Requests that are not recorded: paths, without a query, and route patterns. An entry that ends in `/*` excludes every
   * path below it. Or a predicate that is called when a request arrives. Default: nothing but the metrics themselves.
   */
  readonly exclude?: ReadonlyArray<string> | ((request: IncomingMessage) => boolean) | undefined
  /**
   * Responses that last as long as their client wants, such as server-sent events and long polls: route patterns
   * (`"/events/:room"`) and content types (`"text/event-stream"`), or a predicate that is called when the request has
   * ended. Their duration is not observed. If the client ends such a response, the status is the one that was sent, or
   * 200 if no status was sent, instead of 499. Default: none.
   */
  readonly longLived?:
    | ReadonlyArray<string>
    | ((request: IncomingMessage, response: ServerResponse) => boolean)
    | undefined
}

/**
 * Records the number and the duration of the requests of a `node:http` server, and so of Express, Fastify, Koa, Hono and
 * other frameworks built on it; with the option `sizes`, also the sizes of their bodies. Returns a function; call it with
 * each request when the request arrives. It records these metrics on the registry:
 *
 * - `http_server_requests_total{method,route,status}`: requests that have ended, with any outcome;
 * - `http_server_request_duration_seconds{method,route,status}`: the time, in seconds, from the call until the end of the
 *   response was handed to the operating system, or until the response was cut;
 * - `http_server_requests_in_progress{method}`: requests that are being answered;
 * - `http_server_request_size_bytes{method,route,status}`, with `sizes`: the size of the request body as it was sent
 *   (compressed, without chunk framing and headers), in bytes. This is its `Content-Length`, or otherwise the number of
 *   bytes that arrived. It is not observed if the body did not arrive completely;
 * - `http_server_response_size_bytes{method,route,status}`, with `sizes`: the size of the response body as it was written,
 *   measured in the same way, in bytes. It is not observed if the response was cut.
 *
 * `method` is a method of RFC 9110, PATCH, QUERY, or `other`. `route` is the pattern, or `unmatched`. `status` is the
 * code that was sent. It is 499 if the client disconnected before the whole response was sent, even if another status was
 * already sent. If nothing was sent, it is 408 or 400 if the rest of the request did not arrive in time or could not be
 * read, and otherwise 500 (`response.destroy()`, a server that closes all its connections). The third argument of
 * `labels` says which side cut a response, for an additional label. An upgraded connection counts as 101 when it is
 * closed; its duration and sizes are not observed.
 *
 * `names` and `durationUnit` change the names of the metrics and labels, and the unit of the duration. `names: "otel"`
 * gives them the names, labels and buckets of OpenTelemetry's semantic conventions, without a counter of requests: an
 * unknown method is then `_OTHER`, the label of a route that did not match is empty, `url_scheme` is `https` on a TLS
 * connection, whatever headers of proxies say, and `error_type` is the status for 499 and for 500 and above. Several calls
 * for one request record it once on each metric.
 *
 * The request and the response may come from a test tool, a serverless adapter or an in-process call. A response that
 * emits no event ends with its `end()`. Nothing here throws into the application. A metric that throws, a function of the
 * options that throws or is async, and a request that cannot be measured do not change the response. Each such failure is
 * counted in `effect_prometheus_errors_total`, and the first of each kind is a process warning.
 *
 * Requests for metrics are left out if `nodeListener` answers them, or `webHandler` if it knows the request of Node.js.
 * Throws a `RangeError` that names an unknown or invalid option, and an error if the registry has another metric by one
 * of the names.
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
const httpMetrics: <
  const Names extends string = never,
  O extends { readonly [K in Names]: string | number } = { readonly [K in Names]: string | number },
  const M extends OwnHttpMetrics = OwnHttpMetrics,
  const L extends HttpNamesOption = Record<never, never>
>(
  options?: HttpMetricsOptions &
    HttpCode<Names, O, M, L, readonly [request: IncomingMessage, response: ServerResponse, outcome: HttpOutcome]>
) => HttpMeasure = (given: AnyHttpMetricsOptions = {}) => {
  checkRegistry(given)
  const options = readOptions(measureSet, given)
  const registry = registryOf(options)
  const shape = httpShape(options)
  const asked = {
    labels: labelsOption(options.labels, shape.labelNames),
    needsContext: runsCode(options),
    ...excludeOption<IncomingMessage>(options.exclude),
    ...longLivedOption(options.longLived)
  }
  const reporter = reporting(registry)
  const source = httpSource(shape, registry, (family) => getOrCreate(registry, family))
  return watching(source, (its) => httpRecorder(its, shape, reporter), asked)
}

// A metric of the caller may be of any making.
const runsCode = ({ labels, longLived, metrics }: AnyHttpMetricsOptions): boolean =>
  labels !== undefined ||
  typeof longLived === "function" ||
  Object.values(metrics ?? {}).some((metric) => metric !== undefined && metric !== false)

interface AnyHttpMetricsOptions extends HttpMetricsOptions {
  readonly metrics?: OwnHttpMetrics | undefined
  readonly names?: HttpNamesOption | undefined
  readonly labelNames?: ReadonlyArray<string> | undefined
  readonly labels?: Labelling | undefined
}

type Labelling = (request: IncomingMessage, response: ServerResponse, outcome: HttpOutcome) => Labels

const measureSet = {
  ...httpOptions,
  registry: checkedLater<MetricRegistry>("registry"),
  labels: checkedLater<Labelling>("function"),
  exclude: checkedLater<NonNullable<HttpMetricsOptions["exclude"]>>("strings"),
  longLived: checkedLater<NonNullable<HttpMetricsOptions["longLived"]>>("strings")
}

export { httpMetrics }

const handlerSet = { ...handlerOptions, registry: checkedLater<MetricRegistry>("registry") }

const handling = (given: ServeOptions & Options): Parameters<typeof newNodeListener> => {
  checkRegistry(given)
  const { registry, ...serving } = readOptions(handlerSet, given)
  return [registryOf({ registry }), serving, toConsole]
}
