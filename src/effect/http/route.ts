/**
 * Finds the pattern with which a router of `@effect/platform` matches a request, from outside of the router.
 *
 * Both routers run a handler with its `RouteContext` in the context of the fiber, by `Effect.locally`, and restore the
 * previous context afterwards. So the context around a router is replaced by one that notices when it is restored: at
 * that moment the replaced context still holds the route. A router reads the `url` of its request before it matches. The
 * request reports this, and the fiber gets such a context wherever it has none yet, for example behind a middleware that
 * provides a service.
 *
 * Handlers see the same request, services and spans as without this.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22 and @effect/platform 0.97. It requires that
 * `FiberRefs.updateAs` compares values by `Equal`, which reads their hash, and that fibers have `setFiberRef`. If either
 * changes, routes are `unmatched`.
 */
import type { RouteContext } from "@effect/platform/HttpRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket } from "@effect/platform/Socket"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"

const requestKey = "@effect/platform/HttpServerRequest"
const routeKey = "@effect/platform/HttpRouter/RouteContext"
const viewKey = Symbol("effect-prometheus/view")

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

interface Watched extends HttpServerRequest {
  [viewKey]?: View
}

/** While the request is answered. */
export class MatchedRoute<By> {
  /** Each metric counts the request once. */
  readonly by: Array<By> = []
  /** They do not record, because others already do. */
  readonly also: Array<By> = []
  upgraded = false
  private route: string | undefined
  private isMount = false
  // Of the matched routes, the one whose router was reached last counts.
  private order = 0
  private matchedAt = 0
  private last: { readonly fiber: AnyFiber; readonly outside: Outside } | undefined

  /** With the prefixes under which the route is mounted. */
  pattern(isNotFound: boolean): string | undefined {
    // A handler can continue after its request was answered, for example behind a timeout.
    if (this.last !== undefined) this.left(this.last.outside, this.last.fiber)
    return this.isMount && isNotFound ? undefined : this.route
  }

  around(view: View, { currentContext }: AnyFiber): Context.Context<never> {
    if (isOutside(currentContext, view)) return currentContext
    const route = routeIn(currentContext)
    if (route !== undefined && this.order === 0) this.record("", route)
    return new Outside(currentContext.unsafeMap, view, route) as AroundRouter
  }

  /** A router may be about to match the URL. */
  looked(view: View, fiber: AnyFiber): void {
    const { currentContext } = fiber
    if (!isOutside(currentContext, view)) {
      if (viewOf(currentContext) !== view) return
      // The context around the router may not be restored before the request is answered.
      if (this.last !== undefined) this.left(this.last.outside, fiber)
      const { setFiberRef } = fiber as { readonly setFiberRef?: (ref: object, value: object) => void }
      setFiberRef?.call(fiber, FiberRef.currentContext, this.around(view, fiber))
    }
    if (!isOutside(fiber.currentContext, view)) return
    this.order += 1
    fiber.currentContext.order = this.order
    this.last = { fiber, outside: fiber.currentContext }
  }

  /** The code within `outside` has ended, or is still running after the request was answered. */
  left(outside: Outside, { currentContext }: AnyFiber): void {
    const route = routeIn(currentContext)
    if (route === undefined || route === outside.route || outside.order < this.matchedAt) return
    const view = viewOf(currentContext)
    if (view !== undefined && view.matched !== this) return
    this.matchedAt = outside.order
    this.record(outside.view.prefixIn(outside.route), route)
  }

  private record(prefix: string, { params, route }: RouteContext): void {
    // A mounted app has a route without parameters, not even the rest of the path.
    this.isMount = route.path.endsWith("/*") && !("*" in params)
    const own = this.isMount && route.path === "/*" ? prefixOf(route) : ""
    this.route = prefix + own + route.path
  }
}

/** All measurers of the request share the same state until none of them measures it any more. */
export const trackRoute = <By>(
  request: HttpServerRequest
): { readonly matched: MatchedRoute<By>; readonly view: View } => {
  const known = (request as Watched)[viewKey]
  if (known !== undefined && known.matched.by.length > 0)
    return { matched: known.matched as MatchedRoute<By>, view: known }
  const matched = new MatchedRoute<By>()
  return { matched, view: watch(request, matched, undefined) }
}

