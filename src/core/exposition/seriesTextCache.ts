/**
 * The text of each series of a family, built once and kept for as long as the series lives.
 *
 * A client hands out its series in the order in which they were made, so texts are kept in that order and found by
 * their place. Whether a text is still that of the series in its place is decided by what it was made from, names and
 * values of all labels, and by nothing else: a label object can be changed by its owner, replaced by an equal one with
 * every `set`, or come back under another series.
 */
import type { LabelValues } from "./labelText.js"
import { Writer } from "./writer.js"

/** What the text of a series is made from. */
export interface Labelled {
  readonly metricName?: string | undefined
  readonly labels?: LabelValues | undefined
}

/** Texts, one after the other, with what each of them was made from. Those that are there never change. */
export class Texts {
  count = 0
  readonly bytes = new Writer()
  private readonly ends: Array<number> = []
  // For each text the names of its labels, the name of the series, and the values of its labels.
  private readonly parts: Array<unknown> = []
  private readonly partEnds: Array<number> = []
  // One list of names for all texts that have the same.
  private readonly names = new Map<string, ReadonlyArray<string>>()
  // Built, but not written yet: the characters of many texts become bytes in one piece.
  private pending: Array<string> = []

  /** How long the texts from that place on are together, in bytes. */
  lengthFrom(place: number): number {
    return this.bytes.length - this.start(place)
  }

  /** Where a text begins. */
  start(place: number): number {
    return place === 0 ? 0 : (this.ends[place - 1] as number)
  }

  /** Where a text ends. */
  end(place: number): number {
    return this.ends[place] as number
  }

  /** Whether the text in that place is the one of `sample`. */
  holds(place: number, sample: Labelled): boolean {
    const { parts } = this
    let at = place === 0 ? 0 : (this.partEnds[place - 1] as number)
    const names = parts[at] as ReadonlyArray<string>
    if (parts[at + 1] !== sample.metricName) return false
    at += 2
    let index = 0
    const { labels } = sample
    for (const name in labels) {
      if (names[index] !== name || parts[at + index] !== labels[name]) return false
      index += 1
    }
    return index === names.length
  }

  /** Adds the text of `sample`. It is there after `flush`. */
  add({ metricName, labels }: Labelled, text: string): void {
    const names: Array<string> = []
    const values: Array<unknown> = []
    for (const name in labels) {
      names.push(name)
      values.push(comparable(labels[name]))
    }
    this.parts.push(this.known(names), metricName, ...values)
    this.partEnds.push(this.parts.length)
    this.pending.push(text)
    this.count += 1
  }

  private known(names: ReadonlyArray<string>): ReadonlyArray<string> {
    const key = names.join()
    const known = this.names.get(key) ?? names
    this.names.set(key, known)
    return known
  }

  /** Writes what was added. */
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

  /** Adds the text in that place of `other`. */
  adopt(other: Texts, place: number): void {
    this.flush()
    const first = place === 0 ? 0 : (other.partEnds[place - 1] as number)
    for (let at = first; at < (other.partEnds[place] as number); at += 1) this.parts.push(other.parts[at])
    this.partEnds.push(this.parts.length)
    this.bytes.copy(other.bytes, other.start(place), other.end(place))
    this.ends.push(this.bytes.length)
    this.count += 1
  }

  /** The first so many of them, apart from these. */
  first(count: number): Texts {
    const texts = new Texts()
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

// What an object says of itself can change. NaN equals nothing, not even itself.
const comparable = (value: unknown): unknown =>
  typeof value === "object" || typeof value === "function" ? Number.NaN : value

// How far ahead of its place a series is looked for, whatever it costs.
const near = 8

/**
 * One walk along the series of a family. Afterwards `texts` are those of the series that were met, in their order, and
 * of no others.
 *
 * Several walks can be on their way at the same time: texts that are kept are only ever added to, and a walk that finds
 * series gone makes texts of its own.
 */
export class Walk<A extends Labelled = never> {
  texts: Texts
  private place = 0
  private old: Texts | undefined
  private oldPlace = 0
  private budget = 0

  /** A walk that begins with the texts of the last one. */
  constructor(
    last: { readonly texts: Texts } | undefined,
    private readonly build: (sample: A) => string
  ) {
    this.texts = last?.texts ?? new Texts()
  }

  /** Goes on to these samples. Their texts are in the places from the one that comes back. */
  meet(samples: ReadonlyArray<A>): number {
    const first = this.place
    try {
      for (const sample of samples) {
        if (!this.isInPlace(sample)) this.provide(sample)
        this.place += 1
      }
    } finally {
      // Also of a family that fails half way: what was added stays for the next walk.
      this.texts.flush()
    }
    return first
  }

  /** There are no more. */
  end(): this {
    if (this.place < this.texts.count) this.texts = this.texts.first(this.place)
    this.old = undefined
    return this
  }

  private isInPlace(sample: A): boolean {
    return this.place < this.texts.count && this.texts.holds(this.place, sample)
  }

  private provide(sample: A): void {
    if (this.place < this.texts.count) {
      // Another series stood here before: from now on the texts are put together anew.
      this.old = this.texts
      this.oldPlace = this.place
      this.budget = this.old.count
      this.texts = this.old.first(this.place)
    }
    const found = this.find(sample)
    if (this.old !== undefined && found !== undefined) {
      this.texts.adopt(this.old, found)
      this.oldPlace = found + 1
    } else this.texts.add(sample, this.build(sample))
  }

  // Further away only as long as all searches together look at no more texts than there are.
  private find(sample: A): number | undefined {
    const { old } = this
    if (old === undefined) return undefined
    for (let place = this.oldPlace; place < old.count; place += 1) {
      if (place >= this.oldPlace + near) {
        if (this.budget <= 0) return undefined
        this.budget -= 1
      }
      if (old.holds(place, sample)) return place
    }
    return undefined
  }
}
