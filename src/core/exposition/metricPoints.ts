/**
 * The samples of a histogram or a summary, put together to the points that they are of: the buckets or quantiles of a
 * series, its sum and its count. They come back in the order that both formats ask for, without what `sampleRules` forbid.
 */
import type { FamilyInfo, Sample, Style } from "./encoder.js"
import type { LabelValues } from "./labelText.js"
import type { Rule } from "./sampleRules.js"
import { isIn } from "./sampleRules.js"

interface Point {
  /** Those of its first sample. */
  readonly labels: LabelValues
  readonly ranked: Array<Ranked>
  sum: Sample | undefined
  count: Sample | undefined
}

/** A bucket with its upper bound, or the value of a quantile. */
interface Ranked {
  readonly rank: number
  readonly sample: Sample
}

// About how many samples come back at once, as long as no point alone has more.
const pieceSize = 512

/** The samples to write, in pieces. None comes back before all have been read: those of a point need not be together. */
export function* pointsOf(
  pieces: Iterable<ReadonlyArray<Sample>>,
  family: FamilyInfo,
  style: Style
): Generator<ReadonlyArray<Sample>> {
  const { name, type } = family
  const isHistogram = type === "histogram"
  const points = new Points(isHistogram ? `${name}_bucket` : name, isHistogram ? "le" : "quantile", name)
  for (const piece of pieces) {
    for (const sample of piece) if (!points.add(sample)) style.leaveOut(name, "labels")
    yield []
  }
  const sound = isHistogram ? soundHistogram : soundSummary
  const { all } = points
  for (let start = 0, end = 0; start < all.length; start = end) {
    for (let size = 0; end < all.length && size < pieceSize; end += 1) size += (all[end]?.ranked.length ?? 0) + 2
    yield all.slice(start, end).flatMap((point) => sound(point, name, style))
  }
}

/** The points of a family, by the labels that their samples share. */
class Points {
  readonly all: Array<Point> = []
  private readonly byIdentity = new Map<string, Point>()
  private readonly sumName: string
  private readonly countName: string
  private last: Point | undefined

  constructor(
    private readonly rankedName: string,
    private readonly rankLabel: string,
    private readonly name: string
  ) {
    this.sumName = `${name}_sum`
    this.countName = `${name}_count`
  }

  /** Whether the sample is one of the family. */
  add(sample: Sample): boolean {
    const { metricName = this.name } = sample
    const labels = sample.labels ?? {}
    const isRanked = metricName === this.rankedName
    if (!isRanked && ((metricName !== this.sumName && metricName !== this.countName) || this.rankLabel in labels)) {
      return false
    }
    const rank = isRanked ? rankOf(labels[this.rankLabel]) : undefined
    const point = this.pointOf(labels, rank)
    if (point === undefined) return false
    if (rank !== undefined) point.ranked.push({ rank, sample })
    else if (metricName === this.sumName) point.sum ??= sample
    else point.count ??= sample
    return true
  }

  private pointOf(labels: LabelValues, rank: number | undefined): Point | undefined {
    const { last, rankLabel } = this
    if (last !== undefined && haveSame(labels, last.labels, rankLabel)) {
      return isAgain(last, rank) ? this.begin(labels, identityOf(labels, rankLabel)) : last
    }
    const identity = identityOf(labels, rankLabel)
    const known = identity === undefined ? undefined : this.byIdentity.get(identity)
    this.last = known !== undefined && !isAgain(known, rank) ? known : this.begin(labels, identity)
    return this.last
  }

  private begin(labels: LabelValues, identity: string | undefined): Point | undefined {
    if (identity === undefined) return undefined
    const point = { labels, ranked: [], sum: undefined, count: undefined }
    this.byIdentity.set(identity, point)
    this.all.push(point)
    this.last = point
    return point
  }
}

// Whether a point is whole, and begins anew: labels that their owner has changed may be those of another series.
const isAgain = ({ count, ranked, sum }: Point, rank: number | undefined): boolean =>
  sum !== undefined && count !== undefined && rank !== undefined && ranked[0]?.rank === rank

// Most samples follow others of their point.
const haveSame = (some: LabelValues, others: LabelValues, but: string): boolean => {
  if (some === others) return true
  let count = 0
  for (const name in some) {
    if (name === but) continue
    if (some[name] !== others[name]) return false
    count += 1
  }
  for (const name in others) if (name !== but) count -= 1
  return count === 0
}

const identityOf = (labels: LabelValues, but: string): string | undefined => {
  try {
    const names = Object.keys(labels).filter((name) => name !== but)
    return JSON.stringify(names.sort().map((name) => [name, String(labels[name])]))
  } catch {
    return undefined
  }
}

/** A label as a number: the upper bound of a bucket, or a quantile. */
export const rankOf = (label: unknown): number => {
  if (typeof label === "string" && label.trim() !== "") return Number(label.replace(/Inf$/, "Infinity"))
  return typeof label === "number" || typeof label === "bigint" ? Number(label) : Number.NaN
}

// Any other value than a number is one that no sample has.
const numberOf = (value: unknown): number | undefined => {
  if (typeof value === "number") return value
  return typeof value === "bigint" ? Number(value) : undefined
}

const withValue = (sample: Sample, value: number): Sample =>
  Object.is(sample.value, value) ? sample : { ...sample, value }

