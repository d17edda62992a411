/** The cost of refused requests at the worker thread for the main thread, while it is blocked for 9 seconds and while it is idle. */
import { setTimeout as sleep } from "node:timers/promises"
import { bearer } from "../../test/support/credentials.js"
import { type Attack, type Place, settled, token, type Victim, withStrangers, withVictim } from "./lab.js"

const only: ReadonlyArray<Place> = ["in the thread"]
const setup = { place: "in the thread", registry: "small", options: { authentication: { tokens: [token] } } } as const
const flood = { behaviour: "tokens" }
const stuck = 9_000
const idle = 3_000

const refusedBy = async ({ url }: Victim): Promise<number> => {
  const text = await (await fetch(url, { headers: bearer(token) })).text()
  return Number(/^effect_prometheus_scrapes_total\{code="401"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

export const refusedWhileStuck: Attack = {
  id: "refused-while-stuck",
  title: "wrong tokens from 1,000 connections while the main thread is blocked for 9 seconds",
  only,
  run: () =>
    withVictim(setup, async (victim) => {
      await settled(victim)
      const before = victim.memory()
      const most = victim.watchMemory()
      const late = await withStrangers(victim, flood, () => victim.order({ stuck }))
      const memory = most() - before
      return [
        { what: "requests refused", value: await refusedBy(victim), unit: "requests" },
        { what: "memory at most", value: memory, unit: "MiB" },
        { what: "delay of timers afterwards", value: late, unit: "ms" }
      ]
    })
}

export const refusedWhileIdle: Attack = {
  id: "refused-while-idle",
  title: "wrong tokens from 1,000 connections while the main thread is idle",
  only,
  run: () =>
    withVictim(setup, async (victim) => {
      await settled(victim)
      const used = await withStrangers(victim, flood, async () => {
        const before = await victim.order("cpu")
        await sleep(idle)
        return (await victim.order("cpu")) - before
      })
      return [
        { what: "requests refused", value: await refusedBy(victim), unit: "requests" },
        { what: "use of the main thread", value: (100 * used) / idle, unit: "% of a core" }
      ]
    })
}
