import type { AgentOptions } from "node:https"
import type { Read } from "../util/options.js"
import { certificatesOf, pemTrouble } from "../util/pem.js"
import { textOrFile } from "../util/secrets.js"
import { messageOf } from "../util/text.js"
import { invalidOptions } from "./error.js"
import type { tlsOptions } from "./options.js"

interface Pem {
  ca?: string
  cert?: string
  key?: string
}

const files = [
  ["ca", "CA of the Consul agent"],
  ["cert", "certificate for the Consul agent"],
  ["key", "key for the Consul agent"]
] as const

/** Rejects with a `ConsulError` that names option and file. */
export const readTls = async (options: Read<typeof tlsOptions> | undefined): Promise<AgentOptions> => {
  if (options === undefined) return {}
  const { cert, key, serverName, verify } = options
  if ((cert === undefined) !== (key === undefined)) throw invalidOptions("tls.cert and tls.key must be set together")
  const pem: Pem = {}
  try {
    for (const [name, what] of files) {
      const given = options[name]
      const source = { what, name: `tls.${name}`, isSecret: name === "key", given }
      if (given !== undefined) pem[name] = await textOrFile(source)
    }
  } catch (cause) {
    throw invalidOptions(messageOf(cause), cause)
  }
  await checkPem(pem)
  return { ...pem, rejectUnauthorized: verify, ...(serverName === undefined ? {} : { servername: serverName }) }
}

const checkPem = async (pem: Pem): Promise<void> => {
  if (Object.keys(pem).length === 0) return
  try {
    // OpenSSL leaves out what it cannot read.
    if (pem.ca !== undefined) certificatesOf(pem.ca)
    // To import it makes a list of all root certificates.
    const { createSecureContext } = await import("node:tls")
    createSecureContext(pem)
  } catch (cause) {
    // Without its cause: what is thrown may repeat the key.
    throw invalidOptions(`tls: ${Object.keys(pem).join(", ")} cannot be used: ${pemTrouble(cause)}`)
  }
}
