/**
 * Finds the pattern with which a router matches a request, from outside of the router.
 *
 * Routers run a handler with its `RouteContext` in the context of the fiber, which is followed (`compat/http/tracking.ts`).
 * A router may run in another fiber, for example behind a timeout. From a fork on, the request finds the fiber in which its
 * `url` is read, or in which it is modified. A router does one of these before it matches.
 *
 * Handlers see the same request, services and spans as without this.
 */
import type * as Context from "effect/Context"
import { type AnyFiber, contextOf, currentFiber } from "../../compat/fiber.js"
import type { Awaiting } from "../../compat/http/handlers.js"
import { type HttpServerRequest, prefixOf, type RouteContext, requestIn, routeIn } from "../../compat/http/platform.js"
import { responseObserver, tracking } from "../../compat/http/tracking.js"
import { observeUpgrade } from "../../compat/http/upgrade.js"
import { version } from "../../core/util/build.js"
import { replacing } from "../../core/util/sharedMethods.js"

// All copies of this version, as its ES modules and its CommonJS files, track the same requests.
const viewKey: unique symbol = Symbol.for(`effect-prometheus/${version}/view`)

type AnyContext = Context.Context<never>

/** What measures a request. */
interface Measures extends Awaiting {
  /** The server begins to write the response to the request. */
  written(request: HttpServerRequest): void
}

type AnyMatched = MatchedRoute<Measures, unknown>

interface Watched extends HttpServerRequest {
  [viewKey]?: View
}

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

  constructor(private readonly request: HttpServerRequest) {}

  /** With the prefixes under which the route is mounted. */
  pattern(isNotFound: boolean): string | undefined {
    return this.isMount && isNotFound ? undefined : this.route
  }

  /** The measured app may itself be below a router. */
  startsIn(view: View, fiber: AnyFiber): void {
    const route = routeIn(contextOf(fiber))
    view.prefixIn(route)
    if (route === undefined) return
    if (this.route === undefined) this.record("", route)
    if (!this.entered.includes(route)) this.entered.push(route)
  }

  /** The context of a fiber changes. Of several routes that a router matches, the last one counts. */
  changes(before: AnyContext, after: AnyContext, own: View): void {
    const route = routeIn(after)
    if (this.running === 0 || route === undefined || this.entered.includes(route)) return
    // A request that cannot be changed has no view of its own.
    const view = viewIn(before) ?? (watchedIn(before) === this.request ? own : undefined)
    if (view?.matched !== this) return
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

/** All runs of the request share the same state until none of them measures it any more. */
export const trackRoute = <Run extends Measures, Meter>(
  request: HttpServerRequest
): { readonly matched: MatchedRoute<Run, Meter>; readonly view: View } => {
  const known = (request as Watched)[viewKey]
  if (known !== undefined && known.matched.by.length > 0)
    return { matched: known.matched as unknown as MatchedRoute<Run, Meter>, view: known }
  const matched = new MatchedRoute<Run, Meter>(request)
  return { matched, view: watch(request, matched, undefined) }
}

const watch = (request: Watched, matched: AnyMatched, outer: View | undefined): View => {
  const known = request[viewKey]
  const view = new View(matched, outer, request)
  if (!Object.isExtensible(request)) return view
  request[viewKey] = view
  if (known === undefined) {
    observeModify(request)
    observeUpgrade(request, upgraded)
  } else view.url = known.url
  if (outer?.isFollowed === true) followWriting(view)
  return view
}

/**
 * Nothing measures the request any more. A web request may be kept for some time after its response, because its signal is
 * awaited: the garbage collector would move what it refers to.
 */
export const forget = (request: Watched): void => {
  const view = request[viewKey]
  // Accessors of the request itself need it.
  if (view === undefined || view.url !== undefined || Object.hasOwn(request, "upgrade")) return
  Reflect.set(request, viewKey, undefined)
}

/** Calls `written` of what measures the request when a server of Node.js writes its response. Returns whether it does. */
export const followWriting = (view: View): boolean => {
  view.isFollowed ||= Object.hasOwn(view.request, viewKey) && observeResponse(view.request)
  return view.isFollowed
}

/** A router may be about to match the request in the current fiber. */
const looked = (view: View): void => {
  const fiber = currentFiber()
  if (fiber !== undefined && view.matched.running > 0) track(fiber, view)
}

// Of the request itself, because the application may have put a proxy in its place.
const watchUrl = (view: View): void => {
  const { request } = view
  if (!Object.hasOwn(request, "url")) return
  view.url = request.url
  Reflect.defineProperty(request, "url", url)
}

interface Followed {
  readonly [viewKey]: View & { url: string }
}

// All requests share these: functions of its own would be created for each request.
const url: PropertyDescriptor & ThisType<Followed> = {
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

const observeResponse = responseObserver<Watched>((request, answer) => {
  const view = request[viewKey]
  if (view === undefined || view.isAsked) return answer()
  // Other code may have wrapped the accessor, so that it calls another one of ours.
  view.isAsked = true
  try {
    for (const each of view.matched.by) each.written(request)
    return answer()
  } finally {
    view.isAsked = false
  }
})

type Modify = (this: Watched, ...args: Parameters<HttpServerRequest["modify"]>) => HttpServerRequest

const observeModify = replacing<Modify>(
  "modify",
  "value",
  (original) =>
    function (options) {
      const view = this[viewKey]
      if (view === undefined) return original.call(this, options)
      looked(view)
      const modified = original.call(this, options)
      // It may be provided in a fiber that is forked before.
      watchUrl(watch(modified, view.matched, view))
      return modified
    }
)

const upgraded = (request: Watched): void => {
  const view = request[viewKey]
  if (view !== undefined) view.matched.upgraded = true
}

/** A request below the prefixes that were removed from its URL. */
class View {
  /** Of a request that may be read in several fibers. */
  url?: string | undefined
  /** Of a request of Node.js: whether it tells when the server asks for its response. */
  isFollowed = false
  /** The server is asking. */
  isAsked = false
  // The route for which `prefixIn` was first called.
  private route: RouteContext | undefined
  private prefix: string | undefined

  constructor(
    readonly matched: AnyMatched,
    private readonly outer: View | undefined,
    readonly request: HttpServerRequest
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

const watchedIn = (context: AnyContext): Watched | undefined => requestIn(context)

// A test may provide a request that throws for what it does not know, or that has a function for it.
const viewIn = (context: AnyContext): View | undefined => {
  try {
    const view: unknown = watchedIn(context)?.[viewKey]
    return typeof view === "object" ? (view as View) : undefined
  } catch {
    return undefined
  }
}

export const { release, track } = tracking<View>((context) => {
  const view = viewIn(context)
  if (view !== undefined && view.url === undefined) watchUrl(view)
})
