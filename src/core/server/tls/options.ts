/** The options of HTTPS. */
import { isIPv6 } from "node:net"
import type { Read } from "../../util/options.js"
import { choice, durationOrFalse, group, optional, refined, required, texts, withDefault } from "../../util/options.js"
import { isPem, pem, secret, secretPem } from "../../util/secrets.js"
import { shown } from "../../util/text.js"

const certificateNames = refined(texts("no client would be allowed"), (names, name) => {
  const zoned = names.find((each) => isIPv6(each) && each.includes("%"))
  if (zoned === undefined) return names
  throw new RangeError(
    `${name} must not contain addresses with a zone, which certificates do not support, such as ${shown(zoned)}`
  )
})

export const tlsOptions = {
  /** The private key of the certificate: PEM text or the path of a PEM file, redacted or not. */
  key: required(secretPem),
  /** The certificate, followed by intermediate certificates, if any. */
  cert: required(pem),
  /** The passphrase of the key, if the key is encrypted. Default: none. */
  passphrase: optional(secret),
  /** The authorities that client certificates are verified against. Default: none. */
  ca: optional(pem),
  /**
   * Whether clients need a certificate: `"none"`, `"requested"` or `"required"`. With `"required"` the handshake fails
   * without a certificate that can be verified. With `"requested"` clients without a certificate are allowed, and clients
   * with one that cannot be verified get 403. Both need `ca`. Default: `"required"` if `ca` is given and otherwise `"none"`.
   */
  clientCertificate: optional(choice("none", "requested", "required")),
  /**
   * The names of the clients that are accepted: a certificate without any of them gets 403 on every path. They are compared
   * with its subject alternative names: DNS names, URIs, e-mail and IP addresses, without a prefix such as `DNS:`. For a certificate that has none of them, its
   * common name counts. The comparison is literal, for DNS names without regard to case. Not supported on Bun. Default: every name.
   */
  allowedNames: optional(certificateNames),
  /** The lowest version of TLS, `"TLSv1.2"` or `"TLSv1.3"`. Default: `"TLSv1.2"`. */
  minVersion: withDefault(choice("TLSv1.2", "TLSv1.3"), "TLSv1.2"),
  /** How often files are checked for changes, or `false` for never. Default: 10 seconds. */
  reloadInterval: withDefault(durationOrFalse, "10 seconds")
}

export type ClientCertificate = NonNullable<Read<typeof tlsOptions>["clientCertificate"]>

/** PEM texts and paths as they were given: no file is read yet. */
export interface TlsSources extends Read<typeof tlsOptions> {
  readonly clientCertificate: ClientCertificate
  /** In milliseconds. Undefined: never, or there is no file. */
  readonly reloadInterval: number | undefined
}

type TlsSet = typeof tlsOptions

/** Named, so that the declarations of other files keep the documentation of its options. */
export interface TlsOptionSet extends TlsSet {}

export const tls = refined(group<TlsOptionSet>(tlsOptions), (read, name): TlsSources => {
  const { allowedNames, ca, cert, clientCertificate = ca === undefined ? "none" : "required", key } = read
  if (clientCertificate !== "none" && ca === undefined) {
    throw new RangeError(
      `${name}.clientCertificate ${shown(clientCertificate)} requires ${name}.ca, which client certificates are verified against`
    )
  }
  if (clientCertificate === "none" && allowedNames !== undefined) {
    throw new RangeError(
      `${name}.allowedNames requires ${name}.clientCertificate "required" or "requested", which requires ${name}.ca`
    )
  }
  if (allowedNames !== undefined && process.versions["bun"] !== undefined) {
    throw new RangeError(
      `${name}.allowedNames is not supported on Bun, which does not give a server the names of a client certificate`
    )
  }
  const hasFiles = [key, cert, ca].some((source) => typeof source === "string" && !isPem(source))
  return { ...read, clientCertificate, reloadInterval: hasFiles ? read.reloadInterval : undefined }
})
