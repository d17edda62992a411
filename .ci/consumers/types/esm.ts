import { Effect, Layer } from "effect"
import { Metrics, MetricsServer, Registry } from "effect-prometheus"
import { timed } from "effect-prometheus/Promises"
import * as Prometheus from "prom-client"

const registry = new Prometheus.Registry()
const seconds = new Prometheus.Histogram({
  name: "job_seconds",
  help: "Jobs.",
  labelNames: ["kind"],
  registers: [registry]
})

const program = Effect.gen(function* () {
  yield* Effect.sleep("1 millis").pipe(Metrics.timed(seconds, { labels: { kind: "effect" } }))
  yield* Effect.promise(timed(seconds, { labels: { kind: "promise" } })(async () => "done"))
  const { url } = yield* MetricsServer.MetricsServer
  const scrape = Effect.promise(async () => (await fetch(url)).text())
  const complete = (body: string) =>
    ["effect", "promise"].every((kind) => body.includes(`job_seconds_count{kind="${kind}"} 1`))
  // If this thread is too busy to answer at once, the worker serves its last exposition.
  const body = yield* Effect.repeat(scrape, { until: complete, times: 100 })
  if (!complete(body)) return yield* Effect.dieMessage(body)
  console.log("ESM: measured, served from the worker and scraped")
})

const server = MetricsServer.layerWorker({ host: "127.0.0.1" }).pipe(Layer.provide(Registry.layer(registry)))

await Effect.runPromise(Effect.provide(program, server))
