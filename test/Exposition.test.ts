import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import { vi } from "vitest"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import type { Format } from "./support/arbitraryRegistries.js"
import { parseOpenMetrics } from "./support/expositionParser.js"
import { bodyOf, contentTypes, formats, parsers, rendered } from "./support/expositions.js"
import { goldens, goldenTime } from "./support/goldenExpositions.js"
import { type Client, clients } from "./support/metrics.js"

const registryFor = (client: Client, contentType: Format): PromClient.Registry => {
  const registry = new client.Registry()
  // The types of the client have it that a registry never changes its content type.
  registry.setContentType(contentTypes[contentType] as PromClient.PrometheusContentType)
  return registry
}

/** Stops the clock of the client, which is not Effect's, for as long as it runs. */
const atGoldenTime = (run: () => void): void => {
  const now = vi.spyOn(Date, "now").mockReturnValue(goldenTime)
  try {
    run()
  } finally {
    now.mockRestore()
  }
}

const arrived = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes)

describe("render", () => {
  for (const { name, client } of clients) {
    for (const contentType of formats) {
      describe(`of a registry of ${name} whose content type is ${contentType}`, () => {
        for (const { fill, onlyOn = contentType, text, title, ...golden } of goldens) {
          const expected = { text, openmetrics: golden.openmetrics ?? `${text}# EOF\n` }
          if (onlyOn !== contentType) continue
          it.effect(`writes ${title}`, () =>
            Effect.gen(function* () {
              const registry = registryFor(client, contentType)
              atGoldenTime(() => fill(client, registry))
              for (const format of formats) {
                const { body, bytes, contentType } = yield* rendered(registry, { accept: contentTypes[format] })
                assert.strictEqual(contentType, contentTypes[format])
                assert.strictEqual(arrived(bytes), expected[format])
                assert.strictEqual(body, expected[format])
                assert.doesNotThrow(() => parsers[format](body))
              }
            })
          )
        }
      })
    }
  }

  it.effect("writes text if nothing is asked for", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      new PromClient.Gauge({ name: "up", help: "Up.", registers: [registry] }).set(1)
      const { body, bytes, contentType } = yield* rendered(registry)
      assert.strictEqual(contentType, "text/plain; version=0.0.4; charset=utf-8")
      assert.strictEqual(body, "# HELP up Up.\n# TYPE up gauge\nup 1\n")
      assert.deepStrictEqual(bytes, new TextEncoder().encode(body))
    })
  )

  it.effect("reads the global registry of prom-client if no other one is provided", () =>
    Effect.gen(function* () {
      const name = "exposition_test_of_the_global_registry"
      yield* Effect.acquireUseRelease(
        Effect.sync(() => new PromClient.Gauge({ name, help: "Up." })),
        () =>
          Effect.gen(function* () {
            const { body } = yield* Exposition.render({ names: [name] })
            assert.strictEqual(body, `# HELP ${name} Up.\n# TYPE ${name} gauge\n${name} 0\n`)
          }),
        () => Effect.sync(() => PromClient.register.removeSingleMetric(name))
      )
    })
  )

  it.effect("reads the registry of the layer that it is provided with", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      new PromClient.Gauge({ name: "up", help: "Up.", registers: [registry] }).set(1)
      const { body } = yield* Effect.provide(Exposition.render(), Registry.layer(registry))
      assert.strictEqual(body, "# HELP up Up.\n# TYPE up gauge\nup 1\n")
    })
  )

  for (const { client, name } of clients) {
    it.effect(`waits for the collect functions of ${name} and writes what they set`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const registers = [registry]
        new client.Gauge({
          name: "at_once",
          help: "h",
          registers,
          collect() {
            this.set(1)
          }
        })
        new client.Gauge({
          name: "later",
          help: "h",
          registers,
          async collect() {
            await Promise.resolve()
            this.set(2)
          }
        })
        assert.strictEqual(
          yield* bodyOf(registry, "text"),
          "# HELP at_once h\n# TYPE at_once gauge\nat_once 1\n# HELP later h\n# TYPE later gauge\nlater 2\n"
        )
      })
    )
  }

  it.effect("writes what prom-client aggregates of the workers of a cluster", () =>
    Effect.gen(function* () {
      const workers = yield* Effect.promise(() =>
        Promise.all(
          [1, 2].map((jobs) => {
            const registry = someMetrics(PromClient, "text")
            ;(registry.getSingleMetric("jobs_total") as PromClient.Counter).inc(jobs)
            return registry.getMetricsAsJSON()
          })
        )
      )
      const registry = PromClient.AggregatorRegistry.aggregate(workers)
      const families = parseOpenMetrics(yield* bodyOf(registry, "openmetrics"))
      assert.deepStrictEqual(
        families.map(({ name, type }) => [name, type]),
        [
          ["jobs", "counter"],
          ["queue_length", "gauge"],
          ["run_seconds", "histogram"]
        ]
      )
      assert.strictEqual(families[0]?.samples[0]?.value, 5)
    })
  )
})

