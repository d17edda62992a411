/** Tracks the connections of a server from their begin, with TLS from before their handshake. */
import type { Server as HttpServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import { type Allowance, type Connection, Connections } from "./connections.js"
import { spareWhenIdle } from "./idleConnections.js"

/**
 * A new connection replaces the one that is needed least (see `ConnectionSlots`), so that open ones keep no other
 * client out. A connection that sends more and more requests without waiting for their responses is closed.
 */
export const trackConnections = (server: HttpServer | HttpsServer, allowance: Allowance): Connections => {
  const connections = new Connections(allowance)
  const isSecure = "setSecureContext" in server
  const handshaking = new Map<string, Connection>()
  server.on("connection", (socket: Socket) => {
    const connection = connections.accept(socket)
    if (!isSecure) return connections.attach(connection, socket)
    const key = keyOf(socket)
    handshaking.set(key, connection)
    socket.on("close", () => {
      if (handshaking.get(key) === connection) handshaking.delete(key)
    })
  })
  server.on("secureConnection", (socket: Socket) => {
    // On Bun it is the same socket as that of `connection`.
    if (connections.tcpSocketOf(socket) === socket) return
    const key = keyOf(socket)
    const connection = handshaking.get(key)
    handshaking.delete(key)
    // It has left already, or was closed for another one.
    if (connection === undefined || connection.socket.destroyed) socket.destroy()
    else connections.attach(connection, socket)
  })
  spareWhenIdle(server, () => connections.responding())
  return connections
}

// A TLS connection has two sockets, first the one below TLS, with the same two ends. One end is not enough: a port of a
// client can be connected to two addresses of this machine.
const keyOf = ({ localAddress, localPort, remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
