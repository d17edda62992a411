import { assert, describe, it } from "@effect/vitest"
import * as PromClient from "prom-client"
import { bodyOf, formats, logged, metric, parsers } from "./support/expositions.js"
import { clients } from "./support/metrics.js"

type Given = { readonly metricName?: string; readonly labels?: unknown; readonly value: unknown }

/** Samples, and what of them is exposed in each format, as lines. */
interface Row {
  readonly title: string
  readonly type: string
  readonly values: ReadonlyArray<Given>
  readonly text: ReadonlyArray<string>
  /** Where it is other than text. */
  readonly openmetrics?: ReadonlyArray<string>
  /** What the warning says. */
  readonly logged?: RegExp
}

const bucket = (le: unknown, value: unknown, labels: object = {}) => ({
  metricName: "m_total_bucket",
  labels: { le, ...labels },
  value
})
const sum = (value: unknown, labels: object = {}) => ({ metricName: "m_total_sum", labels, value })
const count = (value: unknown, labels: object = {}) => ({ metricName: "m_total_count", labels, value })
const quantile = (quantile: unknown, value: unknown) => ({ labels: { quantile }, value })

const noNumbers: ReadonlyArray<unknown> = ["1", "", null, undefined, true, {}, [], Symbol("1")]

const sound = { labels: { a: "sound" }, value: 1 }
const soundLine = 'm_total{a="sound"} 1'

const unreadable = Object.create(null) as object

