/** Renders a million counters three times, with the contender named as the argument, and sends the costs of each render. */
import { setTimeout } from "node:timers/promises"
import { Worker } from "node:worker_threads"
import { clients, ours } from "../contenders.js"
import { report } from "../fresh.js"
import { collectGarbage, longestHold } from "../rounds.js"

/** Milliseconds, and the growth of the memory in MiB. */
export interface Used {
  readonly time: number
  readonly hold: number
  readonly memory: number
}

const shape = { counter: { families: 100, series: 10_000 } }
const { change, render } = (process.argv[2] === "ours" ? ours : clients)(shape)

// A render that never yields cannot be observed from its own thread.
const peak = new Float64Array(new SharedArrayBuffer(8))
const watch = new Worker(
  `const { workerData: peak } = require("node:worker_threads")
   const tick = new Int32Array(new SharedArrayBuffer(4))
   for (;;) {
     const now = process.memoryUsage.rss()
     peak[0] = Math.max(peak[0], now)
     Atomics.wait(tick, 0, 0, 5)
   }`,
  { eval: true, workerData: peak }
)
await new Promise((resolve) => watch.once("online", resolve))

const used = async (): Promise<Used> => {
  for (let count = 0; count < 3; count++) {
    collectGarbage()
    await setTimeout(100)
  }
  const baseline = process.memoryUsage.rss()
  peak[0] = baseline
  let length = 0
  const start = performance.now()
  const hold = await longestHold(async () => {
    length = (await render()).length
  })
  const time = performance.now() - start
  await setTimeout(20)
  if (length < 50_000_000) throw new Error("the render is too short for a million series")
  return { time, hold, memory: ((peak[0] ?? 0) - baseline) / 2 ** 20 }
}

const first = await used()
change()
const second = await used()
change()
report({ first, second, third: await used() })
