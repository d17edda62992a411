/** Registries of any content, and what must be read from their exposition. */
import * as fc from "fast-check"
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client"
import type { Family, Sample } from "./parser.js"

export type Format = "text" | "openmetrics"

type Labels = Readonly<Record<string, string>>

interface Series {
  readonly labels: Labels
  /** Of a counter or a gauge it is one. */
  readonly values: ReadonlyArray<number>
  /** Comes with the last of the values. */
  readonly exemplar: Labels | undefined
}

type Kind = "counter" | "gauge" | "histogram" | "summary"

interface MetricSpec {
  readonly kind: Kind
  readonly name: string
  readonly help: string
  readonly labelNames: ReadonlyArray<string>
  readonly series: ReadonlyArray<Series>
  /** The bounds of buckets, or quantiles, in increasing order. */
  readonly thresholds: ReadonlyArray<number>
  readonly enableExemplars: boolean
}

/** What a registry is made from, so that fast-check can show it and make it smaller. */
export interface RegistrySpec {
  readonly metrics: ReadonlyArray<MetricSpec>
  readonly defaults: Labels
  readonly contentType: Format
}

/** What is read from a sample: its threshold as a number, its exemplar without the time. */
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

const awkward = fc.constantFrom(
  ...['"', "\\", "\n", "\r", "\t", " ", "{", "}", "=", ",", "#", "'", "\0", "n", "a"],
  ...["\\n", '\\"', "\u2028", "\ufeff", "é", "😀", "+Inf", "# EOF\n"]
)

const codeUnit = fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit))

const anyText = fc.oneof(
  fc.string({ unit: awkward, maxLength: 8 }),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.string({ unit: codeUnit, maxLength: 4 })
)

const labelName = fc
  .oneof(
    { arbitrary: fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_]{0,6}$/), weight: 4 },
    { arbitrary: fc.constantFrom("constructor", "toString", "hasOwnProperty", "name", "type"), weight: 1 }
  )
  .filter((name) => name !== "le" && name !== "quantile")

