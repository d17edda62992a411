/** One request of `@effect/platform` and its response, measured until the response is complete or cut. */
import type { ServerResponse } from "node:http"
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { interruption } from "../../compat/cause.js"
import { type AnyFiber, clockOf, contextOf, currentFiber, nanoseconds } from "../../compat/fiber.js"
import { type Awaiting, hasHandlers, restored } from "../../compat/http/handlers.js"
import {
  type AnyResponse,
  clientAbort,
  emptyResponse,
  type HttpServerRequest,
  interruptionOf,
  isClientAbort,
  observedBody,
  requestIn,
  scopeIn,
  withBodyStream
} from "../../compat/http/platform.js"
import { isUpgraded } from "../../compat/http/upgrade.js"
import { type HttpSource, unmatched } from "../../core/http/metrics.js"
import type { Closing, RequestSize, Waiting } from "../../core/http/node/messages.js"
import { recordedOn } from "../../core/http/recordedRequests.js"
import { decided, HttpRun } from "../../core/http/recorder.js"
import { onLeftOut, onRecorded } from "../../core/http/scrapeMarker.js"
import type { Labels } from "../../core/instrument/labels.js"
import { isInterruptedOnly } from "../bothMajors.js"
import { currentSpan } from "../run.js"
import type { Measuring, Meter, MeterPart } from "./measuring.js"
import { type NodeWriting, nodeWriting } from "./nodeWriting.js"
import { answers, bodyBytes, brokenStatus, isNotFound } from "./outcome.js"
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
import { followWriting, forget, type MatchedRoute, release, track, trackRoute } from "./route.js"

type AnyExit = Exit.Exit<AnyResponse, unknown>

/**
 * Counts the start of a request, for the metrics that no other middleware records for it. Undefined: the request is not
 * measured here.
 */
