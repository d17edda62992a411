/** What is read of a fiber. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"

export type AnyFiber = Fiber.Fiber<unknown, unknown>

export const currentFiber = (): AnyFiber | undefined => Fiber.getCurrent()

export const contextOf = ({ context }: AnyFiber): Context.Context<never> => context

/** Sampled or not. */
export const spanOf = ({ cache }: AnyFiber): Tracer.AnySpan | undefined => cache.span

export const clockOf = (fiber: AnyFiber): Clock.Clock => fiber.getRef(Clock.Clock)

/** Of a monotonic clock. */
export const nanoseconds = (clock: Clock.Clock): bigint => clock.monotonicTimeNanosUnsafe()

/** Forks effects with the loggers and services that the fiber has now, after its end as well. */
export const forkLike = ({ context }: AnyFiber): ((effect: Effect.Effect<void>) => void) => Effect.runForkWith(context)
