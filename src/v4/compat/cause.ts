/** Causes that are combined and taken apart. */
import * as Cause from "effect/Cause"

/** The first cause, followed by the second one. */
export const followed: <E, E2>(first: Cause.Cause<E>, second: Cause.Cause<E2>) => Cause.Cause<E | E2> = Cause.combine

/** By no fiber in particular. */
export const interruption: Cause.Cause<never> = Cause.interrupt()

/** Only its interruptions. */
export const interruptionsOf = ({ reasons }: Cause.Cause<unknown>): Cause.Cause<never> =>
  Cause.fromReasons(reasons.filter(Cause.isInterruptReason))
