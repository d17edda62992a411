/** A value is recorded as the public method of the metric records it, whichever way it takes. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import type * as PromClient from "prom-client"
import { incrementing, observing, setting } from "../src/core/instrument/record.js"
import { type Client, clients } from "./support/metrics.js"

type LabelsGiven = Readonly<Record<string, unknown>>

interface Recorder {
  /** Records by the library; the labels are computed for each value. */
  readonly ours: (labels: LabelsGiven, value: number) => unknown
  /** Records by the public method. */
  readonly theirs: (labels: LabelsGiven, value: number) => unknown
  readonly metrics: ReadonlyArray<{ get(): Promise<unknown>; reset(): void; remove(labels: object): void }>
}

const labelNames = ["b", "a"]
const buckets = [-3, -0.5, 0, 0.25, 1, 10, 2 ** 33, Number.POSITIVE_INFINITY]

const oddBuckets: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  "histogram with a bucket of -1": [-2, -1, 0, 1],
  "histogram with a bucket of NaN": [0.1, Number.NaN, 1],
  "histogram with a last bucket of NaN": [0.1, 1, Number.NaN],
  "histogram with buckets that are texts": ["0.1", "1", "-1"],
  "histogram with a bucket that is no number": ["x", 1],
  "histogram with buckets in no order": [1, 0.1, 10]
}

const kinds: ReadonlyArray<string> = [
  "counter",
  "gauge",
  "histogram",
  "histogram with exemplars",
  ...Object.keys(oddBuckets)
]

const recorder = (client: Client, kind: string): Recorder => {
  const config = { name: "x", help: "h", labelNames, registers: [] }
  if (kind === "counter") {
    const [mine, other] = [new client.Counter(config), new client.Counter(config)]
    const record = incrementing<object>(mine, (labels: object) => labels)
    const theirs = (labels: LabelsGiven) => other.labels({ ...(labels as object) }).inc()
    return { ours: (labels) => record(labels, undefined), theirs, metrics: [mine, other] }
  }
  if (kind === "gauge") {
    const [mine, other] = [new client.Gauge(config), new client.Gauge(config)]
    const ours = (labels: LabelsGiven, value: number) => setting(mine, labels)?.(value)
    return {
      ours,
      theirs: (labels, value) => other.labels({ ...(labels as object) }).set(value),
      metrics: [mine, other]
    }
  }
  const enableExemplars = kind === "histogram with exemplars"
  const all = (oddBuckets[kind] ?? buckets) as Array<number>
  const made = () => new client.Histogram({ ...config, buckets: all, enableExemplars })
  const [mine, other] = [made(), made()]
  const record = observing<object>(mine, (labels: object) => labels)
  const theirs = (labels: LabelsGiven, value: number) =>
    enableExemplars
      ? other.observe({ labels: { ...(labels as object) }, value } as never)
      : other.labels({ ...(labels as object) }).observe(value)
  return { ours: (labels, value) => record(value, labels, undefined), theirs, metrics: [mine, other] }
}

const thrown = (record: () => unknown): unknown => {
  try {
    record()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const value = fc.oneof(
  fc.constantFrom(0, -0, 0.25, 1, 10, -1, -2, -3, 2 ** 33, 1e300, Number.NaN, Number.POSITIVE_INFINITY),
  fc.double()
)
const labelValue = fc.oneof(
  fc.constantFrom<unknown>("x", "", "a,b:c", "1", 1, 0.5, -0, "__proto__", undefined, null, true, Number.NaN),
  fc.string({ maxLength: 2 })
)
const labels = fc.oneof(
  { weight: 6, arbitrary: fc.record<LabelsGiven>({ a: labelValue, b: labelValue }) },
  fc.record<LabelsGiven>({ a: labelValue }),
  fc.constantFrom<LabelsGiven>({}, { a: "x", b: "y", c: "z" }, { a: "x", c: "z" }),
  fc.constant<LabelsGiven>(Object.create({ a: "inherited", b: "inherited" })),
  fc.constant<LabelsGiven>(Object.assign(Object.create({ b: "x" }), { a: "x" }))
)
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("record" as const), labels, value }) },
  fc.record({ kind: fc.constant("remove" as const), labels: fc.constant<LabelsGiven>({ a: "x", b: "x" }) }),
  fc.record({ kind: fc.constant("reset" as const) })
)

