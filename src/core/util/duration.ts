/** Durations as options accept them: the values of Effect's `DurationInput`, without Effect. */
/** The longest time that a timer of Node.js waits, in milliseconds. A timer with a longer time fires after 1 ms. */
export const longestTimer = 2 ** 31 - 1

type Unit =
  | "nano"
  | "nanos"
  | "micro"
  | "micros"
  | "milli"
  | "millis"
  | "second"
  | "seconds"
  | "minute"
  | "minutes"
  | "hour"
  | "hours"
  | "day"
  | "days"
  | "week"
  | "weeks"

/** The parts of Effect's `Duration` that are read. */
interface DurationObject {
  readonly value: { readonly _tag: string; readonly millis?: number; readonly nanos?: bigint }
}

/**
 * A length of time: milliseconds as a number, nanoseconds as a bigint, a text such as `"5 seconds"`, seconds and
 * nanoseconds as a pair, or a `Duration` of Effect.
 *
 * @since 0.1.0
 * @category models
 */
export type DurationInput =
  | number
  | bigint
  | readonly [seconds: number, nanos: number]
  | `${number} ${Unit}`
  | DurationObject

const text = /^(-?\d+(?:\.\d+)?)\s+(nano|micro|milli|second|minute|hour|day|week)s?$/

const perUnit: Readonly<Record<string, number>> = {
  nano: 1e-6,
  micro: 1e-3,
  milli: 1,
  second: 1e3,
  minute: 60e3,
  hour: 3_600e3,
  day: 86_400e3,
  week: 604_800e3
}

/** In milliseconds, perhaps `Infinity`; 0 for a negative duration, `undefined` for a value that is not a duration. */
export const toMillis = (duration: unknown): number | undefined => {
  const millis = decoded(duration)
  return millis === undefined ? undefined : Number.isNaN(millis) ? 0 : Math.max(0, millis)
}

const decoded = (duration: unknown): number | undefined => {
  if (typeof duration === "number") return duration
  if (typeof duration === "bigint") return Number(duration) / 1e6
  if (typeof duration === "string") {
    const [, amount, unit = ""] = text.exec(duration) ?? []
    return amount === undefined ? undefined : Number(amount) * (perUnit[unit] ?? Number.NaN)
  }
  if (Array.isArray(duration)) {
    const [seconds, nanos, ...others] = duration as ReadonlyArray<unknown>
    const isPair = typeof seconds === "number" && typeof nanos === "number" && others.length === 0
    return isPair ? seconds * 1e3 + nanos / 1e6 : undefined
  }
  return ofObject((duration as Partial<DurationObject> | null | undefined)?.value)
}

const ofObject = (value: DurationObject["value"] | undefined): number | undefined => {
  if (value?._tag === "Millis") return value.millis
  if (value?._tag === "Nanos") return value.nanos === undefined ? undefined : Number(value.nanos) / 1e6
  return value?._tag === "Infinity" ? Number.POSITIVE_INFINITY : undefined
}

// The margin leaves room for times that are added to the duration.
const longest = longestTimer - 60_000

/** In milliseconds, at most some 24 days, which is the limit of a timer of Node.js. */
export const timerMillis = (duration: unknown): number | undefined => {
  const millis = toMillis(duration)
  return millis === undefined ? undefined : Math.min(millis, longest)
}
