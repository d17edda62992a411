import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, LogLevel, Metric, MetricState } from "effect"
import * as fc from "fast-check"
import * as PromClient from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import { Registry } from "../src/Registry.js"
import { anyEffectMetrics, type EffectSpec, filled } from "./support/arbitraryEffectMetrics.js"
import type { Family } from "./support/expositionParser.js"
import { bodyOnce, parsers } from "./support/expositions.js"
import { roundTripSeed } from "./support/roundTrip.js"

/** What is read of an exposition without a difference between the formats. */
const seriesOf = (families: ReadonlyArray<Family>): ReadonlyMap<string, number> =>
  new Map(
    families.flatMap(({ samples }) =>
      samples.map(({ labels, name, value }) => [JSON.stringify([name, ...[...labels].sort()]), value] as const)
    )
  )

interface Totals {
  counted: number
  gauged: number
  observed: number
  observations: number
}

/** What the values of all metrics come to, as Effect has them, whatever they are called; times in seconds. */
const totalsInEffect = (stem: string): Totals => {
  const totals = { counted: 0, gauged: 0, observed: 0, observations: 0 }
  for (const { metricKey, metricState } of Metric.unsafeSnapshot()) {
    if (!metricKey.name.startsWith(stem)) continue
    if (MetricState.isCounterState(metricState)) {
      const isIncremental = (metricKey.keyType as { readonly incremental?: unknown }).incremental === true
      totals[isIncremental ? "counted" : "gauged"] += Number(metricState.count)
    } else if (MetricState.isGaugeState(metricState)) totals.gauged += Number(metricState.value)
    else if (MetricState.isFrequencyState(metricState)) {
      for (const count of metricState.occurrences.values()) totals.counted += count
    } else if (MetricState.isHistogramState(metricState) || MetricState.isSummaryState(metricState)) {
      const isTimer = metricKey.tags.some(({ key, value }) => key === "time_unit" && value === "milliseconds")
      totals.observed += metricState.sum / (isTimer ? 1_000 : 1)
      totals.observations += metricState.count
    }
  }
  return totals
}

/** The same, as they are exposed. */
const totalsOf = (families: ReadonlyArray<Family>): Totals => {
  const totals = { counted: 0, gauged: 0, observed: 0, observations: 0 }
  for (const family of families) {
    for (const { name, value } of family.samples) {
      if (family.type === "counter") totals.counted += value
      else if (family.type === "gauge") totals.gauged += value
      else if (name === `${family.name}_sum`) totals.observed += value
      else if (name === `${family.name}_count`) totals.observations += value
    }
  }
  return totals
}

/** Both formats of an exposition of nothing else, each of them twice. */
const expositions = (stem: string, specs: ReadonlyArray<EffectSpec>) =>
  Effect.gen(function* () {
    yield* filled(stem, specs)
    yield* EffectMetrics.make({ include: [`${stem}*`] })
    const registry = yield* Registry
    const text = yield* bodyOnce(registry, "text")
    assert.strictEqual(yield* bodyOnce(registry, "text"), text)
    return { text: parsers.text(text), openmetrics: parsers.openmetrics(yield* bodyOnce(registry, "openmetrics")) }
  }).pipe(
    Effect.scoped,
    Effect.provideService(Registry, new PromClient.Registry()),
    Logger.withMinimumLogLevel(LogLevel.None)
  )

describe(`Effect's metrics of any kind, name and tags (seed ${roundTripSeed})`, () => {
  it("are exposed as both formats allow it, with the same values in both, and each that is left out is logged", async () => {
    const seen = { runs: 0, families: 0, samples: 0, leftOut: 0, compared: 0 }
    const property = fc.asyncProperty(anyEffectMetrics, async (specs) => {
      seen.runs += 1
      const stem = `p${seen.runs}.`
      const { openmetrics, text } = await Effect.runPromise(expositions(stem, specs))
      assert.deepStrictEqual(seriesOf(openmetrics), seriesOf(text))
      const families = text.slice(0, -1)
      const leftOut = text.at(-1)?.samples[0]?.value ?? Number.NaN
      seen.families += families.length
      seen.samples += seriesOf(families).size
      seen.leftOut += leftOut
      if (leftOut > 0) return
      seen.compared += 1
      const totals = totalsOf(families)
      for (const [name, total] of Object.entries(totalsInEffect(stem))) {
        assert.approximately(totals[name as keyof Totals], total, Math.abs(total) * 1e-9, name)
      }
    })
    await fc.assert(property, { seed: roundTripSeed, numRuns: 300 })
    console.log(Object.entries(seen).flat().join(" "))
    assert.isAtLeast(seen.compared, 200)
    assert.isAtLeast(seen.leftOut, 20)
  }, 240_000)
})
