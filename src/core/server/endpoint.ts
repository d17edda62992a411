/** The response to one request, for every way of serving: own server, worker, mounted. It knows nothing of sockets. */
import type { Format } from "../exposition/formats.js"
import { negotiate } from "../exposition/negotiation.js"
import type { Cancellation } from "../exposition/renderRequest.js"
import type { Outcome, RequestEvent } from "../registry/scrapeRecorder.js"
import type { ScrapeError } from "../registry/selfMetrics.js"
import { now } from "../util/realTimers.js"
import { encodingFor } from "./compression.js"
import { frontPage } from "./frontPage.js"
import type { HandlerSettings } from "./handlerOptions.js"

export interface EndpointRequest {
  readonly method: string
  /** A path with its query, or a URL. */
  readonly target: string
  readonly accept: string | undefined
  readonly acceptEncoding: string | undefined
  /** `X-Prometheus-Scrape-Timeout-Seconds`. */
  readonly scrapeTimeout: string | undefined
  /** Undefined: every request is authorized. */
  readonly authorize?: ((resource: Resource) => AuthorizationResult) | undefined
  /** A scrape ends when its client has left. */
  readonly cancellation?: Cancellation | undefined
}

export type Resource = "metrics" | "health" | "nothing"

/** For a request that is malformed or not authorized. */
export interface Rejection {
  readonly status: 400 | 401 | 403 | 421 | 429 | 431
  readonly message: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** `undefined` for an authorized request. */
export type AuthorizationResult = Rejection | undefined | Promise<Rejection | undefined>

/** `content-length` is that of the body, also where a HEAD leaves it out. */
export interface EndpointResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** Called once the body is not needed any more, so that its memory can be used again. */
  readonly done?: (() => void) | undefined
}

export interface ScrapeRequest {
  readonly format: Format
  /** Undefined: all. */
  readonly names: ReadonlyArray<string> | undefined
  /** In milliseconds. */
  readonly timeout: number
  /** The time limit is shorter than a metric may need: a metric that misses it has not failed. */
  readonly hasShortDeadline: boolean
}

export type ScrapeResult = Exposition | ScrapeErrorResponse

export interface Exposition {
  readonly contentType: string
  readonly body: Uint8Array
  readonly done?: () => void
}

export interface ScrapeErrorResponse {
  readonly status: 499 | 500 | 503
  readonly cause: ScrapeError
  readonly message: string
}

/** The client has left before the response was ready. No response is sent. */
export const clientClosed: ScrapeErrorResponse = {
  status: 499,
  cause: "client_closed",
  message: "the client has closed its connection"
}

export interface Endpoint extends Pick<HandlerSettings, "compression" | "scrapeTimeout" | "maxScrapesInFlight"> {
  /** Every other path but `/` is 404. Undefined: every path. */
  readonly path: string | undefined
  readonly explorer: boolean
  readonly load: { scrapes: number }
  readonly scrape: (request: ScrapeRequest, cancellation?: Cancellation) => Promise<ScrapeResult>
  readonly onEvent: (event: RequestEvent) => void
}

// A smaller body fits into the first packets without compression.
const worthCompressing = 1_024

/** Rejects only if the scrape does. */
export const respond = async (endpoint: Endpoint, request: EndpointRequest): Promise<EndpointResponse> => {
  const url = parse(request.target)
  const resource = url === undefined ? "nothing" : resourceAt(endpoint, url)
  const rejection = await request.authorize?.(resource)
  if (rejection !== undefined) {
    if (resource === "metrics") endpoint.onEvent({ tag: "Rejected", status: rejection.status, cause: undefined })
    return plain(rejection.status, `${rejection.message}\n`, rejection.headers)
  }
  if (url === undefined) return plain(400, "Bad request\n")
  if (resource === "nothing") return plain(404, "Not found\n")
  if (request.method !== "GET" && request.method !== "HEAD") {
    return plain(405, "Method not allowed\n", { allow: "GET, HEAD" })
  }
  if (resource === "metrics") return withinLimits(endpoint, request, url)
  const { headers, body } = await frontPage(endpoint, request.accept)
  return encoded(endpoint, request, headers, body)
}

const resourceAt = ({ path }: Endpoint, { pathname }: URL): Resource => {
  if (path === undefined || pathname === path) return "metrics"
  return pathname === "/" ? "health" : "nothing"
}

