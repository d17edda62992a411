import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry as PromRegistry } from "prom-client"
import type { MetricRegistry } from "../src/Registry.js"
import { runFixture } from "./support/childProcess.js"
import { type CountingKind, type CountingMetric, countingKinds, seriesIn } from "./support/countingMetrics.js"
import { bodyOnce, formats, parsers } from "./support/expositions.js"
import { isNewer } from "./support/metrics.js"
import { countingReads, type ReadPath, readPaths, withoutDirectRead } from "./support/readPaths.js"

/** Both formats are those of a first exposition. The text comes back. */
const sameAsFirst = (kept: MetricRegistry, registry: MetricRegistry): Effect.Effect<string> =>
  Effect.map(
    Effect.forEach(formats, (format) =>
      Effect.gen(function* () {
        const body = yield* bodyOnce(kept, format)
        assert.strictEqual(body, yield* bodyOnce(withoutDirectRead(registry), format))
        return body
      })
    ),
    ([text = ""]) => text
  )

/** From here on texts are kept of what the registry holds, in the way that is asked for. */
const keeping = (way: ReadPath, registry: PromRegistry): Effect.Effect<MetricRegistry> =>
  Effect.gen(function* () {
    const kept = way.of(registry)
    yield* sameAsFirst(kept, registry)
    return kept
  })

const assertWay = (way: ReadPath, kept: MetricRegistry, metric: object): Effect.Effect<void> =>
  Effect.gen(function* () {
    const reads = countingReads(metric)
    yield* bodyOnce(kept, "text")
    assert.strictEqual(reads(), way.isShortcut ? 0 : 1)
  })

interface Case {
  readonly title: string
  readonly labelNames?: Array<string>
  /** Fills the registry, and returns what happens between one exposition and the next. */
  readonly fill: (metric: CountingMetric, registry: PromRegistry, kind: CountingKind) => ReadonlyArray<() => void>
  /** What the last one shows, in text. */
  readonly shows: ReadonlyArray<string>
}

const mutable = (labels: Record<string, unknown>): Record<string, unknown> => labels

const owners: ReadonlyArray<Case> = [
  {
    title: "a label whose value its owner changes",
    fill: ({ count }) => {
      const labels = mutable({ a: "x" })
      for (const each of [labels, { a: "z" }]) count(each)
      return [() => (labels["a"] = "y")]
    },
    shows: ['{a="y"} 1', '{a="z"} 1']
  },
  {
    title: "a label that its owner adds",
    fill: ({ count }) => {
      const labels = mutable({ a: "x" })
      for (const each of [labels, { a: "z" }]) count(each)
      return [() => (labels["b"] = "y")]
    },
    shows: ['{a="x",b="y"} 1', '{a="z"} 1']
  },
  {
    title: "a label that its owner takes away",
    fill: ({ count }) => {
      const labels = mutable({ a: "x", b: "y" })
      for (const each of [labels, { a: "z" }]) count(each)
      return [() => delete labels["b"], () => delete labels["a"]]
    },
    shows: [" 1", '{a="z"} 1']
  },
  {
    title: "a label that its owner calls otherwise",
    fill: ({ count }) => {
      const labels = mutable({ a: "x" })
      count(labels)
      return [
        () => {
          delete labels["a"]
          labels["b"] = "x"
        }
      ]
    },
    shows: ['{b="x"} 1']
  },
  {
    title: "labels that their owner puts in another order",
    fill: ({ count }) => {
      const labels = mutable({ a: "x", b: "y" })
      count(labels)
      return [
        () => {
          delete labels["a"]
          labels["a"] = "x"
        }
      ]
    },
    shows: ['{b="y",a="x"} 1']
  },
  {
    title: "one object of labels that serves for several series",
    fill: ({ count }) => {
      const labels = mutable({ a: "x" })
      count(labels)
      return [
        () => {
          labels["a"] = "y"
          count(labels)
        }
      ]
    },
    shows: ['{a="y"} 1', '{a="y"} 1']
  },
  {
    title: "a label whose value goes through all types",
    fill: ({ count }) => {
      const labels = mutable({ a: 200 })
      count(labels)
      const values = ["200", 200, true, "true", null, undefined, "undefined", 1n, "1", Number.NaN, Symbol("s"), 7.5]
      return values.map((value) => () => (labels["a"] = value))
    },
    shows: ['{a="7.5"} 1']
  },
  {
    title: "a label whose value is an object that says something else of itself",
    fill: ({ count }) => {
      let text = "x"
      count({ a: { toString: () => text } })
      return [() => (text = "y")]
    },
    shows: ['{a="y"} 1']
  },
  {
    title: "a label whose value is a function that says something else of itself",
    fill: ({ count }) => {
      let text = "x"
      count({ a: Object.assign(() => {}, { toString: () => text }) })
      return [() => (text = "y")]
    },
    shows: ['{a="y"} 1']
  },
  {
    title: "label values that look like what the client files its series under",
    fill: ({ count, remove }) => {
      count({ a: "x,b:y" })
      return [
        () => {
          remove({ a: "x,b:y" })
          count({ a: "x", b: "y" })
        }
      ]
    },
    shows: ['{a="x",b="y"} 1']
  },
  {
    title: "label values of all characters, and ASCII after others and before them",
    fill: ({ count, remove }) => {
      count({ a: "é" })
      count({ a: "plain" })
      return [
        () => count({ a: "日本😀" }),
        () => count({ a: '"\\\n' }),
        () => remove({ a: "é" }),
        () => count({ a: "more" }),
        () => remove({ a: "plain" }),
        () => count({ a: "ü" })
      ]
    },
    shows: ['{a="日本😀"} 1', '{a="\\"\\\\\\n"} 1', '{a="more"} 1', '{a="ü"} 1']
  },
  {
    title: "half of a character, which no UTF-8 has",
    fill: ({ count, remove }) => {
      count({ a: "\ud83d" })
      return [() => count({ a: "\ude00" }), () => count({ a: "x" }), () => remove({ a: "\ude00" })]
    },
    shows: ['{a="\ufffd"} 1', '{a="x"} 1']
  },
  {
    title: "values that grow in digits",
    fill: ({ count }) => {
      const times = (times: number) => () => {
        for (let time = 0; time < times; time += 1) count({ a: "x" })
      }
      for (const a of ["x", "y"]) count({ a })
      return [times(8), times(1), times(89), times(1)]
    },
    shows: ['{a="x"} 100', '{a="y"} 1']
  }
]

