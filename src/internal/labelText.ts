/** Labels as text: between the braces of a series or of an exemplar. */

/** Labels as a client keeps them. */
export type LabelValues = Readonly<Record<string, unknown>>

/** A copy of labels, if they are any. */
export const someLabels = (labels: unknown): LabelValues | undefined =>
  typeof labels === "object" && labels !== null && Object.keys(labels).length > 0 ? { ...labels } : undefined

/** Labels as they stand between the braces: defaults and own ones, without those that are overridden. */
export const labelText = (own: LabelValues | undefined, defaults?: LabelValues, overriding?: LabelValues): string => {
  let text = ""
  for (const name in defaults) {
    if (has(own, name) || has(overriding, name)) continue
    text += `${text === "" ? "" : ","}${name}="${escapeQuoted(String(defaults[name]))}"`
  }
  for (const name in own) {
    if (overriding !== undefined && has(overriding, name)) continue
    text += `${text === "" ? "" : ","}${name}="${escapeQuoted(String(own[name]))}"`
  }
  return text
}

const has = (labels: LabelValues | undefined, name: string): boolean =>
  labels !== undefined && Object.hasOwn(labels, name)

/** Two lists of labels as one. */
export const joined = (left: string, right: string): string =>
  left === "" || right === "" ? left + right : `${left},${right}`

/** The text of labels that come several times in a row, as those that all samples of a series share. */
export class LastText {
  private labels: LabelValues | undefined
  private text = ""

  of(labels: LabelValues): string {
    if (labels !== this.labels) {
      this.labels = labels
      this.text = labelText(labels)
    }
    return this.text
  }

  /** From now on they can be others. */
  forget(): void {
    this.labels = undefined
  }
}

/** A value as it stands between quotes, and a help text in OpenMetrics. */
export const escapeQuoted = (text: string): string =>
  // Few have any of them, and to look is cheaper than to replace nothing.
  special.test(text) ? text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`)) : text

const special = /[\\\n"]/
