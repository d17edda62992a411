/**
 * The first render of a process, which no other has warmed up: each one in a fresh process, with the imports done, the
 * registry of an ordinary service built, and an application of Effect that is up (with the library it has mounted its
 * endpoint, which makes itself ready then), and then the time of exactly one render.
 */
import { fresh } from "../fresh.js"
import type { Row } from "../report.js"
import { compare } from "../report.js"
import { alternate } from "../rounds.js"

export const firstScrape: Row = {
  id: "first-scrape",
  title: "the first render of a process that has mounted its endpoint, of the 1,000 mixed series",
  run: async () => {
    const first = (contender: string) => async () => (await fresh<{ time: number }>("first-scrape", [contender])).time
    const times = await alternate({ ours: first("ours"), peer: first("prom-client") }, { rounds: 21 })
    return {
      comparisons: [
        compare(
          { name: "ours", unit: "ms", rounds: times.ours },
          { name: "prom-client", unit: "ms", rounds: times.peer },
          { bar: { atMost: 0.75 } }
        )
      ]
    }
  }
}
