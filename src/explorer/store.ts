/** The families of the last exposition, and how they have changed since the first one. */
import { History } from "./history.js"
import {
  type Distribution,
  type Family,
  isDistribution,
  isGauge,
  type Kind,
  kinds,
  linesOf,
  type Series
} from "./model.js"
import { familyRank } from "./order.js"
import { type Labels, labelsOf, type Sink } from "./parse.js"
import { boundLabels, type Part, partOf, suffixOf } from "./parts.js"
import { addPoint, sortPoints } from "./points.js"
import { Recent, SnapshotTimes } from "./recent.js"

interface Slot {
  readonly family: Family
  readonly series: Series
  readonly part: Part
  seen: number
}

// The histories of series take two megabytes at most, and those of families as much again.
const mostHistories = 2_000

// The names of families that were in an earlier exposition and are missing.
const mostMissing = 10_000

// The number of series that are processed between two checks of the clock.
const atOnce = 512

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

// A slice of a string keeps the whole string in memory, an exposition of megabytes.
const ownCopy = (text: string): string => decoder.decode(encoder.encode(text))

/** Receives one exposition after the other. */
export class Store implements Sink {
  readonly families = new Map<string, Family>()
  /** The number of expositions so far. */
  looks = 0
  unreadLines = 0
  /** Series, as Prometheus counts them. */
  lines = 0
  changed = 0
  private readonly slots = new Map<string, Slot>()
  private current: Family | undefined
  private readonly helps = new Map<string, string>()
  private histories = 0
  private familyHistories = 0
  private at = 0
  private elapsed = 0
  private followed = 0
  private readonly times = new SnapshotTimes()
  private readonly missing = new Set<string>()

  /** How long ago the numbers are from which the last minute is calculated, in seconds; 0 if there is only one exposition. */
  get window(): number {
    return this.times.baseline === undefined ? 0 : (this.at - this.times.baseline) / 1e3
  }

  /** Another exposition begins; its time is in milliseconds. */
  begin(at: number): void {
    this.elapsed = this.looks === 0 ? 0 : (at - this.at) / 1e3
    this.at = at
    this.times.begin(at)
    this.looks += 1
    this.unreadLines = 0
    this.lines = 0
    this.current = undefined
  }

  readonly help = (name: string, text: string): void => {
    const family = this.families.get(name)
    this.helps.set(name, text)
    if (family !== undefined && family.help !== text) described(family, text)
  }

  readonly type = (name: string, type: string): void => {
    const kind = kinds.find((known) => known === type) ?? "untyped"
    this.current = this.family(name, kind)
    this.current.seen = this.looks
  }

  readonly unread = (): void => {
    this.unreadLines += 1
  }

  readonly sample = (key: string, nameLength: number, value: number): void => {
    const known = this.slots.get(key)
    const slot = known === undefined || known.family.isGone ? this.newSlot(ownCopy(key), nameLength, value) : known
    if (slot === undefined) {
      this.unread()
      return
    }
    if (slot.seen === this.looks) return
    slot.seen = this.looks
    slot.series.seen = this.looks
    slot.family.seen = this.looks
    this.lines += 1
    if (slot.part === "value" || slot.part === "count") slot.series.value = value
    else if (slot.part === "sum" && slot.series.distribution !== undefined) slot.series.distribution.sum = value
    else if (typeof slot.part === "object") slot.part.value = value
  };

  /** The exposition is complete: what was not in it is removed. Yields every few hundred series, as `reading` does. */
  *ending(): Generator<void, void> {
    if (this.lines < this.slots.size) this.sweep()
    this.changed = 0
    for (const [name, family] of this.families) {
      if (family.seen !== this.looks) {
        this.families.delete(name)
        this.forgetFamily(family)
        if (this.missing.size < mostMissing) this.missing.add(name)
        continue
      }
      yield* this.follow(family)
      if (family.hasChanged) this.changed += 1
    }
    this.helps.clear()
  }

  private family(name: string, kind: Kind): Family {
    const known = this.families.get(name)
    if (known?.kind === kind) return known
    if (known !== undefined) {
      known.isGone = true
      this.forgetFamily(known)
    }
    const isResumed = this.missing.delete(name) || known !== undefined || this.looks === 1
    const fresh: Family = {
      ...{
        name,
        kind,
        rank: familyRank(name),
        suffix: "",
        help: "",
        text: "",
        series: new Map(),
        lines: 0,
        hasChanged: false,
        total: Number.NaN
      },
      ...{ history: undefined, seen: this.looks, resumedIn: isResumed ? this.looks : 0, isGone: false }
    }
    described(fresh, this.helps.get(name) ?? "")
    this.families.set(name, fresh)
    return fresh
  }

  // Even if other families are in between, its type stays the declared one.
  private familyNamed(name: string): Family {
    const known = this.families.get(name)
    return this.family(name, known?.seen === this.looks ? known.kind : "untyped")
  }

