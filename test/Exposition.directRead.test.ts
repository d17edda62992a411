// Before all that renders.
import "./support/countReads.js"
import { setImmediate as nextTurn } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Gauge, Histogram, type Metric, Registry as PromRegistry, Summary } from "prom-client"
import * as Registry from "../src/Registry.js"
import { runFixture } from "./support/childProcess.js"
import { type CountingKind, type CountingMetric, countingKinds, seriesIn } from "./support/countingMetrics.js"
import { readsOf } from "./support/countReads.js"
import { bodyOnce, formats, logged } from "./support/expositions.js"
import { clients } from "./support/metrics.js"
import { withoutDirectRead } from "./support/readPaths.js"

/** So many expositions in each format, all of which are those of what the metrics answer. The last text comes back. */
const expositions = (registry: PromRegistry, times: number): Effect.Effect<string> =>
  Effect.gen(function* () {
    let text = ""
    for (let time = 0; time < times; time += 1) {
      for (const format of formats) {
        const expected = yield* bodyOnce(withoutDirectRead(registry, "getForPromString"), format)
        const body = yield* bodyOnce(registry, format)
        assert.strictEqual(body, expected)
        if (format === "text") text = body
      }
    }
    return text
  })

/** How often a metric is asked for one exposition. */
const asking = (registry: PromRegistry, metric: object): Effect.Effect<number> =>
  Effect.gen(function* () {
    const before = readsOf(metric)
    yield* bodyOnce(registry, "text")
    return readsOf(metric) - before
  })

const filled = (kind: CountingKind): CountingMetric & { readonly registry: PromRegistry } => {
  const registry = new PromRegistry()
  const counting = kind.make([registry], ["a"])
  for (const a of ["x", "y"]) counting.count({ a })
  return { ...counting, registry }
}

interface Readable {
  name: string
  collect: unknown
  get: () => Promise<{ values: ReadonlyArray<{ readonly value: number }> }>
  getForPromString?: unknown
}

/** A method that reads a metric as the one in its place does, and shows ten times as much. */
const tenfold = (read: Readable["get"]): Readable["get"] =>
  async function (this: unknown) {
    const family = await read.call(this)
    return { ...family, values: family.values.map((sample) => ({ ...sample, value: 10 * sample.value })) }
  }

/** Where a metric is read otherwise from then on. */
const readOtherwise = (owner: Readable): void => {
  if (owner.getForPromString !== undefined) owner.getForPromString = tenfold(owner.getForPromString as Readable["get"])
  owner.get = tenfold(owner.get)
}

const readable = (metric: unknown): Readable => metric as Readable

