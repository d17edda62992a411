/** The responses to malformed and oversized requests, before authorization. */
import { type Server as HttpServer, type IncomingMessage, STATUS_CODES } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import type { Connections } from "./connections.js"
import type { Rejection } from "./endpoint.js"
import type { ResponseHeaders } from "./responseHeaders.js"
import { onUnboundedHeaders } from "./unboundedHeaders.js"

/** Prometheus and proxies send fewer. Processing a header takes Node.js longer than reading it. */
export const mostHeaders = 100

const tooManyHeaders: Rejection = {
  status: 431,
  message: `Too many headers: a request may have at most ${mostHeaders}`
}
const badRequest: Rejection = { status: 400, message: "Bad request" }

/** Headers above `maxHeadersCount` are not in `rawHeaders`. */
export const malformed = (request: IncomingMessage): Rejection | undefined => {
  const { headers, httpVersionMajor, httpVersionMinor, rawHeaders } = request
  if (rawHeaders.length > 2 * mostHeaders) return tooManyHeaders
  // No client uses HTTP/0.9, which has no headers.
  if (httpVersionMajor !== 1) return badRequest
  // RFC 9112, section 3.2.
  const isHostNeeded = httpVersionMinor > 0
  if (headers.host === undefined) return isHostNeeded ? badRequest : undefined
  return hostsIn(rawHeaders) > 1 ? badRequest : undefined
}

const hostsIn = (rawHeaders: ReadonlyArray<string>): number => {
  let hosts = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === 4 && name.toLowerCase() === "host") hosts += 1
  }
  return hosts
}

const statusOf = (code: string | undefined): number => {
  if (code === "HPE_HEADER_OVERFLOW") return 431
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400
}

const lastResponse = (status: number, { last }: ResponseHeaders): string => {
  const lines = Object.entries({ ...last, "content-length": "0" }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n`
}

/**
 * For input that Node.js cannot parse, and CONNECT. Each response is the last one of its connection, after those to
 * earlier requests, which Node.js does not wait for. `Expect` headers are ignored (RFC 9110, section 10.1.1).
 */
export const respondToMalformed = (
  server: HttpServer | HttpsServer,
  connections: Connections,
  headers: ResponseHeaders,
  maxHeaderSize: number
): void => {
  const end = (socket: Socket, status: number): void =>
    connections.afterResponses(socket, () => connections.endWith(socket, lastResponse(status, headers)))
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    // After a failed handshake no response can be sent.
    if (connections.tcpSocketOf(socket as Socket) === undefined) socket.destroy()
    else end(socket as Socket, statusOf(error.code))
  })
  onUnboundedHeaders(server, maxHeaderSize, (socket) => end(socket, 431))
  server.on("connect", (_, socket) => {
    // Node.js has removed its own listener.
    socket.on("error", () => {})
    end(socket as Socket, 405)
  })
  server.on("checkContinue", (request, response) => server.emit("request", request, response))
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
}
