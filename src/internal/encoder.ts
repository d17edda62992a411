/**
 * Writes one family of a registry in either format. It knows nothing of registries, HTTP or Effect.
 *
 * Text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats. OpenMetrics 1.0.0: the sections named below
 * are those of its specification. No sample carries a timestamp: one would break Prometheus' staleness handling.
 */
import type { Format } from "./negotiation.js"
import type { Labelled } from "./texts.js"
import { Texts, Walk } from "./texts.js"
import type { Writer } from "./writer.js"
import { numberText, roomForValue } from "./writer.js"

/** What is said of a family, whatever its samples. */
export interface FamilyInfo {
  /** The name that it is registered by. */
  readonly name: string
  readonly help: string
  readonly type: unknown
}

/** A sample as a client hands it out. Without a name of its own it has that of the family. */
export interface Sample extends Labelled {
  readonly value: number
  readonly exemplar?: Exemplar | null | undefined
}

/** An exemplar as the clients keep it; the timestamp is in seconds. */
export interface Exemplar {
  readonly labelSet: LabelValues
  /** The clients leave it out where they refused the labels. */
  readonly value: number | null
  readonly timestamp?: number | undefined
}

type LabelValues = Readonly<Record<string, unknown>>

/** How families are written. */
export interface Style {
  readonly format: Format
  /** Labels for every sample that does not have them. */
  readonly defaults: LabelValues | undefined
  /** From `clashing`; of no use in text. */
  readonly clashes: ReadonlyMap<string, string>
}

/** What is kept of a family from one exposition to the next: the texts of its series, the same in both formats. */
export class Kept {
  /** Of samples: the line up to the value. */
  lines = new Texts()
  /** Of the series of a histogram: their own labels, as the end of a line up to the value. */
  labels = new Texts()
  private defaults = ""

  /** Forgets what was made with other default labels. */
  under(defaults: LabelValues | undefined): this {
    const text = labelText(defaults)
    if (text === this.defaults) return this
    this.lines = new Texts()
    this.labels = new Texts()
    this.defaults = text
    return this
  }
}

/** What follows the last family. OpenMetrics, "Overall Structure": the exposition MUST end with EOF. */
export const epilogues: { readonly [F in Format]: string } = { text: "", openmetrics: "# EOF\n" }

/** No clashes, as there are none in text. */
export const noClashes: ReadonlyMap<string, string> = new Map()

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
 * Writes a family from its samples, which come in pieces, and gives way after each of them. Where texts are `kept`, only
 * those of new series are built; where they are not, each line is written as it comes.
 *
 * A series has the same name and the same labels in both formats. OpenMetrics, "Counter": the sample of a counter MUST
 * end in `_total`; one whose name does not is therefore `unknown`.
 */
export function* encodeSamples(
  writer: Writer,
  family: FamilyInfo,
  pieces: Iterable<ReadonlyArray<Sample>>,
  style: Style,
  kept?: Kept
): Generator<void> {
  const { name } = family
  const type = writeHead(writer, family, style)
  const shared = new LastText()
  const textOf = ({ metricName = name, labels, sharedLabels }: Sample): string => {
    const own = labelText(labels, style.defaults, sharedLabels)
    const all = sharedLabels === undefined ? own : joined(own, shared.of(sharedLabels))
    return all === "" ? `${metricName} ` : `${metricName}{${all}} `
  }
  const canHaveExemplars = style.format === "openmetrics" && (type === "counter" || type === "histogram")
  const exemplarOf = ({ exemplar, metricName = name }: Sample): string =>
    exemplar && canHaveExemplars && takesExemplar(type, metricName) ? exemplarText(exemplar) : ""
  const walk = kept && new Walk<Sample>(kept.lines, textOf)
  for (const samples of pieces) {
    shared.forget()
    if (walk === undefined) {
      let lines = ""
      for (const sample of samples) lines += `${textOf(sample)}${numberText(sample.value)}${exemplarOf(sample)}\n`
      writer.text(lines)
    } else writeKept(writer, samples, walk, exemplarOf)
    yield
  }
  if (kept !== undefined && walk !== undefined) kept.lines = walk.end()
}

const writeKept = (
  writer: Writer,
  samples: ReadonlyArray<Sample>,
  walk: Walk<Sample>,
  exemplarOf: (sample: Sample) => string
): void => {
  const first = walk.meet(samples)
  const { texts } = walk
  const room = texts.lengthFrom(first) + samples.length * roomForValue
  writer.reserve(room)
  for (let index = 0; index < samples.length; index += 1) {
    const sample = samples[index] as Sample
    writer.unsafeCopy(texts.bytes, texts.start(first + index), texts.end(first + index))
    writer.unsafeNumber(sample.value)
    if (sample.exemplar) {
      writer.text(exemplarOf(sample))
      writer.reserve(room)
    }
    writer.unsafeNewline()
  }
}

