/** Who may ask a server anything at all: first by certificate, then by password or token. */
import { certificateRefusal } from "./clientCertificate.js"
import type { CheckedAuthentication } from "./credentials.js"
import { credentialsRefusal } from "./credentials.js"
import type { OwnServer } from "./listener.js"
import type { TlsMaterial } from "./secureContext.js"

/** Why a request is not let in; `undefined` if there is nothing to look at. */
export const admission = (
  tls: TlsMaterial | undefined,
  authentication: CheckedAuthentication | undefined
): OwnServer["refusal"] => {
  const byCertificate = tls && certificateRefusal(tls)
  const byCredentials = authentication && credentialsRefusal(authentication)
  if (byCertificate === undefined && byCredentials === undefined) return undefined
  return (request, target) => {
    const refused = byCertificate?.(request)
    if (refused !== undefined) return refused
    if (target === "health" && authentication?.openHealthPage === true) return undefined
    return byCredentials?.(request.headers.authorization)
  }
}