const watch = (request: Watched, matched: MatchedRoute<unknown>, outer: View | undefined): View => {
  const known = request[viewKey]
  const view = new View(matched, outer, request.url, known?.modify ?? request.modify)
  if (!Object.isExtensible(request)) return view
  request[viewKey] = view
  if (known === undefined) {
    Reflect.defineProperty(request, "url", url)
    Reflect.defineProperty(request, "modify", modify)
    if (canUpgrade(request)) Reflect.defineProperty(request, "upgrade", upgrading(request.upgrade))
  }
  return view
}

const url: PropertyDescriptor & ThisType<Required<Watched>> = {
  configurable: true,
  enumerable: true,
  get() {
    const fiber = currentFiber()
    const view = this[viewKey]
    if (fiber !== undefined) view.matched.looked(view, fiber)
    return view.url
  },
  set(url: string) {
    this[viewKey].url = url
  }
}

const modify: PropertyDescriptor & ThisType<Required<Watched>> = {
  configurable: true,
  writable: true,
  value(options: Parameters<HttpServerRequest["modify"]>[0]) {
    const view = this[viewKey]
    const modified = view.modify.call(this, options)
    watch(modified, view.matched, view)
    return modified
  }
}

const upgrading = (upgrade: HttpServerRequest["upgrade"]): PropertyDescriptor & ThisType<Required<Watched>> => ({
  configurable: true,
  get() {
    return Effect.map(upgrade, (socket) => opening(socket, this[viewKey].matched))
  }
})

// Node.js creates the response of an upgrade when it is needed. On other platforms, any request may be an upgrade.
const canUpgrade = (request: HttpServerRequest): boolean => {
  const { response } = request as { readonly response?: unknown }
  return typeof response === "function" || (response === undefined && request.headers["upgrade"] !== undefined)
}

const opening = (socket: Socket, matched: MatchedRoute<unknown>): Socket => {
  const opened = Effect.sync(() => {
    matched.upgraded = true
  })
  const opens = (run: unknown) => (handler: unknown, options?: { readonly onOpen?: Effect.Effect<void> }) =>
    Reflect.apply(run as () => unknown, socket, [
      handler,
      { ...options, onOpen: options?.onOpen === undefined ? opened : Effect.zipRight(opened, options.onOpen) }
    ])
  return new Proxy(socket, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target)
      return key === "run" || key === "runRaw" ? opens(value) : value
    }
  })
}

/** A request below the prefixes that were removed from its URL. */
class View {
  // The route for which `prefixIn` was first called.
  private route: RouteContext | undefined
  private prefix: string | undefined

  constructor(
    readonly matched: MatchedRoute<unknown>,
    private readonly outer: View | undefined,
    public url: string,
    readonly modify: HttpServerRequest["modify"]
  ) {}

  /** The prefixes under which a router is mounted that is reached in that route. */
  prefixIn(route: RouteContext | undefined): string {
    if (this.prefix !== undefined) return this.prefix
    let known = this.outer
    while (known !== undefined && known.prefix === undefined) known = known.outer
    // Other parts that are removed from the URL, such as the name of a tenant, are not part of a pattern.
    const own = route === undefined || known?.route === route ? "" : prefixOf(route.route)
    this.route = route
    this.prefix = (known?.prefix ?? "") + own
    return this.prefix
  }
}

type AroundRouter = Outside & Context.Context<never>

/** Not equal to any other context: Effect would not replace an equal one. */
class Outside {
  order = 0

  constructor(
    readonly unsafeMap: Context.Context<never>["unsafeMap"],
    readonly view: View,
    readonly route: RouteContext | undefined
  ) {
    view.prefixIn(route)
  }

  [Hash.symbol](): number {
    const fiber = currentFiber()
    if (fiber !== undefined) this.view.matched.left(this, fiber)
    return -1
  }
}

Object.setPrototypeOf(Outside.prototype, Object.getPrototypeOf(Context.empty()))

const isOutside = (context: object, view: View): context is AroundRouter =>
  context instanceof Outside && context.view === view

const routeIn = ({ unsafeMap }: Context.Context<never>): RouteContext | undefined => unsafeMap.get(routeKey)

const viewOf = ({ unsafeMap }: Context.Context<never>): View | undefined => {
  const request: Watched | undefined = unsafeMap.get(requestKey)
  return request?.[viewKey]
}

const prefixOf = ({ prefix }: RouteContext["route"]): string => Option.getOrElse(prefix, () => "")

const currentFiber = (): AnyFiber | undefined => Option.getOrUndefined(Fiber.getCurrentFiber())
