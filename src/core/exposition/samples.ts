/** Samples have no timestamps: these would break Prometheus' staleness handling. */
import { definitionOf, type Style } from "./formats.js"
import { type LabelValues, validLabelText } from "./labelText.js"
import { pointsOf, rankOf } from "./metricPoints.js"
import type { Exemplar, FamilyHead, Sample, SampleSnapshot } from "./model.js"
import { isTotal } from "./nameConflicts.js"
import { ruleBrokenBy } from "./sampleRules.js"
import { type SeriesTextCache, TextSource } from "./seriesTextCache.js"
import { numberText, roomForValue, type Writer } from "./writer.js"

/** Without the label that its type reserves (`le` or `quantile`). */
export const defaultsFor = ({ type }: FamilyHead, { defaults }: Style): LabelValues | undefined => {
  const own = type === "histogram" ? "le" : type === "summary" ? "quantile" : undefined
  if (own === undefined || defaults === undefined || !Object.hasOwn(defaults, own)) return defaults
  const { [own]: _, ...others } = defaults
  return Object.keys(others).length > 0 ? others : undefined
}

/** Yields after each piece, without samples that break a rule. A cache saves the texts of known series. */
export function* encodeSamples(
  writer: Writer,
  family: SampleSnapshot,
  style: Style,
  cache?: SeriesTextCache
): Generator<void> {
  const { name } = family
  const isCounter = family.type === "counter"
  const encoding: Encoding = { name, style, isCounter, type: writeHead(writer, family, style) }
  const defaults = defaultsFor(family, style)
  const isPoints = family.type === "histogram" || family.type === "summary"
  const belongs = (metricName: string): boolean =>
    metricName === name || (isPoints && metricName.startsWith(`${name}_`))
  const texts = new TextSource(cache, "samples", ({ metricName = name, labels }: Sample): string => {
    const all = belongs(metricName) ? validLabelText(labels, defaults) : undefined
    if (all === undefined) return ""
    return all === "" ? `${metricName} ` : `${metricName}{${all}} `
  })
  for (const piece of isPoints ? pointsOf(family.samples, family, style) : family.samples) {
    writePiece(writer, piece, texts, encoding)
    yield
  }
  texts.end()
}

interface Encoding {
  readonly name: string
  readonly style: Style
  readonly isCounter: boolean
  readonly type: string
}

const writePiece = (
  writer: Writer,
  samples: ReadonlyArray<Sample>,
  source: TextSource<Sample>,
  encoding: Encoding
): void => {
  const { isCounter } = encoding
  const first = source.lookup(samples)
  const { texts } = source
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

// Undefined if the sample is left out. All numbers of Prometheus are 64-bit floats.
const numberOf = ({ value }: Sample, isInvalid: boolean, { isCounter, name, style }: Encoding): number | undefined => {
  const rule = isInvalid ? "labels" : ruleBrokenBy(value, isCounter)
  if (rule === undefined) return Number(value)
  style.leaveOut(name, rule)
  return undefined
}

// OpenMetrics, "Exemplars": only on the total of a counter and on the buckets of a histogram.
const exemplarOf = ({ exemplar, labels, metricName }: Sample, { isCounter, name, style, type }: Encoding): string => {
  if (!exemplar || !definitionOf(style.format).hasExemplars) return ""
  if (type === "counter") return exemplarText(exemplar, name, style)
  if (metricName === `${name}_bucket`) return exemplarText(exemplar, name, style, rankOf(labels?.["le"]))
  style.leaveOut(name, isCounter ? (isTotal(name) ? "exemplarOfClash" : "exemplarOfUnknown") : "exemplarElsewhere")
  return ""
}

/** Returns the type in the lines. */
export const writeHead = (writer: Writer, family: FamilyHead, { clashes, format }: Style): string => {
  const { text, type } = definitionOf(format).head(family, clashes)
  writer.text(text)
  return type
}

/**
 * `upperBound` is that of its bucket. The clients keep exemplars that they rejected, and do not check label names.
 * OpenMetrics, "Exemplars": names and values together MUST NOT have more than 128 characters. "Histogram": "the value
 * of the exemplar MUST be within this range", that of its bucket.
 * OpenMetrics allows U+0000 in exemplars and in series. Prometheus accepts it in a series, but fails the whole scrape
 * for an exemplar: its lexer takes it for the end (`openMetricsLexer.next` handles it only in label values and help).
 */
export const exemplarText = (
  exemplar: Exemplar | null | undefined,
  family: string,
  { leaveOut }: Style,
  upperBound?: number
): string => {
  // null: a client rejected the exemplar with an exception.
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
