/** Keys and certificates, as text or from files, checked before they are used. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { isIPv6 } from "node:net"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import { messageOf } from "./message.js"
import { choiceOption, durationOption, knownOptions, listOption, shown } from "./options.js"
import { isPem, plain, secretText, textOrFile } from "./secret.js"
import type { TlsMaterial } from "./secureContext.js"
import { clientCertificates, secureContext, tlsVersions } from "./secureContext.js"
import { visible } from "./visible.js"

/**
 * How to serve HTTPS. Key, certificate and authorities are each PEM text or the path of a PEM file.
 *
 * Files that change are taken up within `reloadInterval`, for the connections that come from then on; those that are open
 * stay. What cannot be used is logged as an error that names the file, once, and what was there before stays in use. Each
 * file is a regular one of at most 4 MiB, and is given up after 5 seconds if it does not answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsOptions {
  /** The private key of the certificate, as PEM text or the path of a file of it, redacted or not. */
  readonly key: string | Redacted.Redacted<string>
  /** The certificate, followed by those of intermediate authorities, if any. */
  readonly cert: string
  /** What the key is encrypted with, if it is. */
  readonly passphrase?: string | Redacted.Redacted<string> | undefined
  /** The authorities that certificates of clients are verified against. Default: none; no client is asked for one. */
  readonly ca?: string | undefined
  /**
   * Whether clients need a certificate. With `"required"` those without one that can be verified do not get through the
   * handshake. With `"requested"` those without any are let in, and one that cannot be verified is answered with 403.
   * Both need `ca`. Default: `"required"` if `ca` is given, else `"none"`.
   */
  readonly clientCertificate?: "none" | "requested" | "required" | undefined
  /**
   * The names of which a client's certificate must have one; others are answered with 403, whatever they ask for. They
   * are its subject alternative names (DNS names, URIs, e-mail and IP addresses, without their kind), or its common name
   * where it has none of those. They are compared as they stand, DNS names in any case. Default: every name.
   */
  readonly allowedNames?: ReadonlyArray<string> | undefined
  /** The lowest version. Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** How often files are looked at, to see whether they have changed; `false` for never. Default: 10 seconds. */
  readonly reloadInterval?: Duration.DurationInput | false | undefined
}

/** The same, checked as far as no file has to be read. */
export interface TlsSources extends TlsMaterial {
  /** In milliseconds; `undefined` if there is nothing to look at. */
  readonly reloadInterval: number | undefined
}

/** What is in the files, or was given as text. */
export type TlsTexts = Pick<TlsMaterial, "key" | "cert" | "ca">

const keys = {
  key: true,
  cert: true,
  passphrase: true,
  ca: true,
  clientCertificate: true,
  allowedNames: true,
  minVersion: true,
  reloadInterval: true
} as const satisfies Record<keyof TlsOptions, true>

/** Checks the options. It throws a `RangeError` that names the one which is none. */
export const checkedTls = (options: TlsOptions): TlsSources => {
  knownOptions("tls", options, keys)
  const { allowedNames, ca, cert, minVersion, passphrase, reloadInterval } = options
  // Whether it is a text is seen where it is read.
  const key = plain("MetricsServer.tls.key", options.key) as string
  const clientCertificate = choiceOption(
    "tls.clientCertificate",
    options.clientCertificate,
    clientCertificates,
    ca === undefined ? "none" : "required"
  )
  if (clientCertificate !== "none" && ca === undefined) {
    throw new RangeError(`tls.clientCertificate ${JSON.stringify(clientCertificate)} needs tls.ca to verify against`)
  }
  if (clientCertificate === "none" && allowedNames !== undefined) {
    throw new RangeError("tls.allowedNames needs tls.clientCertificate, or no name is ever looked at")
  }
  const isPolled = reloadInterval !== false && [key, cert, ca].some(isFile)
  return {
    key,
    cert,
    passphrase: passphrase === undefined ? undefined : secretText("MetricsServer.tls.passphrase", passphrase),
    ca,
    clientCertificate,
    allowedNames: allowedNames === undefined ? undefined : checkedNames(allowedNames),
    minVersion: choiceOption("tls.minVersion", minVersion, tlsVersions, "TLSv1.2"),
    reloadInterval: isPolled ? durationOption("tls.reloadInterval", reloadInterval, "10 seconds") : undefined
  }
}

