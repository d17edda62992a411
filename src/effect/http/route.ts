/**
 * The pattern that a router of `@effect/platform` matches a request with, seen from outside of the router.
 *
 * Both routers run a handler with its `RouteContext` in the context of the fiber, by `Effect.locally`, and put the context
 * of before back afterwards. So the context around a router is one that notices when it is put back: what it replaces
 * still holds the route. A router reads the `url` of its request before it matches: the request says so, and the fiber
 * gets such a context wherever it has none yet, as behind a middleware that provides a service.
 *
 * Handlers see what they would see without this: the same request, services and spans.
 *
 * This file depends on the inside of Effect, and was tested with effect 3.22 and @effect/platform 0.97: that
 * `FiberRefs.updateAs` compares values by `Equal`, which asks for their hash, and that fibers have `setFiberRef`. Where
 * either is gone, routes are `unmatched`.
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

/** What is learnt of one request while it is answered. */
export class Seen<By> {
  /** What measures this request: each metric counts it once. */
  readonly by: Array<By> = []
  /** What would measure it, had others not done so already. */
  readonly also: Array<By> = []
  upgraded = false
  private route: string | undefined
  private isMount = false
  // Of the routes that were matched, the one whose router was reached last counts.
  private order = 0
  private matchedAt = 0
  private last: { readonly fiber: AnyFiber; readonly outside: Outside } | undefined

  /** The pattern of the route that was matched, with the prefixes it is mounted under. */
  pattern(isNotFound: boolean): string | undefined {
    // A handler can go on when its request has been answered, as behind a timeout.
    if (this.last !== undefined) this.left(this.last.outside, this.last.fiber)
    return this.isMount && isNotFound ? undefined : this.route
  }

  /** The context for what answers the request, in that fiber. */
  around(view: View, { currentContext }: AnyFiber): Context.Context<never> {
    if (isOutside(currentContext, view)) return currentContext
    const route = routeIn(currentContext)
    if (route !== undefined && this.order === 0) this.matched("", route)
    return new Outside(currentContext.unsafeMap, view, route) as AroundRouter
  }

  /** The URL of the request is read in that fiber: a router may be about to match it. */
  looked(view: View, fiber: AnyFiber): void {
    const { currentContext } = fiber
    if (!isOutside(currentContext, view)) {
      if (viewOf(currentContext) !== view) return
      // What is around the router may not be seen any more before the request is answered.
      if (this.last !== undefined) this.left(this.last.outside, fiber)
      const { setFiberRef } = fiber as { readonly setFiberRef?: (ref: object, value: object) => void }
      setFiberRef?.call(fiber, FiberRef.currentContext, this.around(view, fiber))
    }
    if (!isOutside(fiber.currentContext, view)) return
    this.order += 1
    fiber.currentContext.order = this.order
    this.last = { fiber, outside: fiber.currentContext }
  }

  /** What is within `outside` ends, or is still there when the request has been answered. */
  left(outside: Outside, { currentContext }: AnyFiber): void {
    const route = routeIn(currentContext)
    if (route === undefined || route === outside.route || outside.order < this.matchedAt) return
    const view = viewOf(currentContext)
    if (view !== undefined && view.seen !== this) return
    this.matchedAt = outside.order
    this.matched(outside.view.prefixIn(outside.route), route)
  }

  private matched(prefix: string, { params, route }: RouteContext): void {
    // What is mounted has a route without parameters, not even the rest of the path.
    this.isMount = route.path.endsWith("/*") && !("*" in params)
    const own = this.isMount && route.path === "/*" ? prefixOf(route) : ""
    this.route = prefix + own + route.path
  }
}

/** Watches a request. All that measure it share what is learnt, until none of them does any more. */
export const watched = <By>(request: HttpServerRequest): { readonly seen: Seen<By>; readonly view: View } => {
  const known = (request as Watched)[viewKey]
  if (known !== undefined && known.seen.by.length > 0) return { seen: known.seen as Seen<By>, view: known }
  const seen = new Seen<By>()
  return { seen, view: watch(request, seen, undefined) }
}

const watch = (request: Watched, seen: Seen<unknown>, outer: View | undefined): View => {
  const known = request[viewKey]
  const view = new View(seen, outer, request.url, known?.modify ?? request.modify)
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
    if (fiber !== undefined) view.seen.looked(view, fiber)
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
    watch(modified, view.seen, view)
    return modified
  }
}

const upgrading = (upgrade: HttpServerRequest["upgrade"]): PropertyDescriptor & ThisType<Required<Watched>> => ({
  configurable: true,
  get() {
    return Effect.map(upgrade, (socket) => opening(socket, this[viewKey].seen))
  }
})

// Node.js makes the response of an upgrade when it is needed; elsewhere any request may be one.
const canUpgrade = (request: HttpServerRequest): boolean => {
  const { response } = request as { readonly response?: unknown }
  return typeof response === "function" || (response === undefined && request.headers["upgrade"] !== undefined)
}

const opening = (socket: Socket, seen: Seen<unknown>): Socket => {
  const opened = Effect.sync(() => {
    seen.upgraded = true
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

/** A request as it is seen in one place: under the prefixes that were taken off its URL. */
class View {
  // The route that it was first asked for in, and the patterns of the prefixes there.
  private route: RouteContext | undefined
  private prefix: string | undefined

  constructor(
    readonly seen: Seen<unknown>,
    private readonly outer: View | undefined,
    public url: string,
    readonly modify: HttpServerRequest["modify"]
  ) {}

  /** The patterns of the prefixes that a router which is reached in that route is mounted under. */
  prefixIn(route: RouteContext | undefined): string {
    if (this.prefix !== undefined) return this.prefix
    let known = this.outer
    while (known !== undefined && known.prefix === undefined) known = known.outer
    // What else is taken off the URL, such as the name of a tenant, is no part of a pattern.
    const own = route === undefined || known?.route === route ? "" : prefixOf(route.route)
    this.route = route
    this.prefix = (known?.prefix ?? "") + own
    return this.prefix
  }
}

type AroundRouter = Outside & Context.Context<never>

/** The context around a router. It equals no other one: else it would not be put in the place of one that is as it is. */
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
    if (fiber !== undefined) this.view.seen.left(this, fiber)
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
