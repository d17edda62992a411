/** What a request of Node.js and its response say of themselves, and of their connection. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerResponse, ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"

/** The stream of an HTTP/2 response, which looks like one of HTTP/1 but for its ends. */
export const streamOf = (response: ServerResponse | undefined): ServerHttp2Stream | undefined =>
  (response as unknown as Partial<Http2ServerResponse> | undefined)?.stream

// What a connection fails of where its other end is gone.
const lost: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED", "EHOSTUNREACH"])

// What Node.js itself answers in place of an application: a body that did not come in time, and one that is none.
const answered = (code: unknown): number | undefined => {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408
  return typeof code === "string" && code.startsWith("HPE_") ? 400 : undefined
}

/** The status of an answer that was cut: by the client, which closes or loses its connection, or else by the server. */
export const whyCut = (response: ServerResponse, socket: Socket): number => {
  const { errored } = socket
  // An error that the response was destroyed with may be one of another connection.
  const code = errored === null || errored === response.errored ? undefined : Reflect.get(errored, "code")
  // A body that ends too early is none for Node.js either.
  if (lost.has(code) || socket.readableEnded) return 499
  return answered(code) ?? 500
}

/**
 * How large the request's body is: as it says, or as what has come, once it has come whole. Anybody can say anything of a
 * body that never comes.
 */
export const bytesOfRequest = (
  request: IncomingMessage,
  response: ServerResponse | undefined
): ((isWhole: boolean) => number | undefined) => {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers
  const stream = streamOf(response)
  if (length !== undefined) {
    // Of a request of HTTP/2 that was cut it is said as well that it is complete.
    return (isWhole) => ((stream === undefined ? request.complete : isWhole) ? Number(length) : undefined)
  }
  if (stream === undefined ? encoding === undefined : stream.endAfterHeaders) return () => 0
  if (request.readableDidRead) return () => undefined
  let bytes = request.readableLength
  // Node.js hands what comes to `push`: to look there changes nothing in how it is read.
  const { push } = request
  request.push = function (chunk: unknown, ...rest) {
    bytes += sizeOf(chunk, rest[0])
    return push.call(this, chunk, ...rest)
  }
  return () => (request.complete ? bytes : undefined)
}

/** How many bytes are written with that chunk. */
export const sizeOf = (chunk: unknown, encoding: unknown): number => {
  if (chunk instanceof Uint8Array) return chunk.byteLength
  if (typeof chunk !== "string") return 0
  return Buffer.byteLength(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8")
}
