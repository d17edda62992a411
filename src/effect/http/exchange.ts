/** One request of `@effect/platform` and its response, measured until the response is complete or cut. */
import type { ServerResponse } from "node:http"
import { appendPreResponseHandler, currentPreResponseHandlers, type PreResponseHandler } from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type HttpSource, unmatched } from "../../core/http/metrics.js"
import type { Closing, RequestSize, Waiting } from "../../core/http/node/messages.js"
import { decided, HttpRun } from "../../core/http/recorder.js"
import { onLeftOut, onRecorded, recordersOf } from "../../core/http/scrapeMarker.js"
import type { Labels } from "../../core/instrument/labels.js"
import { currentSpan } from "../run.js"
import type { Measuring, Meter, MeterPart } from "./measuring.js"
import { type NodeWriting, nodeWriting } from "./nodeWriting.js"
import { answers, bodyBytes, brokenStatus, isByClient, isNotFound } from "./outcome.js"
import {
  arrivedBytes,
  arrivingSize,
  awaitClose,
  cutStatus,
  isHandled,
  isLost,
  isUnfinished,
  nodeResponseOf,
  onSent,
  urlScheme,
  writtenStatus
} from "./request.js"
import { followWriting, forget, type MatchedRoute, release, setRef, track, trackRoute } from "./route.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type AnyResponse = HttpServerResponse.HttpServerResponse

type AnyExit = Exit.Exit<AnyResponse, unknown>

/**
 * Counts the start of a request, for the metrics that no other middleware records for it. Undefined: the request is not
 * measured here.
 */
export const begun = (
  request: HttpServerRequest,
  fiber: AnyFiber,
  measuring: Measuring,
  recordedOutside: (request: HttpServerRequest) => ReadonlyArray<HttpSource>
): RequestRun | undefined => {
  const own = measuring.meterIn(fiber.currentContext)
  const { excludes } = measuring
  let run: RequestRun | undefined
  try {
    if (excludes !== undefined && decided(own.recorder, () => excludes(request, request.url), false)) return undefined
    const { matched, view } = trackRoute<RequestRun, Meter>(request)
    const meter = own.beside(sourcesOf(recordedOutside(request), matched.by))
    if (meter === undefined) {
      matched.also = [...matched.also, own]
      return undefined
    }
    track(fiber, view)
    run = new RequestRun(request, fiber, matched, measuring, own, meter)
    run.begin(followWriting(view))
    matched.by.push(run)
    matched.running += 1
    matched.startsIn(view, fiber)
    return run
  } catch (error) {
    // The request of a test may have only some of the properties of a request.
    own.recorder.failed(error)
    run?.leaveOut()
    return undefined
  }
}

const sourcesOf = (outside: ReadonlyArray<HttpSource>, by: ReadonlyArray<RequestRun>): ReadonlyArray<HttpSource> =>
  by.length === 0 ? outside : [...outside, ...by.map((run) => run.own.source)]

/**
 * The handler that is called right before a response is written. It is the same function for all requests: Effect compares
 * handlers by a hash, and would keep the hash of each function in a table.
 */
const writing = (request: HttpServerRequest, response: AnyResponse): Effect.Effect<AnyResponse> => {
  const { source } = request
  let written: Effect.Effect<AnyResponse> | undefined
  for (const run of typeof source === "object" && source !== null ? recordersOf(source) : []) {
    if (!(run instanceof RequestRun && run.isAwaitedWithAll)) continue
    written =
      written === undefined ? run.writing(request, response) : Effect.flatMap(written, (r) => run.writing(request, r))
  }
  return written ?? Effect.succeed(response)
}

const onlyWriting = Option.some(writing)

/** Adds the handler to those of the fiber, as `HttpApp.appendPreResponseHandler` does, unless the run needs none. */
export const awaitingResponse = <A, E, R>(
  fiber: AnyFiber,
  run: RequestRun,
  app: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (run.isDirect) return app
  const before = Option.getOrUndefined(fiber.getFiberRef(currentPreResponseHandlers))
  const isAlone = before === undefined || before === writing
  if (isAlone && run.isFound && (before === writing || setRef(fiber, currentPreResponseHandlers, onlyWriting))) {
    run.isAwaitedWithAll = true
    return app
  }
  // After the handlers of others, it is called once for each of ours.
  const own = (request: HttpServerRequest, response: AnyResponse) => run.writing(request, response)
  return Effect.zipRight(appendPreResponseHandler(own), app)
}

