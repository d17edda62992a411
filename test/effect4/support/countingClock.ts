/** The same as `test/support/countingClock.ts`, for the clock of Effect 4. */
import { Clock, Effect } from "effect"

/** A clock that counts how often it is read. */
export const countingClock = () => {
  const clock = Effect.runSync(Clock.Clock)
  const counting = {
    ...clock,
    reads: 0,
    monotonicTimeNanosUnsafe: () => {
      counting.reads += 1
      return clock.monotonicTimeNanosUnsafe()
    }
  }
  return Object.setPrototypeOf(counting, Object.getPrototypeOf(clock)) as typeof counting
}
