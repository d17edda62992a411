import { assert, describe, it } from "@effect/vitest"
import { readBack, readBackSeed as seed } from "./support/readback.js"
import { anyClashingRegistry, anyRegistry } from "./support/registries.js"

// It is a minute on a machine that does nothing else.
const timeout = 1_200_000

describe(`What is exposed in both formats of any registry (seed ${seed})`, () => {
  it(
    "is read back equal by a reader of its own: 4,000 registries of up to 2,000 series",
    async () => {
      const census = await readBack(anyRegistry, 4_000)
      console.log(`read back equal from text and from OpenMetrics: ${census}`)
      // A generator that makes only trivial ones would prove nothing.
      assert.strictEqual(census.registries, 4_000)
      assert.isAbove(census.empty, 100)
      assert.strictEqual(census.largest, 2_000)
      assert.isAbove(census.large, 50)
      assert.isAbove(Math.min(...Object.values(census.kinds)), 1_000)
      assert.isAbove(Math.min(...Object.values(census.numbers)), 1_000)
      assert.isAbove(census.exemplars, 1_000)
      assert.isAbove(census.clashing, 400)
      assert.isAbove(census.characters, 100_000)
    },
    timeout
  )

  it(
    "is read back equal where names clash in either format: 1,000 registries",
    async () => {
      const census = await readBack(anyClashingRegistry, 1_000, { mayClash: true })
      console.log(`read back equal from text and from OpenMetrics: ${census}`)
      assert.strictEqual(census.registries, 1_000)
      assert.isAbove(census.clashing, 400)
    },
    timeout
  )
})
