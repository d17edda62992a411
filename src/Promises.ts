/**
 * The same measurements, and the same server, for code that is not Effect: functions, methods and promises. Nothing
 * here asks its user to know Effect.
 *
 * @example
 * import { startHttpServer, timed } from "effect-prometheus/Promises"
 * import { Histogram } from "prom-client"
 *
 * const requestSeconds = new Histogram({ name: "request_seconds", help: "Time spent in requests, in seconds." })
 *
 * export const handler = timed(requestSeconds)(async (id: string) => ({ id }))
 *
 * export const server = startHttpServer({ port: 9464 })
 *
 * @since 0.1.0
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ConsulAgent from "./ConsulAgent.js"
import type { ServeOptions } from "./Exposition.js"
import { nodeListener as nodeListenerEffect, webHandler as webHandlerEffect } from "./Exposition.js"
import type { Log } from "./internal/edge.js"
import { running, toLog } from "./internal/edge.js"
import type { Family } from "./internal/family.js"
import { httpFamilies, httpRecorder, httpSource } from "./internal/httpMetrics.js"
import type { CheckHttpMetrics, OwnHttpMetrics } from "./internal/httpOptions.js"
import {
  bucketsOption,
  excludeOption,
  furtherLabelNames,
  labelsOption,
  ownHttpMetrics
} from "./internal/httpOptions.js"
import type { HttpMeasure } from "./internal/httpRequests.js"
import { watching } from "./internal/httpRequests.js"
import type {
  CheckEntries,
  ExactLabels,
  Labelled,
  Labels,
  LabelsFrom,
  LabelsOf,
  SomeLabels,
  Unlabelled,
  WithLabels,
  WithoutLabels
} from "./internal/labels.js"
import type { OnlyErrors } from "./internal/only.js"
import { matching } from "./internal/only.js"
import { knownOptions, ownOptions, without } from "./internal/options.js"
import type { Instruments as PlanInstruments, Reporter } from "./internal/plan.js"
import { planned } from "./internal/plan.js"
import { warningFor } from "./internal/warnings.js"
import { isThenable, measuredPromise, wrapper } from "./internal/wrap.js"
import type { Counter, Gauge, Observer } from "./Metrics.js"
import * as MetricsServer from "./MetricsServer.js"
import type { MetricRegistry } from "./Registry.js"
import { Registry, unsafeCountError, unsafeFamily } from "./Registry.js"
import type { Server, ServiceDiscoveryError } from "./ServiceDiscovery.js"
import { ServiceDiscovery } from "./ServiceDiscovery.js"

export type { Log } from "./internal/edge.js"
export type { CheckHttpMetrics, OwnHttpMetrics } from "./internal/httpOptions.js"
export type { HttpMeasure } from "./internal/httpRequests.js"

/**
 * How a measured call ended, for labels that depend on it: `{ status: "fulfilled", value }` or
 * `{ status: "rejected", reason }`. A function that returns or throws at once ends in the same two ways.
 *
 * @since 0.1.0
 * @category models
 */
export type Settled<A> = PromiseSettledResult<A>

/**
 * What every combinator takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where failures of the metric itself are counted, in `effect_prometheus_errors_total{operation}`. Default:
   * prom-client's global registry.
   */
  readonly registry?: MetricRegistry | undefined
}

/**
 * What `countExceptions` counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counting {
  /**
   * Which errors are counted: instances of a class or of one of several, those with a `_tag`, or those for which a
   * predicate holds. Default: all.
   */
  readonly only?: OnlyErrors | undefined
}

/**
 * What `instrumented` records: any of the three, each as a metric or as `{ metric, …options }`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<A> {
  /** The run time, in seconds, as by `timed`. */
  readonly duration?: Observer | { readonly metric: Observer; readonly labels?: LabelsFrom<Settled<A>> } | undefined
  /** The errors and rejections, as by `countExceptions`. */
  readonly exceptions?:
    | Counter
    | ({ readonly metric: Counter; readonly labels?: LabelsFrom<Settled<A>> } & Counting)
    | undefined
  /** How many are running, as by `trackInprogress`. */
  readonly inprogress?: Gauge | { readonly metric: Gauge; readonly labels?: SomeLabels } | undefined
}

