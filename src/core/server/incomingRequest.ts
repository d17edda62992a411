/**
 * Requests whose bodies are not read. Nothing is read after a request that ends its connection.
 *
 * Depends on internals of Node.js (20 to 24): its parser reads `upgrade` of a new request, and stops reading the connection
 * if it is true; without it: all that a connection sends is parsed, and the limits of its requests apply.
 */
import { type Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import type { Connections } from "./connections.js"
import { malformed } from "./malformedRequests.js"

// Deno throws an uncaught error if it stops at a request without `Upgrade`, or with a body. On Deno everything is read.
const readsAll = process.versions["deno"] !== undefined

/**
 * Node.js processes up to 64 KiB in one turn: thousands of requests, also of a closed connection, or ten thousand
 * chunks. It stops at an upgrade, so a request that is malformed or has a body or `Upgrade` is taken for one.
 */
export class Incoming extends IncomingMessage {
  private isLast: boolean | undefined
  private isUpgrade = false

  get upgrade(): boolean {
    const isUpgrade = this.isUpgrade || this.method === "CONNECT"
    if (readsAll) return isUpgrade && !hasBody(this)
    this.isLast ??= isUpgrade || hasBody(this) || malformed(this) !== undefined
    // Other runtimes make requests without a socket.
    return this.isLast || this.socket?.destroyed === true
  }

  // Chunks of a body are dropped.
  override push(chunk: unknown): boolean {
    return chunk === null ? super.push(null) : true
  }

  // A client that sends `Upgrade` gets its response in HTTP. Node.js would drop what follows, and resume in the middle
  // of the next request.
  set upgrade(isUpgrade: unknown) {
    this.isUpgrade ||= isUpgrade === true
  }
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) !== 0

/** Each response is the last one of its connection. */
export const respondToStopped = (server: HttpServer | HttpsServer, connections: Connections): void => {
  server.on("upgrade", (request, socket) => {
    // Node.js has removed its own listener.
    socket.on("error", () => {})
    connections.stopReading(socket as Socket)
    connections.afterResponses(socket as Socket, () => {
      if (socket.destroyed) return
      const response = new ServerResponse(request)
      response.shouldKeepAlive = false
      response.assignSocket(socket as Socket)
      response.once("finish", () => connections.end(socket as Socket))
      server.emit("request", request, response)
    })
  })
}
