/** Gets the token for a call to a Consul agent. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { TokenFileError } from "../../core/consul/environment.js"
import { ConsulError } from "../../core/consul/error.js"
import { isHeaderValue } from "../../core/consul/headers.js"
import { isBlankText } from "../../core/consul/options.js"
import { revealed } from "../../core/util/secrets.js"
import { holdsFailure, isInterruptedOnly, withinTime } from "../bothMajors.js"
import type { AgentSettings } from "./options.js"

/** For one call. `undefined`: no token. */
export type CurrentToken = Effect.Effect<string | undefined, ConsulError>

/** An effect runs for each call. `address` is that of the agent, for messages. */
export const currentToken = (
  { timeout, token }: Pick<AgentSettings, "timeout" | "token">,
  address: string
): CurrentToken => {
  if (!Effect.isEffect(token)) return Effect.succeed(token)
  const failed = (why: string) =>
    Effect.fail(new ConsulError("Token", `cannot get the token for the Consul agent at ${address}: ${why}`))
  // The time limit also holds where nothing can interrupt the effect, as in a finalizer. The exit is a value, because
  // Effect logs the error of a fiber that fails.
  return Effect.flatMap(
    withinTime(Effect.exit(token), timeout),
    Option.match({
      onNone: () => failed(`the token effect did not end within ${timeout} ms`),
      onSome: Exit.match({
        onFailure: (cause) => failed(failureText(cause)),
        onSuccess: (given) => {
          if (isBlankText(given)) return Effect.succeed(undefined)
          const text = revealed(given)
          if (typeof text !== "string") return failed("the token effect returned a value that is not a string")
          return isHeaderValue(text) ? Effect.succeed(text) : failed("the token is not valid in a header")
        }
      })
    })
  )
}

// The text and the properties of an error may contain the token. Only its name and its code are shown.
const failureText = (cause: Cause.Cause<unknown>): string => {
  if (isInterruptedOnly(cause)) return "the token effect was interrupted"
  const error = Cause.squash(cause)
  if (error instanceof TokenFileError) return error.message
  const { _tag, code, name } = (error ?? {}) as Readonly<Record<string, unknown>>
  const words = [_tag ?? name, code].filter((word) => typeof word === "string" && /^\w{1,64}$/.test(word))
  const how = holdsFailure(cause) ? "the token effect failed" : "the token effect died"
  return words.length === 0 ? how : `${how} with ${words.join(" ")}`
}
