/**
 * Finds the pattern with which a router of `@effect/platform` matches a request, from outside of the router.
 *
 * Both routers run a handler with its `RouteContext` in the context of the fiber, by `Effect.locally`, which calls
 * `setFiberRef` of the fiber. So this method is replaced, by one that reads the route of each new context: in the class
 * of fibers, because a router may run in another fiber than its server, for example behind a timeout. A router modifies
 * a request that it mounts, so `modify` of requests is replaced as well.
 *
 * A server of Node.js asks a request for its response, by the property `resolvedResponse`, before it writes.
 *
 * All fibers and requests share the methods. With methods of their own, the engine would run each step of such a fiber
 * more slowly. Handlers see the same request, services and spans as without this.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22, @effect/platform 0.97 and
 * @effect/platform-node 0.108: `setFiberRef` of fibers, and `resolvedResponse` of requests. Without the first, routes are
 * `unmatched`. Without the second, each measured request adds a handler, as in other servers.
 */
import { currentPreResponseHandlers, type PreResponseHandler } from "@effect/platform/HttpApp"
import type { RouteContext } from "@effect/platform/HttpRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket } from "@effect/platform/Socket"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import { version } from "../../core/util/build.js"

const requestKey = "@effect/platform/HttpServerRequest"
const routeKey = "@effect/platform/HttpRouter/RouteContext"
// All copies of this version, as its ES modules and its CommonJS files, watch the same fibers and requests.
const viewKey: unique symbol = Symbol.for(`effect-prometheus/${version}/view`)
const replacedKey: unique symbol = Symbol.for(`effect-prometheus/${version}/replaced`)

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type AnyContext = Context.Context<never>

/** What measures a request. */
interface Measures {
  /** The server begins to write the response to the request. */
  written(request: HttpServerRequest): void
  /** The application adds a handler. Gives the handlers that are called instead. */
  precedes(handlers: Option.Option<PreResponseHandler>): Option.Option<PreResponseHandler>
}

type AnyView = View<Measures, unknown>

/** While the request is answered. */
export class MatchedRoute<Run extends Measures, Meter> {
  /** Each metric counts the request once. */
  readonly by: Array<Run> = []
  /** They do not record, because others already do. */
  also: ReadonlyArray<Meter> = []
  upgraded = false
  /** How many measured apps have not ended. */
  running = 0
  private route: string | undefined
  private isMount = false
  // A route that was entered is in the contexts below it, to which a fiber may return, or which it may provide again.
  private readonly entered: Array<RouteContext> = []

  /** With the prefixes under which the route is mounted. */
  pattern(isNotFound: boolean): string | undefined {
    return this.isMount && isNotFound ? undefined : this.route
  }

  /** The measured app may itself be below a router. */
  startsIn(view: AnyView, { currentContext }: AnyFiber): void {
    const route = routeIn(currentContext)
    view.prefixIn(route)
    if (route === undefined) return
    if (this.route === undefined) this.record("", route)
    if (!this.entered.includes(route)) this.entered.push(route)
  }

  /** A fiber enters the route. Of several routes that a router matches, the last one counts. */
  enters(route: RouteContext, view: AnyView, before: AnyContext): void {
    if (this.running === 0 || this.entered.includes(route)) return
    this.entered.push(route)
    this.record(view.prefixIn(routeIn(before)), route)
  }

  private record(prefix: string, { params, route }: RouteContext): void {
    // The application may provide a context of its own making.
    if (typeof route?.path !== "string" || typeof params !== "object") return
    // A mounted app has a route without parameters, not even the rest of the path.
    this.isMount = route.path.endsWith("/*") && !("*" in params)
    const own = this.isMount && route.path === "/*" ? prefixOf(route) : ""
    this.route = prefix + own + route.path
  }
}

/** A request below the prefixes that were removed from its URL. */
export class View<Run extends Measures, Meter> {
  // The route for which `prefixIn` was first called.
  private route: RouteContext | undefined
  private prefix: string | undefined

