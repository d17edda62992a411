/** A time limit that holds in every region, also in the finalizers of a fiber that is being interrupted. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { clearTimeout, setTimeout } from "./timer.js"

/**
 * The exit of `effect`, or `undefined` if it has not ended within so many milliseconds; it is interrupted then, and
 * nobody waits for that. It runs in a fiber of its own, because where interruption is off no timeout can cut, and where
 * the fiber is being interrupted already, turning it on would skip the effect.
 */
export const bounded = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  milliseconds: number
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
    Effect.async<Exit.Exit<A, E> | undefined>((resume) => {
      const late = setTimeout(() => resume(Effect.as(Fiber.interruptFork(fiber), undefined)), milliseconds)
      fiber.addObserver((exit) => {
        clearTimeout(late)
        resume(Effect.succeed(exit))
      })
      return Effect.suspend(() => {
        clearTimeout(late)
        return Fiber.interrupt(fiber)
      })
    })
  )
