/**
 * The pattern that a router of `@effect/platform` matches a request with, seen from outside of the router.
 *
 * Both routers tell it to the span in the context of the request, as `http.route`, and to nobody else out there. So the
 * request is handed down with that span behind one that listens; and with its `url`, which a router reads right before
 * that, listening as well: for a router further in, under a prefix that it knows nothing of.
 */
import type { RouteContext } from "@effect/platform/HttpRouter"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket } from "@effect/platform/Socket"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

const requestKey = "@effect/platform/HttpServerRequest"
const routeKey = "@effect/platform/HttpRouter/RouteContext"

/** What is learnt of one request while it is answered. */
export class Seen {
  /** The pattern of the router that matched last, with the prefixes that it is mounted under. */
  route: string | undefined
  /** The pattern of what was mounted where no router matched: an app that is none. */
  mounted: string | undefined
  /** The prefix that was taken off the URL, where nobody has said yet that it is one of a router's. */
  stripped: string | undefined
  upgraded = false
  // How to ask a request for its view, also through what others have put around it.
  private readonly view = Symbol("view")

  /** The context for what answers the request. */
  within(context: Context.Context<never>): Context.Context<never> {
    const services = new Map(context.unsafeMap)
    const around = services.get(routeKey) as RouteContext | undefined
    const prefix = around === undefined ? "" : Option.getOrElse(around.route.prefix, () => "")
    // Within a route already, or within what is mounted.
    if (around !== undefined && around.route.path === "/*") this.mounted = `${prefix}/*`
    else this.route = around?.route.path
    services.set(requestKey, this.watched(services.get(requestKey), { prefix }))
    services.set(Tracer.ParentSpan.key, this.listening(services.get(Tracer.ParentSpan.key)))
    return Context.unsafeMake(services)
  }

  /** To be called at the end. */
  settle(): void {
    if (this.isLooking()) looking = undefined
  }

  private watched(request: HttpServerRequest, view: View): HttpServerRequest {
    return new Proxy(request, {
      get: (target, key) => {
        if (key === this.view) return view
        // Of the target itself: what it keeps for the next reader, such as the text of its body, is kept there.
        const value = Reflect.get(target, key, target)
        if (key === "url") this.looked(view)
        if (key === "modify") return (options: Modified) => this.modified(target, view, options)
        if (key === "upgrade") return Effect.map(value, (socket: Socket) => this.opening(socket))
        return value
      }
    })
  }

  private modified(target: HttpServerRequest, view: View, options: Modified): HttpServerRequest {
    const before = target.url
    const modified = target.modify(options)
    const { url = before } = options
    if (url === before) return this.watched(modified, view)
    const stripped = before.endsWith(url) ? before.slice(0, before.length - url.length) : pathOf(before)
    this.stripped = view.prefix + stripped
    return this.watched(modified, { prefix: view.prefix, stripped })
  }

  // Somebody reads the URL: a router that is about to match it, or what was mounted in one. What stands around the
  // latter says which prefix was taken off: any other one, such as the name of a tenant, is no part of a pattern.
  private looked(view: View): void {
    const fiber = currentFiber()
    if (fiber === undefined) return
    if (!isLookedBy(fiber)) looking = { fiber, operation: fiber.currentOpCount, by: [] }
    if (!this.isLooking()) looking?.by.push(this)
    const services = fiber.currentContext.unsafeMap
    const around = services.get(routeKey) as RouteContext | undefined
    if (view.stripped !== undefined) {
      if (around !== undefined && Option.getOrUndefined(around.route.prefix) === view.stripped) {
        view.prefix += view.stripped
      }
      view.stripped = undefined
      this.stripped = undefined
    }
    if (around !== undefined) this.mounted = view.prefix + around.route.path
    const span = services.get(Tracer.ParentSpan.key) as Tracer.AnySpan | undefined
    if (span?._tag === "Span") listenOn(span)
  }

  private isLooking(): boolean {
    return looking?.by.includes(this) === true
  }

  /** Whether it is a router that asks. */
  isLookedFor(): boolean {
    return this.isLooking() && isLookedBy(currentFiber())
  }

