/**
 * Closes connections that send data which Node.js does not count as headers, without a limit: empty lines, the spaces before
 * a target, and those before the value of a header.
 *
 * Depends on internals of Node.js (20 to 24): its parser calls `_unrefTimer` of a socket for each chunk that it has read.
 * Without this call, only `headersTimeout` limits this data.
 */
import type { Server as HttpServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import { nextTick } from "node:process"

// Separators around names and values are not counted as headers.
const separators = 4_096

/** Calls `act` for a connection that has sent more than twice `maxHeaderSize` without a request. */
export const onUnboundedHeaders = (
  server: HttpServer | HttpsServer,
  maxHeaderSize: number,
  act: (socket: Socket) => void
): void => {
  const most = 2 * maxHeaderSize + separators
  // Bytes sent at the last request. A connection that is not read any more has no entry.
  const readBefore = new WeakMap<Socket, number>()
  const isUnbounded = (socket: Socket): boolean => socket.bytesRead - (readBefore.get(socket) ?? Infinity) > most
  server.on(
    "setSecureContext" in server ? "secureConnection" : "connection",
    (socket: Socket & { _unrefTimer?: () => void }) => {
      const { _unrefTimer } = socket
      if (typeof _unrefTimer !== "function") return
      readBefore.set(socket, 0)
      socket._unrefTimer = () => {
        _unrefTimer.call(socket)
        if (!isUnbounded(socket)) return
        // The chunk may end a request, which is emitted after this call.
        nextTick(() => {
          if (socket.destroyed || !isUnbounded(socket)) return
          readBefore.delete(socket)
          act(socket)
        })
      }
    }
  )
  server.on("request", ({ socket }) => {
    if (readBefore.has(socket)) readBefore.set(socket, socket.bytesRead)
  })
  for (const event of ["upgrade", "connect"]) server.on(event, (_, socket) => readBefore.delete(socket as Socket))
}
