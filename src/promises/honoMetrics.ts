/**
 * Measures the requests of Hono by the pattern of the route that answered.
 *
 * Depends on a property of Hono that is not documented, tested with Hono 4.13: `__COMPOSED_HANDLER` of a handler. Without
 * it, requests that nothing answers in an application with its own error handler can have the pattern of a middleware.
 */
import { EventEmitter } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HttpMeasure } from "../core/http/node/requests.js"
import { leaveOut, onLeftOut } from "../core/http/scrapeMarker.js"
import { oncePerProcess } from "../core/util/oncePerProcess.js"

interface HonoContext {
  readonly env: unknown
  readonly finalized: boolean
  readonly req: {
    readonly method: string
    readonly raw: { readonly headers: Pick<Headers, "forEach">; readonly url: string }
    readonly routeIndex: number
  }
  readonly res: { readonly status: number }
}

/** As `matchedRoutes` of `hono/route` returns it. */
interface HonoRoute {
  readonly path: string
  readonly handler: Handler
}

interface Handler {
  readonly length: number
  readonly __COMPOSED_HANDLER?: Handler
}

/**
 * Returns a middleware for Hono that measures each request by the pattern of the route that answered. `measure` is the
 * result of `httpMetrics()`; `matchedRoutes` is the function of `hono/route`. Use the middleware before all others.
 *
 * - The pattern is the declared path of the route, below its `basePath` and the paths of `app.route`. If several routes
 *   match, it is the one that answered or failed: `/users/me` beside `/users/:id`, or either beside `get("*")`.
 * - A middleware that answers by itself, and an application that is mounted by `app.mount`, have the pattern under which
 *   they are used: `/admin/*`.
 * - A 404 is `unmatched` if the last route that matched could have called `next`: a middleware, or a handler with two
 *   parameters.
 * - Requests of `@hono/node-server` are measured until the whole response was sent. Other requests (`app.request()`,
 *   other servers) have no request of Node.js. They are counted and timed until their `Response` exists, and the size of
 *   the response is not observed.
 *
 * @example
 * import { honoMetrics, httpMetrics, webHandler } from "effect-prometheus/Promises"
 * import { Hono } from "hono"
 * import { matchedRoutes } from "hono/route"
 *
 * const metrics = webHandler()
 *
 * export const application = new Hono()
 * application.use(honoMetrics(httpMetrics(), matchedRoutes))
 * application.get("/metrics", (context) => metrics(context.req.raw, context.env))
 *
 * @since 0.1.0
 * @category constructors
 */
export const honoMetrics = <C extends HonoContext>(
  measure: HttpMeasure,
  matchedRoutes: (context: C) => ReadonlyArray<HonoRoute>
): ((context: C, next: () => Promise<void>) => Promise<void>) => {
  const middleware = async (context: C, next: () => Promise<void>): Promise<void> => {
    const route = (): string | undefined => answering(context, matchedRoutes(context), middleware)
    const { incoming, outgoing } = (context.env ?? {}) as Partial<Bindings>
    if (incoming !== undefined && outgoing !== undefined) {
      measure(incoming, outgoing, route)
      return next()
    }
    const { raw } = context.req
    // The middleware may be used both in an application and in one that is mounted in it by `app.route`.
    const known = standIns.get(raw)
    const { request, response } = known ?? standIn(context.req)
    measure(request, response, route)
    if (known !== undefined) return next()
    try {
      await next()
      if (context.finalized) response.statusCode = context.res.status
    } finally {
      response.emit("finish")
    }
  }
  return middleware
}

interface StandIn {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

const standIns = oncePerProcess("requests of Hono", () => new WeakMap<object, StandIn>())

/** Measured if there is no request and response of Node.js. */
const standIn = ({ method, raw }: HonoContext["req"]): StandIn => {
  const { pathname, search } = new URL(raw.url, "http://localhost")
  const headers: Record<string, string> = {}
  raw.headers.forEach((value, name) => {
    headers[name] = value
  })
  const request = { method, url: `${pathname}${search}`, headers } as IncomingMessage
  const response = Object.assign(new EventEmitter(), { statusCode: 500 }) as ServerResponse
  const made = { request, response }
  standIns.set(raw, made)
  // The handler that serves the metrics marks the request of Hono.
  onLeftOut(raw, { leaveOut: () => leaveOut(request) })
  return made
}

/** The `env` of `@hono/node-server`. */
interface Bindings {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

const answering = (context: HonoContext, routes: ReadonlyArray<HonoRoute>, middleware: Handler): string | undefined => {
  // `routeIndex` is the position that Hono has reached in the list.
  const { routeIndex } = context.req
  const route = routes[routeIndex]
  if (route === undefined) return undefined
  const handler = innermost(route.handler)
  if (handler === middleware) return undefined
  const isLast = routeIndex === routes.length - 1
  return isLast && handler.length > 1 && context.finalized && context.res.status === 404 ? undefined : route.path
}

// If an application has its own error handler, `app.route` wraps each of its handlers in a function.
const innermost = (handler: Handler): Handler =>
  handler.__COMPOSED_HANDLER === undefined ? handler : innermost(handler.__COMPOSED_HANDLER)
