/** The servers of the demo: where they listen, and what they print when they close. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Exit, Layer } from "effect"

/** The demo can only be reached from this machine. */
export const host = "127.0.0.1"

/** The application's server. At shutdown it closes all connections after 2 seconds: one that stays in use would block it. */
export const localServer = (port: number) => {
  const server = createServer()
  const cut = Effect.sync(() => setTimeout(() => server.closeAllConnections(), 2_000).unref())
  // This finalizer runs when the server stops accepting connections; the layers on top have closed before.
  return Layer.scopedDiscard(Effect.addFinalizer(() => cut)).pipe(
    Layer.provideMerge(NodeHttpServer.layer(() => server, { host, port }))
  )
}

/** The server on the preferred port, or on any free port if that one is in use. */
export const preferring = <A, E, R>(
  port: number,
  server: (port: number) => Layer.Layer<A, E, R>,
  isInUse: (error: E) => boolean
): Layer.Layer<A, E, R> => Layer.catchAll(server(port), (error) => (isInUse(error) ? server(0) : Layer.fail(error)))

/** Prints `line` after the layer has closed. The finalizer is added before the layer is built, so it runs last. */
export const sayingWhenClosed =
  (line: string) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.unwrapScoped(Effect.as(sayingAtTheEnd(Effect.succeed(line)), layer))

/** Prints `line` when the scope closes, unless it closes because the start failed. */
export const sayingAtTheEnd = (line: Effect.Effect<string>) =>
  Effect.addFinalizer((exit) =>
    Exit.isSuccess(exit) || Exit.isInterrupted(exit) ? Effect.flatMap(line, Console.log) : Effect.void
  )
