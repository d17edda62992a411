/**
 * A million counters in 100 families. The contenders take turns, each in its own processes. A process renders three times;
 * before each render all values change and the garbage is collected. The third render is compared, because later ones are
 * like it. The notes show the first two (in the second, our library caches texts for later ones). Memory is the growth of
 * the process during the render, which a separate thread samples every few milliseconds.
 */
import type { Used } from "../fresh/million.js"
import { fresh } from "../fresh.js"
import { compare, type Measured, type Row, type Unit } from "../report.js"
import { alternate, mapRounds, spread } from "../rounds.js"

export interface Renders {
  readonly first: Used
  readonly second: Used
  readonly third: Used
}

export const million: Row = {
  id: "million",
  title: "1,000,000 counters in 100 families",
  run: async () => {
    const rendering = (contender: string) => () =>
      fresh<Renders>("million", [contender], ["--expose-gc", "--max-old-space-size=8192"])
    const used = await alternate(
      { ours: rendering("ours"), "prom-client": rendering("prom-client") },
      { rounds: 3, warmup: 0 }
    )
    const measured = (name: keyof typeof used, which: keyof Renders, quantity: keyof Used, unit: Unit): Measured => ({
      name,
      unit,
      rounds: mapRounds(used[name], (renders) => renders[which][quantity])
    })
    const against = (which: keyof Renders, quantity: keyof Used, unit: Unit, atMost: number) =>
      compare(measured("ours", which, quantity, unit), measured("prom-client", which, quantity, unit), {
        what: quantity,
        bar: { atMost }
      })
    const before = (name: keyof typeof used, which: keyof Renders) => {
      const median = (quantity: keyof Used) =>
        Math.round(spread(used[name].flatMap((renders) => (renders ? [renders[which][quantity]] : []))).median)
      return `${name} ${median("time")} ms, held for ${median("hold")} ms, ${median("memory")} MiB more`
    }
    return {
      comparisons: [
        against("third", "time", "ms", 0.4),
        against("third", "hold", "ms", 1 / 20),
        against("third", "memory", "MiB", 0.5)
      ],
      notes: (["first", "second"] as const).map(
        (which) => `the ${which} render of a process: ${before("ours", which)}; ${before("prom-client", which)}`
      )
    }
  }
}
