import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import * as fc from "fast-check"
import type { Registry as PromRegistry } from "prom-client"
import { anyRegistry, type Format, registryOf } from "./support/arbitraryRegistries.js"
import { assertFamilies, comparableFamily, expectedFamilies, type ReadFamily } from "./support/expectedExposition.js"
import { contentTypes, parsers, rendered } from "./support/expositions.js"
import { soak } from "./support/soak.js"

// Where a property fails, fast-check prints the seed and the smallest registry that it fails for.
const parameters = { seed: Number(process.env["FAST_CHECK_SEED"] ?? 20_260_101), numRuns: soak(300) }

// Each takes a few seconds; this is for machines that have other things to do as well.
const timeout = 600_000

/** The exposition as its bytes are read. */
const exposed = async (registry: PromRegistry, format: Format): Promise<ReadonlyArray<ReadFamily>> => {
  const { body } = await rendered(registry, { accept: contentTypes[format] }).pipe(
    Logger.withMinimumLogLevel(LogLevel.None),
    Effect.runPromise
  )
  const received = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new TextEncoder().encode(body))
  return parsers[format](received).map(comparableFamily)
}

/** Each series with its value. */
const seriesOf = (families: ReadonlyArray<ReadFamily>): ReadonlyMap<string, number> =>
  new Map(
    families.flatMap(({ samples }) =>
      samples.map(({ name, labels, threshold, value }) => [
        JSON.stringify([name, Object.entries(labels).sort(), String(threshold)]),
        value
      ])
    )
  )

describe("An exposition of any registry", () => {
  for (const format of ["text", "openmetrics"] as const) {
    it(
      `is read back from ${format} as what the registry holds`,
      () =>
        fc.assert(
          fc.asyncProperty(anyRegistry, async (spec) => {
            const registry = registryOf(spec)
            const families = await exposed(registry, format)
            assertFamilies(families, await expectedFamilies(spec, registry, format))
          }),
          parameters
        ),
      timeout
    )
  }

  it(
    "has the same series with the same values in both formats",
    () =>
      fc.assert(
        fc.asyncProperty(anyRegistry, async (spec) => {
          const registry = registryOf(spec)
          const [text, openmetrics] = await Promise.all([exposed(registry, "text"), exposed(registry, "openmetrics")])
          assert.deepStrictEqual(seriesOf(openmetrics), seriesOf(text))
        }),
        parameters
      ),
    timeout
  )
})