/**
 * The compiler's check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  { duration: "labels"; exceptions: "labels" | "only"; inprogress: "labels" }
>

/**
 * Takes a function, or decorates a method, and gives back the same function, measured: its parameters, `this`, `name`,
 * `length` and types stay; a function that is not async stays so; results, errors and rejections come through as the
 * same object.
 *
 * A call is over when the function returns or throws, or, if it returned a promise, when that settles. A returned
 * promise keeps its class; any other thenable is followed by a plain `Promise`, and its `then` is called once: wrap what
 * awaits a query builder, not what builds it. An iterator is over when it is returned, not when it has been read.
 *
 * As a decorator it serves both the standard (TC39) kind and `experimentalDecorators`, for methods only; on anything
 * else it throws a `TypeError`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wrapper {
  <F extends (...args: never) => unknown>(method: F, context: ClassMethodDecoratorContext): F
  <F extends (...args: never) => unknown>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<F>
  ): TypedPropertyDescriptor<F>
  <F extends (...args: never) => unknown>(fn: F): F
}

/**
 * Records on a `Metric`: given the metric alone it is a `Wrapper`; given a promise as well, it measures that promise
 * and gives back the one that follows it.
 *
 * The compiler asks for labels where the metric has them, and for no others.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Extra> {
  // The same as the last one: editors complete by the first that has as many parameters, the compiler tells of the last.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
  <A, M extends Metric>(
    metric: M & WithoutLabels<M>,
    promise: PromiseLike<A>,
    options?: Options & Extra & Unlabelled
  ): Promise<A>
  <A, M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Extra & Labelled<(exit: Settled<A>) => O & ExactLabels<M, O>>
  ): Promise<A>
  <A, M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Metric>(metric: M & WithoutLabels<M>, options?: Options & Extra & Unlabelled): Wrapper
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<(exit: Settled<unknown>) => O & ExactLabels<M, O>>
  ): Wrapper
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
}

/**
 * Observes the run time in **seconds**, once per call, whether it returns, throws, resolves or rejects. Of a promise it
 * observes the time from now until it settles. Time is read from `performance.now()`, which is monotonic.
 *
 * An observer that throws changes nothing in the call: it is told as a process warning (`process.on("warning")`) once
 * per metric and counted in `effect_prometheus_errors_total{operation="observe"}`.
 *
 * @example
 * import { timed } from "effect-prometheus/Promises"
 * import { Histogram } from "prom-client"
 *
 * const seconds = new Histogram({ name: "fetch_seconds", help: "Fetch time, in seconds.", labelNames: ["outcome"] })
 *
 * export const load = timed(seconds, { labels: (exit) => ({ outcome: exit.status }) })(
 *   async (url: string): Promise<string> => (await fetch(url)).text()
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const timed: Combinator<Observer, unknown> = combinator((metric: Observer, options) => ({
  duration: { ...options, metric }
}))

/**
 * Counts errors: +1 for each call that throws or rejects, and for each promise that rejects. `only` narrows which. The
 * error comes through as the same object.
 *
 * A counter (or a predicate) that throws changes nothing in the call: it is told as a process warning once per metric
 * and counted in `effect_prometheus_errors_total{operation="inc"}`.
 *
 * @example
 * import { countExceptions } from "effect-prometheus/Promises"
 * import { Counter } from "prom-client"
 *
 * const failures = new Counter({ name: "parse_failures_total", help: "Texts that are no JSON." })
 *
 * export const parse = countExceptions(failures, { only: SyntaxError })((text: string): unknown => JSON.parse(text))
 *
 * @since 0.1.0
 * @category combinators
 */
const countExceptions: Combinator<Counter, Counting> = combinator((metric: Counter, options) => ({
  exceptions: { ...options, metric }
}))

