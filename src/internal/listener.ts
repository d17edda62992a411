/** An endpoint as a listener for `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Answer, Endpoint, Refusal, Refused, Target } from "./endpoint.js"
import { answer } from "./endpoint.js"
import { leaveOut } from "./leftOut.js"
import { withBytes } from "./pace.js"
import type { Leaving } from "./sharedRender.js"

/** A server of the library's own: nobody else has a hand in what it answers. */
export interface OwnServer {
  /** Whether the connection of a request is to end with its answer. */
  readonly isClosing: (request: IncomingMessage) => boolean
  /** Why a request is not let in; `undefined` if each is. */
  readonly refusal: ((request: IncomingMessage, target: Target) => Refused) | undefined
}

/** Answers each request: those of an application, or of a server of our own. */
export const listener =
  (endpoint: Endpoint, server?: OwnServer) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    if (server === undefined) leaveOut(request)
    const refusal = server?.refusal
    const question = {
      method: request.method ?? "GET",
      target: request.url ?? "/",
      accept: request.headers.accept,
      acceptEncoding: header(request.headers["accept-encoding"]),
      scrapeTimeout: header(request.headers["x-prometheus-scrape-timeout-seconds"]),
      refusal: refusal === undefined ? undefined : (target: Target) => refusal(request, target),
      leaving: leavingOf(response)
    }
    const write = ({ status, headers, body, done }: Answer): void => {
      if (response.headersSent || response.destroyed) return
      // What an application has put around its responses may keep their bodies (a cache does).
      if (server !== undefined && done !== undefined) response.once("finish", done)
      response.writeHead(
        status,
        server === undefined ? headers : ownHeaders(headers, status, server.isClosing(request))
      )
      response.end(question.method === "HEAD" ? undefined : body)
    }
    // What can still go wrong, here or in what an application has put around the response, is nothing for it to fall for.
    answer(endpoint, question)
      .catch(() => failure)
      .then((made) => withBytes(made.body, () => write(made)))
      .catch(() => response.destroy())
  }

// Responses that only look like those of Node.js may have no events.
const leavingOf = (response: ServerResponse): Leaving => {
  const leaving: Leaving = { hasLeft: false, onLeave: undefined }
  response.once?.("close", () => {
    leaving.hasLeft = true
    leaving.onLeave?.()
  })
  return leaving
}

// A browser takes an answer for nothing but what it says it is. With a refusal the connection ends: another try costs as
// much as the first one.
const ownHeaders = (headers: Answer["headers"], status: number, isClosing: boolean): Answer["headers"] => ({
  ...headers,
  "x-content-type-options": "nosniff",
  ...(isClosing || refusals.has(status) ? { connection: "close" } : {})
})

const refusals: ReadonlySet<number> = new Set<Refusal["status"]>([400, 401, 403, 421, 429, 431])

const failure: Answer = { status: 500, headers: { "content-length": "0" }, body: new Uint8Array() }

const header = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "object" ? value.join(",") : value
