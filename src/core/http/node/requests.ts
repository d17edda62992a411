/** Watches the requests of a Node.js server: when and how each has ended, and how large it was. */
import type { AsyncResource } from "node:async_hooks"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Stream } from "node:http2"
import type { Labels } from "../../instrument/labels.js"
import { atOnce } from "../../util/thenable.js"
import { type HttpSource, unmatched } from "../metrics.js"
import type { Excluding, LongLived } from "../options.js"
import { type ObservedSizes, observedSizes, partsOf } from "../parts.js"
import { none, type Recorded, recordedOn, recordOn } from "../recordedRequests.js"
import { decided, type HttpRecorder, HttpRun } from "../recorder.js"
import { onLeftOut, onRecorded } from "../scrapeMarker.js"
import { awaitContext, isContextFree, keptContext, newContext } from "./asyncContext.js"
import type { Connection, Emitting, RequestSize, Waiting } from "./messages.js"
import {
  contentTypeOf,
  emitsItsEnd,
  headerOf,
  headStatus,
  isConnected,
  isOpen,
  receivedBytes,
  requestSize,
  sizeOf,
  streamOf,
  urlSchemeOf,
  waitingOn,
  whyCut
} from "./messages.js"
import { type Method, observe, release, type Writing } from "./responseMethods.js"

/**
 * How a request has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpOutcome {
  /** A pattern, or `unmatched`, for which the label of OpenTelemetry is empty. */
  readonly route: string
  /** The status that is recorded. */
  readonly status: number
  /**
   * Who cut the response before it was completely sent: the client, which disconnected or did not send the rest of its
   * request, or the server, for example because a handler failed after the status had been sent.
   */
  readonly cut: "client" | "server" | undefined
}

/** An error in one of the caller's decisions is reported, and changes nothing. */
export interface RequestOptions
  extends Excluding<IncomingMessage>,
    LongLived<readonly [IncomingMessage, ServerResponse]> {
  readonly labels: ((request: IncomingMessage, response: ServerResponse, outcome: HttpOutcome) => Labels) | undefined
  /** Whether options run code of the caller when a request ends, which may depend on the asynchronous context. */
  readonly needsContext: boolean
}

/**
 * Records a request, from now until its response is closed. Call it when the request arrives, before any other code
 * uses the response. A second call for the same request does nothing.
 *
 * `route` is called at the end, after routing. It returns the *pattern* of the route (`/users/:id`), or `undefined` if
 * the request matched none. A path instead of the pattern would create a series for each path that a client invents. It
 * is called in the asynchronous context (`AsyncLocalStorage`) in which the head of the response was sent; if no head
 * was sent, in the context in which Express found the route (by `expressRoute`), or else in the context of this call.
 *
 * It never throws, whatever the request and response are.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpMeasure = (
  request: IncomingMessage,
  response: ServerResponse,
  route?: (() => string | undefined) | undefined
) => void

/** What records a request on a part of the metrics. */
interface Part {
  readonly recorder: HttpRecorder
  readonly options: RequestOptions & ObservedSizes
}

/** `recorderOf` is called for the source, and for parts of it: other calls may record some of its metrics already. */
export const watching = (
  source: HttpSource,
  recorderOf: (source: HttpSource) => HttpRecorder,
  options: RequestOptions
): HttpMeasure => {
  const { beside, whole } = partsOf<Part>(source, (its, names) => ({
    recorder: recorderOf(its),
    options: { ...options, ...observedSizes(names) }
  }))
  const alone: Recorded = [source]
  const begun = (request: IncomingMessage): Part | undefined => {
    const others = recordedOn(request)
    if (others === none) {
      recordOn(request, alone)
      return whole
    }
    const part = others.includes(source) ? undefined : beside(others)
    if (part !== undefined) recordOn(request, [...others, source])
    return part
  }
  const { excludes } = options
  // Any error here is an error of the measurement. The request continues as if it were not measured.
  return (request, response, route) => {
    let watched: Watched | undefined
    try {
      if (excludes !== undefined && isExcluded(whole.recorder, excludes, request)) return
      const part = begun(request)
      if (part === undefined) return
      watched = new Watched(request, response, streamOf(response), request.socket, route, part.recorder, part.options)
      watched.begin()
    } catch (error) {
      whole.recorder.failed(error)
      watched?.notBegun()
    }
  }
}

