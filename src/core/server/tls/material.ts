/** Keys and certificates, as text or from files, checked before they are used. */
import { createPrivateKey } from "node:crypto"
import { certificatesOf, originOf, pemTrouble } from "../../util/pem.js"
import { textOrFile } from "../../util/secrets.js"
import type { TlsSources } from "./options.js"
import { secureContext, type TlsMaterial } from "./secureContext.js"

export type TlsTexts = Pick<TlsMaterial, "key" | "cert" | "ca">

/** Rejects with an error that names the file. */
export const readTls = async ({ key, cert, ca }: TlsSources): Promise<TlsTexts> => ({
  key: await textOrFile({ what: "TLS key", name: "tls.key", isSecret: true, given: key }),
  cert: await textOrFile({ what: "TLS certificate", name: "tls.cert", isSecret: false, given: cert }),
  ca:
    ca === undefined
      ? undefined
      : await textOrFile({ what: "TLS authorities", name: "tls.ca", isSecret: false, given: ca })
})

/** Checks each of them, and that they can be used together. */
export const checkTls = async (texts: TlsTexts, sources: TlsSources): Promise<TlsMaterial> => {
  const { reloadInterval: _, ...settings } = sources
  const material = { ...settings, ...texts }
  const { ca, cert, key, passphrase } = material
  // Importing it builds a list of all root certificates.
  const { createSecureContext } = await import("node:tls")
  check(`the TLS key (tls.key)${originOf(sources.key)}`, () =>
    createPrivateKey(passphrase === undefined ? { key } : { key, passphrase })
  )
  check(`the TLS certificate (tls.cert)${originOf(sources.cert)}`, () => certificatesOf(cert))
  // OpenSSL skips certificates that it cannot read, and trusts the rest.
  if (ca !== undefined) check(`the TLS authorities (tls.ca)${originOf(sources.ca ?? "")}`, () => certificatesOf(ca))
  check(`the TLS certificate (tls.cert)${originOf(sources.cert)} with its key${originOf(sources.key)}`, () =>
    createSecureContext(secureContext(material))
  )
  return material
}

/** When the first certificate of the chain expires. */
export const validUntil = ({ cert }: TlsTexts): Date =>
  new Date(Math.min(...certificatesOf(cert).map(({ validTo }) => Date.parse(validTo))))

const check = (what: string, use: () => void): void => {
  try {
    use()
  } catch (cause) {
    throw new Error(`${what} cannot be used: ${pemTrouble(cause)}`)
  }
}