// The family is called m_total, so that a counter is one in both formats.
const rows: ReadonlyArray<Row> = [
  ...["gauge", "counter", "untyped"].flatMap((type) =>
    noNumbers.map((value) => ({
      title: `a ${type} with a ${value === null ? "null" : typeof value}`,
      type,
      values: [{ value }, sound],
      text: [soundLine],
      logged: /not a number/
    }))
  ),
  ...["constructor", "info", ""].map((type) => ({
    title: `a type of the name ${JSON.stringify(type)}, which is untyped`,
    type,
    values: [{ value: -1 }, sound],
    text: ["m_total -1", soundLine]
  })),
  { title: "a gauge with any number", type: "gauge", values: [{ value: -1 }], text: ["m_total -1"] },
  { title: "a gauge with NaN", type: "gauge", values: [{ value: Number.NaN }], text: ["m_total NaN"] },
  { title: "a gauge with -Infinity", type: "gauge", values: [{ value: -1 / 0 }], text: ["m_total -Inf"] },
  { title: "a gauge with a bigint", type: "gauge", values: [{ value: -(2n ** 70n) }], text: [`m_total ${-(2 ** 70)}`] },
  { title: "a counter with a bigint", type: "counter", values: [{ value: 5n }], text: ["m_total 5"] },
  { title: "a counter with Infinity", type: "counter", values: [{ value: 1 / 0 }], text: ["m_total +Inf"] },
  ...[Number.NaN, -1, -0.5, Number.NEGATIVE_INFINITY, -3n].map((value) => ({
    title: `a counter with ${value}`,
    type: "counter",
    values: [{ value }, sound],
    text: [soundLine],
    logged: /NaN or negative/
  })),
  { title: "a counter with -0", type: "counter", values: [{ value: -0 }], text: ["m_total 0"] },
  ...["a-b", "1a", "", "é", "__name__"].map((name) => ({
    title: `a label that is called ${JSON.stringify(name)}`,
    type: "gauge",
    values: [{ labels: { [name]: "x" }, value: 1 }, sound],
    text: [soundLine],
    logged: /invalid name or invalid labels/
  })),
  {
    title: "a label value that is no text",
    type: "counter",
    values: [{ labels: { a: unreadable }, value: 1 }, sound],
    text: [soundLine],
    logged: /invalid name or invalid labels/
  },
  {
    title: "label values that can be texts",
    type: "gauge",
    values: [{ labels: { a: 1, b: null, c: undefined, d: true, e: 2n, f: Symbol("x") }, value: 1 }],
    text: ['m_total{a="1",b="null",c="undefined",d="true",e="2",f="Symbol(x)"} 1']
  },
  ...["gauge", "counter", "untyped"].map((type) => ({
    title: `a sample of a ${type} with the name of another`,
    type,
    values: [{ metricName: "others", value: 1 }, sound],
    text: [soundLine],
    logged: /invalid name or invalid labels/
  })),

  // Histograms.
  {
    title: "buckets below 0",
    type: "histogram",
    values: [bucket(-1, 1), bucket(1, 2), bucket("+Inf", 3), sum(4), count(3)],
    text: [
      ...['m_total_bucket{le="-1"} 1', 'm_total_bucket{le="1"} 2', 'm_total_bucket{le="+Inf"} 3'],
      ...["m_total_sum 4", "m_total_count 3"]
    ],
    openmetrics: ['m_total_bucket{le="-1"} 1', 'm_total_bucket{le="1"} 2', 'm_total_bucket{le="+Inf"} 3'],
    logged: /buckets below 0/
  },
  ...[Number.NaN, -5, Number.NEGATIVE_INFINITY].map((value) => ({
    title: `a histogram with the sum ${value}`,
    type: "histogram",
    values: [bucket(1, 2), bucket("+Inf", 3), sum(value), count(3)],
    text: [
      ...['m_total_bucket{le="1"} 2', 'm_total_bucket{le="+Inf"} 3'],
      ...[`m_total_sum ${String(value).replace("Infinity", "Inf")}`, "m_total_count 3"]
    ],
    openmetrics: ['m_total_bucket{le="1"} 2', 'm_total_bucket{le="+Inf"} 3'],
    logged: /a sum that is NaN or negative/
  })),
  ...(
    [
      ["that go down", [bucket(1, 2), bucket(2, 1), bucket("+Inf", 3), sum(1), count(3)]],
      ["of which one is NaN", [bucket(1, Number.NaN), bucket("+Inf", 3), sum(1), count(3)]],
      ["of which one is negative", [bucket(1, -1), bucket("+Inf", 3), sum(1), count(3)]],
      ["of which the last is less than the one before", [bucket(1, 4), bucket("+Inf", 3), sum(1), count(3)]],
      ["whose count is another", [bucket(1, 1), bucket("+Inf", 3), sum(1), count(4)]],
      ["whose count is NaN", [bucket(1, 1), bucket("+Inf", 3), sum(1), count(Number.NaN)]],
      ["without the last one and without a count", [bucket(1, 1), sum(1)]],
      ["that are two up to infinity with different values", [bucket(1 / 0, 2), bucket("+Inf", 3), sum(1), count(3)]]
    ] as const
  ).map(([title, values]) => ({
    title: `buckets ${title}`,
    type: "histogram",
    values: [...values, bucket("+Inf", 1, { a: "sound" }), sum(2, { a: "sound" }), count(1, { a: "sound" })],
    text: ['m_total_bucket{le="+Inf",a="sound"} 1', 'm_total_sum{a="sound"} 2', 'm_total_count{a="sound"} 1'],
    logged: /bucket (counts|bounds)/
  })),
  ...(
    [
      ["is a text", [bucket("x", 1), bucket("+Inf", 3), sum(1), count(3)]],
      ["is NaN", [bucket(Number.NaN, 1), bucket("+Inf", 3), sum(1), count(3)]],
      ["is missing", [bucket(undefined, 1), bucket("+Inf", 3), sum(1), count(3)]],
      ["is there twice", [bucket(1, 1), bucket("1.0", 1), bucket("+Inf", 3), sum(1), count(3)]]
    ] as const
  ).map(([title, values]) => ({
    title: `a bucket whose bound ${title}`,
    type: "histogram",
    values: [...values, bucket("+Inf", 1, { a: "sound" }), sum(2, { a: "sound" }), count(1, { a: "sound" })],
    text: ['m_total_bucket{le="+Inf",a="sound"} 1', 'm_total_sum{a="sound"} 2', 'm_total_count{a="sound"} 1'],
    logged: /bucket bounds do not increase/
  })),
  ...[bucket(1, "1"), sum("1"), count(null)].map((broken) => ({
    title: `a histogram whose ${broken.metricName} is no number`,
    type: "histogram",
    values: [bucket(1, 1), bucket("+Inf", 1), sum(1), count(1)].map((given) =>
      given.metricName === broken.metricName && !("le" in given.labels && given.labels.le === "+Inf") ? broken : given
    ),
    text: [],
    logged: /not a number/
  })),
  {
    title: "a histogram of bigints, out of order and between those of another",
    type: "histogram",
    values: [
      ...[sum(3n), sum(1, { a: "x" }), bucket(2, 2n), bucket("+Inf", 1, { a: "x" }), count(2n)],
      ...[bucket(1, 1n), count(1, { a: "x" }), bucket("Infinity", 2n)]
    ],
    text: [
      ...['m_total_bucket{le="1"} 1', 'm_total_bucket{le="2"} 2', 'm_total_bucket{le="+Inf"} 2', "m_total_sum 3"],
      ...["m_total_count 2", 'm_total_bucket{le="+Inf",a="x"} 1', 'm_total_sum{a="x"} 1', 'm_total_count{a="x"} 1']
    ]
  },
  {
    title: "a histogram without the bucket up to infinity, which is its count",
    type: "histogram",
    values: [bucket(1, 1), sum(3), count(2)],
    text: ['m_total_bucket{le="1"} 1', 'm_total_bucket{le="+Inf"} 2', "m_total_sum 3", "m_total_count 2"]
  },
  {
    title: "a histogram without a count, which is its bucket up to infinity",
    type: "histogram",
    values: [bucket("+Inf", 2), sum(3)],
    text: ['m_total_bucket{le="+Inf"} 2', "m_total_sum 3", "m_total_count 2"]
  },
  {
    title: "a histogram without a sum",
    type: "histogram",
    values: [bucket("+Inf", 2), count(2)],
    text: ['m_total_bucket{le="+Inf"} 2', "m_total_count 2"],
    openmetrics: ['m_total_bucket{le="+Inf"} 2']
  },

  {
    title: "a histogram with samples of other names, with a sum that has a bound, and with labels that cannot be texts",
    type: "histogram",
    values: [
      ...[bucket("+Inf", 2), sum(3, { le: "1" }), { metricName: "m_total_other", value: 1 }, { value: 1 }],
      ...[bucket("+Inf", 1, { a: unreadable }), sum(3), sum(4), count(2), count(5)]
    ],
    text: ['m_total_bucket{le="+Inf"} 2', "m_total_sum 3", "m_total_count 2"],
    logged: /invalid name or invalid labels/
  },
  {
    title: "a histogram whose series have the same labels in another order, and one whose labels differ",
    type: "histogram",
    values: [
      ...[bucket("+Inf", 1, { a: "x", b: "y" }), sum(3, { b: "y", a: "x" }), count(1, { b: "y", a: "x" })],
      ...[bucket("+Inf", 2, { a: "x", b: "z" }), sum(4, { a: "x", b: "z" }), count(2, { a: "x", b: "z" })]
    ],
    text: [
      ...['m_total_bucket{le="+Inf",a="x",b="y"} 1', 'm_total_sum{b="y",a="x"} 3', 'm_total_count{b="y",a="x"} 1'],
      ...['m_total_bucket{le="+Inf",a="x",b="z"} 2', 'm_total_sum{a="x",b="z"} 4', 'm_total_count{a="x",b="z"} 2']
    ]
  },

  // Summaries.
  ...[-0.1, 1.1, 2, Number.NaN, Number.POSITIVE_INFINITY, "x", "", undefined, null].map((rank) => ({
    title: `the quantile ${JSON.stringify(rank) ?? rank}`,
    type: "summary",
    values: [quantile(rank, 1), quantile(0.5, 2), sum(3), count(2)],
    text: ['m_total{quantile="0.5"} 2', "m_total_sum 3", "m_total_count 2"],
    logged: /quantiles below 0 or above 1/
  })),
  {
    title: "a quantile that is there twice, and quantiles out of order",
    type: "summary",
    values: [quantile(1, 3), quantile(0, 1), quantile("0.0", 1), count(2)],
    text: ['m_total{quantile="0"} 1', 'm_total{quantile="1"} 3', "m_total_count 2"],
    logged: /duplicate quantiles/
  },
  {
    title: "negative observations of a summary",
    type: "summary",
    values: [quantile(0.5, -2), quantile(1, 1), sum(-3), count(2)],
    text: ['m_total{quantile="0.5"} -2', 'm_total{quantile="1"} 1', "m_total_sum -3", "m_total_count 2"],
    openmetrics: ['m_total{quantile="1"} 1', "m_total_count 2"],
    logged: /in OpenMetrics/
  },
  {
    title: "the count of a summary that is negative",
    type: "summary",
    values: [quantile(1, 1), sum(3), count(-2)],
    text: ['m_total{quantile="1"} 1', "m_total_sum 3"],
    logged: /a count that is NaN or negative/
  },
  {
    title: "values of a summary that are no numbers",
    type: "summary",
    values: [quantile(0.5, "1"), quantile(1, 1n), sum(undefined), count(2n)],
    text: ['m_total{quantile="1"} 1', "m_total_count 2"],
    logged: /not a number/
  },
  {
    title: "a summary whose samples are not together",
    type: "summary",
    values: [quantile(0.5, 1), { labels: { quantile: 0.5, a: "x" }, value: 2 }, count(1), count(2, { a: "x" })],
    text: [
      ...['m_total{quantile="0.5"} 1', "m_total_count 1"],
      ...['m_total{quantile="0.5",a="x"} 2', 'm_total_count{a="x"} 2']
    ]
  }
]

