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

/** A new hash of a password. */
export const hashed = async (password: string): Promise<string> => {
  const salt = randomBytes(16)
  const hash = await derived(Buffer.from(password), salt, recommended, 32)
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

/** Whether a hash is of that password. It takes as long whether it is or not. */
export const isOf = async (hash: PasswordHash, password: Uint8Array): Promise<boolean> =>
  timingSafeEqual(await derived(password, hash.salt, hash, hash.hash.byteLength), hash.hash)

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
