/**
 * What a request of `@effect/platform` shows of the request and the response behind it: of Node.js, or of the web.
 *
 * This file depends on internals of Effect, and was tested with @effect/platform 0.97 and @effect/platform-node 0.108:
 * the property `response` of a request of Node.js, and the function by which a web handler returns its response. Without
 * the former, a closed connection is noticed when the app is interrupted, and always has the status 499. Without the
 * latter, the status is that of the response from which the web response is made.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import { bytesOfRequest, openOn, streamOf, whyCut } from "../../core/http/node/messages.js"

// If the client requests an upgrade, the response is created when it is needed.
interface NodeRequest {
  readonly source: IncomingMessage
  readonly response: ServerResponse | (() => ServerResponse)
}

// The status that Node.js has sent, including later changes.
export const writtenStatus = (request: HttpServerRequest): number | undefined => {
  const { response } = request as Partial<NodeRequest>
  return typeof response === "object" && response?.headersSent ? response.statusCode : undefined
}

/** The size of the request body in bytes at the end of the exchange, if it is known. */
export const requestBytes = (request: HttpServerRequest): ((status: number) => number | undefined) => {
  const { response, source } = request as Partial<NodeRequest>
  if (typeof source?.push === "function" && typeof source.headers === "object") {
    const bytes = bytesOfRequest(source, typeof response === "object" ? response : undefined)
    return (status) => bytes(status !== 499)
  }
  const { headers } = request
  const declared = headers["content-length"]
  if (declared !== undefined) return () => contentLength(declared)
  const isNone = request.source instanceof Request && request.source.body === null
  return () => (isNone ? 0 : undefined)
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

const resolveKey = Symbol.for("@effect/platform/HttpApp/resolve")

/** The status that a web handler sends can differ from that of the response from which it was made. */
export const onSent = (request: HttpServerRequest, sent: (response: Response) => void): void => {
  const resolving = request as { [resolveKey]?: (response: Response) => void }
  const resolve = resolving[resolveKey]
  if (resolve === undefined) return
  resolving[resolveKey] = (response) => {
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

/** The connection or the signal of a request aborts it before its response is complete. */
export const onCut = (request: HttpServerRequest, cut: () => void): (() => void) => {
  if (request.source instanceof Request) {
    const { signal } = request.source
    signal.addEventListener("abort", cut, { once: true })
    return () => signal.removeEventListener("abort", cut)
  }
  const { response, source } = request as Partial<NodeRequest>
  if (typeof response !== "object" || response === null) return () => {}
  const closed = (): void => {
    if (response.writableFinished === false) cut()
  }
  // Node.js also emits `finish` for a response that could not be written.
  response.once?.("finish", () => {
    if (source?.socket?.errored) cut()
  })
  // An HTTP/2 stream closes separately from its connection, and its socket is not that of the connection.
  const closing = source?.httpVersionMajor === 1 ? source.socket : response
  if (typeof closing?.on !== "function") return () => {}
  const open = openOn(closing)
  const own = { closed }
  open.add(own)
  return () => void open.delete(own)
}

export const contentLength = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
