/** The requests that a server of Node.js gets: when each has ended, how, and how large it was. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Stream } from "node:http2"
import { keptContext, newContext } from "./httpContext.js"
import type { HttpRecorder, HttpRun } from "./httpMetrics.js"
import { unmatched } from "./httpMetrics.js"
import type { Connection } from "./httpNode.js"
import {
  bytesOfRequest,
  contentTypeOf,
  emitsItsEnd,
  headerOf,
  isConnected,
  sizeOf,
  streamOf,
  whyCut
} from "./httpNode.js"
import type { Excluding, LongLived } from "./httpOptions.js"
import { pathOf } from "./httpOptions.js"
import type { Labels } from "./labels.js"
import { onLeftOut } from "./leftOut.js"
import { atOnce } from "./thenable.js"

/**
 * How a request has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpOutcome {
  /** The value of the label: a pattern, or `unmatched`. */
  readonly route: string
  /** The value of the label. */
  readonly status: number
  /**
   * Who cut the answer before all of it was sent: the client, which went away or did not send the rest of its request, or
   * the server, for example because a handler failed when the status had been sent already.
   */
  readonly cut: "client" | "server" | undefined
}

/** What the caller decides about each request. An error of these is reported, and changes nothing. */
export interface Asked extends Excluding<IncomingMessage>, LongLived<readonly [IncomingMessage, ServerResponse]> {
  readonly labels: ((request: IncomingMessage, response: ServerResponse, outcome: HttpOutcome) => Labels) | undefined
}

/**
 * Records a request, from now until its response is closed: to be called when the request arrives, before anything else
 * has a hand in the response. For the same request it does nothing when it is called again.
 *
 * `route` is asked at the end, when the router has been through, and gives the *pattern* of the route (`/users/:id`), or
 * `undefined` where the request matched none. A path in the place of the pattern would be a series for each path that
 * anybody makes up. It is called in the asynchronous context (`AsyncLocalStorage`) in which the head of the answer was
 * sent; where none was, in the one in which Express has found the route (by `expressRoute`), or else in that of this call.
 *
 * It never throws, whatever request and response it is given.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpMeasure = (
  request: IncomingMessage,
  response: ServerResponse,
  route?: (() => string | undefined) | undefined
) => void

/** Records the requests that it is called with, each once for all that record on the same `target`. */
export const watching = (recorder: HttpRecorder, asked: Asked, target: object): HttpMeasure => {
  const marks = marksOf(target)
  // Whatever goes wrong here is an error of the measuring. The request goes on as if it were not measured.
  return (request, response, route) => {
    let watched: Watched | undefined
    try {
      if (isExcluded(request, recorder, asked) || marks.has(request)) return
      marks.add(request)
      watched = new Watched(request, response, route, recorder, asked)
      watched.begin()
    } catch (error) {
      recorder.failed(error)
      watched?.notBegun()
    }
  }
}

interface Marked {
  [seen: symbol]: unknown
}

/** The requests that are recorded on one target. */
class Marks {
  // On the request itself: a set that holds it weakly would cost the collector more.
  private readonly seen = Symbol("effect-prometheus/httpMetrics")
  private readonly others = new WeakSet<object>()

  has(request: object): boolean {
    return (request as Marked)[this.seen] === true || this.others.has(request)
  }

  add(request: object): void {
    if (Object.isExtensible(request)) (request as Marked)[this.seen] = true
    else this.others.add(request)
  }
}

const marks = new WeakMap<object, Marks>()
let hasMarks = false

const marksOf = (target: object): Marks => {
  hasMarks = true
  const known = marks.get(target) ?? new Marks()
  marks.set(target, known)
  return known
}

/** Whether a request of Node.js is recorded on that target already. */
export const isRecorded = (request: object, target: () => object): boolean =>
  hasMarks && (marks.get(target())?.has(request) ?? false)

const isExcluded = (request: IncomingMessage, recorder: HttpRecorder, { excludes }: Asked): boolean => {
  try {
    return excludes(request, pathOf(urlOf(request)))
  } catch (error) {
    recorder.failed(error)
    return false
  }
}

// Express takes from the `url` what the place of a router stands for.
const urlOf = ({ originalUrl, url }: IncomingMessage & { readonly originalUrl?: unknown }): string =>
  typeof originalUrl === "string" ? originalUrl : (url ?? "")

const upgraded = 101

// The code with which a client closes a stream whose answer it no longer wants.
const cancelled = 8