describe("The shortcut", () => {
  for (const kind of countingKinds) {
    it.effect(`is taken by a ${kind.kind} of prom-client 15, from its first exposition on`, () =>
      Effect.gen(function* () {
        const { count, metric, registry } = filled(kind)
        for (let time = 0; time < 3; time += 1) {
          assert.strictEqual(yield* asking(registry, metric), 0)
          count({ a: `new ${time}` })
        }
        assert.include(seriesIn(yield* expositions(registry, 2)), '{a="new 2"} 1')
      })
    )

    it.effect(`is not taken by a ${kind.kind} with a collect, which is waited for in each exposition`, () =>
      Effect.gen(function* () {
        const { count, metric, registry } = filled(kind)
        yield* expositions(registry, 2)
        readable(metric).collect = async () => {
          await nextTurn()
          count({ a: "collected" })
        }
        for (const times of [1, 2, 3]) {
          assert.include(seriesIn(yield* bodyOnce(registry, "text")), `{a="collected"} ${times}`)
        }
        readable(metric).collect = undefined
        yield* bodyOnce(registry, "text")
        assert.strictEqual(yield* asking(registry, metric), 0)
      })
    )

    it.effect(`is not taken by a ${kind.kind} that is read by methods of its own, from when it has them`, () =>
      Effect.gen(function* () {
        const { metric, registry } = filled(kind)
        yield* expositions(registry, 2)
        readOtherwise(readable(metric))
        assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 10', '{a="y"} 10'])
      })
    )

    it.effect(`is not taken by a ${kind.kind} whose class is changed after the first exposition`, () =>
      Effect.gen(function* () {
        const { metric, registry } = filled(kind)
        yield* expositions(registry, 2)
        const own = Object.getPrototypeOf(metric) as Readable
        const before = Object.getOwnPropertyDescriptors(own)
        readOtherwise(own)
        try {
          assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 10', '{a="y"} 10'])
        } finally {
          Object.defineProperties(own, before)
        }
        assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 1', '{a="y"} 1'])
        assert.strictEqual(yield* asking(registry, metric), 0)
      })
    )
  }

  const options = { name: "m", help: "h", labelNames: ["a"] }

  it.effect("is not taken by metrics of subclasses that read them otherwise", () =>
    Effect.gen(function* () {
      class OwnCounter extends Counter<string> {}
      class OwnGauge extends Gauge<string> {}
      class OwnHistogram extends Histogram<string> {}
      for (const { prototype } of [OwnCounter, OwnGauge, OwnHistogram]) readOtherwise(readable(prototype))
      const made = [
        (registers: Array<PromRegistry>) => new OwnCounter({ ...options, registers }).inc({ a: "x" }),
        (registers: Array<PromRegistry>) => new OwnGauge({ ...options, registers }).inc({ a: "x" }),
        (registers: Array<PromRegistry>) => new OwnHistogram({ ...options, registers }).observe({ a: "x" }, 1)
      ]
      for (const make of made) {
        const registry = new PromRegistry()
        make([registry])
        assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 10'])
      }
    })
  )

  it.effect("is taken by metrics of a subclass that reads them as its class does", () =>
    Effect.gen(function* () {
      class OwnCounter extends Counter<string> {
        twice(): void {
          this.inc({ a: "x" }, 2)
        }
      }
      const registry = new PromRegistry()
      const counter = new OwnCounter({ ...options, registers: [registry] })
      counter.twice()
      assert.deepStrictEqual(seriesIn(yield* expositions(registry, 2)), ['{a="x"} 2'])
      assert.strictEqual(yield* asking(registry, counter), 0)
    })
  )

  it.effect("is taken by metrics with a limit to their series, and with some that are there from the start", () =>
    logged(function* () {
      const registry = new PromRegistry()
      const on = Effect.provideService(Registry.Registry, registry)
      const limited = { help: "h", labelNames: ["a"], maxSeries: 2, series: { a: ["x"] } } as const
      const counter = yield* on(Registry.counter({ ...limited, name: "m_total" }))
      const gauge = yield* on(Registry.gauge({ ...limited, name: "n" }))
      const histogram = yield* on(Registry.histogram({ ...limited, name: "o" }))
      for (const a of ["1", "2", "3"]) {
        counter.inc({ a })
        gauge.inc({ a })
        histogram.observe({ a }, 1)
        for (const metric of [counter, gauge, histogram]) assert.strictEqual(yield* asking(registry, metric), 0)
      }
      const text = yield* expositions(registry, 2)
      for (const name of ["m_total", "n", "o_count"]) assert.include(text, `${name}{a="overflow"} 2\n`)
    })
  )

  it.effect("is not taken by a histogram of whose methods only getForPromString is its own", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const histogram = new Histogram({ ...options, registers: [registry] })
      histogram.observe({ a: "x" }, 1)
      const own = readable(histogram)
      own.getForPromString = tenfold(own.getForPromString as Readable["get"])
      assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 10'])
    })
  )

  it.effect("is not taken by a gauge that has a getForPromString, as histograms do", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const gauge = new Gauge({ ...options, registers: [registry] })
      gauge.set({ a: "x" }, 1)
      const own = readable(gauge)
      own.getForPromString = tenfold(own.get.bind(gauge))
      assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 10'])
    })
  )

  it.effect("leads nowhere for a summary", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const summary = new Summary({ ...options, percentiles: [0.5], registers: [registry] })
      for (const value of [1, 2]) {
        summary.observe({ a: "x" }, value)
        assert.include(seriesIn(yield* expositions(registry, 2)), `{a="x"} ${value}`)
      }
    })
  )

  it.effect("is not taken by a histogram while its labels have the name of a default label, or of the bound", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const histogram = new Histogram({ ...options, buckets: [1], registers: [registry] })
      const labels: Record<string, string> = { a: "x" }
      histogram.observe(labels, 0.5)
      yield* bodyOnce(registry, "text")
      const states = [
        { asked: 0, change: () => {} },
        { asked: 1, change: () => registry.setDefaultLabels({ a: "default" }) },
        { asked: 0, change: () => registry.setDefaultLabels({ b: "default" }) },
        { asked: 1, change: () => (labels["b"] = "own") },
        { asked: 0, change: () => delete labels["b"] },
        { asked: 1, change: () => (labels["le"] = "own") },
        { asked: 0, change: () => delete labels["le"] }
      ]
      for (const { asked, change } of states) {
        change()
        assert.strictEqual(yield* asking(registry, histogram), asked)
        yield* expositions(registry, 2)
      }
    })
  )

  for (const { client, name } of clients.slice(1)) {
    it.effect(`is not taken by metrics of ${name}, which are read by what they answer`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const registers = [registry]
        const counter = new client.Counter({ name: "m_total", help: "h", labelNames: ["a"], registers })
        const gauge = new client.Gauge({ name: "m", help: "h", labelNames: ["a"], registers })
        counter.inc({ a: "x" }, 2)
        gauge.set({ a: "y" }, 3)
        for (const metric of [counter, gauge] as ReadonlyArray<Metric>) {
          const own = readable(metric)
          own.get = tenfold(own.get.bind(metric))
        }
        assert.deepStrictEqual(seriesIn(yield* expositions(registry, 3)), ['{a="x"} 20', '{a="y"} 30'])
        const histogram = new client.Histogram({ name: "run_seconds", help: "h", buckets: [1], registers })
        histogram.observe(0.5)
        assert.include(yield* expositions(registry, 3), 'run_seconds_bucket{le="1"} 1\n')
      })
    )
  }
})