/**
 * Keeps the number of calls in progress: +1 before the function is called, −1 when it has returned or thrown, or when
 * its promise has settled. If the +1 itself fails, no −1 follows.
 *
 * A gauge that throws changes nothing in the call: it is told as a process warning once per metric and counted in
 * `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * @example
 * import { trackInprogress } from "effect-prometheus/Promises"
 * import { Gauge } from "prom-client"
 *
 * const running = new Gauge({ name: "uploads_in_progress", help: "Uploads that run now.", labelNames: ["to"] })
 *
 * export const upload = trackInprogress(running, { labels: { to: "archive" } })(
 *   async (body: string) => (await fetch("http://archive.example/", { method: "POST", body })).status
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInprogress: {
  // As in `Combinator`, for what an editor completes.
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
  <M extends Gauge>(gauge: M & WithoutLabels<M>, options?: Options & Unlabelled): Wrapper
  <A, M extends Gauge>(gauge: M & WithoutLabels<M>, promise: PromiseLike<A>, options?: Options & Unlabelled): Promise<A>
  <A, M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
} = combinator((metric: Gauge, options) => ({ inprogress: { ...options, metric } }))

/**
 * Any of `timed`, `countExceptions` and `trackInprogress` at once. Each entry is a metric, or `{ metric, …options }` with
 * the options of the combinator that it stands for.
 *
 * @example
 * import { instrumented } from "effect-prometheus/Promises"
 * import { Counter, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "mail_seconds", help: "Time to send a mail, in seconds." })
 * const exceptions = new Counter({ name: "mail_failures_total", help: "Mails that were not sent.", labelNames: ["why"] })
 *
 * export const send = instrumented({ duration, exceptions: { metric: exceptions, labels: { why: "refused" } } })(
 *   async (to: string) => fetch("http://mail.example/", { method: "POST", body: to })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const instrumented: {
  <const I extends Instruments<unknown>>(instruments: I & CheckInstruments<I>, options?: Options): Wrapper
  <A, const I extends Instruments<A>>(
    instruments: I & CheckInstruments<I>,
    promise: PromiseLike<A>,
    options?: Options
  ): Promise<A>
} = combinator((instruments: AnyInstruments) => instruments)

// Named here and not where they stand: an editor would show nothing of them where they are called by their namespace.
export { countExceptions, httpMetrics, instrumented, timed, trackInprogress }

/**
 * How to register a server for `startHttpServer`: `consulAgent(…)`, or one's own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /**
   * Registers `server`. It resolves to the function that takes the registration back, called before the server stops
   * listening, or to nothing if there is nothing to take back. If it rejects, the server is closed again and
   * `startHttpServer` rejects with the same error.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: an async function that returns nothing is one of the two
  readonly register: (server: Server) => PromiseLike<(() => unknown) | void>
  /** By whom servers are registered, for the log. Default: `"service discovery"`. */
  readonly name?: string | undefined
  /** Whether `server` is registered at this moment. Default: it is once `register` has resolved. */
  readonly isRegistered?: ((server: Server) => boolean) | undefined
}

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
  const checked = await Effect.runPromise(Effect.either(MetricsServer.validate(serverOptions(options))))
  if (Either.isLeft(checked)) throw checked.left
}

/**
 * The salted hash of a password, for `authentication.users`; see `MetricsServer.hashPassword`.
 *
 * @example
 * import { hashPassword } from "effect-prometheus/Promises"
 *
 * console.log(await hashPassword("correct horse battery staple"))
 *
 * @since 0.1.0
 * @category constructors
 */
export const hashPassword = (password: string | Redacted.Redacted<string>): Promise<string> =>
  Effect.runPromise(MetricsServer.hashPassword(password))

// What the server itself knows nothing of is left out: it refuses unknown options.
const serverOptions = (given: ThreadOptions): MetricsServer.WorkerOptions =>
  without(given, "log", "registry", "serviceDiscovery")

/**
 * How to register with a Consul agent: `ConsulAgent.Options`, whose `token` may be a function as well.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConsulAgentOptions extends Omit<ConsulAgent.Options, "token"> {
  /**
   * The ACL token, or a function that gives it, now or as a promise, and is called for each call to the agent, so that a
   * token can be another one later. A function that throws, or a promise that rejects, is a failure with
   * `reason: "Token"`; what its error says is not told, as it may hold the token.
   */
  readonly token?: ConsulAgent.Token | (() => SomeToken | PromiseLike<SomeToken>) | undefined
}

type SomeToken = string | Redacted.Redacted<string>