const samplesIn = (body: string): ReadonlyArray<string> =>
  body.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("others "))

describe("Values that a format forbids are left out and logged once, and the rest is served:", () => {
  for (const { openmetrics, text, title, type, values, ...row } of rows) {
    it.effect(title, () =>
      logged(function* (lines) {
        const registry = new PromClient.Registry()
        registry.registerMetric(metric("m_total", type, values))
        new PromClient.Gauge({ name: "others", help: "h", registers: [registry] }).set(1)
        const expected = { text, openmetrics: openmetrics ?? text }
        for (const format of [...formats, ...formats]) {
          const body = yield* bodyOf(registry, format)
          parsers[format](body)
          assert.deepStrictEqual(samplesIn(body), expected[format])
          assert.include(body, "\nothers 1\n")
        }
        if (row.logged === undefined) assert.deepStrictEqual(lines, [])
        else {
          assert.match(lines[0] ?? "", row.logged)
          assert.match(lines[0] ?? "", /^WARN metric m_total: /)
          assert.strictEqual(new Set(lines).size, lines.length)
        }
      })
    )
  }

  for (const { client, name } of clients) {
    it.effect(`values of ${name} that it lets in`, () =>
      logged(function* (lines) {
        const registry = new client.Registry()
        const options = { help: "h", labelNames: ["a"] as const, registers: [registry] }
        const counter = new client.Counter({ ...options, name: "jobs_total" })
        counter.inc({ a: "broken" }, Number.NaN)
        counter.inc({ a: "sound" }, 2)
        const buckets = [-10, 0, 10]
        const histogram = new client.Histogram({ ...options, name: "degrees", buckets })
        for (const value of [-20, 5]) histogram.observe({ a: "x" }, value)
        const late = new client.Histogram({ ...options, name: "lateness", buckets: [1] })
        late.observe({ a: "early" }, -5)
        late.observe({ a: "late" }, 5)
        new client.Histogram({ ...options, name: "twice", buckets: [1, 1] }).observe({ a: "x" }, 1)
        const summary = new client.Summary({ ...options, name: "delta", percentiles: [0.9, 2, 0.5] })
        for (const value of [-3, -1]) summary.observe({ a: "x" }, value)
        for (let time = 0; time < 3; time += 1) {
          const text = yield* bodyOf(registry, "text")
          const openmetrics = yield* bodyOf(registry, "openmetrics")
          parsers.text(text)
          parsers.openmetrics(openmetrics)
          for (const body of [text, openmetrics]) {
            assert.notInclude(body, "broken")
            assert.include(body, 'jobs_total{a="sound"} 2\n')
            assert.include(body, 'degrees_bucket{le="-10",a="x"} 1\n')
            assert.include(body, 'lateness_count{a="late"} 1\n')
            assert.notInclude(body, "twice_")
            assert.include(body, 'delta_count{a="x"} 2\n')
            assert.notInclude(body, 'quantile="2"')
          }
          for (const line of [
            ...['degrees_sum{a="x"} -15', 'degrees_count{a="x"} 2', 'lateness_sum{a="early"} -5'],
            ...['lateness_count{a="early"} 1', 'delta_sum{a="x"} -4', 'delta{quantile="0.5",a="x"} -2']
          ]) {
            assert.include(text, `${line}\n`)
            assert.notInclude(openmetrics, `${line.replace(/ \S+$/, "")} `)
          }
        }
        assert.strictEqual(lines.length, 7, lines.join("\n"))
      })
    )
  }

  it.effect("an invalid help text, and an invalid default label", () =>
    logged(function* (lines) {
      const registry = new PromClient.Registry()
      const made = metric("m", "gauge", []) as object
      registry.registerMetric({
        ...made,
        get: async () => ({ name: "m", help: undefined, type: "gauge", values: [{ value: 1 }] })
      } as never)
      registry.setDefaultLabels({ "a-b": "x", service: "y", broken: unreadable })
      for (const format of formats) {
        const body = yield* bodyOf(registry, format)
        parsers[format](body)
        assert.include(body, '\nm{service="y"} 1\n')
      }
      assert.strictEqual(lines.length, 2)
    })
  )
})

