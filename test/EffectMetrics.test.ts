import { createRequire } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  ManagedRuntime,
  Metric,
  MetricBoundaries,
  MetricLabel,
  RuntimeFlags,
  Scope
} from "effect"
import * as PromClient from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import type * as Exposition from "../src/Exposition.js"
import type { MetricRegistry } from "../src/Registry.js"
import * as Registry from "../src/Registry.js"
import type { Format } from "./support/arbitraryRegistries.js"
import { bodyOnce, contentTypes, formats, logged, parsers, renderedOnce } from "./support/expositions.js"
import { get } from "./support/httpClient.js"
import { clients, errors } from "./support/metrics.js"
import { inPatientWorker, serverKinds, started } from "./support/servers.js"

/** Effect's registry is that of the process: each test has names of its own. */
const opened = (
  registry: MetricRegistry,
  options: EffectMetrics.Options
): Effect.Effect<void, EffectMetrics.EffectMetricsError, Scope.Scope> =>
  Effect.asVoid(Layer.build(Layer.provide(EffectMetrics.layer(options), Registry.layer(registry))))

/** The exposition of a registry that has those metrics beside its own, the first one and one with what was kept. */
const exposed = (
  include: string,
  format: Format,
  registry: MetricRegistry = new PromClient.Registry()
): Effect.Effect<string> =>
  Effect.gen(function* () {
    yield* opened(registry, { include: [include] })
    const first = yield* bodyOnce(registry, format)
    assert.strictEqual(yield* bodyOnce(registry, format), first)
    parsers[format](first)
    return first
  }).pipe(Effect.scoped, Effect.orDie)

const leftOut = "effect_prometheus_metrics_left_out"

const count = (leftOut: number): string =>
  "# HELP effect_prometheus_metrics_left_out Metrics left out of this exposition; the log contains the reasons.\n" +
  "# TYPE effect_prometheus_metrics_left_out gauge\n" +
  `effect_prometheus_metrics_left_out ${leftOut}\n`

const lines = (...all: ReadonlyArray<string>): string => all.map((line) => `${line}\n`).join("")

/** What a metric has, by hand. */
interface Golden {
  readonly title: string
  /** What the names of its metrics begin with. */
  readonly stem: string
  readonly fill: Effect.Effect<void>
  readonly text: string
  /** Where it is another one. */
  readonly openmetrics?: string
}

const all = (...effects: ReadonlyArray<Effect.Effect<unknown>>): Effect.Effect<void> =>
  Effect.all(effects, { discard: true })

const latencies = Metric.summary({
  name: "h1_latency",
  maxAge: "1 day",
  maxSize: 10,
  error: 0,
  quantiles: [1, 0.5, 0.5, 2, -1, 0],
  description: "L."
})

