/**
 * Finds the pattern with which a router of `@effect/platform` matches a request, from outside of the router.
 *
 * Both routers run a handler with its `RouteContext` in the context of the fiber, by `Effect.locally`, which calls
 * `setFiberRef` of the fiber. So this method is replaced on the fiber that answers the request, by one that reads the
 * route of each new context. A router may run in another fiber, for example behind a timeout. Where a fiber is forked,
 * `getFiberRefs` of its parent is called: from then on, the request finds the fiber in which its `url` is read, or in
 * which it is modified. A router does one of these before it matches.
 *
 * Handlers see the same request, services and spans as without this.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22 and @effect/platform 0.97: `setFiberRef` and
 * `getFiberRefs` of fibers. Without the first, routes are `unmatched`; without the second, those of forked fibers are.
 */
import type { RouteContext } from "@effect/platform/HttpRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket } from "@effect/platform/Socket"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import type * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"

const requestKey = "@effect/platform/HttpServerRequest"
const routeKey = "@effect/platform/HttpRouter/RouteContext"
const viewKey = Symbol("effect-prometheus/view")
const trackedKey = Symbol("effect-prometheus/tracked")

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type AnyContext = Context.Context<never>

type AnyMatched = MatchedRoute<unknown, unknown>

interface Watched extends HttpServerRequest {
  [viewKey]?: View
}

/** While the request is answered. */
export class MatchedRoute<Run, Meter> {
  /** Each metric counts the request once. */
  readonly by: Array<Run> = []
  /** They do not record, because others already do. */
  readonly also: Array<Meter> = []
  upgraded = false
  private route: string | undefined
  private isMount = false

  /** With the prefixes under which the route is mounted. */
  pattern(isNotFound: boolean): string | undefined {
    return this.isMount && isNotFound ? undefined : this.route
  }

  /** The measured app may itself be below a router. */
  startsIn(view: View, { currentContext }: AnyFiber): void {
    const route = routeIn(currentContext)
    view.prefixIn(route)
    if (route !== undefined && this.route === undefined) this.record("", route)
  }

  /** Returns whether a router has matched a route of this request. Of several routes, the last one counts. */
  enters(before: AnyContext, after: AnyContext): boolean {
    const route = routeIn(after)
    if (route === undefined) return false
    const outer = routeIn(before)
    if (route === outer) return false
    const view = viewOf(before)
    if (view === undefined || view.matched !== this) return false
    this.record(view.prefixIn(outer), route)
    return true
  }

  private record(prefix: string, { params, route }: RouteContext): void {
    // A mounted app has a route without parameters, not even the rest of the path.
    this.isMount = route.path.endsWith("/*") && !("*" in params)
    const own = this.isMount && route.path === "/*" ? prefixOf(route) : ""
    this.route = prefix + own + route.path
  }
}

/** The request that a fiber answers, and the contexts to which the fiber returns after the routes in which it is. */
class Tracked {
  private readonly outside: Array<AnyContext> = []

  constructor(
    readonly matched: AnyMatched,
    readonly outer: Tracked | undefined
  ) {}

  changes(before: AnyContext, after: AnyContext): void {
    const returned = this.outside.lastIndexOf(after)
    if (returned !== -1) this.outside.length = returned
    else if (this.matched.enters(before, after)) this.outside.push(before)
  }
}

interface TrackedFiber extends AnyFiber {
  [trackedKey]?: Tracked | undefined
  setFiberRef(ref: unknown, value: unknown): void
  getFiberRefs(): FiberRefs.FiberRefs
}

/** From now on, the routes that the fiber enters are those of the request, until it is released. */
export const track = (fiber: AnyFiber, matched: AnyMatched): void => {
  const tracked = fiber as TrackedFiber
  const known = tracked[trackedKey]
  if (known?.matched === matched || typeof tracked.setFiberRef !== "function") return
  const isNew = known === undefined && !Object.hasOwn(tracked, trackedKey)
  tracked[trackedKey] = new Tracked(matched, known)
  if (!isNew) return
  tracked.setFiberRef = setFiberRef
  tracked.getFiberRefs = getFiberRefs
}

// A fiber may be forked now.
function getFiberRefs(this: TrackedFiber): FiberRefs.FiberRefs {
  if (this[trackedKey] !== undefined) {
    const request: Watched | undefined = this.currentContext.unsafeMap.get(requestKey)
    const view = request?.[viewKey]
    if (request !== undefined && view !== undefined && view.url === undefined) watchUrl(request, view)
  }
  return (Object.getPrototypeOf(this) as TrackedFiber).getFiberRefs.call(this)
}