/** A registry with a counter, a gauge and a histogram. */
const someMetrics = (client: Client, contentType: Format): PromClient.Registry => {
  const registry = registryFor(client, contentType)
  const registers = [registry]
  new client.Counter({ name: "jobs_total", help: "Jobs done.", registers }).inc(1)
  new client.Gauge({ name: "queue_length", help: "Jobs that wait.", registers }).set(2)
  new client.Histogram({ name: "run_seconds", help: "Run time.", buckets: [1], registers }).observe(0.5)
  return registry
}

describe("A registry", () => {
  for (const { client, name } of clients) {
    it.effect(`of ${name} has the same text before and after a render in OpenMetrics`, () =>
      Effect.gen(function* () {
        const registry = someMetrics(client, "text")
        const before = yield* bodyOf(registry, "text")
        const openmetrics = yield* bodyOf(registry, "openmetrics")
        assert.strictEqual(yield* bodyOf(registry, "text"), before)
        assert.strictEqual(yield* bodyOf(registry, "openmetrics"), openmetrics)
        assert.include(before, "# TYPE jobs_total counter\njobs_total 1\n")
        assert.include(openmetrics, "# TYPE jobs counter\njobs_total 1\n")
      })
    )

    it.effect(`of ${name} has the same text before and after that client took _total off its counters`, () =>
      Effect.gen(function* () {
        const registry = someMetrics(client, "openmetrics")
        new client.Counter({ name: "tries", help: "Not a total.", registers: [registry] }).inc(4)
        new client.Counter({ name: "tries_total", help: "A total.", registers: [registry] }).inc(5)
        const before = yield* Effect.forEach(formats, (format) => bodyOf(registry, format))
        yield* Effect.promise(() => registry.metrics())
        assert.deepStrictEqual(yield* Effect.forEach(formats, (format) => bodyOf(registry, format)), before)
        assert.include(yield* bodyOf(registry, "text", { names: ["jobs_total"] }), "jobs_total 1\n")
      })
    )

    it.effect(`of ${name} can be rendered in both formats at once`, () =>
      Effect.gen(function* () {
        const registry = someMetrics(client, "text")
        new client.Gauge({
          name: "slow",
          help: "Takes several turns to collect.",
          registers: [registry],
          async collect() {
            for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
          }
        })
        const alone = yield* Effect.forEach(formats, (format) => bodyOf(registry, format))
        const many = yield* Effect.forEach(
          Array.from({ length: 50 }),
          () => Effect.forEach(formats, (format) => bodyOf(registry, format), { concurrency: "unbounded" }),
          { concurrency: "unbounded" }
        )
        for (const bodies of many) assert.deepStrictEqual(bodies, alone)
      })
    )
  }
})

describe("options of render", () => {
  const given: ReadonlyArray<readonly [options: unknown, message: string]> = [
    [{ accept: 1 }, "accept must be a string, not 1"],
    [{ names: "jobs" }, 'names must be an array of strings, not "jobs"'],
    [{ names: [1] }, "names must be an array of strings, not 1"],
    [{ names: new Array(1) }, "names must be an array of strings, not "],
    [{ onError: "ignore" }, 'onError must be "fail" or "continue", not "ignore"'],
    [{ format: "openmetrics" }, "unknown option format; the options are onError, accept, names"],
    [null, "options must be an object with options, not null"]
  ]
  for (const [options, message] of given) {
    it.effect(`that are ${JSON.stringify(options)} are refused by an error that names the option`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Exposition.render(options as Exposition.RenderOptions))
        assert.deepStrictEqual([error.reason, error.metrics, error.message], ["InvalidOptions", [], message])
      })
    )
  }
})

describe("names", () => {
  const registry = someMetrics(PromClient, "text")
  const familiesOf = (format: Format, names: ReadonlyArray<string>) =>
    Effect.map(bodyOf(registry, format, { names }), (body) => parsers[format](body).map(({ name }) => name))

  it.effect("narrow a render to families, by the names that they are registered by in both formats", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* familiesOf("text", ["jobs_total"]), ["jobs_total"])
      assert.deepStrictEqual(yield* familiesOf("openmetrics", ["jobs_total"]), ["jobs"])
      assert.deepStrictEqual(yield* familiesOf("openmetrics", ["jobs"]), [])
    })
  )

  it.effect("leave the families in the order of the registry, each of them once", () =>
    Effect.gen(function* () {
      const names = ["run_seconds", "nothing", "jobs_total", "run_seconds"]
      assert.deepStrictEqual(yield* familiesOf("text", names), ["jobs_total", "run_seconds"])
    })
  )

  it.effect("that no metric has give an empty exposition, as does an empty list", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* bodyOf(registry, "text", { names: ["nothing"] }), "")
      assert.strictEqual(yield* bodyOf(registry, "openmetrics", { names: [] }), "# EOF\n")
    })
  )

  it.effect("keep the other metrics from being collected", () =>
    Effect.gen(function* () {
      const collected: Array<string> = []
      const registry = new PromClient.Registry()
      for (const name of ["wanted", "other"]) {
        new PromClient.Gauge({ name, help: "h", registers: [registry], collect: () => void collected.push(name) })
      }
      yield* bodyOf(registry, "text", { names: ["wanted"] })
      assert.deepStrictEqual(collected, ["wanted"])
    })
  )
})
