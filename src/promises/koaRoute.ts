/** The route pattern that `@koa/router` matched for a request. */
import { watchProperty } from "./watchProperty.js"

/** `koa-mount` and `@koa/router` set the last three. */
interface KoaContext {
  readonly path: string
  readonly status: number
  readonly mountPath?: unknown
  readonly matched?: unknown
  readonly _matchedRoute?: unknown
}

/**
 * Reads the route pattern of a Koa request, for `httpMetrics`. Returns a function that returns the pattern of the route
 * that answered, or `undefined` if no route answered. Call `koaRoute` when the request arrives, before any router.
 *
 * - The pattern is the declared path of the `@koa/router` route, after the prefixes of its routers and the paths where
 *   `koa-mount` mounts them. `mount("/v1", router.routes())` and `mount("/v2", router.routes())` are two routes.
 * - A request that a middleware of a router (`router.use(…)`) answers has the pattern of the route behind it.
 * - A handler without a router has the pattern of its mount: `mount("/graphql", handler)` is `/graphql`.
 * - Clients cannot create patterns: nothing is taken from the URL.
 *
 * @example
 * import { Router } from "@koa/router"
 * import { httpMetrics, koaRoute, nodeListener } from "effect-prometheus/Promises"
 * import Koa from "koa"
 *
 * const measure = httpMetrics()
 * const metrics = nodeListener()
 *
 * export const application = new Koa()
 * application.use((context, next) => {
 *   measure(context.req, context.res, koaRoute(context))
 *   return next()
 * })
 *
 * const router = new Router()
 * router.get("/metrics", (context) => {
 *   context.respond = false
 *   metrics(context.req, context.res)
 * })
 * application.use(router.routes())
 *
 * @since 0.1.0
 * @category constructors
 */
export const koaRoute = (context: KoaContext): (() => string | undefined) => {
  let route: string | undefined
  let mount: string | undefined
  // Mounted code gets only the rest of the path.
  const prefixes = new Map<string, string>()
  const prefix = (): string => prefixes.get(context.path) ?? ""
  const below = (path: string): string => (path === "/" ? prefix() || path : `${prefix()}${path}`)
  watchProperty(context, "mountPath", (to) => {
    const text = String(to)
    mount = `${prefix()}${text.replace(/\/+$/, "")}`
    prefixes.set(context.path.slice(text.length) || "/", mount)
  })
  watchProperty(context, "_matchedRoute", (to) => {
    if (isMiddleware(context.matched, to)) return
    route = below(String(to ?? ""))
    mount = undefined
  })
  return () => (mount !== undefined && context.status !== 404 ? mount : route)
}

// A router also sets the paths that its middlewares match. The layer of a middleware has no methods, and a route can have
// the same path.
const isMiddleware = (layers: unknown, path: unknown): boolean => {
  const ofPath = Array.isArray(layers) ? layers.filter((layer) => layer?.path === path) : []
  return ofPath.length > 0 && ofPath.every(({ methods }) => methods?.length === 0)
}
