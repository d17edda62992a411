import { assert, describe, it } from "@effect/vitest"
import { anyClashingRegistry, anyRegistry } from "./support/arbitraryRegistries.js"
import { checkRoundTrip, roundTripSeed as seed } from "./support/roundTrip.js"
import { soak } from "./support/soak.js"

// At full size it is a minute on a machine that does nothing else.
const timeout = 1_200_000

describe(`The exposition of any registry in both formats (seed ${seed})`, () => {
  const count = soak(4_000)
  it(
    `is read back equal by a reader of its own: ${count} registries of up to 2,000 series`,
    async () => {
      const census = await checkRoundTrip(anyRegistry, count)
      console.log(`read back equal from text and from OpenMetrics: ${census}`)
      // A generator that makes only trivial ones would prove nothing.
      assert.strictEqual(census.registries, count)
      assert.isAbove(census.empty, count / 40)
      assert.strictEqual(census.largest, 2_000)
      assert.isAbove(census.large, count / 80)
      assert.isAbove(Math.min(...Object.values(census.kinds)), count / 4)
      assert.isAbove(Math.min(...Object.values(census.numbers)), count / 4)
      assert.isAbove(census.exemplars, count / 4)
      assert.isAbove(census.clashing, count / 10)
      assert.isAbove(census.characters, 25 * count)
    },
    timeout
  )

  const clashing = soak(1_000)
  it(
    `is read back equal but for what is left out where names clash in either format: ${clashing} registries`,
    async () => {
      const census = await checkRoundTrip(anyClashingRegistry, clashing)
      console.log(`read back equal from text and from OpenMetrics: ${census}`)
      assert.strictEqual(census.registries, clashing)
      assert.isAbove(census.clashing, 0.4 * clashing)
    },
    timeout
  )
})
