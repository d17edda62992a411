import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { Registry as PromRegistry } from "prom-client"
import { bodyOnce, formats, metric } from "./support/expositions.js"
import { readPaths, withoutDirectRead } from "./support/readPaths.js"
import { Application, anyOperations, readLines } from "./support/registryOperations.js"
import { soak } from "./support/soak.js"

// Where a property fails, fast-check prints the seed and the shortest changes that it fails for.
const parameters = { seed: Number(process.env["FAST_CHECK_SEED"] ?? 20_260_101), numRuns: soak(300) }
const timeout = 600_000

describe("Whatever happened since the last exposition, the next one", () => {
  for (const way of readPaths) {
    it(
      `is that of now, read ${way.name}`,
      () =>
        fc.assert(
          fc.asyncProperty(anyOperations, async (changes) => {
            const application = new Application()
            const { registry } = application
            const kept = way.of(registry)
            for (const change of changes) {
              if (change.does !== "render") {
                application.apply(change)
                continue
              }
              const body = await Effect.runPromise(bodyOnce(kept, change.format))
              assert.strictEqual(body, await Effect.runPromise(bodyOnce(withoutDirectRead(registry), change.format)))
              assert.deepStrictEqual(readLines(body), await application.expectedLines())
            }
          }),
          parameters
        ),
      timeout
    )
  }

  const name = fc.constantFrom("a", "b", "c")
  const labels = fc.option(fc.dictionary(name, fc.constantFrom("x", "y", 1, "1", null), { maxKeys: 2 }), {
    nil: undefined
  })
  const sample = fc.record({
    metricName: fc.constantFrom(undefined, "made", "made_other"),
    labels,
    sharedLabels: labels,
    value: fc.nat()
  })

  it(
    "is that of the series which a metric made by hand gives, in the order in which it gives them",
    () =>
      fc.assert(
        fc.asyncProperty(fc.array(fc.array(sample, { maxLength: 40, size: "max" })), async (turns) => {
          let given: ReadonlyArray<unknown> = []
          const registry = new PromRegistry()
          const made = metric("made", "gauge", []) as { get: () => Promise<object> }
          registry.registerMetric({
            ...made,
            get: async () => ({ ...(await made.get()), values: given })
          } as never)
          for (const turn of turns) {
            given = turn
            for (const format of formats) {
              const body = await Effect.runPromise(bodyOnce(registry, format))
              assert.strictEqual(body, await Effect.runPromise(bodyOnce(withoutDirectRead(registry), format)))
              // What is called otherwise is no sample of the metric.
              const own = turn.filter(({ metricName = "made" }) => metricName === "made")
              assert.strictEqual(readLines(body).length, own.length)
            }
          }
        }),
        parameters
      ),
    timeout
  )
})
