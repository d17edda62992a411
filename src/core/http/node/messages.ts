/** Reads Node.js messages and connections. Those of test tools and serverless adapters may lack any property. */
import { type IncomingMessage, OutgoingMessage, type ServerResponse } from "node:http"
import type { Http2ServerResponse, ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"
import { Writable } from "node:stream"
import { oncePerProcess } from "../../util/oncePerProcess.js"
import type { UrlScheme } from "../metrics.js"

/** The stream of an HTTP/2 response. Such a response looks like one of HTTP/1, but ends differently. */
export const streamOf = (response: ServerResponse | undefined): ServerHttp2Stream | undefined => {
  const stream = (response as unknown as Partial<Http2ServerResponse> | undefined)?.stream
  return typeof stream?.rstCode === "number" ? stream : undefined
}

/** A connection, or the object in its place. */
export type Connection = Partial<Socket> | null | undefined

/** The scheme of the connection itself. What a proxy in front of it says is not read: any client can say it. */
export const urlSchemeOf = (connection: Connection): UrlScheme =>
  (connection as { readonly encrypted?: unknown } | null | undefined)?.encrypted === true ? "https" : "http"

/** Whether a response emits `finish` or `close` some time after its end. */
export const emitsItsEnd = (response: ServerResponse, connection: Connection): boolean => {
  if (response instanceof OutgoingMessage) return isConnected(response.socket ?? connection)
  return streamOf(response) !== undefined || (response as unknown) instanceof Writable
}

/** Whether it emits `close`, or already has: not a socket that was never connected, nor an object in its place. */
export const isConnected = (connection: Connection): boolean =>
  typeof connection?.on === "function" &&
  typeof connection.writableLength === "number" &&
  (connection.pending !== true || connection.destroyed === true)

/** Whether a response has neither ended nor lost its connection. False: it may have. */
export const isOpen = (response: ServerResponse, connection: Connection): boolean =>
  response.socket === connection &&
  connection?.destroyed === false &&
  response.finished === false &&
  response.destroyed === false

export interface Emitting {
  on(event: "close", listener: () => void): unknown
}

/** What waits for the close of a connection. */
export interface Closing {
  closed(): void
}

/**
 * What waits for the close of one connection. Not a Set: a connection lives long, and each table that a Set has replaced
 * refers to the next one, which keeps every fourth request of the connection from being collected with the young objects.
 */
export class Waiting {
  private readonly all: Array<Closing> = []

  add(closing: Closing): void {
    this.all.push(closing)
  }

  remove(closing: Closing): void {
    const at = this.all.indexOf(closing)
    if (at >= 0) this.all.splice(at, 1)
  }

  readonly closed = (): void => {
    for (const each of [...this.all]) each.closed()
  }
}

const waitingKey = oncePerProcess("open requests", () => Symbol("effect-prometheus/open"))

/** Pipelined requests, and those after a switch of protocols: Node.js closes only the response whose turn it is. */
export const waitingOn = (connection: Emitting): Waiting => {
  const known = (connection as unknown as Readonly<Record<symbol, (() => Waiting) | undefined>>)[waitingKey]
  if (known !== undefined) return known()
  const all = new Waiting()
  // A function, because a proxy of the connection may wrap each object that it shows.
  Reflect.defineProperty(connection, waitingKey, { value: () => all, configurable: true, writable: true })
  connection.on("close", all.closed)
  return all
}

// The error codes of a connection whose other end is gone.
const lost: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED", "EHOSTUNREACH"])

// The status that Node.js itself sends for a request that did not arrive in time, or that is malformed.
const answered = (code: unknown): number | undefined => {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408
  return typeof code === "string" && code.startsWith("HPE_") ? 400 : undefined
}

/** The status of a response that was cut: by the client, which closed or lost its connection, or else by the server. */
export const whyCut = (response: ServerResponse, connection: Connection): number => {
  const errored: (Error & { readonly code?: unknown }) | null | undefined = connection?.errored
  // The response may have been destroyed with an error of another connection.
  const code = errored === response.errored ? undefined : errored?.code
  // A body that ends too early is malformed for Node.js as well.
  if (lost.has(code) || connection?.readableEnded === true) return 499
  return answered(code) ?? 500
}

/** The status in the head that was sent, which Node.js keeps as text. */
export const headStatus = (response: ServerResponse): number | undefined => {
  const { _header: head } = response as { readonly _header?: unknown }
  const [, status] = (typeof head === "string" ? /^HTTP\/1\.\d (\d{3}) /.exec(head) : null) ?? []
  return status === undefined ? undefined : Number(status)
}

/** What was received of a body without a declared length. */
interface Received {
  bytes: number
}

/**
 * The size of a request's body in bytes: declared, or counted while it arrives. Null if it has no body, and undefined if
 * its size is not known.
 */
export type RequestSize = number | Received | null | undefined

/** Called when the request arrives. `stream` is that of HTTP/2. */
export const requestSize = (request: IncomingMessage, stream: ServerHttp2Stream | undefined): RequestSize => {
  const { headers }: Partial<IncomingMessage> = request
  if (headers === undefined) return undefined
  const length = headers["content-length"]
  if (length !== undefined) {
    const said = Number(length)
    return said >= 0 ? said : undefined
  }
  const isBodiless =
    stream === undefined ? isOfNode(request) && headers["transfer-encoding"] === undefined : stream.endAfterHeaders
  return isBodiless ? null : counted(request)
}

const isOfNode = ({ complete }: Partial<IncomingMessage>): boolean => typeof complete === "boolean"

// Node.js passes received data to `push`. Observing it there does not change how the body is read.
const counted = (request: IncomingMessage): Received | undefined => {
  const { push }: Partial<IncomingMessage> = request
  // Express gives the methods of a stream to requests of test tools as well.
  if (!("_readableState" in request) || request.readableDidRead || typeof push !== "function") return undefined
  const received = { bytes: request.readableLength }
  request.push = function (chunk: unknown, ...rest) {
    received.bytes += sizeOf(chunk, rest[0])
    return push.call(this, chunk, ...rest)
  }
  return received
}

/** If the body was received whole: a client can declare any length and not send it. */
export const receivedBytes = (
  size: RequestSize,
  request: IncomingMessage,
  stream: ServerHttp2Stream | undefined,
  isWhole: boolean
): number | undefined => {
  if (size === undefined) return undefined
  if (size === null) return 0
  // An HTTP/2 request with a declared length is marked as complete even if it was cut.
  const isMarked = isOfNode(request) && (stream === undefined || typeof size === "object")
  if (!(isMarked ? request.complete : isWhole)) return undefined
  return typeof size === "object" ? size.bytes : size
}

/** The number of bytes that are written for a chunk. */
export const sizeOf = (chunk: unknown, encoding: unknown): number => {
  if (chunk instanceof Uint8Array) return chunk.byteLength
  if (typeof chunk !== "string") return 0
  return Buffer.byteLength(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8")
}

/** Without its parameters, in lower case. `head` has the arguments of `writeHead`. */
export const contentTypeOf = (
  response: ServerResponse,
  stream: ServerHttp2Stream | undefined,
  head: ReadonlyArray<unknown> | undefined
): string | undefined => {
  const type = headerOf("content-type", response, stream, head)
  return type === undefined ? undefined : String(type).split(";", 1)[0]?.trim().toLowerCase()
}

/** `head` has the arguments of `writeHead`. */
export const headerOf = (
  name: string,
  response: ServerResponse,
  stream: ServerHttp2Stream | undefined,
  head: ReadonlyArray<unknown> | undefined
): unknown => headerIn(head, name) ?? stream?.sentHeaders?.[name] ?? response.getHeader?.(name)

// Headers that are given to `writeHead` as an object or as a list are sent, but cannot be read from the response later.
const headerIn = (head: ReadonlyArray<unknown> | undefined, wanted: string): unknown => {
  const headers = head?.slice(1).find((argument) => typeof argument === "object" && argument !== null)
  if (headers === undefined) return undefined
  const flat: ReadonlyArray<unknown> = Array.isArray(headers) ? headers.flat() : Object.entries(headers).flat()
  const at = flat.findIndex((name, index) => index % 2 === 0 && String(name).toLowerCase() === wanted)
  return at < 0 ? undefined : flat[at + 1]
}
