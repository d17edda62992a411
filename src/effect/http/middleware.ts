/** The middleware of `@effect/platform` that measures: around an app, and around what a server makes of its answer. */
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
import { currentSpan } from "./currentSpan.js"
import type { Outcome } from "./httpExchange.js"
import { Answer, requestBytes } from "./httpExchange.js"
import type { HttpMetricName, HttpRecorder } from "./httpMetrics.js"
import { targetOf, unmatched } from "./httpMetrics.js"
import { pathOf } from "./httpOptions.js"
import { isRecorded } from "./httpRequests.js"
import type { Seen } from "./httpRoute.js"
import { watched } from "./httpRoute.js"
import type { Labels } from "./labels.js"
import { onLeftOut } from "./leftOut.js"

/**
 * An exchange that has ended, as the labels see it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The request as it came. */
  readonly request: HttpServerRequest.HttpServerRequest
  /** The answer as it was last seen on its way out. */
  readonly response: HttpServerResponse
  /** What the application ended with. */
  readonly exit: Exit.Exit<HttpServerResponse, unknown>
  /** The value of the label: a pattern, or `unmatched`. */
  readonly route: string
  /** The value of the label: what was sent, or 499 or 503 where it was cut. */
  readonly status: number
}

/** Records on the metrics of one registry. */
export interface Meter {
  readonly recorder: HttpRecorder
  /** The metric on which it records that, if there is one. */
  readonly target: (name: HttpMetricName) => object | undefined
  /** Records what others of the same request do not record already: itself, a part of it, or `undefined` for nothing. */
  readonly beside: (others: ReadonlyArray<Measurer>) => Meter | undefined
  /** Logs what has failed since it was asked last, if anything has, and goes on with `next`. */
  readonly afterWarnings: <A, E, R>(next: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** What measures a request. */
export interface Measurer {
  readonly meter: Meter
  readonly excludesRoute: (route: string) => boolean
}

/** What a middleware does, but for the registry, which is found in the context of each request. */
export interface Measuring {
  readonly meterIn: (context: Context.Context<never>) => Meter
  readonly excludes: (request: HttpServerRequest.HttpServerRequest, path: string) => boolean
  readonly excludesRoute: (route: string) => boolean
  readonly labels: ((exchange: Exchange) => Labels) | undefined
  readonly exemplar: boolean
}

// As in Metrics: the +1 stands inside the mask, and the end is recorded where no interruption can skip it.
export const measured =
  (measuring: Measuring) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const fiber = Option.getOrThrow(Fiber.getCurrentFiber())
      const context = fiber.currentContext
      const request = Context.unsafeGet(context, HttpServerRequest.HttpServerRequest)
      const begun = started(request, fiber, measuring)
      if (begun === undefined) return restore(app)
      const { answer, around, meter } = begun
      const ended = (exit: Exit.Exit<HttpServerResponse, E>) => {
        const over = Effect.suspend(() => afterAll(answer.done(exit), meter, exit))
        return fiber.currentContext === around ? Effect.zipRight(inContext(context), over) : over
      }
      const body = Effect.matchCauseEffect(restore(app), {
        onFailure: (cause) => ended(Exit.failCause(cause)),
        onSuccess: (response) => ended(Exit.succeed(response))
      })
      // As `Effect.locally` does, which has a mask of its own.
      const handled = Effect.zipRight(
        appendPreResponseHandler(answer.writing),
        around === context ? body : Effect.zipRight(inContext(around), body)
      )
      const scope = context.unsafeMap.get(Scope.Scope.key) as Scope.Scope | undefined
      if (scope === undefined) return handled
      answer.opened()
      const closed = Effect.suspend(() => afterAll(answer.scopeClosed(), meter, Exit.void))
      return Effect.zipRight(Scope.addFinalizer(scope, closed), handled)
    })

/**
 * Measures all requests of a router, also those that its global middlewares answer themselves. The router has no means
 * for that: of its middlewares the one that was added first is the outermost. So this is around what it gives to be
 * served; or a global middleware where that is not asked for, but for what the router shares its middlewares with.
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

// What has failed is told before the exit goes on.
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
  if (isExcluded(request, measuring, own.meter)) return undefined
  const { seen, view } = watched<Measurer>(request)
  const meter = isRecordedOutside(request, own.meter) ? undefined : own.meter.beside(seen.by)
  if (meter === undefined) {
    seen.also.push(own)
    return undefined
  }
  seen.by.push(own)
  const run = meter.recorder.begin(request.method)
  if (typeof request.source === "object" && request.source !== null) onLeftOut(request.source, run)
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const start = clock.unsafeCurrentTimeNanos()
  const exemplar = measuring.exemplar ? currentSpan(fiber) : undefined
  const bytes = requestBytes(request)
  const ended = (outcome: Outcome): void => {
    const route = seen.pattern(isNotFound(outcome.exit)) ?? unmatched
    if (own.excludesRoute(route) && !isCountedFor(route, seen, own.meter)) run.leaveOut()
    else {
      const { responseBytes, status } = outcome
      run.end({
        route,
        status,
        // How long a connection stays open that was upgraded has nothing to do with how fast requests are answered.
        seconds: seen.upgraded ? undefined : Number(clock.unsafeCurrentTimeNanos() - start) / 1e9,
        requestBytes: seen.upgraded ? undefined : bytes(status),
        responseBytes,
        labels: labelsOf({ ...outcome, request, route }, measuring.labels, meter),
        exemplar
      })
    }
  }
  const forget = (): void => void seen.by.splice(seen.by.indexOf(own), 1)
  const answer = new Answer(request, fiber, () => seen.upgraded, ended, forget)
  return { answer, around: seen.around(view, fiber), meter }
}

// By `httpMetrics` of an application that this one is mounted in.
const isRecordedOutside = ({ source }: HttpServerRequest.HttpServerRequest, meter: Meter): boolean =>
  typeof source === "object" && source !== null && isRecorded(source, () => targetOf(meter.target))

// What one leaves out, another one counts: which of them is further out makes no difference.
const isCountedFor = (route: string, { also, by }: Seen<Measurer>, meter: Meter): boolean =>
  [...by, ...also].some((other) => !other.excludesRoute(route) && meter.beside([other]) !== meter)

const isExcluded = (
  request: HttpServerRequest.HttpServerRequest,
  { excludes }: Measuring,
  { recorder }: Meter
): boolean => {
  try {
    return excludes(request, pathOf(request.url))
  } catch (error) {
    recorder.failed(error)
    return false
  }
}

const labelsOf = (exchange: Exchange, labels: Measuring["labels"], meter: Meter): Labels | undefined => {
  try {
    return labels?.(exchange)
  } catch (error) {
    meter.recorder.failed(error)
    return undefined
  }
}

const isNotFound = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  Chunk.some(Cause.failures(exit.cause), (error) => isServerError(error) && error._tag === "RouteNotFound")
