/** Serves a registry as the argument says, until it is killed, and does what it is ordered to by its parent. */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import type { ServerOptions } from "effect-prometheus/Promises"
import { startHttpServer, startHttpServerInThread } from "effect-prometheus/Promises"
import { Counter, Gauge, Registry } from "prom-client"
import type { Place } from "../attacks/lab.js"
import { collectGarbage } from "../rounds.js"

export type RegistryKind = "small" | "100,000-series" | "200-collectors" | "family-of-100,000" | "family-of-500,000"

export interface Setup {
  readonly place: Place
  readonly registry: RegistryKind
  readonly options: Pick<ServerOptions, "authentication" | "tls">
}

/**
 * `look`: measures turns from now on; `turn`: the longest since then, in milliseconds of CPU time; `cpu`: that of the main
 * thread so far; `collect`: collects the garbage of this thread; `stuck`: blocks it for so many milliseconds, and gives by
 * how many more the next timers are late.
 */
export type Order = "look" | "turn" | "cpu" | "collect" | { readonly stuck: number }
export type Answer<O extends Order> = O extends "look" | "collect" ? null : number

// Linux names the main thread as the process, and gives the CPU time of a thread in nanoseconds.
const cpu = (): number => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6

const counters = (registry: Registry, families: number, series: number): void => {
  for (let family = 0; family < families; family += 1) {
    const labelNames = ["place", "kind"]
    const counter = new Counter({ name: `family_${family}_total`, help: "h", labelNames, registers: [registry] })
    for (let place = 0; place < series; place += 1) counter.inc({ place: `place-${place}`, kind: `kind-${place % 7}` })
  }
}

const busy = (milliseconds: number): void => {
  for (const until = performance.now() + milliseconds; performance.now() < until; );
}

const filling: Readonly<Record<RegistryKind, (registry: Registry) => void>> = {
  small: (registry) => counters(registry, 1, 3),
  "100,000-series": (registry) => counters(registry, 10, 10_000),
  "family-of-100,000": (registry) => counters(registry, 1, 100_000),
  "family-of-500,000": (registry) => counters(registry, 1, 500_000),
  "200-collectors": (registry) => {
    for (let place = 0; place < 200; place += 1) {
      const gauge: Gauge = new Gauge({
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
let watching: NodeJS.Timeout | undefined
const look = (): void => {
  const now = cpu()
  longest = Math.max(longest, now - last)
  last = now
}

const stuckFor = async (milliseconds: number): Promise<number> => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
  const start = performance.now()
  await sleep(1)
  await sleep(20)
  return Math.max(0, performance.now() - start - 21)
}

const done = async (order: Order): Promise<number | null> => {
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
      collectGarbage()
      return null
    default:
      return stuckFor(order.stuck)
  }
}

const { place, registry: kind, options } = JSON.parse(process.argv[2] ?? "") as Setup
const registry = new Registry()
filling[kind](registry)
const serve = place === "in process" ? startHttpServer : startHttpServerInThread
const { url } = await serve({ ...options, host: "127.0.0.1", registry, log: false })
process.on("message", async (order: Order) => process.send?.(await done(order)))
process.on("disconnect", () => process.exit())
process.send?.({ url })
