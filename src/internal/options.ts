/** Options, as they were given, as numbers; one that is none is named. */
import { timerMillis } from "./duration.js"

/** So many milliseconds. */
export const durationOption = (name: string, given: unknown, fallback: string): number => {
  const milliseconds = timerMillis(given ?? fallback)
  if (milliseconds !== undefined && milliseconds > 0) return milliseconds
  throw new RangeError(`${name} must be a duration such as "5 seconds", not ${shown(given)}`)
}

/** A whole number of at least 1, or `Infinity`. */
export const countOption = (name: string, given: unknown, fallback: number): number => {
  const count = given ?? fallback
  if (count === Number.POSITIVE_INFINITY || (Number.isSafeInteger(count) && Number(count) >= 1)) return Number(count)
  throw new RangeError(`${name} must be a whole number of at least 1, not ${shown(given)}`)
}

const shown = (given: unknown): string => (typeof given === "string" ? JSON.stringify(given) : String(given))
