/**
 * The size of the cache per series between two scrapes, in bytes: how much the memory of the process grows during three
 * renders of 100,000 counters with three labels, after garbage collection. Each round has its own registry.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { ours } from "../contenders.js"
import * as Data from "../registries.js"
import { limit, type Row } from "../report.js"
import { alternate, collectGarbage } from "../rounds.js"

const series = 100_000
const renders = 3

const held = async (): Promise<number> => {
  for (let count = 0; count < 3; count += 1) {
    collectGarbage()
    await sleep(20)
  }
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

export const kept: Row = {
  id: "kept",
  title: "cache per series between two scrapes, 100,000 counters with three labels",
  run: async () => {
    const bytes = async (): Promise<number> => {
      const { change, render } = ours(Data.counters)
      const before = await held()
      for (let count = 0; count < renders; count += 1) {
        change()
        await render()
      }
      const after = await held()
      // Keeps the registry alive until here.
      change()
      return (after - before) / series
    }
    const rounds = await alternate({ ours: bytes }, { rounds: 5 })
    return { comparisons: [limit({ name: "ours", unit: "bytes", rounds: rounds.ours }, { bar: { atMost: 300 } })] }
  }
}
