/** Converts the names and tags of Effect's metrics to names and labels that are valid in both formats. */
import type { LabelTexts } from "../../core/exposition/labelText.js"

/** Only the type says that both parts are strings. */
export interface Tag {
  readonly key: unknown
  readonly value: unknown
}

/** OpenMetrics, "Naming": names that begin with an underscore are reserved, and MUST NOT be used. */
export const metricName = (prefix: string, name: string): string =>
  begun(`${prefix}${name.replace(/[^a-zA-Z0-9_:]/gu, "_")}`, /^[a-zA-Z:]/, "metric")

/**
 * Sorted by name. A label whose name the metric type reserves is renamed. Tags that become the same label are joined:
 * values "MUST be concatenated together, separated by `;`, and ordered by the lexicographical order of the original
 * keys" (OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", "Metric Attributes").
 */
export const labelsOf = (
  tags: ReadonlyArray<Tag>,
  reserved: string | undefined
): ReadonlyArray<readonly [name: string, value: string]> => {
  const all = tags.map(({ key, value }) => [String(key), wellFormed(String(value))] as const)
  const labels = new Map<string, string>()
  for (const [key, value] of all.sort(byKey)) {
    const name = labelName(key, reserved)
    const before = labels.get(name)
    labels.set(name, before === undefined ? value : `${before};${value}`)
  }
  return [...labels].sort(byKey)
}

/** The same for labels of the same series. An empty label value counts as a missing label. */
export const identityOf = (
  labels: ReadonlyArray<readonly [name: string, value: string]>,
  defaults: LabelTexts | undefined
): string => {
  const whole = defaults === undefined ? labels : [...new Map([...Object.entries(defaults), ...labels])].sort(byKey)
  return JSON.stringify(whole.filter(([, value]) => value !== ""))
}

const labelName = (key: string, reserved: string | undefined): string => {
  const name = begun(key.replace(/[^a-zA-Z0-9_]/gu, "_"), /^[a-zA-Z]/, "tag")
  return name === reserved ? `tag_${name}` : name
}

const begun = (name: string, start: RegExp, otherwise: string): string =>
  start.test(name) ? name : `${otherwise}${name.startsWith("_") ? "" : "_"}${name}`

const byKey = ([a]: readonly [string, string], [b]: readonly [string, string]): number => (a < b ? -1 : a > b ? 1 : 0)

/** UTF-8 has no lone surrogates, so each is replaced. */
export const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd")
