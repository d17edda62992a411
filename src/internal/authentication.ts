/** Users and tokens as they are configured, and what is kept of them. */
import * as Redacted from "effect/Redacted"
import type { CheckedAuthentication } from "./credentials.js"
import { digestOf } from "./credentials.js"
import { booleanOption, knownOptions, shown } from "./options.js"
import { isPreparable, parsedHash, prepared } from "./password.js"
import { described, plain, secretText } from "./secret.js"

/**
 * Who is let in: users with a password (`Authorization: Basic`), those who have a token (`Authorization: Bearer`), or
 * both. Everybody else is answered with 401, whatever is asked for.
 *
 * Passwords are verified one after the other in each thread that serves, with a pause in between. While two wait for their
 * answers, others are answered with 429 and `Retry-After`. The last right password of each user is remembered, as a digest, and takes no turn any more.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthenticationOptions {
  /**
   * By the name of each user, the hash of its password, as `hashPassword` makes it: scrypt in the PHC string format, with
   * `ln` from 10 to 20, `r` up to 32, `p` up to 16, and at most 256 MiB. An empty password is refused, and so is one with
   * control characters, or with a letter of more than 30 accents. Names and passwords are compared as OpaqueString
   * (RFC 8265) does: composed or decomposed letters are the same, and so are all kinds of spaces in a password.
   * Default: none.
   */
  readonly users?: Readonly<Record<string, string | Redacted.Redacted<string>>> | undefined
  /** Each has at least 16 letters, digits, and `- . _ ~ + /`, with `=` at the end only. Default: none. */
  readonly tokens?: ReadonlyArray<string | Redacted.Redacted<string>> | undefined
  /** Whether `/` is answered to everybody, for health checks that know no password. Default: `false`. */
  readonly openHealthPage?: boolean | undefined
}

const keys = { users: true, tokens: true, openHealthPage: true } as const satisfies Record<
  keyof AuthenticationOptions,
  true
>

/** Checks the options. It throws a `RangeError` that names the one which is none, and tells no secret. */
export const checkedAuthentication = (options: AuthenticationOptions): CheckedAuthentication => {
  knownOptions("authentication", options, keys)
  const { tokens = [], users = {} } = options
  // Others have entries of another kind, or none: a map, or an object that is redacted as a whole.
  if (typeof users !== "object" || users === null || Symbol.iterator in users || Redacted.isRedacted(users)) {
    throw new RangeError(
      `authentication.users must be an object with a hash for each name, but it is ${described(users)}`
    )
  }
  if (!Array.isArray(tokens)) {
    throw new RangeError(`authentication.tokens must be a list of texts, but it is ${described(tokens)}`)
  }
  const checked = {
    users: withoutTwins(
      Object.entries(users).map(([name, hash], index) => ({
        name: checkedName(name, index),
        hash: checkedHash(name, hash)
      }))
    ),
    tokens: tokens.map((token, index) => checkedToken(token, index)),
    openHealthPage: booleanOption("authentication.openHealthPage", options.openHealthPage, false)
  }
  if (checked.users.length === 0 && checked.tokens.length === 0) {
    throw new RangeError("authentication has neither users nor tokens: it would let nobody in")
  }
  return checked
}

const checkedName = (name: string, index: number): string => {
  // Such a name cannot be sent (RFC 7617).
  if (/^[^:\p{Cc}\p{Cs}]+$/u.test(name) && isPreparable(name)) return prepared(name)
  // What comes after a colon may be the password.
  throw new RangeError(
    `authentication.users: the name of entry ${index + 1} must be a text without : and control characters, ` +
      `and without letters of more than 30 accents, but it is ${described(name)} that is none; its password belongs in ` +
      "its value, as hashPassword makes it"
  )
}

type Users = CheckedAuthentication["users"]

const withoutTwins = (users: Users): Users => {
  const twin = users.find(({ name }, index) => users.findIndex((other) => other.name === name) < index)
  if (twin === undefined) return users
  throw new RangeError(
    `authentication.users: ${shown(twin.name)} is there twice, with composed and with decomposed letters; leave one out`
  )
}

const checkedHash = (name: string, hash: unknown) => {
  const option = "MetricsServer.authentication.users"
  const text = plain(option, hash)
  const parsed = typeof text === "string" ? parsedHash(text) : undefined
  if (parsed !== undefined) return parsed
  // It may be the password itself.
  throw new RangeError(
    `authentication.users: what is given for ${shown(name)} must be a hash of scrypt with parameters that can be borne, ` +
      `as hashPassword makes it, but it is ${described(hash)}`
  )
}

const checkedToken = (token: unknown, index: number): Uint8Array => {
  const what = `authentication.tokens[${index}]`
  const expected = "at least 16 letters, digits, and - . _ ~ + / (= at its end only)"
  const text = secretText("MetricsServer.authentication.tokens", token, what, expected)
  if (text.length >= 16 && /^[A-Za-z0-9\-._~+/]+=*$/.test(text)) return digestOf(text)
  throw new RangeError(`${what} must be ${expected}, but it is ${described(token)}`)
}
