/** Measures requests by a middleware around an app, and around the server's handling of its response. */
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { HttpSource } from "../../core/http/metrics.js"
import { recordedOn } from "../../core/http/recordedRequests.js"
import { awaitingResponse, begun } from "./exchange.js"
import type { Measuring } from "./measuring.js"

// As in `Metrics`, the +1 and the handler of the end are in one uninterruptible region. A server starts in one.
export const measured =
  (measuring: Measuring) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> => {
    const around =
      (body: HttpApp.Default<E, R>) =>
      (fiber: Fiber.RuntimeFiber<unknown, unknown>): HttpApp.Default<E, R> => {
        const request = Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)
        const run = begun(request, fiber, measuring, recordedOutside)
        if (run === undefined) return body
        return awaitingResponse(fiber, run, Effect.matchCauseEffect(body as HttpApp.Default<never, R>, run))
      }
    const protectedBody = around(app)
    const masked = Effect.uninterruptible(Effect.withFiberRuntime(around(Effect.interruptible(app))))
    return Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
      RuntimeFlags.interruption(runtimeFlags) ? masked : protectedBody(fiber)
    )
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

// The metrics on which `httpMetrics` of an outer application already records the request.
const recordedOutside = ({ source }: HttpServerRequest.HttpServerRequest): ReadonlyArray<HttpSource> =>
  typeof source === "object" && source !== null ? recordedOn(source) : []
