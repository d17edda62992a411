/** The route that Express found for a request, as a pattern. */
import type { IncomingMessage } from "node:http"

/**
 * The route of a request of Express (5, and 4), for `httpMetrics`: what it gives back tells the pattern of the route that
 * was found last, or `undefined` where there was none. It is called when the request arrives, before any router.
 *
 * The pattern is what the route was declared with (`/users/:id`), after where its router is mounted. Express knows of that
 * only what the client sent, so it is told in lower case, with the names of parameters in the place of what was sent for
 * them: a router under `/Shop/:tenant` is at `/shop/:tenant`, and nobody makes patterns up by other letters. Two things
 * it cannot know: what a regular expression stands for (there it is what was sent), and whether `shop` is the place or the
 * tenant where both are sent alike. A pattern stays when an error leaves the router.
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
  const known = express[tellOf]
  if (known !== undefined) return known
  let { baseUrl = "", route } = express
  let mounted: Mounted = { pattern: mountPattern(baseUrl, express.params), params: express.params }
  const places = new Map([[baseUrl, mounted]])
  let mount = mounted.pattern
  const tell = (): string | undefined => routePattern(mount, route)
  const moved = (to: unknown): void => {
    const from = baseUrl
    baseUrl = typeof to === "string" ? to : ""
    if (baseUrl === from) return
    // Express adds to it what has led into a router, and takes that away when it leaves it.
    const isInto = baseUrl.startsWith(from)
    const into = (): string =>
      `${mounted.pattern}${mountPattern(baseUrl.slice(from.length), express.params, mounted.params)}`
    const place = isInto ? undefined : places.get(baseUrl)
    mounted = place ?? { pattern: isInto ? into() : baseUrl.toLowerCase(), params: express.params }
    places.set(baseUrl, mounted)
  }
  const routed = (to: unknown): void => {
    route = to
    mount = mounted.pattern
  }
  Object.defineProperties(request, {
    [tellOf]: { value: tell },
    baseUrl: { configurable: true, enumerable: true, get: () => baseUrl, set: moved },
    route: { configurable: true, enumerable: true, get: () => route, set: routed }
  })
  return tell
}

const tellOf = Symbol("effect-prometheus/expressRoute")

type Params = Readonly<Record<string, unknown>>

/** Where a router is, and the parameters that led there. */
interface Mounted {
  readonly pattern: string
  readonly params: Params | undefined
}

/** What Express puts on a request, each only from some time on. */
interface Express extends IncomingMessage {
  readonly baseUrl?: string | undefined
  readonly params?: Params | undefined
  readonly route?: unknown
  readonly [tellOf]?: (() => string | undefined) | undefined
}

const routePattern = (mount: string, route: unknown): string | undefined => {
  const { path } = (route ?? {}) as { readonly path?: unknown }
  if (path === undefined) return undefined
  return path === "/" && mount !== "" ? mount : `${mount}${String(path)}`
}

/**
 * What a router is mounted under, from what the client sent for it and the parameters that were found there. Those of the
 * routers further out can be among them, by `mergeParams`.
 */
const mountPattern = (sent: string, params: Params = {}, outer: Params = {}): string => {
  const text = decoded(sent)
  const names = Object.keys(params)
  let pattern = ""
  let at = 0
  for (const name of names) {
    const value = textOf(params[name])
    const begin = value === undefined ? -1 : text.indexOf(value, at)
    if (value !== undefined && begin >= 0) {
      pattern += `${text.slice(at, begin).toLowerCase()}:${name}`
      at = begin + value.length
    } else if (params[name] !== outer[name]) {
      // The application has put something else in its place: the names alone are a pattern as well.
      return names.map((other) => `/:${other}`).join("")
    }
  }
  return `${pattern}${text.slice(at).toLowerCase()}`
}

// A wildcard is a list of segments.
const textOf = (value: unknown): string | undefined => {
  const parts: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
  return parts.every((part) => typeof part === "string") ? parts.join("/") : undefined
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
