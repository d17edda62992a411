/** Key and certificate, as text or from files, checked before anything listens. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { messageOf } from "./message.js"
import { isPem, textOrFile } from "./secret.js"
import type { TlsMaterial } from "./server.js"

/** Reads what was given and checks that it is a key, a certificate, and that they belong together. */
export const loadTls = async (sources: TlsMaterial): Promise<TlsMaterial> => {
  const key = await textOrFile("TLS key", sources.key)
  const cert = await textOrFile("TLS certificate", sources.cert)
  const { passphrase } = sources
  // To import it makes a list of all root certificates.
  const { createSecureContext } = await import("node:tls")
  check(`the TLS key${from(sources.key)}`, () =>
    createPrivateKey(passphrase === undefined ? { key } : { key, passphrase })
  )
  check(`the TLS certificate${from(sources.cert)}`, () => new X509Certificate(cert))
  check(`the TLS certificate${from(sources.cert)} with its key${from(sources.key)}`, () =>
    createSecureContext(passphrase === undefined ? { key, cert } : { key, cert, passphrase })
  )
  return { key, cert, passphrase }
}

const from = (source: string): string => (isPem(source) ? "" : ` in ${source}`)

const check = (what: string, use: () => void): void => {
  try {
    use()
  } catch (cause) {
    throw new Error(`${what} cannot be used: ${messageOf(cause)}`, { cause })
  }
}
