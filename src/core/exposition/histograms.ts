/** All series of a histogram share one template of lines; only labels and values differ. */
import { Buffer } from "node:buffer"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { definitionOf, hasRule, type Style } from "./formats.js"
import { type LabelValues, labelText, validLabelText } from "./labelText.js"
import { bucketRule, sumRule } from "./metricPoints.js"
import { type HistogramSeries, type HistogramSnapshot, NotSeriesShapedError } from "./model.js"
import type { Rule } from "./sampleRules.js"
import { defaultsFor, exemplarText, writeHead } from "./samples.js"
import { type SeriesTextCache, type SeriesTexts, TextSource } from "./seriesTextCache.js"
import { roomForValue, Writer } from "./writer.js"

const templates = oncePerProcess("histogram templates", () => new WeakMap<SeriesTextCache, HistogramTemplate>())

/**
 * Yields after each piece of series. With a cache, only the texts of new series are built. Throws a
 * `NotSeriesShapedError` if the histogram can only be written as samples.
 */
export function* encodeHistogram(
  writer: Writer,
  family: HistogramSnapshot,
  style: Style,
  cache?: SeriesTextCache
): Generator<void> {
  const defaults = defaultsFor(family, style)
  writeHead(writer, family, style)
  const template = templateOf(family, defaults, cache)
  const texts = new TextSource(cache, "series", ({ labels = {} }: HistogramSeries): string => {
    for (const name in labels) {
      if (name === "le" || (defaults !== undefined && Object.hasOwn(defaults, name))) throw new NotSeriesShapedError()
    }
    const own = validLabelText(labels)
    if (own === undefined) throw new NotSeriesShapedError()
    return own === "" ? "} " : `,${own}} `
  })
  for (const piece of family.series) {
    const first = texts.lookup(piece)
    for (let index = 0; index < piece.length; index += 1) {
      template.write(writer, piece[index] as HistogramSeries, texts.texts, first + index, style)
    }
    yield
  }
  texts.end()
}

const templateOf = (
  { name, upperBounds }: HistogramSnapshot,
  defaults: LabelValues | undefined,
  cache: SeriesTextCache | undefined
): HistogramTemplate => {
  const known = cache && templates.get(cache)
  if (known?.isFor(upperBounds)) return known
  const template = new HistogramTemplate(name, upperBounds, defaults)
  if (cache !== undefined) templates.set(cache, template)
  return template
}

/** The beginnings of the lines, `+Inf` last. After each come the labels as `,a="b"} ` or `} `, and the value. */
class HistogramTemplate {
  private readonly ranks: ReadonlyArray<number>
  private readonly upperBounds: ReadonlyArray<number>
  private readonly bytes: Writer
  private readonly ends = [0]

  constructor(
    private readonly name: string,
    upperBounds: ReadonlyArray<number>,
    private readonly defaults: LabelValues | undefined
  ) {
    const ranks = upperBounds.map(Number)
    const isIncreasing = ranks.every((rank, at) => (at === 0 ? !Number.isNaN(rank) : rank > (ranks[at - 1] as number)))
    if (!isIncreasing) throw new NotSeriesShapedError()
    this.ranks = ranks
    this.upperBounds = [...upperBounds]
    const text = labelText(defaults)
    const before = text === "" ? "" : `${text},`
    const heads = [
      ...[...upperBounds.map(String), "+Inf"].map((bound) => `${name}_bucket{${before}le="${bound}"`),
      `${name}_sum{${text}`,
      `${name}_count{${text}`
    ]
    // One piece of memory: a registry can have thousands of histograms.
    const all = heads.join("")
    this.bytes = new Writer(3 * all.length)
    this.bytes.text(all)
    const isAscii = this.bytes.length === all.length
    let end = 0
    for (const head of heads) {
      end += isAscii ? head.length : Buffer.byteLength(head)
      this.ends.push(end)
    }
  }

  isFor(upperBounds: ReadonlyArray<number>): boolean {
    return (
      upperBounds.length === this.upperBounds.length && upperBounds.every((bound, at) => bound === this.upperBounds[at])
    )
  }

  /** The text of the labels is at `place` in `texts`. */
  write(writer: Writer, series: HistogramSeries, texts: SeriesTexts, place: number, style: Style): void {
    const lines = this.validLines(series, style)
    if (lines === 0) return
    const { buckets, count, sum } = series
    const exemplars = definitionOf(style.format).hasExemplars ? series.exemplars : undefined
    const start = texts.start(place)
    const end = texts.end(place)
    const room = this.bytes.length + (buckets.length + 2) * (end - start + roomForValue)
    writer.reserve(room)
    for (let line = 0; line < buckets.length; line += 1) {
      this.unsafeHead(writer, line)
      writer.unsafeCopy(texts.bytes, start, end)
      writer.unsafeNumber(buckets[line] as number)
      const exemplar = exemplars?.[line]
      if (exemplar) {
        writer.text(exemplarText(exemplar, this.name, style, this.ranks[line] ?? Number.POSITIVE_INFINITY))
        writer.reserve(room)
      }
      writer.unsafeNewline()
    }
    // Without default labels, labels begin without a comma. A series without any labels has no braces.
    const isBare = this.defaults === undefined && end - start === "} ".length
    for (let line = buckets.length; line < lines; line += 1) {
      this.unsafeHead(writer, line)
      if (isBare) writer.length -= 1
      writer.unsafeCopy(texts.bytes, this.defaults ? start : start + 1, end)
      writer.unsafeNumber(line === buckets.length ? sum : count)
      writer.unsafeNewline()
    }
  }

  // 0 if the buckets or the count break a rule, only the buckets if the sum breaks one.
  private validLines({ buckets, count, sum }: HistogramSeries, { format, leaveOut }: Style): number {
    const isStrict = hasRule(format, "wholeCount")
    const none = (broken: Rule): number => {
      leaveOut(this.name, broken)
      return 0
    }
    let below = 0
    for (let line = 0; line < buckets.length; line += 1) {
      const value = buckets[line] as number
      const rule = typeof value === "number" ? bucketRule(value, below, isStrict) : "value"
      if (rule !== undefined) return none(rule)
      below = value
    }
    if (typeof sum !== "number" || typeof count !== "number") return none("value")
    if (count !== below) return none("buckets")
    const rule = sumRule(sum, this.ranks[0] ?? 0)
    if (rule === undefined || !hasRule(format, rule)) return buckets.length + 2
    leaveOut(this.name, rule)
    return buckets.length
  }

  private unsafeHead(writer: Writer, line: number): void {
    writer.unsafeCopy(this.bytes, this.ends[line] as number, this.ends[line + 1] as number)
  }
}