/**
 * Registers with the local Consul agent; see `ConsulAgent.Options`. As a `serviceDiscovery` it says what it has to say to
 * the server's `log`, and called by somebody else to `console`. `register` rejects with a `ServiceDiscoveryError`
 * that names the agent's address, with the status and the body of its answer if there was one.
 *
 * @example
 * import { consulAgent, startHttpServer } from "effect-prometheus/Promises"
 *
 * export const server = startHttpServer({ port: 9464, serviceDiscovery: consulAgent({ name: "checkout" }) })
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgent = (options: ConsulAgentOptions = {}): Discovery =>
  registeringWith(ConsulAgent.make(withToken(options)))

/**
 * The same, its connection to the agent read from the environment variables of Consul's own tools (`CONSUL_HTTP_ADDR`,
 * `CONSUL_HTTP_TOKEN`, …); what `options` give goes before them. See `ConsulAgent.fromEnv`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgentFromEnv = (options: ConsulAgentOptions = {}): Discovery =>
  registeringWith(Effect.flatMap(ConsulAgent.withEnvironment(withToken(options)), ConsulAgent.make))

const withToken = (given: ConsulAgentOptions): ConsulAgent.Options => {
  const options = ownOptions(given)
  const token = options?.token
  return isFunction(token)
    ? { ...options, token: Effect.tryPromise(async () => token()) }
    : (options as ConsulAgent.Options)
}

// Some effects are functions as well.
const isFunction = (token: ConsulAgentOptions["token"]): token is () => SomeToken | PromiseLike<SomeToken> =>
  typeof token === "function" && !Effect.isEffect(token)

/**
 * The metrics as a listener for `node:http`, Express, Koa and Fastify. It answers GET and HEAD on whatever path it is
 * mounted, and anything else with 405. It throws a `RangeError` that names an option that is unknown, or is none.
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
  /** Upper bounds of the duration, in seconds. Default: 0.005 to 10, those of OpenTelemetry's semantic conventions. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /**
   * What is left out: paths, without a query, and patterns of routes; what ends in `/*` leaves out every path under it.
   * Or a function that says so of a request when it arrives. Default: nothing but the metrics themselves.
   */
  readonly exclude?: ReadonlyArray<string> | ((request: IncomingMessage) => boolean) | undefined
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
 * the code that was sent. Where an answer was not sent whole, whatever its beginning said, it is 499 if the client went
 * away, 408 or 400 if the rest of the request did not come in time or could not be read, and 500 if the server cut it
 * (`response.destroy()`, a server that closes all its connections). A connection that was upgraded counts as 101 once it
 * is closed, and its time and sizes are not observed.
 *
 * Requests for metrics that `nodeListener` answers, or `webHandler` where it knows the request of Node.js, are left out.
 * A metric that throws, and a function of the options that throws, changes nothing in the answer: it is told as a process
 * warning once, and counted in `effect_prometheus_errors_total`. It throws a `RangeError` that names an option that is
 * unknown or is none, and an error where the registry has another metric by one of the names.
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
  <const M extends OwnHttpMetrics = OwnHttpMetrics>(
    options?: HttpMetricsOptions & {
      readonly metrics?: (M & CheckHttpMetrics<M, never>) | undefined
      readonly labelNames?: undefined
      readonly labels?: undefined
    }
  ): HttpMeasure
  <
    const Names extends string,
    O extends { readonly [K in Names]: string | number },
    const M extends OwnHttpMetrics = OwnHttpMetrics
  >(
    options: HttpMetricsOptions & {
      /** Metrics of one's own, with these labels as well. */
      readonly metrics?: (M & CheckHttpMetrics<M, Names>) | undefined
      /** The names of further labels, on all metrics but that of the requests in progress. */
      readonly labelNames: ReadonlyArray<Names>
      /** Their values, asked when a request has ended. Where it throws they are empty. */
      readonly labels: (
        request: IncomingMessage,
        response: ServerResponse
      ) => O & { readonly [K in Exclude<keyof O, Names>]: never }
    }
  ): HttpMeasure
} = (given: AnyHttpMetricsOptions = {}): HttpMeasure => {
  knownOptions("options", given, httpOptionNames)
  const options = ownOptions(given)
  const registry = options.registry ?? Context.get(Context.empty(), Registry)
  const labelNames = furtherLabelNames(options.labelNames)
  const labels = labelsOption(options.labels, labelNames)
  const families = httpFamilies({ labelNames, buckets: bucketsOption(options.buckets) })
  const excluding = excludeOption(options.exclude)
  const make = (family: Family) => unsafeFamily(registry, family)
  const source = httpSource(ownHttpMetrics(options.metrics), registry, families, make)
  return watching(httpRecorder(source, labelNames, reporting(registry)), { ...excluding, labels })
}

interface AnyHttpMetricsOptions extends HttpMetricsOptions {
  readonly metrics?: OwnHttpMetrics | undefined
  readonly labelNames?: ReadonlyArray<string> | undefined
  readonly labels?: ((request: IncomingMessage, response: ServerResponse) => Labels) | undefined
}

