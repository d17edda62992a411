/**
 * Reads and encodes a registry, family by family. A metric that fails or is slow does not prevent others from being
 * written. The families are put in order at the end.
 */
import type { Pace } from "../util/eventLoopSlices.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { loggable } from "../util/text.js"
import { Collections } from "./collect.js"
import { definitionOf, type Format, type Style } from "./formats.js"
import { encodeHistogram } from "./histograms.js"
import { type LabelTexts, labelText, someLabels } from "./labelText.js"
import type { FamilyReader, FamilySnapshot, Layout, RegistryReader } from "./model.js"
import { NotSeriesShapedError, pieceSize } from "./model.js"
import type { Families } from "./nameConflicts.js"
import { Notices } from "./sampleRules.js"
import { encodeSamples } from "./samples.js"
import { SeriesTextCache } from "./seriesTextCache.js"
import { exposedOf } from "./sources.js"
import { roomForValue, Writer } from "./writer.js"

/** The name is the registered one. */
export interface WrittenFamily {
  readonly name: string
  readonly index: number
  readonly start: number
  readonly length: number
}

export interface Failure {
  /** If the name is unknown, its position on the registry, in words. */
  readonly name: string
  readonly error: unknown
  /** Undefined if no collection failed. Other renders may have failed with the same one. */
  readonly reading: object | undefined
}

export interface Entry {
  readonly index: number
  readonly name: string
  readonly family: FamilyReader | undefined
  /** Undefined until the family is written or has failed. */
  outcome: WrittenFamily | Failure | undefined
}

// In pieces of a few milliseconds each.
const largePieces = 4

// In bytes, for the first exposition of a registry. Memory that is never written to costs almost nothing.
const unknownSize = 524_288

// They live as long as the metric.
const caches = oncePerProcess("series text caches", () => new WeakMap<object, SeriesTextCache>())

// Its size determines the memory of the next one. (It also keeps one object of its class alive, see `SeriesTextCache`.)
const lastRenders = oncePerProcess("last renders", () => new WeakMap<object, Render>())

const nothing = new Writer(0)

/** More families may be requested while it runs. */
export class Render {
  defaults: LabelTexts | undefined
  private readonly forbidden = new Notices()
  private readonly collections: Collections
  private entries: ReadonlyArray<Entry> = []
  private byName: Map<string, Array<Entry>> | undefined
  private style: Style
  private defaultsText = ""
  /** Of all families, requested or not. */
  private names: Families | undefined
  /** In bytes. */
  private size = 0
  /** How often it had yielded when its current entry began. */
  private restsBefore = Number.POSITIVE_INFINITY

  constructor(
    private readonly reader: RegistryReader,
    private readonly format: Format,
    /** Receives everything but the epilogue, in the order in which metrics answer. */
    private writer: Writer,
    private readonly pace: Pace,
    /** Called for a metric that the render waits for. */
    onAnswer: () => void
  ) {
    this.collections = new Collections(onAnswer)
    this.style = { format, defaults: undefined, clashes: new Map(), leaveOut: this.forbidden.leaveOut }
  }

  /** Rejects if the registry cannot be read. */
  async begin(): Promise<void> {
    const { forbidden, format, pace, reader } = this
    await pace.start()
    const contents = await pace.along(reader.read())
    this.defaults = checkedDefaults(contents.defaultLabels, forbidden)
    const { families, leftOut, names } = await pace.along(exposedOf(reader.registry, contents))
    for (const sentence of leftOut) forbidden.add(sentence)
    const { clashes } = names
    if (definitionOf(format).reservesCounterNames) forbidden.clash(clashes)
    this.names = names
    this.style = { ...this.style, defaults: this.defaults, clashes }
    this.defaultsText = labelText(this.defaults)
    const entries: Array<Entry> = []
    for (const { error, name } of contents.unreadable) {
      entries.push({ index: entries.length, name, family: undefined, outcome: { name, error, reading: undefined } })
    }
    for (const family of families) {
      entries.push({ index: entries.length, name: family.name, family, outcome: undefined })
    }
    this.entries = entries
  }

  /** In their order; all of them without names. */
  select(names: ReadonlyArray<string> | undefined): ReadonlyArray<Entry> {
    if (names === undefined) return this.entries
    this.byName ??= byNameOf(this.entries)
    const { byName } = this
    const found = [...new Set(names)].flatMap((name) => byName.get(name) ?? [])
    return found.length === this.entries.length ? this.entries : found.sort((one, other) => one.index - other.index)
  }

  isPending({ family }: Entry): boolean {
    return family !== undefined && this.collections.isPending(family)
  }

  get isInLarge(): boolean {
    return this.pace.rests - this.restsBefore >= largePieces
  }

  /** Writes what can be read, and starts slow collections, until `isOver`. Takes at least one step. */
  async write(entries: ReadonlyArray<Entry>, isOver: () => boolean): Promise<void> {
    const { collections, pace } = this
    // All slow collections start before the first wait, so that they run at the same time.
    for (const { family } of entries) {
      if (!family?.mayTakeTime || collections.hasAsked(family)) continue
      if (pace.isOver()) await pace.rest()
      // The synchronous part of a collection counts as a piece of its own.
      await collections.ask(family)
      if (isOver()) return
    }
    for (const entry of entries) {
      if (pace.isOver()) await pace.rest()
      this.restsBefore = pace.rests
      const later = entry.family && this.settle(entry, entry.family, "series")
      if (later !== undefined) await later
      if (isOver()) break
    }
    this.restsBefore = Number.POSITIVE_INFINITY
  }

