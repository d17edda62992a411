import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, MetricBoundaries } from "effect"
import * as PromClient from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import * as Registry from "../src/Registry.js"
import { bodyOnce, formats, logged, parsers } from "./support/expositions.js"

interface Row {
  readonly title: string
  /** Names of metrics begin with it. */
  readonly stem: string
  readonly record: Effect.Effect<unknown>
  readonly text: ReadonlyArray<string>
  readonly openmetrics?: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<RegExp>
}

const update = (metric: unknown, ...values: ReadonlyArray<unknown>): Effect.Effect<unknown> =>
  Effect.forEach(values, (value) => Metric.update(metric as Metric.Metric<unknown, unknown, unknown>, value))

const summary = (name: string, quantiles: ReadonlyArray<number>) =>
  Metric.summary({ name, maxAge: "1 day", maxSize: 10, error: 0, quantiles })

const hostile = {
  toString: () => {
    throw new Error("no text")
  },
  valueOf: () => {
    throw new Error("no number")
  }
}

const noNumbers: ReadonlyArray<readonly [title: string, value: unknown]> = [
  ["a text", "much"],
  ["a text of digits", "7"],
  ["undefined", undefined],
  ["null", null],
  ["true", true],
  ["an object", {}],
  ["an object that is hostile", hostile],
  ["a symbol", Symbol("x")],
  ["a list", [1]]
]