const goldens: ReadonlyArray<Golden> = [
  {
    title: "an incremental counter as a counter with _total",
    stem: "g1",
    fill: all(Metric.incrementBy(Metric.counter("g1.jobs", { incremental: true, description: "Jobs\ndone." }), 3)),
    text: lines("# HELP g1_jobs_total Jobs\\ndone.", "# TYPE g1_jobs_total counter", "g1_jobs_total 3"),
    openmetrics: lines("# HELP g1_jobs Jobs\\ndone.", "# TYPE g1_jobs counter", "g1_jobs_total 3")
  },
  {
    title: "an incremental counter that has _total already under its name",
    stem: "g2",
    fill: all(Metric.increment(Metric.counter("g2_jobs_total", { incremental: true, description: "Jobs." }))),
    text: lines("# HELP g2_jobs_total Jobs.", "# TYPE g2_jobs_total counter", "g2_jobs_total 1"),
    openmetrics: lines("# HELP g2_jobs Jobs.", "# TYPE g2_jobs counter", "g2_jobs_total 1")
  },
  {
    title: "a counter that can go down as a gauge",
    stem: "g3",
    fill: all(Metric.incrementBy(Metric.counter("g3_open", { description: "Open." }), -2)),
    text: lines("# HELP g3_open Open.", "# TYPE g3_open gauge", "g3_open -2")
  },
  {
    title: "a gauge, and where it has no description whose it is",
    stem: "g4",
    fill: all(Metric.set(Metric.gauge("g4 temperature"), -0.5)),
    text: lines(
      "# HELP g4_temperature Effect's gauge g4 temperature, without a description.",
      "# TYPE g4_temperature gauge",
      "g4_temperature -0.5"
    )
  },
  {
    title: "bigints as the nearest numbers",
    stem: "g5",
    fill: all(
      Metric.incrementBy(
        Metric.counter("g5_a", { bigint: true, incremental: true, description: "A." }),
        2n ** 63n + 1n
      ),
      Metric.set(Metric.gauge("g5_b", { bigint: true, description: "B." }), -(10n ** 20n)),
      Metric.set(Metric.gauge("g5_c", { bigint: true, description: "C." }), 10n ** 400n)
    ),
    text: lines(
      ...["# HELP g5_a_total A.", "# TYPE g5_a_total counter", "g5_a_total 9223372036854776000"],
      ...["# HELP g5_b B.", "# TYPE g5_b gauge", "g5_b -100000000000000000000"],
      ...["# HELP g5_c C.", "# TYPE g5_c gauge", "g5_c +Inf"]
    ),
    openmetrics: lines(
      ...["# HELP g5_a A.", "# TYPE g5_a counter", "g5_a_total 9223372036854776000"],
      ...["# HELP g5_b B.", "# TYPE g5_b gauge", "g5_b -100000000000000000000"],
      ...["# HELP g5_c C.", "# TYPE g5_c gauge", "g5_c +Inf"]
    )
  },
  {
    title: "a histogram with its bounds in order, one +Inf, its sum and its count",
    stem: "g6",
    fill: Effect.gen(function* () {
      const size = Metric.histogram("g6_size", MetricBoundaries.fromIterable([10, 0.5, 10]), "Sizes.")
      for (const value of [0.25, 0.5, 7, 100]) yield* Metric.update(size, value)
      yield* Metric.update(Metric.taggedWithLabels(size, [MetricLabel.make("kind", "a")]), 10)
    }),
    text: lines(
      ...["# HELP g6_size Sizes.", "# TYPE g6_size histogram"],
      ...['g6_size_bucket{le="0.5"} 2', 'g6_size_bucket{le="10"} 3', 'g6_size_bucket{le="+Inf"} 4'],
      ...["g6_size_sum 107.75", "g6_size_count 4"],
      ...['g6_size_bucket{le="0.5",kind="a"} 0', 'g6_size_bucket{le="10",kind="a"} 1'],
      ...['g6_size_bucket{le="+Inf",kind="a"} 1', 'g6_size_sum{kind="a"} 10', 'g6_size_count{kind="a"} 1']
    )
  },
  {
    title: "a timer in seconds, without its tag",
    stem: "g8",
    fill: all(
      Metric.update(Metric.timerWithBoundaries("g8.wait.ms", [5, 250], "Waits."), Duration.millis(20)),
      Metric.update(
        Metric.tagged(Metric.timerWithBoundaries("g8_run_seconds", [2], "Runs."), "time_unit", "x"),
        Duration.seconds(3)
      )
    ),
    text: lines(
      ...["# HELP g8_wait_seconds Waits.", "# TYPE g8_wait_seconds histogram"],
      ...['g8_wait_seconds_bucket{le="0.005"} 0', 'g8_wait_seconds_bucket{le="0.25"} 1'],
      ...['g8_wait_seconds_bucket{le="+Inf"} 1', "g8_wait_seconds_sum 0.02", "g8_wait_seconds_count 1"],
      ...["# HELP g8_run_seconds Runs.", "# TYPE g8_run_seconds histogram"],
      ...['g8_run_seconds_bucket{le="0.002",time_unit="x"} 0', 'g8_run_seconds_bucket{le="+Inf",time_unit="x"} 1'],
      ...['g8_run_seconds_sum{time_unit="x"} 3', 'g8_run_seconds_count{time_unit="x"} 1']
    )
  },
  {
    title: "a histogram whose tag time_unit has another value as it is",
    stem: "g9",
    fill: all(
      Metric.update(
        Metric.tagged(Metric.histogram("g9_ms", MetricBoundaries.fromIterable([1]), "T."), "time_unit", "fortnights"),
        1
      )
    ),
    text: lines(
      ...["# HELP g9_ms T.", "# TYPE g9_ms histogram", 'g9_ms_bucket{le="1",time_unit="fortnights"} 1'],
      ...['g9_ms_bucket{le="+Inf",time_unit="fortnights"} 1', 'g9_ms_sum{time_unit="fortnights"} 1'],
      'g9_ms_count{time_unit="fortnights"} 1'
    )
  },
  {
    title: "a summary, each quantile once and without invalid quantiles",
    stem: "h1",
    fill: all(
      ...[1, 2, 3, 4].map((value) => Metric.update(latencies, value)),
      Metric.value(
        Metric.summary({ name: "h1_none", maxAge: "1 day", maxSize: 5, error: 0, quantiles: [0.5], description: "N." })
      )
    ),
    text: lines(
      ...["# HELP h1_latency L.", "# TYPE h1_latency summary"],
      ...['h1_latency{quantile="0"} 1', 'h1_latency{quantile="0.5"} 2', 'h1_latency{quantile="1"} 4'],
      ...["h1_latency_sum 10", "h1_latency_count 4"],
      ...[
        "# HELP h1_none N.",
        "# TYPE h1_none summary",
        'h1_none{quantile="0.5"} NaN',
        "h1_none_sum 0",
        "h1_none_count 0"
      ]
    )
  },
  {
    title: "a frequency as a counter with a label key, and those known before at 0",
    stem: "h2",
    fill: Effect.gen(function* () {
      const codes = Metric.frequency("h2_code", { description: "Codes.", preregisteredWords: ["ok"] })
      for (const code of ['a"b\\', "", "x\ny", ""]) yield* Metric.update(codes, code)
    }),
    text: lines(
      ...["# HELP h2_code_total Codes.", "# TYPE h2_code_total counter", 'h2_code_total{key="ok"} 0'],
      ...['h2_code_total{key="a\\"b\\\\"} 1', 'h2_code_total{key=""} 2', 'h2_code_total{key="x\\ny"} 1']
    ),
    openmetrics: lines(
      ...["# HELP h2_code Codes.", "# TYPE h2_code counter", 'h2_code_total{key="ok"} 0'],
      ...['h2_code_total{key="a\\"b\\\\"} 1', 'h2_code_total{key=""} 2', 'h2_code_total{key="x\\ny"} 1']
    )
  },
  {
    title: "tags, those of the metric and those of Effect.tagMetrics, by their names",
    stem: "h3",
    fill: all(
      Metric.set(Metric.tagged(Metric.gauge("h3", { description: "H." }), "zone", "é"), 1).pipe(
        Effect.tagMetrics({ "b.c": "1", "b c": "2", "b-c": "3", "2nd": "d" }),
        Effect.tagMetrics("_x", "e")
      )
    ),
    text: lines("# HELP h3 H.", "# TYPE h3 gauge", 'h3{b_c="2;3;1",tag_2nd="d",tag_x="e",zone="é"} 1')
  },
  {
    title: "tags that are in the way of the labels of the type under other names",
    stem: "h4",
    fill: all(
      Metric.update(Metric.tagged(Metric.histogram("h4_a", MetricBoundaries.fromIterable([]), "A."), "le", "x"), 1),
      Metric.update(Metric.tagged(Metric.frequency("h4_b", { description: "B." }), "key", "x"), "y"),
      Metric.set(
        Metric.taggedWithLabels(Metric.gauge("h4_c", { description: "C." }), [
          ...["le", "quantile", "key", "__name__"].map((name) => MetricLabel.make(name, "x"))
        ]),
        1
      )
    ),
    text: lines(
      ...["# HELP h4_a A.", "# TYPE h4_a histogram", 'h4_a_bucket{le="+Inf",tag_le="x"} 1'],
      ...['h4_a_sum{tag_le="x"} 1', 'h4_a_count{tag_le="x"} 1'],
      ...["# HELP h4_b_total B.", "# TYPE h4_b_total counter", 'h4_b_total{tag_key="x",key="y"} 1'],
      ...["# HELP h4_c C.", "# TYPE h4_c gauge", 'h4_c{key="x",le="x",quantile="x",tag__name__="x"} 1']
    ),
    openmetrics: lines(
      ...["# HELP h4_a A.", "# TYPE h4_a histogram", 'h4_a_bucket{le="+Inf",tag_le="x"} 1'],
      ...['h4_a_sum{tag_le="x"} 1', 'h4_a_count{tag_le="x"} 1'],
      ...["# HELP h4_b B.", "# TYPE h4_b counter", 'h4_b_total{tag_key="x",key="y"} 1'],
      ...["# HELP h4_c C.", "# TYPE h4_c gauge", 'h4_c{key="x",le="x",quantile="x",tag__name__="x"} 1']
    )
  },
  {
    title: "names that cannot be as some that can",
    stem: "?5",
    fill: all(
      Metric.set(Metric.gauge("?5 a:b/é😀", { description: "A." }), 1),
      Metric.set(Metric.gauge("?5", { description: "B." }), 2)
    ),
    text: lines(
      ...["# HELP metric_5_a:b___ A.", "# TYPE metric_5_a:b___ gauge", "metric_5_a:b___ 1"],
      ...["# HELP metric_5 B.", "# TYPE metric_5 gauge", "metric_5 2"]
    )
  },
  {
    title: "a name that begins with a digit",
    stem: "5h",
    fill: all(Metric.set(Metric.gauge("5h", { description: "A." }), 1)),
    text: lines("# HELP metric_5h A.", "# TYPE metric_5h gauge", "metric_5h 1")
  }
]

