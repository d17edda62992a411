/**
 * What Node.js reads without an end before it has a request: empty lines, the spaces before a target, and those before the
 * value of a header count for nothing there, and only the time for headers ends them.
 *
 * This reaches into Node.js (20 to 24): `_unrefTimer` of a socket is called for each piece that its parser has read. Where
 * there is none, as on other runtimes, that time alone is the limit.
 */
import type { Server as HttpServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import { nextTick } from "node:process"

interface Reading extends Socket {
  _unrefTimer?: () => void
}

// What stands around names and values is not counted as headers.
const around = 4_096

/** Calls `act` for a connection that has sent much more than the headers of a request may be, and no request. */
export const onEndless = (server: HttpServer | HttpsServer, maxHeaderSize: number, act: (socket: Socket) => void) => {
  const most = 2 * maxHeaderSize + around
  // How much had been read of each when its last request was there. Nothing is known of those that are read no more.
  const readBefore = new WeakMap<Socket, number>()
  const isEndless = (socket: Socket): boolean => socket.bytesRead - (readBefore.get(socket) ?? Infinity) > most
  server.on("setSecureContext" in server ? "secureConnection" : "connection", (socket: Reading) => {
    const { _unrefTimer } = socket
    if (typeof _unrefTimer !== "function") return
    readBefore.set(socket, 0)
    socket._unrefTimer = () => {
      _unrefTimer.call(socket)
      if (!isEndless(socket)) return
      // A request in what was read may still be on its way.
      nextTick(() => {
        if (socket.destroyed || !isEndless(socket)) return
        readBefore.delete(socket)
        act(socket)
      })
    }
  })
  server.on("request", ({ socket }) => {
    if (readBefore.has(socket)) readBefore.set(socket, socket.bytesRead)
  })
  for (const taken of ["upgrade", "connect"]) server.on(taken, (_, socket) => readBefore.delete(socket as Socket))
}
