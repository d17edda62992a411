/** Texts that come from elsewhere, made fit for one line of a log. */

// Control and format characters (those that turn the direction of text around among them), halves of surrogate pairs, and
// the separators of lines and paragraphs.
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escaped = (character: string): string =>
  escapes[character] ?? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`

/** The text in one line: what cannot be seen is escaped, and what is longer than `most` characters is cut. */
export const visible = (text: string, most = 200): string => {
  const cut = text.length <= most ? text : text.slice(0, most)
  const ending = cut.length === text.length ? "" : `… (${text.length} characters)`
  return cut.replace(invisible, escaped) + ending
}
