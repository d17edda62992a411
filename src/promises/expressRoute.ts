/** The route that Express found for a request, as a pattern. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { keepContext } from "../internal/httpContext.js"

/**
 * The route of a request of Express (5, and 4), for `httpMetrics`: returns a function that returns the pattern of the route
 * that answered, or `undefined` if none did. Call it when the request arrives, before any router.
 *
 * - The pattern is what the route was declared with (`/users/:id`), after what its routers are mounted under.
 * - A handler that is mounted by `use` has the pattern of its mount: `application.use("/graphql", handler)` is `/graphql`.
 * - A pattern stays when an error leaves its router, and when a handler that has answered calls `next`.
 * - What answers without a path (`application.use(handler)`) has no pattern, nor has the 404 of a mount: one that a route
 *   answers, or passes on to, has its pattern.
 *
 * Clients cannot make patterns up. Express 5 with `router` 2.3 or newer says which path it matched: the pattern has that as
 * it was declared. Older versions, and Express 4, keep only what the client sent. There the pattern of a mount is what was
 * sent, in lower case, with the names of parameters in place of their values: of segments that are a value, from the right,
 * then of a part of a segment (`/v:version`). Where that is not clear it is the names alone (`/:version`). A segment that
 * has the value of a parameter by chance can then be taken for it, and a list of paths of one route is all of the list. A
 * regular expression that is mounted without a group leaves what was sent: 500 mounts are distinguished in a process, and all
 * others are `/*`. So is what is mounted above the router that calls this first.
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
  const express: Express = request
  return express[patternOf] ?? new Routing(express).pattern
}

const patternOf = Symbol("effect-prometheus/expressRoute")

type Params = Readonly<Record<string, unknown>>

/** What Express puts on a request, each only from some time on. */
interface Express extends IncomingMessage {
  readonly baseUrl?: string | undefined
  readonly originalUrl?: string | undefined
  readonly params?: Params | undefined
  readonly route?: unknown
  readonly res?: Pick<ServerResponse, "headersSent" | "statusCode"> | undefined
  readonly [patternOf]?: (() => string | undefined) | undefined
}

/** A pattern, of a route or of a mount. */
interface Found {
  readonly pattern: string | undefined
  readonly isRoute: boolean
}

/** Where a router or a handler is mounted. */
interface Mount {
  readonly outer: Mount | undefined
  /** What the client sent for it. */
  readonly url: string
  readonly pattern: string
  readonly params: Params
  /** What was found before the request entered it. */
  readonly before: Found
  /** The pattern of the mount inside that the request left last. */
  left: string | undefined
}

const nothing: Found = { pattern: undefined, isRoute: false }

/** Follows one request through the routers, by the properties that they set on it. */
class Routing {
  private mount: Mount
  private found = nothing
  /** The paths of a route that was set, of which the one that was matched is set next. */
  private paths: ReadonlyArray<unknown> = []
  /** The path that a router has just matched. */
  private matched: unknown
  private readonly watched = new Set<symbol>()
  /** The parameters as they were found: the application can change them. */
  private params: Params | undefined

  constructor(private readonly request: Express) {
    let { baseUrl = "", route } = request
    this.mount = this.begin(baseUrl)
    this.routed(route)
    this.define(patternOf, { value: this.pattern })
    this.define("baseUrl", {
      enumerable: true,
      get: () => baseUrl,
      set: (to) => {
        baseUrl = to
        this.moved(typeof to === "string" ? to : "")
      }
    })
    this.define("route", {
      enumerable: true,
      get: () => route,
      set: (to) => {
        // It is set once more when its handlers are called.
        const isKnown = to === route && this.found.isRoute
        route = to
        if (!isKnown) this.routed(to)
      }
    })
    this.watchNew()
    const isDeclared = this.watched.size > 0
    for (const key of matchedKeys) this.watch(key)
    // That was before.
    this.matched = undefined
    if (isDeclared) return
    let { params } = request
    this.define("params", {
      enumerable: true,
      get: () => params,
      set: (to) => {
        params = to
        this.params = { ...to }
      }
    })
  }

  /** The pattern, as far as it is known. */
  readonly pattern = (): string | undefined => {
    const { found, mount, request } = this
    const status = request.res?.statusCode ?? 200
    if (found.isRoute || status < 400 || status === 404) return found.pattern
    // What passed an error on did not answer, but it is what the answer is about.
    const { before, left } = mount
    const failed = before.pattern?.startsWith(mount.pattern) === true ? before.pattern : undefined
    return left ?? failed ?? found.pattern
  }

