/** Measures requests by a middleware around an app, and around the server's handling of its response. */
import type * as HttpApp from "@effect/platform/HttpApp"
import { appendPreResponseHandler } from "@effect/platform/HttpApp"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import { isServerError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type HttpMetricName, targetOf, unmatched } from "../../core/http/metrics.js"
import { isRecorded } from "../../core/http/node/requests.js"
import { pathOf } from "../../core/http/options.js"
import { decided, type HttpRecorder } from "../../core/http/recorder.js"
import { onLeftOut } from "../../core/http/scrapeMarker.js"
import type { Labels } from "../../core/instrument/labels.js"
import { currentSpan } from "../run.js"
import { FollowedResponse, type Outcome } from "./exchange.js"
import { requestBytes } from "./request.js"
import { type MatchedRoute, trackRoute } from "./route.js"

/**
 * A completed exchange of request and response, from which labels are computed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The request as it arrived. */
  readonly request: HttpServerRequest.HttpServerRequest
  /** The last known version of the response before it is sent. */
  readonly response: HttpServerResponse
  /** The exit of the application. */
  readonly exit: Exit.Exit<HttpServerResponse, unknown>
  /** The value of the label `route`: a pattern, or `unmatched`. */
  readonly route: string
  /** The value of the label `status`: the status that was sent, or 499 or 503 if the response was cut. */
  readonly status: number
}

export interface Meter {
  readonly recorder: HttpRecorder
  /** Undefined: the meter does not record it. */
  readonly target: (name: HttpMetricName) => object | undefined
  /** A meter for the metrics that other measurers of the same request do not record; `undefined` if there are none. */
  readonly beside: (others: ReadonlyArray<Measurer>) => Meter | undefined
  /** Logs the failures since the last call first. */
  readonly afterWarnings: <A, E, R>(next: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export interface Measurer {
  readonly meter: Meter
  readonly excludesRoute: (route: string) => boolean
}

/** The registry is found in the context of each request. */
export interface Measuring {
  readonly meterIn: (context: Context.Context<never>) => Meter
  readonly excludes: (request: HttpServerRequest.HttpServerRequest, path: string) => boolean
  readonly excludesRoute: (route: string) => boolean
  readonly labels: ((exchange: Exchange) => Labels) | undefined
  readonly exemplar: boolean
}

// As in `Metrics`, the +1 is inside the mask, and the end is recorded where no interruption can skip it.
export const measured =
  (measuring: Measuring) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const fiber = Option.getOrThrow(Fiber.getCurrentFiber())
      const context = fiber.currentContext
      const request = Context.unsafeGet(context, HttpServerRequest.HttpServerRequest)
      const measurement = started(request, fiber, measuring)
      if (measurement === undefined) return restore(app)
      const { followed, around, meter } = measurement
      const ended = (exit: Exit.Exit<HttpServerResponse, E>) => {
        const over = Effect.suspend(() => afterAll(followed.done(exit), meter, exit))
        return fiber.currentContext === around ? Effect.zipRight(inContext(context), over) : over
      }
      const body = Effect.matchCauseEffect(restore(app), {
        onFailure: (cause) => ended(Exit.failCause(cause)),
        onSuccess: (response) => ended(Exit.succeed(response))
      })
      // This does what `Effect.locally` does, without its additional mask.
      const handled = Effect.zipRight(
        appendPreResponseHandler(followed.writing),
        around === context ? body : Effect.zipRight(inContext(around), body)
      )
      const scope = context.unsafeMap.get(Scope.Scope.key) as Scope.Scope | undefined
      if (scope === undefined) return handled
      followed.opened()
      const closed = Effect.suspend(() => afterAll(followed.scopeClosed(), meter, Exit.void))
      return Effect.zipRight(Scope.addFinalizer(scope, closed), handled)
    })