const httpOptionNames = {
  registry: true,
  buckets: true,
  exclude: true,
  metrics: true,
  labelNames: true,
  labels: true
} as const satisfies Record<keyof AnyHttpMetricsOptions, true>

// What it dies of is thrown as it is.
const mounted = <A>(handler: (options: ServeOptions) => Effect.Effect<A>, given: ServeOptions & Options): A => {
  const handling = onRegistry(handler(without(given, "registry")), given)
  return Exit.getOrElse(Effect.runSyncExit(handling), (cause) => {
    throw Cause.squash(cause)
  })
}

// What is no options at all is for the server to refuse.
const onRegistry = <A, E, R>(effect: Effect.Effect<A, E, R>, options: Options | null): Effect.Effect<A, E, R> => {
  const registry = options?.registry
  return registry === undefined ? effect : Effect.provideService(effect, Registry, registry)
}

const started = async <E>(
  make: Effect.Effect<MetricsServer.RunningServer, E, Scope.Scope>,
  options: ServerOptions | null
): Promise<ServerHandle> => {
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

type Service = ServiceDiscovery["Type"]

// A discovery of the library's own is used as what it is, in the server's scope and with the server's log.
const ofEffect = Symbol.for("effect-prometheus/Promises/Discovery")

// One that is made of such a discovery, by `...` or with it as its prototype, is another one, with methods of its own.
const asService = (discovery: Discovery): Effect.Effect<Service, unknown, Scope.Scope> => {
  if (isOfEffect(discovery)) return discovery[ofEffect]
  // Called as methods: it may be an instance of a class.
  return Effect.succeed({
    name: discovery.name,
    isRegistered: (server) => Effect.sync(() => discovery.isRegistered?.(server) ?? true),
    register: (server) =>
      Effect.acquireRelease(
        Effect.tryPromise({
          try: async () => discovery.register(server),
          catch: (error) => error as ServiceDiscoveryError
        }),
        (takeBack) => Effect.promise(async () => takeBack?.())
      )
  })
}

interface OfEffect extends Discovery {
  readonly [ofEffect]: Effect.Effect<Service, unknown, Scope.Scope>
}

const isOfEffect = (discovery: Discovery): discovery is OfEffect => Object.hasOwn(discovery, ofEffect)

const registeringWith = (make: Effect.Effect<Service, unknown, Scope.Scope>): Discovery => {
  const registered = new WeakMap<Server, Service>()
  const discovery: Discovery = {
    register: async (server) => {
      const { close } = await running(
        Effect.tap(make, (service) => {
          registered.set(server, service)
          return service.register(server)
        }),
        toLog(undefined)
      )
      return close
    },
    isRegistered: (server) => Effect.runSync(registered.get(server)?.isRegistered?.(server) ?? Effect.succeed(false))
  }
  return Object.defineProperty(discovery, ofEffect, { value: make })
}

type AnyInstruments = PlanInstruments<Settled<unknown>, OnlyErrors>

function combinator<Metric>(instruments: (metric: Metric, options: Options | undefined) => AnyInstruments) {
  return (metric: Metric, ...rest: ReadonlyArray<unknown>): never => {
    const [promise, options] = isThenable(rest[0]) ? [rest[0], rest[1]] : [undefined, rest[0]]
    if (typeof options === "function")
      throw new TypeError("a function is measured by timed(metric)(fn), and so by its like")
    const given = options as Options | undefined
    const plan = planned(instruments(metric, given), counting)
    const reporter = reporting(given?.registry)
    const applied = promise === undefined ? wrapper(plan, reporter) : measuredPromise(promise, plan, reporter)
    return applied as never
  }
}

const counting = (only: OnlyErrors | undefined): ((exit: Settled<unknown>) => boolean) => {
  const matches = only === undefined ? () => true : matching(only)
  return (exit) => exit.status === "rejected" && matches(exit.reason)
}

const reporting = (registry: MetricRegistry | undefined): Reporter => ({
  failed: (operation, metric, error) => {
    unsafeCountError(registry ?? Context.get(Context.empty(), Registry), operation)
    const warning = warningFor(metric, operation, error)
    if (warning !== undefined) process.emitWarning(warning, "EffectPrometheusWarning")
  }
})
