/** A value is recorded as the public method of the metric records it, whichever way it takes. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
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

type Kind = "counter" | "gauge" | "histogram" | "histogram with a bucket of -1" | "histogram with exemplars"

const kinds: ReadonlyArray<Kind> = [
  "counter",
  "gauge",
  "histogram",
  "histogram with a bucket of -1",
  "histogram with exemplars"
]

const recorder = (client: Client, kind: Kind): Recorder => {
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
  const all = kind === "histogram with a bucket of -1" ? [-2, -1, 0, 1] : buckets
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
  fc.constant<LabelsGiven>(Object.create({ a: "inherited", b: "inherited" }))
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
