/** Key and certificate, as text or from files, checked before anything listens. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createSecureContext } from "node:tls"
import type { TlsMaterial } from "./server.js"
import { messageOf } from "./warnings.js"

const isPem = (source: string): boolean => source.includes("-----BEGIN ")

/** Reads what was given and checks that it is a key, a certificate, and that they belong together. */
export const loadTls = async (sources: TlsMaterial): Promise<TlsMaterial> => {
  const key = await textOrFile("TLS key", sources.key)
  const cert = await textOrFile("TLS certificate", sources.cert)
  const { passphrase } = sources
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

/** What was given, if that is PEM text; else what is in the file that it names. */
export const textOrFile = async (what: string, source: string): Promise<string> => {
  if (typeof source !== "string") throw new Error(`the ${what} is missing: give PEM text or the path of a file`)
  if (isPem(source)) return source
  try {
    return await readFile(source, "utf8")
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    // A key without its PEM lines is no path, and belongs in no message; the error of Node.js holds it as well.
    if (!isPathLike(source)) throw new Error(`the ${what} is neither PEM text nor the path of a file (${code})`)
    throw new Error(`the ${what} in ${source} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

// Base64 has slashes as well, but not where paths have them.
const isPathLike = (source: string): boolean =>
  !/\s/.test(source) && (!/^[\w+/-]{48,}=*$/.test(source) || /^(\/[\w-]{1,30}){2,}$/.test(source))

const check = (what: string, use: () => void): void => {
  try {
    use()
  } catch (cause) {
    throw new Error(`${what} cannot be used: ${messageOf(cause)}`, { cause })
  }
}
