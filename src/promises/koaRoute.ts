/** The route pattern that `@koa/router` matched for a request. */
import { contextFree } from "../core/http/node/asyncContext.js"
import { Watching, watchProperty } from "./watchProperty.js"

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
export const koaRoute = (context: KoaContext): (() => string | undefined) => new Routing(context).pattern

class Routing extends Watching {
  private route: string | undefined
  private mount: string | undefined
  // By the rest of the path, which is all that mounted code gets.
  private prefixes: Map<string, string> | undefined

  constructor(private readonly context: KoaContext) {
    super()
    watchProperty(context, "mountPath", this)
    watchProperty(context, "_matchedRoute", this)
  }

  readonly pattern = contextFree((): string | undefined =>
    this.mount !== undefined && this.context.status !== 404 ? this.mount : this.route
  )

  override assigned(key: PropertyKey, to: unknown): void {
    const { context } = this
    const prefix = this.prefixes?.get(context.path) ?? ""
    const text = String(to ?? "")
    if (key === "mountPath") {
      this.mount = `${prefix}${text.replace(/\/+$/, "")}`
      this.prefixes ??= new Map()
      this.prefixes.set(context.path.slice(text.length) || "/", this.mount)
    } else if (!isMiddleware(context.matched, to)) {
      this.route = text === "/" ? prefix || text : `${prefix}${text}`
      this.mount = undefined
    }
  }
}

// A router also sets the paths that its middlewares match. The layer of a middleware has no methods, and a route can have
// the same path.
const isMiddleware = (layers: unknown, path: unknown): boolean => {
  let isAny = false
  for (const layer of Array.isArray(layers) ? layers : []) {
    if (layer?.path !== path) continue
    if (layer.methods?.length !== 0) return false
    isAny = true
  }
  return isAny
}
