import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Histogram, Registry as PromRegistry } from "prom-client"
import type { MetricRegistry } from "../src/Registry.js"
import { countingKinds } from "./support/countingMetrics.js"
import { bodyOnce, formats, logged } from "./support/expositions.js"
import { withoutDirectRead } from "./support/readPaths.js"

/** Twice in each format, as a first exposition. */
const assertRight = (registry: MetricRegistry): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (const format of [...formats, ...formats]) {
      assert.strictEqual(yield* bodyOnce(registry, format), yield* bodyOnce(withoutDirectRead(registry), format))
    }
  })

/** A label value whose toString is slow a given number of times, so that a render yields. */
const slowly = () => {
  const slow = {
    times: 0,
    meanwhile: () => {},
    toString: () => {
      if (slow.times > 0) {
        slow.times -= 1
        setImmediate(slow.meanwhile)
        for (const until = performance.now() + 6; performance.now() < until; );
      }
      return "slow"
    }
  }
  return slow
}

describe("The next exposition is right", () => {
  // Fault 1: Kept does not know under which name its lines were written.
  it.effect("of a counter that another registry has under another name", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      registry.setContentType(PromRegistry.OPENMETRICS_CONTENT_TYPE as never)
      new Counter({ name: "jobs_total", help: "h", registers: [registry] }).inc()
      yield* assertRight(registry)
      // Now the client has taken _total off, and the merged registry knows the counter as `jobs`.
      yield* Effect.promise(() => registry.metrics())
      yield* assertRight(PromRegistry.merge([registry]))
      yield* assertRight(registry)
    })
  )

  // Fault 2: what was added to Texts before a label threw stays pending, without an end.
  for (const { kind, make } of countingKinds) {
    it.effect(`of a ${kind} whose series go after one of them could not be written`, () =>
      logged(function* () {
        const registry = new PromRegistry()
        const { count, remove } = make([registry], ["a"])
        yield* bodyOnce(registry, "text")
        const broken: { a: unknown } = { a: "three" }
        for (const labels of [{ a: "one" }, { a: "two" }, broken]) count(labels)
        broken.a = Object.create(null)
        const body = yield* bodyOnce(registry, "text")
        assert.include(body, 'a="two"')
        assert.notInclude(body, 'a="three"')
        for (const a of ["two", "three"]) remove({ a })
        count({ a: "four" })
        yield* assertRight(registry)
      })
    )
  }

  // Fault 2, where nothing is broken at all.
  it.effect("of a histogram whose series go after one of them had a label that is a default label", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      registry.setDefaultLabels({ env: "default" })
      const options = { name: "m", help: "h", labelNames: ["a", "env"], buckets: [1], registers: [registry] }
      const histogram = new Histogram(options)
      yield* bodyOnce(registry, "text")
      for (const labels of [{ a: "one" }, { a: "two" }, { a: "three", env: "own" }]) histogram.observe(labels, 1)
      yield* bodyOnce(registry, "text")
      histogram.remove({ a: "two" })
      histogram.remove({ a: "three", env: "own" })
      histogram.observe({ a: "four" }, 1)
      yield* assertRight(registry)
    })
  )

  // Fault 3: the shortcut takes it that a histogram's series have labels.
  it.effect("of a histogram without labels that was set to zero", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const histogram = new Histogram({ name: "m", help: "h", buckets: [1], registers: [registry] })
      ;(histogram.zero as () => void).call(histogram)
      yield* assertRight(registry)
    })
  )

  // Fault 4: a render that yields and ends later keeps its texts under the default labels of another one.
  for (const { kind, make } of countingKinds) {
    it.effect(`of a ${kind} in two registries with other default labels that are rendered at the same time`, () =>
      Effect.gen(function* () {
        const [one, two] = [new PromRegistry(), new PromRegistry()]
        one.setDefaultLabels({ env: "one" })
        two.setDefaultLabels({ b: "two" })
        const { count } = make([one, two], ["a", "b"])
        const slow = slowly()
        count({ a: slow })
        for (let place = 0; place < 600; place += 1) count({ a: place, b: "own" })
        yield* assertRight(one)
        slow.times = 1
        yield* Effect.all([bodyOnce(one, "text"), bodyOnce(two, "text")], { concurrency: "unbounded" })
        yield* assertRight(two)
        yield* assertRight(one)
      })
    )
  }

  // Fault 5: the same with one registry, whose default labels change while it yields, and then back.
  it.effect("of a registry whose default labels differ while the render yields", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const defaults = { env: "one" }
      registry.setDefaultLabels(defaults)
      const counter = new Counter({ name: "m_total", help: "h", labelNames: ["a"], registers: [registry] })
      const slow = slowly()
      counter.inc({ a: slow as never })
      yield* assertRight(registry)
      for (let place = 0; place < 600; place += 1) counter.inc({ a: place })
      slow.times = 1
      slow.meanwhile = () => {
        defaults.env = "two"
      }
      yield* bodyOnce(registry, "text")
      assert.strictEqual(defaults.env, "two")
      defaults.env = "one"
      yield* assertRight(registry)
    })
  )

  // Fault 6: only where buckets are not in order, which the client lets pass.
  it.effect("of a histogram with a bucket after the one up to Infinity", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const buckets = [1, Number.POSITIVE_INFINITY, 2]
      new Histogram({ name: "m", help: "h", buckets, registers: [registry] }).observe(5)
      yield* assertRight(registry)
    })
  )
})
