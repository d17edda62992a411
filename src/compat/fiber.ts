/** What is read of a fiber. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export const currentFiber = (): AnyFiber | undefined => Option.getOrUndefined(Fiber.getCurrentFiber())

export const contextOf = ({ currentContext }: AnyFiber): Context.Context<never> => currentContext

/** Sampled or not. */
export const spanOf = ({ currentSpan }: AnyFiber): Tracer.AnySpan | undefined => currentSpan

export const clockOf = (fiber: AnyFiber): Clock.Clock => Context.get(fiber.currentDefaultServices, Clock.Clock)

/** Of a monotonic clock. */
export const nanoseconds = (clock: Clock.Clock): bigint => clock.unsafeCurrentTimeNanos()

/** Forks effects with the loggers and services that the fiber has now, after its end as well. */
export const forkLike = (fiber: AnyFiber): ((effect: Effect.Effect<void>) => void) => {
  // Without the interruption of the fiber, which would also interrupt the effect.
  const refs = FiberRefs.delete(fiber.getFiberRefs(), FiberRef.interruptedCause)
  return (effect) => void Effect.runFork(Effect.zipRight(Effect.setFiberRefs(refs), effect))
}
