/**
 * The memory of 1,000 unauthorized connections: how much the resident set of the process grows beyond an idle server,
 * within three seconds. It reports the maximum with all garbage and, in process, the rest after a garbage collection while
 * the connections are open. It also reports the longest turn of the main thread in that time.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type Attack, type Place, settled, token, withStrangers, withVictim } from "./lab.js"
import type { Reading } from "./results.js"

const watching = 3_000

const behaviours = [
  ["idle", "nothing", "idle"],
  ["unfinished", "unfinished", "15 kB of headers without an end"],
  ["pipelined", "large requests", "16 requests of 15 kB at once, repeatedly"],
  ["many-headers", "many headers", "16 requests of 1,500 short headers at once, repeatedly"],
  ["bodies", "bodies in pieces", "a body in 10,000 pieces, repeatedly"]
] as const

export const memory: ReadonlyArray<Attack> = behaviours.map(([id, behaviour, what]) => ({
  id: `memory-${id}`,
  title: `1,000 connections: ${what}`,
  run: (place: Place) =>
    withVictim({ place, registry: "small", options: { authentication: { tokens: [token] } } }, async (victim) => {
      await settled(victim)
      const before = victim.memory()
      const most = victim.watchMemory()
      return withStrangers(victim, { behaviour }, async (): Promise<ReadonlyArray<Reading>> => {
        await victim.order("look")
        await sleep(watching)
        const readings: Array<Reading> = [
          { what: "memory at most", value: most() - before, unit: "MiB" },
          { what: "longest turn", value: await victim.order("turn"), unit: "ms" }
        ]
        if (place === "in the thread") return readings
        await settled(victim)
        return [...readings, { what: "after a collection", value: victim.memory() - before, unit: "MiB" }]
      })
    })
}))
