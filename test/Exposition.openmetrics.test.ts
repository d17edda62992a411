import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import { type Family, parseOpenMetrics, parseText } from "./support/expositionParser.js"
import { bodyOf, formats, logged, parsers } from "./support/expositions.js"

describe("Families that clash in OpenMetrics alone", () => {
  interface Clash {
    readonly title: string
    readonly make: (registers: Array<PromClient.Registry>) => void
  }
  const jobsTotal = (registers: Array<PromClient.Registry>): void =>
    new PromClient.Counter({ name: "jobs_total", help: "Jobs done.", registers }).inc(3)
  const clashes: ReadonlyArray<Clash> = [
    {
      title: "a counter jobs_total and a gauge jobs after it",
      make: (registers) => {
        jobsTotal(registers)
        new PromClient.Gauge({ name: "jobs", help: "Jobs that run.", registers }).set(2)
      }
    },
    {
      title: "a counter jobs_total and a histogram jobs before it",
      make: (registers) => {
        new PromClient.Histogram({ name: "jobs", help: "Run time of jobs.", registers }).observe(2)
        jobsTotal(registers)
      }
    },
    {
      title: "a counter jobs_total and a counter jobs",
      make: (registers) => {
        jobsTotal(registers)
        new PromClient.Counter({ name: "jobs", help: "Jobs begun.", registers }).inc(4)
      }
    },
    {
      title: "a counter jobs_total and a gauge jobs_created",
      make: (registers) => {
        jobsTotal(registers)
        new PromClient.Gauge({ name: "jobs_created", help: "When the last job was made.", registers }).set(2)
      }
    }
  ]

  for (const { make, title } of clashes) {
    it.effect(`such as ${title} are valid OpenMetrics, with the series of text, and logged in one warning`, () =>
      logged(function* (lines) {
        const registry = new PromClient.Registry()
        make([registry])
        const text = parseText(yield* bodyOf(registry, "text"))
        assert.deepStrictEqual(lines, [])
        const openmetrics = parseOpenMetrics(yield* bodyOf(registry, "openmetrics"))
        yield* bodyOf(registry, "openmetrics")
        assert.deepStrictEqual(seriesOf(openmetrics), seriesOf(text))
        assert.strictEqual(openmetrics.find(({ name }) => name === "jobs_total")?.type, "unknown")
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /^WARN .*\bjobs_total\b/)
      })
    )
  }

  it.effect("are the same ones when only one of them is asked for by name", () =>
    logged(function* () {
      const registry = new PromClient.Registry()
      clashes[0]?.make([registry])
      const [family, ...others] = parseOpenMetrics(yield* bodyOf(registry, "openmetrics", { names: ["jobs_total"] }))
      assert.deepInclude(family, { name: "jobs_total", type: "unknown" })
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("are not said to clash where no counter has a name in _total", () =>
    logged(function* (lines) {
      const registry = new PromClient.Registry()
      const registers = [registry]
      new PromClient.Counter({ name: "jobs", help: "Jobs.", registers })
      // As many letters after the other name as there are in _total.
      new PromClient.Counter({ name: "jobs_begun", help: "Jobs begun.", registers })
      yield* bodyOf(registry, "openmetrics")
      assert.deepStrictEqual(lines, [])
    })
  )
})

const seriesOf = (families: ReadonlyArray<Family>) =>
  families.flatMap(({ samples }) => samples.map(({ name, labels, value }) => [name, [...labels], value]))

describe("Values that a client accepts do not invalidate an exposition in OpenMetrics:", () => {
  const withExemplars = () => {
    const registry = new PromClient.Registry<PromClient.OpenMetricsContentType>()
    registry.setContentType(PromClient.Registry.OPENMETRICS_CONTENT_TYPE)
    const options = { help: "h", registers: [registry], enableExemplars: true }
    const counter = new PromClient.Counter<string>({ ...options, name: "jobs_total" })
    const histogram = new PromClient.Histogram<string>({ ...options, name: "run_seconds", buckets: [1] })
    return { registry, counter, histogram }
  }

  it.effect("an exemplar of more than 128 characters, which the client refuses after it counted", () =>
    Effect.gen(function* () {
      const { registry, counter, histogram } = withExemplars()
      const exemplarLabels = { trace_id: "4bf92f35".repeat(17) }
      assert.throws(() => counter.inc({ value: 1, exemplarLabels }))
      assert.throws(() => histogram.observe({ value: 0.5, exemplarLabels }))
      const families = parseOpenMetrics(yield* bodyOf(registry, "openmetrics"))
      assert.deepInclude(seriesOf(families), ["jobs_total", [], 1])
      assert.deepInclude(seriesOf(families), ["run_seconds_count", [], 1])
    })
  )

  it.effect("an exemplar with an invalid label name", () =>
    Effect.gen(function* () {
      const { registry, counter } = withExemplars()
      counter.inc({ value: 1, exemplarLabels: { "trace-id": "4bf92f" } })
      const families = parseOpenMetrics(yield* bodyOf(registry, "openmetrics"))
      assert.deepInclude(seriesOf(families), ["jobs_total", [], 1])
    })
  )

  it.effect("an exemplar with U+0000, for which Prometheus fails the whole scrape", () =>
    Effect.gen(function* () {
      const { registry, counter, histogram } = withExemplars()
      const exemplarLabels = { trace_id: "4bf92f\0" }
      counter.inc({ value: 1, exemplarLabels })
      histogram.observe({ value: 0.5, exemplarLabels })
      const families = parseOpenMetrics(yield* bodyOf(registry, "openmetrics"))
      assert.deepStrictEqual(
        families.flatMap(({ samples }) => samples.flatMap(({ exemplar }) => exemplar ?? [])),
        []
      )
      assert.deepInclude(seriesOf(families), ["jobs_total", [], 1])
    })
  )

  it.effect("a bucket up to Infinity beside the one that every histogram has", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const buckets = [1, Number.POSITIVE_INFINITY]
      new PromClient.Histogram({ name: "run_seconds", help: "h", buckets, registers: [registry] }).observe(2)
      for (const format of formats) {
        const [family] = parsers[format](yield* bodyOf(registry, format))
        const bounds = family?.samples.flatMap(({ labels }) => labels.get("le") ?? [])
        assert.deepStrictEqual(bounds, ["1", "+Inf"])
      }
    })
  )

  it.effect("a bucket up to Infinity with an exemplar, which is then that of +Inf", () =>
    Effect.gen(function* () {
      const { registry } = withExemplars()
      const options = { name: "wait_seconds", help: "h", registers: [registry], enableExemplars: true }
      const histogram = new PromClient.Histogram<string>({ ...options, buckets: [1, Number.POSITIVE_INFINITY] })
      histogram.observe({ value: 2, exemplarLabels: { trace_id: "4bf92f" } })
      const [family] = parseOpenMetrics(yield* bodyOf(registry, "openmetrics", { names: ["wait_seconds"] }))
      const buckets = family?.samples.filter(({ name }) => name === "wait_seconds_bucket") ?? []
      assert.deepStrictEqual(
        buckets.map(({ exemplar, labels }) => [labels.get("le"), exemplar?.labels.get("trace_id")]),
        [
          ["1", undefined],
          ["+Inf", "4bf92f"]
        ]
      )
    })
  )

  it.effect("a gauge with a label le, which is no bucket", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const gauge = new PromClient.Gauge({ name: "limit", help: "h", labelNames: ["le"], registers: [registry] })
      gauge.set({ le: Number.POSITIVE_INFINITY }, 1)
      assert.include(yield* bodyOf(registry, "openmetrics"), 'limit{le="Infinity"} 1\n')
    })
  )

  it.effect("a counter that is called _total and nothing else", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      new PromClient.Counter({ name: "_total", help: "h", registers: [registry] }).inc(1)
      assert.strictEqual(
        yield* bodyOf(registry, "openmetrics"),
        "# HELP _total h\n# TYPE _total unknown\n_total 1\n# EOF\n"
      )
    })
  )
})
