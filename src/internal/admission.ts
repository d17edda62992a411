/** Who may ask a server anything at all: first by certificate, then by password or token. */
import type { IncomingMessage } from "node:http"
import { certificateRefusal } from "./clientCertificate.js"
import type { CheckedAuthentication } from "./credentials.js"
import { credentials } from "./credentials.js"
import type { Refused, Target } from "./endpoint.js"
import type { TlsMaterial } from "./secureContext.js"

/** Who is let in. */
export interface Admission {
  /** Whether a request is let in by what is known without verifying a password: it costs next to nothing. */
  readonly knows: (request: IncomingMessage) => boolean
  /** Why a request is not let in. */
  readonly refusal: (request: IncomingMessage, target: Target) => Refused
}

/** Who is let in; `undefined` if there is nothing to look at, and everybody is. */
export const admission = (
  tls: TlsMaterial | undefined,
  authentication: CheckedAuthentication | undefined
): Admission | undefined => {
  const byCertificate = tls && certificateRefusal(tls)
  const byCredentials = authentication && credentials(authentication)
  if (byCertificate === undefined && byCredentials === undefined) return undefined
  return {
    // Not by what is open to everybody: that protects no connection.
    knows: (request) =>
      byCertificate?.(request) === undefined && byCredentials?.knows(request.headers.authorization) !== false,
    refusal: (request, target) => {
      const refused = byCertificate?.(request)
      if (refused !== undefined) return refused
      if (target === "health" && authentication?.openHealthPage === true) return undefined
      return byCredentials?.refusal(request.headers.authorization)
    }
  }
}
