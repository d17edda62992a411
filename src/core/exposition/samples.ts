/**
 * Writes one family of a registry in either format. It knows nothing of registries, HTTP or Effect.
 *
 * Text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats. OpenMetrics 1.0.0: the sections named below
 * are those of its specification. No sample carries a timestamp: one would break Prometheus' staleness handling.
 */

import type { Kept } from "./kept.js"
import type { LabelValues } from "./labelText.js"
import { escapeQuoted, validLabelText } from "./labelText.js"
import { pointsOf, rankOf } from "./metricPoints.js"
import { isTotal, withoutTotal } from "./nameConflicts.js"
import type { Format } from "./negotiation.js"
import type { Rule } from "./sampleRules.js"
import { brokenBy } from "./sampleRules.js"
import type { Labelled } from "./texts.js"
import { Walk } from "./texts.js"
import type { Writer } from "./writer.js"
import { numberText, roomForValue } from "./writer.js"

/** What is said of a family, whatever its samples. */
export interface FamilyInfo {
  /** The name that it is registered by. */
  readonly name: string
  readonly help: string
  readonly type: unknown
}

/** A sample. Without a name of its own it has that of the family. */
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

/** How families are written. */
export interface Style {
  readonly format: Format
  /** Labels for every sample that does not have them. */
  readonly defaults: LabelValues | undefined
  /** Counters whose type is unknown in OpenMetrics, because their names clash there. */
  readonly clashes: ReadonlyMap<string, string>
  /** Is called for what is left out of a family. */
  readonly leaveOut: (family: string, rule: Rule) => void
}

/** The default labels for a family: none that its type has itself, on some of its samples only. */
export const defaultsFor = ({ type }: FamilyInfo, { defaults }: Style): LabelValues | undefined => {
  const own = type === "histogram" ? "le" : type === "summary" ? "quantile" : undefined
  if (own === undefined || defaults === undefined || !Object.hasOwn(defaults, own)) return defaults
  const { [own]: _, ...others } = defaults
  return Object.keys(others).length > 0 ? others : undefined
}

/** What follows the last family. OpenMetrics, "Overall Structure": the exposition MUST end with EOF. */
export const epilogues: { readonly [F in Format]: string } = { text: "", openmetrics: "# EOF\n" }

/**
 * Writes a family from its samples, which come in pieces, and gives way after each of them. Where texts are `kept`, only
 * those of new series are built; where they are not, each line is written as it comes. What `sampleRules` forbid is left
 * out.
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
  const encoding: Encoding = {
    name,
    style,
    isCounter: family.type === "counter",
    type: writeHead(writer, family, style)
  }
  const defaults = defaultsFor(family, style)
  const isPoints = family.type === "histogram" || family.type === "summary"
  const samples = isPoints ? pointsOf(pieces, family, style) : pieces
  const belongs = (metricName: string): boolean =>
    metricName === name || (isPoints && metricName.startsWith(`${name}_`))
  const textOf = ({ metricName = name, labels }: Sample): string => {
    const all = belongs(metricName) ? validLabelText(labels, defaults) : undefined
    if (all === undefined) return ""
    return all === "" ? `${metricName} ` : `${metricName}{${all}} `
  }
  const walk = kept && new Walk<Sample>(kept.samples, textOf)
  for (const piece of samples) {
    if (walk === undefined) {
      let lines = ""
      for (const sample of piece) {
        const text = textOf(sample)
        const value = numberOf(sample, text === "", encoding)
        if (value === undefined) continue
        lines += `${text}${numberText(value)}${sample.exemplar ? exemplarOf(sample, encoding) : ""}\n`
      }
      writer.text(lines)
    } else writeKept(writer, piece, walk, encoding)
    yield
  }
  if (kept !== undefined && walk !== undefined) {
    kept.samples = walk.end()
    kept.histograms = undefined
  }
}

/** A family on its way into a text. */
interface Encoding {
  readonly name: string
  readonly style: Style
  readonly isCounter: boolean
  /** As it is written. */
  readonly type: string
}

