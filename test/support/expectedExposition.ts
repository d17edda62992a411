/** The families that the exposition of an arbitrary registry must contain. */
import { isDeepStrictEqual } from "node:util"
import { assert } from "@effect/vitest"
import type { Registry, Summary } from "prom-client"
import type { Format, Labels, MetricSpec, RegistrySpec, Series } from "./arbitraryRegistries.js"
import { arrived } from "./arbitraryRegistries.js"
import type { Family, Sample } from "./expositionParser.js"

/** A parsed sample: its threshold as a number, its exemplar without the time. */
export interface ReadSample {
  readonly name: string
  readonly labels: Labels
  readonly threshold: number | undefined
  readonly value: number
  readonly exemplar: { readonly labels: Labels; readonly value: number } | undefined
}

export interface ReadFamily {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<ReadSample>
}

/** The families that the exposition must contain; only quantiles are read from the registry. */
export const expectedFamilies = async (
  { defaults, metrics: all }: RegistrySpec,
  registry: Registry,
  format: Format
): Promise<ReadonlyArray<ReadFamily>> => {
  const metrics = withoutConflicts(all)
  const families = await Promise.all(
    metrics.map(async (spec) => {
      const { help, kind, name } = spec
      const total = kind === "counter" && name.endsWith("_total") ? name.replace(/_total$/, "") : undefined
      const isCounter =
        total !== undefined && !metrics.some(({ name }) => name === total || name === `${total}_created`)
      const type = kind === "counter" && format === "openmetrics" && !isCounter ? "unknown" : kind
      const samples = await samplesOf(spec, registry)
      const whole = once((labels: Labels) => arrivedLabels({ ...defaults, ...labels }))
      return {
        name: type === "counter" && format === "openmetrics" && total !== undefined ? total : name,
        type,
        help: format === "text" ? withoutOuterBlanks(arrived(help)) : arrived(help),
        samples: samples.map(({ exemplar, labels, ...sample }) => ({
          ...sample,
          labels: whole(labels),
          exemplar: format === "openmetrics" && type !== "unknown" && isReadable(exemplar) ? exemplar : undefined
        }))
      }
    })
  )
  const leftOut = all.length - metrics.length
  return leftOut === 0 ? families : [...families, { ...leftOutFamily, samples: [leftOutSample(leftOut, defaults)] }]
}

// Of two metrics that could have samples of the same name, the first one is exposed.
const withoutConflicts = (all: ReadonlyArray<MetricSpec>): ReadonlyArray<MetricSpec> => {
  const taken = new Set<string>()
  return all.filter(({ kind, name }) => {
    const names = ["", ...sampleSuffixes[kind]].map((suffix) => name + suffix)
    const isFree = names.every((sample) => !taken.has(sample))
    if (isFree) for (const sample of names) taken.add(sample)
    return isFree
  })
}

const sampleSuffixes = {
  counter: [],
  gauge: [],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["_sum", "_count", "_created"]
}

const leftOutFamily = {
  name: "effect_prometheus_metrics_left_out",
  type: "gauge",
  help: "Metrics left out of this exposition; the log contains the reasons."
}

const leftOutSample = (value: number, defaults: Labels): ReadSample => ({
  name: leftOutFamily.name,
  labels: arrivedLabels(defaults),
  threshold: undefined,
  value,
  exemplar: undefined
})

// OpenMetrics allows U+0000, but Prometheus cannot read it in an exemplar.
const isReadable = (exemplar: ReadSample["exemplar"]): boolean =>
  !Object.values(exemplar?.labels ?? {}).some((text) => text.includes("\0"))

// "Leading and trailing whitespace is ignored" in the lines of text.
const withoutOuterBlanks = (text: string): string => text.replace(/^[ \t]+|[ \t]+$/g, "")

// The samples of a series have the same labels.
const once = <A extends object, B>(make: (from: A) => B): ((from: A) => B) => {
  const made = new Map<A, B>()
  return (from) => {
    const known = made.get(from) ?? make(from)
    made.set(from, known)
    return known
  }
}

const arrivedLabels = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, arrived(value)]))