interface Client {
  readonly title: string
  readonly name: string
  /** What its expositions must have. */
  readonly shows: string
}

const others: ReadonlyArray<Client> = [
  { title: "returns twice the value that it stores", name: "doubled", shows: 'counted_total{a="x"} 4\n' },
  { title: "returns copies, which may differ later", name: "clamped", shows: 'counted_total{a="y"} 1000\n' },
  { title: "leaves series out", name: "filtered", shows: 'counted_total{a="x"} 2\n' },
  { title: "has series that it does not keep", name: "extended", shows: 'counted_total{a="more"} 7\n' },
  { title: "returns its series in another order", name: "reversed", shows: 'level{a="y"} 3\nlevel{a="x"} 2\n' },
  { title: "keeps its series in a Map", name: "mapped", shows: 'counted_total{a="x"} 2\n' },
  { title: "keeps its series elsewhere", name: "elsewhere", shows: 'counted_total{a="x"} 2\n' },
  { title: "keeps its buckets summed up", name: "cumulative", shows: 'run_seconds_bucket{le="2",a="x"} 2\n' },
  { title: "keeps its sums in another unit", name: "milliseconds", shows: 'run_seconds_sum{a="x"} 0.5\n' },
  { title: "refuses to make metrics that are on no registry", name: "refusing", shows: 'counted_total{a="x"} 2\n' },
  { title: "never answers for a metric that is on no registry", name: "silent", shows: 'counted_total{a="x"} 2\n' }
]

describe("A client that", () => {
  for (const { name, shows, title } of others) {
    it.live(`${title} is read by what its metrics answer`, () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runFixture("otherClientExpositions.mjs", { args: [name] })
        assert.strictEqual(code, 0, stderr)
        const bodies = JSON.parse(stdout) as ReadonlyArray<{ readonly expected: string; readonly body: string }>
        assert.strictEqual(bodies.length, 6)
        for (const { body, expected } of bodies) assert.strictEqual(body, expected)
        assert.include(bodies.at(-1)?.body, shows)
      })
    )
  }
})