describe("Effect's metrics", () => {
  for (const { fill, openmetrics, stem, text, title } of goldens) {
    it.effect(`expose ${title}`, () =>
      Effect.gen(function* () {
        yield* fill
        assert.strictEqual(yield* exposed(`${stem}*`, "text"), text + count(0))
        assert.strictEqual(yield* exposed(`${stem}*`, "openmetrics"), `${(openmetrics ?? text) + count(0)}# EOF\n`)
      })
    )
  }

  it.effect("expose what is no number in the bucket up to infinity alone", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const size = Metric.histogram("i1_size", MetricBoundaries.fromIterable([-1, 1]))
      for (const value of [Number.NaN, 1, -3]) yield* Metric.update(size, value)
      yield* opened(registry, { include: ["i1_*"] })
      const body = yield* bodyOnce(registry, "text")
      for (const line of ['bucket{le="-1"} 1', 'bucket{le="1"} 2', 'bucket{le="+Inf"} 3', "sum NaN", "count 3"]) {
        assert.include(body, `i1_size_${line}\n`)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("expose a summary in which a NaN was observed, which Effect cannot read, without its quantiles", () =>
    Effect.gen(function* () {
      const options = { maxSize: 10, error: 0, quantiles: [0.5, 0.9, 1] }
      const ages = ["1 day", Duration.infinity, "200 nanos"] as const
      for (const [at, maxAge] of ages.entries()) {
        const summary = Metric.summary({ ...options, name: `h6_${at}`, maxAge, description: "S." })
        for (const value of [1, 3]) yield* Metric.update(summary, value)
        if (at === 1) assert.include(yield* exposed("h6_1", "text"), 'h6_1{quantile="0.5"} 1\n')
        for (const value of [Number.NaN, 2]) yield* Metric.update(summary, value)
        const body = yield* exposed(`h6_${at}`, "text")
        for (const quantile of [0.5, 0.9, 1]) assert.include(body, `\nh6_${at}{quantile="${quantile}"} NaN\n`)
        assert.include(body, `\nh6_${at}_sum NaN\nh6_${at}_count 4\n`)
      }
      assert.strictEqual(Duration.toMillis(Duration.infinity), Number.POSITIVE_INFINITY)
    })
  )

  it.effect("are those of each copy of Effect in the process", () =>
    Effect.gen(function* () {
      const other = createRequire(import.meta.url)("effect") as { readonly Metric: typeof Metric }
      assert.notStrictEqual(other.Metric.counter, Metric.counter)
      const options = { incremental: true, description: "H." } as const
      for (const { counter } of [other.Metric, Metric]) counter("h8_jobs", options).unsafeUpdate(2, [])
      other.Metric.frequency("h8_words").unsafeUpdate("x", [])
      const body = yield* exposed("h8*", "text")
      assert.include(body, "\nh8_jobs_total 4\n")
      assert.include(body, '\nh8_words_total{key="x"} 1\n')
    })
  )

  it.effect("keep the unit of a time that is no timer's as a label, and are not in seconds", () =>
    Effect.gen(function* () {
      yield* Metric.set(Metric.tagged(Metric.gauge("h7_last_ms"), "time_unit", "milliseconds"), 5)
      yield* Metric.update(
        Metric.tagged(Metric.histogram("h7_run_ms", MetricBoundaries.fromIterable([9])), "time_unit", "s"),
        7
      )
      const body = yield* exposed("h7*", "text")
      assert.include(body, '\nh7_last_ms{time_unit="milliseconds"} 5\n')
      assert.include(body, '\nh7_run_ms_sum{time_unit="s"} 7\n')
    })
  )

  it.effect("are read at the scrape, and have the values that Effect says they have", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: ["i2_*"] })
      const counter = Metric.counter("i2_jobs", { incremental: true })
      const timer = Metric.timer("i2_run")
      for (let time = 1; time <= 3; time += 1) {
        yield* Metric.incrementBy(counter, time)
        yield* Metric.update(timer, Duration.millis(time * 111))
        const body = yield* bodyOnce(registry, "text")
        assert.include(body, `\ni2_jobs_total ${(yield* Metric.value(counter)).count}\n`)
        const { buckets, count, sum } = yield* Metric.value(timer)
        assert.include(body, `\ni2_run_seconds_sum ${sum / 1_000}\n`)
        for (const [bound, below] of buckets) {
          const le = bound === Number.POSITIVE_INFINITY ? "+Inf" : bound / 1_000
          assert.include(body, `\ni2_run_seconds_bucket{le="${le}"} ${below}\n`)
        }
        assert.include(body, `\ni2_run_seconds_count ${count}\n`)
        assert.strictEqual(body.split("+Inf").length, 2)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("are added up where they are the same series, made again or with tags in another order", () =>
    Effect.gen(function* () {
      const bounds = () => MetricBoundaries.fromIterable([1])
      for (const value of [0.5, 2]) yield* Metric.update(Metric.histogram("i3_a", bounds(), "A."), value)
      yield* Metric.update(Metric.histogram("i3_a", bounds(), "Another text."), 3)
      const counter = Metric.counter("i3_b", { incremental: true })
      yield* Metric.increment(Metric.tagged(Metric.tagged(counter, "x", "1"), "y", "2"))
      yield* Metric.incrementBy(Metric.tagged(Metric.tagged(counter, "y", "2"), "x", "1"), 4)
      yield* Metric.increment(Metric.tagged(counter, "x", ""))
      yield* Metric.increment(counter)
      const open = Metric.counter("i3_d")
      yield* Metric.incrementBy(Metric.tagged(Metric.tagged(open, "x", "1"), "y", "2"), 3)
      yield* Metric.incrementBy(Metric.tagged(Metric.tagged(open, "y", "2"), "x", "1"), -4)
      for (const word of ["\ud800", "\ud801"]) yield* Metric.update(Metric.frequency("i3_c"), word)
      const body = yield* exposed("i3_*", "openmetrics")
      for (const line of ['a_bucket{le="1"} 1', 'a_bucket{le="+Inf"} 3', "a_sum 5.5", "a_count 3"]) {
        assert.include(body, `\ni3_${line}\n`)
      }
      assert.include(body, '\ni3_b_total{x="1",y="2"} 5\n')
      assert.include(body, '\ni3_b_total{x=""} 2\n')
      assert.include(body, '\ni3_d{x="1",y="2"} -1\n')
      assert.include(body, '\ni3_c_total{key="\ufffd"} 2\n')
      assert.include(body, count(0))
    })
  )

  it.effect("have series with other bounds in one family", () =>
    Effect.gen(function* () {
      const one = Metric.histogram("i4", MetricBoundaries.fromIterable([1]), "I.")
      const other = Metric.histogram("i4", MetricBoundaries.fromIterable([2, 3]), "I.")
      yield* Metric.update(Metric.tagged(one, "x", "1"), 1)
      yield* Metric.update(Metric.tagged(other, "x", "2"), 3)
      const series = lines(
        ...["# HELP i4 I.", "# TYPE i4 histogram"],
        ...['i4_bucket{le="1",x="1"} 1', 'i4_bucket{le="+Inf",x="1"} 1', 'i4_sum{x="1"} 1', 'i4_count{x="1"} 1'],
        ...['i4_bucket{le="2",x="2"} 0', 'i4_bucket{le="3",x="2"} 1', 'i4_bucket{le="+Inf",x="2"} 1'],
        ...['i4_sum{x="2"} 3', 'i4_count{x="2"} 1']
      )
      assert.strictEqual(yield* exposed("i4", "text"), series + count(0))
      assert.strictEqual(yield* exposed("i4", "openmetrics"), `${series + count(0)}# EOF\n`)
    })
  )
})

/** The warnings of two expositions of those metrics, and how many are said to be left out. */
const renderIncluded = (include: string, registry: MetricRegistry = new PromClient.Registry()) =>
  logged(function* (warnings) {
    const body = yield* exposed(include, "text", registry)
    yield* exposed(include, "openmetrics", registry)
    const [, leftOut] = /^effect_prometheus_metrics_left_out\S* (\d+)$/m.exec(body) ?? []
    return { body, warnings: [...warnings].sort(), leftOut: Number(leftOut) }
  })

describe("A metric of Effect that clashes", () => {
  it.effect("with one of another kind is left out, logged once and counted", () =>
    Effect.gen(function* () {
      yield* Metric.set(Metric.gauge("j1.a", { description: "A." }), 1)
      for (const value of [1, 2]) yield* Metric.set(Metric.tagged(Metric.gauge("j1.a"), "x", `${value}`), value)
      for (const value of ["1", "2"]) yield* Metric.update(Metric.tagged(sizes("j1 a"), "x", value), 1)
      yield* Metric.increment(Metric.counter("j1_b", { incremental: true }))
      yield* Metric.update(Metric.frequency("j1_b"), "x")
      const { body, leftOut, warnings } = yield* renderIncluded("j1*")
      assert.deepStrictEqual(warnings, [
        "WARN Effect's frequency j1_b is left out: Effect's counter j1_b already has the name j1_b_total",
        "WARN Effect's histogram j1 a is left out: Effect's gauge j1.a already has the name j1_a"
      ])
      assert.strictEqual(leftOut, 2)
      for (const line of ["j1_a 1", 'j1_a{x="1"} 1', 'j1_a{x="2"} 2', "j1_b_total 1"])
        assert.include(body, `\n${line}\n`)
      assert.notInclude(body, "bucket")
    })
  )

  it.effect(
    "with itself is left out if its values cannot be added up, and logged once however many series it has",
    () =>
      Effect.gen(function* () {
        for (const place of [1, 2, 3]) {
          const gauge = Metric.tagged(Metric.gauge("j2_a"), "place", `${place}`)
          yield* Metric.set(Metric.tagged(gauge, "x", "1"), place)
          yield* Metric.set(
            Metric.taggedWithLabels(Metric.gauge("j2_a"), [x1, MetricLabel.make("place", `${place}`)]),
            7
          )
        }
        for (const value of [1, 2]) yield* Metric.update(aSummary("j2_b"), value)
        for (const bounds of [[1], [2]])
          yield* Metric.update(Metric.histogram("j2_c", MetricBoundaries.fromIterable(bounds)), 1)
        // Both are gauges here, and only one of them is of what can be added up.
        const values = [Metric.gauge("j2_d"), Metric.counter("j2_d"), Metric.counter("j2_e"), Metric.gauge("j2_e")]
        for (const metric of values) metric.unsafeUpdate(1, [])
        const { body, leftOut, warnings } = yield* renderIncluded("j2*")
        const both = warnings.filter((line) => /j2_[de] /.test(line))
        assert.lengthOf(both, 2)
        for (const [at, name] of ["j2_d", "j2_e"].entries()) {
          assert.match(both[at] ?? "", new RegExp(`${name} is left out: the family ${name} already has the series {}$`))
          assert.include(body, `\n${name} 1\n`)
        }
        assert.deepStrictEqual(
          warnings.filter((line) => !both.includes(line)),
          [
            'WARN Effect\'s gauge j2_a is left out: the family j2_a already has the series {place="1",x="1"}',
            "WARN Effect's histogram j2_c is left out: the family j2_c already has the series {}",
            "WARN Effect's summary j2_b is left out: the family j2_b already has the series {}"
          ]
        )
        assert.strictEqual(leftOut, 5)
        assert.include(body, '\nj2_a{place="3",x="1"} 3\n')
        assert.include(body, "\nj2_b_count 1\n")
        assert.include(body, '\nj2_c_bucket{le="1"} 1\n')
        assert.notInclude(body, 'le="2"')
      })
  )

  it.effect("in the names of its samples alone is left out as well", () =>
    Effect.gen(function* () {
      yield* Metric.update(sizes("j3"), 1)
      for (const suffix of ["sum", "count", "bucket", "created", "other"])
        yield* Metric.set(Metric.gauge(`j3_${suffix}`), 1)
      yield* Metric.set(Metric.gauge("j3_b_sum"), 1)
      yield* Metric.update(aSummary("j3_b"), 1)
      const { body, leftOut } = yield* renderIncluded("j3*")
      assert.strictEqual(leftOut, 5)
      assert.include(body, "# TYPE j3_other gauge\n")
      assert.include(body, "# TYPE j3_b_sum gauge\n")
      assert.notInclude(body, "# TYPE j3_b summary\n")
    })
  )

  it.effect("in OpenMetrics alone has type unknown there, which is logged", () =>
    Effect.gen(function* () {
      yield* Metric.increment(Metric.counter("j4", { incremental: true }))
      yield* Metric.set(Metric.gauge("j4"), 2)
      const { body, leftOut, warnings } = yield* renderIncluded("j4")
      assert.strictEqual(leftOut, 0)
      assert.include(body, "# TYPE j4_total counter\nj4_total 1\n")
      assert.include(body, "# TYPE j4 gauge\nj4 2\n")
      assert.deepStrictEqual(warnings, [
        "WARN the counter j4_total has type unknown in OpenMetrics, because its family name there clashes with the metric j4"
      ])
      assert.include(yield* exposed("j4", "openmetrics"), "# TYPE j4_total unknown\nj4_total 1\n")
    })
  )

  it.scopedLive("with what an exposition has of itself is left out, also where a worker adds it", () =>
    logged(function* (warnings) {
      const names = [leftOut, "effect_prometheus_exposition_age_seconds"]
      for (const name of names) yield* Metric.set(Metric.gauge(name), 77)
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: names })
      const { url } = yield* started(inPatientWorker, {}, { registry })
      for (const format of formats) {
        const { body } = yield* get(url, { headers: { accept: contentTypes[format] } })
        parsers[format](body)
        assert.include(body, `\n${leftOut} 2\n`)
        assert.include(body, "\neffect_prometheus_exposition_age_seconds 0\n")
        assert.notInclude(body, " 77\n")
      }
      yield* bodyOnce(registry, "text")
      const whose = ["the number of metrics left out", "the age of an exposition"]
      assert.sameMembers(
        warnings.filter((line) => line.startsWith("WARN")),
        names.map(
          (name, at) =>
            `WARN Effect's gauge ${name} is left out: its name ${name} clashes with ${name}, which is ${whose[at]}`
        )
      )
    })
  )

  it.effect("with itself by the default labels of the registry is left out there", () =>
    Effect.gen(function* () {
      yield* Metric.set(Metric.tagged(Metric.gauge("j7"), "service", "a"), 1)
      yield* Metric.set(Metric.gauge("j7"), 2)
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: ["j7"] })
      assert.include(yield* bodyOnce(registry, "text"), '\nj7{service="a"} 1\nj7 2\n')
      registry.setDefaultLabels({ service: "a" })
      const { body, leftOut } = yield* renderIncluded("j7", registry)
      assert.strictEqual(leftOut, 1)
      assert.include(body, '\nj7{service="a"} 1\n#')
      registry.setDefaultLabels({ service: "b" })
      assert.include(yield* bodyOnce(registry, "text"), '\nj7{service="a"} 1\nj7{service="b"} 2\n')
      registry.setDefaultLabels({ service: "a" })
      const last = yield* bodyOnce(registry, "text")
      assert.include(last, '\nj7{service="a"} 1\n#')
      assert.include(last, '\neffect_prometheus_metrics_left_out{service="a"} 1\n')
    }).pipe(Effect.scoped)
  )

  it.effect("has a snapshot that throws midway, or invalid bounds, is left out", () =>
    Effect.gen(function* () {
      const summary = { name: "j5_a", maxAge: "1 day", error: 0, quantiles: [0.5] } as const
      yield* Metric.update(Metric.summary({ ...summary, maxSize: 0 }), 1)
      yield* Metric.update(Metric.histogram("j5_b", MetricBoundaries.fromIterable([1, Number.NaN])), 1)
      yield* Metric.set(Metric.taggedWithLabels(Metric.gauge("j5_c"), [{ ...x1, value: Object.create(null) }]), 1)
      yield* Metric.set(Metric.gauge("j5_d"), 1)
      const { body, leftOut, warnings } = yield* renderIncluded("j5*")
      assert.strictEqual(leftOut, 3)
      assert.deepStrictEqual(warnings, [
        "WARN Effect's histogram j5_b is left out: its boundaries must be numbers in increasing order",
        "WARN Effect's summary j5_a is left out: its maxSize must be at least 1, not 0",
        "WARN a metric of Effect is left out, because it cannot be read: Cannot convert object to primitive value"
      ])
      assert.include(body, "\nj5_d 1\n")
    })
  )

  for (const { client, name } of clients) {
    for (const format of formats) {
      it.effect(`with one on a registry of ${name} leaves that as it is, in ${format}`, () =>
        Effect.gen(function* () {
          const registry = new client.Registry()
          const options = { help: "Own.", registers: [registry] }
          new client.Counter({ ...options, name: "j6_a_total" }).inc(5)
          new client.Histogram({ ...options, name: "j6_b", buckets: [1] }).observe(5)
          new client.Summary({ ...options, name: "j6_c", percentiles: [0.5] }).observe(5)
          new client.Gauge({ ...options, name: "j6_d" }).set(5)
          new client.Gauge({ ...options, name: "j6_e_sum" }).set(5)
          const before = yield* bodyOnce(registry, format)
          for (const clash of ["a", "a_created", "a_total", "b", "b_bucket", "b_sum", "b_created", "c_count", "d"]) {
            yield* Metric.set(Metric.gauge(`j6_${clash}`), 1)
          }
          yield* Metric.increment(Metric.counter("j6_a", { incremental: true }))
          const counter = Metric.counter("j6_d", { incremental: true })
          yield* Metric.increment(counter)
          yield* Metric.update(sizes("j6_e"), 1)
          yield* Metric.set(Metric.gauge("j6_a_bucket"), 1)
          const after = yield* exposed("j6_*", format, registry)
          const end = format === "text" ? "" : "# EOF\n"
          assert.isTrue(after.startsWith(before.slice(0, before.length - end.length)))
          const more = after.slice(before.length - end.length)
          const ofCounter =
            format === "text"
              ? lines("# HELP j6_d_total Effect's counter j6_d, without a description.", "# TYPE j6_d_total counter")
              : lines("# HELP j6_d_total Effect's counter j6_d, without a description.", "# TYPE j6_d_total unknown")
          assert.strictEqual(
            more,
            `${ofCounter}j6_d_total ${(yield* Metric.value(counter)).count}\n# HELP j6_a_bucket Effect's gauge j6_a_bucket, without a description.\n` +
              `# TYPE j6_a_bucket gauge\nj6_a_bucket 1\n${count(11)}${end}`
          )
        })
      )
    }
  }
})

