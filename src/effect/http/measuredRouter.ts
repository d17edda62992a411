/** Measures all requests of a router. */
import type * as Effect from "effect/Effect"
import type { App, Router } from "../../compat/http/platform.js"

type AnyApp = App<unknown, never>

/**
 * Also requests that global middlewares followed. A router cannot add an outermost middleware, so this wraps the app
 * that it returns for serving. If that app is never requested, a global middleware measures the requests instead.
 */
export const measuredRouter = (router: Router, measure: (app: AnyApp) => AnyApp): Effect.Effect<void> => {
  let isAround = false
  const { asHttpEffect } = router
  const around = () => {
    isAround = true
    try {
      return measure(asHttpEffect.call(router) as AnyApp)
    } finally {
      isAround = false
    }
  }
  const within = (app: AnyApp) => (isAround ? app : measure(app))
  Reflect.set(router, "asHttpEffect", around)
  return router.addGlobalMiddleware(within as never) as Effect.Effect<void>
}
