import { createServer } from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import * as Exposition from "../../src/Exposition.js"
import { Registry } from "../../src/Registry.js"
import { describeWith } from "../support/binaries.js"
import { contentTypes, formats, logged, metric } from "../support/expositions.js"
import { listen } from "../support/listen.js"
import { prometheus, until } from "../support/services.js"

/** Families that share sample names, and values that no format has, between sound ones. */
const registryOfAll = (): PromClient.Registry => {
  const registry = new PromClient.Registry()
  const options = { help: "h", labelNames: ["a"], registers: [registry] }
  new PromClient.Histogram({ ...options, name: "jobs", buckets: [-1, 1] }).observe({ a: "x" }, -3)
  for (const suffix of ["_count", "_sum", "_bucket", "_created"]) {
    new PromClient.Gauge({ ...options, name: `jobs${suffix}` }).set({ a: "x" }, 77)
  }
  new PromClient.Gauge({ ...options, name: "size_sum" }).set({ a: "x" }, 78)
  new PromClient.Summary({ ...options, name: "size" }).observe({ a: "x" }, 1)
  const counter = new PromClient.Counter({ ...options, name: "sound_total" })
  counter.inc({ a: "broken" }, Number.NaN)
  counter.inc({ a: "x" }, 3)
  registry.registerMetric(metric("named", "gauge", [{ value: 1, labels: { __name__: "other" } }, { value: 2 }]))
  registry.registerMetric(metric("text", "gauge", [{ value: "1" }]))
  return registry
}

const dropped = "prometheus_target_scrapes_sample_duplicate_timestamp_total"

describeWith(["prometheus", "prometheus3"], "Prometheus 2 and 3", () => {
  it.scopedLive(
    "take one of two families that share a sample name, drop none, and take all that a format does not forbid",
    () =>
      logged(function* () {
        const registry = registryOfAll()
        const listener = yield* Effect.provideService(Exposition.nodeListener(), Registry, registry)
        // Whatever Prometheus asks for, it gets the format that the path names.
        const server = createServer((request, response) => {
          const format = formats.find((name) => request.url === `/${name}`) ?? "text"
          request.headers.accept = contentTypes[format]
          listener(request, response)
        })
        const target = `127.0.0.1:${yield* listen(server)}`
        const jobs = formats.map((format) => ({
          job_name: format,
          metrics_path: `/${format}`,
          static_configs: [{ targets: [target] }]
        }))
        for (const which of ["prometheus", "prometheus3"] as const) {
          const { query, series, url } = yield* prometheus(which, jobs)
          yield* until("both were scraped", query("count(up == 1)"), (up) => up === 2, 60)
          for (const [promql, value] of [
            ['jobs_bucket{le="+Inf",job="text"}', 1],
            ['jobs_bucket{le="+Inf",job="openmetrics"}', 1],
            ['jobs_count{job="text"}', 1],
            ['jobs_sum{job="text"}', -3],
            ['count(jobs_sum{job="openmetrics"})', undefined],
            ["count(jobs_created)", undefined],
            ["count(size_sum == 78)", 2],
            ["count(size_count)", undefined],
            ["count(sound_total == 3)", 2],
            ["count(sound_total)", 2],
            ["count(named == 2)", 2],
            ["count(other)", undefined],
            ["count(effect_prometheus_metrics_left_out == 5)", 2]
          ] as const) {
            assert.strictEqual(yield* query(promql), value, `${which}: ${promql}`)
          }
          assert.strictEqual((yield* series("up == 0")).length, 0)
          const lines = (yield* Effect.promise(async () => (await fetch(`${url}/metrics`)).text())).split("\n")
          assert.include(lines, `${dropped} 0`)
        }
      }),
    180_000
  )
})
