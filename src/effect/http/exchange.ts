/** One request of `@effect/platform` and its answer, measured until the answer is whole or cut. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { bytesOfRequest, streamOf, whyCut } from "./httpNode.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>
type AnyExit = Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>

/** What became of an exchange. */
export interface Outcome {
  readonly status: number
  readonly response: HttpServerResponse.HttpServerResponse
  readonly responseBytes: number | undefined
  readonly exit: AnyExit
}

/** Follows one answer from the app that makes it to its last byte. */
export class Answer {
  private exit: AnyExit | undefined
  // The answer as it was last seen on its way out.
  private response: HttpServerResponse.HttpServerResponse | undefined
  // How often an answer was about to be written. There is a second one only after the first has failed.
  private written = 0
  private streamed: { readonly status: number | undefined } | undefined
  private bytes: number | undefined
  private broke: Cause.Cause<unknown> | undefined
  // The status of what a web handler gave back, which is known before its scope closes.
  private sent: number | undefined
  private scopeIsOpen = false
  private isOver = false
  private isGone = false
  private isCut = false
  private readonly forget: () => void

  constructor(
    private readonly request: HttpServerRequest,
    private readonly fiber: AnyFiber,
    private readonly isUpgraded: () => boolean,
    private readonly ended: (outcome: Outcome) => void,
    private readonly released: () => void
  ) {
    this.forget = onCut(request, () => {
      this.isGone = true
      if (this.written > 0) this.cut()
    })
    onSent(request, ({ status }) => {
      this.sent = status
    })
  }

  /** There is a scope of the request, which is to tell by `scopeClosed` that all is over. */
  opened(): void {
    this.scopeIsOpen = true
  }

  /** Is told of the answer right before it is written. */
  readonly writing = (
    request: HttpServerRequest,
    response: HttpServerResponse.HttpServerResponse
  ): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
    Effect.suspend(() => {
      // Of an earlier request, or of one that is answered within this one: who runs an app in a fiber of another has
      // both of them told.
      if (this.isOver || request.source !== this.request.source) return Effect.succeed(response)
      this.written += 1
      this.response = response
      if (this.isGone) this.cut()
      const { body } = response
      const isStream = body._tag === "Stream"
      // The scope of a web handler waits for the end of a body that is not read: that of a HEAD, or of an answer that could
      // not be made.
      const isUnread = this.written === 1 ? isStream && request.method === "HEAD" : request.source instanceof Request
      if (isUnread) return Effect.as(this.scopeClosed() ?? Effect.void, response)
      if (!isStream || this.written > 1) return Effect.succeed(response)
      const { contentLength, contentType } = body
      const counted = HttpBody.stream(this.counted(body.stream), contentType, contentLength)
      return Effect.succeed(HttpServerResponse.setBody(response, counted))
    })

  /** The app has ended. What it gives back, if anything, is still to be done. */
  done(exit: AnyExit): Effect.Effect<void> | undefined {
    this.exit = exit
    if (Exit.isSuccess(exit)) this.response = exit.value
    return this.scopeIsOpen ? undefined : this.over(exit)
  }

  /** All is over, unless the app itself still runs: then this was not the scope of its request. */
  scopeClosed(): Effect.Effect<void> | undefined {
    this.scopeIsOpen = false
    return this.exit === undefined ? undefined : this.over(this.exit)
  }

  private over(exit: AnyExit): Effect.Effect<void> | undefined {
    this.released()
    const { response } = this
    if (response === undefined && Exit.isFailure(exit)) {
      // What the app ended with was answered by whoever is further out.
      return Effect.map(HttpServerError.causeResponse(exit.cause), ([sent]) => this.end(exit, sent, this.status(sent)))
    }
    const sent = response ?? Exit.getOrElse(exit, () => HttpServerResponse.empty())
    this.end(exit, sent, this.status(sent))
    return undefined
  }

  // Nobody is there any more to write to. Whoever does may never be told so: to Node's `end` it is no error, and its
  // callback is not called.
  private cut(): void {
    const exit = this.exit ?? Exit.failCause(Cause.interrupt(HttpServerError.clientAbortFiberId))
    const status = cutStatus(this.request)
    this.isCut = true
    this.end(exit, this.response ?? HttpServerResponse.empty({ status }), status)
  }

  private end(exit: AnyExit, response: HttpServerResponse.HttpServerResponse, status: number): void {
    if (this.isOver) return
    this.isOver = true
    this.forget()
    this.ended({ status, response, responseBytes: this.size(response, status), exit })
  }

