/**
 * The route pattern that Express matched for a request. Express has no event for a match: the properties that its routers
 * set on a request are replaced by accessors, which store the value and return it unchanged.
 *
 * Tested with Express 5.3 and 4.22. If a router does not set the properties in this order, requests are `unmatched`.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { contextFree, keepContext } from "../core/http/node/asyncContext.js"
import { oncePerProcess } from "../core/util/oncePerProcess.js"
import { percentDecoded } from "../core/util/text.js"
import { Watching, watchingOf, watchProperty } from "./watchProperty.js"

/**
 * Reads the route pattern of an Express request (5, and 4), for `httpMetrics`. Returns a function that returns the
 * pattern of the route that answered, or `undefined` if no route answered. Call `expressRoute` when the request arrives,
 * before any router.
 *
 * - The pattern is the declared path of the route (`/users/:id`), after the paths where its routers are mounted.
 * - A handler that is mounted by `use` has the pattern of its mount: `application.use("/graphql", handler)` is
 *   `/graphql`.
 * - A pattern is kept when an error leaves its router, and when a handler that has answered calls `next`.
 * - A handler without a path (`application.use(handler)`) has no pattern. A 404 of a mount has no pattern either, unless
 *   a route sent the 404 or passed the request on to it: then it has the pattern of that route.
 *
 * Clients cannot create patterns. With `router` 2.3 or newer, Express 5 reports which path it matched, and the pattern is
 * the path as declared. Older versions, and Express 4, keep only what the client sent. There, the pattern of a mount is
 * the path that was sent, in lower case, with parameter names instead of their values. Whole segments that are equal to a
 * value are replaced first, from the right, then a part of a segment (`/v:version`). If the result is ambiguous, the
 * pattern is the names alone (`/:version`). A segment that is equal to a parameter's value by chance can be replaced by
 * mistake. If a route has a list of paths, the pattern is the whole list.
 *
 * For a regular expression that is mounted without a group, the pattern is the path that was sent. So a process
 * distinguishes 500 mount patterns at most; all others are `/*`. Mounts above the router that first calls `expressRoute`
 * are also `/*`.
 *
 * @example
 * import express from "express"
 * import { expressRoute, httpMetrics, nodeListener } from "effect-prometheus/Promises"
 *
 * const measure = httpMetrics()
 *
 * export const application = express()
 * application.use((request, response, next) => {
 *   measure(request, response, expressRoute(request))
 *   next()
 * })
 * application.get("/metrics", nodeListener())
 *
 * @since 0.1.0
 * @category constructors
 */
export const expressRoute = (request: IncomingMessage): (() => string | undefined) => {
  const known = watchingOf(request)
  return known instanceof Routing ? known.pattern : new Routing(request).pattern
}

type Params = Readonly<Record<string, unknown>>

/** Express sets each of them at a different time. */
interface Express extends IncomingMessage {
  readonly baseUrl?: string | undefined
  readonly originalUrl?: string | undefined
  readonly params?: Params | undefined
  readonly route?: unknown
  readonly res?: Pick<ServerResponse, "headersSent" | "statusCode"> | undefined
}

interface Found {
  readonly pattern: string | undefined
  readonly isRoute: boolean
}

interface Mount {
  readonly outer: Mount | undefined
  /** The part of the URL that the client sent for the mount. */
  readonly url: string
  readonly pattern: string
  readonly params: Params
  /** Found before the request entered the mount. */
  readonly before: Found
  /** The pattern of the mount inside that the request left last. */
  left: string | undefined
}

const nothing: Found = { pattern: undefined, isRoute: false }

/** Follows one request by the properties that the routers set on it. */
class Routing extends Watching {
  private mount: Mount
  private found = nothing
  /** The paths of the current route. The router sets the matched one of them next. */
  private paths: ReadonlyArray<unknown> = []
  private matched: unknown
  /** A copy, because the application can change them. */
  private params: Params | undefined

  constructor(private readonly request: Express) {
    super()
    this.mount = this.begin(request.baseUrl ?? "")
    this.routed(request.route)
    watchProperty(request, "baseUrl", this)
    watchProperty(request, "route", this)
    // Looking for new symbols takes long. A router that is inside another one may have a new one nevertheless.
    let isDeclared = false
    for (const key of matchedKeys) isDeclared ||= key in request
    if (!isDeclared || this.paths.length > 1) isDeclared = this.watchNew() || isDeclared
    for (const key of matchedKeys) this.watch(key)
    // Discards a path that was matched before this call.
    this.matched = undefined
    if (isDeclared) return
    watchProperty(request, "params", this)
  }

