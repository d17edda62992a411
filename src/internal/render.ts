/**
 * Reads a registry, metric by metric, and encodes it. One metric that fails does not keep the others from being read, and
 * one that takes its time does not keep the others from being written: they are put in order at the end.
 */
import type { Sample, Style } from "./encoder.js"
import { encodeSamples } from "./encoder.js"
import type { HistogramInfo, HistogramSeries } from "./histogram.js"
import { encodeHistogram, IrregularError } from "./histogram.js"
import type { SharingSample } from "./histogramSamples.js"
import { seriesOf, withOwnLabels } from "./histogramSamples.js"
import { Kept } from "./kept.js"
import type { LabelTexts } from "./labelText.js"
import { labelText, someLabels } from "./labelText.js"
import type { Families } from "./nameConflicts.js"
import type { Format } from "./negotiation.js"
import { shown } from "./options.js"
import type { Pace } from "./pace.js"
import { Readings } from "./readings.js"
import type { RegisteredMetric } from "./registeredMetrics.js"
import { metricsOn, readable } from "./registeredMetrics.js"
import { Forbidden } from "./sampleRules.js"
import type { SourceFamily } from "./sources.js"
import { sourced } from "./sources.js"
import type { Shortcuts } from "./store.js"
import { keepsHistogram, keepsSamples, storedPieces } from "./store.js"
import { roomForValue, Writer } from "./writer.js"

/** What is asked of a registry here. */
export interface Readable {
  getMetricsAsArray(): ReadonlyArray<object>
  getSingleMetric(name: string): unknown
}

/** A family that is written, under the name that it is registered by: its place in the order, and its bytes. */
export interface WrittenFamily {
  readonly name: string
  readonly index: number
  readonly start: number
  readonly length: number
}

/** A metric that could not be read, and what it threw. */
export interface Failure {
  /** Or else its place on the registry, in words. */
  readonly name: string
  readonly metric: unknown
  readonly error: unknown
  /** What has failed, if it is a reading: other renders may have failed with the same one. */
  readonly reading: object | undefined
}

/** What there is to write: a metric of the registry, a family of one of its sources, or what cannot be read. */
export type Entry = { readonly index: number } & (
  | (RegisteredMetric & { readonly kind: "metric" })
  | { readonly kind: "source"; readonly name: string; readonly metric: SourceFamily }
  | { readonly kind: "unreadable"; readonly name: string; readonly metric: unknown }
)

// So many series are read, and then written, before the time is looked at.
const pieceSize = 256

// A family that takes more pieces than this, of a few milliseconds each, is a large one.
const largePieces = 4

// What is assumed of the first exposition of a registry, in bytes. Memory that is not written to costs next to nothing.
const unknownSize = 524_288

// The texts of a metric's series go with the metric.
const texts = new WeakMap<object, Kept>()

// The last render of all families of a registry: it tells how much memory the next one will need. (And there is always
// one, for the same reason as there is always a walk.)
const lastRenders = new WeakMap<object, Render>()

const nothing = new Writer(0)

/** A render of a registry in one format. What is asked of it may grow while it runs. */
export class Render {
  /** The labels that every series has which has no other value for them. */
  defaults: LabelTexts | undefined
  private readonly forbidden = new Forbidden()
  private readonly readings: Readings
  private readonly settled = new Map<Entry, WrittenFamily | Failure>()
  private entries: ReadonlyArray<Entry> = []
  private byName: Map<string, Array<Entry>> | undefined
  private style: Style
  /** The names of all families, whichever are asked for. */
  private taken: Families | undefined
  /** How many bytes came of it. */
  private size = 0
  /** How often its work had rested when it began with the entry that it is at. */
  private rested = Number.POSITIVE_INFINITY

  constructor(
    private readonly registry: Readable,
    private readonly format: Format,
    private readonly shortcuts: Shortcuts,
    /** What it writes into: all but the epilogue of the format, in the order in which metrics answer. */
    private writer: Writer,
    private readonly pace: Pace,
    /** Called when a metric has answered that was waited for. */
    onAnswer: () => void
  ) {
    this.readings = new Readings(onAnswer)
    this.style = { format, defaults: undefined, clashes: new Map(), leaveOut: this.forbidden.leaveOut }
  }