/** Writes what stands before the samples, and tells the type that stands there. */
export const writeHead = (writer: Writer, { name, help, type }: FamilyInfo, { format, clashes }: Style): string => {
  if (format === "text") {
    const known = isKnown(type) ? type : "untyped"
    writer.text(`# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${known}\n`)
    return known
  }
  const canCount = isTotal(name) && !clashes.has(name)
  const known = isKnown(type) && (type !== "counter" || canCount) ? type : "unknown"
  const family = known === "counter" ? withoutTotal(name) : name
  writer.text(`# HELP ${family} ${escapeQuoted(help)}\n# TYPE ${family} ${known}\n`)
  return known
}

/** The samples without the bucket up to Infinity that was asked for: every histogram has one, which follows it. */
export const withOneInfinity = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> =>
  samples.some(isInfinite)
    ? samples.flatMap((sample, index) => {
        if (isInfinite(sample)) return []
        const before = samples[index - 1]
        const exemplar = before !== undefined && isInfinite(before) ? before.exemplar : undefined
        return exemplar ? { ...sample, exemplar: sample.exemplar ?? exemplar } : sample
      })
    : samples

const isInfinite = ({ labels }: Sample): boolean => labels?.["le"] === Number.POSITIVE_INFINITY

/** Whether the labels of a registry are any. */
export const someLabels = (labels: unknown): LabelValues | undefined =>
  typeof labels === "object" && labels !== null && Object.keys(labels).length > 0 ? (labels as LabelValues) : undefined

/** Labels as they stand between the braces: defaults and own ones, without those that are overridden. */
export const labelText = (own: LabelValues | undefined, defaults?: LabelValues, overriding?: LabelValues): string => {
  let text = ""
  for (const name in defaults) {
    if (!has(own, name) && !has(overriding, name)) text = joined(text, oneLabel(name, defaults[name]))
  }
  for (const name in own) if (!has(overriding, name)) text = joined(text, oneLabel(name, own[name]))
  return text
}

const has = (labels: LabelValues | undefined, name: string): boolean =>
  labels !== undefined && Object.hasOwn(labels, name)

const oneLabel = (name: string, value: unknown): string => `${name}="${escapeQuoted(String(value))}"`

const joined = (left: string, right: string): string =>
  left === "" || right === "" ? left + right : `${left},${right}`

// The labels that all samples of a series share come with each of them, one after the other.
class LastText {
  private labels: LabelValues | undefined
  private text = ""

  of(labels: LabelValues): string {
    if (labels !== this.labels) {
      this.labels = labels
      this.text = labelText(labels)
    }
    return this.text
  }

  // Later they can be others.
  forget(): void {
    this.labels = undefined
  }
}

/**
 * An exemplar as it follows a value. The clients keep what they have refused, and do not look at the names. OpenMetrics,
 * "Exemplars": names and values together MUST NOT have more than 128 characters.
 */
export const exemplarText = (exemplar: Exemplar | null | undefined): string => {
  if (!exemplar || typeof exemplar.value !== "number") return ""
  const entries = Object.entries(exemplar.labelSet)
  if (!entries.every(([name]) => /^[a-zA-Z_]\w*$/.test(name))) return ""
  if ([...entries.flat().join("")].length > 128) return ""
  const time = exemplar.timestamp === undefined ? "" : ` ${numberText(exemplar.timestamp)}`
  return ` # {${labelText(exemplar.labelSet)}} ${numberText(exemplar.value)}${time}`
}

// OpenMetrics, "Exemplars": on the total of a counter and on the buckets of a histogram, nowhere else.
const takesExemplar = (type: string, series: string): boolean =>
  type === "counter" || (type === "histogram" && series.endsWith("_bucket"))

const isTotal = (name: string): boolean => name.endsWith("_total") && name !== "_total"

const withoutTotal = (name: string): string => name.slice(0, -"_total".length)

const isKnown = (type: unknown): type is string =>
  type === "counter" || type === "gauge" || type === "histogram" || type === "summary"

const escapeHelp = (text: string): string =>
  text.replace(/[\\\n]/g, (character) => (character === "\n" ? "\\n" : "\\\\"))

const escapeQuoted = (text: string): string =>
  text.replace(/[\\\n"]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`))
