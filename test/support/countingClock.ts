import { Clock } from "effect"

/** A clock that counts how often it is read. */
export const countingClock = () => {
  const clock = Clock.make()
  const read = clock.unsafeCurrentTimeNanos.bind(clock)
  const counting = Object.assign(clock, {
    reads: 0,
    unsafeCurrentTimeNanos: () => {
      counting.reads += 1
      return read()
    }
  })
  return counting
}