/** From the app that creates the response to its last byte. The constructor counts the start. */
export class RequestRun extends HttpRun implements Closing {
  private readonly clock: Clock.Clock
  private readonly start: bigint
  private readonly exemplar: Labels | undefined
  private requestSize: RequestSize
  private exit: AnyExit | undefined
  // The last known version of the response before it is sent.
  private latest: AnyResponse | undefined
  // Written because the first one failed.
  private isSecond = false
  private streamed: { readonly status: number | undefined } | undefined
  private bytes: number | undefined
  private broke: Cause.Cause<unknown> | undefined
  // Returned by a web handler. Known before the scope of the request closes.
  private sent: number | undefined
  private scope: Scope.Scope | undefined
  private waiting: Waiting | undefined
  // Of Node.js.
  private response: ServerResponse | undefined
  // Undefined if no size is recorded.
  node: NodeWriting | undefined
  /**
   * Whether the run observes the response of Node.js instead of adding a handler. A handler is a change of the fiber's
   * references and more steps of the effect, a third of what measuring a request costs.
   */
  isDirect = false
  // It is called before the handlers of the application, unless these are lost, as with a fiber that is not joined.
  private isPreceding = false
  // The server writes the response, which the run observes, or has written it.
  private isBegun = false
  private isBodyBroken = false
  /** Whether the handler of all requests calls it. */
  isAwaitedWithAll = false
  /** Whether it is found by the object that the server knows. */
  isFound = false
  private isUnread = false
  private isReleased = false
  private isOver = false
  private isCut = false

  constructor(
    private readonly request: HttpServerRequest,
    private readonly fiber: AnyFiber,
    private readonly matched: MatchedRoute<RequestRun, Meter>,
    private readonly measuring: Measuring,
    /** All metrics of the middleware. */
    readonly own: Meter,
    /** Those of them that are recorded here. */
    private readonly meter: MeterPart
  ) {
    super(meter.recorder, request.method, meter.recorder.hasUrlScheme ? urlScheme(request) : "http")
    this.clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    this.start = this.clock.unsafeCurrentTimeNanos()
    this.exemplar = measuring.exemplar ? currentSpan(fiber) : undefined
    this.scope = fiber.currentContext.unsafeMap.get(Scope.Scope.key) as Scope.Scope | undefined
  }

  /** `isFollowed`: whether `written` is called. Throws if the request lacks a property. */
  begin(isFollowed: boolean): void {
    const { fiber, matched, measuring, meter, request } = this
    const { source } = request
    this.isFound = typeof source === "object" && source !== null && onLeftOut(source, this)
    if (meter.hasRequestSize) this.requestSize = arrivingSize(request)
    this.response = nodeResponseOf(request)
    if (this.response === undefined) {
      onSent(request, ({ status }) => {
        this.sent = status
      })
      return
    }
    if (meter.hasResponseSize) {
      this.node = nodeOf(matched.by) ?? nodeWriting(request, this.response)
      this.node?.begin()
    }
    // Labels are computed from the response that a handler is called with.
    const isAlone = measuring.labels === undefined && Option.isNone(fiber.getFiberRef(currentPreResponseHandlers))
    this.isDirect = isFollowed && isAlone && (this.node !== undefined || !meter.hasResponseSize)
  }

  /** The server begins to write the response of Node.js. */
  written(request: HttpServerRequest): void {
    if (!this.isDirect || this.isOver || !isHandled(request)) return
    this.isSecond = this.isBegun
    this.isBegun = true
    if (!this.isSecond) this.waiting ??= awaitClose(this.request, false, this)
  }

  /** The application adds a handler. It may replace the response, fail or never end, so that ours is to be called first. */
  precedes(handlers: Option.Option<PreResponseHandler>): Option.Option<PreResponseHandler> {
    const isNeeded = this.isDirect && !this.isPreceding && !this.isBegun && handlers !== onlyWriting
    if (!isNeeded || Option.isNone(handlers)) return handlers
    this.isPreceding = true
    return Option.map(
      handlers,
      (others) => (request, response) =>
        Effect.flatMap(this.writing(request, response), (written) => others(request, written))
    )
  }

