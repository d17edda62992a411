/** Credentials for tests, hashed by Node.js and not by the library. */
import { randomBytes, scryptSync } from "node:crypto"

export interface Cost {
  readonly ln: number
  readonly r: number
  readonly p: number
}

/** So little that a test can verify thousands. */
export const cheap: Cost = { ln: 10, r: 8, p: 1 }

/** A hash of that password in the PHC string format. */
export const hashOf = (password: string, { ln, p, r }: Cost = cheap): string => {
  const salt = randomBytes(16)
  const hash = scryptSync(password, salt, 32, { N: 2 ** ln, r, p, maxmem: 2 ** 30 })
  const text = (bytes: Buffer): string => bytes.toString("base64").replaceAll("=", "")
  return `$scrypt$ln=${ln},r=${r},p=${p}$${text(salt)}$${text(hash)}`
}

/** `Authorization` for a user. */
export const basic = (name: string, password: string): { readonly authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`
})

/** `Authorization` for a token. */
export const bearer = (token: string): { readonly authorization: string } => ({ authorization: `Bearer ${token}` })
