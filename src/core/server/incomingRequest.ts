/** Requests as a server reads them: without bodies, and nothing after what ends their connection. */
import type { Server as HttpServer } from "node:http"
import { IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import type { Connections } from "./connections.js"
import { malformed } from "./malformed.js"

// Deno throws where it stops at a request that asks for no other protocol, or has a body, and nothing catches that: the
// request would get no answer. There all that comes is read.
const isReadWhole = process.versions["deno"] !== undefined

/**
 * A request after which Node.js reads nothing more of its connection if it has a body, asks for another protocol, or is
 * malformed. Node.js reads up to 64 KiB at once, and processes all of that in one turn of the event loop: thousands of
 * requests, also after their connection has been closed, or ten thousand pieces of a body. It stops at what it takes for an
 * upgrade to another protocol.
 */
export class Incoming extends IncomingMessage {
  private isLast: boolean | undefined
  private isForOther = false

  get upgrade(): boolean {
    const isForOther = this.isForOther || this.method === "CONNECT"
    if (isReadWhole) return isForOther && !hasBody(this)
    this.isLast ??= isForOther || hasBody(this) || malformed(this) !== undefined
    // Other runtimes make requests without a socket.
    return this.isLast || this.socket?.destroyed === true
  }

  // Where a body is read, nothing of it is kept.
  override push(chunk: unknown): boolean {
    return chunk === null ? super.push(null) : true
  }

  // A client that asks for another protocol gets its answer in this one. What it has sent after that is no request to
  // Node.js, which would drop it and go on in the middle of the next one.
  set upgrade(isForOther: unknown) {
    this.isForOther ||= isForOther === true
  }
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) !== 0

/** Answers the requests at which Node.js has stopped: each is the last one of its connection. */
export const answerUnread = (server: HttpServer | HttpsServer, connections: Connections): void => {
  server.on("upgrade", (request, socket) => {
    // Node.js has taken its own listener away.
    socket.on("error", () => {})
    connections.unread(socket as Socket)
    connections.afterAnswers(socket as Socket, () => {
      if (socket.destroyed) return
      const response = new ServerResponse(request)
      response.shouldKeepAlive = false
      response.assignSocket(socket as Socket)
      response.once("finish", () => connections.end(socket as Socket))
      server.emit("request", request, response)
    })
  })
}