  override assigned(key: PropertyKey, to: unknown, before: unknown): void {
    if (key === "baseUrl") this.moved(typeof to === "string" ? to : "")
    // Express sets it again when it calls the handlers of the route.
    else if (key === "route") {
      if (to === before && this.found.isRoute) return
      // What a new symbol has now is the path of the mount.
      if (Array.isArray(Reflect.get(Object(to), "path")) && this.watchNew()) this.matched = undefined
      this.routed(to)
    } else if (key === "params") this.params = { ...(to as Params) }
    else this.match(to)
  }

  readonly pattern = contextFree((): string | undefined => {
    const { found, mount, request } = this
    const status = request.res?.statusCode ?? 200
    if (found.isRoute || status < 400 || status === 404) return found.pattern
    // The code that passed an error on did not send the response, but the response is about it.
    const { before, left } = mount
    const failed = before.pattern?.startsWith(mount.pattern) === true ? before.pattern : undefined
    return left ?? failed ?? found.pattern
  })

  private find(found: Found): void {
    // A handler that runs after the response was sent did not answer.
    const isAnswered = this.request.res?.headersSent === true
    this.found = isAnswered ? { pattern: this.pattern(), isRoute: true } : found
    if (found.pattern !== undefined) keepContext(this.request)
  }

  private moved(url: string): void {
    const { mount } = this
    if (url === mount.url) return
    if (url.startsWith(mount.url)) this.enter(url)
    else this.leave(url)
  }

  private enter(url: string): void {
    const { found, mount, request } = this
    if (this.matched === undefined) this.watchNew()
    const params = this.params ?? request.params ?? {}
    const own = textOf(this.matched) ?? sentPattern(url.slice(mount.url.length), params, mount.params)
    const pattern = `${mount.pattern}${own.replace(/\/+$/, "")}`
    this.matched = undefined
    this.find({ pattern, isRoute: false })
    this.mount = { outer: mount, url, pattern, params, before: found, left: undefined }
  }

  private leave(url: string): void {
    while (this.mount.url !== url) {
      const { before, left, outer, pattern } = this.mount
      // The pattern of a route stays.
      if (!this.found.isRoute) this.find(before)
      if (outer !== undefined && !wasPassedOver()) outer.left = left ?? pattern
      this.mount = outer ?? this.begin(url)
    }
  }

  // Mounts above the first observed router are unknown. A request of a test tool can have a `baseUrl` although its
  // `url` is complete.
  private begin(url: string): Mount {
    const { originalUrl, params = {}, url: rest } = this.request
    const pattern = url === "" || rest === originalUrl ? "" : unknown
    return { outer: undefined, url, pattern, params, before: nothing, left: undefined }
  }

  private routed(route: unknown): void {
    const path: unknown = Reflect.get(Object(route), "path")
    const text = textOf(path)
    this.paths = Array.isArray(path) ? path.flat(Number.POSITIVE_INFINITY) : [path]
    this.find(text === undefined ? nothing : { pattern: this.below(text), isRoute: true })
  }

  private below(path: string): string {
    const { pattern } = this.mount
    return path === "/" && pattern !== "" ? pattern : `${pattern}${path}`
  }

  // Express sets a route before the path by which it matched. Nothing is mounted under a route.
  private match(path: unknown): void {
    const text = textOf(path)
    const isRoute = text !== undefined && this.paths.includes(path)
    if (isRoute) this.find({ pattern: this.below(text), isRoute })
    this.matched = isRoute || text === "/" || text === "" ? undefined : path
    this.paths = []
  }

  /** Whether there are any. */
  private watchNew(): boolean {
    let isAny = false
    for (const key of Object.getOwnPropertySymbols(this.request)) {
      if (key.description !== matchedDescription) continue
      isAny = true
      matchedKeys.add(key)
      this.watch(key)
    }
    return isAny
  }

  private watch(key: symbol): void {
    if (Object.hasOwn(this.values, key)) return
    this.match(Reflect.get(this.request, key))
    watchProperty(this.request, key, this)
  }
}

/** The pattern of unknown mounts. */
const unknown = "/*"

/**
 * Whether Express enters and leaves a mount because of an earlier error, without running its handler: the router goes on
 * directly from `handleError` of its layer (Express 5) or `handle_error` (4). With other names, as in a minified bundle,
 * an earlier error has the pattern of the last mount that fits.
 */
const wasPassedOver = (): boolean => {
  const { stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = 12
    try {
      return /\n +at next .*\n +at (?:\S+\.)?handle_?error\b/i.test(String(new Error().stack))
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  } catch {
    // Frozen intrinsics, or a hook of the application that throws.
    return false
  }
}

// `router` 2.3 sets the path that it matched under this symbol. Each copy of `router` has its own symbol.
const matchedDescription = "router.tracing.matchedRoute"
const matchedKeys = oncePerProcess("matched keys of Express", () => new Set<symbol>())

// A path is a string, a regular expression, or a list of them.
const textOf = (path: unknown): string | undefined => (path === undefined || path === null ? undefined : String(path))

// Of a mounted regular expression only the sent path is known. Clients must not create any number of patterns.
const mostSent = 500
const allSent = oncePerProcess("sent patterns of Express", () => new Set<string>())

const sentPattern = (sent: string, params: Params, outer: Params): string => {
  const pattern = namedPattern(sent, params, outer)
  if (allSent.size < mostSent) allSent.add(pattern)
  return allSent.has(pattern) ? pattern : unknown
}

interface Part {
  readonly text: string
  readonly isName: boolean
}

/** From the sent path and the parameters, which with `mergeParams` can include those of outer routers. */
const namedPattern = (sent: string, params: Params, outer: Params): string => {
  const segments = sent
    .split("/")
    .slice(1)
    .map((text): Array<Part> => [{ text: percentDecoded(text), isName: false }])
  const names = Object.keys(params).filter((name) => params[name] !== undefined)
  for (const name of [...names].reverse()) {
    if (nameSegments(segments, name, params[name])) continue
    const isOuter = params[name] === outer[name]
    const holding = partsWith(segments, name, params[name])
    if (isOuter && holding.length === 0) continue
    // If the result is ambiguous, the names alone are the pattern.
    if (isOuter || !namePart(holding, name, params[name])) return names.map((other) => `/:${other}`).join("")
  }
  const textOfPart = ({ isName, text }: Part): string => (isName ? `:${text}` : text.toLowerCase())
  return segments.map((parts) => `/${parts.map(textOfPart).join("")}`).join("")
}

// A wildcard has several segments.
const nameSegments = (segments: Array<Array<Part>>, name: string, value: unknown): boolean => {
  if (Array.isArray(value)) return nameRun(segments, name, value)
  if (typeof value !== "string") return false
  return nameRun(segments, name, [value]) || nameRun(segments, name, value.split("/"))
}

const nameRun = (segments: Array<Array<Part>>, name: string, values: ReadonlyArray<unknown>): boolean => {
  const isValue = (index: number, value: unknown): boolean => {
    const [part, ...more] = segments[index] ?? []
    return part !== undefined && more.length === 0 && !part.isName && part.text === value
  }
  for (let at = segments.length - values.length; at >= 0; at -= 1) {
    if (!values.every((value, offset) => isValue(at + offset, value))) continue
    segments.splice(at, values.length, [{ text: name, isName: true }])
    return true
  }
  return false
}

interface Holding {
  readonly part: Part
  readonly parts: Array<Part>
}

// A parameter without a name belongs to a regular expression, and can match anything.
const partsWith = (segments: Array<Array<Part>>, name: string, value: unknown): ReadonlyArray<Holding> => {
  if (typeof value !== "string" || value === "" || /^\d/.test(name)) return []
  return segments.flatMap((parts) =>
    parts.filter(({ isName, text }) => !isName && text.includes(value)).map((part) => ({ part, parts }))
  )
}

// Replaces the value inside a longer segment by the name, if only one segment contains it.
const namePart = (holding: ReadonlyArray<Holding>, name: string, value: unknown): boolean => {
  const last = holding.at(-1)
  if (last === undefined || holding.some(({ parts }) => parts !== last.parts)) return false
  const { part, parts } = last
  const text = String(value)
  const at = part.text.lastIndexOf(text)
  const before = { text: part.text.slice(0, at), isName: false }
  const after = { text: part.text.slice(at + text.length), isName: false }
  parts.splice(parts.indexOf(part), 1, before, { text: name, isName: true }, after)
  return true
}
