/** Measures an effect. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Plan } from "../core/instrument/instruments.js"
import { Run } from "../effect/run.js"

class EffectRun<A, E> extends Run<A, E> {
  readonly onFailure = (cause: Cause.Cause<E>) => this.ended(Exit.failCause(cause))

  readonly onSuccess = (value: A) => this.ended(Exit.succeed(value))

  private ended(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    this.record(exit)
    return this.afterWarnings(exit)
  }
}

/**
 * The +1 is inside the mask: an interruption between the two would leave the gauge too high for ever. The end is
 * recorded in the handler of the masked body, which no interruption can skip.
 */
export const measured = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  plan: Plan<Exit.Exit<unknown, unknown>>
): Effect.Effect<A, E, R> => {
  // Outside of uninterruptible regions the mask restores to this. It is created once.
  const interruptible = Effect.interruptible(self)
  return Effect.uninterruptibleMask((restore) => {
    const run = new EffectRun<A, E>(plan, Option.getOrThrow(Fiber.getCurrentFiber()))
    const body = restore === Effect.interruptible ? interruptible : restore(self)
    return run.afterWarnings(Effect.matchCauseEffect(body, run))
  })
}