// What is no number comes first.
const byRank = (one: Ranked, other: Ranked): number => placeOf(one) - placeOf(other)

const placeOf = ({ rank }: Ranked): number =>
  rank >= -Number.MAX_VALUE ? Math.min(rank, Number.MAX_VALUE) : -Number.MAX_VALUE

// In both formats a series has all of its buckets, or is no histogram.
const soundHistogram = (point: Point, name: string, style: Style): ReadonlyArray<Sample> => {
  const buckets = bucketsOf(point, name)
  const sound = typeof buckets === "string" ? buckets : checkedBuckets(buckets, point, style)
  if (typeof sound !== "string") return [...sound, ...sumAndCount(point, sound, name, style)]
  style.leaveOut(name, sound)
  return []
}

// The buckets in order, the last of which is up to infinity; or the rule that they break.
const bucketsOf = ({ count, labels, ranked }: Point, name: string): ReadonlyArray<Ranked> | Rule => {
  if (ranked.some(({ rank }) => Number.isNaN(rank))) return "bounds"
  const sorted = [...ranked].sort(byRank)
  const infinite = sorted.filter(({ rank }) => rank === Number.POSITIVE_INFINITY)
  const finite = sorted.slice(0, sorted.length - infinite.length)
  if (finite.some(({ rank }, at) => rank === finite[at - 1]?.rank)) return "bounds"
  const last = infinite.at(-1)?.sample ?? count
  if (last === undefined || infinite.some(({ sample }) => sample.value !== last.value)) return "buckets"
  const { le: _, ...others } = labels
  const exemplar = infinite.flatMap(({ sample }) => sample.exemplar ?? []).at(-1)
  const isWritten = infinite.length === 1 && last.labels?.["le"] === "+Inf"
  const up = isWritten
    ? last
    : { metricName: `${name}_bucket`, labels: { le: "+Inf", ...others }, value: last.value, exemplar }
  return [...finite, { rank: Number.POSITIVE_INFINITY, sample: up }]
}

const checkedBuckets = (
  buckets: ReadonlyArray<Ranked>,
  { count, sum }: Point,
  { format }: Style
): ReadonlyArray<Sample> | Rule => {
  const samples: Array<Sample> = []
  let below = 0
  for (const { sample } of buckets) {
    const value = numberOf(sample.value)
    const rule = value === undefined ? "value" : bucketRule(value, below, isIn(format, "wholeCount"))
    if (rule !== undefined || value === undefined) return rule ?? "value"
    samples.push(withValue(sample, value))
    below = value
  }
  if (sum !== undefined && numberOf(sum.value) === undefined) return "value"
  if (count !== undefined && numberOf(count.value) !== below)
    return numberOf(count.value) === undefined ? "value" : "buckets"
  return samples
}

/** The rule that the value of a bucket breaks, after one with the value `below`. */
export const bucketRule = (value: number, below: number, isWhole: boolean): Rule | undefined => {
  if (!(value >= below)) return "buckets"
  return isWhole && !Number.isInteger(value) ? "wholeCount" : undefined
}

/** The rule for which a histogram with that sum, and that lowest bound, has no sum and no count in OpenMetrics. */
export const sumRule = (sum: number, lowest: number): Rule | undefined => {
  if (lowest < 0) return "negativeBounds"
  return sum >= 0 ? undefined : "sum"
}

const sumAndCount = (
  { count, ranked, sum }: Point,
  buckets: ReadonlyArray<Sample>,
  name: string,
  { format, leaveOut }: Style
): ReadonlyArray<Sample> => {
  const total = buckets.at(-1)?.value ?? 0
  const counted = count === undefined ? [] : [withValue(count, total)]
  const sumValue = numberOf(sum?.value)
  if (sum === undefined || sumValue === undefined) return format === "text" ? counted : []
  const both = [
    withValue(sum, sumValue),
    ...(count === undefined ? [{ ...sum, metricName: `${name}_count`, value: total }] : counted)
  ]
  const lowest = ranked.reduce((least, { rank }) => Math.min(least, rank), Number.POSITIVE_INFINITY)
  const rule = sumRule(sumValue, lowest)
  if (rule === undefined || !isIn(format, rule)) return both
  leaveOut(name, rule)
  return []
}

// Each sample of a summary can do without the others.
const soundSummary = (
  { count, ranked, sum }: Point,
  name: string,
  { format, leaveOut }: Style
): ReadonlyArray<Sample> => {
  const samples: Array<Sample> = []
  const add = (sample: Sample | undefined, ruleOf: (value: number) => Rule | undefined): void => {
    if (sample === undefined) return
    const value = numberOf(sample.value)
    const rule = value === undefined ? "value" : ruleOf(value)
    if (rule !== undefined && isIn(format, rule)) leaveOut(name, rule)
    else samples.push(withValue(sample, value as number))
  }
  let last = -1
  for (const { rank, sample } of [...ranked].sort(byRank)) {
    const isQuantile = rank > last && rank >= 0 && rank <= 1
    if (isQuantile) last = rank
    add(sample, (value) => (!isQuantile ? "quantile" : value < 0 ? "negativeQuantile" : undefined))
  }
  add(sum, (value) => (!(value >= 0) ? "sum" : undefined))
  add(count, (value) => (!(value >= 0) ? "count" : !Number.isInteger(value) ? "wholeCount" : undefined))
  return samples
}
