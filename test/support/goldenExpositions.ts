/** Expositions, written by hand. */
import type { Registry as PromRegistry } from "prom-client"
import type { Format } from "./arbitraryRegistries.js"
import { metric } from "./expositions.js"
import type { Client } from "./metrics.js"

/** A registry, and its exposition as it must arrive. */
export interface Golden {
  readonly title: string
  readonly fill: (client: Client, registry: PromRegistry) => void
  readonly text: string
  /** Default: the text, with the end that OpenMetrics demands. */
  readonly openmetrics?: string
  /** For metrics that take exemplars, which the clients let on no registry for text. */
  readonly onlyOn?: Format
}

/** The time at which `fill` runs, in milliseconds since the epoch. */
export const goldenTime = 1_700_000_000_123

export const goldens: ReadonlyArray<Golden> = [
  {
    title: "an empty registry",
    fill: () => {},
    text: ""
  },
  {
    title: "a counter whose name ends in _total",
    fill: ({ Counter }, registry) =>
      new Counter({ name: "jobs_total", help: "Jobs done.", registers: [registry] }).inc(3),
    text: `# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total 3
`,
    openmetrics: `# HELP jobs Jobs done.
# TYPE jobs counter
jobs_total 3
# EOF
`
  },
  {
    title: "a counter with labels",
    fill: ({ Counter }, registry) => {
      const labelNames = ["queue", "outcome"]
      const jobs = new Counter({ name: "jobs_total", help: "Jobs done.", labelNames, registers: [registry] })
      jobs.inc({ queue: "mail", outcome: "ok" })
      jobs.inc({ queue: "mail", outcome: "failed" }, 2.5)
    },
    text: `# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total{queue="mail",outcome="ok"} 1
jobs_total{queue="mail",outcome="failed"} 2.5
`,
    openmetrics: `# HELP jobs Jobs done.
# TYPE jobs counter
jobs_total{queue="mail",outcome="ok"} 1
jobs_total{queue="mail",outcome="failed"} 2.5
# EOF
`
  },
  {
    title: "a counter whose name does not end in _total, which is unknown in OpenMetrics",
    fill: ({ Counter }, registry) => new Counter({ name: "jobs", help: "Jobs done.", registers: [registry] }).inc(3),
    text: `# HELP jobs Jobs done.
# TYPE jobs counter
jobs 3
`,
    openmetrics: `# HELP jobs Jobs done.
# TYPE jobs unknown
jobs 3
# EOF
`
  },
  {
    title: "a gauge, with labels and without",
    fill: ({ Gauge }, registry) => {
      const registers = [registry]
      new Gauge({ name: "temperature_celsius", help: "Outside.", registers }).dec(7.25)
      new Gauge({ name: "queue_length", help: "Jobs that wait.", labelNames: ["queue"], registers }).set(
        { queue: "a" },
        4
      )
    },
    text: `# HELP temperature_celsius Outside.
# TYPE temperature_celsius gauge
temperature_celsius -7.25
# HELP queue_length Jobs that wait.
# TYPE queue_length gauge
queue_length{queue="a"} 4
`
  },
  {
    title: "a histogram without labels",
    fill: ({ Histogram }, registry) => {
      const run = new Histogram({
        name: "run_seconds",
        help: "Run time.",
        buckets: [0.25, 1, 2.5],
        registers: [registry]
      })
      for (const seconds of [0.25, 0.5, 2, 4]) run.observe(seconds)
    },
    text: `# HELP run_seconds Run time.
# TYPE run_seconds histogram
run_seconds_bucket{le="0.25"} 1
run_seconds_bucket{le="1"} 2
run_seconds_bucket{le="2.5"} 3
run_seconds_bucket{le="+Inf"} 4
run_seconds_sum 6.75
run_seconds_count 4
`
  },
  {
    title: "a histogram with labels",
    fill: ({ Histogram }, registry) => {
      const options = { name: "run_seconds", help: "Run time.", buckets: [1], registers: [registry] }
      const run = new Histogram({ ...options, labelNames: ["queue"] })
      run.observe({ queue: "a" }, 0.5)
      run.observe({ queue: "b" }, 2)
    },
    text: `# HELP run_seconds Run time.
# TYPE run_seconds histogram
run_seconds_bucket{le="1",queue="a"} 1
run_seconds_bucket{le="+Inf",queue="a"} 1
run_seconds_sum{queue="a"} 0.5
run_seconds_count{queue="a"} 1
run_seconds_bucket{le="1",queue="b"} 0
run_seconds_bucket{le="+Inf",queue="b"} 1
run_seconds_sum{queue="b"} 2
run_seconds_count{queue="b"} 1
`
  },
  {
    title: "a summary, with labels and without",
    fill: ({ Summary }, registry) => {
      const options = { help: "Size of a body.", percentiles: [0.5, 0.99], registers: [registry] }
      new Summary({ ...options, name: "body_bytes" }).observe(12.5)
      new Summary({ ...options, name: "reply_bytes", labelNames: ["route"] }).observe({ route: "/" }, 8)
    },
    text: `# HELP body_bytes Size of a body.
# TYPE body_bytes summary
body_bytes{quantile="0.5"} 12.5
body_bytes{quantile="0.99"} 12.5
body_bytes_sum 12.5
body_bytes_count 1
# HELP reply_bytes Size of a body.
# TYPE reply_bytes summary
reply_bytes{quantile="0.5",route="/"} 8
reply_bytes{quantile="0.99",route="/"} 8
reply_bytes_sum{route="/"} 8
reply_bytes_count{route="/"} 1
`
  },
  {
    title: "a help with quotes, backslashes, newlines and more than ASCII",
    fill: ({ Gauge }, registry) =>
      new Gauge({ name: "up", help: 'A "quote", C:\\new,\na line, é and 😀.', registers: [registry] }).set(1),
    text: String.raw`# HELP up A "quote", C:\\new,\na line, é and 😀.
# TYPE up gauge
up 1
`,
    openmetrics: String.raw`# HELP up A \"quote\", C:\\new,\na line, é and 😀.
# TYPE up gauge
up 1
# EOF
`
  },
  {
    title: "label values with quotes, backslashes, newlines, more than ASCII, and what looks like syntax",
    fill: ({ Gauge }, registry) => {
      const open = new Gauge({ name: "open", help: "Open files.", labelNames: ["path"], registers: [registry] })
      const paths = ["", 'C:\\new "folder"', "one\ntwo", "\\n", "é 😀 \u2028", 'a",b="c', "} 1 # {}", "\t\r\0"]
      for (const path of paths) open.set({ path }, 1)
    },
    text: String.raw`# HELP open Open files.
# TYPE open gauge
open{path=""} 1
open{path="C:\\new \"folder\""} 1
open{path="one\ntwo"} 1
open{path="\\n"} 1
open{path="é 😀 ${"\u2028"}"} 1
open{path="a\",b=\"c"} 1
open{path="} 1 # {}"} 1
open{path="${"\t\r\0"}"} 1
`
  },
  {
    title: "lone surrogates, which arrive as the replacement character",
    fill: ({ Gauge }, registry) =>
      new Gauge({ name: "up", help: "High \ud83d alone.", labelNames: ["low"], registers: [registry] }).set(
        { low: "\ude00!" },
        1
      ),
    text: `# HELP up High \ufffd alone.
# TYPE up gauge
up{low="\ufffd!"} 1
`
  },
  {
    title: "numbers of every kind",
    fill: ({ Gauge }, registry) => {
      const numbers = new Gauge({ name: "number", help: "Numbers.", labelNames: ["of"], registers: [registry] })
      numbers.set({ of: "none" }, Number.NaN)
      numbers.set({ of: "all" }, Number.POSITIVE_INFINITY)
      numbers.set({ of: "less" }, Number.NEGATIVE_INFINITY)
      numbers.set({ of: "negative zero" }, -0)
      numbers.set({ of: "the largest" }, Number.MAX_VALUE)
      numbers.set({ of: "the smallest" }, Number.MIN_VALUE)
      numbers.set({ of: "large" }, 1e21)
      numbers.set({ of: "whole" }, 123_456_789_012_345_680_000)
      numbers.set({ of: "small" }, -0.000_000_15)
      numbers.set({ of: "binary" }, 0.1 + 0.2)
    },
    text: `# HELP number Numbers.
# TYPE number gauge
number{of="none"} NaN
number{of="all"} +Inf
number{of="less"} -Inf
number{of="negative zero"} 0
number{of="the largest"} 1.7976931348623157e+308
number{of="the smallest"} 5e-324
number{of="large"} 1e+21
number{of="whole"} 123456789012345680000
number{of="small"} -1.5e-7
number{of="binary"} 0.30000000000000004
`
  },
  {
    title: "a metric that has no series yet",
    fill: ({ Counter }, registry) =>
      new Counter({ name: "jobs_total", help: "Jobs done.", labelNames: ["queue"], registers: [registry] }),
    text: `# HELP jobs_total Jobs done.
# TYPE jobs_total counter
`,
    openmetrics: `# HELP jobs Jobs done.
# TYPE jobs counter
# EOF
`
  },
  {
    title: "default labels, of which those of a series win",
    fill: ({ Gauge, Histogram }, registry) => {
      registry.setDefaultLabels({ app: "shop", region: "eu" })
      const registers = [registry]
      new Gauge({ name: "stock", help: "Items.", labelNames: ["region"], registers }).set({ region: "us" }, 5)
      new Histogram({ name: "run_seconds", help: "Run time.", buckets: [1], registers }).observe(0.5)
    },
    text: `# HELP stock Items.
# TYPE stock gauge
stock{app="shop",region="us"} 5
# HELP run_seconds Run time.
# TYPE run_seconds histogram
run_seconds_bucket{app="shop",region="eu",le="1"} 1
run_seconds_bucket{app="shop",region="eu",le="+Inf"} 1
run_seconds_sum{app="shop",region="eu"} 0.5
run_seconds_count{app="shop",region="eu"} 1
`
  },
  {
    title: "label values that are numbers",
    fill: ({ Counter }, registry) => {
      const answers = new Counter({
        name: "answers_total",
        help: "Answers.",
        labelNames: ["code"],
        registers: [registry]
      })
      answers.inc({ code: 200 })
    },
    text: `# HELP answers_total Answers.
# TYPE answers_total counter
answers_total{code="200"} 1
`,
    openmetrics: `# HELP answers Answers.
# TYPE answers counter
answers_total{code="200"} 1
# EOF
`
  },
  {
    title: "metrics of types that the formats do not know",
    fill: (_, registry) => {
      registry.registerMetric(metric("feature", "stateset", [{ value: 1, labels: { feature: "a" } }]))
      registry.registerMetric(metric("anything", undefined, [{ value: 2, labels: {} }]))
    },
    text: `# HELP feature Made by hand.
# TYPE feature untyped
feature{feature="a"} 1
# HELP anything Made by hand.
# TYPE anything untyped
anything 2
`,
    openmetrics: `# HELP feature Made by hand.
# TYPE feature unknown
feature{feature="a"} 1
# HELP anything Made by hand.
# TYPE anything unknown
anything 2
# EOF
`
  },
  {
    title: "samples without the timestamps that an old client gives them",
    fill: (_, registry) =>
      registry.registerMetric(metric("up", "gauge", [{ value: 1, labels: {}, timestamp: 1_700_000_000_000 }])),
    text: `# HELP up Made by hand.
# TYPE up gauge
up 1
`
  },
  {
    title: "exemplars on the total of a counter and on the buckets of a histogram, in OpenMetrics alone",
    onlyOn: "openmetrics",
    fill: ({ Counter, Histogram }, registry) => {
      const options = { help: "Runs.", registers: [registry], labelNames: ["queue"], enableExemplars: true }
      const labels = { queue: "a" }
      const runs = new Counter({ ...options, name: "runs_total" })
      runs.inc({ labels, value: 2, exemplarLabels: { trace_id: "4bf92f", note: 'a "quote"\\\n' } })
      const time = new Histogram({ ...options, name: "run_seconds", buckets: [1, 2] })
      time.observe({ labels, value: 0.5 })
      time.observe({ labels, value: 1.5, exemplarLabels: { trace_id: "00f067" } })
      time.observe({ labels, value: 3, exemplarLabels: { trace_id: "aa0ba9" } })
    },
    text: `# HELP runs_total Runs.
# TYPE runs_total counter
runs_total{queue="a"} 2
# HELP run_seconds Runs.
# TYPE run_seconds histogram
run_seconds_bucket{le="1",queue="a"} 1
run_seconds_bucket{le="2",queue="a"} 2
run_seconds_bucket{le="+Inf",queue="a"} 3
run_seconds_sum{queue="a"} 5
run_seconds_count{queue="a"} 3
`,
    openmetrics: String.raw`# HELP runs Runs.
# TYPE runs counter
runs_total{queue="a"} 2 # {trace_id="4bf92f",note="a \"quote\"\\\n"} 2 1700000000.123
# HELP run_seconds Runs.
# TYPE run_seconds histogram
run_seconds_bucket{le="1",queue="a"} 1
run_seconds_bucket{le="2",queue="a"} 2 # {trace_id="00f067"} 1.5 1700000000.123
run_seconds_bucket{le="+Inf",queue="a"} 3 # {trace_id="aa0ba9"} 3 1700000000.123
run_seconds_sum{queue="a"} 5
run_seconds_count{queue="a"} 3
# EOF
`
  },
  {
    title: "an exemplar without labels and without a time",
    fill: (_, registry) =>
      registry.registerMetric(
        metric("runs_total", "counter", [{ value: 2, labels: {}, exemplar: { labelSet: {}, value: 2 } }])
      ),
    text: `# HELP runs_total Made by hand.
# TYPE runs_total counter
runs_total 2
`,
    openmetrics: `# HELP runs Made by hand.
# TYPE runs counter
runs_total 2 # {} 2
# EOF
`
  },
  {
    title: "no exemplar where OpenMetrics has no place for one",
    fill: (_, registry) => {
      const sample = { value: 1, labels: {}, exemplar: { labelSet: { trace_id: "4bf92f" }, value: 1 } }
      registry.registerMetric(metric("level", "gauge", [sample]))
      registry.registerMetric(metric("jobs", "counter", [sample]))
      registry.registerMetric(metric("size", "summary", [{ ...sample, metricName: "size_sum" }]))
      registry.registerMetric(
        metric("time", "histogram", [
          { ...sample, metricName: "time_bucket", labels: { le: "+Inf" } },
          { ...sample, metricName: "time_sum" },
          { ...sample, metricName: "time_count" }
        ])
      )
    },
    text: `# HELP level Made by hand.
# TYPE level gauge
level 1
# HELP jobs Made by hand.
# TYPE jobs counter
jobs 1
# HELP size Made by hand.
# TYPE size summary
size_sum 1
# HELP time Made by hand.
# TYPE time histogram
time_bucket{le="+Inf"} 1
time_sum 1
time_count 1
`,
    openmetrics: `# HELP level Made by hand.
# TYPE level gauge
level 1
# HELP jobs Made by hand.
# TYPE jobs unknown
jobs 1
# HELP size Made by hand.
# TYPE size summary
size_sum 1
# HELP time Made by hand.
# TYPE time histogram
time_bucket{le="+Inf"} 1 # {trace_id="4bf92f"} 1
time_sum 1
time_count 1
# EOF
`
  }
]