const places = Array.from({ length: 30 }, (_, place) => place)
const numbered = (place: number) => ({ a: `s${place}` })
const showing = (places: ReadonlyArray<number>) => places.map((place) => `{a="s${place}"} 1`)

interface Going {
  readonly title: string
  readonly goes: (place: number) => boolean
}

const going: ReadonlyArray<Going> = [
  { title: "the first series", goes: (place) => place === 0 },
  { title: "a series in the middle", goes: (place) => place === 14 },
  { title: "the last series", goes: (place) => place === 29 },
  { title: "every other series", goes: (place) => place % 2 === 0 },
  { title: "more in a row than are looked for nearby", goes: (place) => place >= 3 && place < 23 },
  { title: "all series but the first and the last", goes: (place) => place > 0 && place < 29 },
  { title: "all series", goes: () => true }
]

const removals: ReadonlyArray<Case> = going.flatMap(({ goes, title }) => {
  const gone = places.filter(goes)
  const left = places.filter((place) => !goes(place))
  const fill = ({ count }: CountingMetric): void => places.forEach((place) => void count(numbered(place)))
  return [
    {
      title: `${title}, and new ones afterwards`,
      fill: (metric) => {
        fill(metric)
        return [
          () => gone.forEach((place) => void metric.remove(numbered(place))),
          () => [100, 101].forEach((place) => void metric.count(numbered(place)))
        ]
      },
      shows: showing([...left, 100, 101])
    },
    {
      title: `${title}, which come back between two expositions`,
      fill: (metric) => {
        fill(metric)
        return [
          () => {
            for (const place of gone) metric.remove(numbered(place))
            for (const place of gone) metric.count(numbered(place))
          },
          () => metric.count(numbered(100))
        ]
      },
      shows: showing([...left, ...gone, 100])
    },
    {
      title: `${title}, which come back later`,
      fill: (metric) => {
        fill(metric)
        return [
          () => gone.forEach((place) => void metric.remove(numbered(place))),
          () => [...gone].reverse().forEach((place) => void metric.count(numbered(place)))
        ]
      },
      shows: showing([...left, ...[...gone].reverse()])
    }
  ] satisfies ReadonlyArray<Case>
})

