/** Durations as the timers of Node.js take them. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { longestTimer } from "./timer.js"

// The margin is for what is added to it.
const longest = longestTimer - 60_000

/** So many milliseconds, at most those of some 24 days; `undefined` if it is no duration. */
export const timerMillis = (duration: unknown): number | undefined =>
  Option.getOrUndefined(
    Option.map(Duration.decodeUnknown(duration), (decoded) => Math.min(Duration.toMillis(decoded), longest))
  )
