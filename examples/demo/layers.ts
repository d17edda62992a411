/** The servers of the demo: where they listen, and what they say when they close. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Exit, Layer } from "effect"

/** The demo is for this machine alone. */
export const host = "127.0.0.1"

/** The application's server on this machine. On its own it would wait for ever for a client that keeps on asking. */
export const localServer = (port: number) => {
  const server = createServer()
  const cut = Effect.sync(() => setTimeout(() => server.closeAllConnections(), 2_000).unref())
  // What is built on top is closed before: the time runs from when the server stops accepting.
  return Layer.scopedDiscard(Effect.addFinalizer(() => cut)).pipe(
    Layer.provideMerge(NodeHttpServer.layer(() => server, { host, port }))
  )
}

/** The server on the port that is preferred, or on any free one if that is in use. */
export const preferring = <A, E, R>(
  port: number,
  server: (port: number) => Layer.Layer<A, E, R>,
  isInUse: (error: E) => boolean
): Layer.Layer<A, E, R> => Layer.catchAll(server(port), (error) => (isInUse(error) ? server(0) : Layer.fail(error)))

/** Says `line` when the layer has been closed. The finalizer is added before the layer is built, so it runs after it. */
export const sayingWhenClosed =
  (line: string) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.unwrapScoped(Effect.as(sayingAtTheEnd(Effect.succeed(line)), layer))

/** Says `line` when the scope closes, unless that is because something could not even be started. */
export const sayingAtTheEnd = (line: Effect.Effect<string>) =>
  Effect.addFinalizer((exit) =>
    Exit.isSuccess(exit) || Exit.isInterrupted(exit) ? Effect.flatMap(line, Console.log) : Effect.void
  )