const withinLimits = async (endpoint: Endpoint, request: EndpointRequest, url: URL): Promise<EndpointResponse> => {
  const { load, maxScrapesInFlight, onEvent } = endpoint
  if (load.scrapes >= maxScrapesInFlight) {
    onEvent({ tag: "Rejected", status: 503, cause: "in_flight" })
    return plain(503, `${load.scrapes} scrapes are already in flight (maxScrapesInFlight)\n`, { "retry-after": "1" })
  }
  const began = now()
  load.scrapes += 1
  onEvent({ tag: "Began" })
  let outcome: Outcome = { status: 500, cause: "registry", bytes: 0 }
  try {
    const result = unlessCancelled(
      await endpoint.scrape(scrapeRequest(endpoint, request, url), request.cancellation),
      request
    )
    if ("status" in result) {
      outcome = { status: result.status, cause: result.cause, bytes: 0 }
      return plain(result.status, `${result.message}\n`)
    }
    const { body, contentType, done } = result
    const headers = { "content-type": contentType, vary: "Accept, Accept-Encoding" }
    const response = await encoded(endpoint, request, headers, body, done)
    outcome = { status: 200, cause: undefined, bytes: request.method === "HEAD" ? 0 : response.body.byteLength }
    return response
  } finally {
    load.scrapes -= 1
    onEvent({ tag: "Ended", ...outcome, seconds: (now() - began) / 1e3 })
  }
}

// For a client that has left nothing is compressed.
const unlessCancelled = (result: ScrapeResult, { cancellation }: EndpointRequest): ScrapeResult => {
  if (!cancellation?.isCancelled || "status" in result) return result
  result.done?.()
  return clientClosed
}

const scrapeRequest = (endpoint: Endpoint, request: EndpointRequest, url: URL): ScrapeRequest => {
  const timeout = timeoutOf(endpoint, request)
  return {
    format: negotiate(request.accept),
    names: namesOf(url),
    timeout,
    hasShortDeadline: timeout < Math.min(enough, endpoint.scrapeTimeout)
  }
}

// Every metric should respond within this time, in milliseconds, unless `scrapeTimeout` is shorter.
const enough = 1_000

const namesOf = ({ searchParams }: URL): ReadonlyArray<string> | undefined => {
  const names = [...new Set(searchParams.getAll("name[]"))]
  return names.length > 0 ? names : undefined
}

// The time for the response to reach Prometheus, in milliseconds.
const margin = 500

// Prometheus sends its timeout in seconds, as a decimal number.
const timeoutOf = ({ scrapeTimeout }: Endpoint, request: EndpointRequest): number => {
  const theirs = Number(request.scrapeTimeout ?? Number.NaN) * 1e3
  return theirs > 0 ? Math.min(scrapeTimeout, Math.max(theirs - margin, theirs / 2)) : scrapeTimeout
}

const encoded = async (
  { compression }: Endpoint,
  { acceptEncoding }: EndpointRequest,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  done?: () => void
): Promise<EndpointResponse> => {
  const encoding = compression && body.byteLength >= worthCompressing ? encodingFor(acceptEncoding) : undefined
  if (encoding === undefined) return { ...withBody(200, headers, body), done }
  const compressed = await encoding.compress(body)
  done?.()
  return withBody(200, { ...headers, "content-encoding": encoding.names[0] }, compressed)
}

// The longest host name has 253 letters; a user, a password and a port may be around it.
const longestAuthority = 1_024

// Parsing a host name with non-ASCII letters takes the square of its length, and every client can send one.
const hasLongAuthority = (target: string): boolean =>
  !target.startsWith("/") &&
  (/^(?:[a-z][a-z\d+.-]*:)?[/\\]*([^/\\?#]*)/i.exec(target)?.[1]?.length ?? 0) > longestAuthority

const parse = (target: string): URL | undefined => {
  if (hasLongAuthority(target)) return undefined
  try {
    // Otherwise two slashes at its beginning would begin a host.
    return new URL(target.startsWith("/") ? `http://localhost${target}` : target, "http://localhost")
  } catch {
    return undefined
  }
}

const encoder = new TextEncoder()

const withBody = (status: number, headers: Readonly<Record<string, string>>, body: Uint8Array): EndpointResponse => ({
  status,
  headers: { ...headers, "content-length": String(body.byteLength) },
  body
})

const plain = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): EndpointResponse =>
  withBody(status, { "content-type": "text/plain; charset=utf-8", ...headers }, encoder.encode(text))
