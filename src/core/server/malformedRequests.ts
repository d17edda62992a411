/** What is answered to requests that are none, or more than a request may be, before anything is known of who asks. */
import type { Server as HttpServer, IncomingMessage } from "node:http"
import { STATUS_CODES } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import type { Connections } from "./connections.js"
import { onEndless } from "./endless.js"
import type { Refusal } from "./endpoint.js"

/**
 * So many headers a request may have. Prometheus and the proxies before it send fewer; what Node.js makes of each takes
 * longer than to read it.
 */
export const mostHeaders = 100

const tooManyHeaders: Refusal = { status: 431, message: `A request may have ${mostHeaders} headers` }
const badRequest: Refusal = { status: 400, message: "Bad request" }

/** Why a request is refused, whoever sends it. Node.js keeps to itself what is above `maxHeadersCount`. */
export const malformed = (request: IncomingMessage): Refusal | undefined => {
  const { headers, httpVersionMajor, httpVersionMinor, rawHeaders } = request
  if (rawHeaders.length > 2 * mostHeaders) return tooManyHeaders
  // HTTP/0.9 has no headers, and is spoken by nobody.
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

const last = (status: number): string =>
  `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n` +
  "X-Content-Type-Options: nosniff\r\n\r\n"

/**
 * Answers what Node.js cannot read, which by itself it does without a header of ours and in front of answers that are
 * still to come, and what is no request for the server: each is the last one of its connection. What a client expects of
 * the server is ignored (RFC 9110, section 10.1.1): it shows in the answer.
 */
export const answerMalformed = (
  server: HttpServer | HttpsServer,
  connections: Connections,
  maxHeaderSize: number
): void => {
  const end = (socket: Socket, status: number): void =>
    connections.afterAnswers(socket, () => connections.endWith(socket, last(status)))
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    // A handshake that failed: there is nobody to answer to.
    if (connections.below(socket as Socket) === undefined) socket.destroy()
    else end(socket as Socket, statusOf(error.code))
  })
  onEndless(server, maxHeaderSize, (socket) => end(socket, 431))
  server.on("connect", (_, socket) => {
    // Node.js has taken its own listener away.
    socket.on("error", () => {})
    end(socket as Socket, 405)
  })
  server.on("checkContinue", (request, response) => server.emit("request", request, response))
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
}
