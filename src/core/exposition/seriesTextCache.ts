/**
 * The text of each series of a family, built once. A client returns its series in the order in which they were created,
 * so texts are found by their position. A text belongs to a series if all names and values are the same. Object
 * identity is not compared: the owner of a label object can change it, replace it by an equal one with every `set`, or
 * use it for another series.
 */
import { Buffer } from "node:buffer"
import { getOrInsert } from "../util/getOrInsert.js"
import type { Layout, SeriesLabels } from "./model.js"
import { Writer } from "./writer.js"

/** One after the other, each with the labels that it was made from. Existing texts never change. */
export class SeriesTexts {
  count = 0
  readonly bytes = new Writer()
  private readonly ends: Array<number> = []
  // For each text: the names of its labels, the name of the series, and the values of its labels.
  private readonly parts: Array<unknown> = []
  private readonly partEnds: Array<number> = []
  // Texts with the same label names share one list.
  private readonly names = new Map<string, ReadonlyArray<string>>()
  // Built but not yet written: many texts are converted to bytes in one step.
  private pending: Array<string> = []

  /** In bytes. */
  lengthFrom(place: number): number {
    return this.bytes.length - this.start(place)
  }

  start(place: number): number {
    return place === 0 ? 0 : (this.ends[place - 1] as number)
  }

  end(place: number): number {
    return this.ends[place] as number
  }

  /** For a text that is not looked up again. It can be read after `flush`. */
  add(text: string): void {
    this.pending.push(text)
    this.count += 1
  }

  flush(): void {
    if (this.pending.length === 0) return
    const before = this.bytes.length
    const all = this.pending.join("")
    this.bytes.text(all)
    const isAscii = this.bytes.length - before === all.length
    let end = before
    for (const text of this.pending) {
      end += isAscii ? text.length : Buffer.byteLength(text)
      this.ends.push(end)
    }
    this.pending = []
  }

  /** Only for texts that were added by `add`. */
  clear(): void {
    this.count = 0
    this.bytes.length = 0
    this.ends.length = 0
    this.pending.length = 0
  }

  holds(place: number, series: SeriesLabels): boolean {
    const { parts } = this
    let at = place === 0 ? 0 : (this.partEnds[place - 1] as number)
    const names = parts[at] as ReadonlyArray<string>
    if (parts[at + 1] !== series.metricName) return false
    at += 2
    let index = 0
    const { labels } = series
    for (const name in labels) {
      if (names[index] !== name || parts[at + index] !== labels[name]) return false
      index += 1
    }
    return index === names.length
  }

  /** It can be read after `flush`. */
  addOf({ metricName, labels }: SeriesLabels, text: string): void {
    const names: Array<string> = []
    const values: Array<unknown> = []
    for (const name in labels) {
      names.push(name)
      values.push(comparable(labels[name]))
    }
    this.parts.push(this.sharedNames(names), metricName, ...values)
    this.partEnds.push(this.parts.length)
    this.add(text)
  }

  private sharedNames(names: ReadonlyArray<string>): ReadonlyArray<string> {
    return getOrInsert(this.names, names.join(), () => names)
  }

  adopt(other: SeriesTexts, place: number): void {
    this.flush()
    const first = place === 0 ? 0 : (other.partEnds[place - 1] as number)
    for (let at = first; at < (other.partEnds[place] as number); at += 1) this.parts.push(other.parts[at])
    this.partEnds.push(this.parts.length)
    this.bytes.copy(other.bytes, other.start(place), other.end(place))
    this.ends.push(this.bytes.length)
    this.count += 1
  }

  first(count: number): SeriesTexts {
    const texts = new SeriesTexts()
    if (count === 0) return texts
    const parts = this.partEnds[count - 1] as number
    for (let at = 0; at < parts; at += 1) texts.parts.push(this.parts[at])
    for (let place = 0; place < count; place += 1) {
      texts.partEnds.push(this.partEnds[place] as number)
      texts.ends.push(this.ends[place] as number)
    }
    for (const [key, names] of this.names) texts.names.set(key, names)
    texts.bytes.copy(this.bytes, 0, this.end(count - 1))
    texts.count = count
    return texts
  }
}