  // The span that listens is no one's parent, nor the current one of anybody who asks Effect for it: these are told of
  // the next one, which is the span that was there, or none.
  private listening(span: Tracer.AnySpan | undefined): Tracer.Span {
    const outer = span ?? absent
    const listener = new Proxy(Object.create(outer), new Listener(this, outer, span))
    listeners.add(listener)
    return listener
  }

  /** What a handler calls its route is its own affair: it can hold anything. */
  told(key: string, pattern: unknown): void {
    if (key !== "http.route" || typeof pattern !== "string" || !this.isLookedFor()) return
    const request = currentFiber()?.currentContext.unsafeMap.get(requestKey)
    const view: View | undefined = request?.[this.view]
    this.route = (view?.prefix ?? "") + pattern
  }

  private opening(socket: Socket): Socket {
    const opened = Effect.sync(() => {
      this.upgraded = true
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
}

// What the span that listens is in the place of.
class Listener implements ProxyHandler<Tracer.Span> {
  private context: Tracer.Span["context"] | undefined

  constructor(
    private readonly seen: Seen,
    private readonly outer: Tracer.AnySpan,
    private readonly span: Tracer.AnySpan | undefined
  ) {}

  private readonly attribute = (key: string, value: unknown): void => {
    const { outer } = this
    this.seen.told(key, value)
    if (outer._tag === "Span" && outer !== absent) outer.attribute(key, value)
  }

  get(_: Tracer.Span, key: string | symbol): unknown {
    const { outer } = this
    switch (key) {
      // It stands in for a span that is none only where a router asks.
      case "_tag":
        return (outer !== absent && outer._tag === "Span") || this.seen.isLookedFor() ? "Span" : "ExternalSpan"
      case "attribute":
        return this.attribute
      case "context":
        this.context ??= Context.add(outer.context, Tracer.DisablePropagation, true)
        return this.context
      case "parent":
        return Option.fromNullable(this.span)
    }
    // What comes from elsewhere can do less than a span.
    const from = key in outer ? outer : absent
    const value = Reflect.get(from, key, from)
    return typeof value === "function" ? value.bind(from) : value
  }

  set(_: Tracer.Span, key: string | symbol, value: unknown): boolean {
    return Reflect.set(this.outer, key, value, this.outer)
  }
}

type Modified = Parameters<HttpServerRequest["modify"]>[0]

/** A request as somebody sees it, under the patterns of the prefixes that were taken off its URL. */
interface View {
  prefix: string
  /** Taken off as well, and not yet known to be such a prefix. */
  stripped?: string | undefined
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

const currentFiber = (): AnyFiber | undefined => Option.getOrUndefined(Fiber.getCurrentFiber())

// Where a router may be about to look for a span: no further than to the end of the operation that has read the URL.
let looking: { readonly fiber: AnyFiber; readonly operation: number; readonly by: Array<Seen> } | undefined

const isLookedBy = (fiber: AnyFiber | undefined): boolean =>
  fiber !== undefined && fiber === looking?.fiber && fiber.currentOpCount === looking.operation

const listeners = new WeakSet<object>()

// A span that somebody put between this and the router, which may be there for many requests: it listens itself, once.
const listenOn = (span: Tracer.Span): void => {
  if (listeners.has(span)) return
  listeners.add(span)
  const { attribute } = span
  Reflect.defineProperty(span, "attribute", {
    configurable: true,
    writable: true,
    value(this: Tracer.Span, key: string, value: unknown) {
      for (const seen of looking?.by ?? []) seen.told(key, value)
      attribute.call(this, key, value)
    }
  })
}

const pathOf = (url: string): string => url.split("?", 1)[0] ?? ""

// Where the application does not trace, there is nothing to hide behind the span that listens.
const absent: Tracer.Span = {
  _tag: "Span",
  name: "",
  spanId: "noop",
  traceId: "noop",
  parent: Option.none(),
  context: Context.empty(),
  status: { _tag: "Started", startTime: 0n },
  attributes: new Map(),
  links: [],
  sampled: false,
  kind: "internal",
  attribute: () => {},
  event: () => {},
  addLinks: () => {},
  end: () => {}
}
