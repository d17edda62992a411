/** Requests that come at the same time, and a registry that keeps them waiting until all of them are there. */
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Scope } from "effect"
import { Deferred, Effect } from "effect"
import { Gauge, Registry } from "prom-client"

export interface Held {
  readonly registry: Registry
  /** How often it was collected. Each time `held` has that value. */
  readonly collected: () => number
  readonly reached: Effect.Effect<void>
  /** From now on nobody has to wait. */
  readonly open: Effect.Effect<void>
  /** Whether collecting fails, after it has waited. */
  fails: boolean
}

/** A registry with a metric `held` that waits when it is collected, and a family that makes it worth compressing. */
export const held: Effect.Effect<Held> = Effect.gen(function* () {
  const registry = new Registry()
  const reached = yield* Deferred.make<void>()
  const opened = yield* Deferred.make<void>()
  let collected = 0
  const made: Held = {
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

/** Waits until so many requests have come to servers of this thread since then, and are being answered. */
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