for (const { client, name } of clients) {
  describe(`With ${name}`, () => {
    for (const kind of kinds) {
      it(`a ${kind} has the values that its own methods give it`, () =>
        fc.assert(
          fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
            const { metrics, ours, theirs } = recorder(client, kind)
            for (const each of steps) {
              if (each.kind === "reset") for (const metric of metrics) metric.reset()
              else if (each.kind === "remove") for (const metric of metrics) metric.remove({ ...each.labels })
              else {
                const expected = thrown(() => theirs(each.labels, each.value))
                assert.strictEqual(
                  thrown(() => ours(each.labels, each.value)),
                  expected
                )
              }
            }
            const [mine, other] = metrics
            assert.deepEqual(await mine?.get(), await other?.get())
          }),
          { numRuns: 150 }
        ))
    }

    it("the metric may be reset, and a method may be replaced, between two values", () => {
      const histogram = new client.Histogram({ name: "x", help: "h", registers: [], buckets: [1] })
      const record = observing<undefined>(histogram, undefined)
      const replaced: Array<unknown> = []
      record(0.5, undefined, undefined)
      record(0.5, undefined, undefined)
      Object.assign(histogram, { observe: (...args: ReadonlyArray<unknown>) => replaced.push(...args) })
      record(7, undefined, undefined)
      assert.deepEqual(replaced, [7])
    })

    it("a method `labels` that is replaced is asked for each child", () => {
      const histogram = new client.Histogram({ name: "x", help: "h", labelNames: ["a"], registers: [] })
      const byFunction = observing<undefined>(histogram, () => ({ a: "1" }))
      const byObject = observing<undefined>(histogram, { a: "1" } as object)
      byFunction(1, undefined, undefined)
      const asked: Array<unknown> = []
      const { labels } = histogram
      Object.assign(histogram, {
        labels: (...args: ReadonlyArray<unknown>) => {
          asked.push(...args)
          return Reflect.apply(labels, histogram, args)
        }
      })
      byFunction(1, undefined, undefined)
      byFunction(1, undefined, undefined)
      byObject(1, undefined, undefined)
      assert.deepEqual(asked, [{ a: "1" }, { a: "1" }, { a: "1" }])
    })

    it("a wrapper around a method of the class sees all values", async () => {
      const { set } = client.Gauge.prototype
      let calls = 0
      client.Gauge.prototype.set = function (this: unknown, ...args: ReadonlyArray<unknown>) {
        calls += 1
        return Reflect.apply(set, this, args)
      }
      try {
        const gauge = new client.Gauge({ name: "x", help: "h", labelNames: ["a"], registers: [] })
        const record = setting(gauge, { a: "1" } as object)
        for (let value = 0; value < 3; value += 1) record?.(value)
        assert.isAtLeast(calls, 3)
      } finally {
        client.Gauge.prototype.set = set
      }
    })

    it("what was read of a gauge changes as much as with its own method", async () => {
      const [mine, other] = ["mine", "other"].map(
        (name) => new client.Gauge({ name, help: "h", labelNames: ["a"], registers: [] })
      ) as [PromClient.Gauge<"a">, PromClient.Gauge<"a">]
      const record = setting(mine, { a: "1" } as object)
      const child = other.labels({ a: "1" })
      record?.(1)
      child.set(1)
      const [read, expected] = [await mine.get(), await other.get()]
      record?.(2)
      child.set(2)
      assert.deepEqual(read.values, expected.values)
    })

    it("labels are null, or a metric shows nothing but its methods", async () => {
      const histogram = new client.Histogram({ name: "x", help: "h", registers: [], buckets: [1] })
      observing<undefined>(histogram, null as never)(0.5, undefined, undefined)
      const { values } = await histogram.get()
      assert.strictEqual(values.find(({ metricName }) => metricName === "x_count")?.value, 1)
      const seen: Array<number> = []
      const strict = new Proxy(
        { observe: (value: number) => void seen.push(value) },
        {
          get: (target, key) => {
            if (key !== "observe" && key !== "type" && key !== "enableExemplars")
              throw new Error(`unexpected ${String(key)}`)
            return Reflect.get(target, key)
          }
        }
      )
      observing<undefined>(strict, undefined)(3, undefined, undefined)
      assert.deepEqual(seen, [3])
    })

    it("the labels of a series are those of its first value, and stay so if the function changes its object", async () => {
      const counter = new client.Counter({ name: "x", help: "h", labelNames: ["a"], registers: [] })
      const own = { a: "1" }
      const record = incrementing<undefined>(counter, () => own)
      record(undefined, undefined)
      own.a = "2"
      record(undefined, undefined)
      record(undefined, undefined)
      const { values } = await counter.get()
      assert.deepEqual(
        values.map((value) => [value.labels["a"], value.value]),
        [
          ["1", 1],
          ["2", 2]
        ]
      )
    })
  })
}
