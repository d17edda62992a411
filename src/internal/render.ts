/**
 * Reads a registry, metric by metric, and encodes it. One metric that fails does not keep the others from being read, and
 * one that takes its time does not keep the others from being written: they are put in order at the end.
 */
import type { Sample, Style } from "./encoder.js"
import { encodeSamples } from "./encoder.js"
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
export type Entry = {
  readonly index: number
  /** What has become of it, if it is written or has failed. */
  outcome: WrittenFamily | Failure | undefined
} & (
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
      const outcome = { name, metric, error, reading: undefined }
      entries.push({ kind: "unreadable", index: entries.length, outcome, name, metric })
    }
    for (const { help, mayTakeTime, metric, name, type } of metrics) {
      entries.push({
        kind: "metric",
        index: entries.length,
        outcome: undefined,
        name,
        help,
        type,
        metric,
        mayTakeTime
      })
    }
    for (const metric of families) {
      entries.push({ kind: "source", index: entries.length, outcome: undefined, name: metric.name, metric })
    }
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
      const settling = this.settle(entry)
      if (settling !== undefined) await settling
      if (isOver()) break
    }
    this.rested = Number.POSITIVE_INFINITY
  }

  /** It is over. What stays of it is small. */
  end(): void {
    const { entries, readings, registry, writer } = this
    readings.end()
    this.size = writer.length
    const isWhole = entries.length > 0 && entries.every(({ outcome }) => outcome !== undefined)
    if (isWhole) lastRenders.set(registry, this)
    this.writer = nothing
    this.entries = []
    this.byName = undefined
  }

  /** How many bytes were written by the last render of all families of that registry, if there was one. */
  static sizeOf(registry: object): number | undefined {
    return lastRenders.get(registry)?.size
  }

  /** What is left out, and counters that cannot be one in OpenMetrics: sentences, by what they are about. */
  get notices(): ReadonlyMap<string, string> {
    return this.forbidden.notices
  }

  // At once where it takes little time: a promise for each of thousands of families takes longer than to write them.
  private settle(entry: Entry): Promise<void> | undefined {
    const start = this.writer.length
    try {
      const work = this.workOf(entry, false)
      if (work !== undefined && this.pace.ends(work)) return this.written(entry, start)
      return this.settleLater(entry, start, work, false)
    } catch (error) {
      return this.failed(entry, start, error, false)
    }
  }

  // One that has not answered yet is left as it is.
  private async settleLater(
    entry: Entry,
    start: number,
    begun: Generator<void> | undefined,
    bySamples: boolean
  ): Promise<void> {
    try {
      if (begun === undefined && entry.kind === "metric" && (await this.readings.of(entry.metric)) === undefined) return
      const work = begun ?? this.workOf(entry, bySamples)
      if (work !== undefined) await this.pace.along(work)
      this.written(entry, start)
    } catch (error) {
      await this.failed(entry, start, error, bySamples)
    }
  }

  private written(entry: Entry, start: number): undefined {
    const { index, name } = entry
    entry.outcome = { name, index, start, length: this.writer.length - start }
  }

  // Nothing stays of one that fails half way. A histogram that cannot be written series by series is written by samples.
  private failed(entry: Entry, start: number, error: unknown, bySamples: boolean): Promise<void> | undefined {
    this.writer.length = start
    if (!bySamples && isIrregular(error)) return this.settleLater(entry, start, undefined, true)
    const { metric, name } = entry
    const reading = this.readings.failed(metric as object)
    entry.outcome = { name, metric, error: readable(error), reading }
    return undefined
  }

  // How an entry is written. Undefined: it has to answer first.
  private workOf(entry: Entry, bySamples: boolean): Generator<void> | undefined {
    if (entry.kind === "unreadable") return undefined
    const { readings, shortcuts, style, writer } = this
    if (entry.kind === "source") return this.sourceWork(entry.metric, bySamples)
    const { metric, name } = entry
    const kept = keptOf(metric, name, style)
    const family = { name, help: entry.help, type: entry.type }
    if (keepsSamples(metric, shortcuts)) {
      return encodeSamples(writer, family, storedPieces(metric, pieceSize), style, kept)
    }
    const isStored = keepsHistogram(metric, shortcuts)
    if (isStored && !bySamples) {
      const info = { ...family, upperBounds: metric.upperBounds }
      return encodeHistogram(writer, info, storedPieces(metric, pieceSize), style, kept)
    }
    const answer = readings.answerOf(metric)
    if (answer === undefined) return undefined
    if (answer.status === "rejected") throw answer.reason
    const { help, type: given, values } = answer.value
    if (!Array.isArray(values)) throw new TypeError(`its get() must give a list of values, not ${shown(values)}`)
    // A metric made by hand may say what it is only when it is read.
    const type = given === entry.type || this.taken?.canBe(name, given) ? given : undefined
    // Labels that stored series cannot have, those that are read cannot have either.
    const upperBounds = type === "histogram" && !isStored && !bySamples ? boundsOf(metric) : undefined
    if (upperBounds === undefined) return encodeSamples(writer, { name, help, type }, piecesOf(values), style, kept)
    const info = { name, help, type, upperBounds }
    return encodeHistogram(writer, info, seriesOf(values, info, pieceSize), style, kept)
  }

  private sourceWork(family: SourceFamily, bySamples: boolean): Generator<void> {
    const { style, writer } = this
    const kept = keptOf(family, family.name, style)
    const { help, name, type, upperBounds } = family
    const info = { help, name, type }
    const series = bySamples ? undefined : family.series?.(pieceSize)
    return upperBounds !== undefined && series !== undefined
      ? encodeHistogram(writer, { ...info, upperBounds }, series, style, kept)
      : encodeSamples(writer, info, family.samples(pieceSize), style, kept)
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

// To ask what a revoked proxy is an instance of throws.
const isIrregular = (error: unknown): boolean => {
  try {
    return error instanceof IrregularError
  } catch {
    return false
  }
}

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
