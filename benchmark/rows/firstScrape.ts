/**
 * The first render of a process, before any warm-up: each in a new process, after the imports, with the registry of an
 * ordinary service and a running Effect application. For the library, that application has mounted its endpoint, which
 * prepares itself at that point. The time is that of exactly one render.
 */
import { fresh } from "../fresh.js"
import { compare, type Row } from "../report.js"
import { alternate } from "../rounds.js"

export const firstScrape: Row = {
  id: "first-scrape",
  title: "the first render of a process with a mounted endpoint, 1,000 mixed series",
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
