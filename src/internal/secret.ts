/** Secrets, where they are needed in clear. */
import * as Redacted from "effect/Redacted"

/** A secret as text. */
export const plain = (secret: string | Redacted.Redacted<string>): string =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret
