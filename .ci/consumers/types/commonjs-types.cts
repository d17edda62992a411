import { Effect } from "effect"
import { Metrics } from "effect-prometheus"

import promises = require("effect-prometheus/Promises")

import * as Prometheus from "prom-client"

const registry = new Prometheus.Registry()
const seconds = new Prometheus.Histogram({
  name: "job_seconds",
  help: "Jobs.",
  labelNames: ["kind"],
  registers: [registry]
})

const options: promises.ServerOptions = { host: "127.0.0.1", registry }

const main = async (): Promise<void> => {
  const server: promises.RunningServer = await promises.startHttpServer(options)
  await promises.timed(seconds, { labels: { kind: "promise" } })(async () => "done")()
  await Effect.runPromise(Metrics.timed(Effect.void, seconds, { labels: { kind: "effect" } }))
  // @ts-expect-error: unknown label
  promises.timed(seconds, { labels: { knd: "promise" } })
  const body = await (await fetch(server.url)).text()
  for (const kind of ["effect", "promise"]) {
    if (!body.includes(`job_seconds_count{kind="${kind}"} 1`)) throw new Error(body)
  }
  await server.close()
  console.log("CommonJS from TypeScript: measured, served and scraped")
}

main()
