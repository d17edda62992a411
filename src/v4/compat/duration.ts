/** A duration as users give it. */
export type { Input as DurationInput } from "effect/Duration"
