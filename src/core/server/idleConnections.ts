/**
 * Closes idle connections, but not those that still send: to Node.js one is idle as soon as its response is ready.
 *
 * Depends on internals of Node.js (20 to 24): `server.close()` calls the method `closeIdleConnections` of the server,
 * and that calls `destroy` of each idle socket; without it: a shutdown can cut a response that is being sent.
 */
import type { Server as HttpServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"

/** `closeIdleConnections` leaves the connections open that `sending` returns. */
export const spareWhenIdle = (server: HttpServer | HttpsServer, sending: () => Iterable<Socket>): void => {
  const closeIdle = server.closeIdleConnections.bind(server)
  server.closeIdleConnections = () => {
    const spared = [...sending()]
    for (const socket of spared) socket.destroy = () => socket
    closeIdle()
    for (const socket of spared) Reflect.deleteProperty(socket, "destroy")
  }
}
