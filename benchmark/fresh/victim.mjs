/**
 * Serves a registry until it is killed, and follows the orders of its parent: see `Setup` and `Order` in `attacks/lab.ts`.
 * It is plain JavaScript, because a loader would add to the measured memory.
 */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { startHttpServer, startHttpServerInThread } from "effect-prometheus/Promises"
import { Counter, Gauge, Registry } from "prom-client"

// The id of the main thread is the process id; Linux reports the CPU time of a thread in nanoseconds.
const cpu = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6

const counters = (registry, families, series) => {
  for (let family = 0; family < families; family += 1) {
    const labelNames = ["place", "kind"]
    const counter = new Counter({ name: `family_${family}_total`, help: "h", labelNames, registers: [registry] })
    for (let place = 0; place < series; place += 1) counter.inc({ place: `place-${place}`, kind: `kind-${place % 7}` })
  }
}

const busy = (milliseconds) => {
  for (const until = performance.now() + milliseconds; performance.now() < until; );
}

const filling = {
  small: (registry) => counters(registry, 1, 3),
  "100,000-series": (registry) => counters(registry, 10, 10_000),
  "family-of-100,000": (registry) => counters(registry, 1, 100_000),
  "family-of-500,000": (registry) => counters(registry, 1, 500_000),
  "200-collectors": (registry) => {
    for (let place = 0; place < 200; place += 1) {
      const gauge = new Gauge({
        name: `family_${place}_total`,
        help: "h",
        registers: [registry],
        collect: () => {
          busy(1)
          gauge.set(place)
        }
      })
    }
  }
}

let [longest, last] = [0, 0]
let watching
const look = () => {
  const now = cpu()
  longest = Math.max(longest, now - last)
  last = now
}

const stuckFor = async (milliseconds) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
  const start = performance.now()
  await sleep(1)
  await sleep(20)
  return Math.max(0, performance.now() - start - 21)
}

const done = async (order) => {
  switch (order) {
    case "look":
      ;[longest, last] = [0, cpu()]
      watching = setInterval(look, 1)
      return null
    case "turn":
      look()
      clearInterval(watching)
      return longest
    case "cpu":
      return cpu()
    case "collect":
      globalThis.gc?.()
      return null
    default:
      return stuckFor(order.stuck)
  }
}

const { place, registry: kind, options } = JSON.parse(process.argv[2] ?? "")
const registry = new Registry()
filling[kind](registry)
const serve = place === "in process" ? startHttpServer : startHttpServerInThread
const { url } = await serve({ ...options, host: "127.0.0.1", registry, log: false })
process.on("message", async (order) => process.send?.(await done(order)))
process.on("disconnect", () => process.exit())
process.send?.({ url })