const wholes: ReadonlyArray<Case> = [
  {
    title: "a reset",
    fill: ({ count, metric }) => {
      for (const a of ["x", "y"]) count({ a })
      return [() => metric.reset(), () => count({ a: "y" })]
    },
    shows: ['{a="y"} 1']
  },
  {
    title: "a help text that changes, to other characters and back to ASCII",
    fill: ({ count, metric }) => {
      count({ a: "x" })
      return ["größer", "larger"].map((help) => () => (metric.help = help))
    },
    shows: ['{a="x"} 1']
  },
  {
    title: "a metric that is made anew with other labels and another help text",
    fill: ({ count }, registry, { make }) => {
      count({ a: "x" })
      return [
        () => {
          registry.clear()
          make([registry], ["b"], "other").count({ b: "y" })
        }
      ]
    },
    shows: ['{b="y"} 1']
  },
  {
    title: "a metric of another kind in its place",
    fill: ({ count, metric }, registry) => {
      count({ a: "x" })
      return [
        () => {
          registry.removeSingleMetric((metric as unknown as { readonly name: string }).name)
          const summary = { name: "m_total", help: "h", labelNames: ["a"], registers: [registry] }
          new Gauge(summary).set({ a: "x" }, 7)
        }
      ]
    },
    shows: ['{a="x"} 7']
  },
  {
    title: "a registry that is cleared and filled again with the same metric",
    fill: ({ count, metric }, registry) => {
      count({ a: "x" })
      return [() => registry.clear(), () => registry.registerMetric(metric), () => count({ a: "y" })]
    },
    shows: ['{a="x"} 1', '{a="y"} 1']
  }
]

const defaults: ReadonlyArray<Case> = [
  {
    title: "default labels that are set, changed in place, replaced and removed",
    fill: ({ count }, registry) => {
      count({ a: "x" })
      const labels = { env: "one" }
      return [
        () => registry.setDefaultLabels(labels),
        () => (labels.env = "two"),
        () => registry.setDefaultLabels({ zone: "three" }),
        () => registry.setDefaultLabels({}),
        () => count({ a: "y" })
      ]
    },
    shows: ['{a="x"} 1', '{a="y"} 1']
  },
  {
    title: "default labels that stay while series come and go",
    fill: ({ count, remove }, registry) => {
      registry.setDefaultLabels({ env: "e", zone: "z" })
      for (const a of ["x", "y"]) count({ a })
      return [() => remove({ a: "x" }), () => count({ a: "z" })]
    },
    shows: ['{env="e",zone="z",a="y"} 1', '{env="e",zone="z",a="z"} 1']
  },
  {
    title: "default labels on a metric without any",
    labelNames: [],
    fill: ({ count }, registry) => {
      count()
      return [
        () => registry.setDefaultLabels({ env: "e" }),
        () => registry.setDefaultLabels({}),
        () => registry.setDefaultLabels({ env: "f" })
      ]
    },
    shows: ['{env="f"} 1']
  },
  {
    title: "default labels that some series have themselves, and then none has",
    fill: ({ count, remove }, registry) => {
      for (const labels of [{ a: "x" }, { a: "own", b: "y" }, { b: "z" }]) count(labels)
      return [
        () => registry.setDefaultLabels({ a: "default" }),
        () => registry.setDefaultLabels({ b: "default" }),
        () => remove({ a: "own", b: "y" }),
        () => registry.setDefaultLabels({ b: "other" }),
        () => remove({ b: "z" })
      ]
    },
    shows: ['{b="other",a="x"} 1']
  }
]

for (const way of readPaths) {
  for (const kind of countingKinds) {
    describe(`The next exposition of a ${kind.kind}, read ${way.name}, is right about`, () => {
      for (const { fill, labelNames = ["a", "b"], shows, title } of [...owners, ...removals, ...wholes, ...defaults]) {
        it.effect(title, () =>
          Effect.gen(function* () {
            const registry = new PromRegistry()
            const metric = kind.make([registry], labelNames)
            const changes = fill(metric, registry, kind)
            const kept = yield* keeping(way, registry)
            yield* assertWay(way, kept, metric.metric)
            let body = ""
            for (const change of changes) {
              change()
              body = yield* sameAsFirst(kept, registry)
            }
            assert.deepStrictEqual(seriesIn(body), shows)
          })
        )
      }
    })
  }
}

