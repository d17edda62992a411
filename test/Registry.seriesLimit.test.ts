import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as fc from "fast-check"
import * as Metrics from "../src/Metrics.js"
import type * as Registry from "../src/Registry.js"
import { bothClients, fresh } from "./support/bothClients.js"
import { logged } from "./support/expositions.js"
import { counts, series } from "./support/metrics.js"

const help = "A metric of a test."
const overflows = "effect_prometheus_series_overflow_total"

interface Recording {
  readonly labels: { readonly a: string; readonly b: string }
  readonly amount: number
  readonly how: number
}

const recordings = fc.array(
  fc.record({
    labels: fc.record({
      a: fc.constantFrom("x", "y", "z", "overflow", "a:1,b", "|", ""),
      b: fc.constantFrom("1", "2", "3", "overflow", "|")
    }),
    amount: fc.integer({ min: 1, max: 9 }),
    how: fc.nat()
  }),
  { maxLength: 60 }
)

type Write = (labels: Recording["labels"], amount: number) => void

type Exemplified = Pick<Recording, "labels"> & { readonly value: number; readonly exemplarLabels?: never }

const exemplarWays = (record: (given: Exemplified) => void, onChild: Write): ReadonlyArray<Write> => [
  (labels, value) => record({ labels, value }),
  (labels, value) => record({ labels, value, exemplarLabels: { trace_id: "t" } as never }),
  (labels, value) => {
    // It is counted, and then refused.
    const exemplarLabels = { trace_id: "t".repeat(200) } as never
    assert.throws(() => record({ labels, value, exemplarLabels }))
  },
  onChild
]

interface Summing {
  readonly metric: Parameters<typeof series>[0] & {
    remove(labels: Recording["labels"]): void
    remove(...values: Array<string>): void
  }
  readonly ways: ReadonlyArray<Write>
  /** The name of the series that add up. */
  readonly count: string
}

type Make = (maxSeries: number) => Effect.Effect<Summing, Registry.RegistryError>