const extreme = fc.constantFrom(0, 1, 5e-324, 1e-7, 0.1, 1e21, 2 ** 53, Number.MAX_VALUE)
const notNegative = fc.oneof(extreme, fc.nat(), fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }))
const special = fc.constantFrom(-0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
const anyNumber = fc.oneof(extreme, special, fc.integer(), fc.double())

const increasing = (numbers: fc.Arbitrary<number>): fc.Arbitrary<ReadonlyArray<number>> =>
  fc.uniqueArray(numbers, { maxLength: 6 }).map((unique) => unique.sort((a, b) => a - b))

const thresholds: { readonly [K in Kind]: fc.Arbitrary<ReadonlyArray<number>> } = {
  counter: fc.constant([]),
  gauge: fc.constant([]),
  histogram: increasing(notNegative),
  summary: increasing(fc.double({ min: 0, max: 1, noNaN: true }))
}

const values: { readonly [K in Kind]: fc.Arbitrary<ReadonlyArray<number>> } = {
  counter: fc.tuple(notNegative),
  gauge: fc.tuple(anyNumber),
  histogram: fc.array(notNegative, { minLength: 1, maxLength: 5 }),
  summary: fc.array(notNegative, { minLength: 1, maxLength: 5 })
}

const labelsOf = (names: ReadonlyArray<string>): fc.Arbitrary<Labels> =>
  fc
    .tuple(...names.map(() => anyText))
    .map((texts) => Object.fromEntries(names.map((name, at) => [name, texts[at] ?? ""])))

// The client refuses more than 128 UTF-16 units.
const exemplarLabels = fc
  .uniqueArray(labelName, { minLength: 1, maxLength: 3 })
  .chain(labelsOf)
  .filter((labels) => Object.entries(labels).flat().join("").length <= 128)

/** Text as it arrives: there are no lone surrogates in UTF-8. */
const arrived = (text: string): string => Buffer.from(text).toString()

// Two series whose labels differ in lone surrogates alone are one on the wire.
const identity = ({ labels }: Series): string => JSON.stringify(Object.values(labels).map(arrived))

const seriesOf = (kind: Kind, labelNames: ReadonlyArray<string>, enableExemplars: boolean) =>
  fc.uniqueArray(
    fc.record({
      labels: labelsOf(labelNames),
      values: values[kind],
      exemplar: enableExemplars ? fc.option(exemplarLabels, { nil: undefined }) : fc.constant(undefined)
    }),
    { maxLength: labelNames.length === 0 ? 1 : 50, selector: identity, size: "max" }
  )

const metric = (position: number, contentType: Format): fc.Arbitrary<ReadonlyArray<MetricSpec>> =>
  fc
    .record({
      kind: fc.constantFrom<Kind>("counter", "gauge", "histogram", "summary"),
      stem: fc.stringMatching(/^[a-zA-Z:][a-zA-Z0-9_:]{0,8}$/),
      isTotal: fc.boolean(),
      hasTwin: fc.integer({ min: 0, max: 3 }).map((side) => side === 0),
      help: anyText.filter((text) => text !== ""),
      labelNames: fc.uniqueArray(labelName, { maxLength: 3 }),
      // On a registry for text the client lets in no metric that takes them.
      wantsExemplars: contentType === "openmetrics" ? fc.boolean() : fc.constant(false)
    })
    .chain(({ kind, stem, isTotal, hasTwin, help, labelNames, wantsExemplars }) => {
      const base = `${stem}_m${position}`
      const name = kind === "counter" && isTotal ? `${base}_total` : base
      const enableExemplars = wantsExemplars && (kind === "counter" || kind === "histogram")
      return fc
        .tuple(seriesOf(kind, labelNames, enableExemplars), thresholds[kind])
        .map(([series, thresholds]) => [
          { kind, name, help, labelNames, series, thresholds, enableExemplars },
          ...(hasTwin && name !== base ? [twin(base)] : [])
        ])
    })

// The family that a counter `x_total` would be in OpenMetrics if this one were not there.
const twin = (name: string): MetricSpec => ({
  kind: "gauge",
  name,
  help: "The same name without _total.",
  labelNames: [],
  series: [],
  thresholds: [],
  enableExemplars: false
})

/** Any registry: all four kinds of metrics, 0–50 series each, with any text and any numbers that the client lets in. */
export const anyRegistry: fc.Arbitrary<RegistrySpec> = fc
  .record({
    contentType: fc.constantFrom<Format>("text", "openmetrics"),
    count: fc.integer({ min: 0, max: 5 }),
    defaultNames: fc.uniqueArray(labelName, { maxLength: 2 })
  })
  .chain(({ contentType, count, defaultNames }) =>
    fc.record({
      contentType: fc.constant(contentType),
      defaults: labelsOf(defaultNames),
      metrics: fc
        .tuple(...Array.from({ length: count }, (_, position) => metric(position, contentType)))
        .map((metrics) => metrics.flat())
    })
  )

/** The registry that is specified. */
export const registryOf = ({ contentType, defaults, metrics }: RegistrySpec): Registry => {
  const registry = new Registry()
  // The types of the client have it that a registry never changes its content type.
  if (contentType === "openmetrics") registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  registry.setDefaultLabels(defaults)
  for (const spec of metrics) {
    const record = recorder(spec, registry)
    for (const { labels, values, exemplar } of spec.series) {
      for (const [at, value] of values.entries()) record(labels, value, at === values.length - 1 ? exemplar : undefined)
    }
  }
  return registry
}

type Recorder = (labels: Labels, value: number, exemplarLabels: Labels | undefined) => void

const recorder = ({ kind, thresholds, ...spec }: MetricSpec, registry: Registry): Recorder => {
  const { name, help, enableExemplars } = spec
  const options = { name, help, labelNames: [...spec.labelNames], registers: [registry], enableExemplars }
  if (kind === "gauge") {
    const gauge = new Gauge(options)
    return (labels, value) => gauge.set(labels, value)
  }
  if (kind === "summary") {
    const summary = new Summary({ ...options, percentiles: [...thresholds] })
    return (labels, value) => summary.observe(labels, value)
  }
  if (kind === "counter") {
    const counter = new Counter(options)
    return (labels, value, exemplarLabels) =>
      enableExemplars ? counter.inc(withExemplar(labels, value, exemplarLabels)) : counter.inc(labels, value)
  }
  const histogram = new Histogram({ ...options, buckets: [...thresholds] })
  return (labels, value, exemplarLabels) =>
    enableExemplars ? histogram.observe(withExemplar(labels, value, exemplarLabels)) : histogram.observe(labels, value)
}

const withExemplar = (labels: Labels, value: number, exemplarLabels: Labels | undefined) =>
  exemplarLabels === undefined ? { labels, value } : { labels, value, exemplarLabels }

/** What must be read from the exposition of that registry, which is asked for nothing but quantiles. */
export const expectedOf = (
  { defaults, metrics }: RegistrySpec,
  registry: Registry,
  format: Format
): Promise<ReadonlyArray<ReadFamily>> =>
  Promise.all(
    metrics.map(async (spec) => {
      const { help, kind, name } = spec
      const total = kind === "counter" && name.endsWith("_total") ? name.replace(/_total$/, "") : undefined
      const isCounter = total !== undefined && !metrics.some((other) => other.name === total)
      const type = kind === "counter" && format === "openmetrics" && !isCounter ? "unknown" : kind
      const samples = await samplesOf(spec, registry)
      return {
        name: type === "counter" && format === "openmetrics" && total !== undefined ? total : name,
        type,
        help: format === "text" ? withoutOuterBlanks(arrived(help)) : arrived(help),
        samples: sorted(
          samples.map(({ exemplar, labels, ...sample }) => ({
            ...sample,
            labels: arrivedLabels({ ...defaults, ...labels }),
            exemplar: format === "openmetrics" && type !== "unknown" ? exemplar : undefined
          }))
        )
      }
    })
  )

// "Leading and trailing whitespace is ignored" in the lines of text.
const withoutOuterBlanks = (text: string): string => text.replace(/^[ \t]+|[ \t]+$/g, "")

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
    return [...(await quantilesOf(spec.name, registry)), ...series.flatMap((one) => sumAndCount(spec.name, one))]
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
  const { values } = await (registry.getSingleMetric(name) as Summary).get()
  return values.flatMap(({ labels: { quantile, ...labels }, value }) =>
    quantile === undefined
      ? []
      : [{ name, labels: labels as Labels, threshold: Number(quantile), value, exemplar: undefined }]
  )
}

/** A family that was read, in the shape of one that is expected. */
export const readOf = ({ name, type, help, samples }: Family): ReadFamily => ({
  name,
  type,
  help,
  samples: sorted(samples.map((sample) => readSample(type, sample)))
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

// In which order series come is nobody's promise.
const sorted = (samples: ReadonlyArray<ReadSample>): ReadonlyArray<ReadSample> => {
  const key = ({ name, labels, threshold }: ReadSample): string =>
    JSON.stringify([name, Object.entries(labels).sort(), String(threshold)])
  return samples
    .map((sample) => [key(sample), sample] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, sample]) => sample)
}