describe("The next exposition", () => {
  for (const way of readPaths) {
    it.effect(`of a gauge that is set anew each time is right, read ${way.name}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const gauge = new Gauge({ name: "m", help: "h", labelNames: ["a", "b"], registers: [registry] })
        const same = { a: "same", b: "b" }
        gauge.set(same, 1)
        gauge.set({ a: "x", b: "y" }, 2)
        const kept = yield* keeping(way, registry)
        const shows = (...lines: ReadonlyArray<string>) =>
          Effect.map(sameAsFirst(kept, registry), (body) => assert.deepStrictEqual(seriesIn(body), lines))
        gauge.set(same, 10)
        gauge.set({ a: "x", b: "y" }, 20)
        yield* shows('{a="same",b="b"} 10', '{a="x",b="y"} 20')
        gauge.set({ b: "b", a: "same" }, 3)
        gauge.set({ b: "y", a: "x" }, 4)
        // The newer client keeps the labels that a series came with.
        const keepsFirst = isNewer(PromClient)
        yield* shows(
          ...(keepsFirst ? ['{a="same",b="b"} 3', '{a="x",b="y"} 4'] : ['{b="b",a="same"} 3', '{b="y",a="x"} 4'])
        )
        gauge.set(same, 5)
        yield* shows('{a="same",b="b"} 5', keepsFirst ? '{a="x",b="y"} 4' : '{b="y",a="x"} 4')
      })
    )

    it.effect(`has each number as JavaScript writes it, read ${way.name}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const options = { help: "h", labelNames: ["at"], registers: [registry] }
        const gauge = new Gauge({ ...options, name: "m" })
        const counter = new Counter({ ...options, name: "counted_total" })
        const kept = yield* keeping(way, registry)
        for (const turn of [numbers, [...numbers].reverse()]) {
          counter.reset()
          for (const [at, value] of turn.entries()) {
            gauge.set({ at }, value)
            if (value >= 0 && value !== Number.POSITIVE_INFINITY) counter.inc({ at }, value)
          }
          const lines = (yield* sameAsFirst(kept, registry)).split("\n")
          for (const [at, value] of turn.entries()) {
            const text = String(value).replace("Infinity", "Inf").replace(/^Inf/, "+Inf")
            assert.include(lines, `m{at="${at}"} ${text}`)
            if (value >= 0 && value !== Number.POSITIVE_INFINITY) {
              assert.include(lines, `counted_total{at="${at}"} ${text}`)
            }
          }
        }
      })
    )

    it.effect(`has the current exemplars, and no rejected one, read ${way.name}`, () =>
      Effect.gen(function* () {
        const { counter, histogram, registry } = withExemplars()
        const kept = yield* keeping(way, registry)
        const exemplars = Effect.map(
          Effect.zipRight(sameAsFirst(kept, registry), bodyOnce(kept, "openmetrics")),
          exemplarsIn
        )
        const labels = { trace_id: "one" }
        const both = (value: number, exemplarLabels: Record<string, string>): void => {
          counter.inc({ labels: { a: "x" }, value, exemplarLabels })
          histogram.observe({ labels: { a: "x" }, value, exemplarLabels })
        }
        assert.deepStrictEqual(yield* exemplars, [])
        both(0.5, labels)
        assert.deepStrictEqual(yield* exemplars, ['counted_total{a="x"} one', 'm_bucket{le="1",a="x"} one'])
        labels.trace_id = "changed by its owner"
        const changed = ['counted_total{a="x"} changed by its owner', 'm_bucket{le="1",a="x"} changed by its owner']
        assert.deepStrictEqual(yield* exemplars, changed)
        both(5, { trace_id: "two" })
        assert.deepStrictEqual(yield* exemplars, [
          'counted_total{a="x"} two',
          'm_bucket{le="1",a="x"} changed by its owner',
          'm_bucket{le="+Inf",a="x"} two'
        ])
        assert.throws(() => counter.inc({ labels: { a: "x" }, exemplarLabels: { long: "-".repeat(200) } }))
        assert.throws(() => histogram.observe({ labels: { a: "y" }, value: 5, exemplarLabels: { l: "-".repeat(200) } }))
        both(0.5, { "trace-id": "no name of a label" })
        assert.deepStrictEqual(yield* exemplars, ['m_bucket{le="+Inf",a="x"} two'])
        counter.remove({ a: "x" })
        histogram.reset()
        both(1, { trace_id: "äöü".repeat(9) })
        assert.deepStrictEqual(yield* exemplars, [
          `counted_total{a="x"} ${"äöü".repeat(9)}`,
          `m_bucket{le="1",a="x"} ${"äöü".repeat(9)}`
        ])
      })
    )

    it.effect(`has the exemplar of a bucket up to Infinity that was asked for, read ${way.name}`, () =>
      Effect.gen(function* () {
        const { histogram, registry } = withExemplars([1, Number.POSITIVE_INFINITY])
        histogram.observe({ labels: { a: "x" }, value: 0.5 })
        const kept = yield* keeping(way, registry)
        yield* assertWay(way, kept, histogram)
        histogram.observe({ labels: { a: "x" }, value: 5, exemplarLabels: { trace_id: "one" } })
        yield* sameAsFirst(kept, registry)
        const body = yield* bodyOnce(kept, "openmetrics")
        assert.deepStrictEqual(exemplarsIn(body), ['m_bucket{le="+Inf",a="x"} one'])
        assert.deepStrictEqual(body.match(/le="[^"]*"/g), ['le="1"', 'le="+Inf"'])
      })
    )

    for (const kind of countingKinds) {
      const filled = (registers: Array<PromRegistry>): CountingMetric => {
        const metric = kind.make(registers, ["a"])
        for (const place of places) metric.count(numbered(place))
        return metric
      }

      it.effect(`is right of a ${kind.kind} in registries with other default labels, read ${way.name}`, () =>
        Effect.gen(function* () {
          const registries = ["one", "two", "none"].map((env) => {
            const registry = new PromRegistry()
            if (env !== "none") registry.setDefaultLabels({ env })
            return registry
          })
          const { count, metric, remove } = filled(registries)
          const kept = registries.map((registry) => way.of(registry))
          for (const turn of places.slice(0, 6)) {
            for (const [index, registry] of registries.entries()) {
              const text = yield* sameAsFirst(kept[index] as MetricRegistry, registry)
              const own = text.includes('{env="one"') ? "one" : text.includes('{env="two"') ? "two" : "none"
              if (kind.kind !== "histogram") assert.strictEqual(own, ["one", "two", "none"][index])
            }
            remove(numbered(turn))
            count({ a: `new ${turn}` })
          }
          yield* assertWay(way, kept[0] as MetricRegistry, metric)
        })
      )

      it.effect(`of a ${kind.kind} is right in both formats in turn and at once, read ${way.name}`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const { count, remove } = filled([registry])
          const kept = yield* keeping(way, registry)
          for (const turn of places.slice(0, 6)) {
            remove(numbered(3 * turn))
            count({ a: `ä ${turn}` })
            const asked = [...formats, ...formats].map((format) => [format, bodyOnce(kept, format)] as const)
            const bodies = yield* Effect.all(
              asked.map(([, body]) => body),
              { concurrency: "unbounded" }
            )
            for (const [index, [format]] of asked.entries()) {
              assert.strictEqual(bodies[index], yield* bodyOnce(withoutDirectRead(registry), format))
              parsers[format](bodies[index] ?? "")
            }
          }
        })
      )
    }
  }
})