export const begun = (fiber: AnyFiber, measuring: Measuring): RequestRun | undefined => {
  const context = contextOf(fiber)
  // The type of an app requires one.
  const request = requestIn(context) as HttpServerRequest
  const own = measuring.meterIn(context)
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

// The metrics on which `httpMetrics` of an outer application already records the request.
const recordedOutside = ({ source }: HttpServerRequest): ReadonlyArray<HttpSource> =>
  typeof source === "object" && source !== null ? recordedOn(source) : []

const sourcesOf = (outside: ReadonlyArray<HttpSource>, by: ReadonlyArray<RequestRun>): ReadonlyArray<HttpSource> =>
  by.length === 0 ? outside : [...outside, ...by.map((run) => run.own.source)]

/** From the app that creates the response to its last byte. The constructor counts the start. */
export class RequestRun extends HttpRun implements Closing, Awaiting {
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
  /** These handlers may be lost, as with a fiber that is not joined. */
  isPreceding = false
  /** The server writes the response, which the run observes, or has written it. */
  isBegun = false
  private isBodyBroken = false
  isAwaitedWithAll = false
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
    this.clock = clockOf(fiber)
    this.start = nanoseconds(this.clock)
    this.exemplar = measuring.exemplar ? currentSpan(fiber) : undefined
    this.scope = scopeIn(contextOf(fiber))
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
    const isAlone = measuring.labels === undefined && !hasHandlers(fiber)
    this.isDirect = isFollowed && isAlone && (this.node !== undefined || !meter.hasResponseSize)
  }

  /** The server begins to write the response of Node.js. */
  written(request: HttpServerRequest): void {
    if (!this.isDirect || this.isOver || !isHandled(request)) return
    this.isSecond = this.isBegun
    this.isBegun = true
    if (!this.isSecond) this.waiting ??= awaitClose(this.request, false, this)
  }

  /** Right before the response is written. Gives the response that is written instead. */
  writing(request: HttpServerRequest, response: AnyResponse): Effect.Effect<AnyResponse> {
    // The call can be for an earlier request, or for one that is answered within this one.
    if (this.isOver || request.source !== this.request.source) return Effect.succeed(response)
    this.isDirect = false
    const written = this.replaces(request, response)
    // The scope of a web handler waits for the end of a body, also of one that is never read.
    const { exit, isUnread } = this
    const finished = isUnread && exit !== undefined ? this.finish(exit) : undefined
    return finished === undefined ? Effect.succeed(written) : Effect.as(finished, written)
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
    return withBodyStream(response, body, this.watched(body.stream))
  }

  /** The app has ended. The effect runs before its exit continues. It also logs failures of metrics. */
  ended(exit: AnyExit): Effect.Effect<void> | undefined {
    this.exit = exit
    const { matched } = this
    matched.running -= 1
    if (matched.running === 0) release(this.fiber, matched)
    if (Exit.isSuccess(exit)) this.latest = exit.value
    if (this.scope === undefined || this.isWritten()) return this.finish(exit)
    const closed = Effect.suspend(() => this.finish(exit) ?? Effect.void)
    const next = Effect.andThen(Scope.addFinalizer(this.scope, closed), this.meter.warnings() ?? Effect.void)
    return this.isDirect && !this.isPreceding ? restored(this.fiber, this, next) : next
  }

  private isWritten(): boolean {
    if (this.isUnread || this.isOver || this.isBegun) return true
    const isHandedOver = this.streamed === undefined && this.request.source instanceof Request
    return isHandled(this.request) && !(isHandedOver && this.latest?.body._tag === "Stream")
  }

  private finish(exit: AnyExit): Effect.Effect<void> | undefined {
    this.release()
    const { latest } = this
    if (latest === undefined && Exit.isFailure(exit)) {
      // Code further out has answered the failure of the app.
      return Effect.flatMap(answers(exit.cause), ({ isOfBody, sent }) => {
        this.isBodyBroken = isOfBody
        this.ends(exit, sent, this.status(sent))
        return this.meter.warnings() ?? Effect.void
      })
    }
    const sent = latest ?? (Exit.isSuccess(exit) ? exit.value : emptyResponse())
    this.ends(exit, sent, this.status(sent))
    return this.meter.warnings()
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
    if (this.isOver || this.isUpgraded() || !isUnfinished(this.request)) return
    const exit = this.exit ?? Exit.failCause(clientAbort)
    const status = cutStatus(this.request)
    this.isCut = true
    this.ends(exit, this.latest ?? emptyResponse(status), status)
  }

  private ends(exit: AnyExit, response: AnyResponse, status: number): void {
    if (this.isOver) return
    this.isOver = true
    this.waiting?.remove(this)
    const { matched, measuring, request } = this
    this.node?.end()
    if (typeof request.source === "object" && request.source !== null) onRecorded(request.source, this)
    const upgraded = this.isUpgraded()
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
      seconds: upgraded ? undefined : Number(nanoseconds(this.clock) - this.start) / 1e9,
      requestBytes: upgraded ? undefined : arrivedBytes(this.requestSize, request, status),
      responseBytes: this.meter.hasResponseSize ? this.size(response, status) : undefined,
      labels: labels && decided(this.recorder, () => labels({ request, response, exit, route, status }), undefined),
      exemplar: this.exemplar
    })
  }

  private isUpgraded(): boolean {
    return this.matched.upgraded || isUpgraded(this.request)
  }

  private watched<E>(stream: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> {
    return observedBody(stream, {
      wrote: this.meter.hasResponseSize ? (bytes) => this.wrote(bytes) : undefined,
      failed: (cause) => {
        this.broke = cause
      },
      ended: (exit) => this.wasStreamed(exit)
    })
  }

  private wrote(bytes: number): void {
    this.bytes = (this.bytes ?? 0) + bytes
  }

  private wasStreamed(exit: Exit.Exit<unknown, unknown>): void {
    this.bytes ??= 0
    if (Exit.isSuccess(exit)) {
      this.streamed = { status: undefined }
      return
    }
    // If another fiber than that of the request reads the body, its interruption means that the body is read no further.
    const isOwn = currentFiber() === this.fiber
    // With Node.js, the connection shows whether the client has left.
    const isGone = isClientAbort(exit.cause) || (!isOwn && this.response === undefined)
    // The body can also fail because it is read no further. Only a failure of the body itself is a fault of the body.
    const cause = isOwn ? exit.cause : (this.broke ?? interruption)
    this.streamed = { status: isInterruptedOnly(cause) ? (isGone ? 499 : 503) : 500 }
  }

  private status(response: AnyResponse): number {
    if (this.isUpgraded()) return 101
    // The platform treats every closed connection as closed by the client.
    if (isClientAbort(interruptionOf(this.fiber)) || isLost(this.request)) {
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
    if (this.isUpgraded()) return undefined
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
