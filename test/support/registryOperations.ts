/** Operations on metrics between expositions, and the lines that must then be exposed. */
import * as fc from "fast-check"
import { Counter, Gauge, Histogram, type Metric, Registry } from "prom-client"
import type { Format } from "./arbitraryRegistries.js"

type Labels = Record<string, string>

const kinds = ["counter", "gauge", "histogram"] as const
type Kind = (typeof kinds)[number]

/** One operation. Labels are given by their index in a pool of objects, so that several series share them. */
export type Operation =
  | { readonly does: "record"; readonly kind: Kind; readonly labels: number; readonly value: number }
  | { readonly does: "set"; readonly labels: number; readonly value: number }
  | { readonly does: "remove"; readonly kind: Kind; readonly labels: number }
  | { readonly does: "reset" | "renew"; readonly kind: Kind }
  | { readonly does: "own"; readonly labels: number; readonly name: string; readonly value: string | undefined }
  | { readonly does: "default"; readonly name: string; readonly value: string | undefined }
  | { readonly does: "defaults"; readonly labels: Labels }
  | { readonly does: "render"; readonly format: Format }

const names = ["a", "b", "env"]
const poolSize = 20

const kind = fc.constantFrom(...kinds)
const labels = fc.nat({ max: poolSize - 1 })
const name = fc.constantFrom(...names)
const value = fc.constantFrom("x", "y", "zz", "ä")
const unset = { nil: undefined }
const number = fc.oneof(fc.nat(), fc.constantFrom(0, 0.5, 99_999_999, 100_000_000, 2 ** 53, 1e300))

/** Any changes, in an order that has expositions in it. */
export const anyOperations: fc.Arbitrary<ReadonlyArray<Operation>> = fc.array(
  fc.oneof<Array<fc.WeightedArbitrary<Operation>>>(
    { weight: 8, arbitrary: fc.record({ does: fc.constant("record"), kind, labels, value: number }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant("set"), labels, value: number }) },
    { weight: 4, arbitrary: fc.record({ does: fc.constant("remove"), kind, labels }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constantFrom("reset", "renew"), kind }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("own"), labels, name, value: fc.option(value, unset) }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("default"), name, value: fc.option(value, unset) }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("defaults"), labels: fc.dictionary(name, value) }) },
    {
      weight: 5,
      arbitrary: fc.record({ does: fc.constant("render"), format: fc.constantFrom<Format>("text", "openmetrics") })
    }
  ),
  { minLength: 5, maxLength: 60, size: "max" }
)

interface RawSample {
  readonly labels: Labels
  readonly metricName?: string
  readonly value: number
}

/** An application, to which it is done. */
export class Application {
  readonly registry = new Registry()
  private defaults: Labels = {}
  private readonly pool = Array.from({ length: poolSize }, (_, place): Labels => ({ a: `s${place}` }))
  private readonly made = {
    counter: this.make("counter"),
    gauge: this.make("gauge"),
    histogram: this.make("histogram")
  }

  constructor() {
    this.registry.setDefaultLabels(this.defaults)
  }

  private make(kind: Kind) {
    const options = { help: "h", labelNames: names, registers: [this.registry] }
    if (kind === "counter") {
      const counter = new Counter({ ...options, name: "counted_total" })
      return { metric: counter, record: (labels: Labels, value: number) => counter.inc(labels, value) }
    }
    if (kind === "gauge") {
      const gauge = new Gauge({ ...options, name: "level" })
      return { metric: gauge, record: (labels: Labels, value: number) => gauge.inc(labels, value) }
    }
    const histogram = new Histogram({ ...options, name: "run_seconds", buckets: [1, 10] })
    return { metric: histogram, record: (labels: Labels, value: number) => histogram.observe(labels, value) }
  }

  apply(change: Exclude<Operation, { readonly does: "render" }>): void {
    if (change.does === "defaults") {
      this.defaults = { ...change.labels }
      this.registry.setDefaultLabels(this.defaults)
    } else if (change.does === "default") assign(this.defaults, change)
    else if (change.does === "own") assign(this.at(change.labels), change)
    else if (change.does === "set") (this.made.gauge.metric as Gauge<string>).set(this.at(change.labels), change.value)
    else if (change.does === "record") this.made[change.kind].record(this.at(change.labels), change.value)
    else if (change.does === "remove") this.made[change.kind].metric.remove(this.at(change.labels))
    else if (change.does === "reset") this.made[change.kind].metric.reset()
    else this.renew(change.kind)
  }

  private at(place: number): Labels {
    return this.pool[place] as Labels
  }

  private renew(kind: Kind): void {
    this.registry.removeSingleMetric((this.made[kind].metric as unknown as { readonly name: string }).name)
    this.made[kind] = this.make(kind)
  }

  /** What `get()` of its metrics returns for each series, as lines whose labels are in alphabetical order. */
  async expectedLines(): Promise<ReadonlyArray<string>> {
    const metrics = await Promise.all(
      this.registry.getMetricsAsArray().map((metric) => (metric as unknown as Metric).get())
    )
    return metrics.flatMap(({ name, values }) =>
      values.map((sample) => {
        const { labels, metricName = name, value } = sample as RawSample
        const all = Object.entries({ ...this.defaults, ...labels })
        return line(
          metricName,
          all.map(([label, text]) => `${label}="${text}"`),
          String(value)
        )
      })
    )
  }
}

const assign = (
  labels: Labels,
  { name, value }: { readonly name: string; readonly value: string | undefined }
): void => {
  if (value === undefined) delete labels[name]
  else labels[name] = value
}

const line = (name: string, labels: ReadonlyArray<string>, value: string): string =>
  `${name}{${[...labels].sort().join(",")}} ${value}`

/** The same from an exposition, where no label value has a comma or a brace. */
export const readLines = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gmu)].map(([, name = "", labels = "", value = ""]) =>
    line(name, labels === "" ? [] : labels.split(","), value)
  )
