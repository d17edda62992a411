/** Authentication by bearer token (RFC 6750): secrets that programs generate, stored as digests. */
import { createHash, timingSafeEqual } from "node:crypto"
import { kind, type Secret } from "../../util/options.js"
import { described, secretText } from "../../util/secrets.js"
import { authorizationHeader, type Scheme } from "./scheme.js"

const expected = "at least 16 letters, digits, and - . _ ~ + / (= at the end only)"

/** Read as SHA-256 digests. Tokens are too long to be guessed, so no slower hash is needed. */
export const tokenList = kind<ReadonlyArray<Secret>, ReadonlyArray<Uint8Array>>((given, name) => {
  if (!Array.isArray(given)) throw new RangeError(`${name} must be an array of strings, but it is ${described(given)}`)
  return given.map((token, index) => {
    const text = secretText(token, `${name}[${index}]`, expected)
    if (text.length >= 16 && /^[A-Za-z0-9\-._~+/]+=*$/.test(text)) return digestOf(text)
    throw new RangeError(`${name}[${index}] must be ${expected}, but it is ${described(token)}`)
  })
}, "secrets")

const digestOf = (token: string): Uint8Array => createHash("sha256").update(token).digest()

/** All tokens are compared, so that the time does not depend on the token. */
export const isToken = (digests: ReadonlyArray<Uint8Array>, text: string): boolean => {
  const digest = digestOf(text)
  return digests.filter((token) => timingSafeEqual(digest, token)).length > 0
}

export const bearer = (tokens: ReadonlyArray<Uint8Array>): Scheme | undefined => {
  if (tokens.length === 0) return undefined
  return {
    challenge: 'Bearer realm="metrics"',
    invalid: ', error="invalid_token"',
    sent: authorizationHeader("bearer"),
    isKnown: (sent) => isToken(tokens, sent),
    verify: (sent) => (isToken(tokens, sent) ? "valid" : "invalid")
  }
}
