import type { IncomingHttpHeaders } from "node:http"

/** `"busy"`: too many requests wait for the check of a password. */
export type Verdict = "valid" | "invalid" | "busy"

/** No function throws. */
export interface Scheme {
  /** Sent in `WWW-Authenticate` (RFC 9110, section 11.6.1). */
  readonly challenge: string
  /** Follows the challenge if the credentials were invalid. */
  readonly invalid?: string | undefined
  readonly sent: (headers: IncomingHttpHeaders) => string | undefined
  /** Verifies no password. */
  readonly isKnown: (sent: string) => boolean
  readonly verify: (sent: string) => Verdict | Promise<Verdict>
}

export const authorizationHeader = (scheme: string): Scheme["sent"] => {
  const pattern = new RegExp(`^${scheme} +([A-Za-z0-9\\-._~+/]+=*) *$`, "i")
  return ({ authorization = "" }) => pattern.exec(authorization)?.[1]
}
