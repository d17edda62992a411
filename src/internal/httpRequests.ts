/** The requests that a server of Node.js gets: when each has ended, how, and how large it was. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Stream } from "node:http2"
import type { Socket } from "node:net"
import type { HttpRecorder } from "./httpMetrics.js"
import { bytesOfRequest, sizeOf, streamOf, whyCut } from "./httpNode.js"
import type { Excluding } from "./httpOptions.js"
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
export const watching = (recorder: HttpRecorder, { excludes, excludesRoute, labels }: Asked): HttpMeasure => {
  // On the request itself: a set that holds it weakly would cost the collector more.
  const seen = Symbol("effect-prometheus/httpMetrics")
  const asked = <A>(ask: () => A): A | undefined => {
    try {
      return ask()
    } catch (error) {
      recorder.failed(error)
      return undefined
    }
  }
  return (request, response, route) => {
    if (Reflect.get(request, seen) === true) return
    Reflect.set(request, seen, true)
    if (asked(() => excludes(request, pathOf(request))) === true) return
    const run = recorder.begin(request.method ?? "")
    const start = performance.now()
    const requestBytes = bytesOfRequest(request, response)
    const responseBytes = bytesOfResponse(request, response)
    const how = endOf(request, response)
    const forget = onceClosed(request, response, () => {
      const seconds = (performance.now() - start) / 1e3
      const { isWhole, status } = how()
      const pattern = route && asked(() => textOf(route()))
      if (pattern !== undefined && excludesRoute(pattern)) return run.leaveOut()
      run.end({
        route: pattern,
        status,
        labels: labels && asked(() => labels(request, response)),
        // How long two ends talk to each other after an upgrade is not the time of a request.
        seconds: status === upgraded ? undefined : seconds,
        requestBytes: status === upgraded ? undefined : requestBytes(isWhole),
        responseBytes: isWhole ? responseBytes() : undefined
      })
    })
    onLeftOut(request, () => {
      forget()
      run.leaveOut()
    })
  }
}

const textOf = (route: unknown): string | undefined => (route === undefined ? undefined : String(route))

// Express takes from the `url` what the place of a router stands for.
const pathOf = ({ originalUrl, url }: IncomingMessage & { readonly originalUrl?: unknown }): string => {
  const [path = ""] = (typeof originalUrl === "string" ? originalUrl : (url ?? "")).split("?", 1)
  return path
}

const upgraded = 101

// What is to be done where the connection closes with responses that never had it: those of requests that came one
// right after the other, and those that were made for a connection that speaks another protocol now. Only the response
// whose turn it is is told by Node.js.
const open = new WeakMap<Socket, Set<() => void>>()

const openOn = (socket: Socket): Set<() => void> => {
  const known = open.get(socket)
  if (known !== undefined) return known
  const ends = new Set<() => void>()
  open.set(socket, ends)
  socket.once("close", () => {
    for (const end of ends) end()
  })
  return ends
}

/** Calls `act` once, when the response is closed, or cannot be any more. It gives back how to have that forgotten. */
const onceClosed = (request: IncomingMessage, response: ServerResponse, act: () => void): (() => void) => {
  const ends = streamOf(response) === undefined ? openOn(request.socket) : undefined
  const forget = (): void => {
    response.removeListener("close", end)
    ends?.delete(end)
  }
  const end = (): void => {
    forget()
    act()
  }
  // Who asks late may find it closed.
  if (isClosed(request, response)) {
    act()
    return forget
  }
  response.once("close", end)
  ends?.add(end)
  return forget
}

const isClosed = ({ socket }: IncomingMessage, response: ServerResponse): boolean => {
  const stream = streamOf(response)
  return stream === undefined ? response.closed || socket.closed : stream.destroyed
}

interface End {
  readonly status: number
  /** Whether all of the answer was sent. */
  readonly isWhole: boolean
}

const endOf = (request: IncomingMessage, response: ServerResponse): (() => End) => {
  const stream = streamOf(response)
  // A response lets go of its connection when it is finished.
  const { socket } = request
  return () => {
    if (stream !== undefined) return endOfStream(response, stream)
    // A write that failed finishes a response as well.
    if (response.writableFinished && socket.errored === null) return { status: response.statusCode, isWhole: true }
    if (Reflect.get(request, "upgrade") === true || (response.headersSent && response.statusCode === upgraded)) {
      return { status: upgraded, isWhole: false }
    }
    return { status: whyCut(response, socket), isWhole: false }
  }
}

// What a client closes a stream with, whose answer it does not want any more.
const cancelled = 8

const endOfStream = (response: ServerResponse, { aborted, rstCode }: ServerHttp2Stream): End => {
  if (response.writableEnded && !aborted && rstCode === 0) return { status: response.statusCode, isWhole: true }
  return { status: rstCode === cancelled ? 499 : 500, isWhole: false }
}

/** How many bytes of a body have been written to the response. */
const bytesOfResponse = (request: IncomingMessage, response: ServerResponse): (() => number) => {
  let bytes = 0
  let isEnding = false
  const add = ([chunk, encoding]: ReadonlyArray<unknown>): void => {
    if (!isEnding && !response.writableEnded) bytes += sizeOf(chunk, encoding)
  }
  const { end, write } = response
  const writing = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
    add(args)
    return Reflect.apply(write, this, args)
  }
  // In HTTP/2 the end of a response writes its last part by `write`.
  const ending = function (this: ServerResponse, ...args: ReadonlyArray<unknown>): unknown {
    add(args)
    const wasEnding = isEnding
    isEnding = true
    try {
      return Reflect.apply(end, this, args)
    } finally {
      isEnding = wasEnding
    }
  }
  Object.assign(response, { end: ending, write: writing })
  return () => (hasNoBody(request, response) ? 0 : bytes)
}

// What is written to those goes nowhere.
const hasNoBody = ({ method }: IncomingMessage, { statusCode }: ServerResponse): boolean =>
  method === "HEAD" || statusCode === 204 || statusCode === 304
