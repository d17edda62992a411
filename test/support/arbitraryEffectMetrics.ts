/** Arbitrary metrics of Effect, with names and tags that only Effect accepts. */
import { Duration, Effect, Metric, MetricBoundaries, MetricLabel } from "effect"
import * as fc from "fast-check"

export interface Series {
  readonly tags: ReadonlyArray<readonly [key: string, value: string]>
  readonly values: ReadonlyArray<number>
  readonly words: ReadonlyArray<string>
}

export type Kind = "counter" | "bigint" | "open" | "gauge" | "histogram" | "timer" | "summary" | "frequency"

export interface EffectSpec {
  readonly kind: Kind
  readonly name: string
  readonly description: string | undefined
  readonly series: ReadonlyArray<Series>
  readonly thresholds: ReadonlyArray<number>
}

const text = fc.oneof(
  fc.constantFrom(
    "",
    '"',
    "\\",
    "\n",
    "a.b",
    "a b",
    "a_b",
    "le",
    "quantile",
    "key",
    "__name__",
    "9",
    "_",
    "é",
    "😀",
    "\ud800"
  ),
  fc.constantFrom(
    "time_unit",
    "constructor",
    "__proto__",
    "x_total",
    "x_sum",
    "x_count",
    "x_bucket",
    "x",
    "x_ms",
    "x:y"
  ),
  fc.string({ unit: "binary", maxLength: 5 })
)

const series: fc.Arbitrary<Series> = fc.record({
  tags: fc.array(fc.tuple(text, text), { maxLength: 4 }),
  values: fc.array(fc.oneof(fc.nat(20), fc.double({ min: 0, max: 1e6, noNaN: true })), { minLength: 1, maxLength: 4 }),
  words: fc.array(text, { maxLength: 4 })
})

const one: fc.Arbitrary<EffectSpec> = fc.record({
  kind: fc.constantFrom<Kind>("counter", "bigint", "open", "gauge", "histogram", "timer", "summary", "frequency"),
  name: text,
  description: fc.option(text, { nil: undefined }),
  series: fc.array(series, { minLength: 1, maxLength: 4 }),
  thresholds: fc.uniqueArray(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 4 })
})

/** Some of them, whose names often become the same. */
export const anyEffectMetrics: fc.Arbitrary<ReadonlyArray<EffectSpec>> = fc.array(one, { minLength: 1, maxLength: 6 })

/** Records the values of the specifications, on metrics whose names begin with `stem`. */
export const filled = (stem: string, specs: ReadonlyArray<EffectSpec>): Effect.Effect<void> =>
  Effect.forEach(specs, (spec) => Effect.forEach(spec.series, (one) => recorded(stem, spec, one)), { discard: true })

const recorded = (stem: string, spec: EffectSpec, { tags, values, words }: Series): Effect.Effect<void> => {
  const labels = tags.map(([key, value]) => MetricLabel.make(key, value))
  const update = updating(`${stem}${spec.name}`, spec)
  const inputs: ReadonlyArray<never> = (spec.kind === "frequency" ? words : values) as never
  return Effect.sync(() => {
    for (const input of inputs) update(input, labels)
  })
}

const updating = (
  name: string,
  { description, kind, thresholds }: EffectSpec
): ((input: never, tags: ReadonlyArray<MetricLabel.MetricLabel>) => void) => {
  const bounds = MetricBoundaries.fromIterable(thresholds)
  const milliseconds = [...thresholds]
  switch (kind) {
    case "counter":
      return Metric.counter(name, { description, incremental: true }).unsafeUpdate
    case "bigint": {
      const counter = Metric.counter(`${name} big`, { description, incremental: true, bigint: true })
      return (input: number, tags) => counter.unsafeUpdate(BigInt(Math.floor(input)), tags)
    }
    case "open":
      return Metric.counter(`${name} open`, { description }).unsafeUpdate
    case "gauge":
      return Metric.gauge(name, { description }).unsafeUpdate
    case "histogram":
      return Metric.histogram(name, bounds, description).unsafeUpdate
    case "timer": {
      const timer = Metric.timerWithBoundaries(name, milliseconds, description)
      return (input: number, tags) => timer.unsafeUpdate(Duration.millis(input), tags)
    }
    case "summary": {
      const options = { name, description, maxAge: "1 day", maxSize: 10, error: 0, quantiles: [0.5, 0.9, 0.5] } as const
      return Metric.summary(options).unsafeUpdate
    }
    case "frequency":
      return Metric.frequency(name, { description }).unsafeUpdate
  }
}
