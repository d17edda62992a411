/** A duration as users give it. */
export type { DurationInput } from "effect/Duration"