const samplesOf = async (spec: MetricSpec, registry: Registry): Promise<ReadonlyArray<ReadSample>> => {
  // Without label names a metric has its one series from the start.
  const untouched = {
    labels: {},
    values: spec.kind === "counter" || spec.kind === "gauge" ? [0] : [],
    exemplar: undefined
  }
  const series = spec.labelNames.length === 0 && spec.series.length === 0 ? [untouched] : spec.series
  if (spec.kind === "histogram") return series.flatMap((one) => histogramSamples(spec, one))
  if (spec.kind === "summary") {
    const quantiles = await quantilesOf(spec.name, registry)
    const each = quantiles.length / series.length
    return series.flatMap((one, at) => [...quantiles.slice(at * each, (at + 1) * each), ...sumAndCount(spec.name, one)])
  }
  return series.map(({ labels, values: [value = 0], exemplar }) => ({
    name: spec.name,
    labels,
    threshold: undefined,
    value: value + 0,
    exemplar: exemplar && { labels: arrivedLabels(exemplar), value: value === 0 ? 1 : value }
  }))
}

const histogramSamples = ({ name, thresholds }: MetricSpec, series: Series): ReadonlyArray<ReadSample> => {
  const { labels, values, exemplar } = series
  const last = values.at(-1) ?? Number.NaN
  const bounds = [...thresholds, Number.POSITIVE_INFINITY]
  const ofLast = bounds.find((bound) => last <= bound)
  return [
    ...bounds.map((bound) => ({
      name: `${name}_bucket`,
      labels,
      threshold: bound,
      value: values.filter((value) => value <= bound).length,
      exemplar: exemplar && bound === ofLast ? { labels: arrivedLabels(exemplar), value: last } : undefined
    })),
    ...sumAndCount(name, series)
  ]
}

const sumAndCount = (name: string, { labels, values }: Series): ReadonlyArray<ReadSample> => {
  const sum = values.reduce((total, value) => total + value, 0)
  const rest = { labels, threshold: undefined, exemplar: undefined }
  return [
    { ...rest, name: `${name}_sum`, value: sum },
    { ...rest, name: `${name}_count`, value: values.length }
  ]
}

const quantilesOf = async (name: string, registry: Registry): Promise<ReadonlyArray<ReadSample>> => {
  const { values } = await (registry.getSingleMetric(name) as Summary<string>).get()
  // The newer client leaves out the labels of a sum without labels.
  return values.flatMap(({ labels: { quantile, ...labels } = {}, value }) =>
    quantile === undefined
      ? []
      : [{ name, labels: labels as Labels, threshold: Number(quantile), value, exemplar: undefined }]
  )
}

/** A family that was read, in the shape of one that is expected. */
export const comparableFamily = ({ name, type, help, samples }: Family): ReadFamily => ({
  name,
  type,
  help,
  samples: samples.map((sample) => readSample(type, sample))
})

const readSample = (type: string, { name, labels, value, exemplar }: Sample): ReadSample => {
  const label = { histogram: "le", summary: "quantile" }[type]
  const text = label === undefined ? undefined : labels.get(label)
  return {
    name,
    labels: Object.fromEntries([...labels].filter(([key]) => key !== label)),
    threshold: text === undefined ? undefined : Number(text.replace("+Inf", "Infinity")),
    value: value + 0,
    exemplar: exemplar && { labels: Object.fromEntries(exemplar.labels), value: exemplar.value }
  }
}

/** Asserts that families were read which are those expected, but for the order of series, which is not specified. */
export const assertFamilies = (read: ReadonlyArray<ReadFamily>, expected: ReadonlyArray<ReadFamily>): void => {
  // The assertion takes much longer, as it has to say what is different.
  if (isDeepStrictEqual(read, expected)) return
  assert.deepStrictEqual(read.map(inOrder), expected.map(inOrder))
}

const inOrder = ({ samples, ...family }: ReadFamily): ReadFamily => {
  const key = ({ name, labels, threshold }: ReadSample): string =>
    JSON.stringify([name, Object.entries(labels).sort(), String(threshold)])
  const sorted = samples
    .map((sample) => [key(sample), sample] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, sample]) => sample)
  return { ...family, samples: sorted }
}
