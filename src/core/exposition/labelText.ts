/** Labels as text: between the braces of a series or of an exemplar. */

/** Labels as a client keeps them. */
export type LabelValues = Readonly<Record<string, unknown>>

/** Labels as the texts that stand for them, which can be sent to a worker. */
export type LabelTexts = Readonly<Record<string, string>>

/** A copy of labels as texts. */
export const labelTexts = (labels: object): LabelTexts =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))

/** A copy of the default labels of a registry as texts, without those that no sample can have; if any are left. */
export const someLabels = (labels: unknown): LabelTexts | undefined => {
  if (typeof labels !== "object" || labels === null) return undefined
  const valid = Object.entries(labels).flatMap(([name, value]) =>
    isLabelName(name) && canBeText(value) ? [[name, String(value)] as const] : []
  )
  return valid.length > 0 ? Object.fromEntries(valid) : undefined
}

// Any but an object that cannot be converted.
const canBeText = (value: unknown): boolean => {
  try {
    return typeof String(value) === "string"
  } catch {
    return false
  }
}

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

/** The same, unless a name among the own ones is not valid, or a value cannot be a text. */
export const validLabelText = (own: LabelValues | undefined, defaults?: LabelValues): string | undefined => {
  for (const name in own) if (!isLabelName(name)) return undefined
  try {
    return labelText(own, defaults)
  } catch {
    return undefined
  }
}

/** Whether samples can have a label of that name. `__name__` is the name of the sample itself. */
export const isLabelName = (name: string): boolean => isWord(name) && name !== "__name__"

/** Whether a metric can have a label of that name: those that begin with two underscores are Prometheus' own. */
export const isFreeLabelName = (name: unknown): name is string =>
  typeof name === "string" && isWord(name) && !name.startsWith("__")

const isWord = (name: string): boolean => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)

/** A value as it stands between quotes, and a help text in OpenMetrics. */
export const escapeQuoted = (text: string): string =>
  // Few have any of them, and to look is cheaper than to replace nothing.
  special.test(text) ? text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`)) : text

const special = /[\\\n"]/
