/** The environment variables of Consul's own tools. */
import { readBounded } from "../util/boundedFileRead.js"
import { isBlank } from "../util/options.js"
import { looksLikePath } from "../util/secrets.js"
import { shown, visible } from "../util/text.js"

export const variables = {
  address: "CONSUL_HTTP_ADDR",
  token: "CONSUL_HTTP_TOKEN",
  tokenFile: "CONSUL_HTTP_TOKEN_FILE",
  auth: "CONSUL_HTTP_AUTH",
  ssl: "CONSUL_HTTP_SSL",
  verify: "CONSUL_HTTP_SSL_VERIFY",
  ca: "CONSUL_CACERT",
  cert: "CONSUL_CLIENT_CERT",
  key: "CONSUL_CLIENT_KEY",
  serverName: "CONSUL_TLS_SERVER_NAME",
  namespace: "CONSUL_NAMESPACE"
} as const

/** Of the variables that are set. */
export type Values = Partial<Record<keyof typeof variables, string>>

export interface Environment extends Omit<Values, "ssl" | "verify"> {
  readonly ssl: boolean
  readonly verify: boolean
}

/** Empty and blank variables count as not set, as with Consul's own tools. Throws a `RangeError` for a wrong flag. */
export const environmentOf = (values: Values): Environment => {
  const set: Values = Object.fromEntries(Object.entries(values).filter(([, value]) => !isBlank(value)))
  return { ...set, ssl: flagOf("ssl", set.ssl, false), verify: flagOf("verify", set.verify, true) }
}

// The words that strconv.ParseBool of Go takes.
const flagOf = (name: "ssl" | "verify", value: string | undefined, fallback: boolean): boolean => {
  if (value === undefined) return fallback
  if (/^(1|t|true)$/i.test(value)) return true
  if (/^(0|f|false)$/i.test(value)) return false
  throw new RangeError(`${variables[name]} must be true or false, not ${shown(value)}`)
}

/** The address with HTTPS, also if it says http: with `CONSUL_HTTP_SSL`, secrets must not travel in clear. */
export const secureAddress = (address: string): string => address.replace(/^(http:\/\/)?(?!\w+:\/\/)/, "https://")

/** The message holds no token. */
export class TokenFileError extends Error {}

/** Rejects with a `TokenFileError`. */
export const readTokenFile = async (file: string): Promise<string> => {
  try {
    return (await readBounded(file)).trim()
  } catch (cause) {
    const { code, isThere } = cause as NodeJS.ErrnoException & { readonly isThere?: boolean }
    // What was given may be a token instead of a path.
    const name = isThere === true || looksLikePath(file, true) ? `file ${visible(file)}` : "file"
    throw new TokenFileError(`the ${name} of CONSUL_HTTP_TOKEN_FILE cannot be read (${code})`)
  }
}
