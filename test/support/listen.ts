import type { AddressInfo, Server, Socket } from "node:net"
import { Effect, type Scope } from "effect"

/** The port on which a server listens for as long as the scope lasts. Its connections are destroyed with it. */
export const listen = (server: Server): Effect.Effect<number, never, Scope.Scope> => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => sockets.add(socket.once("close", () => sockets.delete(socket))))
  return Effect.map(
    Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    ),
    () => (server.address() as AddressInfo).port
  )
}
