/** Authorization by the credentials in the headers of a request. */
import type { IncomingHttpHeaders } from "node:http"
import type { Rejection } from "../endpoint.js"
import { type AuthenticationSettings, schemesOf } from "./options.js"
import type { Scheme } from "./scheme.js"

/** Neither method throws. */
export interface Credentials {
  readonly isKnown: (headers: IncomingHttpHeaders) => boolean
  /** The first scheme for which the headers have credentials decides. */
  readonly authorize: (headers: IncomingHttpHeaders) => Promise<Rejection | undefined>
}

const busy: Rejection = { status: 429, message: "Too many requests", headers: { "retry-after": "1" } }

export const credentials = (settings: AuthenticationSettings): Credentials => {
  const schemes = schemesOf(settings)
  const unauthorized = (failed?: Scheme): Rejection => {
    const challenges = schemes.map((scheme) => `${scheme.challenge}${scheme === failed ? (scheme.invalid ?? "") : ""}`)
    return { status: 401, message: "Unauthorized", headers: { "www-authenticate": challenges.join(", ") } }
  }
  const rows = schemes.map((scheme) => ({
    ...scheme,
    rejections: { valid: undefined, invalid: unauthorized(scheme), busy }
  }))
  const missing = unauthorized()
  return {
    isKnown: (headers) =>
      rows.some(({ isKnown, sent }) => {
        const found = sent(headers)
        return found !== undefined && isKnown(found)
      }),
    authorize: async (headers) => {
      for (const { rejections, sent, verify } of rows) {
        const found = sent(headers)
        if (found !== undefined) return rejections[await verify(found)]
      }
      return missing
    }
  }
}