// One request until its response is closed, as one object: functions of its own would be made anew for every request.
class Watched {
  private readonly start = performance.now()
  private readonly stream: ServerHttp2Stream | undefined
  // A response lets go of its connection when it is finished.
  private readonly connection: Connection
  private run: HttpRun | undefined
  private context = newContext()
  private requestBytes: ((isWhole: boolean) => number | undefined) | undefined
  private open: Set<Watched> | undefined
  // Of the answer: what it was begun with, and how much of it was written, where that is known.
  private status: number | undefined
  private head: ReadonlyArray<unknown> | undefined
  private bytes: number | undefined
  // How much its connection had sent by then, unless something of the answer was written.
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
    private readonly response: ServerResponse,
    private readonly route: (() => string | undefined) | undefined,
    private readonly recorder: HttpRecorder,
    private readonly asked: Asked
  ) {
    this.stream = streamOf(response)
    this.connection = request.socket
  }

  /** Waits for the end. */
  begin(): void {
    const { request, response } = this
    this.run = this.recorder.begin(request.method ?? "")
    // It may be measured late.
    if (this.isClosed()) this.closed()
    else {
      this.awaitEnd()
      this.requestBytes = bytesOfRequest(request, response)
    }
    onLeftOut(request, this)
  }

  /** It could not be begun: nothing is known of its end, unless that is awaited already. */
  notBegun(): void {
    if (!this.isAwaited) this.leaveOut()
  }

  leaveOut(): void {
    if (this.over()) this.run?.leaveOut()
  }

  /** The response is closed, or cannot be any more. */
  closed(): void {
    if (!this.over()) return
    try {
      // The latest that is known: where the head was sent, where the route was found, where the request arrived.
      const context = this.status === undefined ? (keptContext(this.request) ?? this.context) : this.context
      // Not below 0 where a test has replaced the clock meanwhile.
      context.runInAsyncScope(this.record, this, Math.max(0, performance.now() - this.start) / 1e3)
    } catch (error) {
      this.recorder.failed(error)
    } finally {
      // Does nothing where its end was recorded.
      this.run?.leaveOut()
    }
  }

  private record(seconds: number): void {
    const { asked } = this
    const route = this.pattern()
    if (route !== undefined && asked.excludesRoute(route)) return
    const isWhole = this.isWhole()
    const isLongLived = this.isLongLived(route)
    const why = isWhole ? undefined : this.whyCut()
    const status = this.statusOf(why, isLongLived)
    const cut = why === undefined ? undefined : why === 500 ? "server" : "client"
    this.run?.end({
      route,
      status,
      labels: this.labels({ route: route ?? unmatched, status, cut }),
      // How long two ends talk to each other after an upgrade is not the time of a request.
      seconds: status === upgraded || isLongLived ? undefined : seconds,
      requestBytes: status === upgraded ? undefined : this.requestBytes?.(isWhole),
      responseBytes: isWhole ? (this.hasNoBody(status) ? 0 : this.bytes) : undefined
    })
  }

  private over(): boolean {
    if (this.isOver) return false
    this.isOver = true
    this.open?.delete(this)
    return true
  }

  private pattern(): string | undefined {
    try {
      const route: unknown = atOnce(this.route?.(), "route")
      return route === undefined || route === null || route === "" ? undefined : String(route)
    } catch (error) {
      this.recorder.failed(error)
      return undefined
    }
  }

  private labels(outcome: HttpOutcome): Labels | undefined {
    try {
      return this.asked.labels?.(this.request, this.response, outcome)
    } catch (error) {
      this.recorder.failed(error)
      return undefined
    }
  }

  private isLongLived(route: string | undefined): boolean {
    const { asked, head, request, response, stream } = this
    try {
      return asked.isLongLived?.(route, () => contentTypeOf(response, stream, head), request, response) ?? false
    } catch (error) {
      this.recorder.failed(error)
      return false
    }
  }

  /** Whether it is over already where it is asked late. */
  private isClosed(): boolean {
    const { connection, response, stream } = this
    if (stream !== undefined) return stream.destroyed
    if (response.closed || response.destroyed || response.writableFinished || connection?.closed === true) return true
    return isEnded(response) === true && !emitsItsEnd(response, connection)
  }

  /** Whether all of the answer was sent. What does not say so of itself has sent what it had. */
  private isWhole(): boolean {
    const { connection, response, stream } = this
    if (stream !== undefined) return response.writableEnded && !stream.aborted && stream.rstCode === 0
    // A write that failed finishes a response as well.
    if (connection?.errored || this.isAborted || this.isDestroyed) return false
    if (this.isFinished || this.isAsLongAsSaid()) return true
    return response.writableFinished ?? (this.isEnded || (isEnded(response) ?? true))
  }

  // A client that has got all that the head announced can close before the server calls `end()`.
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
    // One whose turn never came on its connection has sent nothing, whatever was written, nor has a head alone.
    const begun = response.socket === null || this.isUnsent() ? undefined : sent
    if (why === 499) return isLongLived ? (begun ?? 200) : why
    return begun ?? why
  }

  // Node.js keeps the head until something is written, or the headers are flushed.
  private isUnsent(): boolean {
    return this.sentBefore !== undefined && this.sentBefore === this.connection?.bytesWritten
  }

  /** Whatever was made of the status afterwards. */
  private sentStatus(): number | undefined {
    const { response, status, stream } = this
    if (stream !== undefined) return stream.sentHeaders && numberOf(stream.sentHeaders[":status"])
    return status ?? (response.headersSent === true ? numberOf(response.statusCode) : undefined)
  }

  // What is written to those goes nowhere.
  private hasNoBody(status: number): boolean {
    return this.request.method === "HEAD" || status === 204 || status === 304
  }

  private awaitEnd(): void {
    const { connection, request, response, stream } = this
    if (typeof response.on === "function") {
      // Each of them may be missing where no server of Node.js has made the response.
      response.on("finish", () => this.finished())
      response.on("close", () => this.closed())
      this.isAwaited = true
    }
    if (stream === undefined && typeof connection?.on === "function") {
      this.open = openOn(connection as Emitting)
      this.open.add(this)
    }
    // Where no connection can close, a client that goes away closes its request before that was read.
    if (stream === undefined && !isConnected(connection) && typeof request.on === "function") {
      request.on("close", () => {
        if (request.readableEnded === false) this.aborted()
      })
    }
    this.watchAnswer()
    if (!this.isAwaited) throw new TypeError("expected a response, got a value without on() and end()")
  }

  // Only some responses emit something then.
  private destroyed(): void {
    try {
      if (this.isOver || emitsItsEnd(this.response, this.connection)) return
      this.isDestroyed = true
      this.closed()
    } catch (error) {
      this.recorder.failed(error)
    }
  }

  private finished(): void {
    this.isFinished = true
    this.closed()
  }

  private aborted(): void {
    this.isAborted = !this.isOver
    this.closed()
  }

  // What is written to the response.
  private watchAnswer(): void {
    const { connection, response } = this
    const { destroy, end, write, writeHead }: Partial<ServerResponse> = response
    const watched = this
    const heading = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      const result = Reflect.apply(writeHead as never, this, args)
      watched.begun(args)
      return result
    }
    const destroying = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      const result = Reflect.apply(destroy as never, this, args)
      watched.destroyed()
      return result
    }
    const writing = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      watched.add(args[0], args[1])
      const result = Reflect.apply(write as never, this, args)
      watched.written()
      return result
    }
    // In HTTP/2 the end of a response writes its last part by `write`.
    const ending = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      watched.add(args[0], args[1])
      const wasEnding = watched.isEnding
      watched.isEnding = true
      let result: unknown
      try {
        result = Reflect.apply(end as never, this, args)
      } finally {
        watched.isEnding = wasEnding
      }
      watched.ended()
      return result
    }
    const isBegun = response.headersSent
    if (typeof end === "function") {
      response.end = ending as typeof end
      this.isAwaited = true
    }
    if (typeof writeHead === "function") response.writeHead = heading as typeof writeHead
    if (typeof write === "function") response.write = writing as typeof write
    if (typeof destroy === "function" && !emitsItsEnd(response, connection)) {
      response.destroy = destroying as typeof destroy
    }
    // Parts that were written before are not known.
    if (!isBegun) this.bytes = 0
  }

  // The following are called within calls of the application, and so never throw.

  private begun(head: ReadonlyArray<unknown> | undefined): void {
    try {
      this.status = numberOf(this.response.statusCode)
      this.head = head
      this.sentBefore = this.connection?.bytesWritten
      this.context = newContext()
    } catch (error) {
      this.recorder.failed(error)
    }
  }

  private written(): void {
    // Only Node.js itself begins an answer by `writeHead` in any case.
    if (this.status === undefined) this.begun(undefined)
    this.sentBefore = undefined
  }

  private add(chunk: unknown, encoding: unknown): void {
    try {
      if (this.bytes === undefined || this.isEnding || this.response.writableEnded) return
      this.bytes += sizeOf(chunk, encoding)
    } catch (error) {
      this.bytes = undefined
      this.recorder.failed(error)
    }
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

// Node.js makes a number of what it is given.
const numberOf = (status: unknown): number => Number(status) || 200

// What is to end where the connection closes with responses that never had it: those of requests that came one right
// after the other, and those that were made for a connection that speaks another protocol now. Node.js closes only the
// response whose turn it is.
const open = new WeakMap<Emitting, Set<Watched>>()

interface Emitting {
  on(event: "close", listener: () => void): unknown
}

const openOn = (connection: Emitting): Set<Watched> => {
  const known = open.get(connection)
  if (known !== undefined) return known
  const all = new Set<Watched>()
  connection.on("close", () => {
    for (const watched of all) watched.closed()
  })
  open.set(connection, all)
  return all
}