  /** Looks at what there is. It rejects if the registry cannot be read. */
  async begin(): Promise<void> {
    const { format, forbidden, pace, registry } = this
    await pace.start()
    const registered = await pace.along(metricsOn(registry))
    this.defaults = defaultLabels(registry, forbidden)
    const { families, leftOut, metrics, names: taken } = await pace.along(sourced(registry, registered.metrics))
    for (const sentence of leftOut) forbidden.notices.set(sentence, sentence)
    const { clashes } = taken
    if (format === "openmetrics") forbidden.clash(clashes)
    this.taken = taken
    this.style = { ...this.style, defaults: this.defaults, clashes }
    const entries: Array<Entry> = []
    for (const { error, metric, name } of registered.unreadable) {
      const entry: Entry = { kind: "unreadable", index: entries.length, name, metric }
      entries.push(entry)
      this.settled.set(entry, { name, metric, error, reading: undefined })
    }
    for (const { help, mayTakeTime, metric, name, type } of metrics) {
      entries.push({ kind: "metric", index: entries.length, name, help, type, metric, mayTakeTime })
    }
    for (const metric of families) entries.push({ kind: "source", index: entries.length, name: metric.name, metric })
    this.entries = entries
  }

  /** The entries with those names, or all of them, in their order. */
  select(names: ReadonlyArray<string> | undefined): ReadonlyArray<Entry> {
    if (names === undefined) return this.entries
    this.byName ??= byNameOf(this.entries)
    const { byName } = this
    const found = [...new Set(names)].flatMap((name) => byName.get(name) ?? [])
    return found.length === this.entries.length ? this.entries : found.sort((one, other) => one.index - other.index)
  }

  /** What has become of an entry, if it is written or has failed. */
  outcomeOf(entry: Entry): WrittenFamily | Failure | undefined {
    return this.settled.get(entry)
  }

  /** Whether the entry has been asked and has not answered. */
  isPending({ kind, metric }: Entry): boolean {
    return kind === "metric" && this.readings.isPending(metric)
  }

  /** Whether it is in the middle of a family that takes many pieces. */
  get isInLarge(): boolean {
    return this.pace.rests - this.rested >= largePieces
  }

  /** Writes those that can be read now, and asks those that take their time, until it is over, but one of them at least. */
  async write(entries: ReadonlyArray<Entry>, isOver: () => boolean): Promise<void> {
    const { pace, readings } = this
    // Those that may take their time are asked before any is waited for, so that they take it together.
    for (const entry of entries) {
      if (entry.kind !== "metric" || !entry.mayTakeTime || readings.hasAsked(entry.metric)) continue
      if (pace.isOver()) await pace.rest()
      // What it does at once is a piece of its own.
      await readings.of(entry.metric)
      if (isOver()) return
    }
    for (const entry of entries) {
      if (pace.isOver()) await pace.rest()
      this.rested = pace.rests
      await this.settle(entry)
      if (isOver()) break
    }
    this.rested = Number.POSITIVE_INFINITY
  }

  /** It is over. What stays of it is small. */
  end(): void {
    const { entries, readings, registry, settled, writer } = this
    readings.end()
    this.size = writer.length
    if (entries.length > 0 && entries.length === settled.size) lastRenders.set(registry, this)
    this.writer = nothing
    this.entries = []
    this.byName = undefined
    settled.clear()
  }

  /** How many bytes were written by the last render of all families of that registry, if there was one. */
  static sizeOf(registry: object): number | undefined {
    return lastRenders.get(registry)?.size
  }

  /** What is left out, and counters that cannot be one in OpenMetrics: sentences, by what they are about. */
  get notices(): ReadonlyMap<string, string> {
    return this.forbidden.notices
  }

  private async settle(entry: Entry): Promise<void> {
    if (entry.kind === "unreadable") return
    const { readings, settled, writer } = this
    const { index, metric, name } = entry
    const start = writer.length
    try {
      const isWritten = await (entry.kind === "metric" ? this.writeMetric(entry) : this.writeSourced(entry.metric))
      if (isWritten) settled.set(entry, { name, index, start, length: writer.length - start })
    } catch (error) {
      // Nothing stays of one that fails half way.
      writer.length = start
      settled.set(entry, { name, metric, error: readable(error), reading: readings.failed(metric) })
    }
  }

