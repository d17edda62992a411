/** Rules of the formats for a parsed family: the second half of `expositionParser.ts`. */
import { fail, toNumber } from "./expositionScanner.js"

export interface Exemplar {
  readonly labels: ReadonlyMap<string, string>
  readonly value: number
  /** In seconds. */
  readonly timestamp: number | undefined
}

export interface Sample {
  readonly name: string
  readonly labels: ReadonlyMap<string, string>
  readonly value: number
  /** In the unit of the format: milliseconds in text, seconds in OpenMetrics. */
  readonly timestamp: number | undefined
  readonly exemplar: Exemplar | undefined
}

export interface Family {
  readonly name: string
  /** Without a TYPE line `untyped` in text and `unknown` in OpenMetrics. */
  readonly type: string
  /** Empty without a HELP line. */
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

/** The labels of a sample as one string. A label whose value is empty counts as one that is not there. */
const identity = (labels: ReadonlyMap<string, string>, ...without: ReadonlyArray<string>): string =>
  JSON.stringify([...labels].filter(([name, value]) => value !== "" && !without.includes(name)).sort(byName))

const byName = ([a]: readonly [string, string], [b]: readonly [string, string]): number => (a < b ? -1 : 1)

/** No series may be there twice. */
export const checkSeries = ({ samples }: Family): void => {
  const series = new Set<string>()
  for (const { name, labels } of samples) {
    const key = `${name}${identity(labels)}`
    if (series.has(key)) fail(`the series ${key} is there twice`)
    series.add(key)
  }
}

/** Prometheus text 0.0.4, "Histograms and summaries". */
export const checkTextFamily = (family: Family): void => {
  if (family.type === "histogram") {
    for (const metric of metricsOf(family, "le")) checkBuckets(family.name, metric)
  }
  if (family.type === "summary") {
    for (const metric of metricsOf(family, "quantile")) {
      checkIncreasing(thresholds(named(metric, family.name), "quantile"))
    }
  }
}

/** OpenMetrics, "Metric Types" and "Metric types". */
export const checkOpenMetricsFamily = (family: Family): void => {
  const label = family.type === "histogram" ? "le" : "quantile"
  const special = family.type === "histogram" || family.type === "summary" ? [label] : []
  const metrics = metricsOf(family, ...special)
  checkNotInterleaved(family, metrics)
  checkNotReserved(family.name)
  for (const { name, labels, exemplar } of family.samples) {
    for (const label of labels.keys()) checkNotReserved(label)
    if (exemplar !== undefined && !takesExemplar(family, name)) fail(`${name} cannot have an exemplar`)
  }
  for (const metric of metrics) {
    if (family.type === "counter") checkCounter(family.name, metric)
    if (family.type === "histogram") checkHistogram(family.name, metric)
    if (family.type === "summary") checkSummary(family.name, metric)
  }
}

type Metric = ReadonlyArray<Sample>

const metricsOf = ({ samples }: Family, ...special: ReadonlyArray<string>): ReadonlyArray<Metric> => {
  const metrics = new Map<string, Array<Sample>>()
  for (const sample of samples) {
    const key = identity(sample.labels, ...special)
    const metric = metrics.get(key)
    if (metric === undefined) metrics.set(key, [sample])
    else metric.push(sample)
  }
  return [...metrics.values()]
}

// The samples of a metric are adjacent if the metrics, one after the other, are the family.
const checkNotInterleaved = ({ name, samples }: Family, metrics: ReadonlyArray<Metric>): void => {
  if (metrics.flat().some((sample, at) => sample !== samples[at])) fail(`the metrics of ${name} are interleaved`)
}

const checkNotReserved = (name: string): void => {
  if (name.startsWith("_")) fail(`names that begin with an underscore are reserved: ${name}`)
}

const takesExemplar = ({ name, type }: Family, sample: string): boolean =>
  (type === "counter" && sample === `${name}_total`) || (type === "histogram" && sample === `${name}_bucket`)

const named = (metric: Metric, name: string): Metric => metric.filter((sample) => sample.name === name)

const valueIn = (metric: Metric, name: string): number | undefined => named(metric, name)[0]?.value

const thresholds = (samples: Metric, label: string): ReadonlyArray<number> =>
  samples.map(({ name, labels }) => toNumber(labels.get(label) ?? fail(`a sample of ${name} has no label ${label}`)))

const checkIncreasing = (numbers: ReadonlyArray<number>): void => {
  const pairs = numbers.slice(1).map((number, index) => [numbers[index] ?? Number.NaN, number] as const)
  if (!pairs.every(([before, after]) => before < after)) fail(`${numbers.join(", ")} are not in increasing order`)
}

const isCount = (value: number | undefined): boolean => value !== undefined && value >= 0 && Number.isInteger(value)

const checkNotNegative = (name: string, value: number | undefined): void => {
  if (value !== undefined && !(value >= 0)) fail(`${name} is ${value}, which is not a number of 0 or more`)
}

const checkBuckets = (name: string, metric: Metric): void => {
  const buckets = named(metric, `${name}_bucket`)
  checkIncreasing(thresholds(buckets, "le"))
  const last = buckets.at(-1)
  if (last?.labels.get("le") !== "+Inf") fail(`a histogram ${name} has no last bucket +Inf`)
  const counts = buckets.map(({ value }) => value)
  if (!counts.every(isCount)) fail(`the buckets of ${name} are not all counts: ${counts.join(", ")}`)
  if (counts.some((count, index) => count < (counts[index - 1] ?? 0))) fail(`the buckets of ${name} are not cumulative`)
  const count = valueIn(metric, `${name}_count`)
  if (count !== undefined && count !== last?.value) fail(`${name}_count is not the value of the bucket +Inf`)
}

const checkCounter = (name: string, metric: Metric): void => {
  const total = valueIn(metric, `${name}_total`) ?? fail(`a counter ${name} has no total`)
  checkNotNegative(`${name}_total`, total)
}

const checkHistogram = (name: string, metric: Metric): void => {
  checkBuckets(name, metric)
  const sum = valueIn(metric, `${name}_sum`)
  const count = valueIn(metric, `${name}_count`)
  if ((sum === undefined) !== (count === undefined)) fail(`${name} has one of sum and count without the other`)
  checkNotNegative(`${name}_sum`, sum)
  const buckets = named(metric, `${name}_bucket`)
  const bounds = thresholds(buckets, "le")
  if (sum !== undefined && bounds.some((bound) => bound < 0)) fail(`${name} has a sum, and a bucket below 0`)
  buckets.forEach(({ exemplar }, index) => {
    if (exemplar !== undefined && !(exemplar.value <= (bounds[index] ?? Number.NaN))) {
      fail(`an exemplar of ${name} is outside of its bucket: ${exemplar.value}`)
    }
  })
  checkWithout(metric, "le", `${name}_bucket`)
}

const checkSummary = (name: string, metric: Metric): void => {
  const quantiles = named(metric, name)
  if (!thresholds(quantiles, "quantile").every((quantile) => quantile >= 0 && quantile <= 1)) {
    fail(`a quantile of ${name} is not between 0 and 1`)
  }
  for (const { value } of quantiles) {
    if (value < 0) fail(`a quantile of ${name} is negative: ${value}`)
  }
  checkNotNegative(`${name}_sum`, valueIn(metric, `${name}_sum`))
  const count = valueIn(metric, `${name}_count`)
  if (count !== undefined && !isCount(count)) fail(`${name}_count is not a count: ${count}`)
  checkWithout(metric, "quantile", name)
}

const checkWithout = (metric: Metric, label: string, except: string): void => {
  for (const { name, labels } of metric) {
    if (name !== except && labels.has(label)) fail(`${name} has the label ${label}`)
  }
}
