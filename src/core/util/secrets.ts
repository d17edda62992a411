/**
 * Secrets, where they are needed in clear: as they were given, or from the file that was named.
 *
 * What comes in through a secret option is never put into a message, whatever its shape or type: a message names the option
 * and says how long the value is. A path is only shown where it leads to something, or looks like one and not like base64.
 */
import * as Redacted from "effect/Redacted"
import { readBounded } from "./boundedRead.js"
import { messageOf } from "./message.js"
import { isBlank } from "./options.js"
import { visible } from "./visible.js"

/**
 * Every option that is secret, and every environment variable. To read a secret takes its name from here, and a test puts
 * a secret into each of them and looks for it in all that comes out.
 */
export const secretOptions = [
  "MetricsServer.tls.key",
  "MetricsServer.tls.passphrase",
  "MetricsServer.authentication.users",
  "MetricsServer.authentication.tokens",
  "MetricsServer.hashPassword",
  "ConsulAgent.address",
  "ConsulAgent.token",
  "ConsulAgent.auth",
  "ConsulAgent.tls.key",
  "ConsulAgent.check.url",
  "ConsulAgent.check.header",
  "environment.CONSUL_HTTP_ADDR",
  "environment.CONSUL_HTTP_TOKEN",
  "environment.CONSUL_HTTP_TOKEN_FILE",
  "environment.CONSUL_HTTP_AUTH",
  "environment.CONSUL_CLIENT_KEY"
] as const

/** The name of one of them. */
export type SecretOption = (typeof secretOptions)[number]

/** A name as it is known where the option is given. */
const nameOf = (option: string): string => option.slice(option.indexOf(".") + 1)

// Redacted again where configuration was read and redacted. One that was wiped is none any more.
const revealed = (given: unknown): unknown => {
  try {
    return Redacted.isRedacted(given) ? revealed(Redacted.value(given)) : given
  } catch {
    return undefined
  }
}

/** A secret in clear, whatever it is. `option` says whose it is. */
export const plain = (_option: SecretOption, given: unknown): unknown => revealed(given)

/** A secret as text. It throws a `RangeError` that names the option if it is something else. */
export const secretText = (
  option: SecretOption,
  given: unknown,
  what = nameOf(option),
  expected = "a text, redacted or not"
): string => {
  const text = revealed(given)
  if (typeof text === "string") return text
  throw new RangeError(`${what} must be ${expected}, but it is ${described(given)}`)
}

/** All that a message may say of a secret: what kind of value it is, and how long. */
export const described = (given: unknown): string => {
  try {
    return Redacted.isRedacted(given) ? `redacted: ${kindOf(revealed(given))}` : kindOf(given)
  } catch {
    // An object can throw whatever is asked of it.
    return "an object"
  }
}

const kindOf = (given: unknown): string => {
  if (typeof given === "string") return given === "" ? "an empty text" : `a text of ${given.length} characters`
  if (given === undefined || given === null) return String(given)
  if (Array.isArray(given)) return `a list of ${given.length}`
  if (ArrayBuffer.isView(given)) return `${given.byteLength} bytes`
  if (typeof given === "number" || typeof given === "bigint") return `a number of ${String(given).length} characters`
  return typeof given === "object" ? "an object" : `a ${typeof given}`
}

/** Whether it is PEM text, and not the name of a file. */
export const isPem = (source: string): boolean => source.includes("-----BEGIN ")

/** PEM text or the path of a file of it, as it was given. */
export interface PemSource {
  /** What it is, in words. */
  readonly what: string
  readonly option: string
  readonly given: unknown
}

// What led to a file once is a path, also when the file is gone.
const paths = new Set<string>()

/** What was given, if that is PEM text; else what is in the file that it names. */
export const textOrFile = async ({ given, option, what }: PemSource): Promise<string> => {
  const name = nameOf(option)
  const isSecret = (secretOptions as ReadonlyArray<string>).includes(option)
  const source = isSecret ? revealed(given) : given
  if (source === undefined) throw new Error(`the ${what} is missing: give PEM text or the path of a file as ${name}`)
  const expected = `the ${what} (${name}) must be PEM text or the path of a PEM file, but it is ${described(given)}`
  if (typeof source !== "string") throw new Error(expected)
  if (isPem(source)) return source
  if (isBlank(source)) throw new Error(expected)
  try {
    const text = await readBounded(source)
    paths.add(source)
    return text
  } catch (cause) {
    // Not as a cause: that of Node.js holds what may be no path but the secret.
    const { code, isThere } = cause as NodeJS.ErrnoException & { readonly isThere?: boolean }
    if (isThere !== true && !paths.has(source) && !looksLikePath(source, isSecret)) {
      throw new Error(`${expected}, and no such file (${code})`)
    }
    const message = `the ${what} (${name}) in ${visible(source)} cannot be read: ${messageOf(cause)}`
    throw Object.assign(new Error(message), { code })
  }
}

// It begins as a path does, and is not what base64 looks like, which begins with a slash once in 64 times.
const beginning = /^(?:\.{0,2}[\\/]|[A-Za-z]:[\\/])/
const encoded = /^(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/]{24,}={0,2}$/
// For what is no secret; that may have been put in its place, but has no such ending.
const named = /^[\w./\\-]+\.(?:pem|crt|cer|cert)$/

/** Whether a text that leads to no file was meant to. */
export const looksLikePath = (source: string, isSecret: boolean): boolean =>
  source.length <= 255 &&
  !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(source) &&
  (beginning.test(source) ? !encoded.test(source) : !isSecret && named.test(source))
