/**
 * Metrics of Effect's own registry as families of Prometheus. What of it never changes, names, labels and bounds, is worked
 * out once for each metric; its value is read at the scrape.
 */
import type * as MetricHook from "effect/MetricHook"
import type * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import { identityOf, wellFormed } from "./effectNames.js"
import type { Described } from "./effectShapes.js"
import type { Sample } from "./encoder.js"
import type { CumulativeSeries } from "./histogram.js"
import type { LabelTexts, LabelValues } from "./labelText.js"
import { labelText } from "./labelText.js"
import type { SourceFamily } from "./sources.js"

/** What Effect keeps of a metric, as far as it is read. */
export type Hook = Pick<MetricHook.MetricHook.Root, "get">

/** A metric of Effect. There are several of one series where their tags are in another order, or where it was made again. */
interface Part {
  readonly hook: Hook
  /** What its observations are divided by. */
  readonly divisor: number
}

interface Series {
  readonly labels: LabelValues
  readonly bounds: ReadonlyArray<number>
  readonly addable: boolean
  readonly parts: Array<Part>
}

/** A family that is made of metrics of Effect. */
export class EffectFamily implements SourceFamily {
  readonly name: string
  readonly type: SourceFamily["type"]
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
    return this.description ?? `${this.subject}, which has no description.`
  }

  get upperBounds(): ReadonlyArray<number> | undefined {
    return this.type === "histogram" && this.isUniform ? this.all[0]?.bounds : undefined
  }

  /** Takes in a metric, or tells in a sentence why it cannot. */
  add(metric: Described, hook: Hook, defaults: LabelTexts | undefined): string | undefined {
    const { bounds, description, divisor, kind, subject } = metric
    if (kind !== this.kind) return `${subject} is left out: ${this.subject} has its name ${this.name} already`
    const identity = identityOf(metric.labels, defaults)
    const known = this.byLabels.get(identity)
    const addable = metric.isSum && known?.addable !== false && isSame(known?.bounds ?? bounds, bounds)
    const labels = Object.fromEntries(metric.labels)
    if (known !== undefined && !addable) {
      return `${subject} is left out where there is another {${labelText(labels)}} of the family ${this.name}`
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

  /** The series of a histogram. */
  *series(size: number): Generator<ReadonlyArray<CumulativeSeries>> {
    // One with other bounds that comes meanwhile must wait for the next time.
    const all = [...this.all]
    for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size).map(distributionOf)
  }

  /** All of its samples, those of a series together. */
  *samples(size: number): Generator<ReadonlyArray<Sample>> {
    // A summary sorts what it holds each time that it is read.
    const most = this.kind === "summary" ? 1 : size
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

// Types alone make them numbers. Where one is none, the sample is left out. All numbers of Prometheus are 64-bit floats:
// the nearest one to a bigint.
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
      const state = hook.get() as MetricState.MetricState.Counter<number> | MetricState.MetricState.Gauge<number>
      return "count" in state ? state.count : state.value
    })
  )

function* occurrencesOf({ labels, parts }: Series): Generator<Sample> {
  const counts = new Map<unknown, number>()
  for (const { hook } of parts) {
    for (const [occurrence, count] of (hook.get() as MetricState.MetricState.Frequency).occurrences) {
      const key = keyOf(occurrence)
      counts.set(key, (counts.get(key) ?? 0) + count)
    }
  }
  for (const [key, value] of counts) yield { labels: { ...labels, key }, value }
}

// What cannot be a text stays as it is, and its sample is left out.
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
  const { count, quantiles, sum } = part.hook.get() as MetricState.MetricState.Summary
  for (const [at, [quantile, value]] of quantiles.entries()) {
    // They are sorted. One that was asked for twice is there once.
    if (quantile === quantiles[at - 1]?.[0]) continue
    yield { labels: { ...labels, quantile }, value: Option.getOrElse(value, () => Number.NaN) }
  }
  yield { metricName: `${name}_sum`, labels, value: sum }
  yield { metricName: `${name}_count`, labels, value: count }
}

// In each of them are those below as well. What is in none, a NaN, is in the one up to infinity, which is their count.
const distributionOf = ({ bounds, labels, parts }: Series): CumulativeSeries => {
  const cumulative: Array<number> = bounds.map(() => 0)
  const sums: Array<unknown> = []
  let count = 0
  for (const { divisor, hook } of parts) {
    const state = hook.get() as MetricState.MetricState.Histogram
    for (let at = 0; at < cumulative.length; at += 1) {
      cumulative[at] = (cumulative[at] ?? 0) + (state.buckets[at]?.[1] ?? 0)
    }
    sums.push(typeof state.sum === "number" ? state.sum / divisor : state.sum)
    count += state.count
  }
  return { labels, cumulative, sum: sumOf(sums), count }
}

function* bucketsOf(name: string, series: Series): Generator<Sample> {
  const { labels } = series
  const { count, cumulative, sum } = distributionOf(series)
  for (const [at, value] of cumulative.entries()) {
    yield { metricName: `${name}_bucket`, labels: { le: series.bounds[at], ...labels }, value }
  }
  yield { metricName: `${name}_bucket`, labels: { le: "+Inf", ...labels }, value: count }
  yield { metricName: `${name}_sum`, labels, value: sum }
  yield { metricName: `${name}_count`, labels, value: count }
}
