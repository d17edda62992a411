/**
 * One answer to one request, whoever asks: the library's own server, its worker, and each way to mount the metrics in
 * an application. It knows nothing of sockets.
 */
import { compress } from "./compression.js"
import { frontPage } from "./frontPage.js"
import type { Format } from "./negotiation.js"
import { acceptsGzip, negotiate } from "./negotiation.js"
import type { Outcome, RequestEvent, ScrapeError } from "./selfMetrics.js"
import type { Serving } from "./serving.js"
import type { Leaving } from "./sharedRender.js"
import { now } from "./timer.js"

/** What of a request matters. */
export interface Question {
  readonly method: string
  /** As in the request line: a path with its query, or a whole URL. */
  readonly target: string
  readonly accept: string | undefined
  readonly acceptEncoding: string | undefined
  /** `X-Prometheus-Scrape-Timeout-Seconds`: how long Prometheus waits. */
  readonly scrapeTimeout: string | undefined
  /** Why whoever asks is not let in, by a server that lets in not everybody. */
  readonly refusal?: ((target: Target) => Refused) | undefined
  /** Says when who asked has left: a scrape that is not needed any more ends. */
  readonly leaving?: Leaving | undefined
}

/** What is asked for: the metrics, the page for health checks, or nothing that there is. */
export type Target = "metrics" | "health" | "nothing"

/** An answer to somebody who is not let in. */
export interface Refusal {
  readonly status: 400 | 401 | 403 | 421 | 429 | 431
  readonly message: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** That answer, now or later; none for who is let in. */
export type Refused = Refusal | undefined | Promise<Refusal | undefined>

/** An answer, ready to be written. `content-length` is that of the body, also where a HEAD leaves it out. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** To be called once the body is not needed any more. Where nobody calls it, its memory is not used again. */
  readonly done?: (() => void) | undefined
}

/** What a scrape asks of the registry. */
export interface Ask {
  readonly format: Format
  /** Only these families; all if undefined. */
  readonly names: ReadonlyArray<string> | undefined
  /** How long it may take, in milliseconds. */
  readonly timeout: number
  /** Whether that is less than any metric should need: one that has not answered by then is not to blame. */
  readonly isHurried: boolean
}

/** What came of a scrape: an exposition, or the status and the sentence that tell why there is none. */
export type Scraped = Exposition | NotScraped

/** An exposition, ready to be sent. */
export interface Exposition {
  readonly contentType: string
  readonly body: Uint8Array
  readonly done?: () => void
}

/** Why there is no exposition. */
export interface NotScraped {
  readonly status: 499 | 500 | 503
  readonly cause: ScrapeError
  readonly message: string
}

/** The client has closed its connection before the answer was ready: there is none to send. */
export const clientClosed: NotScraped = {
  status: 499,
  cause: "client_closed",
  message: "the client has closed its connection"
}

/** Where the metrics are, and how to get them. */
export interface Endpoint extends Pick<Serving, "compression" | "scrapeTimeout" | "maxScrapesInFlight"> {
  /** Where the metrics are answered; every other path but `/` is 404. Undefined: whatever the path. */
  readonly path: string | undefined
  /** Whether browsers get the explorer on `/`. */
  readonly explorer: boolean
  /** How many there are now. */
  readonly load: { scrapes: number }
  readonly scrape: (ask: Ask, leaving?: Leaving) => Promise<Scraped>
  /** Is told of every request for the metrics. */
  readonly tell: (event: RequestEvent) => void
}

// A smaller body fits the first packets as it is.
const worthCompressing = 1_024

/** Answers. It rejects only if the scrape does. */
export const answer = async (endpoint: Endpoint, question: Question): Promise<Answer> => {
  const url = parse(question.target)
  const target = url === undefined ? "nothing" : targetOf(endpoint, url)
  const refusal = await question.refusal?.(target)
  if (refusal !== undefined) {
    if (target === "metrics") endpoint.tell({ tag: "Refused", status: refusal.status, cause: undefined })
    return plain(refusal.status, `${refusal.message}\n`, refusal.headers)
  }
  if (url === undefined) return plain(400, "Bad request\n")
  if (target === "nothing") return plain(404, "Not found\n")
  if (question.method !== "GET" && question.method !== "HEAD") {
    return plain(405, "Method not allowed\n", { allow: "GET, HEAD" })
  }
  if (target === "metrics") return withinLimits(endpoint, question, url)
  const { headers, body } = await frontPage(endpoint, question.accept)
  return encoded(endpoint, question, headers, body)
}

