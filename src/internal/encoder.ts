/**
 * Writes one family of a registry in either format. It knows nothing of registries, HTTP or Effect.
 *
 * Text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats. OpenMetrics 1.0.0: the sections named below
 * are those of its specification. No sample carries a timestamp: one would break Prometheus' staleness handling.
 */
import type { Format } from "./negotiation.js"

/** A family as a client's `metric.get()` gives it. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: unknown
  readonly values: ReadonlyArray<Sample>
}

/** A sample of a family. Without a name of its own it has that of the family. */
export interface Sample {
  readonly value: number
  readonly metricName?: string | undefined
  readonly labels?: SampleLabels | undefined
  readonly exemplar?: SampleExemplar | null | undefined
}

/** An exemplar as the clients keep it; the timestamp is in seconds. */
export interface SampleExemplar {
  readonly labelSet: SampleLabels
  /** The clients leave it out where they refused the labels. */
  readonly value: number | null
  readonly timestamp?: number | undefined
}

type SampleLabels = Readonly<Record<string, unknown>>

/** What follows the last family. OpenMetrics, "Overall Structure": the exposition MUST end with EOF. */
export const epilogues: { readonly [F in Format]: string } = { text: "", openmetrics: "# EOF\n" }

/**
 * The counters whose names clash in OpenMetrics: their family loses `_total` there and meets one that is called so, or
 * one that is called like the `_created` that the family reserves (OpenMetrics, "Counter"). Such a counter is exposed as
 * `unknown`, under the name of its series. Each comes with the name that it clashes with.
 */
export const clashing = (
  metrics: ReadonlyArray<{ readonly name: string; readonly type: unknown }>
): ReadonlyMap<string, string> => {
  const taken = new Set(metrics.map(({ name }) => name))
  return new Map(
    metrics.flatMap(({ name, type }) => {
      if (type !== "counter" || !isTotal(name)) return []
      const family = withoutTotal(name)
      const other = [family, `${family}_created`].find((reserved) => taken.has(reserved))
      return other === undefined ? [] : [[name, other] as const]
    })
  )
}

/**
 * One family as text. `defaults` are labels for every sample that does not have them; `clashes` come from `clashing`.
 *
 * A series has the same name and the same labels in both formats. OpenMetrics, "Counter": the sample of a counter MUST
 * end in `_total`; one whose name does not is therefore `unknown`.
 */
export const encode = (
  family: Family,
  format: Format,
  defaults: SampleLabels | undefined,
  clashes: ReadonlyMap<string, string>
): string => {
  const openmetrics = format === "openmetrics"
  const canCount = isTotal(family.name) && !clashes.has(family.name)
  const type = openmetrics ? openMetricsType(family.type, canCount) : textType(family.type)
  const name = openmetrics && type === "counter" ? withoutTotal(family.name) : family.name
  const help = openmetrics ? escapeQuoted(family.help) : escapeHelp(family.help)
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
  for (const sample of type === "histogram" ? withOneInfinity(family.values) : family.values) {
    const series = sample.metricName ?? family.name
    text += `${series}${labelText(sample.labels, defaults)} ${number(sample.value)}`
    if (openmetrics && takesExemplar(type, series)) text += exemplarText(sample.exemplar)
    text += "\n"
  }
  return text
}

/** Whether the labels of a registry are any. */
export const someLabels = (labels: unknown): SampleLabels | undefined =>
  typeof labels === "object" && labels !== null && Object.keys(labels).length > 0 ? (labels as SampleLabels) : undefined

// A bucket up to Infinity that was asked for gives its exemplar to the one that every histogram has, which follows it.
const withOneInfinity = function* (samples: ReadonlyArray<Sample>): Iterable<Sample> {
  let exemplar: Sample["exemplar"]
  for (const sample of samples) {
    const bound = sample.labels?.["le"]
    if (bound === Number.POSITIVE_INFINITY) exemplar = sample.exemplar
    else if (bound === "+Inf" && exemplar) {
      yield { ...sample, exemplar: sample.exemplar ?? exemplar }
      exemplar = undefined
    } else yield sample
  }
}

const isTotal = (name: string): boolean => name.endsWith("_total") && name !== "_total"

const withoutTotal = (name: string): string => name.slice(0, -"_total".length)

const textType = (type: unknown): string => (isKnown(type) ? type : "untyped")

const openMetricsType = (type: unknown, canCount: boolean): string =>
  isKnown(type) && (type !== "counter" || canCount) ? type : "unknown"

const isKnown = (type: unknown): type is string =>
  type === "counter" || type === "gauge" || type === "histogram" || type === "summary"

// OpenMetrics, "Exemplars": on the total of a counter and on the buckets of a histogram, nowhere else.
const takesExemplar = (type: string, series: string): boolean =>
  type === "counter" || (type === "histogram" && series.endsWith("_bucket"))

// The clients keep what they have refused, and do not look at the names. OpenMetrics, "Exemplars": names and values
// together MUST NOT have more than 128 characters.
const exemplarText = (exemplar: SampleExemplar | null | undefined): string => {
  if (!exemplar || typeof exemplar.value !== "number") return ""
  const entries = Object.entries(exemplar.labelSet)
  if (!entries.every(([name]) => /^[a-zA-Z_]\w*$/.test(name))) return ""
  if ([...entries.flat().join("")].length > 128) return ""
  const time = exemplar.timestamp === undefined ? "" : ` ${number(exemplar.timestamp)}`
  return ` # ${labelText(exemplar.labelSet, undefined) || "{}"} ${number(exemplar.value)}${time}`
}

const labelText = (own: SampleLabels | undefined, defaults: SampleLabels | undefined): string => {
  const labels = defaults === undefined ? own : { ...defaults, ...own }
  let text = ""
  for (const name in labels) {
    text += `${text === "" ? "{" : ","}${name}="${escapeQuoted(String(labels[name]))}"`
  }
  return text === "" ? "" : `${text}}`
}

const number = (value: unknown): string => {
  if (typeof value !== "number") throw new TypeError(`a sample has a value that is not a number: ${typeof value}`)
  if (value === Number.POSITIVE_INFINITY) return "+Inf"
  if (value === Number.NEGATIVE_INFINITY) return "-Inf"
  return String(value)
}

const escapeHelp = (text: string): string =>
  text.replace(/[\\\n]/g, (character) => (character === "\n" ? "\\n" : "\\\\"))

const escapeQuoted = (text: string): string =>
  text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`))
