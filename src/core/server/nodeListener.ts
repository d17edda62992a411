/** An endpoint as a listener for `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Cancellation } from "../exposition/renderRequest.js"
import { leaveOut } from "../http/scrapeMarker.js"
import { withBytes } from "../util/eventLoopSlices.js"
import type { AuthorizationResult, Endpoint, EndpointResponse, Rejection, Resource } from "./endpoint.js"
import { respond } from "./endpoint.js"
import type { ResponseHeaders } from "./responseHeaders.js"

/** No code of an application changes the responses of such a server. */
export interface OwnServer {
  readonly headers: ResponseHeaders
  /** Whether its connection ends with its response. */
  readonly isClosing: (request: IncomingMessage) => boolean
  /** Undefined: every request is authorized. */
  readonly authorize: ((request: IncomingMessage, resource: Resource) => AuthorizationResult) | undefined
}

export const listener =
  (endpoint: Endpoint, server?: OwnServer) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    if (server === undefined) leaveOut(request)
    const authorize = server?.authorize
    const endpointRequest = {
      method: request.method ?? "GET",
      target: request.url ?? "/",
      accept: request.headers.accept,
      acceptEncoding: header(request.headers["accept-encoding"]),
      scrapeTimeout: header(request.headers["x-prometheus-scrape-timeout-seconds"]),
      authorize: authorize === undefined ? undefined : (resource: Resource) => authorize(request, resource),
      cancellation: cancellationOf(response)
    }
    const write = ({ status, headers, body, done }: EndpointResponse): void => {
      if (response.headersSent || response.destroyed) return
      // Middleware of an application, such as a cache, may hold on to the body.
      if (server !== undefined && done !== undefined) response.once("finish", done)
      response.writeHead(
        status,
        server === undefined ? headers : { ...headers, ...ownHeaders(server, request, status) }
      )
      response.end(endpointRequest.method === "HEAD" ? undefined : body)
    }
    // An error here, or in middleware around the response, must not reach the application.
    respond(endpoint, endpointRequest)
      .catch(() => failure)
      .then((result) => withBytes(result.body, () => write(result)))
      .catch(() => response.destroy())
  }

// Objects that only resemble responses of Node.js may have no events.
const cancellationOf = (response: ServerResponse): Cancellation => {
  const cancellation = new Cancellation(response.closed === true)
  response.once?.("close", () => cancellation.cancel())
  return cancellation
}

// A rejection ends the connection, so that another attempt costs the client as much as the first.
const ownHeaders = ({ headers, isClosing }: OwnServer, request: IncomingMessage, status: number) =>
  isClosing(request) || rejections.has(status) ? headers.last : headers.each

const rejections: ReadonlySet<number> = new Set<Rejection["status"]>([400, 401, 403, 421, 429, 431])

const failure: EndpointResponse = { status: 500, headers: { "content-length": "0" }, body: new Uint8Array() }

const header = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "object" ? value.join(",") : value
