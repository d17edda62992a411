// An Effect program: it measures effects, serves the metrics from each thread, scrapes itself, closes, and ends.
import assert from "node:assert/strict"
import { Effect } from "effect"
import { Metrics, MetricsServer } from "effect-prometheus"

const { Histogram } = await import(process.env.CLIENT ?? "prom-client")
const seconds = new Histogram({ name: "job_seconds", help: "For the check.", labelNames: ["kind"], buckets: [60] })
const measured = Metrics.timed(seconds, { labels: { kind: "effect" } })

const job = (index) => measured(index === 2 ? Effect.fail("no") : Effect.sleep("1 millis"))
await Effect.runPromise(Effect.forEach([0, 1, 2], (index) => Effect.ignore(job(index))))

const scrape = Effect.gen(function* () {
  const { url } = yield* MetricsServer.MetricsServer
  const response = yield* Effect.promise(() => fetch(url))
  const body = yield* Effect.promise(() => response.text())
  return { url, status: response.status, body }
})

for (const layer of [MetricsServer.layer, MetricsServer.layerWorker]) {
  const served = Effect.provide(scrape, layer({ host: "127.0.0.1", port: 0 }))
  const { url, status, body } = await Effect.runPromise(served)
  const series = body.split("\n").filter((line) => /^job_seconds_(bucket|count)/.test(line))
  assert.equal(status, 200)
  assert.deepEqual(series, [
    'job_seconds_bucket{le="60",kind="effect"} 3',
    'job_seconds_bucket{le="+Inf",kind="effect"} 3',
    'job_seconds_count{kind="effect"} 3'
  ])
  await assert.rejects(fetch(url), `${url} still answers`)
}
