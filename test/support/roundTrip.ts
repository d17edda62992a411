/** Parses the expositions of many registries, and returns what they were made of. */
import { assert } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import * as fc from "fast-check"
import type { MetricRegistry } from "../../src/Registry.js"
import { type Format, type RegistrySpec, registryOf } from "./arbitraryRegistries.js"
import { assertFamilies, comparableFamily, expectedFamilies } from "./expectedExposition.js"
import type { ReadOptions } from "./expositionParser.js"
import { contentTypes, formats, parsers, renderedOnce } from "./expositions.js"
import { RegistryStatistics } from "./registryStatistics.js"

/** The registries are the same ones for the same seed. */
export const roundTripSeed = Number(process.env["FAST_CHECK_SEED"] ?? 20_260_102)

/** Checks `numRuns` registries. If one differs, fast-check prints the seed and the smallest such registry. */
export const checkRoundTrip = async (
  any: fc.Arbitrary<RegistrySpec>,
  numRuns: number,
  options?: ReadOptions
): Promise<RegistryStatistics> => {
  const census = new RegistryStatistics()
  const property = fc.asyncProperty(any, async (spec) => {
    census.add(spec)
    const registry = registryOf(spec)
    for (const format of formats) {
      const [first, again] = [await exposed(registry, format), await exposed(registry, format)]
      const received = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(first)
      assertFamilies(
        parsers[format](received, options).map(comparableFamily),
        await expectedFamilies(spec, registry, format)
      )
      // What is kept of the first one makes no difference.
      assert.isTrue(Buffer.compare(first, again) === 0, `another exposition in ${format} is not the same`)
    }
  })
  await fc.assert(property, { seed: roundTripSeed, numRuns })
  return census
}

/** The first `numRuns` of the registries that are checked. */
export const sampled = (any: fc.Arbitrary<RegistrySpec>, numRuns: number): ReadonlyArray<RegistrySpec> =>
  fc.sample(any, { seed: roundTripSeed, numRuns })

const exposed = (registry: MetricRegistry, format: Format): Promise<Uint8Array> =>
  renderedOnce(registry, { accept: contentTypes[format] }).pipe(
    Effect.map(({ bytes }) => bytes),
    Logger.withMinimumLogLevel(LogLevel.None),
    Effect.runPromise
  )