const targetOf = ({ path }: Endpoint, { pathname }: URL): Target => {
  if (path === undefined || pathname === path) return "metrics"
  return pathname === "/" ? "health" : "nothing"
}

const withinLimits = async (endpoint: Endpoint, question: Question, url: URL): Promise<Answer> => {
  const { load, maxScrapesInFlight, tell } = endpoint
  if (load.scrapes >= maxScrapesInFlight) {
    tell({ tag: "Refused", status: 503, cause: "in_flight" })
    return plain(503, `${load.scrapes} scrapes are in flight already\n`, { "retry-after": "1" })
  }
  const began = now()
  load.scrapes += 1
  tell({ tag: "Began" })
  let outcome: Outcome = { status: 500, cause: "registry", bytes: 0 }
  try {
    const timeout = timeoutOf(endpoint, question)
    const isHurried = timeout < Math.min(enough, endpoint.scrapeTimeout)
    const ask = { format: negotiate(question.accept), names: namesOf(url), timeout, isHurried }
    const scraped = stillWanted(await endpoint.scrape(ask, question.leaving), question)
    if ("status" in scraped) {
      outcome = { status: scraped.status, cause: scraped.cause, bytes: 0 }
      return plain(scraped.status, `${scraped.message}\n`)
    }
    const { body, contentType, done } = scraped
    const headers = { "content-type": contentType, vary: "Accept, Accept-Encoding" }
    const exposition = await encoded(endpoint, question, headers, body, done)
    outcome = { status: 200, cause: undefined, bytes: question.method === "HEAD" ? 0 : exposition.body.byteLength }
    return exposition
  } finally {
    load.scrapes -= 1
    tell({ tag: "Ended", ...outcome, seconds: (now() - began) / 1e3 })
  }
}

// What is not compressed for a client that has left.
const stillWanted = (scraped: Scraped, { leaving }: Question): Scraped => {
  if (!leaving?.hasLeft || "status" in scraped) return scraped
  scraped.done?.()
  return clientClosed
}

// So long any metric should have to answer, unless the limit is shorter, in milliseconds.
const enough = 1_000

// Each name once.
const namesOf = ({ searchParams }: URL): ReadonlyArray<string> | undefined => {
  const names = [...new Set(searchParams.getAll("name[]"))]
  return names.length > 0 ? names : undefined
}

// What is left for the answer to reach Prometheus, in milliseconds.
const margin = 500

// Prometheus sends its timeout in seconds, as a decimal number.
const timeoutOf = ({ scrapeTimeout }: Endpoint, question: Question): number => {
  const theirs = Number(question.scrapeTimeout ?? Number.NaN) * 1e3
  return theirs > 0 ? Math.min(scrapeTimeout, Math.max(theirs - margin, theirs / 2)) : scrapeTimeout
}

const encoded = async (
  { compression }: Endpoint,
  { acceptEncoding }: Question,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  done?: () => void
): Promise<Answer> => {
  const compressing = compression && body.byteLength >= worthCompressing && acceptsGzip(acceptEncoding)
  if (!compressing) return { ...withBody(200, headers, body), done }
  const zipped = await compress(body)
  done?.()
  return withBody(200, { ...headers, "content-encoding": "gzip" }, zipped)
}

// The longest name has 253 letters, and a user, a password and a port may be around it.
const longestAuthority = 1_024

// To read the name of a host takes the square of its length where it has letters of all languages, and everybody may send
// one.
const hasLongAuthority = (target: string): boolean =>
  !target.startsWith("/") &&
  (/^(?:[a-z][a-z\d+.-]*:)?[/\\]*([^/\\?#]*)/i.exec(target)?.[1]?.length ?? 0) > longestAuthority

const parse = (target: string): URL | undefined => {
  if (hasLongAuthority(target)) return undefined
  try {
    // A path that begins with two slashes is not the name of a host here.
    return new URL(target.startsWith("/") ? `http://localhost${target}` : target, "http://localhost")
  } catch {
    return undefined
  }
}

const encoder = new TextEncoder()

const withBody = (status: number, headers: Readonly<Record<string, string>>, body: Uint8Array): Answer => ({
  status,
  headers: { ...headers, "content-length": String(body.byteLength) },
  body
})

const plain = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer =>
  withBody(status, { "content-type": "text/plain; charset=utf-8", ...headers }, encoder.encode(text))
