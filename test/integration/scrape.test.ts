import { createServer } from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import type { Registry as PromRegistry } from "prom-client"
import * as Exposition from "../../src/Exposition.js"
import { Registry } from "../../src/Registry.js"
import { anyRegistry, type Format, type RegistrySpec, registryOf } from "../support/arbitraryRegistries.js"
import { describeWith } from "../support/binaries.js"
import { expectedFamilies, type ReadSample } from "../support/expectedExposition.js"
import { contentTypes, formats } from "../support/expositions.js"
import { get } from "../support/httpClient.js"
import { listen } from "../support/listen.js"
import { RegistryStatistics } from "../support/registryStatistics.js"
import { roundTripSeed, sampled } from "../support/roundTrip.js"
import { type Prometheus, prometheus, type QueriedSeries, queriedValue, until } from "../support/services.js"
import { soak } from "../support/soak.js"

const count = soak(200)

const protocols: { readonly [F in Format]: string } = {
  text: "PrometheusText0.0.4",
  openmetrics: "OpenMetricsText1.0.0"
}

/** Serves each of the registries under a path that is its number, and keeps what was asked for. */
const serving = (specs: ReadonlyArray<RegistrySpec>) =>
  Effect.gen(function* () {
    const served = specs.map((spec) => ({ spec, registry: registryOf(spec) }))
    const listeners = yield* Effect.forEach(served, ({ registry }) =>
      Effect.provideService(Exposition.nodeListener(), Registry, registry)
    )
    const asked = new Set<string>()
    const server = createServer((request, response) => {
      asked.add(`${request.url} ${request.headers.accept}`)
      listeners[Number(request.url?.slice(1))]?.(request, response)
    })
    return { served, asked, port: yield* listen(server) }
  })

/** One job for each format, which scrapes all of them. */
const jobs = (port: number) =>
  formats.map((format) => ({
    job_name: format,
    scrape_protocols: [protocols[format]],
    scrape_interval: "10s",
    scrape_timeout: "10s",
    static_configs: Array.from({ length: count }, (_, number) => ({
      targets: [`127.0.0.1:${port}`],
      labels: { __metrics_path__: `/${number}`, number: String(number) }
    }))
  }))

/** Asserts that each registry was asked for in both formats. */
const assertAsked = (port: number, asked: ReadonlySet<string>) =>
  Effect.gen(function* () {
    const answered = yield* Effect.forEach([...asked], (line) => {
      const [path = "", accept = ""] = line.split(/ (.*)/s)
      return Effect.map(
        get(`http://127.0.0.1:${port}${path}`, { headers: { accept } }),
        ({ headers }) => `${path} ${headers["content-type"]}`
      )
    })
    const paths = Array.from({ length: count }, (_, number) => `/${number}`)
    assert.sameMembers(
      answered,
      paths.flatMap((path) => formats.map((format) => `${path} ${contentTypes[format]}`))
    )
  })

// What Prometheus drops does not make a scrape fail.
const dropped = [
  "prometheus_target_scrapes_sample_duplicate_timestamp_total",
  "prometheus_target_scrapes_sample_out_of_order_total",
  "prometheus_target_scrapes_sample_out_of_bounds_total",
  "prometheus_target_scrapes_exemplar_out_of_order_total"
]

const assertNothingDropped = ({ url }: Prometheus): Effect.Effect<void> =>
  Effect.promise(async () => {
    const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n")
    for (const name of dropped) assert.include(lines, `${name} 0`)
  })

/** Asserts that Prometheus holds the series of that registry and no others, and returns their number. */
const assertHeld = (server: Prometheus, spec: RegistrySpec, registry: PromRegistry, job: Format, number: number) =>
  Effect.gen(function* () {
    const own = "up|scrape_.*|effect_prometheus_.*"
    const held = yield* server.series(`{job="${job}",number="${number}",__name__!~"${own}"}`)
    const expected = yield* Effect.promise(() => expectedFamilies(spec, registry, job))
    assert.deepStrictEqual(held.map(heldSeries).sort(), expected.flatMap(({ samples }) => samples.map(series)).sort())
    return held.length
  })

const heldSeries = (queried: QueriedSeries): string => {
  const { __name__: name = "", job, instance, number, le, quantile, ...labels } = queried.metric
  const threshold = le ?? quantile
  const bound = threshold === undefined ? undefined : Number(threshold.replace("Inf", "Infinity"))
  return series({ name, labels, threshold: bound, value: queriedValue(queried) })
}

// A label without a value is one that is not there.
const series = ({ labels, name, threshold, value }: Omit<ReadSample, "exemplar">): string => {
  const pairs = Object.entries(labels).filter(([, text]) => text !== "")
  return JSON.stringify([name, pairs.sort(), String(threshold), String(value + 0)])
}

describeWith(["prometheus3"], `Prometheus 3 (seed ${roundTripSeed})`, () => {
  it.scopedLive(
    `scrapes the first ${count} of the registries that are read back, in both formats, and holds what they hold`,
    () =>
      Effect.gen(function* () {
        const specs = sampled(anyRegistry, count)
        const { asked, port, served } = yield* serving(specs)
        const server = yield* prometheus("prometheus3", jobs(port))
        const targets = yield* until(
          "all were scraped",
          server.targets,
          (targets) => targets.length === 2 * count && targets.every(({ health }) => health !== "unknown"),
          60
        )
        assert.deepStrictEqual(
          targets.filter(({ health, lastError }) => health !== "up" || lastError !== ""),
          []
        )
        assert.strictEqual(yield* server.query("count(up == 1)"), 2 * count)
        assert.strictEqual(yield* server.query("count(min_over_time(up[1h]) == 1)"), 2 * count)
        yield* assertAsked(port, asked)
        yield* assertNothingDropped(server)
        let held = 0
        for (const [number, { registry, spec }] of served.entries()) {
          for (const format of formats) held += yield* assertHeld(server, spec, registry, format, number)
        }
        console.log(
          `up == 1 in text and in OpenMetrics, and ${held} series held by Prometheus: ${RegistryStatistics.of(specs)}`
        )
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    900_000
  )
})
