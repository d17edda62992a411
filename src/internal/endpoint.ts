/**
 * One answer to one request, whoever asks: the library's own server, its worker, and each way to mount the metrics in
 * an application. It knows nothing of sockets.
 */
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import type { Format } from "./negotiation.js"
import { acceptsGzip, negotiate } from "./negotiation.js"

/** What of a request matters. */
export interface Question {
  readonly method: string
  /** As in the request line: a path with its query, or a whole URL. */
  readonly target: string
  readonly accept: string | undefined
  readonly acceptEncoding: string | undefined
}

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
}

/** What came of a scrape: an exposition, or the status and the sentence that tell why there is none. */
export type Scraped =
  | { readonly contentType: string; readonly body: Uint8Array; readonly done?: () => void }
  | { readonly status: 500 | 503; readonly message: string }

/** Where the metrics are, and how to get them. */
export interface Endpoint {
  /** Where the metrics are answered; every other path but `/` is 404. Undefined: whatever the path. */
  readonly path: string | undefined
  readonly compression: boolean
  readonly scrape: (ask: Ask) => Promise<Scraped>
}

// A smaller body fits the first packets as it is.
const worthCompressing = 1_024

const gzipped = promisify(gzip)

// By the body, so that those who share one share its compression.
const compressed = new WeakMap<Uint8Array, Promise<Uint8Array>>()

const compress = (body: Uint8Array): Promise<Uint8Array> => {
  const known = compressed.get(body) ?? gzipped(body)
  compressed.set(body, known)
  return known
}

/** Answers. It rejects only if the scrape does. */
export const answer = async (endpoint: Endpoint, question: Question): Promise<Answer> => {
  const url = parse(question.target)
  if (url === undefined) return plain(400, "Bad request\n")
  const isScrape = endpoint.path === undefined || url.pathname === endpoint.path
  if (!isScrape && url.pathname !== "/") return plain(404, "Not found\n")
  if (question.method !== "GET" && question.method !== "HEAD") {
    return plain(405, "Method not allowed\n", { allow: "GET, HEAD" })
  }
  if (!isScrape) return landingPage(endpoint.path)
  const names = url.searchParams.getAll("name[]")
  const scraped = await endpoint.scrape({
    format: negotiate(question.accept),
    names: names.length > 0 ? names : undefined
  })
  if ("status" in scraped) return plain(scraped.status, `${scraped.message}\n`)
  const headers = { "content-type": scraped.contentType, vary: "Accept, Accept-Encoding" }
  const compressing =
    endpoint.compression && scraped.body.byteLength >= worthCompressing && acceptsGzip(question.acceptEncoding)
  if (!compressing) return { ...withBody(200, headers, scraped.body), done: scraped.done }
  const body = await compress(scraped.body)
  scraped.done?.()
  return withBody(200, { ...headers, "content-encoding": "gzip" }, body)
}

const parse = (target: string): URL | undefined => {
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

// The same bytes whatever the registry's size: it is what health checks ask for.
const landingPage = (path: string | undefined): Answer => {
  const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Metrics</title></head>
<body><a href="${path ?? "/metrics"}">Metrics</a></body>
</html>
`
  return withBody(200, { "content-type": "text/html; charset=utf-8" }, encoder.encode(page))
}
