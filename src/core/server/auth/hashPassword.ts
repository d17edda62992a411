/** New hashes of passwords, for the option `authentication.users`. */
import { described, secretText } from "../../util/secrets.js"
import { hashed, passwordTrouble } from "./passwordHash.js"

/** Rejects with a `RangeError` for a password that the server rejects. */
export const hashPassword = async (password: unknown): Promise<string> => {
  const text = secretText(password, "the password")
  const trouble = passwordTrouble(text)
  if (trouble === undefined) return hashed(text)
  throw new RangeError(
    "the password must not be empty, and must not contain control characters, unpaired surrogates or letters with more " +
      `than 30 accents, but ${trouble} (${described(password)})`
  )
}
