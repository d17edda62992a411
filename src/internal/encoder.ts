/**
 * Writes one family of a registry in either format. It knows nothing of registries, HTTP or Effect.
 *
 * Text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats. OpenMetrics 1.0.0: the sections named below
 * are those of its specification. No sample carries a timestamp: one would break Prometheus' staleness handling.
 */

import type { Kept } from "./kept.js"
import type { LabelValues } from "./labelText.js"
import { escapeQuoted, labelText } from "./labelText.js"
import type { Format } from "./negotiation.js"
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
  /** From `clashing`; of no use in text. */
  readonly clashes: ReadonlyMap<string, string>
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
  const textOf = ({ metricName = name, labels }: Sample): string => {
    const all = labelText(labels, style.defaults)
    return all === "" ? `${metricName} ` : `${metricName}{${all}} `
  }
  const canHaveExemplars = style.format === "openmetrics" && (type === "counter" || type === "histogram")
  const exemplarOf = ({ exemplar, metricName = name }: Sample): string =>
    exemplar && canHaveExemplars && takesExemplar(type, metricName) ? exemplarText(exemplar) : ""
  const walk = kept && new Walk<Sample>(kept.samples, textOf)
  for (const samples of pieces) {
    if (walk === undefined) {
      let lines = ""
      for (const sample of samples) {
        const exemplar = sample.exemplar ? exemplarOf(sample) : ""
        lines += `${textOf(sample)}${numberText(sample.value)}${exemplar}\n`
      }
      writer.text(lines)
    } else writeKept(writer, samples, walk, exemplarOf)
    yield
  }
  if (kept !== undefined && walk !== undefined) {
    kept.samples = walk.end()
    kept.histograms = undefined
  }
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

/**
 * An exemplar as it follows a value. The clients keep what they have refused, and do not look at the names. OpenMetrics,
 * "Exemplars": names and values together MUST NOT have more than 128 characters.
 *
 * U+0000 is allowed there, but Prometheus fails the whole scrape for one in an exemplar, though for none in a series: its
 * lexer takes it for the end (`openMetricsLexer.next` knows it in label values and help alone). An exemplar is not worth
 * that.
 */
export const exemplarText = (exemplar: Exemplar | null | undefined): string => {
  if (!exemplar || typeof exemplar.value !== "number") return ""
  const entries = Object.entries(exemplar.labelSet)
  if (!entries.every(([name]) => /^[a-zA-Z_]\w*$/.test(name))) return ""
  const characters = entries.flat().join("")
  if ([...characters].length > 128 || characters.includes("\0")) return ""
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