describe("A default label that a type has itself", () => {
  for (const { client, name } of clients) {
    for (const [label, expected] of [
      ["le", ["h_count{a", "h_sum{a", 'h_bucket{le="1",a', 's_count{le="7",a', 'g{le="7",a']],
      ["quantile", ['h_count{quantile="7",a', "s_count{a", "s_sum{a", 's{quantile="0.5",a', 'g{quantile="7",a']]
    ] as const) {
      for (const others of [{}, { service: "x" }]) {
        it.effect(
          `is left out of it alone, and logged once: ${label} and ${Object.keys(others).length} others of ${name}`,
          () =>
            logged(function* (lines) {
              const registry = new client.Registry()
              const options = { help: "h", labelNames: ["a"] as const, registers: [registry] }
              new client.Histogram({ ...options, name: "h", buckets: [1] }).observe({ a: "x" }, 0.5)
              new client.Summary({ ...options, name: "s", percentiles: [0.5] }).observe({ a: "x" }, 0.5)
              new client.Gauge({ ...options, name: "g" }).set({ a: "x" }, 1)
              registry.registerMetric(metric("made", "summary", [{ metricName: "made_sum", value: 1 }]))
              registry.setDefaultLabels({ ...others, [label]: "7" })
              for (const format of [...formats, ...formats]) {
                const body = yield* bodyOf(registry, format)
                parsers[format](body)
                const lines = samplesIn(body.replaceAll('service="x",', ""))
                for (const start of expected)
                  assert.isTrue(
                    lines.some((line) => line.startsWith(`${start}="x"} `)),
                    start
                  )
              }
              assert.strictEqual(lines.length, 1, lines.join("\n"))
              assert.match(lines[0] ?? "", new RegExp(`^WARN the default label ${label} is left out of `))
            })
        )
      }
    }
  }
})

