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
export type { Log } from "./internal/edge.js"
export type { CheckHttpMetrics, CheckHttpNames, HttpNameIn, HttpNames, OwnHttpMetrics } from "./internal/httpOptions.js"
export type { HttpMeasure, HttpOutcome } from "./internal/httpRequests.js"
export type { CheckInstruments, Combinator, Counting, Instruments, Settled, Wrapper } from "./promises/combinators.js"
export { countExceptions, instrumented, timed, trackInprogress } from "./promises/combinators.js"
export type { ConsulAgentOptions, Discovery } from "./promises/discovery.js"
export { consulAgent, consulAgentFromEnv } from "./promises/discovery.js"
export { expressRoute } from "./promises/expressRoute.js"
export { honoMetrics } from "./promises/honoMetrics.js"
export type { HttpMetricsOptions } from "./promises/http.js"
export { httpMetrics, nodeListener, webHandler } from "./promises/http.js"
export { koaRoute } from "./promises/koaRoute.js"
export type { Options } from "./promises/registry.js"
export type { ServerHandle, ServerOptions, ThreadOptions } from "./promises/servers.js"
export {
  hashPassword,
  startHttpServer,
  startHttpServerInThread,
  validateServerOptions
} from "./promises/servers.js"
