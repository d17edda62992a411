/** What a middleware measures, and on which metrics. */

import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { AnyResponse, HttpServerRequest } from "../../compat/http/platform.js"
import type { HttpSource } from "../../core/http/metrics.js"
import type { Excluding } from "../../core/http/options.js"
import type { ObservedSizes, Parts } from "../../core/http/parts.js"
import type { HttpRecorder } from "../../core/http/recorder.js"
import type { Labels } from "../../core/instrument/labels.js"

/**
 * A completed exchange of request and response, from which labels are computed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The request as it arrived. */
  readonly request: HttpServerRequest
  /** The last known version of the response before it is sent. */
  readonly response: AnyResponse
  /** The exit of the application. */
  readonly exit: Exit.Exit<AnyResponse, unknown>
  /** A pattern, or `unmatched`, for which the label of OpenTelemetry is empty. */
  readonly route: string
  /** The status that is recorded: the one that was sent, or 499 or 503 if the response was cut. */
  readonly status: number
}

/** Some metrics of one middleware on one registry. */
export interface MeterPart extends ObservedSizes {
  readonly recorder: HttpRecorder
  readonly excludesRoute: (route: string) => boolean
  /** Logs the failures since the last call. */
  readonly warnings: () => Effect.Effect<void> | undefined
}

/** All metrics of one middleware on one registry. */
export interface Meter extends MeterPart, Parts<MeterPart> {
  readonly source: HttpSource
}

/** The registry is found in the context of each request. */
export interface Measuring extends Excluding<HttpServerRequest> {
  readonly meterIn: (context: Context.Context<never>) => Meter
  readonly labels: ((exchange: Exchange) => Labels) | undefined
  readonly exemplar: boolean
}
