/** Concurrent requests, and a registry whose collector blocks until all of them have arrived. */
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { setImmediate as nextTurn } from "node:timers/promises"
import { Deferred, Effect, type Scope } from "effect"
import { Gauge, Registry } from "prom-client"

export interface BlockedCollector {
  readonly registry: Registry
  /** How often it was collected. Each time `held` has that value. */
  readonly collected: () => number
  readonly reached: Effect.Effect<void>
  /** Releases all that wait, also later ones. */
  readonly open: Effect.Effect<void>
  /** Whether collecting fails, after it has waited. */
  fails: boolean
}

/** A registry with a metric `held` whose collector blocks until `open`, and a family that makes compression worthwhile. */
export const blockedCollector: Effect.Effect<BlockedCollector> = Effect.gen(function* () {
  const registry = new Registry()
  const reached = yield* Deferred.make<void>()
  const opened = yield* Deferred.make<void>()
  let collected = 0
  const made: BlockedCollector = {
    registry,
    collected: () => collected,
    reached: Deferred.await(reached),
    open: Effect.asVoid(Deferred.succeed(opened, undefined)),
    fails: false
  }
  new Gauge({ name: "padded", help: "-".repeat(2_048), registers: [registry] })
  new Gauge({
    name: "held",
    help: "h",
    registers: [registry],
    async collect() {
      collected += 1
      this.set(collected)
      await Effect.runPromise(Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(opened)))
      if (made.fails) throw new Error("held back")
    }
  })
  return made
})

const channel = "http.server.request.start"

/** Waits until the given number of requests has arrived at servers of this thread since then. */
export const arrivals: Effect.Effect<(count: number) => Effect.Effect<void>, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const seen = { count: 0, look: () => {} }
      const listener = (): void => {
        seen.count += 1
        seen.look()
      }
      subscribe(channel, listener)
      return { listener, seen }
    }),
    ({ listener }) => Effect.sync(() => unsubscribe(channel, listener))
  ),
  ({ seen }) =>
    (count) =>
      Effect.promise(async () => {
        await new Promise<void>((resolve) => {
          seen.look = () => {
            if (seen.count >= count) resolve()
          }
          seen.look()
        })
        for (let turn = 0; turn < 3; turn += 1) await nextTurn()
      })
)
