import { totalmem } from "node:os"
import { getHeapStatistics } from "node:v8"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as Registry from "../src/Registry.js"
import { describeOldGeneration } from "./support/memoryLimits.js"

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** The metrics of this process, on a registry of their own. */
const opened = Effect.gen(function* () {
  const registry = new PromClient.Registry()
  yield* Effect.provideService(DefaultMetrics.make(), Registry.Registry, registry)
  return async (name: string) => {
    const metric = registry.getSingleMetric(name) as unknown as { get(): Promise<{ values: ReadonlyArray<Series> }> }
    const { values } = await metric.get()
    return values.map(({ labels, value }) => ({ labels: { ...labels }, value }))
  }
})

describe("process_memory_limit_bytes", () => {
  it.scopedLive("is what Node.js knows of the control group, or the memory of the machine", () =>
    Effect.gen(function* () {
      const read = yield* opened
      const constrained = process.constrainedMemory()
      const value = constrained > 0 && constrained < totalmem() ? constrained : totalmem()
      assert.deepStrictEqual(yield* Effect.promise(() => read("process_memory_limit_bytes")), [{ labels: {}, value }])
    })
  )

  for (const [title, constrained, value] of [
    ["the limit of the control group", 2 ** 20, 2 ** 20],
    ["the memory of the machine without a limit, which is 0", 0, totalmem()],
    ["the memory of the machine without a limit, which is a huge number", 2 ** 64, totalmem()]
  ] as const) {
    it.scopedLive(`follows ${title}`, () =>
      Effect.gen(function* () {
        const read = yield* opened
        const { constrainedMemory } = process
        process.constrainedMemory = () => constrained
        yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(process, { constrainedMemory })))
        assert.deepStrictEqual(yield* Effect.promise(() => read("process_memory_limit_bytes")), [{ labels: {}, value }])
      })
    )
  }
})

describe("nodejs_heap_old_generation_limit_bytes", () => {
  it.scopedLive("is one series, below the limit of the heap", () =>
    Effect.gen(function* () {
      const read = yield* opened
      const [series, ...others] = yield* Effect.promise(() => read("nodejs_heap_old_generation_limit_bytes"))
      assert.isEmpty(others)
      assert.deepStrictEqual(series?.labels, {})
      const { heap_size_limit, used_heap_size } = getHeapStatistics()
      assert.isBelow(series?.value ?? 0, heap_size_limit)
      assert.isAbove(series?.value ?? 0, used_heap_size)
    })
  )
})

describeOldGeneration("this Node.js", undefined)