const rows: ReadonlyArray<Row> = [
  ...noNumbers.map(([title, value], at) => ({
    title: `a gauge that is ${title}`,
    stem: `va${at}_`,
    record: update(Metric.gauge(`va${at}_x`), value),
    text: [],
    warnings: [/not a number/]
  })),
  {
    title: "a gauge that is NaN, and one that is a bigint",
    stem: "vb_",
    record: Effect.zip(update(Metric.gauge("vb_a"), Number.NaN), update(Metric.gauge("vb_b", { bigint: true }), 2n)),
    text: ["vb_a NaN", "vb_b 2"],
    warnings: []
  },
  {
    title: "an incremental counter that has counted a text",
    stem: "vc_",
    record: update(Metric.counter("vc_x", { incremental: true }), "1", 1),
    text: [],
    warnings: [/not a number/]
  },
  {
    title: "a counter that can go down and has counted NaN",
    stem: "vd_",
    record: update(Metric.counter("vd_x"), Number.NaN),
    text: ["vd_x NaN"],
    warnings: []
  },
  {
    title: "a histogram with bounds below 0",
    stem: "ve_",
    record: update(Metric.histogram("ve_x", MetricBoundaries.fromIterable([-1, 1])), -5, 0),
    text: [
      ...['ve_x_bucket{le="-1"} 1', 've_x_bucket{le="1"} 2', 've_x_bucket{le="+Inf"} 2'],
      ...["ve_x_sum -5", "ve_x_count 2"]
    ],
    openmetrics: ['ve_x_bucket{le="-1"} 1', 've_x_bucket{le="1"} 2', 've_x_bucket{le="+Inf"} 2'],
    warnings: [/buckets below 0/]
  },
  {
    title: "a histogram that has observed NaN",
    stem: "vf_",
    record: update(Metric.histogram("vf_x", MetricBoundaries.fromIterable([1])), Number.NaN, 0),
    text: ['vf_x_bucket{le="1"} 1', 'vf_x_bucket{le="+Inf"} 2', "vf_x_sum NaN", "vf_x_count 2"],
    openmetrics: ['vf_x_bucket{le="1"} 1', 'vf_x_bucket{le="+Inf"} 2'],
    warnings: [/a sum that is NaN or negative/]
  },
  {
    title: "a histogram that has observed a text",
    stem: "vg_",
    record: update(Metric.histogram("vg_x", MetricBoundaries.fromIterable([1])), "1"),
    text: [],
    warnings: [/not a number/]
  },
  {
    title: "a histogram whose series have different bounds, of which one is below 0",
    stem: "vh_",
    record: Effect.zip(
      update(Metric.histogram("vh_x", MetricBoundaries.fromIterable([1])).pipe(Metric.tagged("a", "b")), 1),
      update(Metric.histogram("vh_x", MetricBoundaries.fromIterable([-1])), 1)
    ),
    text: [
      ...['vh_x_bucket{le="1",a="b"} 1', 'vh_x_bucket{le="+Inf",a="b"} 1', 'vh_x_sum{a="b"} 1', 'vh_x_count{a="b"} 1'],
      ...['vh_x_bucket{le="-1"} 0', 'vh_x_bucket{le="+Inf"} 1', "vh_x_sum 1", "vh_x_count 1"]
    ],
    openmetrics: [
      ...['vh_x_bucket{le="1",a="b"} 1', 'vh_x_bucket{le="+Inf",a="b"} 1', 'vh_x_sum{a="b"} 1', 'vh_x_count{a="b"} 1'],
      ...['vh_x_bucket{le="-1"} 0', 'vh_x_bucket{le="+Inf"} 1']
    ],
    warnings: [/buckets below 0/]
  },
  {
    title: "quantiles out of range",
    stem: "vi_",
    record: update(summary("vi_x", [0.5, 1.5, -1, Number.POSITIVE_INFINITY]), ...[1, 2].map((value) => value)),
    text: ['vi_x{quantile="0.5"} 1', "vi_x_sum 3", "vi_x_count 2"],
    warnings: [/quantiles below 0 or above 1/]
  },
  {
    title: "negative observations of a summary",
    stem: "vj_",
    record: update(summary("vj_x", [0.5, 1]), -3, 1),
    text: ['vj_x{quantile="0.5"} -3', 'vj_x{quantile="1"} 1', "vj_x_sum -2", "vj_x_count 2"],
    openmetrics: ['vj_x{quantile="1"} 1', "vj_x_count 2"],
    warnings: [/quantiles with a negative value/, /a sum that is NaN or negative/]
  },
  {
    title: "a summary that has observed a text, and NaN after it",
    stem: "vk_",
    record: update(summary("vk_x", [0.5]), "1", Number.NaN),
    text: ['vk_x{quantile="0.5"} NaN', "vk_x_count 2"],
    warnings: [/not a number/]
  },
  {
    title: "a frequency of what has no text",
    stem: "vl_",
    record: update(Metric.frequency("vl_x"), hostile, "x", 1, Symbol("y")),
    text: ['vl_x_total{key="x"} 1', 'vl_x_total{key="1"} 1', 'vl_x_total{key="Symbol(y)"} 1'],
    warnings: [/invalid name or invalid labels/]
  }
]

describe("Values of Effect's metrics that a format forbids are left out and logged once, and the rest is served:", () => {
  for (const { openmetrics, record, stem, text, title, warnings } of rows) {
    it.effect(title, () =>
      logged(function* (lines) {
        yield* record
        yield* Metric.set(Metric.gauge(`${stem}others`), 1)
        const registry = new PromClient.Registry()
        const layer = EffectMetrics.layer({ include: [`${stem}*`] })
        yield* Layer.build(Layer.provide(layer, Registry.layer(registry)))
        const expected = { text, openmetrics: openmetrics ?? text }
        for (const format of [...formats, ...formats]) {
          const body = yield* bodyOnce(registry, format)
          parsers[format](body)
          const samples = body.split("\n").filter((line) => /^v/.test(line) && !line.startsWith(`${stem}others`))
          assert.deepStrictEqual(samples, expected[format])
          assert.include(body, `\n${stem}others 1\n`)
        }
        assert.strictEqual(lines.length, warnings.length, lines.join("\n"))
        for (const [at, warning] of warnings.entries()) assert.match(lines[at] ?? "", warning)
      }).pipe(Effect.scoped)
    )
  }
})
