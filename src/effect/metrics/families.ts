/**
 * Names, labels and bounds of Effect's metrics never change: they are computed once. The value is read at the scrape.
 */
import { type LabelTexts, type LabelValues, labelText } from "../../core/exposition/labelText.js"
import type { FamilySnapshot, HistogramSeries, Layout, Sample } from "../../core/exposition/model.js"
import { pieceSize } from "../../core/exposition/model.js"
import type { SourceFamily } from "../../core/exposition/sources.js"
import type { Described, FamilyType } from "./describe.js"
import type { Hook } from "./model.js"
import { identityOf, wellFormed } from "./names.js"

/** A series has several parts if their tags are in a different order, or if the metric was created again. */
interface Part {
  readonly hook: Hook
  readonly divisor: number
}

interface Series {
  readonly labels: LabelValues
  readonly bounds: ReadonlyArray<number>
  readonly addable: boolean
  readonly parts: Array<Part>
}

export class EffectFamily implements SourceFamily {
  readonly identity = this
  readonly name: string
  readonly type: FamilyType
  readonly subject: string
  private readonly kind: Described["kind"]
  private readonly all: Array<Series> = []
  private readonly byLabels = new Map<string, Series>()
  private description: string | undefined
  private isUniform = true

  constructor({ kind, name, type, subject }: Described) {
    this.name = name
    this.type = type
    this.subject = subject
    this.kind = kind
  }

  get help(): string {
    return this.description ?? `${this.subject}, without a description.`
  }

  read(layout: Layout): FamilySnapshot {
    const { help, name, type } = this
    const isSeries = layout === "series" && type === "histogram" && this.isUniform
    const upperBounds = isSeries ? this.all[0]?.bounds : undefined
    return upperBounds === undefined
      ? { name, help, type, samples: this.samples() }
      : { name, help, type, upperBounds, series: this.series() }
  }

  /** Returns a sentence with the reason if the metric cannot be added. */
  add(metric: Described, hook: Hook, defaults: LabelTexts | undefined): string | undefined {
    const { bounds, description, divisor, kind, subject } = metric
    if (kind !== this.kind) return `${subject} is left out: ${this.subject} already has the name ${this.name}`
    const identity = identityOf(metric.labels, defaults)
    const known = this.byLabels.get(identity)
    const addable = metric.isSum && known?.addable !== false && isSame(known?.bounds ?? bounds, bounds)
    const labels = Object.fromEntries(metric.labels)
    if (known !== undefined && !addable) {
      return `${subject} is left out: the family ${this.name} already has the series {${labelText(labels)}}`
    }
    this.description ??= description
    if (known !== undefined) {
      known.parts.push({ hook, divisor })
      return undefined
    }
    const made = { labels, bounds, addable: metric.isSum, parts: [{ hook, divisor }] }
    this.isUniform &&= isSame(this.all[0]?.bounds ?? bounds, bounds)
    this.all.push(made)
    this.byLabels.set(identity, made)
    return undefined
  }

  private *series(): Generator<ReadonlyArray<HistogramSeries>> {
    // A series with other bounds that is added during this exposition must wait for the next one.
    const all = [...this.all]
    for (let at = 0; at < all.length; at += pieceSize) yield all.slice(at, at + pieceSize).map(distributionOf)
  }

  // The samples of a series are next to each other.
  private *samples(): Generator<ReadonlyArray<Sample>> {
    // A summary sorts its observations at each reading.
    const most = this.kind === "summary" ? 1 : pieceSize
    let piece: Array<Sample> = []
    for (const series of this.all) {
      for (const sample of this.samplesOf(series)) {
        piece.push(sample)
        if (piece.length < most) continue
        yield piece
        piece = []
      }
    }
    yield piece
  }

  private samplesOf(series: Series): Iterable<Sample> {
    if (this.kind === "frequency") return occurrencesOf(series)
    if (this.kind === "summary") return quantilesOf(this.name, series)
    if (this.kind === "histogram") return bucketsOf(this.name, series)
    return [{ labels: series.labels, value: totalOf(series) }]
  }
}

const isSame = (some: ReadonlyArray<number>, others: ReadonlyArray<number>): boolean =>
  some.length === others.length && some.every((bound, at) => bound === others[at])

// The values are numbers only by their types. A sample with any other value is left out. All numbers of Prometheus are
// 64-bit floats, so a bigint becomes the nearest one.
const sumOf = (values: ReadonlyArray<unknown>): number => {
  const [first, ...others] = values.map((value) => (typeof value === "bigint" ? Number(value) : value)) as Array<number>
  return [first, ...others].every((value) => typeof value === "number")
    ? others.reduce((sum, other) => sum + other, first as number)
    : notANumber
}

const notANumber = undefined as unknown as number

const totalOf = ({ parts }: Series): number =>
  sumOf(
    parts.map(({ hook }) => {
      const state = hook.get()
      return "count" in state ? state.count : state.value
    })
  )

function* occurrencesOf({ labels, parts }: Series): Generator<Sample> {
  const counts = new Map<unknown, number>()
  for (const { hook } of parts) {
    for (const [occurrence, count] of hook.get().occurrences ?? []) {
      const key = keyOf(occurrence)
      counts.set(key, (counts.get(key) ?? 0) + count)
    }
  }
  for (const [key, value] of counts) yield { labels: { ...labels, key }, value }
}

// A key that cannot be converted to a string is kept, and its sample is left out.
const keyOf = (occurrence: unknown): unknown => {
  try {
    return wellFormed(String(occurrence))
  } catch {
    return occurrence
  }
}

function* quantilesOf(name: string, { labels, parts }: Series): Generator<Sample> {
  const [part] = parts
  if (part === undefined) return
  const { count, quantiles = [], sum } = part.hook.get()
  for (const [at, [quantile, value]] of quantiles.entries()) {
    // The quantiles are sorted. A quantile that is configured twice is written once.
    if (quantile === quantiles[at - 1]?.[0]) continue
    yield { labels: { ...labels, quantile }, value: value ?? Number.NaN }
  }
  yield { metricName: `${name}_sum`, labels, value: sumOf([sum]) }
  yield { metricName: `${name}_count`, labels, value: sumOf([count]) }
}

// Effect's buckets are cumulative. A NaN is only in `+Inf`, which has the count of all observations.
const distributionOf = ({ bounds, labels, parts }: Series): HistogramSeries => {
  const buckets: Array<number> = bounds.map(() => 0)
  const sums: Array<unknown> = []
  let count = 0
  for (const { divisor, hook } of parts) {
    const state = hook.get()
    for (let at = 0; at < buckets.length; at += 1) {
      buckets[at] = (buckets[at] ?? 0) + (state.buckets?.[at]?.[1] ?? 0)
    }
    sums.push(typeof state.sum === "number" ? state.sum / divisor : state.sum)
    count += Number(state.count)
  }
  buckets.push(count)
  return { labels, buckets, sum: sumOf(sums), count }
}

function* bucketsOf(name: string, series: Series): Generator<Sample> {
  const { labels } = series
  const { buckets, count, sum } = distributionOf(series)
  for (const [at, value] of buckets.entries()) {
    yield { metricName: `${name}_bucket`, labels: { le: series.bounds[at] ?? "+Inf", ...labels }, value }
  }
  yield { metricName: `${name}_sum`, labels, value: sum }
  yield { metricName: `${name}_count`, labels, value: count }
}
