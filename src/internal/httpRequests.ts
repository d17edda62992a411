/** The requests that a server of Node.js gets: when each has ended, how, and how large it was. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"
import type { HttpRecorder, HttpRun } from "./httpMetrics.js"
import { bytesOfRequest, sizeOf, streamOf, whyCut } from "./httpNode.js"
import type { Excluding } from "./httpOptions.js"
import { pathOf } from "./httpOptions.js"
import type { Labels } from "./labels.js"
import { onLeftOut } from "./leftOut.js"

/** What is asked of the caller for each request. Whatever these throw is told, and changes nothing. */
export interface Asked extends Excluding<IncomingMessage> {
  readonly labels: ((request: IncomingMessage, response: ServerResponse) => Labels) | undefined
}

/**
 * Records a request, from now until its response is closed: to be called when the request arrives, before anything else
 * has a hand in the response. For the same request it does nothing when it is called again.
 *
 * `route` is asked at the end, when the router has been through, and gives the *pattern* of the route (`/users/:id`), or
 * `undefined` where the request matched none. A path in the place of the pattern would be a series for each path that
 * anybody makes up.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpMeasure = (
  request: IncomingMessage,
  response: ServerResponse,
  route?: (() => string | undefined) | undefined
) => void

/** Records the requests that it is called with, each once. */
export const watching = (recorder: HttpRecorder, asked: Asked): HttpMeasure => {
  // On the request itself: a set that holds it weakly would cost the collector more.
  const seen = Symbol("effect-prometheus/httpMetrics")
  return (request: IncomingMessage & { [seen]?: true }, response, route) => {
    if (request[seen] === true) return
    request[seen] = true
    if (!isExcluded(request, recorder, asked)) new Watched(request, response, route, recorder, asked).begin()
  }
}

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

// One request until its response is closed, as one object: functions of its own would be made anew for every request.
class Watched {
  private readonly run: HttpRun
  private readonly start = performance.now()
  private readonly stream: ServerHttp2Stream | undefined
  // A response lets go of its connection when it is finished.
  private readonly socket: Socket
  private readonly requestBytes: (isWhole: boolean) => number | undefined
  private open: Set<Watched> | undefined
  private bytes = 0
  private isEnding = false
  private isOver = false

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly route: (() => string | undefined) | undefined,
    private readonly recorder: HttpRecorder,
    private readonly asked: Asked
  ) {
    this.run = recorder.begin(request.method ?? "")
    this.stream = streamOf(response)
    this.socket = request.socket
    this.requestBytes = bytesOfRequest(request, response)
  }

  /** Waits for the end. */
  begin(): void {
    const { response, socket, stream } = this
    this.countBytes()
    // Who asks late may find it closed.
    if (stream === undefined ? response.closed || socket.closed : stream.destroyed) this.closed()
    else {
      response.on("close", () => this.closed())
      if (stream === undefined) {
        this.open = openOn(socket)
        this.open.add(this)
      }
    }
    onLeftOut(this.request, this)
  }

  leaveOut(): void {
    if (this.over()) this.run.leaveOut()
  }

  /** The response is closed, or cannot be any more. */
  closed(): void {
    if (!this.over()) return
    const { asked, response, run } = this
    const seconds = (performance.now() - this.start) / 1e3
    const isWhole = this.isWhole()
    const status = isWhole ? response.statusCode : this.cutStatus()
    const route = this.pattern()
    if (route !== undefined && asked.excludesRoute(route)) run.leaveOut()
    else this.end(route, status, isWhole, seconds)
  }

  private end(route: string | undefined, status: number, isWhole: boolean, seconds: number): void {
    const { request, response } = this
    this.run.end({
      route,
      status,
      labels: this.labels(),
      // How long two ends talk to each other after an upgrade is not the time of a request.
      seconds: status === upgraded ? undefined : seconds,
      requestBytes: status === upgraded ? undefined : this.requestBytes(isWhole),
      responseBytes: isWhole ? (hasNoBody(request, response) ? 0 : this.bytes) : undefined
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
      const route: unknown = this.route?.()
      return route === undefined ? undefined : String(route)
    } catch (error) {
      this.recorder.failed(error)
      return undefined
    }
  }

  private labels(): Labels | undefined {
    try {
      return this.asked.labels?.(this.request, this.response)
    } catch (error) {
      this.recorder.failed(error)
      return undefined
    }
  }

  /** Whether all of the answer was sent. */
  private isWhole(): boolean {
    const { response, socket, stream } = this
    // A write that failed finishes a response as well.
    if (stream === undefined) return response.writableFinished && socket.errored === null
    return response.writableEnded && !stream.aborted && stream.rstCode === 0
  }

  private cutStatus(): number {
    const { request, response, socket, stream } = this
    if (stream !== undefined) return stream.rstCode === cancelled ? 499 : 500
    const { upgrade } = request as { readonly upgrade?: unknown }
    if (upgrade === true || (response.headersSent && response.statusCode === upgraded)) return upgraded
    return whyCut(response, socket)
  }

  // What is written to the body of the response.
  private countBytes(): void {
    const { response } = this
    const { end, write } = response
    const watched = this
    const writing = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      watched.add(args[0], args[1])
      return Reflect.apply(write, this, args)
    }
    // In HTTP/2 the end of a response writes its last part by `write`.
    const ending = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
      watched.add(args[0], args[1])
      const wasEnding = watched.isEnding
      watched.isEnding = true
      try {
        return Reflect.apply(end, this, args)
      } finally {
        watched.isEnding = wasEnding
      }
    }
    response.write = writing as typeof write
    response.end = ending as typeof end
  }

  private add(chunk: unknown, encoding: unknown): void {
    if (!this.isEnding && !this.response.writableEnded) this.bytes += sizeOf(chunk, encoding)
  }
}

// What is to end where the connection closes with responses that never had it: those of requests that came one right
// after the other, and those that were made for a connection that speaks another protocol now. Only the response whose
// turn it is is told by Node.js.
const open = new WeakMap<Socket, Set<Watched>>()

const openOn = (socket: Socket): Set<Watched> => {
  const known = open.get(socket)
  if (known !== undefined) return known
  const all = new Set<Watched>()
  open.set(socket, all)
  socket.once("close", () => {
    for (const watched of all) watched.closed()
  })
  return all
}

// What a client closes a stream with, whose answer it does not want any more.
const cancelled = 8

// What is written to those goes nowhere.
const hasNoBody = ({ method }: IncomingMessage, { statusCode }: ServerResponse): boolean =>
  method === "HEAD" || statusCode === 204 || statusCode === 304
