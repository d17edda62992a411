/** Lets the core read secrets that are `Redacted`. */
import * as Redacted from "effect/Redacted"
import { readSecretsIn } from "../core/util/secrets.js"

const wrapper = { is: Redacted.isRedacted, value: (wrapped: Redacted.Redacted<unknown>) => Redacted.value(wrapped) }

/** Repeated calls are allowed. */
export const readRedacted = (): void => readSecretsIn(wrapper)