  // A request that takes no properties has no pattern.
  private define(key: PropertyKey, property: PropertyDescriptor): void {
    Reflect.defineProperty(this.request, key, { configurable: true, ...property })
  }

  private find(found: Found): void {
    // What runs after the answer is not what answered.
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
      if (outer !== undefined) outer.left = left ?? pattern
      this.mount = outer ?? this.begin(url)
    }
  }

  // What is mounted above the router that this begins in is not known. A request of a test tool can have a `baseUrl` of
  // which nothing was taken from its `url`.
  private begin(url: string): Mount {
    const { originalUrl, params = {}, url: rest } = this.request
    const pattern = url === "" || rest === originalUrl ? "" : unknown
    return { outer: undefined, url, pattern, params, before: nothing, left: undefined }
  }

  private routed(route: unknown): void {
    const path: unknown = Reflect.get(Object(route), "path")
    const text = textOf(path)
    this.paths = [path].flat(Number.POSITIVE_INFINITY)
    this.find(text === undefined ? nothing : { pattern: this.below(text), isRoute: true })
  }

  private below(path: string): string {
    const { pattern } = this.mount
    return path === "/" && pattern !== "" ? pattern : `${pattern}${path}`
  }

  // A route is set before the path that it was matched by, and nothing is mounted under it.
  private match(path: unknown): void {
    const text = textOf(path)
    const isRoute = text !== undefined && this.paths.includes(path)
    if (isRoute) this.find({ pattern: this.below(text), isRoute })
    this.matched = isRoute || text === "/" || text === "" ? undefined : path
    this.paths = []
  }

  private watchNew(): void {
    for (const key of Object.getOwnPropertySymbols(this.request)) {
      if (key.description !== matchedDescription) continue
      matchedKeys.add(key)
      this.watch(key)
    }
  }

  private watch(key: symbol): void {
    if (this.watched.has(key)) return
    this.watched.add(key)
    let path = Reflect.get(this.request, key)
    this.match(path)
    this.define(key, {
      enumerable: true,
      get: () => path,
      set: (to) => {
        path = to
        this.match(to)
      }
    })
  }
}

/** In place of mounts that are not known. */
const unknown = "/*"

// What `router` 2.3 sets on a request: the path that it has matched. Each copy of it has a symbol of its own.
const matchedDescription = "router.tracing.matchedRoute"
const matchedKeys = new Set<symbol>()

// A path is a text, a regular expression, or a list of them.
const textOf = (path: unknown): string | undefined => (path === undefined || path === null ? undefined : String(path))

// Of a regular expression that is mounted, only what the client sent can be seen.
const mostSent = 500
const allSent = new Set<string>()

const sentPattern = (sent: string, params: Params, outer: Params): string => {
  const pattern = namedPattern(sent, params, outer)
  if (allSent.size < mostSent) allSent.add(pattern)
  return allSent.has(pattern) ? pattern : unknown
}

/** A part of a segment: what was sent, or the name of a parameter. */
interface Part {
  readonly text: string
  readonly isName: boolean
}

/**
 * The pattern of a mount, from what the client sent for it and the parameters that were found there. Those of the routers
 * further out can be among them, by `mergeParams`.
 */
const namedPattern = (sent: string, params: Params, outer: Params): string => {
  const segments = sent
    .split("/")
    .slice(1)
    .map((text): Array<Part> => [{ text: decoded(text), isName: false }])
  const names = Object.keys(params).filter((name) => params[name] !== undefined)
  for (const name of [...names].reverse()) {
    if (nameSegments(segments, name, params[name])) continue
    const isOuter = params[name] === outer[name]
    const holding = partsWith(segments, name, params[name])
    if (isOuter && holding.length === 0) continue
    // In doubt the names alone are a pattern as well.
    if (isOuter || !namePart(holding, name, params[name])) return names.map((other) => `/:${other}`).join("")
  }
  const textOfPart = ({ isName, text }: Part): string => (isName ? `:${text}` : text.toLowerCase())
  return segments.map((parts) => `/${parts.map(textOfPart).join("")}`).join("")
}

// Gives the name to the last segments that are all of the value. A wildcard has several.
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

// A parameter without a name is one of a regular expression, which can stand for anything.
const partsWith = (segments: Array<Array<Part>>, name: string, value: unknown): ReadonlyArray<Holding> => {
  if (typeof value !== "string" || value === "" || /^\d/.test(name)) return []
  return segments.flatMap((parts) =>
    parts.filter(({ isName, text }) => !isName && text.includes(value)).map((part) => ({ part, parts }))
  )
}

// Gives the name to what is the value in a segment that has more, if only one has it.
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

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