const isExcluded = (
  recorder: HttpRecorder,
  excludes: NonNullable<RequestOptions["excludes"]>,
  request: IncomingMessage
): boolean => decided(recorder, () => excludes(request, urlOf(request)), false)

// Express removes the mount path of a router from `url`.
const urlOf = ({ originalUrl, url }: IncomingMessage & { readonly originalUrl?: unknown }): string =>
  typeof originalUrl === "string" ? originalUrl : (url ?? "")

const upgraded = 101

// The code with which a client closes an HTTP/2 stream whose response it no longer wants.
const cancelled = 8

/** One object per request. */
class Watched extends HttpRun implements Writing {
  private readonly start = performance.now()
  // Undefined if nothing depends on it.
  private context: AsyncResource | undefined
  private requestSize: RequestSize
  private waiting: Waiting | undefined
  // The status and the `writeHead` arguments of the response, and the number of bytes written, where known.
  private status: number | undefined
  private head: ReadonlyArray<unknown> | undefined
  private bytes: number | undefined
  // How much the connection had sent when the head was written; undefined after more of the response was written.
  private sentBefore: number | undefined
  private isEnding = false
  private isEnded = false
  private isFinished = false
  private isAborted = false
  private isDestroyed = false
  private isAwaited = false
  private isOver = false

  constructor(
    private readonly request: IncomingMessage,
    readonly response: ServerResponse,
    private readonly stream: ServerHttp2Stream | undefined,
    // A response releases its connection when it is finished.
    private readonly connection: Connection,
    private readonly route: (() => string | undefined) | undefined,
    recorder: HttpRecorder,
    private readonly options: Part["options"]
  ) {
    super(recorder, request.method ?? "", recorder.hasUrlScheme ? urlSchemeOf(connection) : "http")
  }

  begin(): void {
    const { options, request, route } = this
    if (options.needsContext || (route !== undefined && !isContextFree(route))) {
      this.context = newContext()
      awaitContext(request, this.context)
    }
    // The measurement may begin after the end.
    if (this.isClosed()) this.closed()
    else {
      this.awaitEnd()
      if (options.hasRequestSize) this.requestSize = requestSize(request, this.stream)
    }
    onLeftOut(request, this)
  }

  /** The request is left out, unless its end is already watched. */
  notBegun(): void {
    if (!this.isAwaited) this.leaveOut()
  }

  override leaveOut(): void {
    if (this.settle()) super.leaveOut()
  }

  /** The response is closed, or can no longer be closed. */
  closed(): void {
    if (!this.settle()) return
    try {
      // Not below 0 if a test has replaced the clock in between.
      const seconds = Math.max(0, performance.now() - this.start) / 1e3
      if (this.context === undefined) this.record(seconds)
      else this.latestContext(this.context).runInAsyncScope(this.record, this, seconds)
    } catch (error) {
      this.recorder.failed(error)
    } finally {
      // Does nothing if the end was recorded.
      super.leaveOut()
    }
  }

  // Where the head was sent, where the route was found, or where the request arrived.
  private latestContext(own: AsyncResource): AsyncResource {
    return this.status === undefined ? (keptContext(this.request) ?? own) : own
  }

  private record(seconds: number): void {
    const { options, recorder, request, response } = this
    const route = this.routeOf()
    if (route !== undefined && options.excludesRoute(route)) return
    const isWhole = this.isWhole()
    const isLongLived = options.isLongLived !== undefined && this.isLongLived(route)
    const why = isWhole ? undefined : this.whyCut()
    const status = this.statusOf(why, isLongLived)
    const { labels } = options
    const cut = why === undefined ? undefined : why === 500 ? "server" : "client"
    this.end({
      route,
      status,
      labels:
        labels &&
        decided(recorder, () => labels(request, response, { route: route ?? unmatched, status, cut }), undefined),
      // The time that two ends exchange data after an upgrade is not the time of a request.
      seconds: status === upgraded || isLongLived ? undefined : seconds,
      requestBytes: status === upgraded ? undefined : receivedBytes(this.requestSize, request, this.stream, isWhole),
      responseBytes: isWhole && options.hasResponseSize ? this.sentBytes(status) : undefined
    })
  }