const x1 = MetricLabel.make("x", "1")

const sizes = (name: string) => Metric.histogram(name, MetricBoundaries.fromIterable([1]))

const aSummary = (name: string) => Metric.summary({ name, maxAge: "1 day", maxSize: 9, error: 0, quantiles: [0.5] })

describe("EffectMetrics", () => {
  const gauge = Metric.gauge("k1_a", { description: "A." })
  const family = lines("# HELP k1_a A.", "# TYPE k1_a gauge", "k1_a 1")

  for (const { client, name } of clients) {
    it.effect(
      `exposes them on a registry of ${name} until the last scope closes, once, and changes nothing there`,
      () =>
        Effect.gen(function* () {
          const registry = new client.Registry()
          new client.Gauge({ name: "own", help: "Own.", registers: [registry] })
          yield* Metric.set(gauge, 1)
          const before = yield* bodyOnce(registry, "text")
          const scopes = yield* Effect.replicateEffect(Scope.make(), 3)
          for (const scope of scopes) {
            yield* Scope.extend(opened(registry, { include: ["k1_*"] }), scope)
            assert.strictEqual(yield* bodyOnce(registry, "text"), before + family + count(0))
          }
          assert.lengthOf(registry.getMetricsAsArray(), 1)
          assert.strictEqual(yield* Effect.promise(() => registry.metrics()), `${before}\n`.replace(/\n+$/, "\n"))
          for (const [place, scope] of scopes.entries()) {
            assert.strictEqual(yield* bodyOnce(registry, "text"), before + family + count(0), `${place}`)
            yield* Scope.close(scope, Exit.void)
          }
          assert.strictEqual(yield* bodyOnce(registry, "text"), before)
          yield* Effect.scoped(opened(registry, { include: ["k1_*"] }))
          assert.strictEqual(yield* bodyOnce(registry, "text"), before)
        })
    )
  }

  it.effect("exposes them on the registry in context, and on no other", () =>
    Effect.gen(function* () {
      yield* Metric.set(gauge, 1)
      const [registry, other] = [new PromClient.Registry(), new PromClient.Registry()]
      yield* opened(registry, { include: ["k1_*"] })
      assert.strictEqual(yield* bodyOnce(other, "text"), "")
      assert.strictEqual(yield* bodyOnce(PromClient.register, "text"), "")
      assert.strictEqual(yield* bodyOnce(registry, "text"), family + count(0))
    }).pipe(Effect.scoped)
  )

  it.effect("exposes what one of those who opened it wants, and under each of their prefixes", () =>
    Effect.gen(function* () {
      for (const name of ["a.x", "a.y", "b", "c"]) yield* Metric.set(Metric.gauge(`k2_${name}`), 1)
      const registry = new PromClient.Registry()
      const names = (): Effect.Effect<ReadonlyArray<string>, Exposition.ExpositionError> =>
        Effect.map(renderedOnce(registry), ({ body }) =>
          [...body.matchAll(/^# TYPE (\w+)/gm)].map(([, name = ""]) => name).filter((name) => name !== leftOut)
        )
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* opened(registry, { include: ["k2_a.*", "k2_b"], exclude: ["*y"] })
          assert.deepStrictEqual(yield* names(), ["k2_a_x", "k2_b"])
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* opened(registry, { include: ["k2_c", "k2_b"], exclude: [] })
              assert.deepStrictEqual(yield* names(), ["k2_a_x", "k2_b", "k2_c"])
              yield* opened(registry, { include: ["k2_*x"], prefix: "app_" })
              assert.deepStrictEqual(yield* names(), ["k2_a_x", "k2_b", "k2_c", "app_k2_a_x"])
            })
          )
          assert.deepStrictEqual(yield* names(), ["k2_a_x", "k2_b"])
        })
      )
      assert.deepStrictEqual(yield* names(), [])
    })
  )

  it.effect("exposes all that Effect has where nothing else is asked for, its fibers included", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry, {})
      yield* Effect.forEach([Effect.void, Effect.void, Effect.fail("no")], (self) => Fiber.await(Effect.runFork(self)))
      const families = parsers.text(yield* bodyOnce(registry, "text"))
      const value = (name: string) => families.find((family) => family.name === name)?.samples[0]?.value ?? Number.NaN
      const helps = new Map(families.map(({ help, name, type }) => [name, `${type}: ${help}`]))
      assert.strictEqual(helps.get("effect_fiber_started_total"), "counter: Fibers started.")
      assert.strictEqual(helps.get("effect_fiber_active"), "gauge: Fibers that have started but not ended.")
      assert.isAtLeast(value("effect_fiber_successes_total"), 2)
      assert.isAtLeast(value("effect_fiber_failures_total"), 1)
      const lifetimes = families.find(({ name }) => name === "effect_fiber_lifetimes_seconds")?.samples ?? []
      assert.strictEqual(lifetimes[0]?.labels.get("le"), "0.0005")
      assert.deepStrictEqual([...new Set(lifetimes.flatMap(({ labels }) => [...labels.keys()]))], ["le"])
      assert.include(
        families.map(({ name }) => name),
        "k1_a"
      )
    }).pipe(Effect.scoped)
  )

  it.effect("narrows them to name[], as the others", () =>
    Effect.gen(function* () {
      yield* Metric.set(gauge, 1)
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: ["k*"] })
      assert.strictEqual((yield* renderedOnce(registry, { names: ["k1_a"] })).body, family)
      assert.strictEqual((yield* renderedOnce(registry, { names: ["k1_b"] })).body, "")
    }).pipe(Effect.scoped)
  )

  it.effect("leaves out a value that is no number, logs that once, and serves the others", () =>
    logged(function* (lines) {
      const broken = Metric.gauge("k3_broken")
      yield* Metric.set(broken, "much" as never)
      yield* Metric.set(Metric.gauge("k3_whole"), 1)
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: ["k3_*"] })
      for (const format of [...formats, ...formats]) {
        const body = yield* bodyOnce(registry, format)
        parsers[format](body)
        assert.include(body, "\nk3_whole 1\n")
        assert.notMatch(body, /^k3_broken /m)
      }
      assert.deepStrictEqual(lines, ["WARN metric k3_broken: samples whose value is not a number are left out"])
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), {})
      yield* Metric.set(broken, 2)
      assert.include((yield* renderedOnce(registry)).body, "\nk3_broken 2\n")
    }).pipe(Effect.scoped)
  )

  for (const kind of serverKinds) {
    it.scopedLive(`has them served by a metrics server ${kind.name}`, () =>
      Effect.gen(function* () {
        const registry = new PromClient.Registry()
        yield* opened(registry, { include: ["k4_*"] })
        const { url } = yield* started(kind, { selfMetrics: false }, { registry })
        const counter = Metric.counter("k4_jobs", { incremental: true, description: "Jobs." })
        const own = lines("# HELP k4_jobs_total Jobs.", "# TYPE k4_jobs_total counter")
        for (const value of [1, 2]) {
          yield* Metric.increment(Metric.tagged(counter, "kind", kind.name))
          const { body } = yield* get(`${url}?name[]=k4_jobs_total`)
          assert.include(body, `${own}k4_jobs_total{kind="in`)
          assert.include(body, `\nk4_jobs_total{kind="${kind.name}"} ${value}\n`)
          assert.include((yield* get(url)).body, body)
        }
      })
    )
  }

  it.live("is read while series come, values change, scopes close and others open", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const scope = yield* Scope.make()
      yield* Scope.extend(opened(registry, { include: ["k5_*"] }), scope)
      let series = 0
      const grow = Effect.sync(() => {
        for (let more = 0; more < 1_000; more += 1) {
          const tags = [MetricLabel.make("place", `${series}`)]
          five.unsafeUpdate(1, tags)
          fiveTimer.unsafeUpdate(Duration.millis(3), tags)
          Metric.gauge(`k5_${series % 7}`).unsafeUpdate(series, tags)
          series += 1
        }
        // Others than those of the family so far: its lines are other ones from now on.
        Metric.tagged(Metric.timerWithBoundaries("k5_run", [series]), "other", `${series}`).unsafeUpdate(
          Duration.millis(1),
          []
        )
      })
      const scrape = (format: Format) =>
        Effect.map(bodyOnce(registry, format), (body) => {
          parsers[format](body)
          return body
        })
      yield* grow
      for (let round = 0; round < 4; round += 1) {
        const other = yield* Scope.make()
        const scrapes = yield* Effect.fork(
          Effect.all([scrape("text"), scrape("openmetrics"), scrape("text")], { concurrency: "unbounded" })
        )
        // Each of these finds them on their way.
        yield* Effect.yieldNow()
        yield* nextTurn
        yield* grow
        yield* Scope.extend(opened(registry, { include: ["k5_*", "k1_*"] }), other)
        const bodies = yield* Fiber.join(scrapes)
        for (const body of bodies) {
          assert.include(body, 'k5_jobs_total{place="999"} ')
          assert.include(body, 'k5_run_seconds_count{place="999"} ')
        }
        yield* Scope.close(other, Exit.void)
      }
      // Until there is time for a render to begin at once.
      for (let turn = 0; turn < 4; turn += 1) yield* nextTurn
      const last = yield* Effect.fork(scrape("text"))
      yield* nextTurn
      yield* Scope.close(scope, Exit.void)
      assert.include(yield* Fiber.join(last), 'k5_jobs_total{place="999"} ')
      assert.strictEqual(yield* bodyOnce(registry, "text"), "")
    })
  )

  const five = Metric.counter("k5_jobs", { incremental: true })
  const fiveTimer = Metric.timerWithBoundaries("k5_run", [1, 5])
  const nextTurn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

  it.live("yields to the event loop repeatedly if there are many series", () =>
    Effect.gen(function* () {
      const timer = Metric.timer("k6_run")
      for (let place = 0; place < 10_000; place += 1) {
        timer.unsafeUpdate(Duration.millis(place), [MetricLabel.make("place", `${place}`)])
      }
      const registry = new PromClient.Registry()
      yield* opened(registry, { include: ["k6_*"] })
      for (const format of [...formats, ...formats]) {
        let turns = 0
        let isOver = false
        const turning = async (): Promise<void> => {
          for (; !isOver; turns += 1) await new Promise((resolve) => setImmediate(resolve))
        }
        const others = turning()
        const body = yield* bodyOnce(registry, format)
        isOver = true
        yield* Effect.promise(() => others)
        assert.isAtLeast(turns, 5)
        assert.strictEqual(body.split("\nk6_run_seconds_count{").length, 10_001)
      }
    }).pipe(Effect.scoped)
  )
})

