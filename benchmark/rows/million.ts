/**
 * A million counters in 100 families, each contender in processes of its own, taking turns. A process renders three
 * times, and before each of them has all values changed and the garbage collected. The third is compared, as any that
 * follows it would be; the notes have those before (in the second, ours keeps texts for those that follow). Memory is how
 * far the process grows beyond what it had before the render, as a thread sees it that looks every few milliseconds.
 */
import type { Used } from "../fresh/million.js"
import { fresh } from "../fresh.js"
import type { Measured, Row, Unit } from "../report.js"
import { compare } from "../report.js"
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
