/**
 * Reads secret options, which are given directly or in a file. A message contains the name and the length of a value,
 * and a path only if a file exists there, or if it looks like a path and not like base64.
 */
import { readBounded } from "./boundedFileRead.js"
import { isBlank, type Kind, kind, type Secret } from "./options.js"
import { messageOf, visible } from "./text.js"

/** Recognizes and opens objects that hold a secret without showing it, such as a `Redacted` of Effect. */
export interface Wrapper {
  readonly is: (given: unknown) => boolean
  /** May throw if the secret was wiped. */
  readonly value: (wrapped: never) => unknown
}

const wrappers = new Set<Wrapper>()

/** Registers a kind of wrapper: from now on, secrets in such wrappers can be read. */
export const readSecretsIn = (wrapper: Wrapper): void => {
  wrappers.add(wrapper)
}

const wrapperOf = (given: unknown): Wrapper | undefined => [...wrappers].find(({ is }) => is(given))

export const isWrapped = (given: unknown): boolean => wrapperOf(given) !== undefined

/**
 * The value of a secret, of any type. A secret configuration may wrap a value that is already wrapped. A wiped secret is
 * `undefined`.
 */
export const revealed = (given: unknown): unknown => {
  const wrapper = wrapperOf(given)
  try {
    return wrapper === undefined ? given : revealed(wrapper.value(given as never))
  } catch {
    return undefined
  }
}

/** Throws a `RangeError` that names the option if its value has another type. */
export const secretText = (given: unknown, name: string, expected = "a string, redacted or not"): string => {
  const text = revealed(given)
  if (typeof text === "string") return text
  throw new RangeError(`${name} must be ${expected}, but it is ${described(given)}`)
}

export const secret: Kind<Secret, string> = kind((given, name) => secretText(given, name), "secret")

/** PEM text or the path of a PEM file. `textOrFile` checks it. */
export const pem: Kind<string, string> = kind((given) => given as string, "PEM, path")

export const secretPem: Kind<Secret, string> = kind((given) => revealed(given) as string, "PEM, path, secret")

/** Describes a secret in a message: the type of the value, and its length. */
export const described = (given: unknown): string => {
  try {
    return isWrapped(given) ? `redacted: ${kindOf(revealed(given))}` : kindOf(given)
  } catch {
    // Reading a property of an object can throw.
    return "an object"
  }
}

const kindOf = (given: unknown): string => {
  if (typeof given === "string") return given === "" ? "an empty string" : `a string of ${given.length} characters`
  if (given === undefined || given === null) return String(given)
  if (Array.isArray(given)) return `an array of length ${given.length}`
  if (ArrayBuffer.isView(given)) return `${given.byteLength} bytes`
  if (typeof given === "number" || typeof given === "bigint") return `a number of ${String(given).length} characters`
  return typeof given === "object" ? "an object" : `a ${typeof given}`
}

export const isPem = (source: string): boolean => source.includes("-----BEGIN ")

export interface PemSource {
  /** What it contains, for messages. */
  readonly what: string
  /** The name of its option. */
  readonly name: string
  readonly isSecret: boolean
  readonly given: unknown
}

// A path that led to a file once is also shown after the file is gone.
const paths = new Set<string>()

export const textOrFile = async ({ given, isSecret, name, what }: PemSource): Promise<string> => {
  const source = isSecret ? revealed(given) : given
  if (source === undefined) throw new Error(`the ${what} is missing: set ${name} to PEM text or the path of a PEM file`)
  const expected = `the ${what} (${name}) must be PEM text or the path of a PEM file, but it is ${described(given)}`
  if (typeof source !== "string") throw new Error(expected)
  if (isPem(source)) return source
  if (isBlank(source)) throw new Error(expected)
  try {
    const text = await readBounded(source)
    paths.add(source)
    return text
  } catch (cause) {
    // Without its cause: the error of Node.js contains the path, which may be the secret itself.
    const { code, isThere } = cause as NodeJS.ErrnoException & { readonly isThere?: boolean }
    if (isThere !== true && !paths.has(source) && !looksLikePath(source, isSecret)) {
      throw new Error(`${expected} that is not the path of a readable file (${code})`)
    }
    const message = `the ${what} (${name}) in ${visible(source)} cannot be read: ${messageOf(cause)}`
    throw Object.assign(new Error(message), { code })
  }
}

// The text begins like a path, and does not look like base64. One base64 text in 64 begins with a slash.
const beginning = /^(?:\.{0,2}[\\/]|[A-Za-z]:[\\/])/
const encoded = /^(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/]{24,}={0,2}$/
// For options that are not secret. A secret in such an option by mistake does not end like this.
const named = /^[\w./\\-]+\.(?:pem|crt|cer|cert)$/

/** Whether a text that leads to no file is meant as a path. */
export const looksLikePath = (source: string, isSecret: boolean): boolean =>
  source.length <= 255 &&
  !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(source) &&
  (beginning.test(source) ? !encoded.test(source) : !isSecret && named.test(source))
