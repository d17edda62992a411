/**
 * The memory of 1,000 connections of strangers (the resident set of the process beyond that of an idle server, three
 * seconds long): at most, with all garbage, and in process also what is left after a collection while they are open. And
 * the longest turn of the main thread meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Attack, Place } from "./lab.js"
import { settled, token, withStrangers, withVictim } from "./lab.js"
import type { Reading } from "./results.js"

const watching = 3_000

const behaviours = [
  ["idle", "nothing", "idle"],
  ["unfinished", "unfinished", "15 kB of headers that do not end"],
  ["pipelined", "large requests", "16 requests of 15 kB at once, again and again"],
  ["many-headers", "many headers", "16 requests of 1,500 short headers at once, again and again"],
  ["bodies", "bodies in pieces", "a body in 10,000 pieces, again and again"]
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