describe("The option fibers", () => {
  const isOn = Effect.map(Effect.getRuntimeFlags, RuntimeFlags.runtimeMetrics)
  const off = Layer.provide(EffectMetrics.layer({ fibers: false }), Registry.layer(new PromClient.Registry()))
  const on = Layer.provide(EffectMetrics.layer({ fibers: true }), Registry.layer(new PromClient.Registry()))
  const unchanged = Layer.provide(EffectMetrics.layer(), Registry.layer(new PromClient.Registry()))
  const switchedOff = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.provide(self, RuntimeFlags.disableRuntimeMetrics)

  it.effect("is as the runtime has it by default, which is on", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* isOn)
      assert.isTrue(yield* Effect.provide(isOn, unchanged))
      assert.isFalse(yield* switchedOff(Effect.provide(isOn, unchanged)))
    })
  )

  it.effect("switches what the layer is provided to", () =>
    Effect.gen(function* () {
      assert.isFalse(yield* Effect.provide(isOn, off))
      assert.isTrue(yield* switchedOff(Effect.provide(isOn, on)))
      assert.isTrue(yield* isOn)
      const seen = yield* Effect.cached(isOn)
      yield* Effect.scoped(Layer.build(Layer.provide(Layer.effectDiscard(seen), off)))
      assert.isFalse(yield* seen)
      const runtime = ManagedRuntime.make(off)
      assert.isFalse(yield* Effect.promise(() => runtime.runPromise(isOn)))
      yield* Effect.promise(() => runtime.dispose())
    })
  )

  it.effect("keeps fibers from being counted", () =>
    Effect.gen(function* () {
      const counted = Effect.gen(function* () {
        const started = Metric.tagged(Metric.counter("effect_fiber_started", { incremental: true }), "k", "fibers")
        const before = (yield* Metric.value(started)).count
        yield* Effect.tagMetrics(
          Effect.forEach([1, 2], () => Effect.flatMap(Effect.fork(Effect.void), Fiber.join)),
          "k",
          "fibers"
        )
        return (yield* Metric.value(started)).count - before
      })
      assert.strictEqual(yield* counted, 2)
      assert.strictEqual(yield* Effect.provide(counted, off), 0)
    })
  )
})

