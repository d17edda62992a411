/** The open connections of a server, and which of them is given up for another. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"

/** The connections of a server; those that have not been used for the longest time come first. */
export interface Connections {
  /** Whether a request of it waits for its answer. */
  readonly isBusy: (socket: Socket) => boolean
  readonly all: () => Iterable<Socket>
}

/**
 * Follows the connections of a server, and keeps them to so many. A new one takes the place of the one that has been
 * idle, or silent, for the longest time, so that those who hold connections open keep nobody else out.
 */
export const followed = (server: HttpServer | HttpsServer, most: number): Connections => {
  const sockets = new Map<string, Socket>()
  const busy = new Map<string, number>()
  const isBusy = (socket: Socket): boolean => busy.has(nameOf(socket))

  server.on("connection", (socket: Socket) => {
    const name = nameOf(socket)
    sockets.set(name, socket)
    socket.on("close", () => {
      if (sockets.get(name) === socket) sockets.delete(name)
    })
    if (sockets.size > most) leastNeeded(sockets.values(), isBusy, socket).destroy()
  })
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const name = nameOf(socket)
    busy.set(name, (busy.get(name) ?? 0) + 1)
    response.once("close", () => {
      const left = (busy.get(name) ?? 1) - 1
      if (left > 0) {
        busy.set(name, left)
        return
      }
      busy.delete(name)
      const known = sockets.get(name)
      if (known === undefined) return
      sockets.delete(name)
      sockets.set(name, known)
    })
  })
  return { isBusy, all: () => sockets.values() }
}

const leastNeeded = (sockets: Iterable<Socket>, isBusy: (socket: Socket) => boolean, last: Socket): Socket => {
  for (const socket of sockets) if (!isBusy(socket)) return socket
  return last
}

// Of a TLS connection a server first gets the socket below it. Both have the same address and port at the other end.
const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`
