/** Statistics of arbitrary registries, by which a generator of trivial ones is noticed. */
import type { Kind, Labels, MetricSpec, RegistrySpec } from "./arbitraryRegistries.js"

/** Counts the contents of registries. */
export class RegistryStatistics {
  registries = 0
  /** Those without a metric. */
  empty = 0
  series = 0
  /** The most series of one registry. */
  largest = 0
  /** Those with 200 series or more. */
  large = 0
  exemplars = 0
  /** Families whose name conflicts with another. */
  clashing = 0
  readonly kinds: Record<Kind, number> = { counter: 0, gauge: 0, histogram: 0, summary: 0 }
  readonly numbers = { NaN: 0, "+Inf": 0, "-Inf": 0, "-0": 0, subnormal: 0, huge: 0 }
  /** The characters of label values and help, each counted once, and lone surrogates. */
  private readonly codePoints = new Set<number>()

  static of(specs: ReadonlyArray<RegistrySpec>): RegistryStatistics {
    const census = new RegistryStatistics()
    for (const spec of specs) census.add(spec)
    return census
  }

  add({ defaults, metrics }: RegistrySpec): void {
    this.registries += 1
    if (metrics.length === 0) this.empty += 1
    const series = metrics.reduce((sum, { labelNames, series }) => sum + (labelNames.length > 0 ? series.length : 1), 0)
    this.series += series
    this.largest = Math.max(this.largest, series)
    if (series >= 200) this.large += 1
    this.readLabels(defaults)
    for (const metric of metrics) this.addMetric(metric, metrics)
  }

  private addMetric({ help, kind, name, series }: MetricSpec, all: ReadonlyArray<MetricSpec>): void {
    this.kinds[kind] += 1
    if (all.some((other) => other.name !== name && isInTheWay(name, other))) this.clashing += 1
    this.read(help)
    for (const { exemplar, labels, values } of series) {
      this.readLabels(labels)
      for (const value of values) this.countNumber(value)
      if (exemplar === undefined) continue
      this.exemplars += 1
      this.readLabels(exemplar)
    }
  }

  private countNumber(value: number): void {
    const size = Math.abs(value)
    if (Number.isNaN(value)) this.numbers.NaN += 1
    if (value === Number.POSITIVE_INFINITY) this.numbers["+Inf"] += 1
    if (value === Number.NEGATIVE_INFINITY) this.numbers["-Inf"] += 1
    if (Object.is(value, -0)) this.numbers["-0"] += 1
    if (size > 0 && size < smallestNormal) this.numbers.subnormal += 1
    if (size >= 1e300 && Number.isFinite(size)) this.numbers.huge += 1
  }

  private readLabels(labels: Labels): void {
    for (const text of Object.values(labels)) this.read(text)
  }

  private read(text: string): void {
    for (const character of text) this.codePoints.add(character.codePointAt(0) ?? 0)
  }

  get characters(): number {
    return this.codePoints.size
  }

  toString(): string {
    const listed = (counts: Readonly<Record<string, number>>): string =>
      Object.entries(counts)
        .map(([name, count]) => `${count} ${name}`)
        .join(", ")
    return [
      `${this.registries} registries (${this.empty} empty, ${this.large} of 200 series or more, the largest of ${this.largest})`,
      `${this.series} series in ${listed(this.kinds)}`,
      `${this.clashing} names that clash, ${this.exemplars} exemplars`,
      `${this.characters} different characters`,
      `numbers: ${listed(this.numbers)}`
    ].join("; ")
  }
}

const smallestNormal = 2.2250738585072014e-308

const suffixes = ["_created", "_sum", "_count", "_bucket", ""]

const isInTheWay = (name: string, other: MetricSpec): boolean => {
  const family = other.kind === "counter" ? other.name.replace(/_total$/, "") : other.name
  return suffixes.some((suffix) => name === family + suffix)
}