  /** Frees most of its memory. */
  end(): void {
    const { collections, entries, reader, writer } = this
    collections.end()
    this.size = writer.length
    const isWhole = entries.length > 0 && entries.every(({ outcome }) => outcome !== undefined)
    if (isWhole) lastRenders.set(reader.registry, this)
    this.writer = nothing
    this.entries = []
    this.byName = undefined
  }

  /** In bytes; undefined before the first render of all families. */
  static sizeOf(registry: object): number | undefined {
    return lastRenders.get(registry)?.size
  }

  /** Sentences, keyed by their subject: what is left out, and counters of unknown type. */
  get notices(): ReadonlyMap<string, string> {
    return this.forbidden.all
  }

  // Synchronous where it takes little time: for thousands of families, one promise each takes longer than writing them.
  private settle(entry: Entry, family: FamilyReader, layout: Layout): Promise<void> | undefined {
    const { pace, writer } = this
    const start = writer.length
    try {
      const snapshot = this.read(family, layout)
      if (snapshot === undefined) return this.settleAnswer(entry, family, layout)
      const work = this.encode(family, snapshot)
      if (pace.ends(work)) return this.written(entry, start)
      const failed = (error: unknown) => this.failed(entry, family, layout, start, error)
      return pace.along(work).then(() => this.written(entry, start), failed)
    } catch (error) {
      return this.failed(entry, family, layout, start, error)
    }
  }

  private written(entry: Entry, start: number): undefined {
    const { index, name } = entry
    entry.outcome = { name, index, start, length: this.writer.length - start }
  }

  private failed(
    entry: Entry,
    family: FamilyReader,
    layout: Layout,
    start: number,
    error: unknown
  ): Promise<void> | undefined {
    // The beginning of a family that fails half way is removed.
    this.writer.length = start
    if (layout === "series" && isNotSeriesShaped(error)) return this.settle(entry, family, "samples")
    const { name } = entry
    entry.outcome = { name, error: loggable(error), reading: this.collections.failed(family) }
    return undefined
  }

  // A metric that has not answered yet stays pending.
  private async settleAnswer(entry: Entry, family: FamilyReader, layout: Layout): Promise<void> {
    if ((await this.collections.ask(family)) !== undefined) await this.settle(entry, family, layout)
  }

  // Undefined: the metric must be collected first.
  private read(family: FamilyReader, layout: Layout): FamilySnapshot | undefined {
    const snapshot = family.read(layout)
    if (snapshot !== undefined) return snapshot
    const answer = this.collections.answerOf(family)
    if (answer === undefined) return undefined
    if (answer.status === "rejected") throw answer.reason
    const { name } = family
    const type = answer.value.type()
    // A metric that is not made by a client may have its type only after it is read.
    const isValid = type === family.type || this.names?.canBe(name, type)
    return answer.value.read({ name, type: isValid ? type : undefined }, layout)
  }

  private encode(family: FamilyReader, snapshot: FamilySnapshot): Generator<void> {
    const { defaultsText, style, writer } = this
    const cache = cacheOf(family, defaultsText)
    return "series" in snapshot
      ? encodeHistogram(writer, snapshot, style, cache)
      : encodeSamples(writer, snapshot, style, cache)
  }
}

const checkedDefaults = (given: unknown, notices: Notices): LabelTexts | undefined => {
  const defaults = someLabels(given)
  for (const name of Object.keys(given ?? {})) {
    const isValid = defaults !== undefined && Object.hasOwn(defaults, name)
    const why = isValid ? reserved[name] : ": its name or value is invalid"
    if (why !== undefined) notices.add(`the default label ${name} is left out${why}`, `default label ${name}`)
  }
  return defaults
}

const reserved: { readonly [name: string]: string | undefined } = Object.assign(Object.create(null), {
  le: " of histograms, which have their own",
  quantile: " of summaries, which have their own"
})

// `instanceof` throws for a revoked proxy.
const isNotSeriesShaped = (error: unknown): boolean => {
  try {
    return error instanceof NotSeriesShapedError
  } catch {
    return false
  }
}

/** In bytes, for the next render of all families. */
export const capacityFor = (registry: object): number => {
  const size = Render.sizeOf(registry) ?? unknownSize
  // More than the last size: numbers grow, and each value reserves room for the longest number.
  return size + size / 16 + pieceSize * roomForValue
}

const byNameOf = (entries: ReadonlyArray<Entry>): Map<string, Array<Entry>> => {
  const byName = new Map<string, Array<Entry>>()
  for (const entry of entries) getOrInsert(byName, entry.name, () => []).push(entry)
  return byName
}

// The first exposition caches nothing: caching would take most of its time, and there may be no second exposition.
const cacheOf = ({ identity, name }: FamilyReader, defaults: string): SeriesTextCache | undefined => {
  const known = caches.get(identity)
  if (known?.name === name && known.defaults === defaults) return known
  const cache = new SeriesTextCache(name, defaults)
  caches.set(identity, cache)
  return known && cache
}