describe("Exemplars that OpenMetrics has no place for", () => {
  const forOpenMetrics = () => {
    const registry = new PromClient.Registry<PromClient.OpenMetricsContentType>()
    registry.setContentType(PromClient.Registry.OPENMETRICS_CONTENT_TYPE)
    return registry
  }
  const counted = (registry: PromClient.Registry<PromClient.OpenMetricsContentType>, name: string) =>
    new PromClient.Counter<string>({ name, help: "h", registers: [registry], enableExemplars: true }).inc({
      value: 1,
      exemplarLabels: { trace_id: "a" }
    })

  const cases: ReadonlyArray<readonly [title: string, names: ReadonlyArray<string>, expected: ReadonlyArray<RegExp>]> =
    [
      [
        "of a counter without _total are logged with its right name",
        ["failures"],
        [/^WARN metric failures: .*\bfailures_total$/]
      ],
      ["of a counter that has _total are exposed", ["failures_total"], []],
      [
        "of a counter whose name clashes there are logged as well",
        ["failures", "failures_total"],
        [
          /failures_total has type unknown/,
          /^WARN metric failures: .*\bfailures_total$/,
          /^WARN metric failures_total: .*clashes/
        ]
      ]
    ]
  for (const [title, names, expected] of cases) {
    it.effect(`${title}, once`, () =>
      logged(function* (lines) {
        const registry = forOpenMetrics()
        for (const name of names) counted(registry, name)
        yield* bodyOf(registry, "text")
        assert.deepStrictEqual(lines, [])
        for (let time = 0; time < 3; time += 1) {
          const body = yield* bodyOf(registry, "openmetrics")
          const exemplars = parsers
            .openmetrics(body)
            .flatMap(({ samples }) => samples.flatMap((one) => one.exemplar ?? []))
          assert.strictEqual(exemplars.length, expected.length === 0 ? 1 : 0)
        }
        assert.strictEqual(lines.length, expected.length, lines.join("\n"))
        for (const [at, pattern] of expected.entries()) assert.match(lines[at] ?? "", pattern)
      })
    )
  }

  for (const [type, value] of [
    ["gauge", { value: 1 }],
    ["summary", { labels: { quantile: 1 }, value: 1 }],
    ["untyped", { value: 1 }]
  ] as const) {
    it.effect(`of a ${type} are logged once`, () =>
      logged(function* (lines) {
        const registry = new PromClient.Registry()
        registry.registerMetric(metric("m", type, [{ ...value, exemplar: { labelSet: { a: "b" }, value: 1 } }]))
        for (const format of formats) parsers[format](yield* bodyOf(registry, format))
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /^WARN metric m: exemplars are left out/)
      })
    )
  }

  const exemplarsIn = (body: string): ReadonlyArray<readonly [bound: unknown, value: number]> =>
    parsers
      .openmetrics(body)
      .flatMap(({ samples }) =>
        samples.flatMap(({ exemplar, labels }) =>
          exemplar === undefined ? [] : [[new Map(labels).get("le"), exemplar.value] as const]
        )
      )

  for (const { client, name } of clients) {
    it.effect(
      `for they are not within their bucket, to which ${name} takes what is above a bound of -1, are logged once`,
      () =>
        logged(function* (lines) {
          const registry = forOpenMetrics()
          const options = { name: "m", help: "h", registers: [registry], enableExemplars: true }
          const histogram = new client.Histogram<string>({ ...options, buckets: [-1, 0, 1] } as never)
          for (const value of [0.5, 5]) histogram.observe({ value, exemplarLabels: { a: "x" } } as never)
          for (let time = 0; time < 2; time += 1) {
            assert.deepStrictEqual(exemplarsIn(yield* bodyOf(registry, "openmetrics")), [
              ["1", 0.5],
              ["+Inf", 5]
            ])
          }
          assert.deepStrictEqual(
            lines.filter((line) => line.includes("exemplar")),
            ["WARN metric m: exemplars with a value outside their bucket are left out"]
          )
        })
    )
  }

  it.effect("for they are not within their bucket, of a metric made by hand, are logged once", () =>
    logged(function* (lines) {
      const registry = new PromClient.Registry()
      const values = [
        [1, 1.5],
        ["2", 2],
        ["3", Number.NaN],
        ["+Inf", 1 / 0]
      ].map(([le, value]) => ({ ...bucket(le, 1), exemplar: { labelSet: { a: "b" }, value } }))
      registry.registerMetric(metric("m_total", "histogram", [...values, sum(1), count(1)]))
      assert.deepStrictEqual(exemplarsIn(yield* bodyOf(registry, "openmetrics")), [
        ["2", 2],
        ["+Inf", 1 / 0]
      ])
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0] ?? "", /^WARN metric m_total: exemplars with a value outside their bucket/)
    })
  )

  for (const [title, value] of [
    ["a symbol", Symbol("x")],
    ["null", null],
    ["a number", 5]
  ] as const) {
    it.effect(`are not those whose label is ${title}, which are exposed as it is as a text`, () =>
      logged(function* (lines) {
        const registry = new PromClient.Registry()
        const exemplar = { labelSet: { a: value }, value: 1 }
        registry.registerMetric(metric("m_total", "counter", [{ value: 1, exemplar }]))
        assert.include(yield* bodyOf(registry, "openmetrics"), `\nm_total 1 # {a="${String(value)}"} 1\n`)
        assert.deepStrictEqual(lines, [])
      })
    )
  }

  for (const [title, exemplar] of [
    ["labels that are too long", { labelSet: { a: "x".repeat(128) }, value: 1 }],
    ["an invalid label name", { labelSet: { "a-b": "x" }, value: 1 }],
    ["a label value that is no text", { labelSet: { a: unreadable }, value: 1 }],
    ["no labels", { value: 1 }],
    ["a value that is no number", { labelSet: { a: "x" }, value: "1" }]
  ] as const) {
    it.effect(`for they have ${title} are logged once`, () =>
      logged(function* (lines) {
        const registry = new PromClient.Registry()
        registry.registerMetric(metric("m_total", "counter", [{ value: 1, exemplar }]))
        for (const format of formats) {
          const body = yield* bodyOf(registry, format)
          parsers[format](body)
          assert.include(body, "\nm_total 1\n")
        }
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /^WARN metric m_total: exemplars with invalid labels/)
      })
    )
  }
})
