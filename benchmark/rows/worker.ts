/**
 * What a scrape from the worker thread costs the application's own event loop: its active time during a second with one
 * scrape (100,000 counters, gzip), against a second with one render in process, less that of a second with neither. The
 * scrapes come from another process. Between them the value of every series changes, outside of those seconds.
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
import type { Row } from "../report.js"
import { compare } from "../report.js"
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
      // On a machine that has other work, the last exposition would be served instead.
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
      if (sample === last) throw new Error(`that was no scrape of changed values: ${sample}`)
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
