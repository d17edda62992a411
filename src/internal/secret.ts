/** Secrets, where they are needed in clear: as they were given, or from the file that was named. */
import { readFile } from "node:fs/promises"
import * as Redacted from "effect/Redacted"
import { messageOf } from "./message.js"

/** A secret as text. */
export const plain = (secret: string | Redacted.Redacted<string>): string =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret

/** Whether it is PEM text, and not the name of a file. */
export const isPem = (source: string): boolean => source.includes("-----BEGIN ")

/** What was given, if that is PEM text; else what is in the file that it names. */
export const textOrFile = async (what: string, source: string): Promise<string> => {
  if (typeof source !== "string") throw new Error(`the ${what} is missing: give PEM text or the path of a file`)
  if (isPem(source)) return source
  try {
    return await readFile(source, "utf8")
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    // A key without its PEM lines is no path, and belongs in no message; the error of Node.js holds it as well.
    if (!isPathLike(source)) throw new Error(`the ${what} is neither PEM text nor the path of a file (${code})`)
    throw new Error(`the ${what} in ${source} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

// Base64 has slashes as well, but not where paths have them.
const isPathLike = (source: string): boolean =>
  !/\s/.test(source) && (!/^[\w+/-]{48,}=*$/.test(source) || /^(\/[\w-]{1,30}){2,}$/.test(source))
