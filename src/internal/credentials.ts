/** Who is let in: those who know a password or a token. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { Refusal, Refused } from "./endpoint.js"
import type { PasswordHash } from "./password.js"
import { isOf, isPreparable, passwordTrouble, prepared, preparedPassword } from "./password.js"
import { now, setTimeout } from "./timer.js"

/** What is known of those who are let in. It can be sent to a worker, and tells no password and no token. */
export interface CheckedAuthentication {
  readonly users: ReadonlyArray<{ readonly name: string; readonly hash: PasswordHash }>
  /** SHA-256 digests. Tokens are too long to be guessed, so no slower hash is needed. */
  readonly tokens: ReadonlyArray<Uint8Array>
  readonly openHealthPage: boolean
}

/** Who is let in by the `Authorization` of a request. Neither throws. */
export interface Credentials {
  /** Whether that is known to be right, without a password to be verified: a token, or a password that was right before. */
  readonly knows: (header?: string) => boolean
  /** Why a request with that is not let in. */
  readonly refusal: (header?: string) => Refused
}

/** Those who have one of the tokens, or are one of the users. */
export const credentials = ({ tokens, users }: CheckedAuthentication): Credentials => {
  const challenges = [
    ...(users.length > 0 ? ['Basic realm="metrics", charset="UTF-8"'] : []),
    ...(tokens.length > 0 ? ['Bearer realm="metrics"'] : [])
  ].join(", ")
  const unauthorized = refusal(challenges)
  // RFC 6750, section 3.1; the challenge for bearers is the last one.
  const invalidToken = tokens.length > 0 ? refusal(`${challenges}, error="invalid_token"`) : unauthorized
  const { isVerified, verify } = passwords(users, unauthorized)

  return {
    knows: (header) => {
      const { scheme, sent } = parsed(header)
      return scheme === "bearer" ? isToken(tokens, sent) : scheme === "basic" && isVerified(Buffer.from(sent, "base64"))
    },
    refusal: (header) => {
      const { scheme, sent } = parsed(header)
      if (scheme === "bearer") return isToken(tokens, sent) ? undefined : invalidToken
      return scheme === "" ? unauthorized : verify(Buffer.from(sent, "base64"))
    }
  }
}

const parsed = (header = "") => {
  const [, scheme = "", sent = ""] = /^(basic|bearer) +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(header) ?? []
  return { scheme: scheme.toLowerCase(), sent }
}

const refusal = (challenges: string): Refusal => ({
  status: 401,
  message: "Unauthorized",
  headers: { "www-authenticate": challenges }
})

// All of them are looked at, so that nothing tells which one is nearly right.
const isToken = (tokens: ReadonlyArray<Uint8Array>, given: string): boolean => {
  const digest = digestOf(given)
  return tokens.filter((token) => timingSafeEqual(digest, token)).length > 0
}

/** What is kept of a token, or of any text. */
export const digestOf = (text: string): Uint8Array => createHash("sha256").update(text).digest()

// Verifying takes a thread of the pool in which the application compresses, reads files and looks up names, and a core
// for as long. So one is verified after the other, in the whole thread, with a rest between them as long as it took, and
// at most two wait for their answers.
const mostVerifications = 2
let verifications = 0
let last: Promise<unknown> = Promise.resolve()

const inTurn = <A>(verify: () => Promise<A>): Promise<A> => {
  let began = 0
  const result = last.then(() => {
    began = now()
    return verify()
  })
  const rest = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, now() - began).unref())
  last = result.then(rest, rest)
  return result
}

// So many requests with the same password may wait for it to be verified, which is once: those who scrape with a password
// that has just been changed come at the same time.
const mostWithTheSame = 16

const busy: Refusal = { status: 429, message: "Too many requests", headers: { "retry-after": "1" } }

interface Running {
  readonly result: Promise<Refusal | undefined>
  /** How many wait for it. */
  waiting: number
}

const passwords = (users: CheckedAuthentication["users"], unauthorized: Refusal) => {
  const hashes = new Map(users.map(({ name, hash }) => [name, hash]))
  const decoyOf = decoys(users.map(({ hash }) => hash))
  const secret = randomBytes(32)
  const nobody = randomBytes(32)
  // Of each user, what was sent when it was right.
  const verified = new Map<string, Buffer>()
  const running = new Map<string, Running>()
  const proofOf = (name: string, password: string): Buffer =>
    createHmac("sha256", secret)
      .update(`${name}:${preparedPassword(password)}`)
      .digest()
  const isProven = (name: string, proof: Buffer): boolean => timingSafeEqual(proof, verified.get(name) ?? nobody)
  const isVerified = (sent: Buffer): boolean => {
    const { name, password } = userOf(sent)
    return passwordTrouble(password) === undefined && isProven(name, proofOf(name, password))
  }

  const verify = (sent: Buffer): Refused => {
    const { name, password } = userOf(sent)
    const known = hashes.get(name)
    const hash = known ?? decoyOf(name)
    if (passwordTrouble(password) !== undefined || hash === undefined) return unauthorized
    const proof = proofOf(name, password)
    if (isProven(name, proof)) return undefined
    // The same password, written in another way, may fit another hash.
    const key = createHmac("sha256", secret).update(sent).digest("base64")
    const joined = running.get(key)
    if (joined !== undefined) {
      if (joined.waiting >= mostWithTheSame) return busy
      joined.waiting += 1
      return joined.result
    }
    if (verifications >= mostVerifications) return busy
    verifications += 1
    const result = inTurn(() => isOf(hash, password))
      .then((is) => {
        if (!is || known === undefined) return unauthorized
        verified.set(name, proof)
        return undefined
      })
      .catch(() => unauthorized)
      .finally(() => {
        verifications -= 1
        running.delete(key)
      })
    running.set(key, { result, waiting: 1 })
    return result
  }
  return { isVerified, verify }
}

const nothing = { name: "", password: "" }

// In UTF-8, as the challenge says. Other bytes are no text: the digest of a long password, for one. Everybody may send it,
// and it is looked at before its turn: it must take next to no time.
const userOf = (sent: Buffer): typeof nothing => {
  const text = sent.toString("utf8")
  const [, name = "", password = ""] = /^([^:]*):(.+)$/s.exec(text) ?? []
  return Buffer.from(text).equals(sent) && isPreparable(text) ? { name: prepared(name), password } : nothing
}

// For an unknown user as much work as for one of those that are known, and always the same one: where users have hashes
// of different costs, how long it takes tells nothing, not even after a restart.
const decoys = (hashes: ReadonlyArray<PasswordHash>): ((name: string) => PasswordHash | undefined) => {
  const secret = createHash("sha256")
  for (const { hash } of hashes) secret.update(hash)
  const key = secret.digest()
  return (name) => hashes[createHmac("sha256", key).update(name).digest().readUInt32BE() % hashes.length]
}
