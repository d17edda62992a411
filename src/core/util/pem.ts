import { X509Certificate } from "node:crypto"
import { isPem } from "./secrets.js"
import { messageOf, visible } from "./text.js"

/** Throws if there is no certificate, or one that cannot be read. */
export const certificatesOf = (pem: string): ReadonlyArray<X509Certificate> => {
  const blocks = pem.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*(-----END [^-]+-----)?/g) ?? []
  if (blocks.length === 0) throw new PemError("it contains no certificate")
  return blocks.map((block) => new X509Certificate(block))
}

class PemError extends Error {}

/** The origin of a PEM text, for a message: its file, or its length if it was given as text. */
export const originOf = (source: string): string =>
  isPem(source) ? `, a PEM text of ${source.length} characters,` : ` in ${visible(source, 300)}`

/** OpenSSL's messages do not contain parts of the text; of other errors only the code is shown. */
export const pemTrouble = (cause: unknown): string => {
  const message = messageOf(cause)
  if (cause instanceof PemError || /^error:[0-9a-f]+:[^\n]{0,200}$/i.test(message)) return message
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  if (code === "ERR_MISSING_PASSPHRASE") return "it is encrypted, but no passphrase is set"
  return typeof code === "string" && /^ERR_\w+$/.test(code) ? `it cannot be parsed (${code})` : "it cannot be parsed"
}