const numbers: ReadonlyArray<number> = [
  ...[0, -0, 1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000, 99_999, 100_000, 999_999, 1_000_000, 9_999_999, 10_000_000],
  ...[99_999_999, 100_000_000, 100_000_001, 123_456_789, 1_000_000_007, 99_999_999_999_999],
  ...[2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2],
  ...[0.1, 0.5, 1.5, 1e-7, 5e-324, 1e21, 1e300, Number.MAX_VALUE, 0.0000012345678901234567],
  ...[-1, -9, -10, -99_999_999, -100_000_000, -(2 ** 53), -0.0000012345678901234567, -Number.MAX_VALUE],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
]

const withExemplars = (buckets = [1]) => {
  const registry = new PromRegistry<OpenMetricsContentType>()
  registry.setContentType(PromRegistry.OPENMETRICS_CONTENT_TYPE)
  const options = { help: "h", labelNames: ["a"], registers: [registry], enableExemplars: true }
  return {
    registry: registry as unknown as PromRegistry,
    counter: new Counter({ ...options, name: "counted_total" }),
    histogram: new Histogram({ ...options, name: "m", buckets })
  }
}

/** The samples with an exemplar, and its label. */
const exemplarsIn = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^(\S+) \S+ # \{\w+="(.*)"\} \S+ \S+$/gmu)].map(([, series, label]) => `${series} ${label}`)

describe("No memory is kept", () => {
  for (const [what, args] of [
    ["of 200,000 series that have gone, read by the shortcut", ["series"]],
    ["of 200,000 series that have gone, read by what their metric answers", ["series", "asked"]],
    ["of metrics that are made anew, read by the shortcut", ["metrics"]],
    ["of metrics that are made anew, read by what they answer", ["metrics", "asked"]]
  ] as const) {
    it.live(what, () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runFixture("seriesMemory.mjs", { args, execArgv: ["--expose-gc"] })
        assert.strictEqual(code, 0, stderr)
        const { full, levels } = JSON.parse(stdout) as { full: number; levels: ReadonlyArray<number> }
        const [first = 0, ...others] = levels
        // What one round keeps would be left ten times over.
        for (const level of others) assert.isBelow(level - first, (full - first) / 2, stdout)
      })
    )
  }
})
