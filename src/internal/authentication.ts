/** Users and tokens as they are configured, and what is kept of them. */
import type * as Redacted from "effect/Redacted"
import type { CheckedAuthentication } from "./credentials.js"
import { digestOf } from "./credentials.js"
import { booleanOption, knownOptions } from "./options.js"
import { parsedHash } from "./password.js"
import { plain } from "./secret.js"

/**
 * Who is let in: users with a password (`Authorization: Basic`), those who have a token (`Authorization: Bearer`), or
 * both. Everybody else is answered with 401, whatever is asked for.
 *
 * Passwords are verified one after the other in each thread that serves, and one may wait for its turn; more are answered
 * with 429 and `Retry-After`. The last right password of each user is remembered, as a digest, and takes no turn any more.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthenticationOptions {
  /**
   * By the name of each user, the hash of its password, as `hashPassword` makes it: scrypt in the PHC string format, with
   * `ln` from 10 to 20, `r` up to 32, `p` up to 16, and at most 256 MiB. An empty password lets nobody in. Default: none.
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
  if (typeof users !== "object" || users === null || Array.isArray(users)) {
    throw new RangeError("authentication.users must be an object with a hash for each name")
  }
  if (!Array.isArray(tokens)) throw new RangeError("authentication.tokens must be a list")
  const checked = {
    users: Object.entries(users).map(([name, hash]) => ({ name: checkedName(name), hash: checkedHash(name, hash) })),
    tokens: tokens.map((token, index) => checkedToken(token, index)),
    openHealthPage: booleanOption("authentication.openHealthPage", options.openHealthPage, false)
  }
  if (checked.users.length === 0 && checked.tokens.length === 0) {
    throw new RangeError("authentication has neither users nor tokens: it would let nobody in")
  }
  return checked
}

type Secret = string | Redacted.Redacted<string>

const checkedName = (name: string): string => {
  // Such a name cannot be sent (RFC 7617).
  if (/^[^:\p{Cc}]+$/u.test(name)) return name
  const shown = JSON.stringify(name)
  throw new RangeError(`authentication.users: a name must not be empty, nor have : or control characters, as ${shown}`)
}

const checkedHash = (name: string, hash: Secret) => {
  const text = plain(hash)
  const parsed = typeof text === "string" ? parsedHash(text) : undefined
  if (parsed !== undefined) return parsed
  // It may be the password itself.
  throw new RangeError(
    `authentication.users: what is given for ${JSON.stringify(name)} is no hash of scrypt with parameters that can be borne; hashPassword makes one`
  )
}

const checkedToken = (token: Secret, index: number): Uint8Array => {
  const text = plain(token)
  if (typeof text === "string" && text.length >= 16 && /^[A-Za-z0-9\-._~+/]+=*$/.test(text)) return digestOf(text)
  throw new RangeError(
    `authentication.tokens[${index}] must have at least 16 letters, digits, and - . _ ~ + / (= at its end only)`
  )
}
