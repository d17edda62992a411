/** Users with passwords (HTTP Basic authentication, RFC 7617). */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { oncePerProcess } from "../../util/oncePerProcess.js"
import { kind, type Secret } from "../../util/options.js"
import { now, setTimeout } from "../../util/realTimers.js"
import { described, isWrapped, revealed } from "../../util/secrets.js"
import { shown } from "../../util/text.js"
import type { PasswordHash } from "./passwordHash.js"
import { isOf, isPreparable, parsedHash, passwordTrouble, prepared, preparedPassword } from "./passwordHash.js"
import { authorizationHeader, type Scheme, type Verdict } from "./scheme.js"

export interface User {
  readonly name: string
  readonly hash: PasswordHash
}

export const userList = kind<Readonly<Record<string, Secret>>, ReadonlyArray<User>>((given, name) => {
  // A map has no entries here, and an object that is redacted as a whole has other ones.
  if (typeof given !== "object" || given === null || Symbol.iterator in given || isWrapped(given)) {
    throw new RangeError(
      `${name} must be an object with a password hash for each user name, but it is ${described(given)}`
    )
  }
  const users = Object.entries(given).map(([user, hash], index) => ({
    name: checkedName(name, user, index),
    hash: checkedHash(name, user, hash)
  }))
  const duplicate = users.find((user, index) => users.findIndex((other) => other.name === user.name) < index)
  if (duplicate === undefined) return users
  throw new RangeError(
    `${name} contains ${shown(duplicate.name)} twice, with composed and with decomposed letters: remove one of them`
  )
}, "secrets by name")

const checkedName = (option: string, name: string, index: number): string => {
  // Other names cannot be sent (RFC 7617).
  if (/^[^:\p{Cc}\p{Cs}]+$/u.test(name) && isPreparable(name)) return prepared(name)
  // The text after a colon may be the password.
  throw new RangeError(
    `${option}: the name of entry ${index + 1} must not be empty, and must not contain colons, control characters or ` +
      `letters with more than 30 accents, but it is ${described(name)}; set the user name as the key, and the hash from ` +
      "hashPassword as the value"
  )
}

const checkedHash = (option: string, name: string, hash: unknown): PasswordHash => {
  const text = revealed(hash)
  const parsed = typeof text === "string" ? parsedHash(text) : undefined
  if (parsed !== undefined) return parsed
  // It may be the password itself.
  throw new RangeError(
    `${option}: the value of ${shown(name)} must be a scrypt hash from hashPassword (ln 10–20, r ≤ 32, p ≤ 16, ` +
      `at most 256 MiB), but it is ${described(hash)}`
  )
}

export const basic = (users: ReadonlyArray<User>): Scheme | undefined => {
  if (users.length === 0) return undefined
  const { isVerified, verify } = passwords(users)
  return {
    challenge: 'Basic realm="metrics", charset="UTF-8"',
    sent: authorizationHeader("basic"),
    isKnown: (sent) => isVerified(Buffer.from(sent, "base64")),
    verify: (sent) => verify(Buffer.from(sent, "base64"))
  }
}

// Verifying a password takes a core, and a thread of the pool that the application needs too. So one at a time is
// verified, followed by a pause as long as it took, and one more may queue.
const mostVerifications = 2
const verifications = oncePerProcess("password verifications", () => ({
  count: 0,
  last: Promise.resolve() as Promise<unknown>
}))

const queued = <A>(verify: () => Promise<A>): Promise<A> => {
  let began = 0
  const result = verifications.last.then(() => {
    began = now()
    return verify()
  })
  const rest = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, now() - began).unref())
  verifications.last = result.then(rest, rest)
  return result
}

// Requests that wait for the same verification: all Prometheus servers send a changed password at the same time.
const mostWaiting = 16

interface Verification {
  readonly result: Promise<Verdict>
  waiting: number
}

const passwords = (users: ReadonlyArray<User>) => {
  const hashes = new Map(users.map(({ name, hash }) => [name, hash]))
  const decoyOf = decoys(users.map(({ hash }) => hash))
  const secret = randomBytes(32)
  const noProof = randomBytes(32)
  // By user, the digest of the last verified password.
  const verified = new Map<string, Buffer>()
  const running = new Map<string, Verification>()
  const proofOf = (name: string, password: string): Buffer =>
    createHmac("sha256", secret)
      .update(`${name}:${preparedPassword(password)}`)
      .digest()
  const isProven = (name: string, proof: Buffer): boolean => timingSafeEqual(proof, verified.get(name) ?? noProof)
  const isVerified = (sent: Buffer): boolean => {
    const { name, password } = userOf(sent)
    return passwordTrouble(password) === undefined && isProven(name, proofOf(name, password))
  }

  const verify = (sent: Buffer): Verdict | Promise<Verdict> => {
    const { name, password } = userOf(sent)
    const known = hashes.get(name)
    const hash = known ?? decoyOf(name)
    if (passwordTrouble(password) !== undefined || hash === undefined) return "invalid"
    const proof = proofOf(name, password)
    if (isProven(name, proof)) return "valid"
    // By the bytes that were sent: an equal password in another Unicode form may match another hash.
    const key = createHmac("sha256", secret).update(sent).digest("base64")
    const joined = running.get(key)
    if (joined !== undefined) {
      if (joined.waiting >= mostWaiting) return "busy"
      joined.waiting += 1
      return joined.result
    }
    if (verifications.count >= mostVerifications) return "busy"
    verifications.count += 1
    const result = queued(() => isOf(hash, password))
      .then((is): Verdict => {
        if (!is || known === undefined) return "invalid"
        verified.set(name, proof)
        return "valid"
      })
      .catch((): Verdict => "invalid")
      .finally(() => {
        verifications.count -= 1
        running.delete(key)
      })
    running.set(key, { result, waiting: 1 })
    return result
  }
  return { isVerified, verify }
}

const nothing = { name: "", password: "" }

// UTF-8, as the challenge says; other bytes (the digest of a long password, say) are no text. Every client can send
// them, and they are parsed before any queue: it must take next to no time.
const userOf = (sent: Buffer): typeof nothing => {
  const text = sent.toString("utf8")
  const [, name = "", password = ""] = /^([^:]*):(.+)$/s.exec(text) ?? []
  return Buffer.from(text).equals(sent) && isPreparable(text) ? { name: prepared(name), password } : nothing
}

// An unknown user costs as much as one of the known ones, and always the same one, also after a restart: the time must
// not reveal which names exist.
const decoys = (hashes: ReadonlyArray<PasswordHash>): ((name: string) => PasswordHash | undefined) => {
  const secret = createHash("sha256")
  for (const { hash } of hashes) secret.update(hash)
  const key = secret.digest()
  return (name) => hashes[createHmac("sha256", key).update(name).digest().readUInt32BE() % hashes.length]
}
