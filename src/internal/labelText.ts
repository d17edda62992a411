/** Labels as text: between the braces of a series or of an exemplar. */

/** Labels as a client keeps them. */
export type LabelValues = Readonly<Record<string, unknown>>

/** Labels as the texts that stand for them, which can be sent to a worker. */
export type LabelTexts = Readonly<Record<string, string>>

/** A copy of labels as texts. */
export const labelTexts = (labels: object): LabelTexts =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))

/** A copy of labels as texts, if they are any. */
export const someLabels = (labels: unknown): LabelTexts | undefined =>
  typeof labels === "object" && labels !== null && Object.keys(labels).length > 0 ? labelTexts(labels) : undefined

/** Labels as they stand between the braces: those defaults that are not overridden, and own ones. */
export const labelText = (own: LabelValues | undefined, defaults?: LabelValues): string => {
  let text = ""
  for (const name in defaults) {
    if (own !== undefined && Object.hasOwn(own, name)) continue
    text += `${text === "" ? "" : ","}${name}="${escapeQuoted(String(defaults[name]))}"`
  }
  for (const name in own) {
    text += `${text === "" ? "" : ","}${name}="${escapeQuoted(String(own[name]))}"`
  }
  return text
}

/** A value as it stands between quotes, and a help text in OpenMetrics. */
export const escapeQuoted = (text: string): string =>
  // Few have any of them, and to look is cheaper than to replace nothing.
  special.test(text) ? text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`)) : text

const special = /[\\\n"]/
