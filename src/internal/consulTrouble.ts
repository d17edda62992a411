import * as Effect from "effect/Effect"
import { messageOf } from "./message.js"
import { knownOptions } from "./options.js"

/** What can go wrong with a Consul agent, as the fields of the error that a user gets. */
export interface Trouble {
  readonly reason: "Unreachable" | "Timeout" | "Refused" | "NotVerified" | "Token" | "InvalidOptions"
  readonly message: string
  readonly status?: number | undefined
  readonly body?: string | undefined
  readonly cause?: unknown
}

/** An option that is wrong, before anybody was asked. */
export const invalid = (message: string, cause?: unknown): Trouble => ({
  reason: "InvalidOptions",
  message: `the options of the Consul agent: ${message}`,
  cause
})

/** Fails for an option that is unknown. */
export const knownOnly = (
  what: string,
  given: unknown,
  known: Readonly<Record<string, true>>
): Effect.Effect<void, Trouble> =>
  Effect.try({ try: () => knownOptions(what, given, known), catch: (error) => invalid(messageOf(error)) })
