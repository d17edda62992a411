/** Measures an effect. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Plan } from "../../core/instrument/instruments.js"
import { Run } from "../effect/run.js"

class EffectRun<A, E> extends Run<A, E> {
  readonly ended = (exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined => {
    this.record(exit)
    return this.warnings()
  }
}

/**
 * The +1 is inside the mask: an interruption between the two would leave the gauge too high for ever. The end is recorded
 * by the handler of the masked body, which no interruption can skip. `matchCauseEffect` would cost two thirds more.
 */
export const measured = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  plan: Plan<Exit.Exit<unknown, unknown>>
): Effect.Effect<A, E, R> => {
  // Outside of uninterruptible regions the mask restores to this. It is created once.
  const interruptible = Effect.interruptible(self)
  return Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const run = new EffectRun<A, E>(plan, fiber)
      const body = restore === Effect.interruptible ? interruptible : restore(self)
      return run.afterWarnings(Effect.onExitPrimitive(body, run.ended))
    })
  )
}
