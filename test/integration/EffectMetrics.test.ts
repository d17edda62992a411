import { spawnSync } from "node:child_process"
import { assert, it } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import * as fc from "fast-check"
import { Registry as PromRegistry } from "prom-client"
import * as EffectMetrics from "../../src/EffectMetrics.js"
import { Registry } from "../../src/Registry.js"
import { anyEffectMetrics, filled } from "../support/arbitraryEffectMetrics.js"
import { describeWith } from "../support/binaries.js"
import { bodyOnce, formats, parsers } from "../support/expositions.js"
import { get } from "../support/httpClient.js"
import { roundTripSeed } from "../support/roundTrip.js"
import { inThisThread, started } from "../support/servers.js"
import { prometheus, until } from "../support/services.js"

const specs = fc.sample(anyEffectMetrics, { seed: roundTripSeed, numRuns: 50 })

// Metrics of every kind, under names that nothing else has.
const filling = (stem: string) => Effect.forEach(specs, (some, at) => filled(`${stem}${at}.`, some), { discard: true })

// What `promtool check metrics` exits with where it only has advice, on names and help.
const advice = 3

describeWith(["promtool"], "promtool check metrics", ({ promtool }) => {
  it.effect("accepts Effect's metrics of every kind, name and tags", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      yield* filling("q")
      yield* Effect.provideService(EffectMetrics.make({ include: ["q*", "effect_fiber_*"] }), Registry, registry)
      const body = yield* bodyOnce(registry, "text")
      const { status, stderr, stdout } = spawnSync(promtool, ["check", "metrics"], { input: body, encoding: "utf8" })
      assert.include([0, advice], status, stdout + stderr)
      assert.notInclude(stdout + stderr, "parsing error")
    }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
  )
})

const protocols = { text: "PrometheusText0.0.4", openmetrics: "OpenMetricsText1.0.0" } as const

describeWith(["prometheus3"], "Prometheus 3", () => {
  it.scopedLive(
    "scrapes Effect's metrics of every kind in both formats, and holds each of their samples",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        yield* filling("r")
        yield* Effect.provideService(EffectMetrics.make({ include: ["r*", "effect_fiber_*"] }), Registry, registry)
        const { address, url } = yield* started(inThisThread, { selfMetrics: false }, { registry })
        const jobs = formats.map((format) => ({
          job_name: format,
          scrape_protocols: [protocols[format]],
          scrape_interval: "1s",
          scrape_timeout: "1s",
          static_configs: [{ targets: [`127.0.0.1:${address.port}`] }]
        }))
        const server = yield* prometheus("prometheus3", jobs)
        const targets = yield* until(
          "both were scraped",
          server.targets,
          (all) => all.length === 2 && all.every(({ health }) => health !== "unknown"),
          60
        )
        assert.deepStrictEqual(
          targets.filter(({ health, lastError }) => health !== "up" || lastError !== ""),
          []
        )
        const families = parsers.text((yield* get(url)).body)
        const expected = families.flatMap(({ samples }) => samples).filter(({ name }) => name.startsWith("r"))
        for (const format of formats) {
          const held = yield* server.series(`{job="${format}",__name__=~"r.*"}`)
          assert.strictEqual(held.length, expected.length)
          const bucket = `effect_fiber_lifetimes_seconds_bucket{job="${format}",le="+Inf"}`
          assert.isAtLeast((yield* server.query(bucket)) ?? 0, 1)
        }
        console.log(`${families.length} families of Effect in both formats, ${expected.length} samples held of each`)
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    120_000
  )
})
