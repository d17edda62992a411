/** Which requests are authorized: first by client certificate, then by password or token. */
import type { IncomingMessage } from "node:http"
import type { AuthorizationResult, Resource } from "../endpoint.js"
import { certificateCheck } from "../tls/clientCertificate.js"
import type { TlsMaterial } from "../tls/secureContext.js"
import { credentials } from "./credentials.js"
import type { AuthenticationSettings } from "./options.js"

export interface Authorizer {
  /** Verifies no password, so it costs next to nothing. */
  readonly isKnown: (request: IncomingMessage) => boolean
  readonly authorize: (request: IncomingMessage, resource: Resource) => AuthorizationResult
}

/** `undefined` if every request is authorized. */
export const authorizer = (
  tls: TlsMaterial | undefined,
  authentication: AuthenticationSettings | undefined
): Authorizer | undefined => {
  const byCertificate = tls && certificateCheck(tls)
  const byCredentials = authentication && credentials(authentication)
  if (byCertificate === undefined && byCredentials === undefined) return undefined
  return {
    // Without regard to the open health page: a request for it protects no connection.
    isKnown: (request) => byCertificate?.(request) === undefined && byCredentials?.isKnown(request.headers) !== false,
    authorize: (request, resource) => {
      const rejection = byCertificate?.(request)
      if (rejection !== undefined) return rejection
      if (resource === "health" && authentication?.openHealthPage === true) return undefined
      return byCredentials?.authorize(request.headers)
    }
  }
}
