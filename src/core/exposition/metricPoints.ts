/** Groups the samples of a histogram or a summary by series, in the required order, without those that break a rule. */
import { definitionOf, hasRule, type Style } from "./formats.js"
import type { LabelValues } from "./labelText.js"
import type { FamilyHead, Pieces, Sample } from "./model.js"
import type { Rule } from "./sampleRules.js"

interface Point {
  /** The labels of its first sample. */
  readonly labels: LabelValues
  readonly ranked: Array<Ranked>
  sum: Sample | undefined
  count: Sample | undefined
}

interface Ranked {
  readonly rank: number
  readonly sample: Sample
}

// In samples, approximately. A larger point is not split.
const pieceSize = 512

/** Reads all samples first, because the samples of a point need not be adjacent. */
export function* pointsOf(pieces: Pieces<Sample>, family: FamilyHead, style: Style): Generator<ReadonlyArray<Sample>> {
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

/** By the labels that their samples share. */
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

  /** False if the sample does not belong to the family. */
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

// Another point with the same labels begins: the owner may have changed the labels of a series to those of another.
const isAgain = ({ count, ranked, sum }: Point, rank: number | undefined): boolean =>
  sum !== undefined && count !== undefined && rank !== undefined && ranked[0]?.rank === rank

// Most samples follow others of their point, so this comparison comes before the slower identity.
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

/** The upper bound of a bucket, or a quantile. */
export const rankOf = (label: unknown): number => {
  if (typeof label === "string" && label.trim() !== "") return Number(label.replace(/Inf$/, "Infinity"))
  return typeof label === "number" || typeof label === "bigint" ? Number(label) : Number.NaN
}

// Only numbers can be written.
const numberOf = (value: unknown): number | undefined => {
  if (typeof value === "number") return value
  return typeof value === "bigint" ? Number(value) : undefined
}

const withValue = (sample: Sample, value: number): Sample =>
  Object.is(sample.value, value) ? sample : { ...sample, value }

// NaN comes first.
const byRank = (one: Ranked, other: Ranked): number => placeOf(one) - placeOf(other)

const placeOf = ({ rank }: Ranked): number =>
  rank >= -Number.MAX_VALUE ? Math.min(rank, Number.MAX_VALUE) : -Number.MAX_VALUE

// A series that misses some of its buckets is not a histogram.
const soundHistogram = (point: Point, name: string, style: Style): ReadonlyArray<Sample> => {
  const buckets = withSingleInf(point, name)
  const sound = typeof buckets === "string" ? buckets : checkedBuckets(buckets, point, style)
  if (typeof sound !== "string") return [...sound, ...sumAndCount(point, sound, name, style)]
  style.leaveOut(name, sound)
  return []
}

// With one bucket +Inf at the end; or the rule that they break.
const withSingleInf = ({ count, labels, ranked }: Point, name: string): ReadonlyArray<Ranked> | Rule => {
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
    const rule = value === undefined ? "value" : bucketRule(value, below, hasRule(format, "wholeCount"))
    if (rule !== undefined || value === undefined) return rule ?? "value"
    samples.push(withValue(sample, value))
    below = value
  }
  if (sum !== undefined && numberOf(sum.value) === undefined) return "value"
  if (count !== undefined && numberOf(count.value) !== below)
    return numberOf(count.value) === undefined ? "value" : "buckets"
  return samples
}

/** `below` is the value of the bucket before it. */
export const bucketRule = (value: number, below: number, isWhole: boolean): Rule | undefined => {
  if (!(value >= below)) return "buckets"
  return isWhole && !Number.isInteger(value) ? "wholeCount" : undefined
}

/** `lowest` is the lowest bound. */
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
  if (sum === undefined || sumValue === undefined) return definitionOf(format).countNeedsSum ? [] : counted
  const both = [
    withValue(sum, sumValue),
    ...(count === undefined ? [{ ...sum, metricName: `${name}_count`, value: total }] : counted)
  ]
  const lowest = ranked.reduce((least, { rank }) => Math.min(least, rank), Number.POSITIVE_INFINITY)
  const rule = sumRule(sumValue, lowest)
  if (rule === undefined || !hasRule(format, rule)) return both
  leaveOut(name, rule)
  return []
}

// Each sample of a summary is valid independently of the others.
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
    if (rule !== undefined && hasRule(format, rule)) leaveOut(name, rule)
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
