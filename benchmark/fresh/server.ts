/**
 * Serves one contender of the row `http-requests` until its parent disconnects. Between two messages it reports the CPU
 * time and the bytes that its heap has allocated. All contenders record on the global registry.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { GCProfiler, getHeapStatistics } from "node:v8"
import * as promClient from "prom-client"
import { type Exchange, exchanges, large, ordinary } from "../requests/exchanges.js"
import { type ServerName, servers } from "../requests/servers/index.js"

/** What this program is asked to do. `answer`: to answer that many requests of its own. */
export type Order = { readonly answer: number } | "begin" | "end"

export interface Cost {
  /** In microseconds. */
  readonly cpu: number
  readonly bytes: number
}

const [server, contender, size] = process.argv.slice(2)
const chosen = size === "large" ? large : ordinary
const start = (await servers[server as ServerName]())[contender as "bare"]
if (start === undefined) throw new TypeError(`unknown contender ${contender}`)
const running = await start(chosen)
const all = exchanges(chosen)
const isLoaded = "port" in running

/**
 * Since the call: what was allocated until each garbage collection, and after the last one. No collection is forced: the
 * engine would discard the compiled code of objects that have all been collected.
 */
const measuring = (): (() => Cost) => {
  const profiler = new GCProfiler()
  profiler.start()
  let used = getHeapStatistics().used_heap_size
  const cpu = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    const last = getHeapStatistics().used_heap_size
    let bytes = 0
    for (const { afterGC, beforeGC } of profiler.stop()?.statistics ?? []) {
      bytes += beforeGC.heapStatistics.usedHeapSize - used
      used = afterGC.heapStatistics.usedHeapSize
    }
    return { cpu: user + system, bytes: bytes + last - used }
  }
}

let next = 0
const answering = async (count: number): Promise<Cost> => {
  if (isLoaded) throw new TypeError("the server answers requests over sockets")
  const end = measuring()
  // Each request is made in a turn of its own, as an adapter of a server makes it. If all were made before, they would be
  // old, and the collector would keep what is newly added to them.
  for (let answered = 0; answered < count; answered += 1) {
    await nextTurn()
    const exchange = all[next++ % all.length] as Exchange
    const request = new Request(`http://localhost${exchange.path}`, { method: exchange.method })
    const { status } = await running.answer(request)
    if (status !== exchange.status) throw new Error(`${exchange.method} ${exchange.path} got ${status}`)
  }
  return end()
}

// A contender that does not record would only seem to be fast.
const checkRecorded = async (): Promise<void> => {
  const all = await promClient.register.getMetricsAsJSON()
  const isRecorded = all.some(({ values }) =>
    values.some(({ labels, value }) => ("route" in labels || "path" in labels) && Number(value) > 0)
  )
  if (isRecorded !== (contender !== "bare")) throw new Error(`${contender} records${isRecorded ? "" : " nothing"}`)
}

let end: (() => Cost) | undefined
let isChecked = false
process.on("message", async (order: Order) => {
  if (order === "begin") {
    end = measuring()
    process.send?.("begun")
    return
  }
  const cost = order === "end" ? (end?.() ?? "not begun") : await answering(order.answer)
  if (!isChecked) await checkRecorded()
  isChecked = true
  process.send?.(cost)
})
process.once("disconnect", () => process.exit())
process.send?.(isLoaded ? { port: running.port } : {})