  /** Right before the response is written. Gives the response that is written instead. */
  writing(request: HttpServerRequest, response: AnyResponse): Effect.Effect<AnyResponse> {
    // The call can be for an earlier request, or for one that is answered within this one.
    if (this.isOver || request.source !== this.request.source) return Effect.succeed(response)
    this.isDirect = false
    const written = this.replaces(request, response)
    // The scope of a web handler waits for the end of a body, also of one that is never read.
    const { exit, isUnread } = this
    return isUnread && exit !== undefined ? this.finish(exit, Effect.succeed(written)) : Effect.succeed(written)
  }

  private replaces(request: HttpServerRequest, response: AnyResponse): AnyResponse {
    this.latest = response
    const { body } = response
    const isStream = body._tag === "Stream"
    this.isSecond = isHandled(request)
    // The body of a response to HEAD is never read, nor is that of a response that could not be created.
    this.isUnread = this.isSecond ? request.source instanceof Request : isStream && request.method === "HEAD"
    if (!this.isSecond) this.waiting ??= awaitClose(request, isStream, this)
    if (this.isSecond || this.isUnread || !isStream) return response
    const { contentLength, contentType } = body
    return HttpServerResponse.setBody(response, HttpBody.stream(this.watched(body.stream), contentType, contentLength))
  }

  readonly onFailure = (cause: Cause.Cause<never>): Effect.Effect<AnyResponse> => this.done(Exit.failCause(cause))

  readonly onSuccess = (response: AnyResponse): Effect.Effect<AnyResponse> => this.done(Exit.succeed(response))

  // The app has ended. Failures of metrics are logged before its exit continues.
  private done<E>(exit: Exit.Exit<AnyResponse, E>): Effect.Effect<AnyResponse, E> {
    this.exit = exit
    const { matched } = this
    matched.running -= 1
    if (matched.running === 0) release(this.fiber, matched)
    if (Exit.isSuccess(exit)) this.latest = exit.value
    if (this.scope === undefined || this.isWritten()) return this.finish(exit, exit)
    const closed = Effect.suspend(() => this.finish(exit, Effect.void))
    const next = Effect.zipRight(Scope.addFinalizer(this.scope, closed), this.meter.afterWarnings(exit))
    if (!this.isDirect || this.isPreceding) return next
    // The response is written by code around the app, to which another request may be known.
    const handlers = this.fiber.getFiberRef(currentPreResponseHandlers)
    if (Option.isSome(handlers)) {
      return Effect.zipRight(FiberRef.set(currentPreResponseHandlers, this.precedes(handlers)), next)
    }
    this.isDirect = false
    return awaitingResponse(this.fiber, this, next)
  }

  private isWritten(): boolean {
    if (this.isUnread || this.isOver || this.isBegun) return true
    const isHandedOver = this.streamed === undefined && this.request.source instanceof Request
    return isHandled(this.request) && !(isHandedOver && this.latest?.body._tag === "Stream")
  }

  private finish<A, E>(exit: AnyExit, next: Effect.Effect<A, E>): Effect.Effect<A, E> {
    this.release()
    const { latest } = this
    if (latest === undefined && Exit.isFailure(exit)) {
      // Code further out has answered the failure of the app.
      return Effect.flatMap(answers(exit.cause), ({ isOfBody, sent }) => {
        this.isBodyBroken = isOfBody
        this.ends(exit, sent, this.status(sent))
        return this.meter.afterWarnings(next)
      })
    }
    const sent = latest ?? Exit.getOrElse(exit, () => HttpServerResponse.empty())
    this.ends(exit, sent, this.status(sent))
    return this.meter.afterWarnings(next)
  }

  private release(): void {
    if (this.isReleased) return
    this.isReleased = true
    const { by } = this.matched
    by.splice(by.indexOf(this), 1)
    if (by.length === 0) forget(this.request)
  }

  /** The code that writes may never notice: `end` of Node.js reports no error, and does not call its callback. */
  closed(): void {
    // Bun aborts the request of a websocket when it closes.
    if (this.isOver || this.matched.upgraded || !isUnfinished(this.request)) return
    const exit = this.exit ?? Exit.failCause(Cause.interrupt(HttpServerError.clientAbortFiberId))
    const status = cutStatus(this.request)
    this.isCut = true
    this.ends(exit, this.latest ?? HttpServerResponse.empty({ status }), status)
  }

