/** Registries of any content. */
import * as fc from "fast-check"
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client"

export type Format = "text" | "openmetrics"

export type Labels = Readonly<Record<string, string>>

export interface Series {
  readonly labels: Labels
  /** Of a counter or a gauge it is one. */
  readonly values: ReadonlyArray<number>
  /** Comes with the last of the values. */
  readonly exemplar: Labels | undefined
}

export type Kind = "counter" | "gauge" | "histogram" | "summary"

export interface MetricSpec {
  readonly kind: Kind
  readonly name: string
  readonly help: string
  readonly labelNames: ReadonlyArray<string>
  readonly series: ReadonlyArray<Series>
  /** The bounds of buckets, or quantiles, in increasing order. */
  readonly thresholds: ReadonlyArray<number>
  readonly enableExemplars: boolean
}

/** The specification of a registry, which fast-check can print and shrink. */
export interface RegistrySpec {
  readonly metrics: ReadonlyArray<MetricSpec>
  readonly defaults: Labels
  readonly contentType: Format
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
const subnormal = fc.double({ min: 5e-324, max: 2.225073858507201e-308, noNaN: true })
const notNegative = fc.oneof(extreme, subnormal, fc.nat(), fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }))
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
export const arrived = (text: string): string => Buffer.from(text).toString()

// Two series whose labels differ in lone surrogates alone are one on the wire.
const identity = ({ labels }: Series): string => JSON.stringify(Object.values(labels).map(arrived))

const seriesOf = (kind: Kind, labelNames: ReadonlyArray<string>, enableExemplars: boolean, many: number) => {
  const few = fc.uniqueArray(
    fc.record({
      labels: labelsOf(labelNames),
      values: values[kind],
      exemplar: enableExemplars ? fc.option(exemplarLabels, { nil: undefined }) : fc.constant(undefined)
    }),
    { minLength: Math.min(many, 1), maxLength: labelNames.length === 0 ? 1 : 50, selector: identity, size: "max" }
  )
  return many === 0 ? few : few.map((drawn) => numbered(drawn, many))
}

// To draw each of very many takes too long: those that are drawn are repeated, and differ by a number.
const numbered = (drawn: ReadonlyArray<Series>, many: number): ReadonlyArray<Series> =>
  Array.from({ length: Math.ceil(many / drawn.length) }, (_, turn) =>
    drawn.map((series, at) => ({ ...series, labels: withNumber(series.labels, turn * drawn.length + at) }))
  )
    .flat()
    .slice(0, many)

const withNumber = (labels: Labels, number: number): Labels => {
  const [[first, text] = ["", ""]] = Object.entries(labels)
  return { ...labels, [first]: `${number} ${text}` }
}

/** Which names a registry may have beside each other. */
interface Names {
  /**
   * For each kind the suffixes of a second name, which is one that the family of the first takes for itself; a counter
   * `x_total` has the family `x` in OpenMetrics.
   */
  readonly clashing: { readonly [K in Kind]: ReadonlyArray<string> }
}

const metric = (
  position: number,
  contentType: Format,
  { clashing }: Names,
  many: number
): fc.Arbitrary<ReadonlyArray<MetricSpec>> =>
  fc
    .record({
      kind: fc.constantFrom<Kind>("counter", "gauge", "histogram", "summary"),
      stem: fc.stringMatching(/^[a-zA-Z:][a-zA-Z0-9_:]{0,8}$/),
      isTotal: fc.boolean(),
      twinSide: many > 0 ? fc.constant(undefined) : fc.constantFrom(undefined, undefined, "before", "after"),
      help: anyText.filter((text) => text !== ""),
      labelNames: fc.uniqueArray(labelName, { minLength: Math.min(many, 1), maxLength: 3 }),
      // On a registry for text the client lets in no metric that takes them.
      wantsExemplars: contentType === "openmetrics" ? fc.boolean() : fc.constant(false)
    })
    .chain(({ kind, stem, isTotal, twinSide, help, labelNames, wantsExemplars }) => {
      const base = `${stem}_m${position}`
      const name = kind === "counter" && isTotal ? `${base}_total` : base
      const enableExemplars = wantsExemplars && (kind === "counter" || kind === "histogram")
      const suffixes = name === base && kind === "counter" ? [] : clashing[kind]
      return fc
        .tuple(
          seriesOf(kind, labelNames, enableExemplars, many),
          thresholds[kind],
          suffixes.length === 0 ? fc.constant([]) : fc.constantFrom(...suffixes).map((suffix) => [twin(base + suffix)])
        )
        .map(([series, thresholds, twins]) => [
          ...(twinSide === "before" ? twins : []),
          { kind, name, help, labelNames, series, thresholds, enableExemplars },
          ...(twinSide === "after" ? twins : [])
        ])
    })

// A family whose name is in the way of another.
const twin = (name: string): MetricSpec => ({
  kind: "gauge",
  name,
  help: "A name that clashes.",
  labelNames: [],
  series: [{ labels: {}, values: [7], exemplar: undefined }],
  thresholds: [],
  enableExemplars: false
})

const mostSeries = 2_000

const registries = (names: Names): fc.Arbitrary<RegistrySpec> =>
  fc
    .record({
      contentType: fc.constantFrom<Format>("text", "openmetrics"),
      count: fc.integer({ min: 0, max: 5 }),
      // Few registries have many series: a registry with most of them takes as long as a hundred others.
      many: fc.oneof(
        { arbitrary: fc.constant(0), weight: 49 },
        { arbitrary: fc.oneof(fc.constant(mostSeries), fc.integer({ min: 200, max: mostSeries })), weight: 1 }
      ),
      defaultNames: fc.uniqueArray(labelName, { maxLength: 2 })
    })
    .chain(({ contentType, count, many, defaultNames }) =>
      fc.record({
        contentType: fc.constant(contentType),
        defaults: labelsOf(defaultNames),
        metrics: fc
          .tuple(
            ...Array.from({ length: count }, (_, position) =>
              metric(position, contentType, names, Math.floor((many + position) / count))
            )
          )
          .map((metrics) => metrics.flat())
      })
    )

/**
 * Any registry: all four kinds of metrics, 0–2,000 series, with any text and any numbers that the client lets in. Names
 * clash in OpenMetrics alone: those of a counter `x_total` and of a metric `x` or `x_created`.
 */
export const anyRegistry: fc.Arbitrary<RegistrySpec> = registries({
  clashing: { counter: ["", "_created"], gauge: [], histogram: [], summary: [] }
})

/**
 * The same with names that are ambiguous in either format, though the client lets them in: those of a histogram
 * `x` and of a gauge `x_sum`, say.
 */
export const anyClashingRegistry: fc.Arbitrary<RegistrySpec> = registries({
  clashing: {
    counter: ["", "_created"],
    gauge: [],
    histogram: ["_bucket", "_sum", "_count", "_created"],
    summary: ["_sum", "_count", "_created"]
  }
})

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
