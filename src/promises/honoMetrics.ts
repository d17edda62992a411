/** The requests of Hono, with the route that answered them, as a pattern. */
import { EventEmitter } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HttpMeasure } from "../internal/httpRequests.js"
import { leaveOut, onLeftOut } from "../internal/leftOut.js"

/** What `honoMetrics` reads of a context. */
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

/** A route as `matchedRoutes` of `hono/route` returns it. */
interface HonoRoute {
  readonly path: string
  readonly handler: Handler
}

interface Handler {
  readonly length: number
  readonly __COMPOSED_HANDLER?: Handler
}

/**
 * A middleware for Hono that measures each request by the pattern of the route that answered. `measure` is what
 * `httpMetrics()` returns, `matchedRoutes` is that of `hono/route`. Use it before all others.
 *
 * - The pattern is what the route was declared with, below its `basePath` and what `app.route` has put its application
 *   under. Of routes that overlap it is the one that answered, or failed: `/users/me` beside `/users/:id`, each beside
 *   `get("*")`.
 * - A middleware that answers by itself, and an application that is mounted by `app.mount`, have the pattern that they are
 *   used under: `/admin/*`.
 * - A 404 is `unmatched` where the last route that matched could have called `next`: a middleware, or a handler with two
 *   parameters.
 * - Requests of `@hono/node-server` are measured until all of the answer was sent. All others (`app.request()`, other
 *   servers) have no request of Node.js: they are counted and timed until their `Response` is made, and the size of the
 *   answer is not observed.
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
    // It can be used in an application and in one that is routed to.
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

const standIns = new WeakMap<object, StandIn>()

/** What is measured in place of a request of Node.js, and of its response. */
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
  // Who answers with the metrics knows the request of Hono.
  onLeftOut(raw, { leaveOut: () => leaveOut(request) })
  return made
}

/** What `@hono/node-server` has in the `env`. */
interface Bindings {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

const answering = (context: HonoContext, routes: ReadonlyArray<HonoRoute>, middleware: Handler): string | undefined => {
  // Hono counts how far it has come in the list.
  const { routeIndex } = context.req
  const route = routes[routeIndex]
  if (route === undefined) return undefined
  const handler = innermost(route.handler)
  if (handler === middleware) return undefined
  const isLast = routeIndex === routes.length - 1
  return isLast && handler.length > 1 && context.finalized && context.res.status === 404 ? undefined : route.path
}

// Where an application handles its errors itself, `app.route` has put a function around each of its handlers.
const innermost = (handler: Handler): Handler =>
  handler.__COMPOSED_HANDLER === undefined ? handler : innermost(handler.__COMPOSED_HANDLER)
