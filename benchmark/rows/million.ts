/**
 * A million counters in 100 families, each contender in processes of its own, taking turns. A process renders once, has
 * all values changed and the garbage collected, and renders again: that second render is compared; the notes have the
 * first one. Memory is how far the process grows beyond what it had before the render, as a thread sees it that looks
 * every few milliseconds.
 */
import type { Used } from "../fresh/million.js"
import { fresh } from "../fresh.js"
import type { Measured, Row, Unit } from "../report.js"
import { compare } from "../report.js"
import { alternate, mapRounds, spread } from "../rounds.js"

export interface Renders {
  readonly first: Used
  readonly second: Used
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
    const first = (name: keyof typeof used) => {
      const median = (quantity: keyof Used) =>
        Math.round(spread(used[name].flatMap((renders) => (renders ? [renders.first[quantity]] : []))).median)
      return `${name} ${median("time")} ms, held for ${median("hold")} ms, ${median("memory")} MiB more`
    }
    return {
      comparisons: [
        against("second", "time", "ms", 0.4),
        against("second", "hold", "ms", 1 / 20),
        against("second", "memory", "MiB", 0.5)
      ],
      notes: [`the very first render of a process: ${first("ours")}; ${first("prom-client")}`]
    }
  }
}
