/** The options of authentication, and the schemes that they configure. */
import { flag, group, type Read, refined, withDefault } from "../../util/options.js"
import { basic, userList } from "./basic.js"
import { bearer, tokenList } from "./bearer.js"
import type { Scheme } from "./scheme.js"

export const authenticationOptions = {
  /**
   * The password hash of each user, by name, as `hashPassword` makes it. It is scrypt in the PHC string format, with `ln`
   * from 10 to 20, `r` up to 32, `p` up to 16, and at most 256 MiB. Passwords that are empty, have control characters, or
   * have a letter with more than 30 accents are rejected. Names and passwords are compared as OpaqueString (RFC 8265):
   * composed and decomposed letters are equal, and so are all kinds of spaces in a password. Default: none.
   */
  users: withDefault(userList, {}),
  /** Bearer tokens of at least 16 letters, digits, and `- . _ ~ + /`, with `=` at the end only. Default: none. */
  tokens: withDefault(tokenList, []),
  /** Whether `/` needs no credentials, for health checks that have none. Default: `false`. */
  openHealthPage: withDefault(flag, false)
}

/** Can be sent to a worker, and contains no password and no token. */
export type AuthenticationSettings = Read<typeof authenticationOptions>

/** In the order in which their challenges are sent. */
export const schemesOf = ({ tokens, users }: AuthenticationSettings): ReadonlyArray<Scheme> =>
  [basic(users), bearer(tokens)].filter((scheme) => scheme !== undefined)

type AuthenticationSet = typeof authenticationOptions

/** Named, so that the declarations of other files keep the documentation of its options. */
export interface AuthenticationOptionSet extends AuthenticationSet {}

export const authentication = refined(
  group<AuthenticationOptionSet>(authenticationOptions),
  (read, name): AuthenticationSettings => {
    if (schemesOf(read).length > 0) return read
    throw new RangeError(`${name} contains no credentials, so no request would be authorized: add users or tokens`)
  }
)
