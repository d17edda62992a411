/**
 * The longest turn of the main thread's event loop while scrapes are answered: its CPU time between two calls of a 1 ms
 * timer, so that other processes do not affect it. Linux updates that time with each clock tick, so it is exact to a few
 * milliseconds. The first scrape is measured alone; the others follow it, when the texts of the series are cached.
 */
import { type Attack, askedBy, type Place, type RegistryKind, withVictim } from "./lab.js"
import type { Reading } from "./results.js"

interface Asked {
  readonly registry: RegistryKind
  readonly title: string
  readonly by: ReadonlyArray<readonly [count: number, kind: "same" | "names" | "timeouts" | "formats"]>
}

const one = [1, "same"] as const

const asked: ReadonlyArray<Asked> = [
  {
    registry: "100,000-series",
    title: "100,000 series in ten families",
    by: [one, [16, "names"], [16, "timeouts"], [16, "formats"], [60, "names"], [60, "timeouts"], [60, "formats"]]
  },
  { registry: "200-collectors", title: "200 metrics with a synchronous collect of 1 ms", by: [one, [60, "names"]] },
  { registry: "family-of-100,000", title: "one family of 100,000 series", by: [one] },
  { registry: "family-of-500,000", title: "one family of 500,000 series", by: [one] }
]

export const turns: ReadonlyArray<Attack> = asked.map(({ registry, title, by }) => ({
  id: `turns-${registry}`,
  title,
  run: (place: Place) =>
    withVictim({ place, registry, options: {} }, async (victim) => {
      const readings: Array<Reading> = [
        { what: "longest turn, the first scrape", value: await askedBy(...one, victim), unit: "ms" }
      ]
      await askedBy(...one, victim)
      for (const [count, kind] of by) {
        const value = await askedBy(count, kind, victim)
        const what = count === 1 ? "one later scrape" : `${count} at once with different ${kind}`
        readings.push({ what: `longest turn, ${what}`, value, unit: "ms" })
      }
      return readings
    })
}))
