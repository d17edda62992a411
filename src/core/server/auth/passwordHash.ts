/** Passwords as salted hashes, in the PHC string format: `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`. */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from "node:crypto"

/** Can be sent to a worker. */
export interface PasswordHash {
  /** The binary logarithm of the cost. */
  readonly ln: number
  /** The block size: the memory is 128 bytes times this times the cost. */
  readonly r: number
  /** How many times that work is done. */
  readonly p: number
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

// What OWASP recommends for 16 MiB of memory.
const recommended = { ln: 14, r: 8, p: 5 }

/** Composed letters are equal to decomposed ones (RFC 8265). */
export const prepared = (text: string): string => text.normalize("NFC")

/** As a name, with all kinds of spaces equal. */
export const preparedPassword = (password: string): string => prepared(password.replace(/\p{Zs}/gu, " "))

/**
 * Normalizing takes the square of the number of accents of a letter. No letter of any language has more than 30
 * (Stream-Safe Text Format, UAX #15).
 */
export const isPreparable = (text: string): boolean => !/(?:^|\P{M})\p{M}{31}/u.test(text)

/**
 * Control characters are rejected, because scrypt pads a password with zeros and replaces a long one by its digest:
 * `""` and `"\0"` would be equal, and so would a long password and its digest (all but one digest in 10¹¹ have control
 * characters).
 */
export const passwordTrouble = (password: string): string | undefined => {
  if (password === "") return "it is empty"
  if (/\p{Cc}/u.test(password)) return "it contains control characters"
  if (!isPreparable(password)) return "it contains a letter with more than 30 accents"
  return /\p{Cs}/u.test(password) ? "it contains an unpaired surrogate" : undefined
}

export const hashed = async (password: string): Promise<string> => {
  const salt = randomBytes(16)
  const hash = await derived(Buffer.from(preparedPassword(password)), salt, recommended, 32)
  const { ln, r, p } = recommended
  return `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(hash)}`
}

const phc = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/** `undefined` if it is no hash, or costs too little or too much to verify. */
export const parsedHash = (text: string): PasswordHash | undefined => {
  const [, ln, r, p, salt = "", hash = ""] = phc.exec(text) ?? []
  const parsed = {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
    salt: bytesOf(salt),
    hash: bytesOf(hash)
  }
  const isSupported =
    parsed.ln >= 10 && parsed.ln <= 20 && parsed.r >= 1 && parsed.r <= 32 && parsed.p >= 1 && parsed.p <= 16
  return isSupported && memory(parsed) <= 256 * 2 ** 20 ? parsed : undefined
}

/** The time depends on the password alone. Each Unicode form is compared: another program may have used another one. */
export const isOf = async (hash: PasswordHash, password: string): Promise<boolean> => {
  const forms = new Set([preparedPassword(password), password.normalize("NFC"), password.normalize("NFD")])
  let is = false
  for (const form of forms) {
    const found = await derived(Buffer.from(form), hash.salt, hash, hash.hash.byteLength)
    is = timingSafeEqual(found, hash.hash) || is
  }
  return is
}

type Cost = Pick<PasswordHash, "ln" | "r" | "p">

const memory = ({ ln, r }: Cost): number => 128 * 2 ** ln * r

// In the thread pool of Node.js.
const derived = (password: Uint8Array, salt: Uint8Array, cost: Cost, length: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const { ln, r, p } = cost
    // Besides its table scrypt needs a block for each `p`, and a little more.
    const options: ScryptOptions = { N: 2 ** ln, r, p, maxmem: memory(cost) + 128 * r * (p + 4) + 2 ** 20 }
    // Without an error it is null on Node.js, and undefined on Bun.
    scrypt(password, salt, length, options, (error, hash) => (error ? reject(error) : resolve(hash)))
  })

// A copy: the memory of a `Buffer` is shared with other texts, which would be sent to the worker as well.
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"))

const base64 = (bytes: Buffer): string => bytes.toString("base64").replace(/=+$/, "")