for (const withClient of bothClients) {
  const { name: clientName } = withClient
  const options = { name: "m", help, labelNames: ["a", "b"] } as const

  /** The metrics with a limit, and each way to add to what they say. */
  const summing: Readonly<Record<string, Make>> = {
    counter: (maxSeries: number) =>
      Effect.map(withClient.Registry.counter({ ...options, maxSeries }), (metric) => {
        const ways: ReadonlyArray<Write> = [
          (labels, amount) => metric.inc(labels, amount),
          ({ a, b }, amount) => metric.labels(a, b).inc(amount),
          ({ a, b }, amount) => metric.labels({ b, a }).inc(amount)
        ]
        return { metric, ways, count: "m" }
      }),
    "counter with exemplars": (maxSeries: number) =>
      Effect.map(withClient.Registry.counter({ ...options, maxSeries, enableExemplars: true }), (metric) => ({
        metric,
        ways: exemplarWays(
          (given) => metric.inc(given),
          (labels, value) => metric.labels(labels).inc(value)
        ),
        count: "m"
      })),
    gauge: (maxSeries: number) =>
      Effect.map(withClient.Registry.gauge({ ...options, maxSeries }), (metric) => {
        const ways: ReadonlyArray<Write> = [
          (labels, amount) => metric.inc(labels, amount),
          (labels, amount) => metric.dec(labels, -amount),
          ({ a, b }, amount) => metric.labels(a, b).inc(amount),
          (labels, amount) => metric.labels(labels).dec(-amount)
        ]
        return { metric, ways, count: "m" }
      }),
    histogram: (maxSeries: number) =>
      Effect.map(withClient.Registry.histogram({ ...options, maxSeries, buckets: [5] }), (metric) => {
        const children = new Map<string, { observe(value: number): void }>()
        const ways: ReadonlyArray<Write> = [
          (labels, amount) => metric.observe(labels, amount),
          ({ a, b }, amount) => metric.labels(a, b).observe(amount),
          // A child that stays.
          (labels, amount) => {
            const key = JSON.stringify(labels)
            const child = children.get(key) ?? metric.labels(labels)
            children.set(key, child)
            child.observe(amount)
          }
        ]
        return { metric, ways, count: "m_sum" }
      }),
    "histogram with exemplars": (maxSeries: number) =>
      Effect.map(
        withClient.Registry.histogram({ ...options, maxSeries, buckets: [5], enableExemplars: true }),
        (metric) => ({
          metric,
          ways: exemplarWays(
            (given) => metric.observe(given),
            (labels, value) => metric.labels(labels).observe(value)
          ),
          count: "m_sum"
        })
      ),
    summary: (maxSeries: number) =>
      Effect.map(withClient.Registry.summary({ ...options, maxSeries }), (metric) => {
        const ways: ReadonlyArray<Write> = [
          (labels, amount) => metric.observe(labels, amount),
          ({ a, b }, amount) => metric.labels(a, b).observe(amount)
        ]
        return { metric, ways, count: "m_sum" }
      })
  }

  const overflowed = (registry: Registry.MetricRegistry) => {
    const counter = registry.getSingleMetric(overflows) as Parameters<typeof series>[0]
    return Effect.map(
      Effect.promise(() => series(counter)),
      (all) => all[`${overflows}{metric="m"}`]
    )
  }

  describe(`A limit to the series, with ${clientName},`, () => {
    for (const [kind, make] of Object.entries(summing)) {
      it.effect(`holds for a ${kind} however values are recorded, and no sum loses a value`, () =>
        Effect.gen(function* () {
          yield* Effect.promise(() =>
            fc.assert(
              fc.asyncProperty(recordings, fc.integer({ min: 1, max: 6 }), async (all, maxSeries) => {
                const { on, registry } = fresh(withClient)
                await Effect.runPromise(
                  logged(function* (lines) {
                    const { count, metric, ways } = yield* on(make(maxSeries))
                    for (const { amount, how, labels } of all) (ways[how % ways.length] as Write)(labels, amount)
                    const found = yield* Effect.promise(() => series(metric))
                    const own = Object.entries(found).filter(([name]) => name.startsWith(`${count}{`))
                    assert.isAtMost(own.length, maxSeries + 1)
                    const sum = own.reduce((total, [, value]) => total + value, 0)
                    assert.strictEqual(
                      sum,
                      all.reduce((total, { amount }) => total + amount, 0)
                    )
                    const wanted = new Set(all.map(({ labels }) => JSON.stringify(labels))).size
                    const lost = yield* overflowed(registry)
                    assert.strictEqual(wanted > maxSeries, (lost ?? 0) > 0)
                    assert.lengthOf(lines, wanted > maxSeries ? 1 : 0)
                  })
                )
              }),
              { numRuns: 100 }
            )
          )
        })
      )

      // What its `inc` put with all others is to be found there by its `dec`.
      if (kind === "gauge") continue
      it.effect(`makes room for a ${kind} where a series is removed`, () =>
        logged(function* () {
          const { on } = fresh(withClient)
          const { count, metric, ways } = yield* on(make(2))
          const [write] = ways as [Write]
          for (const a of ["1", "2", "3"]) write({ a, b: "b" }, 1)
          metric.remove({ b: "b", a: "1" })
          metric.remove("never", "there")
          for (const a of ["1", "3", "4", "2"]) write({ a, b: "b" }, 1)
          metric.remove("2", "b")
          // Another one with the same first label stays known.
          write({ a: "1", b: "c" }, 1)
          metric.remove("1", "c")
          for (const a of ["1", "4", "5"]) write({ a, b: "b" }, 1)
          const all = yield* Effect.promise(() => series(metric))
          assert.deepStrictEqual(
            Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith(`${count}{`))),
            { [`${count}{a="overflow",b="overflow"}`]: 4, [`${count}{a="1",b="b"}`]: 2, [`${count}{a="4",b="b"}`]: 1 }
          )
        })
      )
    }

    it.effect(
      "makes room for a gauge where a series is removed, once what went up with all others has come down there",
      () =>
        logged(function* () {
          const { on, registry } = fresh(withClient)
          const gauge = yield* on(withClient.Registry.gauge({ ...options, maxSeries: 1 }))
          const one = { a: "1", b: "b" }
          const two = { a: "2", b: "b" }
          const own = 'm{a="1",b="b"}'
          const others = 'm{a="overflow",b="overflow"}'
          gauge.inc(one)
          gauge.inc(two, 2)
          gauge.labels("3", "b").inc()
          gauge.dec(one)
          gauge.remove("1", "b")
          gauge.dec(two, 2)
          assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { [others]: 1 })
          // Not even another one: where it ends would not be known.
          gauge.inc(one)
          gauge.labels("3", "b").dec()
          gauge.dec(one)
          gauge.inc(one)
          assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { [others]: 0, [own]: 1 })
          for (const clear of [() => gauge.remove("overflow", "overflow"), () => registry.resetMetrics()]) {
            gauge.inc(two)
            gauge.remove(one)
            clear()
            gauge.inc(one)
            assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { [own]: 1 })
          }
          gauge.inc(two)
          assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { [own]: 1, [others]: 1 })
        })
    )

    it.effect("keeps an in-progress gauge right when series are removed meanwhile", () =>
      logged(function* () {
        const { on } = fresh(withClient)
        const gauge = yield* on(withClient.Registry.gauge({ ...options, maxSeries: 2 }))
        const running = new Map<string, Fiber.RuntimeFiber<never>>()
        const names = ["1", "2", "3", "4", "5"]
        for (const step of fc.sample(fc.record({ a: fc.constantFrom(...names), removes: fc.boolean() }), 300)) {
          const { a, removes } = step
          const fiber = running.get(a)
          if (fiber === undefined) {
            const run = Metrics.trackInProgress(Effect.never, gauge, { labels: { a, b: "b" } })
            running.set(a, yield* Effect.fork(run))
            yield* Effect.yieldNow()
          } else {
            yield* Fiber.interrupt(fiber)
            running.delete(a)
            // Nothing runs that it counts.
            if (removes) gauge.remove(a, "b")
          }
          const all = yield* Effect.promise(() => series(gauge))
          const values = Object.values(all)
          assert.strictEqual(
            values.reduce((sum, value) => sum + value, 0),
            running.size
          )
          assert.isTrue(
            values.every((value) => value >= 0),
            JSON.stringify(all)
          )
        }
      })
    )

    for (const [kind, make] of Object.entries(summing)) {
      it.effect(`makes room for a ${kind} when it is reset, unless it keeps its series then`, () =>
        logged(function* () {
          const { on, registry } = fresh(withClient)
          const { count, metric, ways } = yield* on(make(1))
          const [write] = ways as [Write]
          write({ a: "1", b: "b" }, 1)
          registry.resetMetrics()
          write({ a: "2", b: "b" }, 1)
          const all = yield* Effect.promise(() => series(metric))
          const label = kind === "summary" ? 'a="overflow",b="overflow"' : 'a="2",b="b"'
          assert.strictEqual(all[`${count}{${label}}`], 1)
          assert.lengthOf(
            Object.keys(all).filter((name) => name.startsWith(`${count}{`)),
            kind === "summary" ? 2 : 1
          )
        })
      )
    }

    it.effect("is logged once as a warning, and counted from 0 on, also after a reset", () =>
      logged(function* (lines) {
        const { on, registry } = fresh(withClient)
        const counter = yield* on(withClient.Registry.counter({ ...options, maxSeries: 1 }))
        assert.strictEqual(yield* overflowed(registry), 0)
        counter.inc({ a: "1", b: "1" })
        assert.strictEqual(yield* overflowed(registry), 0)
        for (const b of ["2", "3", "4"]) counter.inc({ a: "1", b })
        assert.strictEqual(yield* overflowed(registry), 3)
        assert.deepStrictEqual(lines, [
          "WARN metric m has reached its limit of 1 series (maxSeries). Recordings with other labels go to a series " +
            'whose label values are "overflow", and are counted in effect_prometheus_series_overflow_total. ' +
            "This is logged once per metric"
        ])
        registry.resetMetrics()
        assert.strictEqual(yield* overflowed(registry), 0)
      })
    )

    it.effect("holds also where something else has the name of what it is counted in", () =>
      logged(function* (lines) {
        const { on, registry } = fresh(withClient)
        registry.registerMetric({ name: overflows, help: "h", get: async () => ({}) } as never)
        const counter = yield* on(withClient.Registry.counter({ ...options, maxSeries: 1 }))
        for (const b of ["2", "3"]) counter.inc({ a: "1", b })
        assert.deepStrictEqual(yield* Effect.promise(() => series(counter)), {
          'm{a="1",b="2"}': 1,
          'm{a="overflow",b="overflow"}': 1
        })
        assert.lengthOf(lines, 1)
      })
    )

    it.effect("leaves out what a gauge beyond it is set to, and says so", () =>
      logged(function* (lines) {
        const { on, registry } = fresh(withClient)
        const gauge = yield* on(withClient.Registry.gauge({ ...options, maxSeries: 1 }))
        gauge.set({ a: "1", b: "1" }, 5)
        gauge.set({ a: "1", b: "1" }, 6)
        gauge.set({ a: "2", b: "1" }, 7)
        gauge.set(8)
        gauge.setToCurrentTime({ a: "3", b: "1" })
        assert.isAtLeast(gauge.startTimer({ a: "4" })({ b: "1" }), 0)
        const child = gauge.labels("5", "1")
        child.set(9)
        child.setToCurrentTime()
        child.startTimer()()
        assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { 'm{a="1",b="1"}': 6 })
        assert.strictEqual(yield* overflowed(registry), 7)
        assert.lengthOf(lines, 1)
      })
    )

    it.effect("holds for timers, and for children that were made before", () =>
      logged(function* () {
        const { on } = fresh(withClient)
        const made = [
          yield* on(withClient.Registry.histogram({ ...options, maxSeries: 1 })),
          yield* on(withClient.Registry.summary({ ...options, name: "n", maxSeries: 1 })),
          yield* on(withClient.Registry.histogram({ ...options, name: "o", maxSeries: 1, enableExemplars: true }))
        ]
        for (const metric of made) {
          const before = metric.labels("2", "1")
          const admitted = metric.labels("1", "1")
          const running = metric.labels("3", "1").startTimer()
          admitted.observe(1)
          admitted.observe(1)
          before.observe(1)
          running()
          metric.startTimer({ a: "4" })({ b: "1" })
          metric.startTimer({ a: "1", b: "1" })()
          const found = Object.entries(yield* Effect.promise(() => counts(metric)))
          assert.deepStrictEqual(
            found.map(([name, value]) => [name.replace(/^\w+/, ""), value]),
            [
              ['{a="1",b="1"}', 3],
              ['{a="overflow",b="overflow"}', 3]
            ]
          )
          metric.remove("1", "1")
          before.observe(1)
          admitted.observe(1)
          const after = Object.entries(yield* Effect.promise(() => counts(metric)))
          assert.deepStrictEqual(
            after.map(([name, value]) => [name.replace(/^\w+/, ""), value]),
            [
              ['{a="overflow",b="overflow"}', 4],
              ['{a="2",b="1"}', 1]
            ]
          )
        }
      })
    )

    it.effect("is not passed by a child whose series is gone since the metric was reset", () =>
      logged(function* () {
        const { on, registry } = fresh(withClient)
        const histogram = yield* on(withClient.Registry.histogram({ ...options, maxSeries: 1 }))
        const child = histogram.labels("0", "b")
        for (const value of [1, 2]) child.observe(value)
        registry.resetMetrics()
        histogram.observe({ a: "1", b: "b" }, 1)
        child.observe(3)
        assert.deepStrictEqual(yield* Effect.promise(() => counts(histogram)), {
          'm_count{a="1",b="b"}': 1,
          'm_count{a="overflow",b="overflow"}': 1
        })
      })
    )

    it.effect("is not passed by a child whose labels are changed", () =>
      logged(function* () {
        const { on } = fresh(withClient)
        const histogram = yield* on(withClient.Registry.histogram({ ...options, maxSeries: 1 }))
        const counter = yield* on(withClient.Registry.counter({ ...options, name: "n", maxSeries: 1 }))
        const labels = { a: "0", b: "b" }
        const child = histogram.labels(labels)
        const counting = counter.labels(labels)
        for (let at = 0; at < 5; at += 1) {
          labels.a = `${at}`
          child.observe(1)
          counting.inc()
        }
        assert.deepStrictEqual(yield* Effect.promise(() => counts(histogram)), { 'm_count{a="0",b="b"}': 5 })
        assert.isAtMost(Object.keys(yield* Effect.promise(() => series(counter))).length, 2)
      })
    )

    it.effect("gives no room to what is refused, which stays refused beyond it", () =>
      logged(function* (lines) {
        const { on, registry } = fresh(withClient)
        const counter = yield* on(withClient.Registry.counter({ ...options, maxSeries: 2 }))
        const gauge = yield* on(withClient.Registry.gauge({ ...options, name: "g", maxSeries: 2 }))
        const histogram = yield* on(withClient.Registry.histogram({ ...options, name: "h", maxSeries: 2 }))
        const exemplars = { ...options, name: "e", maxSeries: 2, enableExemplars: true } as const
        const withExemplars = yield* on(withClient.Registry.counter(exemplars))
        const refused = (): void => {
          for (let at = 0; at < 5; at += 1) {
            const labels = { a: `${at}`, b: "bad" }
            assert.throws(() => counter.inc(labels, -1))
            assert.throws(() => counter.inc({ ...labels, c: "c" } as never))
            assert.throws(() => counter.labels({ ...labels, c: "c" } as never).inc())
            assert.throws(() => counter.labels("1").inc())
            assert.throws(() => gauge.set(labels, "1" as never))
            assert.throws(() => gauge.set({ c: "c" } as never, 1))
            assert.throws(() => gauge.inc(labels, "1" as never))
            assert.throws(() => histogram.observe(labels, Number.NaN))
            assert.throws(() => histogram.labels("1"))
            assert.throws(() => histogram.labels({ c: "c" } as never))
            assert.throws(() => withExemplars.inc({ labels, value: -1 }))
            assert.throws(() => withExemplars.inc({ labels: { c: "c" } as never }))
          }
        }
        refused()
        for (const a of ["1", "2"]) {
          counter.inc({ a, b: "good" })
          gauge.inc({ a, b: "good" })
          histogram.observe({ a, b: "good" }, 1)
          withExemplars.inc({ labels: { a, b: "good" } })
        }
        refused()
        for (const metric of [counter, gauge, histogram, withExemplars]) {
          const found = Object.values(yield* Effect.promise(() => counts(metric)))
          assert.deepStrictEqual(found, [1, 1])
        }
        assert.strictEqual(yield* overflowed(registry), 0)
        assert.deepStrictEqual(lines, [])
      })
    )

    it.effect("leaves out the zero of a histogram beyond it, and no observation is lost by one", () =>
      logged(function* () {
        const { on, registry } = fresh(withClient)
        const histogram = yield* on(withClient.Registry.histogram({ ...options, maxSeries: 1 }))
        histogram.zero({ a: "1", b: "1" })
        histogram.observe({ a: "2", b: "1" }, 1)
        histogram.zero({ a: "2", b: "1" })
        histogram.observe({ a: "1", b: "1" }, 1)
        const expected = { 'm_count{a="1",b="1"}': 1, 'm_count{a="overflow",b="overflow"}': 1 }
        assert.deepStrictEqual(yield* Effect.promise(() => counts(histogram)), expected)
        histogram.zero({ a: "1", b: "1" })
        assert.deepInclude(yield* Effect.promise(() => counts(histogram)), { 'm_count{a="1",b="1"}': 0 })
        assert.strictEqual(yield* overflowed(registry), 1)
      })
    )

    it.effect("counts series without labels, with some of them, and with numbers as the clients do", () =>
      logged(function* () {
        const { on } = fresh(withClient)
        const counter = yield* on(withClient.Registry.counter({ ...options, maxSeries: 3 }))
        counter.inc()
        counter.inc(2)
        counter.inc({ a: 1 })
        counter.inc({ a: "1" })
        counter.inc({ a: "1", b: 2 })
        counter.inc({ b: "2", a: 1 })
        counter.inc({ b: "2" })
        const found = yield* Effect.promise(() => series(counter))
        assert.deepStrictEqual(Object.values(found), [3, 2, 2, 1])
      })
    )

    it.effect("holds for what the combinators record, with labels and with exemplars", () =>
      logged(function* () {
        const { on } = fresh(withClient)
        const duration = yield* on(withClient.Registry.histogram({ ...options, maxSeries: 1, enableExemplars: true }))
        const exceptions = yield* on(
          withClient.Registry.counter({ ...options, name: "n", maxSeries: 1, enableExemplars: true })
        )
        const inProgress = yield* on(withClient.Registry.gauge({ ...options, name: "o", maxSeries: 1 }))
        const metrics = [duration, exceptions, inProgress]
        for (const a of ["1", "2", "3"]) {
          const labels = { a, b: "b" }
          yield* Effect.fail("no").pipe(
            Metrics.instrumented({
              duration: { metric: duration, labels, exemplar: "currentSpan" },
              exceptions: { metric: exceptions, labels, exemplar: "currentSpan" },
              inProgress: { metric: inProgress, labels }
            }),
            Effect.withSpan("run"),
            Effect.ignore
          )
        }
        // A child of a counter with exemplars counts the series of its labels here.
        yield* Effect.ignore(Metrics.countExceptions(Effect.fail("no"), exceptions.labels("4", "b")))
        const found = []
        for (const metric of metrics) found.push(Object.values(yield* Effect.promise(() => counts(metric))))
        assert.deepStrictEqual(found, [
          [1, 2],
          [1, 3],
          [0, 0]
        ])
      })
    )

    it.effect("does not exist for a metric without labels", () =>
      logged(function* (lines) {
        const { on } = fresh(withClient)
        const counter = yield* on(withClient.Registry.counter({ name: "m", help, maxSeries: 1 }))
        counter.inc()
        counter.inc(2)
        assert.deepStrictEqual(yield* Effect.promise(() => series(counter)), { m: 3 })
        assert.deepStrictEqual(lines, [])
      })
    )
  })
}
