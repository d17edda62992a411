/**
 * Writes a histogram straight from its series as prom-client keeps them: the lines that its samples would give, without
 * an object for each of them.
 */
import type { Exemplar, FamilyInfo, Style } from "./encoder.js"
import { exemplarText, writeHead } from "./encoder.js"
import type { Kept } from "./kept.js"
import type { LabelValues } from "./labelText.js"
import { labelText } from "./labelText.js"
import type { Texts } from "./texts.js"
import { Walk } from "./texts.js"
import { roomForValue, Writer } from "./writer.js"

/** A series of a histogram. What is in each bucket alone stands under the text of its bound. */
export interface HistogramSeries {
  /** A series that was set to zero without any has none. */
  readonly labels?: LabelValues | undefined
  readonly bucketValues: Readonly<Record<string, number>>
  readonly sum: number
  readonly count: number
  readonly bucketExemplars?: Readonly<Record<string, Exemplar | null>> | undefined
}

/** A histogram, beside its series. */
export interface HistogramInfo extends FamilyInfo {
  readonly upperBounds: ReadonlyArray<number>
}

/** A label of a series has the name of one that its lines have already. */
export class TakenLabelError extends Error {}

/** Writes a histogram from its series, which come in pieces, and gives way after each of them. */
export function* encodeHistogram(
  writer: Writer,
  family: HistogramInfo,
  pieces: Iterable<ReadonlyArray<HistogramSeries>>,
  style: Style,
  kept: Kept
): Generator<void> {
  writeHead(writer, family, style)
  if (!kept.lines?.areFor(family.upperBounds)) kept.lines = new Lines(family, style.defaults)
  const { lines } = kept
  const withExemplars = style.format === "openmetrics"
  const taken = new Set(["le", ...Object.keys(style.defaults ?? {})])
  const walk = new Walk<HistogramSeries>(kept.histograms, ({ labels = {} }) => {
    if (Object.keys(labels).some((name) => taken.has(name))) throw new TakenLabelError()
    const own = labelText(labels)
    return own === "" ? "} " : `,${own}} `
  })
  for (const series of pieces) {
    const first = walk.meet(series)
    for (let index = 0; index < series.length; index += 1) {
      lines.write(writer, series[index] as HistogramSeries, walk.texts, first + index, withExemplars)
    }
    yield
  }
  kept.histograms = walk.end()
}

/** How the lines of a histogram begin, whichever series they are of. */
export class Lines {
  private readonly bounds: ReadonlyArray<string>
  private readonly heads = new Writer()
  private readonly ends = [0]
  private readonly hasDefaults: boolean

  constructor(
    private readonly family: HistogramInfo,
    defaults: LabelValues | undefined
  ) {
    const { name, upperBounds } = family
    this.bounds = upperBounds.map(String)
    this.hasDefaults = defaults !== undefined
    const text = labelText(defaults)
    const before = this.hasDefaults ? `${text},` : ""
    for (const bound of [...this.bounds, "+Inf"]) this.head(`${name}_bucket{${before}le="${bound}"`)
    this.head(`${name}_sum{${text}`)
    this.head(`${name}_count{${text}`)
  }

  /** Whether they are those of a histogram with these bounds, which the client has frozen. */
  areFor(upperBounds: ReadonlyArray<number>): boolean {
    return upperBounds === this.family.upperBounds
  }

  private head(text: string): void {
    this.heads.text(text)
    this.ends.push(this.heads.length)
  }

  /** Writes the lines of one series, whose own labels stand in that place of the texts. */
  write(writer: Writer, series: HistogramSeries, texts: Texts, place: number, withExemplars: boolean): void {
    const { bounds } = this
    const { bucketValues, count, sum } = series
    const exemplars = withExemplars ? series.bucketExemplars : undefined
    const start = texts.start(place)
    const end = texts.end(place)
    const room = this.heads.length + (bounds.length + 3) * (end - start + roomForValue)
    writer.reserve(room)
    let below = 0
    for (let line = 0; line < bounds.length; line += 1) {
      const bound = bounds[line] as string
      below += bucketValues[bound] as number
      // A bucket up to Infinity that was asked for is the one that every histogram has.
      if (bound === "Infinity") continue
      this.unsafeHead(writer, line)
      writer.unsafeCopy(texts.bytes, start, end)
      writer.unsafeNumber(below)
      if (exemplars !== undefined) this.exemplar(writer, exemplars[bound], room)
      writer.unsafeNewline()
    }
    this.unsafeHead(writer, bounds.length)
    writer.unsafeCopy(texts.bytes, start, end)
    writer.unsafeNumber(count)
    // Under -1 stands what is in no bucket that was asked for.
    if (exemplars !== undefined) this.exemplar(writer, exemplars["-1"] ?? exemplars["Infinity"], room)
    writer.unsafeNewline()
    this.unsafeWhole(writer, bounds.length + 1, texts, place, sum)
    this.unsafeWhole(writer, bounds.length + 2, texts, place, count)
  }

  private unsafeHead(writer: Writer, line: number): void {
    writer.unsafeCopy(this.heads, this.ends[line] as number, this.ends[line + 1] as number)
  }

  // The lines without `le`. Where there are no default labels, own ones begin without a comma, and none without a brace.
  private unsafeWhole(writer: Writer, line: number, texts: Texts, place: number, value: number): void {
    const start = texts.start(place)
    const end = texts.end(place)
    this.unsafeHead(writer, line)
    if (!this.hasDefaults && end - start === "} ".length) writer.length -= 1
    writer.unsafeCopy(texts.bytes, this.hasDefaults ? start : start + 1, end)
    writer.unsafeNumber(value)
    writer.unsafeNewline()
  }

  private exemplar(writer: Writer, exemplar: Exemplar | null | undefined, room: number): void {
    if (!exemplar) return
    writer.text(exemplarText(exemplar))
    writer.reserve(room)
  }
}
