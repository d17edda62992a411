import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Histogram, Registry as PromRegistry } from "prom-client"
import { bodyOnce, formats } from "./support/expositions.js"
import { withoutDirectRead } from "./support/readPaths.js"

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, unknown>>
  readonly sharedLabels?: Readonly<Record<string, unknown>>
  readonly value: number
}

type Change = (samples: ReadonlyArray<Sample>) => ReadonlyArray<Sample>

interface ChangedSamples {
  upperBounds: ReadonlyArray<number>
  get(): Promise<object>
  getForPromString(): Promise<{ readonly values: ReadonlyArray<Sample> }>
}

/** From now on it returns changed samples: with shared labels objects, and the same ones each with its own. */
const withChangedSamples = (histogram: Histogram<string>, change: Change): ChangedSamples => {
  const own = histogram as unknown as ChangedSamples
  const read = own.getForPromString
  own.getForPromString = async () => {
    const family = await read.call(histogram)
    return { ...family, values: change(family.values) }
  }
  own.get = async () => {
    const family = await own.getForPromString()
    const values = family.values.map(({ sharedLabels, ...sample }) => ({
      ...sample,
      labels: { ...sample.labels, ...sharedLabels }
    }))
    return { ...family, values }
  }
  return own
}

const only =
  (index: number, change: (sample: Sample) => Sample): Change =>
  (samples) =>
    samples.map((sample, at) => (at === index ? change(sample) : sample))

const withLabel = (sample: Sample): Sample => ({ ...sample, labels: { ...sample.labels, more: "x" } })

// Three series of two buckets: each has five samples, of which the last two are its sum and its count.
const changes: Readonly<Record<string, Change>> = {
  "that are those of its series": (samples) => samples,
  "of which the last is missing": (samples) => samples.slice(0, -1),
  "of which one in the middle is missing": (samples) => samples.filter((_, index) => index !== 6),
  "after which there is one more": (samples) => [...samples, ...samples.slice(0, 1)],
  "of which two are swapped": ([first, second, ...samples]) => [second as Sample, first as Sample, ...samples],
  "in the order of another client": (samples) => [...samples].reverse(),
  "of which a bucket has another name": only(6, (sample) => ({ ...sample, metricName: "run_seconds_bucket_2" })),
  "of which a sum has another name": only(8, (sample) => ({ ...sample, metricName: "run_seconds_total" })),
  "of which a bucket has another bound": only(5, (sample) => ({ ...sample, labels: { le: 1.5 } })),
  "of which a bucket has its bound as text": only(5, (sample) => ({ ...sample, labels: { le: "1" } })),
  "of which a bucket has a label more": only(5, withLabel),
  "of which a sum has a label": only(8, withLabel),
  "of which a bucket shares the labels of another series": (samples) =>
    only(7, (sample) => ({ ...sample, sharedLabels: samples[0]?.sharedLabels as never }))(samples),
  "of which a sum shares the labels of another series": (samples) =>
    only(8, (sample) => ({ ...sample, sharedLabels: samples[0]?.sharedLabels as never }))(samples),
  "that share equal labels, which are not the same": (samples) =>
    samples.map((sample) => ({ ...sample, sharedLabels: { ...sample.sharedLabels } })),
  "of which a series shares no labels": (samples) =>
    samples.map(({ sharedLabels, ...sample }, index) =>
      index >= 5 && index < 10 ? sample : { ...sample, sharedLabels: sharedLabels as never }
    ),
  "that share a label with the name of the bound": (samples) =>
    samples.map((sample) => ({ ...sample, sharedLabels: { ...sample.sharedLabels, le: "own" } })),
  "that share no labels but an empty object": (samples) => {
    const none = {}
    return samples.map((sample) => ({ ...sample, sharedLabels: none }))
  },
  "that are none": () => []
}

// A bucket needs a bound that is a number.
const withoutSound = ["that are none", "that share a label with the name of the bound"]

/** A few expositions in both formats, all of which say what `get` says. */
const renderedAsReturned = (
  registry: PromRegistry,
  change: (turn: number) => void
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const bodies: Array<string> = []
    for (let turn = 0; turn < 3; turn += 1) {
      for (const format of formats) {
        const body = yield* bodyOnce(registry, format)
        assert.strictEqual(body, yield* bodyOnce(withoutDirectRead(registry), format))
        bodies.push(body)
      }
      change(turn)
    }
    return bodies
  })

