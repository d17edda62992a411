/** Values, errors and texts from other programs, as parts of messages. */

/** Never throws, even if reading the value does. */
export const messageOf = (error: unknown): string => {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return "an unknown error"
  }
}

/** A value that throws when it is read is replaced by an error. */
export const loggable = (error: unknown): unknown => {
  try {
    if (!(error instanceof Error)) return error
    const { cause: _, message, name, stack } = error
    return [message, name, stack].some((text) => typeof text === "symbol") ? new Error(messageOf(error)) : error
  } catch {
    return new Error("the thrown value cannot be read")
  }
}

/** A text that is not valid in a URL is returned as it is. */
export const percentDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

// Control and format characters (also of text direction), halves of surrogate pairs, and line separators.
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escaped = (character: string): string =>
  escapes[character] ?? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`

/** The text on one line: invisible characters are escaped, and a text longer than `most` characters is cut. */
export const visible = (text: string, most = 200): string => {
  const cut = text.length <= most ? text : text.slice(0, most)
  const ending = cut.length === text.length ? "" : `… (${text.length} characters)`
  return cut.replace(invisible, escaped) + ending
}

/** A value for a message: on one line, and cut if it is long. */
export const shown = (given: unknown): string => {
  if (typeof given === "string") return quoted(given)
  try {
    return visible(String(given))
  } catch {
    // An object without a prototype has no text, and an own `toString` can throw anything.
    return "an object"
  }
}

const longestShown = 200

const quoted = (text: string): string => {
  const cut = visible(JSON.stringify(text.slice(0, longestShown)), Number.POSITIVE_INFINITY)
  return text.length > longestShown ? `${cut}… (${text.length} characters)` : cut
}
