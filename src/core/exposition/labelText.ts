/** The text between the braces of a series or of an exemplar. */

/** As a client stores them. */
export type LabelValues = Readonly<Record<string, unknown>>

/** Can be sent to a worker. */
export type LabelTexts = Readonly<Record<string, string>>

export const labelTexts = (labels: object): LabelTexts =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))

/** The default labels of a registry without invalid ones. Undefined if none is left. */
export const someLabels = (labels: unknown): LabelTexts | undefined => {
  if (typeof labels !== "object" || labels === null) return undefined
  const valid = Object.entries(labels).flatMap(([name, value]) =>
    isLabelName(name) && canBeText(value) ? [[name, String(value)] as const] : []
  )
  return valid.length > 0 ? Object.fromEntries(valid) : undefined
}

// False for a value whose conversion to a string throws.
const canBeText = (value: unknown): boolean => {
  try {
    return typeof String(value) === "string"
  } catch {
    return false
  }
}

/** Default labels that are not overridden come first. */
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

/** Undefined if one of the own names is invalid, or if a value cannot be converted to a string. */
export const validLabelText = (own: LabelValues | undefined, defaults?: LabelValues): string | undefined => {
  for (const name in own) if (!isLabelName(name)) return undefined
  try {
    return labelText(own, defaults)
  } catch {
    return undefined
  }
}

/** `__name__` is the name of the sample itself. */
export const isLabelName = (name: string): boolean => isWord(name) && name !== "__name__"

/** Prometheus reserves names that begin with two underscores. */
export const isFreeLabelName = (name: unknown): name is string =>
  typeof name === "string" && isWord(name) && !name.startsWith("__")

const isWord = (name: string): boolean => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)

/** For a label value, or a help text in OpenMetrics. */
export const escapeQuoted = (text: string): string =>
  // Few texts need it, and a test costs less than a replacement that changes nothing.
  special.test(text) ? text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`)) : text

const special = /[\\\n"]/