describe("The options of EffectMetrics", () => {
  const refused: ReadonlyArray<readonly [options: object | null, message: string]> = [
    [{ prefix: "9_" }, 'prefix must start with a letter and contain only letters, digits, _ and :, not "9_"'],
    [{ prefix: "_a" }, 'prefix must start with a letter and contain only letters, digits, _ and :, not "_a"'],
    [{ prefix: 5 }, "prefix must start with a letter and contain only letters, digits, _ and :, not 5"],
    [{ include: [] }, "include must not be empty: no metric would be exposed"],
    [{ include: "a" }, "include must be an array of non-empty strings"],
    [{ exclude: [""] }, "exclude must be an array of non-empty strings"],
    [{ exclude: { length: 0 } }, "exclude must be an array of non-empty strings"],
    [{ fibers: "yes" }, 'fibers must be true or false, not "yes"'],
    [
      { exclud: ["a"] },
      "unknown option exclud (did you mean exclude?); the options are prefix, include, exclude, fibers"
    ],
    [null, "options must be an object with options, not null"]
  ]
  for (const [options, message] of refused) {
    it.effect(`are refused: ${message}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(EffectMetrics.layer(options as never))))
        assert.instanceOf(error, EffectMetrics.EffectMetricsError)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.strictEqual(error.message, message)
        assert.instanceOf(error.cause, RangeError)
      })
    )
  }

  it.effect("that are undefined are those by default, and characters of a pattern other than * are literal", () =>
    Effect.gen(function* () {
      for (const name of ["m1.a", "m1(a)", "m1_a"]) yield* Metric.set(Metric.gauge(name), 1)
      const registry = new PromClient.Registry()
      yield* opened(registry, { prefix: undefined, include: ["m1.*", "*(a)"], exclude: undefined, fibers: undefined })
      const names = [...(yield* bodyOnce(registry, "text")).matchAll(/^# TYPE (m1\w+)/gm)].map(([, name]) => name)
      assert.deepStrictEqual(names, ["m1_a", "m1_a_"])
    }).pipe(Effect.scoped)
  )

  it.effect("come from configuration", () =>
    Effect.gen(function* () {
      for (const name of ["m2_a", "m2_b"]) yield* Metric.set(Metric.gauge(name), 1)
      const registry = new PromClient.Registry()
      const layer = EffectMetrics.layerConfig({
        prefix: Config.withDefault(Config.string("METRICS_PREFIX"), ""),
        include: Config.array(Config.string(), "METRICS_INCLUDE"),
        exclude: Config.withDefault(Config.array(Config.string(), "METRICS_EXCLUDE"), []),
        fibers: Config.boolean("METRICS_FIBERS")
      })
      const built = (values: Readonly<Record<string, string>>) =>
        Layer.build(
          layer.pipe(
            Layer.provide(Registry.layer(registry)),
            Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values)))))
          )
        )
      yield* built({
        METRICS_PREFIX: "app_",
        METRICS_INCLUDE: "m2_a, m2_b",
        METRICS_EXCLUDE: "*b",
        METRICS_FIBERS: "true"
      })
      const body = yield* bodyOnce(registry, "text")
      assert.include(body, "\napp_m2_a 1\n")
      assert.notInclude(body, "m2_b")
      const missing = yield* Effect.flip(built({ METRICS_INCLUDE: "m2_a" }))
      assert.include(String(missing), "METRICS_FIBERS")
      const invalid = yield* Effect.flip(built({ METRICS_PREFIX: "_", METRICS_INCLUDE: "m2_a", METRICS_FIBERS: "no" }))
      assert.instanceOf(invalid, EffectMetrics.EffectMetricsError)
    }).pipe(Effect.scoped)
  )
})