/**
 * Also requests that global middlewares followed. A router cannot add an outermost middleware, so this wraps the app
 * that it returns for serving. If that app is never requested, a global middleware measures the requests instead.
 */
export const measuredRouter = (
  router: HttpLayerRouter.HttpRouter,
  measure: (app: HttpApp.Default<unknown>) => HttpApp.Default<unknown>
): Effect.Effect<void> => {
  let isAround = false
  const { asHttpEffect } = router
  const around = () => {
    isAround = true
    try {
      return measure(asHttpEffect.call(router) as HttpApp.Default<unknown>)
    } finally {
      isAround = false
    }
  }
  const within = (app: HttpApp.Default<unknown>) => (isAround ? app : measure(app))
  Reflect.set(router, "asHttpEffect", around)
  return router.addGlobalMiddleware(within as never) as Effect.Effect<void>
}

const inContext = (context: Context.Context<never>): Effect.Effect<void> =>
  FiberRef.set(FiberRef.currentContext, context)

// Failures are logged before the exit continues.
const afterAll = <A, E>(over: Effect.Effect<void> | undefined, meter: Meter, exit: Exit.Exit<A, E>) => {
  if (over === undefined) return meter.afterWarnings(exit)
  return Effect.zipRight(
    over,
    Effect.suspend(() => meter.afterWarnings(exit))
  )
}

const started = (
  request: HttpServerRequest.HttpServerRequest,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  measuring: Measuring
) => {
  const own = { meter: measuring.meterIn(fiber.currentContext), excludesRoute: measuring.excludesRoute }
  if (decided(own.meter.recorder, () => measuring.excludes(request, pathOf(request.url)), false)) return undefined
  const { matched, view } = trackRoute<Measurer>(request)
  const meter = isRecordedOutside(request, own.meter) ? undefined : own.meter.beside(matched.by)
  if (meter === undefined) {
    matched.also.push(own)
    return undefined
  }
  matched.by.push(own)
  const run = meter.recorder.begin(request.method)
  if (typeof request.source === "object" && request.source !== null) onLeftOut(request.source, run)
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const start = clock.unsafeCurrentTimeNanos()
  const exemplar = measuring.exemplar ? currentSpan(fiber) : undefined
  const bytes = requestBytes(request)
  const ended = (outcome: Outcome): void => {
    const route = matched.pattern(isNotFound(outcome.exit)) ?? unmatched
    if (own.excludesRoute(route) && !isCountedFor(route, matched, own.meter)) run.leaveOut()
    else {
      const { responseBytes, status } = outcome
      run.end({
        route,
        status,
        // The lifetime of an upgraded connection says nothing about response times.
        seconds: matched.upgraded ? undefined : Number(clock.unsafeCurrentTimeNanos() - start) / 1e9,
        requestBytes: matched.upgraded ? undefined : bytes(status),
        responseBytes,
        labels: decided(meter.recorder, () => measuring.labels?.({ ...outcome, request, route }), undefined),
        exemplar
      })
    }
  }
  const forget = (): void => void matched.by.splice(matched.by.indexOf(own), 1)
  const followed = new FollowedResponse(request, fiber, () => matched.upgraded, ended, forget)
  return { followed, around: matched.around(view, fiber), meter }
}

// Whether `httpMetrics` of an outer application already records the request.
const isRecordedOutside = ({ source }: HttpServerRequest.HttpServerRequest, meter: Meter): boolean =>
  typeof source === "object" && source !== null && isRecorded(source, () => targetOf(meter.target))

// If one measurer excludes a request, another one counts it, whichever of them is further out.
const isCountedFor = (route: string, { also, by }: MatchedRoute<Measurer>, meter: Meter): boolean =>
  [...by, ...also].some((other) => !other.excludesRoute(route) && meter.beside([other]) !== meter)

const isNotFound = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  Chunk.some(Cause.failures(exit.cause), (error) => isServerError(error) && error._tag === "RouteNotFound")
