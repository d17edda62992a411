/**
 * Measures functions, methods and promises, and serves the metrics, without Effect in the application. Users of this
 * module do not need to know Effect.
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

export type {
  CheckHttpLabelNames,
  CheckHttpMetrics,
  CheckHttpNames,
  HttpNameIn,
  HttpNames,
  HttpNamesOption
} from "./core/http/names.js"
export type { HttpMeasure, HttpOutcome } from "./core/http/node/requests.js"
export type { OwnHttpMetrics } from "./core/http/options.js"
export type { Log } from "./effect/runScoped.js"
export type { CheckInstruments, Combinator, Counting, Instruments, Settled, Wrapper } from "./promises/combinators.js"
export { countExceptions, instrumented, timed, trackInProgress } from "./promises/combinators.js"
export { consulAgent, consulAgentFromEnv } from "./promises/consulAgent.js"
export type { ConsulAgentOptions, Discovery } from "./promises/discovery.js"
export { expressRoute } from "./promises/expressRoute.js"
export { honoMetrics } from "./promises/honoMetrics.js"
export type { HttpMetricsOptions } from "./promises/http.js"
export { httpMetrics, nodeListener, webHandler } from "./promises/http.js"
export { koaRoute } from "./promises/koaRoute.js"
export { counter, gauge, histogram, summary } from "./promises/metrics.js"
export type { Options } from "./promises/registry.js"
export type { RunningServer, ServerOptions, ThreadOptions } from "./promises/runningServer.js"
export {
  hashPassword,
  startHttpServer,
  startHttpServerInThread,
  validateServerOptions
} from "./promises/servers.js"
