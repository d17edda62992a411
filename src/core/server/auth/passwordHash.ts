/** Passwords as salted hashes, in the PHC string format: `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`. */
import type { ScryptOptions } from "node:crypto"
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto"

/** A hash, and what it was made with. It can be sent to a worker. */
export interface PasswordHash {
  /** The binary logarithm of the cost in time and memory. */
  readonly ln: number
  /** The size of a block; memory is 128 bytes times this times the cost. */
  readonly r: number
  /** How often that much work is done. */
  readonly p: number
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

// What OWASP recommends where 16 MiB of memory are to be had.
const recommended = { ln: 14, r: 8, p: 5 }

/** A name as it is compared: of the ways to write a letter in Unicode the composed one (RFC 8265). */
export const prepared = (text: string): string => text.normalize("NFC")

/** A password as it is compared: as a name, and all kinds of spaces are one. */
export const preparedPassword = (password: string): string => prepared(password.replace(/\p{Zs}/gu, " "))

/**
 * Whether a text can be brought into one form in little time: that sorts the accents of each letter, which takes the square
 * of their number. No letter of any language has more than 30 (Stream-Safe Text Format, UAX #15).
 */
export const isPreparable = (text: string): boolean => !/(?:^|\P{M})\p{M}{31}/u.test(text)

/**
 * Why no password can be so: it is empty, or has characters that no keyboard types. scrypt fills a password up with zeros, and
 * takes the digest of a long one for it: without this `""` and `"\0"` would be the same, and so would a long password and
 * its digest, which is no text without control characters (one in 10¹¹ is).
 */
export const passwordTrouble = (password: string): string | undefined => {
  if (password === "") return "it is empty"
  if (/\p{Cc}/u.test(password)) return "it has control characters"
  if (!isPreparable(password)) return "it has a letter with more than 30 accents"
  return /\p{Cs}/u.test(password) ? "it has half of a character" : undefined
}

/** A new hash of a password. */
export const hashed = async (password: string): Promise<string> => {
  const salt = randomBytes(16)
  const hash = await derived(Buffer.from(preparedPassword(password)), salt, recommended, 32)
  const { ln, r, p } = recommended
  return `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(hash)}`
}

const phc = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/** The hash that stands there; `undefined` if there is none, or one that takes too little or too much to verify. */
export const parsedHash = (text: string): PasswordHash | undefined => {
  const [, ln, r, p, salt = "", hash = ""] = phc.exec(text) ?? []
  const parsed = {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
    salt: bytesOf(salt),
    hash: bytesOf(hash)
  }
  const isBearable =
    parsed.ln >= 10 && parsed.ln <= 20 && parsed.r >= 1 && parsed.r <= 32 && parsed.p >= 1 && parsed.p <= 16
  return isBearable && memory(parsed) <= 256 * 2 ** 20 ? parsed : undefined
}

/**
 * Whether a hash is of that password. How long that takes depends on the password alone. A hash that was made elsewhere may
 * be of another way to write it: for letters with accents each is looked at.
 */
export const isOf = async (hash: PasswordHash, password: string): Promise<boolean> => {
  const ways = new Set([preparedPassword(password), password.normalize("NFC"), password.normalize("NFD")])
  let is = false
  for (const way of ways) {
    const found = await derived(Buffer.from(way), hash.salt, hash, hash.hash.byteLength)
    is = timingSafeEqual(found, hash.hash) || is
  }
  return is
}

type Cost = Pick<PasswordHash, "ln" | "r" | "p">

const memory = ({ ln, r }: Cost): number => 128 * 2 ** ln * r

// In a thread of Node.js' own pool.
const derived = (password: Uint8Array, salt: Uint8Array, cost: Cost, length: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const { ln, r, p } = cost
    // Beside its table it needs a block for each time, and a little more.
    const options: ScryptOptions = { N: 2 ** ln, r, p, maxmem: memory(cost) + 128 * r * (p + 4) + 2 ** 20 }
    // Without an error Node.js gives null there, and Bun undefined.
    scrypt(password, salt, length, options, (error, hash) => (error ? reject(error) : resolve(hash)))
  })

// In memory of its own: with that of a `Buffer`, which other texts share, a worker would be sent those as well.
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"))

const base64 = (bytes: Buffer): string => bytes.toString("base64").replace(/=+$/, "")