const checkedNames = (names: unknown): ReadonlyArray<string> => {
  const checked = listOption("tls.allowedNames", names, "it would let nobody in")
  const zoned = checked.find((name) => isIPv6(name) && name.includes("%"))
  if (zoned === undefined) return checked
  throw new RangeError(`tls.allowedNames: an address in a certificate has no zone, as ${shown(zoned)} has`)
}

const isFile = (source: string | undefined): boolean => typeof source === "string" && !isPem(source)

/** Reads what was named. It rejects with an error that names the file. */
export const readTls = async ({ key, cert, ca }: TlsSources): Promise<TlsTexts> => ({
  key: await textOrFile({ what: "TLS key", option: "MetricsServer.tls.key", given: key }),
  cert: await textOrFile({ what: "TLS certificate", option: "MetricsServer.tls.cert", given: cert }),
  ca:
    ca === undefined
      ? undefined
      : await textOrFile({ what: "TLS authorities", option: "MetricsServer.tls.ca", given: ca })
})

/** Checks that they are a key, a certificate and authorities, and that they can be used together. */
export const checkTls = async (texts: TlsTexts, sources: TlsSources): Promise<TlsMaterial> => {
  const { reloadInterval: _, ...settings } = sources
  const material = { ...settings, ...texts }
  const { ca, cert, key, passphrase } = material
  // To import it makes a list of all root certificates.
  const { createSecureContext } = await import("node:tls")
  check(`the TLS key (tls.key)${from(sources.key)}`, () =>
    createPrivateKey(passphrase === undefined ? { key } : { key, passphrase })
  )
  check(`the TLS certificate (tls.cert)${from(sources.cert)}`, () => new X509Certificate(cert))
  // OpenSSL leaves out what it cannot read, and trusts the rest.
  if (ca !== undefined) check(`the TLS authorities (tls.ca)${from(sources.ca ?? "")}`, () => certificatesOf(ca))
  check(`the TLS certificate (tls.cert)${from(sources.cert)} with its key${from(sources.key)}`, () =>
    createSecureContext(secureContext(material))
  )
  return material
}

/** When the certificate ends to be valid. */
export const validUntil = ({ cert }: TlsTexts): Date => new Date(new X509Certificate(cert).validTo)

/** The certificates in a PEM text. It throws where one of them is none, or there is none at all. */
export const certificatesOf = (ca: string): ReadonlyArray<X509Certificate> => {
  const blocks = ca.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*(-----END [^-]+-----)?/g) ?? []
  if (blocks.length === 0) throw new PemError("there is no certificate in it")
  return blocks.map((block) => new X509Certificate(block))
}

class PemError extends Error {}

/** Where something was read from, for a message; how long it is if it was given as text. */
export const from = (source: string): string =>
  isPem(source) ? `, a PEM text of ${source.length} characters,` : ` in ${visible(source, 300)}`

/** Why PEM text cannot be used. OpenSSL repeats nothing of it; what else is thrown might, so only its code is shown. */
export const pemTrouble = (cause: unknown): string => {
  const message = messageOf(cause)
  if (cause instanceof PemError || /^error:[0-9a-f]+:[^\n]{0,200}$/i.test(message)) return message
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  if (code === "ERR_MISSING_PASSPHRASE") return "it is encrypted, and no passphrase was given"
  return typeof code === "string" && /^ERR_\w+$/.test(code) ? `it is not understood (${code})` : "it is not understood"
}

const check = (what: string, use: () => void): void => {
  try {
    use()
  } catch (cause) {
    throw new Error(`${what} cannot be used: ${pemTrouble(cause)}`)
  }
}