  private routeOf(): string | undefined {
    try {
      return textOf(atOnce(this.route?.(), "route"))
    } catch (error) {
      this.recorder.failed(error)
      return undefined
    }
  }

  private isLongLived(route: string | undefined): boolean {
    const { head, options, recorder, request, response, stream } = this
    const typeOf = (): string | undefined => contentTypeOf(response, stream, head)
    return decided(recorder, () => options.isLongLived?.(route, typeOf, request, response), false) ?? false
  }

  private settle(): boolean {
    if (this.isOver) return false
    this.isOver = true
    this.waiting?.remove(this)
    onRecorded(this.request, this)
    release(this.request, this)
    return true
  }

  private isClosed(): boolean {
    const { connection, response, stream } = this
    if (stream !== undefined) return stream.destroyed
    // The usual case, for which a few properties are enough.
    if (isOpen(response, connection)) return false
    if (response.closed || response.destroyed || response.writableFinished || connection?.closed === true) return true
    return isEnded(response) === true && !emitsItsEnd(response, connection)
  }

  /** A response that does not report this has sent everything. */
  private isWhole(): boolean {
    const { connection, response, stream } = this
    if (stream !== undefined) return response.writableEnded && !stream.aborted && stream.rstCode === 0
    // A failed write also finishes a response.
    if (connection?.errored || this.isAborted || this.isDestroyed) return false
    if (this.isFinished || this.isAsLongAsSaid()) return true
    return response.writableFinished ?? (this.isEnded || (isEnded(response) ?? true))
  }

  // A client that has received the announced length can close before the server calls `end()`.
  private isAsLongAsSaid(): boolean {
    const { bytes, head, response } = this
    if (!bytes || response.writableLength !== 0) return false
    return bytes === Number(headerOf("content-length", response, undefined, head))
  }

  private whyCut(): number {
    const { connection, isAborted, response, stream } = this
    if (isAborted) return 499
    if (stream !== undefined) return stream.rstCode === cancelled ? 499 : 500
    return whyCut(response, connection)
  }

  private statusOf(why: number | undefined, isLongLived: boolean): number {
    const { request, response } = this
    const sent = this.sentStatus()
    if (why === undefined) return sent ?? numberOf(response.statusCode)
    const { upgrade } = request as { readonly upgrade?: unknown }
    if (upgrade === true || sent === upgraded) return upgraded
    // Nothing was sent if only the head was written, or if earlier responses on the connection had not ended.
    const begun = response.socket === null || this.isUnsent() ? undefined : sent
    if (why === 499) return isLongLived ? (begun ?? 200) : why
    return begun ?? why
  }

  // Node.js holds the head back until a part of the body is written, or the headers are flushed.
  private isUnsent(): boolean {
    return this.sentBefore !== undefined && this.sentBefore === this.connection?.bytesWritten
  }

  /** The sent status, even if the response's property was changed afterwards. */
  private sentStatus(): number | undefined {
    const { response, status, stream } = this
    if (stream !== undefined) return stream.sentHeaders && numberOf(stream.sentHeaders[":status"])
    return (
      status ?? (response.headersSent === true ? (headStatus(response) ?? numberOf(response.statusCode)) : undefined)
    )
  }

  private sentBytes(status: number): number | undefined {
    // Node.js discards the body of these responses.
    if (this.request.method === "HEAD" || status === 204 || status === 304) return 0
    if (!this.isFinished || this.isEnded || this.isEnding) return this.bytes
    // The methods were called in a way that is not observed, for example after Express of another version has set another
    // prototype on the response.
    const declared = headerOf("content-length", this.response, this.stream, this.head)
    return declared === undefined ? undefined : Number(declared)
  }

