/**
 * What the library keeps of each series between two scrapes, in bytes: how much more the process holds after three renders
 * of 100,000 counters with three labels than before them, when the garbage is collected. Each round has a registry of its
 * own.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { ours } from "../contenders.js"
import * as Data from "../registries.js"
import type { Row } from "../report.js"
import { limit } from "../report.js"
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
  title: "what is kept of each of 100,000 counters with three labels between two scrapes",
  run: async () => {
    const bytes = async (): Promise<number> => {
      const { change, render } = ours(Data.counters)
      const before = await held()
      for (let count = 0; count < renders; count += 1) {
        change()
        await render()
      }
      const after = await held()
      // The registry has to live until here.
      change()
      return (after - before) / series
    }
    const rounds = await alternate({ ours: bytes }, { rounds: 5 })
    return { comparisons: [limit({ name: "ours", unit: "bytes", rounds: rounds.ours }, { bar: { atMost: 300 } })] }
  }
}