/** Whether the reference was set at once, instead of by an effect. */
export const setRef = <A>(fiber: AnyFiber, ref: FiberRef.FiberRef<A>, value: A): boolean => {
  const { setFiberRef } = fiber as TrackedFiber
  if (typeof setFiberRef !== "function") return false
  setFiberRef.call(fiber, ref, value)
  return true
}

/** The request was answered. */
export const release = (fiber: AnyFiber, matched: AnyMatched): void => {
  const tracked = fiber as TrackedFiber
  const known = tracked[trackedKey]
  if (known?.matched === matched) tracked[trackedKey] = known.outer
}

function setFiberRef(this: TrackedFiber, ref: unknown, value: unknown): void {
  if (ref === FiberRef.currentContext) this[trackedKey]?.changes(this.currentContext, value as AnyContext)
  ;(Object.getPrototypeOf(this) as TrackedFiber).setFiberRef.call(this, ref, value)
}

/** All runs of the request share the same state until none of them measures it any more. */
export const trackRoute = <Run, Meter>(
  request: HttpServerRequest
): { readonly matched: MatchedRoute<Run, Meter>; readonly view: View } => {
  const known = (request as Watched)[viewKey]
  if (known !== undefined && known.matched.by.length > 0)
    return { matched: known.matched as MatchedRoute<Run, Meter>, view: known }
  const matched = new MatchedRoute<Run, Meter>()
  return { matched, view: watch(request, matched, undefined) }
}

/** Those that measure the request now. */
export const runsOf = <Run>(request: HttpServerRequest): ReadonlyArray<Run> =>
  ((request as Watched)[viewKey]?.matched.by as ReadonlyArray<Run> | undefined) ?? []

const watch = (request: Watched, matched: AnyMatched, outer: View | undefined): View => {
  const known = request[viewKey]
  const view = new View(matched, outer)
  if (!Object.isExtensible(request)) return view
  request[viewKey] = view
  if (known === undefined) {
    Reflect.defineProperty(request, "modify", modify)
    if (canUpgrade(request)) Reflect.defineProperty(request, "upgrade", upgrading(request.upgrade))
  } else view.url = known.url
  return view
}

/** A router may be about to match the request in the current fiber. */
const looked = ({ matched }: View): void => {
  const fiber = currentFiber()
  if (fiber !== undefined && matched.by.length > 0) track(fiber, matched)
}

const watchUrl = (request: Watched, view: View): void => {
  if (!Object.hasOwn(request, "url")) return
  view.url = request.url
  Reflect.defineProperty(request, "url", url)
}

const url: PropertyDescriptor & ThisType<Required<Watched>> = {
  configurable: true,
  enumerable: true,
  get() {
    const view = this[viewKey]
    looked(view)
    return view.url
  },
  set(url: string) {
    this[viewKey].url = url
  }
}

/** The class of a request. An object that was derived from the request inherits its properties. */
const classOf = (request: Watched): object => {
  let own: object = request
  while (!Object.hasOwn(own, viewKey)) own = Object.getPrototypeOf(own)
  return Object.getPrototypeOf(own)
}

// All requests share this: a function of its own would be created for each request.
const modify: PropertyDescriptor & ThisType<Required<Watched>> = {
  configurable: true,
  writable: true,
  value(options: Parameters<HttpServerRequest["modify"]>[0]) {
    const view = this[viewKey]
    looked(view)
    const modified = (classOf(this) as HttpServerRequest).modify.call(this, options)
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

const opening = (socket: Socket, matched: AnyMatched): Socket => {
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
  /** Of a request that may be read in several fibers. */
  url: string | undefined
  // The route for which `prefixIn` was first called.
  private route: RouteContext | undefined
  private prefix: string | undefined

  constructor(
    readonly matched: AnyMatched,
    private readonly outer: View | undefined
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

const routeIn = ({ unsafeMap }: AnyContext): RouteContext | undefined => unsafeMap.get(routeKey)

const viewOf = ({ unsafeMap }: AnyContext): View | undefined => {
  const request: Watched | undefined = unsafeMap.get(requestKey)
  return request?.[viewKey]
}

const prefixOf = ({ prefix }: RouteContext["route"]): string => Option.getOrElse(prefix, () => "")

const currentFiber = (): AnyFiber | undefined => Option.getOrUndefined(Fiber.getCurrentFiber())