  private newSlot(key: string, nameLength: number, value: number): Slot | undefined {
    const name = key.slice(0, nameLength)
    const suffix = this.current === undefined ? undefined : suffixOf(this.current, name)
    const family = this.current === undefined || suffix === undefined ? this.familyNamed(name) : this.current
    const labels = labelsOf(key, nameLength)
    // A series that appears later started at 0.
    const first = family.resumedIn === this.looks ? value : 0
    const part = partOf(family.kind, suffix ?? "", labels, { value, first })
    if (part === undefined) return undefined
    const own = isDistribution(family.kind) ? labels.filter(([label]) => label !== boundLabels[family.kind]) : labels
    const series = this.series(family, own)
    if (typeof part === "object" && series.distribution !== undefined) addPoint(series.distribution, part)
    if (part === "sum" && series.distribution !== undefined) series.distribution.firstSum = first
    if (part === "value") family.suffix = suffix ?? ""
    if (part === "value" || part === "count")
      Object.assign(series, { first, previous: isGauge(family.kind) ? value : first })
    const slot: Slot = { family, series, part, seen: 0 }
    this.slots.set(key, slot)
    return slot
  }

  private series(family: Family, labels: Labels): Series {
    const text = labels.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",")
    const known = family.series.get(text)
    if (known !== undefined) return known
    const recent = new Recent()
    // A series that appears later started at 0.
    const isNew = family.resumedIn !== this.looks
    if (isNew) recent.restart()
    const distribution = isDistribution(family.kind)
      ? { points: [], isInOrder: true, sum: Number.NaN, firstSum: Number.NaN, recent }
      : undefined
    const fresh: Series = {
      ...{ labels, text: searched(labels), value: Number.NaN, previous: Number.NaN, first: Number.NaN },
      ...{ rate: isNew ? 0 : Number.NaN, hasChanged: isNew, history: undefined },
      ...{ appeared: this.looks, seen: this.looks, isUntraced: false, distribution }
    }
    family.series.set(text, fresh)
    return fresh
  }

  private sweep(): void {
    const gone = new Set<unknown>()
    const touched = new Set<Distribution>()
    for (const [key, { seen, part, series }] of this.slots) {
      if (seen === this.looks) continue
      this.slots.delete(key)
      gone.add(part)
      if (series.distribution !== undefined) touched.add(series.distribution)
    }
    for (const distribution of touched) {
      distribution.points = distribution.points.filter((point) => !gone.has(point))
      distribution.recent.renumber(distribution.points)
    }
    for (const { series: all } of this.families.values()) {
      for (const [text, series] of all) {
        if (series.seen === this.looks) continue
        all.delete(text)
        this.forget(series)
      }
    }
  }

  private forgetFamily(family: Family): void {
    for (const series of family.series.values()) this.forget(series)
    if (family.history !== undefined) this.familyHistories -= 1
    family.history = undefined
  }

  private forget(series: Series): void {
    if (series.history === undefined) return
    series.history = undefined
    this.histories -= 1
  }

  private *follow(family: Family): Generator<void, void> {
    let total = 0
    family.lines = 0
    for (const series of family.series.values()) {
      this.followSeries(series, family.kind)
      family.lines += linesOf(series)
      if (series.hasChanged) family.hasChanged = true
      total += series.rate
      this.followed += 1
      if (this.followed % atOnce === 0) yield
    }
    const before = family.total
    family.total = isGauge(family.kind) && family.series.size !== 1 ? Number.NaN : total
    if (family.history === undefined && family.hasChanged && this.familyHistories < mostHistories) {
      this.familyHistories += 1
      family.history = new History()
      family.history.push(before)
    }
    family.history?.push(family.total)
  }

  private followSeries(series: Series, kind: Kind): void {
    const { distribution, previous, rate: before, value } = series
    if (distribution !== undefined) sortPoints(distribution)
    const isChanged = !Object.is(value, previous)
    // A value that decreased was reset.
    const isAnew = value < previous
    if (isAnew) beginAnew(series)
    const grown = isAnew ? value : value - previous
    series.rate = isGauge(kind) ? value : this.elapsed > 0 ? grown / this.elapsed : Number.NaN
    if (isChanged) {
      series.hasChanged = true
      this.beginHistory(series, before)
    }
    series.history?.push(series.rate)
    series.previous = value
    if (distribution !== undefined) this.remember(distribution, value, kind)
  }

  private beginHistory(series: Series, before: number): void {
    if (series.history !== undefined) return
    series.isUntraced = this.histories >= mostHistories
    if (series.isUntraced) return
    this.histories += 1
    series.history = new History()
    series.history.push(before)
  }

  private remember(distribution: Distribution, count: number, kind: Kind): void {
    const { baseline, isDue } = this.times
    if (baseline !== undefined) distribution.recent.trim(baseline)
    // The quantiles of a summary are not counted, so they have no difference.
    const points = kind === "histogram" ? distribution.points : []
    if (isDue) distribution.recent.take(this.at, count, { points, sum: distribution.sum })
  }
}

const beginAnew = (series: Series): void => {
  series.first = 0
  if (series.distribution === undefined) return
  series.distribution.firstSum = 0
  series.distribution.recent.restart()
  for (const point of series.distribution.points) point.first = 0
}

const described = (family: Family, help: string): void => {
  family.help = help
  family.text = `${family.name} ${help}`.toLowerCase()
}

const searched = (labels: Labels): string =>
  labels
    .map(([name, value]) => `${name}="${value}"`)
    .join(",")
    .toLowerCase()
