/** The token of a Consul agent, which may be another one at each call. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { readBounded } from "./boundedRead.js"
import type { Trouble } from "./consulTrouble.js"
import { isBlank } from "./options.js"
import { looksLikePath, plain } from "./secret.js"
import { visible } from "./visible.js"

/**
 * An ACL token, or how to get it.
 *
 * An effect that fails, dies, or gives nothing within `timeout` is a failure with `reason: "Token"`; the text of its
 * error is left out, as it may hold the token. An empty or blank text is no token.
 *
 * @since 0.1.0
 * @category models
 */
export type Token = string | Redacted.Redacted<string> | Effect.Effect<string | Redacted.Redacted<string>, unknown>

/** The token for one call, or none. */
export type CurrentToken = Effect.Effect<Redacted.Redacted<string> | undefined, Trouble>

/** A token that cannot be had, for a reason that can be told: the message holds no token. */
class TokenFileError extends Error {}

/** The token in the file of CONSUL_HTTP_TOKEN_FILE, read anew each time. */
export const tokenIn = (file: string): Effect.Effect<Redacted.Redacted<string>, Error> =>
  Effect.tryPromise({
    try: async () => Redacted.make((await readBounded(file)).trim()),
    catch: (cause) => {
      const { code, isThere } = cause as NodeJS.ErrnoException & { readonly isThere?: boolean }
      // A token in the place of a path belongs in no message.
      const named = isThere === true || looksLikePath(file, true) ? `file ${visible(file)}` : "file"
      return new TokenFileError(`the ${named} of CONSUL_HTTP_TOKEN_FILE cannot be read (${code})`)
    }
  })

/** Whether it can stand in a header. */
export const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)

/** The token for each call to the agent at that address. */
export const tokenFor = (given: Token | undefined, address: string): CurrentToken => {
  if (given === undefined) return Effect.succeed(undefined)
  if (!Effect.isEffect(given)) return Effect.succeed(Redacted.make(String(plain("ConsulAgent.token", given))))
  const failed = (why: string) =>
    Effect.fail<Trouble>({ reason: "Token", message: `there is no token for the Consul agent at ${address}: ${why}` })
  // Disconnected, so that one that nothing can interrupt holds up neither a call nor the shutdown. It succeeds with its exit,
  // for Effect itself logs a fiber that fails.
  return Effect.disconnect(Effect.exit(given)).pipe(
    Effect.flatten,
    Effect.catchAllCause((cause) => failed(reasonOf(cause))),
    Effect.flatMap((token): CurrentToken => {
      if (typeof token !== "string" && !Redacted.isRedacted(token)) return failed("the effect gave something else")
      const text = plain("ConsulAgent.token", token)
      if (typeof text !== "string") return failed("the effect gave something else")
      if (isBlank(text)) return Effect.succeed(undefined)
      return isHeaderValue(text)
        ? Effect.succeed(Redacted.make(text))
        : failed("it holds a character that no header can")
    })
  )
}

// What a stranger's error says, and what it carries, may hold the token: only its name and its code are told.
const reasonOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.isInterruptedOnly(cause)) return "its effect was interrupted"
  const error = Cause.squash(cause)
  if (error instanceof TokenFileError) return error.message
  const { _tag, code, name } = (error ?? {}) as Readonly<Record<string, unknown>>
  const words = [_tag ?? name, code].filter((word) => typeof word === "string" && /^\w{1,64}$/.test(word))
  const how = Option.isSome(Cause.failureOption(cause)) ? "its effect failed" : "its effect died"
  return words.length === 0 ? how : `${how} with ${words.join(" ")}`
}