const made = (options: { readonly buckets: Array<number>; readonly enableExemplars?: boolean }) => {
  const registry = new PromRegistry()
  // Otherwise it takes no metric with exemplars.
  if (options.enableExemplars) registry.setContentType(PromRegistry.OPENMETRICS_CONTENT_TYPE as never)
  const histogram = new Histogram({
    name: "run_seconds",
    help: "h",
    labelNames: ["a", "b"],
    registers: [registry],
    ...options
  })
  return { registry, histogram }
}

describe("A metric of another type", () => {
  it.effect("whose samples share a labels object is exposed with all of them", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const values = ["1", "2"].map((a) => ({ labels: { q: "x" }, sharedLabels: { a }, value: 1 }))
      const snapshot = { name: "latency", help: "h", type: "gauge", values }
      const { values: _, ...info } = snapshot
      registry.registerMetric({ ...info, get: async () => snapshot, getForPromString: async () => snapshot } as never)
      for (let time = 0; time < 3; time += 1) {
        assert.include(yield* bodyOnce(registry, "text"), 'latency{q="x",a="1"} 1\nlatency{q="x",a="2"} 1\n')
      }
    })
  )
})

describe("A histogram whose get() returns samples", () => {
  for (const [title, change] of Object.entries(changes)) {
    it.effect(`${title} is exposed as get() returns it`, () =>
      Effect.gen(function* () {
        const { histogram, registry } = made({ buckets: [1, 2] })
        for (const a of ["x", 'y"', "z"]) histogram.observe({ a, b: "\n" }, 1.5)
        withChangedSamples(histogram, change)
        const bodies = yield* renderedAsReturned(registry, (turn) =>
          histogram.observe({ a: ["x", "z", "new"][turn] ?? "" }, 0.5)
        )
        if (!withoutSound.includes(title)) assert.include(bodies.at(-1), "run_seconds_count")
      })
    )
  }

  it.effect("with exemplars, and a bound at infinity of its own, is exposed as get() returns it", () =>
    Effect.gen(function* () {
      const { histogram, registry } = made({ buckets: [1, Number.POSITIVE_INFINITY], enableExemplars: true })
      withChangedSamples(histogram, (samples) => samples)
      const observe = (turn: number): void => {
        for (const value of [0.5, 10 ** turn]) {
          histogram.observe({ labels: { a: "x" }, value, exemplarLabels: { b: `${turn} ${value}` } })
        }
      }
      observe(0)
      const bodies = yield* renderedAsReturned(registry, observe)
      assert.include(bodies.at(-1), '{le="+Inf",a="x"} 6 # {b="1 10"} 10')
      assert.notInclude(bodies.at(-1), "Infinity")
    })
  )

  it.effect("while a default label has the name of one of its own is exposed as get() returns it", () =>
    Effect.gen(function* () {
      const { histogram, registry } = made({ buckets: [1] })
      withChangedSamples(histogram, (samples) => samples)
      histogram.observe({ a: "x" }, 0.5)
      const bodies = yield* renderedAsReturned(registry, (turn) =>
        registry.setDefaultLabels({ [turn === 0 ? "a" : "c"]: "default" })
      )
      assert.include(bodies[2], 'run_seconds_sum{a="x"} 0.5')
      assert.include(bodies[4], 'run_seconds_sum{c="default",a="x"} 0.5')
    })
  )

  it.effect("while a default label has the name of the bound is exposed without that default", () =>
    Effect.gen(function* () {
      const { histogram, registry } = made({ buckets: [1] })
      histogram.observe({ a: "x" }, 0.5)
      registry.setDefaultLabels({ le: "default" })
      for (const body of yield* renderedAsReturned(registry, () =>
        withChangedSamples(histogram, (samples) => samples)
      )) {
        assert.include(body, 'run_seconds_bucket{le="1",a="x"} 1\n')
        assert.include(body, 'run_seconds_sum{a="x"} 0.5\n')
      }
    })
  )

  it.effect("whose list of bounds is changed is exposed with the new ones", () =>
    Effect.gen(function* () {
      const { histogram, registry } = made({ buckets: [1, 2] })
      histogram.observe({ a: "x" }, 0.5)
      const bounds = [1, 2]
      const own = withChangedSamples(histogram, (samples) =>
        samples.map((sample, index) => (index < 2 ? { ...sample, labels: { le: bounds[index] }, value: 1 } : sample))
      )
      Object.defineProperty(own, "upperBounds", { value: bounds })
      const bodies = yield* renderedAsReturned(registry, (turn) => {
        bounds[1] = 3 + turn
      })
      assert.include(bodies[0], 'run_seconds_bucket{le="2",a="x"} 1')
      assert.include(bodies[4], 'run_seconds_bucket{le="4",a="x"} 1')
    })
  )
})
