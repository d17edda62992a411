import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as Registry from "../src/Registry.js"
import { bothClients, fresh } from "./support/bothClients.js"
import { bodyOnce } from "./support/expositions.js"
import { clients, counts, series } from "./support/metrics.js"

type Options = Registry.CounterOptions<string> & Registry.HistogramOptions<string> & Registry.SummaryOptions<string>

const help = "A metric of a test."
const labelNames = ["a", "b"]

const kinds = ["counter", "gauge", "histogram", "summary"] as const
type Kind = (typeof kinds)[number]

type Made = Effect.Effect<Parameters<typeof counts>[0] & { reset(): void }, Registry.RegistryError>

for (const withClient of bothClients) {
  const { client, name } = withClient
  /** Any options, for those that the compiler would not let through. */
  const make = (kind: Kind, options: unknown): Made =>
    (withClient.Registry[kind] as unknown as (options: Options) => Made)(options as Options)

  const byHand = (kind: Kind, options: object, of = client): object => {
    const made = { counter: of.Counter, gauge: of.Gauge, histogram: of.Histogram, summary: of.Summary }[kind]
    return new made({ name: "m", help: "Made by hand.", registers: [], ...options } as never)
  }

  describe(`A metric that is asked for, with ${name}`, () => {
    for (const kind of kinds) {
      it.effect(`is created once on the registry in context and returned to later calls, as a ${kind}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const made = yield* on(make(kind, { name: "m", help, labelNames }))
          assert.strictEqual(registry.getSingleMetric("m") as unknown, made)
          const again = yield* on(make(kind, { name: "m", help: "Other words.", labelNames: ["b", "a"] }))
          assert.strictEqual(again, made)
          const other = yield* on(make(kind, { name: "n", help, labelNames: ["b", "a"] }))
          assert.strictEqual(yield* on(make(kind, { name: "n", help, labelNames })), other)
          assert.include(yield* bodyOnce(registry, "text"), `# HELP m ${help}\n# TYPE m ${kind}\n`)
        })
      )

      it.effect(`is the existing one, with a ${kind} of either client`, () =>
        Effect.gen(function* () {
          for (const other of clients) {
            const { on, registry } = fresh(withClient)
            const made = byHand(kind, { labelNames }, other.client)
            registry.registerMetric(made as never)
            assert.strictEqual(yield* on(make(kind, { name: "m", help, labelNames })), made)
          }
        })
      )

      it.effect(`is on a registry of either client, as a ${kind}`, () =>
        Effect.gen(function* () {
          for (const other of clients) {
            const registry = new other.client.Registry()
            const asked = make(kind, { name: "m", help, labelNames, maxSeries: 5, series: { a: ["x"], b: ["y"] } })
            yield* Effect.provideService(asked, withClient.Registry.Registry, registry)
            assert.include(yield* bodyOnce(registry, "text"), `# TYPE m ${kind}\n`)
            assert.include(yield* Effect.promise(() => registry.metrics()), `# TYPE m ${kind}\n`)
          }
        })
      )
    }

    it.effect("is one, however many ask at the same time", () =>
      Effect.gen(function* () {
        const { on } = fresh(withClient)
        const asked = Effect.zipRight(Effect.yieldNow(), make("counter", { name: "m_total", help }))
        const made = yield* on(Effect.all(Array(50).fill(asked) as ReadonlyArray<Made>, { concurrency: "unbounded" }))
        assert.strictEqual(new Set(made).size, 1)
      })
    )

    it.scoped(
      "stays when the scope closes that it was asked for in, and is made anew when the registry was cleared",
      () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const asked = on(make("counter", { name: "m_total", help, labelNames, maxSeries: 1 }))
          const made = yield* Effect.scoped(asked)
          assert.strictEqual(registry.getSingleMetric("m_total") as unknown, made)
          registry.clear()
          const other = yield* asked
          assert.notStrictEqual(other, made)
          assert.strictEqual(registry.getSingleMetric("m_total") as unknown, other)
        })
    )

    it.effect("may have exemplars on a registry for text, which are in an OpenMetrics exposition", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        const options = { name: "m_total", help, labelNames: ["a"], enableExemplars: true } as const
        const counter = yield* on(withClient.Registry.counter(options))
        counter.inc({ labels: { a: "x" }, value: 2, exemplarLabels: { trace_id: "t" } as never })
        const histogram = yield* on(withClient.Registry.histogram({ ...options, name: "h", buckets: [1] }))
        histogram.observe({ labels: { a: "x" }, value: 0.5, exemplarLabels: { trace_id: "u" } as never })
        const body = yield* bodyOnce(registry, "openmetrics")
        assert.match(body, /m_total\{a="x"\} 2 # \{trace_id="t"\} 2 /)
        assert.match(body, /h_bucket\{le="1",a="x"\} 1 # \{trace_id="u"\} 0.5 /)
      })
    )

    it.effect("has what was asked for, and otherwise what the client has by default", () =>
      Effect.gen(function* () {
        const { on } = fresh(withClient)
        const asked = {
          plainHistogram: yield* on(make("histogram", { name: "h", help })),
          histogram: yield* on(make("histogram", { name: "h2", help, buckets: [1, 2] })),
          plainSummary: yield* on(make("summary", { name: "s", help })),
          summary: yield* on(make("summary", { name: "s2", help, percentiles: [0.5], maxAgeSeconds: 60 }))
        }
        const shape = (metric: unknown) => {
          const { ageBuckets, maxAgeSeconds, percentiles, upperBounds } = metric as Readonly<Record<string, unknown>>
          return { ageBuckets, maxAgeSeconds, percentiles, upperBounds }
        }
        const nothing = { ageBuckets: undefined, maxAgeSeconds: undefined, percentiles: undefined }
        assert.deepStrictEqual(shape(asked.plainHistogram), shape(byHand("histogram", {})))
        assert.deepStrictEqual(shape(asked.histogram), { ...nothing, upperBounds: [1, 2] })
        assert.deepStrictEqual(shape(asked.plainSummary), shape(byHand("summary", {})))
        const summary = { ageBuckets: 5, maxAgeSeconds: 60, percentiles: [0.5], upperBounds: undefined }
        assert.deepStrictEqual(shape(asked.summary), summary)
      })
    )
  })

  describe(`Another metric by that name, with ${name},`, () => {
    const there = (asked: string) => `the ${asked} m is already registered `
    const clashes: ReadonlyArray<
      readonly [kind: Kind, there: Options | object, asked: readonly [Kind, object], string]
    > = [
      ["gauge", {}, ["counter", {}], "m is already registered as a gauge, not as a counter"],
      ["histogram", {}, ["summary", {}], "m is already registered as a histogram, not as a summary"],
      ["counter", { labelNames }, ["counter", {}], `${there("counter")}with labels a, b instead of none`],
      ["gauge", {}, ["gauge", { labelNames }], `${there("gauge")}without the labels a, b`],
      [
        "summary",
        { labelNames: ["a", "b"] },
        ["summary", { labelNames: ["a", "c"] }],
        `${there("summary")}with labels a, b instead of a, c`
      ],
      [
        "histogram",
        { buckets: [1, 2] },
        ["histogram", { buckets: [1] }],
        `${there("histogram")}with buckets [1, 2] instead of [1]`
      ],
      [
        "summary",
        { percentiles: [0.5] },
        ["summary", { percentiles: [0.9] }],
        `${there("summary")}with percentiles [0.5] instead of [0.9]`
      ],
      [
        "summary",
        {},
        ["summary", { maxAgeSeconds: 60 }],
        `${there("summary")}with maxAgeSeconds undefined instead of 60`
      ],
      [
        "summary",
        { maxAgeSeconds: 60, ageBuckets: 3 },
        ["summary", { maxAgeSeconds: 60, ageBuckets: 5 }],
        `${there("summary")}with ageBuckets 3 instead of 5`
      ],
      [
        "counter",
        {},
        ["counter", { enableExemplars: true }],
        `${there("counter")}with enableExemplars false instead of true`
      ],
      [
        "histogram",
        { enableExemplars: true },
        ["histogram", { enableExemplars: false }],
        `${there("histogram")}with enableExemplars true instead of false`
      ],
      ["gauge", { labelNames }, ["gauge", { labelNames, maxSeries: 5 }], "with maxSeries Infinity instead of 5"]
    ]
    for (const [kind, options, [asked, otherwise], message] of clashes) {
      it.effect(`is not given: ${message}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const made = byHand(kind, options)
          registry.registerMetric(made as never)
          const error = yield* Effect.flip(on(make(asked, { name: "m", help, ...otherwise })))
          assert.strictEqual(error._tag, "RegistryError")
          assert.strictEqual(error.reason, "Clash")
          assert.strictEqual(error.metric, "m")
          assert.include(error.message, message)
          assert.strictEqual(registry.getSingleMetric("m") as unknown, made)
        })
      )
    }

    const fits: ReadonlyArray<readonly [kind: Kind, there: object, asked: object]> = [
      ["histogram", { buckets: [1, 2] }, {}],
      ["histogram", { buckets: [1, 2, Number.POSITIVE_INFINITY] }, { buckets: [1, 2] }],
      ["histogram", { buckets: [1, 2] }, { buckets: [1, 2, Number.POSITIVE_INFINITY] }],
      ["histogram", { enableExemplars: true }, {}],
      ["counter", {}, { enableExemplars: false }],
      ["summary", { percentiles: [0.5], maxAgeSeconds: 60, ageBuckets: 3 }, {}],
      ["summary", { percentiles: [0.5], maxAgeSeconds: 60, ageBuckets: 3 }, { maxAgeSeconds: 60, ageBuckets: 3 }]
    ]
    for (const [kind, options, asked] of fits) {
      it.effect(`is the same for a ${kind} ${JSON.stringify(options)} and ${JSON.stringify(asked)}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const made = byHand(kind, options)
          registry.registerMetric(made as never)
          assert.strictEqual(yield* on(make(kind, { name: "m", help, ...asked })), made)
        })
      )
    }

    it.effect("is one with another limit to its series", () =>
      Effect.gen(function* () {
        const { on } = fresh(withClient)
        const made = yield* on(make("counter", { name: "m", help, labelNames, maxSeries: 5 }))
        assert.strictEqual(yield* on(make("counter", { name: "m", help, labelNames, maxSeries: 5 })), made)
        assert.strictEqual(yield* on(make("counter", { name: "m", help, labelNames })), made)
        const error = yield* Effect.flip(on(make("counter", { name: "m", help, labelNames, maxSeries: 6 })))
        assert.include(error.message, "with maxSeries 5 instead of 6")
      })
    )

    it.effect("is what the registry has by the name of what every object has", () =>
      Effect.gen(function* () {
        for (const odd of ["constructor", "toString", "__proto__"]) {
          const { on, registry } = fresh(withClient)
          const before = Object.getPrototypeOf({})
          const exit = yield* Effect.either(on(make("counter", { name: odd, help })))
          if (exit._tag === "Left") {
            assert.strictEqual(exit.left.reason, "Clash")
            assert.strictEqual(
              exit.left.message,
              `the registry has an object with the name ${odd} that is not a metric`
            )
          } else assert.strictEqual(registry.getSingleMetric(odd) as unknown, exit.right)
          assert.strictEqual(Object.getPrototypeOf({}), before)
        }
      })
    )
  })

  describe(`An invalid metric, with ${name},`, () => {
    const cases: ReadonlyArray<readonly [kind: Kind, options: unknown, message: string]> = [
      ["counter", undefined, "metric undefined: options must be an object with options, not undefined"],
      ["counter", null, "options must be an object with options, not null"],
      [
        "counter",
        { help },
        "metric undefined: name must consist of letters, digits, _ and :, and not start with a digit"
      ],
      [
        "gauge",
        { name: "", help },
        'name must consist of letters, digits, _ and :, and not start with a digit: "" is invalid'
      ],
      [
        "gauge",
        { name: "a-b", help },
        "metric a-b: name must consist of letters, digits, _ and :, and not start with a digit"
      ],
      ["gauge", { name: "m\n", help }, "name must consist of letters"],
      ["gauge", { name: "0", help }, "name must consist of letters"],
      ["counter", { name: "m" }, "metric m: help must be a non-empty string"],
      ["counter", { name: "m", help: "" }, "help must be a non-empty string"],
      ["counter", { name: "m", help, labelnames: ["a"] }, "unknown option labelnames"],
      ["counter", { name: "m", help, buckets: [1] }, "unknown option buckets"],
      ["gauge", { name: "m", help, enableExemplars: true }, "unknown option enableExemplars"],
      ["gauge", { name: "m", help, registers: [] }, "unknown option registers"],
      ["counter", { name: "m", help, labelNames: "a" }, "labelNames must be an array of strings"],
      ["counter", { name: "m", help, labelNames: ["a b"] }, 'not start with a digit: "a b" is invalid'],
      ["counter", { name: "m", help, labelNames: ["a:b"] }, '"a:b" is invalid'],
      ["counter", { name: "m", help, labelNames: [1] }, "1 is invalid"],
      [
        "counter",
        { name: "m", help, labelNames: ["__name__"] },
        "must not start with __, which Prometheus reserves: __name__ is invalid"
      ],
      ["counter", { name: "m", help, labelNames: ["a", "a"] }, "labelNames contains a twice"],
      [
        "histogram",
        { name: "m", help, labelNames: ["le"] },
        "labelNames must not contain le: a histogram adds this label itself"
      ],
      [
        "summary",
        { name: "m", help, labelNames: ["quantile"] },
        "must not contain quantile: a summary adds this label itself"
      ],
      ["histogram", { name: "m", help, buckets: 1 }, "buckets must be an array of numbers"],
      ["histogram", { name: "m", help, buckets: ["1"] }, "buckets must be an array of numbers"],
      [
        "histogram",
        { name: "m", help, buckets: [1, 1] },
        "buckets must be in increasing order and start with a finite number: 1 at index 1 is invalid"
      ],
      [
        "histogram",
        { name: "m", help, buckets: [2, 1] },
        "buckets must be in increasing order and start with a finite number: 1 at index 1 is invalid"
      ],
      ["histogram", { name: "m", help, buckets: [Number.NaN] }, "start with a finite number: NaN at index 0"],
      [
        "histogram",
        { name: "m", help, buckets: [Number.NEGATIVE_INFINITY] },
        "start with a finite number: -Infinity at"
      ],
      ["histogram", { name: "m", help, enableExemplars: 1 }, "enableExemplars must be true or false, not 1"],
      ["summary", { name: "m", help, percentiles: [50] }, "percentiles must be between 0 and 1, not 50"],
      ["summary", { name: "m", help, percentiles: [Number.NaN] }, "percentiles must be between 0 and 1, not NaN"],
      ["summary", { name: "m", help, percentiles: [0.5, 0.5] }, "percentiles contains 0.5 twice"],
      ["summary", { name: "m", help, percentiles: "0.5" }, "percentiles must be an array of numbers"],
      ["summary", { name: "m", help, maxAgeSeconds: 0 }, "maxAgeSeconds must be a number of seconds above 0, not 0"],
      ["summary", { name: "m", help, maxAgeSeconds: "60" }, "maxAgeSeconds must be a number of seconds above 0"],
      ["summary", { name: "m", help, ageBuckets: 5 }, "ageBuckets requires maxAgeSeconds"],
      [
        "summary",
        { name: "m", help, maxAgeSeconds: 1, ageBuckets: 0 },
        "ageBuckets must be a whole number of at least 1"
      ],
      [
        "summary",
        { name: "m", help, maxAgeSeconds: 1, ageBuckets: Number.POSITIVE_INFINITY },
        "ageBuckets must be finite"
      ],
      ["counter", { name: "m", help, maxSeries: 0 }, "maxSeries must be a whole number of at least 1, not 0"],
      ["counter", { name: "m", help, maxSeries: 1.5 }, "maxSeries must be a whole number of at least 1, not 1.5"],
      ["counter", { name: "m", help, series: {} }, "series requires labelNames"],
      [
        "counter",
        { name: "m", help, labelNames, series: "x" },
        "series must be an object with an array of values for each label"
      ],
      ["counter", { name: "m", help, labelNames, series: { a: ["x"] } }, "series.b must be a non-empty array"],
      ["counter", { name: "m", help, labelNames: ["a"], series: { a: [] } }, "series.a must be a non-empty array"],
      ["counter", { name: "m", help, labelNames: ["a"], series: { a: [null] } }, "only strings and numbers, not null"],
      [
        "counter",
        { name: "m", help, labelNames: ["a"], series: { a: ["x"], c: ["y"] } },
        "series contains the label c, which is"
      ],
      [
        "counter",
        {
          name: "m",
          help,
          labelNames,
          series: {
            a: Array.from({ length: 40 }, (_, at) => at),
            b: Array(26)
              .fill(0)
              .map((_, at) => at)
          }
        },
        "series has 1040 combinations of label values, but at most 1000 are allowed; set maxSeries to allow more"
      ],
      [
        "counter",
        { name: "m", help, labelNames: ["a"], series: { a: [1, 2, 3] }, maxSeries: 2 },
        "series has 3 combinations of label values, but at most 2 are allowed (maxSeries)"
      ]
    ]
    for (const [kind, options, message] of cases) {
      it.effect(`is refused before anything is registered: ${message}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const error = yield* Effect.flip(on(make(kind, options)))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, message)
          assert.deepStrictEqual(registry.getMetricsAsArray(), [])
        })
      )
    }

    it.effect("is what the registry does not take", () =>
      Effect.gen(function* () {
        const refusing: Registry.MetricRegistry = {
          getMetricsAsArray: () => [],
          getSingleMetric: () => undefined,
          registerMetric: () => {
            throw new Error("it is full")
          }
        }
        const asked = make("counter", { name: "m", help })
        const error = yield* Effect.flip(Effect.provideService(asked, withClient.Registry.Registry, refusing))
        assert.strictEqual(error.reason, "Registry")
        assert.strictEqual(error.message, "it is full")
      })
    )

    it.effect("is not what an instance of a class has by inheritance", () =>
      Effect.gen(function* () {
        class Named {
          get help() {
            return help
          }
        }
        class Options extends Named {
          readonly name = "m_total"
          get labelNames() {
            return ["a"]
          }
          unrelated() {
            return 1
          }
        }
        const { on, registry } = fresh(withClient)
        yield* on(make("counter", new Options()))
        assert.include(yield* bodyOnce(registry, "text"), `# HELP m_total ${help}\n`)
      })
    )
  })

  describe(`A closed set of labels, with ${name},`, () => {
    const closed = { name: "m", help, labelNames, series: { a: ["x", "y"], b: ["1", 2] } }
    const at0 = (metric: string) => ({
      [`${metric}{a="x",b="1"}`]: 0,
      [`${metric}{a="x",b="2"}`]: 0,
      [`${metric}{a="y",b="1"}`]: 0,
      [`${metric}{a="y",b="2"}`]: 0
    })
    const names = { counter: "m", gauge: "m", histogram: "m_count", summary: "m_count" }
    for (const kind of kinds) {
      it.effect(`is there at 0 from the start, and again after a reset, as the series of a ${kind}`, () =>
        Effect.gen(function* () {
          const { on, registry } = fresh(withClient)
          const metric = yield* on(make(kind, closed))
          assert.deepStrictEqual(yield* Effect.promise(() => counts(metric)), at0(names[kind]))
          const { inc, observe } = metric as unknown as Readonly<Record<string, (labels: object, by: number) => void>>
          ;(inc ?? observe)?.call(metric, { a: "x", b: "1" }, 3)
          ;(inc ?? observe)?.call(metric, { a: "other", b: "1" }, 3)
          const after = yield* Effect.promise(() => counts(metric))
          assert.strictEqual(Object.values(after).filter((value) => value > 0).length, 2)
          registry.resetMetrics()
          const again = yield* Effect.promise(() => counts(metric))
          // A summary keeps every series when it is reset.
          if (kind === "summary") assert.deepInclude(again, at0(names[kind]))
          else assert.deepStrictEqual(again, at0(names[kind]))
          assert.isTrue(Object.values(again).every((value) => value === 0))
        })
      )
    }

    it.effect("is begun once at a reset, however often the metric was asked for", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        for (let asked = 0; asked < 20_000; asked += 1) yield* on(make("counter", closed))
        registry.resetMetrics()
        const metric = yield* on(make("counter", closed))
        assert.deepStrictEqual(yield* Effect.promise(() => counts(metric)), at0("m"))
      })
    )

    for (const kind of ["counter", "gauge", "histogram"] as const) {
      it.effect(`is added to a ${kind} that is there already, without a change to what it has`, () =>
        Effect.gen(function* () {
          for (const other of clients) {
            const { on, registry } = fresh(withClient)
            const made = byHand(kind, { labelNames }, other.client)
            const labels = { a: "x", b: "1" }
            const { inc, observe } = made as unknown as Readonly<Record<string, (labels: object, by: number) => void>>
            ;(inc ?? observe)?.call(made, { b: 1, a: "x" }, 1)
            registry.registerMetric(made as never)
            const metric = yield* on(make(kind, { ...closed, series: { a: ["x"], b: [1] } }))
            yield* on(make(kind, { ...closed, series: { a: ["x", "y"], b: [1] } }))
            ;(inc ?? observe)?.call(made, labels, 1)
            const expected = {
              [`${names[kind]}{a="x",b="1"}`]: 2,
              [`${names[kind]}{a="y",b="1"}`]: 0
            }
            const found = yield* Effect.promise(() => counts(metric))
            assert.deepStrictEqual(
              Object.fromEntries(
                Object.entries(found).map(([key, value]) => [key.replace('{b="1",a="x"}', '{a="x",b="1"}'), value])
              ),
              expected
            )
          }
        })
      )
    }

    it.effect("is there at 0 on a counter and a histogram with exemplars, without an exemplar", () =>
      Effect.gen(function* () {
        const { on, registry } = fresh(withClient)
        yield* on(make("counter", { ...closed, name: "c_total", enableExemplars: true }))
        const histogram = yield* on(make("histogram", { ...closed, enableExemplars: true, buckets: [1] }))
        assert.deepStrictEqual(yield* Effect.promise(() => counts(histogram)), at0("m_count"))
        const body = yield* bodyOnce(registry, "openmetrics")
        assert.include(body, 'c_total{a="x",b="1"} 0\n')
        assert.notInclude(body, "# {")
      })
    )

    it.effect("takes no room from what else can be recorded, as long as there is some", () =>
      Effect.gen(function* () {
        const { on } = fresh(withClient)
        const options = {
          name: "m",
          help,
          labelNames: ["a"],
          series: { a: ["x", "x", "y", "y"] },
          maxSeries: 3
        } as const
        const gauge = yield* on(withClient.Registry.gauge(options))
        for (const a of ["x", "z", "more"]) gauge.inc({ a })
        const expected = { 'm{a="x"}': 1, 'm{a="y"}': 0, 'm{a="z"}': 1, 'm{a="overflow"}': 1 }
        assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), expected)
      })
    )
  })

  describe(`An empty registry, with ${name},`, () => {
    it.effect("is new at each use of make, and for each build of layerFresh", () =>
      Effect.gen(function* () {
        const { layerFresh, make: newRegistry, Registry } = withClient.Registry
        const inLayer = Effect.tap(Registry, () => withClient.Registry.counter({ name: "m", help }))
        const all = [
          yield* newRegistry,
          yield* Effect.provide(inLayer, layerFresh),
          yield* Effect.provide(inLayer, layerFresh)
        ]
        for (const registry of [...all, yield* newRegistry]) assert.instanceOf(registry, client.Registry)
        assert.strictEqual(new Set(all).size, 3)
        assert.deepStrictEqual(
          all.map((registry) => registry.getSingleMetric("m") !== undefined),
          [false, true, true]
        )
        assert.isUndefined(client.register.getSingleMetric("m"))
      })
    )
  })
}
