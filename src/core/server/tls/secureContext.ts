/** Keys and certificates as `node:tls` takes them. */
import { constants } from "node:crypto"
import type { SecureContextOptions } from "node:tls"
import type { TlsSources } from "./options.js"

/** With keys and certificates as PEM text. Can be sent to a worker. */
export type TlsMaterial = Omit<TlsSources, "reloadInterval">

/** Used when the server starts and after each change of the files. */
export const secureContext = (tls: TlsMaterial): SecureContextOptions => ({
  key: tls.key,
  cert: tls.cert,
  minVersion: tls.minVersion,
  ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
  // Without session tickets the certificate of every connection is verified: resumed sessions skip that.
  ...(tls.clientCertificate === "none" ? {} : { ca: tls.ca, secureOptions: constants.SSL_OP_NO_TICKET })
})