  constructor(
    readonly matched: MatchedRoute<Run, Meter>,
    private readonly outer: View<Run, Meter> | undefined
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

/** All runs of the request share the same state until none of them measures it any more. */
export const viewOf = <Run extends Measures, Meter>(request: HttpServerRequest): View<Run, Meter> => {
  const known = knownView(request) as View<Run, Meter> | undefined
  if (known !== undefined && known.matched.by.length > 0) return known
  const view = new View(new MatchedRoute<Run, Meter>(), undefined)
  setView(request, view as unknown as AnyView)
  return view
}

interface Viewed {
  [viewKey]?: AnyView
}

// Of requests that are frozen.
let otherViews: WeakMap<object, AnyView> | undefined

const knownView = (request: object): AnyView | undefined => (request as Viewed)[viewKey] ?? otherViews?.get(request)

const setView = (request: HttpServerRequest, view: AnyView): void => {
  if (Object.isExtensible(request)) {
    ;(request as Viewed)[viewKey] = view
  } else {
    otherViews ??= new WeakMap()
    otherViews.set(request, view)
  }
}

/** From now on, the routes that fibers enter are those of the requests in their contexts. */
export const watchFibers = (fiber: AnyFiber): void => {
  const prototype: unknown = Object.getPrototypeOf(fiber)
  if (prototype === lastFibers) return
  lastFibers = prototype
  replace(fiber, "setFiberRef", "value", settingFiberRef)
}

type SetFiberRef = (this: AnyFiber, ref: unknown, value: unknown) => void

const settingFiberRef = (original: SetFiberRef): SetFiberRef =>
  function (ref, value) {
    let set = value
    if (ref === FiberRef.currentContext) changes(this.currentContext, value as AnyContext)
    else if (ref === currentPreResponseHandlers) {
      const by = viewIn(this.currentContext)?.matched.by ?? []
      for (const each of by) set = each.precedes(set as Option.Option<PreResponseHandler>)
    }
    original.call(this, ref, set)
  }

const changes = (before: AnyContext, after: AnyContext): void => {
  const route = routeIn(after)
  const view = route && viewIn(before)
  if (view !== undefined) view.matched.enters(route as RouteContext, view, before)
}

/** Whether the reference was set at once, instead of by an effect. */
export const setRef = <A>(fiber: AnyFiber, ref: FiberRef.FiberRef<A>, value: A): boolean => {
  const { setFiberRef } = fiber as { readonly setFiberRef?: unknown }
  if (typeof setFiberRef !== "function") return false
  setFiberRef.call(fiber, ref, value)
  return true
}

/**
 * From now on, requests that are made of the request are views of it. Returns whether a server of Node.js tells when it
 * writes a response, by `written` of what measures its request.
 */
export const watchRequests = (request: HttpServerRequest): boolean => {
  const prototype: unknown = Object.getPrototypeOf(request)
  if (prototype !== lastRequests || Object.hasOwn(request, "modify")) {
    lastRequests = prototype
    replace(request, "modify", "value", modifying)
    replace(request, "upgrade", "get", upgrading)
    isTold = replace(request, "resolvedResponse", "get", resolving)
  }
  return isTold
}

const modifying = (original: HttpServerRequest["modify"]) =>
  function (this: HttpServerRequest, options: Parameters<HttpServerRequest["modify"]>[0]) {
    const view = knownView(this)
    const modified = original.call(this, options)
    if (view !== undefined) setView(modified, new View(view.matched, view))
    return modified
  }

const upgrading = (original: () => HttpServerRequest["upgrade"]) =>
  function (this: HttpServerRequest) {
    const upgrade = original.call(this)
    const view = knownView(this)
    return view === undefined ? upgrade : Effect.map(upgrade, (socket) => opening(socket, view.matched))
  }

const resolving = (original: () => unknown) =>
  function (this: HttpServerRequest) {
    for (const each of knownView(this)?.matched.by ?? []) each.written(this)
    return original.call(this)
  }

const opening = (socket: Socket, matched: AnyView["matched"]): Socket => {
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

// The classes that were seen last: most servers have one of each.
let lastFibers: unknown
let lastRequests: unknown
let isTold = false

/** Replaces the method or the accessor where it is defined, once. Returns whether it is replaced. */
const replace = <F extends (...args: never) => unknown>(
  target: object,
  key: string,
  kind: "value" | "get",
  by: (original: F) => F
): boolean => {
  let owner: object | null = target
  while (owner !== null && !Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner)
  const defined = owner === null ? undefined : Object.getOwnPropertyDescriptor(owner, key)
  const original: unknown = defined?.[kind]
  if (owner === null || typeof original !== "function") return false
  if (replacedKey in original) return true
  const replacing = Object.assign(by(original as F), { [replacedKey]: true })
  return Reflect.defineProperty(owner, key, { ...defined, [kind]: replacing })
}

const viewIn = ({ unsafeMap }: AnyContext): AnyView | undefined => {
  const request: HttpServerRequest | undefined = unsafeMap.get(requestKey)
  return request && knownView(request)
}

const routeIn = ({ unsafeMap }: AnyContext): RouteContext | undefined => unsafeMap.get(routeKey)

const prefixOf = ({ prefix }: RouteContext["route"]): string => Option.getOrElse(prefix, () => "")
