/** What a server needs for TLS, as text, so that it can be sent to a worker, and as `node:tls` takes it. */
import { constants } from "node:crypto"
import type { SecureContextOptions } from "node:tls"

/** Keys and certificates as PEM text, and who is asked for a certificate. */
export interface TlsMaterial {
  readonly key: string
  readonly cert: string
  readonly passphrase: string | undefined
  /** The authorities that certificates of clients are verified against. */
  readonly ca: string | undefined
  readonly clientCertificate: ClientCertificate
  /** Undefined: every name that the authorities vouch for. */
  readonly allowedNames: ReadonlyArray<string> | undefined
  readonly minVersion: TlsVersion
}

/** Whether clients are asked for a certificate, and whether they must have one. */
export type ClientCertificate = (typeof clientCertificates)[number]

export const clientCertificates = ["none", "requested", "required"] as const

/** A version that can be the lowest. */
export type TlsVersion = (typeof tlsVersions)[number]

export const tlsVersions = ["TLSv1.2", "TLSv1.3"] as const

/** The same for `node:tls`, whenever it is told: nothing of it may be forgotten when a file has changed. */
export const secureContext = (tls: TlsMaterial): SecureContextOptions => ({
  key: tls.key,
  cert: tls.cert,
  minVersion: tls.minVersion,
  ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
  // A session that is taken up again is not verified again: without tickets every connection is.
  ...(tls.clientCertificate === "none" ? {} : { ca: tls.ca, secureOptions: constants.SSL_OP_NO_TICKET })
})