  // Whether it is written: one that has not answered yet is not.
  private async writeMetric(entry: RegisteredMetric): Promise<boolean> {
    const { pace, readings, shortcuts, style, writer } = this
    const { metric, name } = entry
    const kept = keptOf(metric, name, style)
    const family = { name, help: entry.help, type: entry.type }
    if (keepsSamples(metric, shortcuts)) {
      await pace.along(encodeSamples(writer, family, storedPieces(metric, pieceSize), style, kept))
      return true
    }
    const isStored = keepsHistogram(metric, shortcuts)
    if (isStored) {
      const { upperBounds } = metric
      const info = { ...family, upperBounds }
      if (await this.wroteSeries(info, storedPieces(metric, pieceSize), kept)) return true
    }
    const answer = await readings.of(metric)
    if (answer === undefined) return false
    if (answer.status === "rejected") throw answer.reason
    const { help, type: given, values } = answer.value
    if (!Array.isArray(values)) throw new TypeError(`its get() must give a list of values, not ${shown(values)}`)
    // A metric made by hand may say what it is only when it is read.
    const type = given === entry.type || this.taken?.canBe(name, given) ? given : undefined
    // Labels that stored series cannot have, those that are told cannot have either.
    const upperBounds = type === "histogram" && !isStored ? boundsOf(metric) : undefined
    if (upperBounds !== undefined) {
      const info = { name, help, type, upperBounds }
      if (await this.wroteSeries(info, seriesOf(values, info, pieceSize), kept)) return true
    }
    await pace.along(encodeSamples(writer, { name, help, type }, piecesOf(values), style, kept))
    return true
  }

  private async writeSourced(family: SourceFamily): Promise<true> {
    const { pace, style, writer } = this
    const kept = keptOf(family, family.name, style)
    const { help, name, type, upperBounds } = family
    const info = { help, name, type }
    const series = family.series?.(pieceSize)
    if (upperBounds !== undefined && series !== undefined) {
      if (await this.wroteSeries({ ...info, upperBounds }, series, kept)) return true
    }
    await pace.along(encodeSamples(writer, info, family.samples(pieceSize), style, kept))
    return true
  }

  // Whether a histogram could be written series by series. Where it could not, nothing is written.
  private async wroteSeries(
    info: HistogramInfo,
    pieces: Iterable<ReadonlyArray<HistogramSeries>>,
    kept: Kept | undefined
  ): Promise<boolean> {
    const { pace, style, writer } = this
    const start = writer.length
    try {
      await pace.along(encodeHistogram(writer, info, pieces, style, kept))
      return true
    } catch (error) {
      if (!(error instanceof IrregularError)) throw error
      writer.length = start
      return false
    }
  }
}

// Both clients keep them there, and offer no way to read them that does not read every metric as well. They are those of
// the moment in which it begins.
const defaultLabels = (registry: Readable, { notices }: Forbidden): LabelTexts | undefined => {
  const given = (registry as { readonly _defaultLabels?: unknown })._defaultLabels
  const defaults = someLabels(given)
  for (const name of Object.keys(given ?? {})) {
    const isValid = defaults !== undefined && Object.hasOwn(defaults, name)
    const why = isValid ? ownOf[name] : ": its name or its value is not valid"
    if (why !== undefined) notices.set(`default label ${name}`, `the default label ${name} is left out${why}`)
  }
  return defaults
}

const ownOf: { readonly [name: string]: string | undefined } = Object.assign(Object.create(null), {
  le: " of histograms, which have one themselves",
  quantile: " of summaries, which have one themselves"
})

// A histogram of the clients has its bounds; of any other one nothing is known.
const boundsOf = (metric: object): ReadonlyArray<number> | undefined => {
  const { upperBounds } = metric as { readonly upperBounds?: unknown }
  return Array.isArray(upperBounds) ? upperBounds : undefined
}

// Some larger than the last time, because numbers grow and room is reserved for the longest.
/** How much room the next render of all families of that registry will need, in bytes. */
export const capacityFor = (registry: Readable): number => {
  const size = Render.sizeOf(registry) ?? unknownSize
  return size + size / 16 + pieceSize * roomForValue
}

const byNameOf = (entries: ReadonlyArray<Entry>): Map<string, Array<Entry>> => {
  const byName = new Map<string, Array<Entry>>()
  for (const entry of entries) {
    const same = byName.get(entry.name)
    if (same === undefined) byName.set(entry.name, [entry])
    else same.push(entry)
  }
  return byName
}

// Not from the first time on: most of what the first exposition costs would be to keep what may never be asked for again.
const keptOf = (metric: object, name: string, { defaults }: Style): Kept | undefined => {
  const known = texts.get(metric)
  const key = `${name}{${labelText(defaults)}}`
  if (known?.key === key) return known
  const kept = new Kept(key)
  texts.set(metric, kept)
  return known && kept
}

function* piecesOf(samples: ReadonlyArray<SharingSample>): Generator<ReadonlyArray<Sample>> {
  for (let start = 0; start < samples.length; start += pieceSize) {
    yield samples.slice(start, start + pieceSize).map(withOwnLabels)
  }
}
