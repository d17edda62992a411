/** Supervises the worker thread of a metrics server. */
import * as Effect from "effect/Effect"
import type { ListeningServer } from "../core/server/listen.js"
import type { ServerSettings } from "../core/server/serverOptions.js"
import type { TlsMaterial } from "../core/server/tls/secureContext.js"
import { now, sleep } from "../core/util/realTimers.js"
import { messageOf } from "../core/util/text.js"
import { startWorker, type WorkerServer, type WorkerThread } from "../core/worker/startWorker.js"
import { harmless } from "./log.js"

export interface SupervisedServer extends ListeningServer {
  /** Restarts the worker on the same port whenever it dies. It ends when it is interrupted, before `close`. */
  readonly supervise: Effect.Effect<never>
}

// In milliseconds.
const firstDelay = 1_000
const longestDelay = 30_000

// In real time: neither fake timers nor the clock of a test keep the worker from being restarted.
const pause = (milliseconds: number): Effect.Effect<unknown> =>
  Effect.promise((signal) => sleep(milliseconds, signal).catch(() => {}))

const logError = (message: string): Effect.Effect<void> => harmless(Effect.logError(message))

/** Fails as `startWorker` rejects. */
export const supervised = (thread: WorkerThread, given: ServerSettings): Effect.Effect<SupervisedServer, unknown> => {
  let settings = given
  let current: WorkerServer
  // An interruption waits until the worker has ended, and has left the port.
  const start = Effect.uninterruptibleMask((restore) => {
    const closing = new AbortController()
    const { tls } = settings
    const started = startWorker(thread, settings, closing.signal).then((worker) => {
      current = worker
      // The files may have changed while it started.
      if (settings.tls !== tls && settings.tls !== undefined) worker.renew(settings.tls)
    })
    return Effect.onInterrupt(restore(Effect.tryPromise({ try: () => started, catch: (error) => error })), () =>
      Effect.promise(() => {
        closing.abort()
        return started.catch(() => {})
      })
    )
  })
  const restart = (delay: number): Effect.Effect<void> =>
    Effect.matchEffect(start, {
      onFailure: (error) =>
        logError(`the worker could not be restarted: ${messageOf(error)}`).pipe(
          Effect.andThen(pause(delay)),
          Effect.andThen(restart(Math.min(2 * delay, longestDelay)))
        ),
      onSuccess: () => Effect.void
    })
  const untilDead = Effect.gen(function* () {
    const since = now()
    const reason = yield* Effect.promise(() => current.died)
    yield* logError(`${reason}; restarting it`)
    // A worker that dies at its start would keep this thread busy with restarts.
    if (now() - since < firstDelay) yield* pause(firstDelay)
  })
  return Effect.map(start, () => {
    const { hostname, port } = current
    // The port stays the same, because it is registered.
    settings = { ...given, port }
    return {
      hostname,
      port,
      supervise: Effect.forever(Effect.andThen(untilDead, restart(firstDelay))),
      close: (deadline) => current.close(deadline),
      renew: (tls: TlsMaterial) => {
        settings = { ...settings, tls }
        current.renew(tls)
      }
    }
  })
}
