/**
 * What a request of Node.js and its response say of themselves, and of their connection. Test tools, in-process calls and
 * serverless adapters bring objects that look like those and lack any part of them, so nothing is taken for granted here.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { OutgoingMessage } from "node:http"
import type { Http2ServerResponse, ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"
import { Writable } from "node:stream"

/** The stream of an HTTP/2 response, which looks like one of HTTP/1 but for its ends. */
export const streamOf = (response: ServerResponse | undefined): ServerHttp2Stream | undefined => {
  const stream = (response as unknown as Partial<Http2ServerResponse> | undefined)?.stream
  return typeof stream?.rstCode === "number" ? stream : undefined
}

/** A connection, or what is in its place. */
export type Connection = Partial<Socket> | null | undefined

/** Whether a response emits `finish` or `close` some time after its end. */
export const emitsItsEnd = (response: ServerResponse, connection: Connection): boolean => {
  if (response instanceof OutgoingMessage) return isConnected(response.socket ?? connection)
  return streamOf(response) !== undefined || (response as unknown) instanceof Writable
}

/**
 * Whether a connection emits its close. A socket that was destroyed does or has done so, one that never was connected does
 * not, nor does what is no stream.
 */
export const isConnected = (connection: Connection): boolean =>
  typeof connection?.on === "function" &&
  typeof connection.writableLength === "number" &&
  (connection.pending !== true || connection.destroyed === true)

// What a connection fails of where its other end is gone.
const lost: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED", "EHOSTUNREACH"])

// What Node.js itself answers in place of an application: a body that did not come in time, and one that is none.
const answered = (code: unknown): number | undefined => {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408
  return typeof code === "string" && code.startsWith("HPE_") ? 400 : undefined
}

/** The status of an answer that was cut: by the client, which closes or loses its connection, or else by the server. */
export const whyCut = (response: ServerResponse, connection: Connection): number => {
  const errored: (Error & { readonly code?: unknown }) | null | undefined = connection?.errored
  // An error that the response was destroyed with may be one of another connection.
  const code = errored === response.errored ? undefined : errored?.code
  // A body that ends too early is none for Node.js either.
  if (lost.has(code) || connection?.readableEnded === true) return 499
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
  const { complete, headers, push }: Partial<IncomingMessage> = request
  if (headers === undefined) return unknown
  const { "content-length": length, "transfer-encoding": encoding } = headers
  const stream = streamOf(response)
  const isOfNode = typeof complete === "boolean"
  if (length !== undefined) {
    const said = Number(length)
    if (!(said >= 0)) return unknown
    // Of a request of HTTP/2 that was cut it is said as well that it is complete.
    return (isWhole) => ((stream === undefined && isOfNode ? request.complete : isWhole) ? said : undefined)
  }
  if (stream === undefined ? isOfNode && encoding === undefined : stream.endAfterHeaders) return () => 0
  // Express gives the methods of a stream to what a test tool made as well.
  if (!("_readableState" in request) || request.readableDidRead || typeof push !== "function") return unknown
  let bytes = request.readableLength
  // Node.js hands what comes to `push`: to look there changes nothing in how it is read.
  request.push = function (chunk: unknown, ...rest) {
    bytes += sizeOf(chunk, rest[0])
    return push.call(this, chunk, ...rest)
  }
  return (isWhole) => ((isOfNode ? request.complete : isWhole) ? bytes : undefined)
}

const unknown = () => undefined

/** How many bytes are written with that chunk. */
export const sizeOf = (chunk: unknown, encoding: unknown): number => {
  if (chunk instanceof Uint8Array) return chunk.byteLength
  if (typeof chunk !== "string") return 0
  return Buffer.byteLength(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8")
}

/** The content type of an answer, without its parameters and in lower case, from what it was begun with. */
export const contentTypeOf = (
  response: ServerResponse,
  stream: ServerHttp2Stream | undefined,
  head: ReadonlyArray<unknown> | undefined
): string | undefined => {
  const type = headerOf("content-type", response, stream, head)
  return type === undefined ? undefined : String(type).split(";", 1)[0]?.trim().toLowerCase()
}

/** A header of an answer, from what it was begun with. */
export const headerOf = (
  name: string,
  response: ServerResponse,
  stream: ServerHttp2Stream | undefined,
  head: ReadonlyArray<unknown> | undefined
): unknown => headerIn(head, name) ?? stream?.sentHeaders?.[name] ?? response.getHeader?.(name)

// Headers that are given to `writeHead` as an object or as a list are sent and are not to be asked for later.
const headerIn = (head: ReadonlyArray<unknown> | undefined, wanted: string): unknown => {
  const headers = head?.slice(1).find((argument) => typeof argument === "object" && argument !== null)
  if (headers === undefined) return undefined
  const flat: ReadonlyArray<unknown> = Array.isArray(headers) ? headers.flat() : Object.entries(headers).flat()
  const at = flat.findIndex((name, index) => index % 2 === 0 && String(name).toLowerCase() === wanted)
  return at < 0 ? undefined : flat[at + 1]
}