// The text of an object can change, so its series must never match again: NaN equals nothing, not even itself.
const comparable = (value: unknown): unknown =>
  typeof value === "object" || typeof value === "function" ? Number.NaN : value

// A piece is looked up and written before anything else happens, so one list serves all families without a cache.
const scratch = new SeriesTexts()

// How many positions ahead a series is always searched for.
const nearby = 8

/**
 * One walk along the series. Afterwards `texts` has exactly their texts, in their order. Several walks can run at the
 * same time: texts are only added, and a walk that finds missing series builds its own list.
 *
 * Without a cache, `texts` has those of the last piece. It is the same class, so that the engine compiles one way.
 */
export class TextSource<S extends SeriesLabels> {
  texts: SeriesTexts
  private place = 0
  private old: SeriesTexts | undefined
  private oldPlace = 0
  private budget = 0

  /** Begins with the texts of the last walk. `build` creates the texts that are not cached. */
  constructor(
    private readonly cache: SeriesTextCache | undefined,
    private readonly layout: Layout,
    private readonly build: (series: S) => string
  ) {
    this.texts = cache === undefined ? scratch : (cache.textsOf(layout) ?? new SeriesTexts())
  }

  /** Returns the position of the first text in `texts`; the others follow it. */
  lookup(series: ReadonlyArray<S>): number {
    if (this.cache === undefined) {
      scratch.clear()
      for (const each of series) scratch.add(this.build(each))
      scratch.flush()
      return 0
    }
    const first = this.place
    try {
      for (const each of series) {
        if (!this.isInPlace(each)) this.insert(each)
        this.place += 1
      }
    } finally {
      // Also for a family that fails half way: the next walk reuses the added texts.
      this.texts.flush()
    }
    return first
  }

  /** Called after all series of the family were looked up. */
  end(): void {
    if (this.cache === undefined) return
    if (this.place < this.texts.count) this.texts = this.texts.first(this.place)
    this.old = undefined
    this.cache.put(this.layout, this)
  }

  private isInPlace(series: S): boolean {
    return this.place < this.texts.count && this.texts.holds(this.place, series)
  }

  private insert(series: S): void {
    if (this.place < this.texts.count) {
      // The cached text at this position belongs to another series: from now on the walk builds a new list.
      this.old = this.texts
      this.oldPlace = this.place
      this.budget = this.old.count
      this.texts = this.old.first(this.place)
    }
    const found = this.seek(series)
    if (this.old !== undefined && found !== undefined) {
      this.texts.adopt(this.old, found)
      this.oldPlace = found + 1
    } else this.texts.addOf(series, this.build(series))
  }

  // Looks beyond `nearby` only as long as all searches together look at no more texts than the old list has.
  private seek(series: S): number | undefined {
    const { old } = this
    if (old === undefined) return undefined
    for (let place = this.oldPlace; place < old.count; place += 1) {
      if (place >= this.oldPlace + nearby) {
        if (this.budget <= 0) return undefined
        this.budget -= 1
      }
      if (old.holds(place, series)) return place
    }
    return undefined
  }
}

/**
 * The same in all formats. It keeps the last walk, so that one object of the class always exists: when all objects of a
 * class are garbage-collected, the engine discards its compiled code, and each scrape would be as slow as the first.
 */
export class SeriesTextCache {
  // A histogram is written as series or as samples; the texts are those of the last layout.
  private last: TextSource<never> | undefined
  private layout: Layout | undefined

  /** The texts depend on the name of the family and the text of the default labels. */
  constructor(
    readonly name: string,
    readonly defaults: string
  ) {}

  textsOf(layout: Layout): SeriesTexts | undefined {
    return this.layout === layout ? this.last?.texts : undefined
  }

  put(layout: Layout, walk: TextSource<never>): void {
    this.layout = layout
    this.last = walk
  }
}
