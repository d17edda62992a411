/** Causes that are combined and taken apart. */
import * as Cause from "effect/Cause"
import * as FiberId from "effect/FiberId"

/** The first cause, followed by the second one. */
export const followed: <E, E2>(first: Cause.Cause<E>, second: Cause.Cause<E2>) => Cause.Cause<E | E2> = Cause.sequential

/** By no fiber in particular. */
export const interruption: Cause.Cause<never> = Cause.interrupt(FiberId.none)

/** Only its interruptions. */
export const interruptionsOf = (cause: Cause.Cause<unknown>): Cause.Cause<never> => {
  const [first = FiberId.none, ...others] = Cause.interruptors(cause)
  return Cause.interrupt(others.reduce<FiberId.FiberId>((all, id) => FiberId.combine(all, id), first))
}
