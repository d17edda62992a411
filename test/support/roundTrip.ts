/** Reads back what is exposed of many registries, and tells what they were made of. */
import { assert } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import * as fc from "fast-check"
import type { MetricRegistry } from "../../src/Registry.js"
import { Census } from "./census.js"
import { assertRead, expectedOf, readOf } from "./expected.js"
import { contentTypes, formats, parsers, renderedOnce } from "./expositions.js"
import type { ReadOptions } from "./parser.js"
import type { Format, RegistrySpec } from "./registries.js"
import { registryOf } from "./registries.js"

/** The registries are the same ones for the same seed. */
export const readBackSeed = Number(process.env["FAST_CHECK_SEED"] ?? 20_260_102)

/** Reads back so many registries. Where one is not equal, fast-check prints the seed and the smallest such registry. */
export const readBack = async (
  any: fc.Arbitrary<RegistrySpec>,
  numRuns: number,
  options?: ReadOptions
): Promise<Census> => {
  const census = new Census()
  const property = fc.asyncProperty(any, async (spec) => {
    census.add(spec)
    const registry = registryOf(spec)
    for (const format of formats) {
      const [first, again] = [await exposed(registry, format), await exposed(registry, format)]
      const received = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(first)
      assertRead(parsers[format](received, options).map(readOf), await expectedOf(spec, registry, format))
      // What is kept of the first one makes no difference.
      assert.isTrue(Buffer.compare(first, again) === 0, `another exposition in ${format} is not the same`)
    }
  })
  await fc.assert(property, { seed: readBackSeed, numRuns })
  return census
}

/** The first so many of the registries that are read back. */
export const sampled = (any: fc.Arbitrary<RegistrySpec>, numRuns: number): ReadonlyArray<RegistrySpec> =>
  fc.sample(any, { seed: readBackSeed, numRuns })

const exposed = (registry: MetricRegistry, format: Format): Promise<Uint8Array> =>
  renderedOnce(registry, { accept: contentTypes[format] }).pipe(
    Effect.map(({ bytes }) => bytes),
    Logger.withMinimumLogLevel(LogLevel.None),
    Effect.runPromise
  )
