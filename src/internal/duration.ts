/** Durations as the timers of Node.js take them. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

// A longer time makes a timer of 1 ms. The margin is for what is added to it.
const longest = 2 ** 31 - 1 - 60_000

/** So many milliseconds, at most those of some 24 days; `undefined` if it is no duration. */
export const timerMillis = (duration: unknown): number | undefined =>
  Option.getOrUndefined(
    Option.map(Duration.decodeUnknown(duration), (decoded) => Math.min(Duration.toMillis(decoded), longest))
  )
