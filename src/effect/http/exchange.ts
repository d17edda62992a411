/** One request of `@effect/platform` and its response, measured until the response is complete or cut. */
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
import { contentLength, cutStatus, isLost, onCut, onSent, writtenStatus } from "./request.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>
type AnyExit = Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>

export interface Outcome {
  readonly status: number
  readonly response: HttpServerResponse.HttpServerResponse
  readonly responseBytes: number | undefined
  readonly exit: AnyExit
}

/** From the app that creates it to its last byte. */
export class FollowedResponse {
  private exit: AnyExit | undefined
  // The last known version of the response before it is sent.
  private response: HttpServerResponse.HttpServerResponse | undefined
  // A second response is written only if the first one failed.
  private written = 0
  private streamed: { readonly status: number | undefined } | undefined
  private bytes: number | undefined
  private broke: Cause.Cause<unknown> | undefined
  // Returned by a web handler. Known before the scope of the request closes.
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

  /** For a request with a scope: `scopeClosed` then ends the measurement. */
  opened(): void {
    this.scopeIsOpen = true
  }

  /** Right before the response is written. */
  readonly writing = (
    request: HttpServerRequest,
    response: HttpServerResponse.HttpServerResponse
  ): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
    Effect.suspend(() => {
      // The call can be for an earlier request, or for one that is answered within this one: if an app runs in the
      // fiber of another app, the handlers of both are called.
      if (this.isOver || request.source !== this.request.source) return Effect.succeed(response)
      this.written += 1
      this.response = response
      if (this.isGone) this.cut()
      const { body } = response
      const isStream = body._tag === "Stream"
      // The scope of a web handler waits for the end of a body that is never read: the body of a response to HEAD, or of
      // a response that could not be created.
      const isUnread = this.written === 1 ? isStream && request.method === "HEAD" : request.source instanceof Request
      if (isUnread) return Effect.as(this.scopeClosed() ?? Effect.void, response)
      if (!isStream || this.written > 1) return Effect.succeed(response)
      const { contentLength, contentType } = body
      const counted = HttpBody.stream(this.counted(body.stream), contentType, contentLength)
      return Effect.succeed(HttpServerResponse.setBody(response, counted))
    })

  /** The app has ended. Returns the effect that is still to be run. */
  done(exit: AnyExit): Effect.Effect<void> | undefined {
    this.exit = exit
    if (Exit.isSuccess(exit)) this.response = exit.value
    return this.scopeIsOpen ? undefined : this.over(exit)
  }

  /** Ends the measurement, unless the app is still running: then it was not the scope of its request. */
  scopeClosed(): Effect.Effect<void> | undefined {
    this.scopeIsOpen = false
    return this.exit === undefined ? undefined : this.over(this.exit)
  }

  private over(exit: AnyExit): Effect.Effect<void> | undefined {
    this.released()
    const { response } = this
    if (response === undefined && Exit.isFailure(exit)) {
      // Code further out has answered the failure of the app.
      return Effect.map(HttpServerError.causeResponse(exit.cause), ([sent]) => this.end(exit, sent, this.status(sent)))
    }
    const sent = response ?? Exit.getOrElse(exit, () => HttpServerResponse.empty())
    this.end(exit, sent, this.status(sent))
    return undefined
  }

  // The code that writes may never notice: `end` of Node.js reports no error, and does not call its callback.
  private cut(): void {
    // Bun aborts the request of a websocket when it closes.
    if (this.isUpgraded()) return
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
    // If another fiber than that of the request reads the body, its interruption means that the body is read no further.
    const isOwn = Option.getOrUndefined(Fiber.getCurrentFiber()) === this.fiber
    const isGone = !isOwn || isByClient(exit.cause)
    // The body can also fail because it is read no further. Only a failure of the body itself is a fault of the body.
    const cause = isOwn ? exit.cause : (this.broke ?? Cause.interrupt(FiberId.none))
    this.streamed = { status: Cause.isInterruptedOnly(cause) ? (isGone ? 499 : 503) : 500 }
  }

  private status(response: HttpServerResponse.HttpServerResponse): number {
    if (this.isUpgraded()) return 101
    // The platform treats every closed connection as closed by the client.
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
    // The size of a response that was cut is unknown.
    if (this.isCut || status === 499 || this.streamed?.status !== undefined || this.written > 1) return undefined
    if (this.bytes !== undefined) return this.bytes
    if (this.request.method === "HEAD" || status === 204 || status === 304) return 0
    return bodyBytes(response)
  }
}

const isByClient = (cause: Cause.Cause<unknown>): boolean =>
  HashSet.has(Cause.interruptors(cause), HttpServerError.clientAbortFiberId)

const bodyBytes = ({ body, headers }: HttpServerResponse.HttpServerResponse): number | undefined => {
  switch (body._tag) {
    case "Empty":
      return 0
    case "Uint8Array":
      return body.body.byteLength
    case "Raw": {
      if (typeof body.body === "string") return Buffer.byteLength(body.body)
      if (body.body instanceof Uint8Array) return body.body.byteLength
      return body.contentLength ?? contentLength(headers["content-length"])
    }
    default:
      return undefined
  }
}
