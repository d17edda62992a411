/**
 * The cost of a scrape from the worker thread for the application's event loop: its active time during a second with one
 * scrape (100,000 counters, gzip), compared with a second with one render in process. The active time of a second without
 * a scrape and without a render is subtracted. The scrapes come from another process. The value of every series changes
 * outside of those seconds.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { performance } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { startHttpServerInThread } from "effect-prometheus/Promises"
import * as promClient from "prom-client"
import { rendering } from "../contenders.js"
import * as Data from "../registries.js"
import { compare, type Row } from "../report.js"
import { alternate } from "../rounds.js"

export const worker: Row = {
  id: "worker",
  title: "active time of the application's event loop per scrape from the worker thread, 100,000 counters",
  run: async () => {
    const { registry, change } = Data.promRegistry(promClient, Data.counters)
    const render = rendering(registry)
    const server = await startHttpServerInThread({
      host: "127.0.0.1",
      registry,
      // On a loaded machine the worker would otherwise serve the last exposition.
      grace: "10 seconds",
      log: false
    })
    const scraper = fork(fileURLToPath(new URL("../fresh/scraper.ts", import.meta.url)), [server.url], {
      execArgv: ["--import", "tsx"],
      stdio: ["ignore", 2, 2, "ipc"]
    })
    let last: unknown
    const scrape = async () => {
      scraper.send("scrape")
      const [sample] = await once(scraper, "message")
      if (sample === last) throw new Error(`the scrape does not contain the changed values: ${sample}`)
      last = sample
    }

    const active = (work: () => Promise<unknown>) => async () => {
      change()
      await setTimeout(100)
      const before = performance.eventLoopUtilization()
      await Promise.all([work(), setTimeout(1_000)])
      return performance.eventLoopUtilization(before).active
    }
    const times = await alternate(
      { scrape: active(scrape), render: active(render), idle: active(async () => {}) },
      { rounds: 16 }
    )
    scraper.disconnect()
    await server.close()
    return {
      comparisons: [
        compare(
          { name: "scrape", unit: "ms", rounds: times.scrape },
          { name: "render in process", unit: "ms", rounds: times.render },
          { without: times.idle, bar: { atMost: 1.1 } }
        )
      ]
    }
  }
}
