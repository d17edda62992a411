/**
 * Writes a histogram from its series, of which only the labels are kept as text: what its lines have in common besides is
 * there once for all of them. A series comes as prom-client keeps it, or is put together from its samples.
 */
import type { Exemplar, FamilyInfo, Sample, Style } from "./encoder.js"
import { defaultsFor, exemplarText, writeHead } from "./encoder.js"
import type { SampledSeries } from "./histogramSamples.js"
import type { Kept } from "./kept.js"
import type { LabelValues } from "./labelText.js"
import { labelText, validLabelText } from "./labelText.js"
import { bucketRule, sumRule } from "./metricPoints.js"
import type { Rule } from "./sampleRules.js"
import { isIn } from "./sampleRules.js"
import type { Texts } from "./texts.js"
import { Walk } from "./texts.js"
import { numberText, roomForValue, Writer } from "./writer.js"

/** A series of a histogram. */
export type HistogramSeries = StoredSeries | SampledSeries | CumulativeSeries

/** A series as it is written: for each bound what is up to it. */
export interface CumulativeSeries {
  readonly labels: LabelValues
  readonly cumulative: ReadonlyArray<number>
  readonly sum: number
  readonly count: number
}

/** A series as prom-client keeps it. What is in each bucket alone stands under the text of its bound. */
export interface StoredSeries {
  /** A series that was set to zero without any has none. */
  readonly labels?: LabelValues | undefined
  readonly bucketValues: Readonly<Record<string, number>>
  readonly sum: number
  readonly count: number
  /** What is in no bucket that was asked for has its exemplar under -1. */
  readonly bucketExemplars?: Readonly<Record<string, Exemplar | null>> | undefined
}

/** A histogram, beside its series. */
export interface HistogramInfo extends FamilyInfo {
  readonly upperBounds: ReadonlyArray<number>
}

/** The lines of a histogram are not made of what its series have in common and of their labels. */
export class IrregularError extends Error {}

/**
 * Writes a histogram from its series, which come in pieces, and gives way after each of them. Where texts are `kept`,
 * only those of new series are built.
 */
export function* encodeHistogram(
  writer: Writer,
  family: HistogramInfo,
  pieces: Iterable<ReadonlyArray<HistogramSeries>>,
  style: Style,
  kept?: Kept
): Generator<void> {
  const defaults = defaultsFor(family, style)
  const taken = new Set(["le", ...Object.keys(defaults ?? {})])
  writeHead(writer, family, style)
  const known = kept?.lines
  const lines = known?.areFor(family.upperBounds) ? known : new Lines(family, defaults)
  if (kept !== undefined) kept.lines = lines
  if (!lines.isInOrder) throw new IrregularError()
  const ownLabels = ({ labels = {} }: HistogramSeries): string => {
    for (const name in labels) if (taken.has(name)) throw new IrregularError()
    const own = validLabelText(labels)
    if (own === undefined) throw new IrregularError()
    return own === "" ? "} " : `,${own}} `
  }
  const walk = kept && new Walk<HistogramSeries>(kept.histograms, ownLabels)
  for (const series of pieces) {
    if (walk === undefined) {
      let text = ""
      for (const each of series) text += lines.text(each, ownLabels(each), style)
      writer.text(text)
    } else {
      const first = walk.meet(series)
      for (let index = 0; index < series.length; index += 1) {
        lines.write(writer, series[index] as HistogramSeries, walk.texts, first + index, style)
      }
    }
    yield
  }
  if (kept !== undefined && walk !== undefined) {
    kept.histograms = walk.end()
    kept.samples = undefined
  }
}

/**
 * How the lines of a histogram begin, whichever series they are of: those of its buckets, the one up to infinity, the sum
 * and the count. What follows are the labels of the series, `,a="b"} ` or `} `, and the value.
 */
export class Lines {
  /** Whether the bounds increase. */
  readonly isInOrder: boolean
  private readonly name: string
  // The bounds as numbers.
  private readonly ranks: ReadonlyArray<number>
  private readonly upperBounds: ReadonlyArray<number>
  private readonly bounds: ReadonlyArray<string>
  private readonly heads: ReadonlyArray<string>
  // A bucket up to infinity that was asked for is the one that every histogram has.
  private readonly left: number
  // The values of one series.
  private readonly values: Array<number> = []
  private bytes: Writer | undefined
  private readonly ends = [0]

  constructor(
    { name, upperBounds }: HistogramInfo,
    private readonly defaults: LabelValues | undefined
  ) {
    const ranks = upperBounds.map(Number)
    this.ranks = ranks
    this.isInOrder = ranks.every((rank, at) => (at === 0 ? !Number.isNaN(rank) : rank > (ranks[at - 1] as number)))
    this.name = name
    this.upperBounds = [...upperBounds]
    this.bounds = upperBounds.map(String)
    this.left = this.bounds.indexOf("Infinity")
    const text = labelText(defaults)
    const before = text === "" ? "" : `${text},`
    this.heads = [
      ...[...this.bounds, "+Inf"].map((bound) => `${name}_bucket{${before}le="${bound}"`),
      `${name}_sum{${text}`,
      `${name}_count{${text}`
    ]
  }

  /** Whether they are those of a histogram with these bounds. */
  areFor(upperBounds: ReadonlyArray<number>): boolean {
    return (
      upperBounds.length === this.upperBounds.length && upperBounds.every((bound, at) => bound === this.upperBounds[at])
    )
  }