  private counted<E>(stream: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> {
    return stream.pipe(
      Stream.tapErrorCause((cause) => Effect.sync(() => this.breaks(cause))),
      Stream.mapChunks((chunk) => {
        this.bytes = Chunk.reduce(chunk, this.bytes ?? 0, (bytes, part) => bytes + part.length)
        return chunk
      }),
      Stream.ensuringWith((exit) => Effect.sync(() => this.wasStreamed(exit)))
    )
  }

  private breaks(cause: Cause.Cause<unknown>): void {
    this.broke = cause
  }

  private wasStreamed(exit: Exit.Exit<unknown, unknown>): void {
    this.bytes ??= 0
    if (Exit.isSuccess(exit)) {
      this.streamed = { status: undefined }
      return
    }
    // Where a body is read by somebody else than the fiber of its request, to interrupt it is to read no further.
    const isOwn = Option.getOrUndefined(Fiber.getCurrentFiber()) === this.fiber
    const isGone = !isOwn || isByClient(exit.cause)
    // It may also fail at what it is given when it reads no further: only what the body fails with is a fault of it.
    const cause = isOwn ? exit.cause : (this.broke ?? Cause.interrupt(FiberId.none))
    this.streamed = { status: Cause.isInterruptedOnly(cause) ? (isGone ? 499 : 503) : 500 }
  }

  private status(response: HttpServerResponse.HttpServerResponse): number {
    if (this.isUpgraded()) return 101
    // The platform takes every connection that closes for one that its client has closed.
    if (isByClient(this.fiber.getFiberRef(FiberRef.interruptedCause)) || isLost(this.request)) {
      this.isCut = true
      return cutStatus(this.request)
    }
    if (this.streamed?.status !== undefined) return this.streamed.status
    const status = writtenStatus(this.request) ?? this.sent ?? response.status
    return this.written > 1 ? Math.max(status, 500) : status
  }

  private size(response: HttpServerResponse.HttpServerResponse, status: number): number | undefined {
    if (this.isUpgraded()) return undefined
    // Of what was cut nobody knows how much has come through.
    if (this.isCut || status === 499 || this.streamed?.status !== undefined || this.written > 1) return undefined
    if (this.bytes !== undefined) return this.bytes
    if (this.request.method === "HEAD" || status === 204 || status === 304) return 0
    return bodyBytes(response)
  }
}

const isByClient = (cause: Cause.Cause<unknown>): boolean =>
  HashSet.has(Cause.interruptors(cause), HttpServerError.clientAbortFiberId)

// What Node has sent, whoever changed it on the way.
const writtenStatus = (request: HttpServerRequest): number | undefined => {
  const { response } = request as {
    readonly response?: { readonly headersSent?: unknown; readonly statusCode?: unknown }
  }
  if (typeof response !== "object" || response?.headersSent !== true) return undefined
  return typeof response.statusCode === "number" ? response.statusCode : undefined
}

const bodyBytes = ({ body, headers }: HttpServerResponse.HttpServerResponse): number | undefined => {
  switch (body._tag) {
    case "Empty":
      return 0
    case "Uint8Array":
      return body.body.byteLength
    case "Raw": {
      if (typeof body.body === "string") return Buffer.byteLength(body.body)
      if (body.body instanceof Uint8Array) return body.body.byteLength
      return body.contentLength ?? length(headers["content-length"])
    }
    default:
      return undefined
  }
}

/** How to know the bytes of a request's body at its end. */
export const requestBytes = (request: HttpServerRequest): ((status: number) => number | undefined) => {
  const { response, source } = request as Partial<NodeRequest>
  if (typeof source?.push === "function" && typeof source.headers === "object") {
    const bytes = bytesOfRequest(source, typeof response === "object" ? response : undefined)
    return (status) => bytes(status !== 499)
  }
  const { headers } = request
  const declared = headers["content-length"]
  if (declared !== undefined) return () => length(declared)
  const isNone = request.source instanceof Request && request.source.body === null
  return () => (isNone ? 0 : undefined)
}

const length = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

// As Node brings it; where an upgrade is asked for, its response is made when it is needed.
interface NodeRequest {
  readonly source: IncomingMessage
  readonly response: ServerResponse | (() => ServerResponse)
}

/** The status of an answer that was cut. The server may have closed the connection itself. */
const cutStatus = (request: HttpServerRequest): number => {
  const { response, source } = request as Partial<NodeRequest>
  if (typeof response !== "object") return 499
  if (source?.httpVersionMajor !== 1) return streamOf(response)?.rstCode === internalError ? 500 : 499
  const status = whyCut(response, source.socket)
  return status === 500 && !isBroken(response, source.socket) ? 503 : status
}

// NGHTTP2_INTERNAL_ERROR: with that Node.js resets a stream whose body has failed.
const internalError = 2

// A body that fails, and is no stream of Effect's, takes the response and its connection with it; one that is interrupted
// aborts them.
const isBroken = ({ errored }: ServerResponse, socket: Socket): boolean =>
  errored instanceof Error && errored === socket.errored && errored.name !== "AbortError"

const resolveKey = Symbol.for("@effect/platform/HttpApp/resolve")

/** Calls `sent` with the response of a web handler, whose status can differ from that of the response it was made from. */
const onSent = (request: HttpServerRequest, sent: (response: Response) => void): void => {
  const resolving = request as { [resolveKey]?: (response: Response) => void }
  const resolve = resolving[resolveKey]
  if (resolve === undefined) return
  resolving[resolveKey] = (response) => {
    sent(response)
    resolve(response)
  }
}

// Newer versions of Node.js call back whoever writes to a connection that has failed, before they tell of its close.
const isLost = (request: HttpServerRequest): boolean => {
  const { response, source } = request as Partial<NodeRequest>
  if (source?.httpVersionMajor !== 1 || typeof response !== "object") return false
  return Boolean(source.socket?.errored) || (source.socket?.destroyed === true && !response.writableFinished)
}

// What is in flight on a connection: requests can come before the one before is answered, and all of them are cut.
const inFlight = new WeakMap<object, Set<() => void>>()

/** Calls `cut` when a request goes away before its answer is whole: with its connection, or by its signal. */
const onCut = (request: HttpServerRequest, cut: () => void): (() => void) => {
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
  // What could not be written any more is finished as well, to Node.
  response.once?.("finish", () => {
    if (source?.socket?.errored) cut()
  })
  // A stream of HTTP/2 closes by itself, and its socket is not the one of the connection.
  const closing = source?.httpVersionMajor === 1 ? source.socket : response
  if (typeof closing?.once !== "function") return () => {}
  let all = inFlight.get(closing)
  if (all === undefined) {
    const begun = new Set<() => void>()
    closing.once("close", () => {
      for (const each of begun) each()
    })
    inFlight.set(closing, begun)
    all = begun
  }
  const those = all
  those.add(closed)
  return () => void those.delete(closed)
}