const writeKept = (writer: Writer, samples: ReadonlyArray<Sample>, walk: Walk<Sample>, encoding: Encoding): void => {
  const { isCounter } = encoding
  const first = walk.meet(samples)
  const { texts } = walk
  const room = texts.lengthFrom(first) + samples.length * roomForValue
  writer.reserve(room)
  for (let index = 0; index < samples.length; index += 1) {
    const sample = samples[index] as Sample
    const start = texts.start(first + index)
    const end = texts.end(first + index)
    let value: number | undefined = sample.value
    if (start === end || typeof value !== "number" || (isCounter && !(value >= 0))) {
      value = numberOf(sample, start === end, encoding)
      if (value === undefined) continue
    }
    writer.unsafeCopy(texts.bytes, start, end)
    writer.unsafeNumber(value)
    if (sample.exemplar) {
      writer.text(exemplarOf(sample, encoding))
      writer.reserve(room)
    }
    writer.unsafeNewline()
  }
}

// The value to write, unless the sample is left out. All numbers of Prometheus are 64-bit floats.
const numberOf = ({ value }: Sample, isInvalid: boolean, { isCounter, name, style }: Encoding): number | undefined => {
  const rule = isInvalid ? "labels" : brokenBy(value, isCounter)
  if (rule === undefined) return Number(value)
  style.leaveOut(name, rule)
  return undefined
}

// OpenMetrics, "Exemplars": on the total of a counter and on the buckets of a histogram, nowhere else.
const exemplarOf = ({ exemplar, labels, metricName }: Sample, { isCounter, name, style, type }: Encoding): string => {
  if (!exemplar || style.format === "text") return ""
  if (type === "counter") return exemplarText(exemplar, name, style)
  if (metricName === `${name}_bucket`) return exemplarText(exemplar, name, style, rankOf(labels?.["le"]))
  style.leaveOut(name, isCounter ? (isTotal(name) ? "exemplarOfClash" : "exemplarOfUnknown") : "exemplarElsewhere")
  return ""
}

/** Writes what stands before the samples, and tells the type that stands there. */
export const writeHead = (writer: Writer, { name, help, type }: FamilyInfo, { format, clashes }: Style): string => {
  if (format === "text") {
    const known = isKnown(type) ? type : "untyped"
    writer.text(`# HELP ${name} ${escapeHelp(textual(help))}\n# TYPE ${name} ${known}\n`)
    return known
  }
  const canCount = isTotal(name) && !clashes.has(name)
  const known = isKnown(type) && (type !== "counter" || canCount) ? type : "unknown"
  const family = known === "counter" ? withoutTotal(name) : name
  writer.text(`# HELP ${family} ${escapeQuoted(textual(help))}\n# TYPE ${family} ${known}\n`)
  return known
}

/**
 * An exemplar as it follows a value, in a bucket that of its upper bound. The clients keep what they have refused, and do
 * not look at the names. OpenMetrics, "Exemplars": names and values together MUST NOT have more than 128 characters.
 * "Histogram": "the value of the exemplar MUST be within this range", that of its bucket.
 *
 * U+0000 is allowed there, but Prometheus fails the whole scrape for one in an exemplar, though for none in a series: its
 * lexer takes it for the end (`openMetricsLexer.next` knows it in label values and help alone). An exemplar is not worth
 * that.
 */
export const exemplarText = (
  exemplar: Exemplar | null | undefined,
  family: string,
  { leaveOut }: Style,
  upperBound?: number
): string => {
  // The clients have none as the value of an exemplar that they have refused with an exception.
  if (!exemplar || exemplar.value === null) return ""
  const text = validExemplarText(exemplar)
  if (text === "") leaveOut(family, "exemplar")
  else if (upperBound !== undefined && !(exemplar.value <= upperBound)) leaveOut(family, "exemplarOutside")
  else return text
  return ""
}

const validExemplarText = ({ labelSet, timestamp, value }: Exemplar): string => {
  if (typeof value !== "number" || typeof labelSet !== "object" || labelSet === null) return ""
  const labels = validLabelText(labelSet)
  if (labels === undefined) return ""
  const characters = Object.entries(labelSet).flat().map(String).join("")
  if ([...characters].length > 128 || characters.includes("\0")) return ""
  const time = typeof timestamp === "number" && Number.isFinite(timestamp) ? ` ${numberText(timestamp)}` : ""
  return ` # {${labels}} ${numberText(value)}${time}`
}

// What is not made by a client may have none.
const textual = (help: unknown): string => (typeof help === "string" ? help : "")

const isKnown = (type: unknown): type is string =>
  type === "counter" || type === "gauge" || type === "histogram" || type === "summary"

const escapeHelp = (text: string): string =>
  text.replace(/[\\\n]/g, (character) => (character === "\n" ? "\\n" : "\\\\"))