  /** The lines of a series with those labels. */
  text(series: HistogramSeries, own: string, style: Style): string {
    const { heads, left } = this
    const values = this.valuesOf(series)
    const buckets = this.bounds.length
    const end = this.endOf(values, style)
    let text = ""
    for (let line = 0; line < Math.min(end, buckets + 1); line += 1) {
      if (line === left) continue
      text += `${heads[line]}${own}${numberText(values[line] as number)}${this.exemplarOf(series, line, style)}\n`
    }
    for (let line = buckets + 1; line < end; line += 1) {
      const head = heads[line] as string
      const labels = `${this.isBare(own.length) ? head.slice(0, -1) : head}${this.defaults ? own : own.slice(1)}`
      text += `${labels}${numberText(values[line] as number)}\n`
    }
    return text
  }

  /** Writes the lines of a series whose labels stand in that place of the texts. */
  write(writer: Writer, series: HistogramSeries, texts: Texts, place: number, style: Style): void {
    const { left } = this
    const heads = this.headBytes()
    const values = this.valuesOf(series)
    const buckets = this.bounds.length
    const last = this.endOf(values, style)
    const withExemplars = style.format === "openmetrics"
    const start = texts.start(place)
    const end = texts.end(place)
    const room = heads.length + values.length * (end - start + roomForValue)
    writer.reserve(room)
    for (let line = 0; line <= buckets && line < last; line += 1) {
      if (line === left) continue
      this.unsafeHead(writer, heads, line)
      writer.unsafeCopy(texts.bytes, start, end)
      writer.unsafeNumber(values[line] as number)
      const exemplar = withExemplars ? this.exemplarOf(series, line, style) : ""
      if (exemplar !== "") {
        writer.text(exemplar)
        writer.reserve(room)
      }
      writer.unsafeNewline()
    }
    for (let line = buckets + 1; line < last; line += 1) {
      this.unsafeHead(writer, heads, line)
      if (this.isBare(end - start)) writer.length -= 1
      writer.unsafeCopy(texts.bytes, this.defaults ? start : start + 1, end)
      writer.unsafeNumber(values[line] as number)
      writer.unsafeNewline()
    }
  }

  // Before which line a series ends: before the first where its buckets break a rule, and before its sum where that does.
  private endOf(values: ReadonlyArray<number>, { format, leaveOut }: Style): number {
    const sum = this.bounds.length + 1
    const isStrict = isIn(format, "wholeCount")
    let below = 0
    for (let line = 0; line < sum; line += 1) {
      const value = values[line] as number
      const rule = typeof value === "number" ? bucketRule(value, below, isStrict) : "value"
      if (rule !== undefined) return this.leaveOut(rule, leaveOut, 0)
      below = value
    }
    const isNumber = typeof values[sum] === "number" && typeof values[sum + 1] === "number"
    if (!isNumber) return this.leaveOut("value", leaveOut, 0)
    if (values[sum + 1] !== below) return this.leaveOut("buckets", leaveOut, 0)
    const rule = sumRule(values[sum] as number, this.ranks[0] ?? 0)
    return rule === undefined || !isIn(format, rule) ? sum + 2 : this.leaveOut(rule, leaveOut, sum)
  }

  private leaveOut(rule: Rule, leaveOut: Style["leaveOut"], end: number): number {
    leaveOut(this.name, rule)
    return end
  }

  // Of the lines without `le`: where there are no default labels, own ones begin without a comma, and none without a brace.
  private isBare(ownLength: number): boolean {
    return this.defaults === undefined && ownLength === "} ".length
  }

  private valuesOf(series: HistogramSeries): ReadonlyArray<number> {
    const { bounds, values } = this
    if ("samples" in series) {
      const { first, samples } = series
      for (let line = 0; line < bounds.length + 3; line += 1) values[line] = (samples[first + line] as Sample).value
      return values
    }
    const { count, sum } = series
    if ("cumulative" in series) {
      for (let line = 0; line < bounds.length; line += 1) values[line] = series.cumulative[line] as number
    } else {
      const { bucketValues } = series
      let below = 0
      for (let line = 0; line < bounds.length; line += 1) {
        below += bucketValues[bounds[line] as string] as number
        values[line] = below
      }
    }
    values[bounds.length] = count
    values[bounds.length + 1] = sum
    values[bounds.length + 2] = count
    return values
  }

  private exemplarOf(series: HistogramSeries, line: number, style: Style): string {
    if (style.format === "text") return ""
    const { name, ranks } = this
    const upperBound = ranks[line] ?? Number.POSITIVE_INFINITY
    if ("samples" in series) {
      const { first, samples } = series
      const exemplar = samples[first + line]?.exemplar
      const isLast = line === this.bounds.length && this.left >= 0
      const other = isLast ? samples[first + this.left]?.exemplar : undefined
      return exemplarText(exemplar ?? other, name, style, upperBound)
    }
    if (!("bucketExemplars" in series) || series.bucketExemplars === undefined) return ""
    const { bucketExemplars } = series
    const bound = this.bounds[line]
    const exemplar =
      bound === undefined ? (bucketExemplars["-1"] ?? bucketExemplars["Infinity"]) : bucketExemplars[bound]
    return exemplarText(exemplar, name, style, upperBound)
  }

  private headBytes(): Writer {
    if (this.bytes !== undefined) return this.bytes
    this.bytes = new Writer()
    for (const head of this.heads) {
      this.bytes.text(head)
      this.ends.push(this.bytes.length)
    }
    return this.bytes
  }

  private unsafeHead(writer: Writer, heads: Writer, line: number): void {
    writer.unsafeCopy(heads, this.ends[line] as number, this.ends[line + 1] as number)
  }
}