  private awaitEnd(): void {
    const { connection, request, response, stream } = this
    // The size of parts that were written before is unknown.
    if (!response.headersSent) this.bytes = 0
    if (typeof response.on === "function") {
      // A response that is not made by a Node.js server may miss any of these.
      response.on("finish", () => this.finished())
      response.on("close", () => this.closed())
      this.isAwaited = true
    }
    if (!isConnected(response.socket ?? connection) || !observe(request, this)) this.watchOther()
    if (stream === undefined && typeof connection?.on === "function") {
      this.waiting = waitingOn(connection as Emitting)
      this.waiting.add(this)
    }
    // If no connection can close, a client that disconnects closes its request before that was read.
    if (stream === undefined && !isConnected(connection) && typeof request.on === "function") {
      request.on("close", () => {
        if (request.readableEnded === false) this.aborted()
      })
    }
    if (!this.isAwaited) throw new TypeError("expected a response, got a value without on() and end()")
  }

  // Only some responses emit an event when they are destroyed.
  private destroyed(): void {
    try {
      if (this.isOver || emitsItsEnd(this.response, this.connection)) return
      this.isDestroyed = true
      this.closed()
    } catch (error) {
      this.recorder.failed(error)
    }
  }

  finished(): void {
    this.isFinished = true
    this.closed()
  }

  private aborted(): void {
    this.isAborted = !this.isOver
    this.closed()
  }

  private watchOther(): void {
    const { connection, response } = this
    const { destroy, end, write, writeHead }: Partial<ServerResponse> = response
    const watched = this
    if (typeof end === "function") {
      // In HTTP/2, `end` of a response writes the last part by `write`.
      response.end = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
        return watched.ends(end, this, args)
      } as typeof end
      this.isAwaited = true
    }
    if (typeof writeHead === "function") {
      response.writeHead = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
        return watched.writesHead(writeHead, this, args)
      } as typeof writeHead
    }
    if (typeof write === "function") {
      response.write = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
        return watched.writes(write, this, args)
      } as typeof write
    }
    if (typeof destroy === "function" && !emitsItsEnd(response, connection)) {
      response.destroy = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
        const result = Reflect.apply(destroy, this, args as Parameters<typeof destroy>)
        watched.destroyed()
        return result
      }
    }
  }

  ends(end: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    if (this.options.hasResponseSize) this.add(args[0], args[1])
    const wasEnding = this.isEnding
    this.isEnding = true
    let result: unknown
    try {
      result = Reflect.apply(end, response, args)
    } finally {
      this.isEnding = wasEnding
    }
    this.ended()
    return result
  }

  writes(write: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    this.add(args[0], args[1])
    const result = Reflect.apply(write, response, args)
    this.written()
    return result
  }

  writesHead(writeHead: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    const result = Reflect.apply(writeHead, response, args)
    this.begun(args)
    return result
  }

  // The following methods are called within calls of the application, so they never throw.

  private begun(head: ReadonlyArray<unknown> | undefined): void {
    try {
      this.status = numberOf(this.response.statusCode)
      this.head = head
      this.sentBefore = this.connection?.bytesWritten
      if (this.context !== undefined) this.context = newContext()
    } catch (error) {
      this.recorder.failed(error)
    }
  }

  private written(): void {
    // Only a Node.js response always calls `writeHead`.
    if (this.status === undefined) this.begun(undefined)
    this.sentBefore = undefined
  }

  private add(chunk: unknown, encoding: unknown): void {
    try {
      if (this.bytes === undefined || this.isEnding || this.response.writableEnded || !this.isCounted()) return
      this.bytes += sizeOf(chunk, encoding)
    } catch (error) {
      this.bytes = undefined
      this.recorder.failed(error)
    }
  }

  // Without sizes, only what may reach an announced length before the end, which a response in chunks does not have.
  private isCounted(): boolean {
    return this.options.hasResponseSize || (this.stream === undefined && !this.response.chunkedEncoding)
  }

  private ended(): void {
    this.written()
    this.isEnded = true
    try {
      if (!this.isOver && !emitsItsEnd(this.response, this.connection)) this.finished()
    } catch (error) {
      this.recorder.failed(error)
    }
  }
}

const isEnded = ({ finished, writableEnded }: Partial<ServerResponse>): boolean | undefined => writableEnded ?? finished

const textOf = (route: unknown): string | undefined =>
  route === undefined || route === null || route === "" ? undefined : String(route)

// Node.js converts the status to a number.
const numberOf = (status: unknown): number => Number(status) || 200
