/** Measures requests by a middleware around an app, and around the server's handling of its response. */
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { targetOf } from "../../core/http/metrics.js"
import { isRecorded } from "../../core/http/node/requests.js"
import { awaitResponse, begun } from "./exchange.js"
import type { Measuring, Meter } from "./measuring.js"

// As in `Metrics`, the +1 is inside the mask, and the end is recorded where no interruption can skip it.
export const measured =
  (measuring: Measuring) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> => {
    const interruptible = Effect.interruptible(app)
    return Effect.uninterruptibleMask((restore) => {
      const body = restore === Effect.interruptible ? interruptible : app
      const fiber = Option.getOrThrow(Fiber.getCurrentFiber())
      const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
      const run = begun(request, fiber, measuring, isRecordedOutside)
      if (run === undefined) return body
      const answered = Effect.matchCauseEffect(body as HttpApp.Default<never, R>, run)
      return Effect.zipRight(awaitResponse, answered)
    })
  }

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

// Whether `httpMetrics` of an outer application already records the request.
const isRecordedOutside = ({ source }: HttpServerRequest.HttpServerRequest, meter: Meter): boolean =>
  typeof source === "object" && source !== null && isRecorded(source, () => targetOf(meter.target))
