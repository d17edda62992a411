/**
 * What a request shows of the request and the response behind it: of Node.js, or of the web.
 *
 * This file depends on internals of Effect, and was tested with @effect/platform 0.97, @effect/platform-node 0.108, and
 * effect and @effect/platform-node 4.1:
 * the property `response` of a request of Node.js, the function by which a web handler returns its response, and the
 * mark of a request whose response was written. Without the first, a closed connection is noticed when the app is
 * interrupted, and always has the status 499. Without the second, the status is that of the response from which the web
 * response is made. Without the third, a request ends when its scope is closed.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { type HttpServerRequest, handledKey, resolveKey } from "../../compat/http/platform.js"
import type { UrlScheme } from "../../core/http/metrics.js"
import type { Closing, RequestSize, Waiting } from "../../core/http/node/messages.js"
import { receivedBytes, requestSize, streamOf, urlSchemeOf, waitingOn, whyCut } from "../../core/http/node/messages.js"

// If the client requests an upgrade, the response is created when it is needed.
interface NodeRequest {
  readonly source: IncomingMessage
  readonly response: ServerResponse | (() => ServerResponse)
}

/** Of HTTP/1, unless it is created only when it is needed. */
export const nodeResponseOf = (request: HttpServerRequest): ServerResponse | undefined => {
  const { response, source } = request as Partial<NodeRequest>
  return typeof response === "object" && source?.httpVersionMajor === 1 ? response : undefined
}

/** Of the connection, or of the URL of a web request. */
export const urlScheme = ({ source }: HttpServerRequest): UrlScheme => {
  if (source instanceof Request) return source.url.startsWith("https:") ? "https" : "http"
  return urlSchemeOf((source as Partial<IncomingMessage> | undefined)?.socket)
}

// The status that Node.js has sent, including later changes.
export const writtenStatus = (request: HttpServerRequest): number | undefined => {
  const { response } = request as Partial<NodeRequest>
  return typeof response === "object" && response?.headersSent ? response.statusCode : undefined
}

/** The size of the request body, as far as it is known when the request arrives. */
export const arrivingSize = (request: HttpServerRequest): RequestSize => {
  const { source } = request as Partial<NodeRequest>
  if (isOfNode(source)) return requestSize(source, streamIn(request))
  const declared = request.headers["content-length"]
  if (declared !== undefined) return contentLength(declared)
  return request.source instanceof Request && request.source.body === null ? null : undefined
}

/** In bytes at the end of the exchange, if it is known. */
export const arrivedBytes = (size: RequestSize, request: HttpServerRequest, status: number): number | undefined => {
  const { source } = request as Partial<NodeRequest>
  if (isOfNode(source)) return receivedBytes(size, source, streamIn(request), status !== 499)
  if (size === null) return 0
  return typeof size === "number" ? size : undefined
}

const isOfNode = (source: IncomingMessage | undefined): source is IncomingMessage =>
  typeof source?.push === "function" && typeof source.headers === "object"

const streamIn = (request: HttpServerRequest): ReturnType<typeof streamOf> => {
  const { response } = request as Partial<NodeRequest>
  return typeof response === "object" ? streamOf(response) : undefined
}

/** The server itself may have closed the connection. */
export const cutStatus = (request: HttpServerRequest): number => {
  const { response, source } = request as Partial<NodeRequest>
  if (typeof response !== "object") return 499
  if (source?.httpVersionMajor !== 1) return streamOf(response)?.rstCode === internalError ? 500 : 499
  const status = whyCut(response, source.socket)
  return status === 500 && !isBroken(response, source.socket) ? 503 : status
}

// NGHTTP2_INTERNAL_ERROR: Node.js resets a stream with this code if its body has failed.
const internalError = 2

// A body that fails, and is not a stream of Effect, destroys the response and its connection with the error. A body
// that is interrupted aborts them.
const isBroken = ({ errored }: ServerResponse, socket: Socket): boolean =>
  errored instanceof Error && errored === socket.errored && errored.name !== "AbortError"

/** The status that a web handler sends can differ from that of the response from which it was made. */
export const onSent = (request: HttpServerRequest, sent: (response: Response) => void): void => {
  const resolving = request as { [resolveKey]?: (response: Response) => void }
  const resolve = resolving[resolveKey]
  if (resolve === undefined) return
  resolving[resolveKey] = (response) => {
    resolving[resolveKey] = resolve
    sent(response)
    resolve(response)
  }
}

// Newer versions of Node.js call back the writer on a failed connection before they emit its close.
export const isLost = (request: HttpServerRequest): boolean => {
  const { response, source } = request as Partial<NodeRequest>
  if (source?.httpVersionMajor !== 1 || typeof response !== "object") return false
  return Boolean(source.socket?.errored) || (source.socket?.destroyed === true && !response.writableFinished)
}

/**
 * Awaits that the connection or the signal of a request is closed. `closing.closed` is called then, also after a complete
 * response, or at once if it has already closed. Returns that from which `closing` is to be removed at its end.
 */
export const awaitClose = (request: HttpServerRequest, isStream: boolean, closing: Closing): Waiting | undefined => {
  if (request.source instanceof Request) {
    const { signal } = request.source
    if (signal.aborted) closing.closed()
    // Whatever is not streamed is handed over at once.
    else if (isStream) signal.addEventListener("abort", () => closing.closed(), { once: true })
    return undefined
  }
  const { response, source } = request as Partial<NodeRequest>
  if (typeof response !== "object" || response === null) return undefined
  // An HTTP/2 stream closes separately from its connection, and its socket is not that of the connection.
  const connection = source?.httpVersionMajor === 1 ? source.socket : response
  if (typeof connection?.on !== "function") return undefined
  if (connection.closed === true) {
    closing.closed()
    return undefined
  }
  const waiting = waitingOn(connection)
  waiting.add(closing)
  return waiting
}

/** Whether the response was not completely handed to the operating system. A web response is cut by its signal alone. */
export const isUnfinished = (request: HttpServerRequest): boolean => {
  const { response } = request as Partial<NodeRequest>
  return typeof response !== "object" || response.writableFinished === false
}

/** Whether the server has written a response. It hands over the body of a web response that is a stream earlier. */
export const isHandled = (request: HttpServerRequest): boolean =>
  (request as { readonly [handledKey]?: unknown })[handledKey] === true

export const contentLength = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