  private ends(exit: AnyExit, response: AnyResponse, status: number): void {
    if (this.isOver) return
    this.isOver = true
    this.waiting?.remove(this)
    const { matched, measuring, request } = this
    this.node?.end()
    if (typeof request.source === "object" && request.source !== null) onRecorded(request.source, this)
    const { upgraded } = matched
    const pattern = matched.pattern(isNotFound(exit))
    const route = pattern ?? unmatched
    if (this.own.excludesRoute(route) && !isCountedFor(route, matched, this.own)) {
      this.leaveOut()
      return
    }
    const { labels } = measuring
    this.end({
      route: pattern,
      status,
      // The lifetime of an upgraded connection says nothing about response times.
      seconds: upgraded ? undefined : Number(this.clock.unsafeCurrentTimeNanos() - this.start) / 1e9,
      requestBytes: upgraded ? undefined : arrivedBytes(this.requestSize, request, status),
      responseBytes: this.meter.hasResponseSize ? this.size(response, status) : undefined,
      labels: labels && decided(this.recorder, () => labels({ request, response, exit, route, status }), undefined),
      exemplar: this.exemplar
    })
  }

  private watched<E>(stream: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> {
    const watched = Stream.tapErrorCause(stream, (cause) => Effect.sync(() => this.breaks(cause)))
    const counted = this.meter.hasResponseSize ? this.counted(watched) : watched
    return Stream.ensuringWith(counted, (exit) => Effect.sync(() => this.wasStreamed(exit)))
  }

  private counted<E>(stream: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> {
    return Stream.mapChunks(stream, (chunk) => {
      this.bytes = Chunk.reduce(chunk, this.bytes ?? 0, (bytes, part) => bytes + part.length)
      return chunk
    })
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
    // With Node.js, the connection shows whether the client has left.
    const isGone = isByClient(exit.cause) || (!isOwn && this.response === undefined)
    // The body can also fail because it is read no further. Only a failure of the body itself is a fault of the body.
    const cause = isOwn ? exit.cause : (this.broke ?? Cause.interrupt(FiberId.none))
    this.streamed = { status: Cause.isInterruptedOnly(cause) ? (isGone ? 499 : 503) : 500 }
  }

  private status(response: AnyResponse): number {
    if (this.matched.upgraded) return 101
    // The platform treats every closed connection as closed by the client.
    if (isByClient(this.fiber.getFiberRef(FiberRef.interruptedCause)) || isLost(this.request)) {
      this.isCut = true
      return cutStatus(this.request)
    }
    if (this.streamed?.status !== undefined) return this.streamed.status
    // A body that fails ends the response. One that is interrupted may not.
    if (this.isBroken()) return this.response?.writableEnded ? brokenStatus(this.exit) : 503
    const status = writtenStatus(this.request) ?? this.sent ?? response.status
    return this.isSecond ? Math.max(status, 500) : status
  }

  // Of a response that the run observes.
  private isBroken(): boolean {
    return this.isBegun && (this.isSecond || this.isBodyBroken || this.response?.writableEnded !== true)
  }

  private size(response: AnyResponse, status: number): number | undefined {
    if (this.matched.upgraded) return undefined
    // The size of a response that was cut is unknown.
    if (this.isCut || status === 499 || this.streamed?.status !== undefined || this.isSecond) return undefined
    if (this.isBroken()) return undefined
    if (this.request.method === "HEAD" || status === 204 || status === 304) return 0
    return this.node?.bytes ?? this.bytes ?? bodyBytes(response)
  }
}

const nodeOf = (by: ReadonlyArray<RequestRun>): NodeWriting | undefined => {
  for (const { node } of by) if (node !== undefined) return node
  return undefined
}

// If one meter excludes a request, another one counts it, whichever of them is further out.
const isCountedFor = (route: string, { also, by }: MatchedRoute<RequestRun, Meter>, own: Meter): boolean =>
  [...by.map((run) => run.own), ...also].some(
    (other) => !other.excludesRoute(route) && own.beside([other.source]) !== own.whole
  )
