import { readdirSync, readFileSync } from "node:fs"
import { performance } from "node:perf_hooks"
import { getHeapStatistics } from "node:v8"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer, Logger, Scope } from "effect"
import * as PromClient from "prom-client"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import { runFixture } from "./support/childProcess.js"
import { type Client, clients } from "./support/metrics.js"

interface Shape {
  readonly name: string
  readonly type: string
  readonly aggregator: string
  readonly labels: ReadonlyArray<string>
}

interface Got {
  readonly name: string
  readonly type: string
  readonly aggregator: string
  readonly values: ReadonlyArray<{ readonly labels: Record<string, unknown>; readonly value: number }>
}

const got = (registry: PromClient.Registry) =>
  Effect.promise(async () => (await registry.getMetricsAsJSON()) as unknown as ReadonlyArray<Got>)

/** Names, types and label names of what is on a registry, as it is exposed and as it was made. */
const shapes = (registry: PromClient.Registry): ReadonlyArray<Shape> =>
  registry
    .getMetricsAsArray()
    .map((metric) => {
      const { aggregator, labelNames } = metric as unknown as { aggregator: string; labelNames: ReadonlyArray<string> }
      return { name: metric.name, type: String(metric.type), aggregator, labels: [...labelNames].sort() }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))

const opened = (registry: PromClient.Registry, options?: DefaultMetrics.Options) =>
  Effect.provideService(DefaultMetrics.make(options), Registry.Registry, registry)

const names = (registry: PromClient.Registry) =>
  registry
    .getMetricsAsArray()
    .map(({ name }) => name)
    .sort()

const readFrom = (registry: PromClient.Registry, name: string) =>
  Effect.promise(async () => {
    const metric = registry.getSingleMetric(name) as unknown as { get(): Promise<Got> }
    return (await metric.get()).values[0]?.value
  })

const value = (registry: PromClient.Registry, name: string) =>
  Effect.map(readFrom(registry, name), (found) => found ?? Number.NaN)

const blocked = (milliseconds: number) =>
  Effect.sync(() => {
    const end = performance.now() + milliseconds
    while (performance.now() < end);
  })

/** Waits until it holds. */
const until = (holds: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(holds, (held) => (held ? Effect.void : Effect.zipRight(Effect.sleep("10 millis"), until(holds))))

// What the new client has in addition, and what we have.
const theirsAlone = ["nodejs_eventloop_utilization_histogram", "nodejs_eventloop_utilization_summary"]
const oursAlone = [
  "nodejs_eventloop_active_seconds_total",
  "nodejs_heap_old_generation_limit_bytes",
  "nodejs_heap_size_limit_bytes",
  "process_memory_limit_bytes"
]

const collectTheirs = (client: Client, register: PromClient.Registry, options: object = {}) => {
  // It leaves a timer and a monitor behind, neither of which keeps the process.
  client.collectDefaultMetrics({ register, ...options })
  return register
}

for (const { client, name } of clients) {
  describe(`Beside collectDefaultMetrics of ${name}`, () => {
    it.scopedLive("the metrics have the same names, types, label names and aggregators", () =>
      Effect.gen(function* () {
        for (const options of [{}, { prefix: "app_", labels: { zone: "a" } }]) {
          const prefix = options.prefix ?? ""
          const ours = new PromClient.Registry()
          yield* opened(ours, options)
          const theirs = shapes(collectTheirs(client, new client.Registry(), options)).filter(
            (shape) => !theirsAlone.includes(shape.name.slice(prefix.length))
          )
          const same = shapes(ours).filter((shape) => !oursAlone.includes(shape.name.slice(prefix.length)))
          assert.deepStrictEqual(same, theirs)
          assert.isAtLeast(theirs.length, process.platform === "linux" ? 31 : 25)
          assert.strictEqual(ours.getMetricsAsArray().length, theirs.length + oursAlone.length)
        }
      })
    )

    it.scopedLive("the series have the same labels", () =>
      Effect.gen(function* () {
        const seriesOf = (all: ReadonlyArray<Got>) => {
          const stable = all.filter(
            ({ name }) => !/^nodejs_(active|gc|eventloop)/.test(name) && !oursAlone.includes(name)
          )
          return stable
            .flatMap((metric) =>
              metric.values.map(
                ({ labels }) => `${metric.name} ${JSON.stringify(Object.entries(labels).map(String).sort())}`
              )
            )
            .sort()
        }
        const options = { labels: { zone: "a" } }
        const ours = new PromClient.Registry()
        yield* opened(ours, options)
        const theirs = collectTheirs(client, new client.Registry(), options)
        assert.deepStrictEqual(seriesOf(yield* got(ours)), seriesOf(yield* got(theirs)))
      })
    )

    it.scopedLive("metrics that others registered stay registered and unchanged", () =>
      Effect.gen(function* () {
        const registry = collectTheirs(client, new client.Registry())
        const before = registry.getMetricsAsArray()
        const scope = yield* Scope.make()
        yield* Scope.extend(opened(registry), scope)
        assert.deepStrictEqual(
          names(registry).filter((name) => !before.some((metric) => metric.name === name)),
          oursAlone
        )
        yield* Scope.close(scope, Exit.void)
        const after = registry.getMetricsAsArray()
        assert.strictEqual(after.length, before.length)
        for (const [at, metric] of before.entries()) assert.strictEqual(after[at], metric)
      })
    )

    it.scopedLive("the registry of that client takes them, and renders them", () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        yield* opened(registry)
        const text = yield* Effect.promise(() => registry.metrics())
        assert.match(text, /^process_cpu_seconds_total \d/m)
        const { body } = yield* Effect.provideService(Exposition.render({}), Registry.Registry, registry)
        assert.match(String(body), /^process_cpu_seconds_total \d/m)
        assert.match(String(body), /^nodejs_eventloop_lag_seconds \d/m)
        assert.match(String(body), /^nodejs_version_info\{version="v\d/m)
      })
    )
  })
}

describe("The values", () => {
  it.scopedLive("are those of the process", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry)
      const near = (actual: number, expected: number, tolerance: number) =>
        assert.isAtMost(Math.abs(actual - expected), tolerance, `${actual} is not ${expected}`)
      const before = process.cpuUsage()
      const user = yield* value(registry, "process_cpu_user_seconds_total")
      const after = process.cpuUsage()
      assert.isAtLeast(user, before.user / 1e6)
      assert.isAtMost(user, after.user / 1e6)
      near(yield* value(registry, "process_start_time_seconds"), Date.now() / 1e3 - process.uptime(), 1)
      const megabyte = 2 ** 20
      near(yield* value(registry, "process_resident_memory_bytes"), process.memoryUsage.rss(), 64 * megabyte)
      near(yield* value(registry, "nodejs_heap_size_used_bytes"), process.memoryUsage().heapUsed, 64 * megabyte)
      near(yield* value(registry, "nodejs_external_memory_bytes"), process.memoryUsage().external, 64 * megabyte)
      const limit = yield* value(registry, "nodejs_heap_size_limit_bytes")
      assert.strictEqual(limit, getHeapStatistics().heap_size_limit)
      assert.isAbove(limit, yield* value(registry, "nodejs_heap_size_used_bytes"))
      if (process.platform !== "linux") return
      const status = readFileSync("/proc/self/status", "utf8")
      const size = Number(/VmSize:\s+(\d+)/.exec(status)?.[1]) * 1024
      near(yield* value(registry, "process_virtual_memory_bytes"), size, 256 * megabyte)
      const fds = yield* value(registry, "process_open_fds")
      near(fds, readdirSync("/proc/self/fd").length - 1, 1)
      const limits = /Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]
      assert.strictEqual(yield* value(registry, "process_max_fds"), Number(limits))
    })
  )

  it.scopedLive("of one scrape fit each other, and each is new at the next", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry)
      const cpu = (all: ReadonlyArray<Got>, which: string) =>
        all.find(({ name }) => name === `process_cpu_${which}seconds_total`)?.values[0]?.value ?? Number.NaN
      const first = yield* got(registry)
      assert.closeTo(cpu(first, ""), cpu(first, "user_") + cpu(first, "system_"), 1e-9)
      yield* blocked(30)
      const second = yield* got(registry)
      assert.isAtLeast(cpu(second, "") - cpu(first, ""), 0.005)
      assert.closeTo(cpu(second, ""), cpu(second, "user_") + cpu(second, "system_"), 1e-9)
    })
  )

  it.scopedLive("of counters never go down, and are all there again after a reset", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry)
      const counters = ["process_cpu_seconds_total", "nodejs_eventloop_active_seconds_total"]
      let last = [0, 0]
      for (let turn = 0; turn < 20; turn += 1) {
        const now = yield* Effect.forEach(counters, (name) => value(registry, name))
        for (const [at, number] of now.entries()) assert.isAtLeast(number, last[at] ?? 0)
        last = now
        if (turn === 10) registry.resetMetrics()
        yield* blocked(2)
      }
      const gc = (yield* got(registry)).find(({ name }) => name === "nodejs_gc_duration_seconds")
      const kinds = new Set(gc?.values.map(({ labels }) => labels["kind"]))
      for (const kind of ["major", "minor", "incremental", "weakcb"]) assert.isTrue(kinds.has(kind), kind)
    })
  )

  it.scopedLive("of the event loop show that it was blocked, to each who asks", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry)
      assert.isUndefined(yield* readFrom(registry, "nodejs_eventloop_lag_max_seconds"))
      yield* until(Effect.map(readFrom(registry, "nodejs_eventloop_lag_min_seconds"), (least) => least !== undefined))
      const active = yield* value(registry, "nodejs_eventloop_active_seconds_total")
      yield* blocked(300)
      yield* until(Effect.map(readFrom(registry, "nodejs_eventloop_lag_max_seconds"), (most = 0) => most > 0.2))
      for (let scraper = 0; scraper < 3; scraper += 1) {
        yield* got(registry)
        assert.isAtLeast(yield* value(registry, "nodejs_eventloop_lag_max_seconds"), 0.2)
      }
      assert.isAtLeast((yield* value(registry, "nodejs_eventloop_active_seconds_total")) - active, 0.25)
    })
  )

  it.scopedLive("of the event loop do not have the time between two measurements in them", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry, { eventLoopMonitoringPrecision: "400 millis" })
      yield* until(Effect.map(readFrom(registry, "nodejs_eventloop_lag_mean_seconds"), (mean = 1) => mean < 0.2))
    })
  )

  it.scopedLive("of the loop's lag at a scrape are of this scrape", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      yield* opened(registry)
      const asked = Effect.runPromise(value(registry, "nodejs_eventloop_lag_seconds"))
      yield* blocked(100)
      assert.isAtLeast(yield* Effect.promise(() => asked), 0.09)
    })
  )
})

describe("The layer", () => {
  it.scopedLive("puts the metrics there once, however often it is built, and takes them with the last scope", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const [one, two] = [yield* Scope.make(), yield* Scope.make()]
      const layer = () => Layer.provide(DefaultMetrics.layer(), Registry.layer(registry))
      yield* Layer.buildWithScope(layer(), one)
      const metrics = registry.getMetricsAsArray()
      assert.isAbove(metrics.length, 30)
      yield* Layer.buildWithScope(layer(), two)
      assert.deepStrictEqual(names(registry), metrics.map(({ name }) => name).sort())
      yield* Scope.close(one, Exit.void)
      for (const [at, metric] of registry.getMetricsAsArray().entries()) assert.strictEqual(metric, metrics[at])
      assert.isAbove(registry.getMetricsAsArray().length, 30)
      yield* Scope.close(two, Exit.void)
      assert.deepStrictEqual(names(registry), [])
      yield* opened(registry)
      assert.strictEqual(registry.getMetricsAsArray().length, metrics.length)
    })
  )

  it.scopedLive("says that the options of the first hold, where those of a second are other ones", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const warnings: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => warnings.push(String(message)))
      )
      yield* opened(registry, { labels: { zone: "a", shard: 1 } })
      yield* Effect.provide(opened(registry, { labels: { zone: "a", shard: 1 } }), logger)
      yield* Effect.provide(opened(registry, { labels: { shard: "1", zone: "a" }, prefix: "" }), logger)
      assert.deepStrictEqual(warnings, [])
      yield* Effect.provide(opened(registry, { labels: { zone: "b", shard: 1 } }), logger)
      assert.match(warnings.join(), /these options are ignored/)
      // Another prefix is no clash.
      yield* Effect.provide(opened(registry, { prefix: "b_" }), logger)
      assert.strictEqual(warnings.length, 1)
      const [version] = (yield* got(registry)).filter(({ name }) => name === "nodejs_version_info")
      assert.propertyVal(version?.values[0]?.labels, "zone", "a")
    })
  )

  it.scopedLive("leaves metrics that replaced its own, and accepts a registry that was cleared", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const [one, two] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.extend(opened(registry), one)
      const all = names(registry)
      registry.clear()
      assert.deepStrictEqual(yield* got(registry), [])
      const mine = new PromClient.Gauge({ name: "process_open_fds", help: "h", registers: [registry] })
      yield* Scope.extend(opened(registry), two)
      assert.deepStrictEqual(names(registry), all)
      assert.strictEqual(registry.getSingleMetric("process_open_fds"), mine)
      yield* Scope.close(two, Exit.void)
      yield* Scope.close(one, Exit.void)
      assert.deepStrictEqual(registry.getMetricsAsArray(), [mine as never])
    })
  )

  it.scopedLive("does not keep a scrape from its end that runs while it closes", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const scope = yield* Scope.make()
      yield* Scope.extend(opened(registry), scope)
      const scrape = Effect.runPromise(
        Effect.provideService(Exposition.render({}), Registry.Registry, registry).pipe(Effect.map(({ body }) => body))
      )
      yield* Scope.close(scope, Exit.void)
      assert.match(String(yield* Effect.promise(() => scrape)), /^$|process_/)
    })
  )

  it.scopedLive("leaves nothing on a registry that refuses a metric, and names it", () =>
    Effect.gen(function* () {
      class Full extends PromClient.Registry {
        override registerMetric(metric: never): void {
          if ((metric as { name: string }).name === "nodejs_version_info")
            throw new Error("no room for nodejs_version_info")
          super.registerMetric(metric)
        }
      }
      const registry = new Full()
      const error = yield* Effect.flip(opened(registry))
      assert.strictEqual(error.reason, "Registry")
      assert.include(error.message, "no room for nodejs_version_info")
      assert.deepStrictEqual(names(registry), [])
      const without = Object.assign(new PromClient.Registry(), { removeSingleMetric: undefined })
      assert.include((yield* Effect.flip(opened(without as never))).message, "removeSingleMetric")
    })
  )

  it.scopedLive("takes its options from configuration", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      const layer = DefaultMetrics.layerConfig({
        prefix: Config.string("PREFIX"),
        gcDurationBuckets: Config.array(Config.number(), "BUCKETS"),
        labels: Config.all({ zone: Config.string("ZONE") }),
        eventLoopMonitoringPrecision: Config.duration("PRECISION")
      })
      const given = new Map([
        ["PREFIX", "app_"],
        ["BUCKETS", "0.5,1"],
        ["ZONE", "a"],
        ["PRECISION", "20 millis"]
      ])
      yield* Layer.build(layer).pipe(
        Effect.provideService(Registry.Registry, registry),
        Effect.withConfigProvider(ConfigProvider.fromMap(given))
      )
      const gc = (yield* got(registry)).find(({ name }) => name === "app_nodejs_gc_duration_seconds")
      const bounds = new Set(gc?.values.flatMap(({ labels }) => ("le" in labels ? [labels["le"]] : [])))
      assert.deepStrictEqual([...bounds], [0.5, 1, "+Inf"])
      assert.propertyVal(gc?.values[0]?.labels, "zone", "a")
    })
  )

  const wrong: ReadonlyArray<readonly [string, object | null]> = [
    ["prefix", { prefix: "a-b" }],
    ["prefix", { prefix: 1 }],
    ["labels.kind", { labels: { kind: "a" } }],
    ["labels.le", { labels: { le: "a" } }],
    ["labels.__name__", { labels: { __name__: "a" } }],
    ["labels.a.b", { labels: { "a.b": "a" } }],
    ["labels.a", { labels: { a: {} } }],
    ["labels", { labels: ["a"] }],
    ["gcDurationBuckets", { gcDurationBuckets: [] }],
    ["gcDurationBuckets", { gcDurationBuckets: [1, 1] }],
    ["gcDurationBuckets", { gcDurationBuckets: Object.assign(new Array(2), { 1: 1 }) }],
    ["gcDurationBuckets", { gcDurationBuckets: Object.assign(new Array(2), { 0: 1 }) }],
    ["gcDurationBuckets", { gcDurationBuckets: [0.1, Number.POSITIVE_INFINITY] }],
    ["eventLoopMonitoringPrecision", { eventLoopMonitoringPrecision: "0 millis" }],
    ["eventLoopMonitoringPrecision", { eventLoopMonitoringPrecision: 1.5 }],
    ["eventLoopMonitoringPrecision", { eventLoopMonitoringPrecision: "2 minutes" }],
    ["prefix", { prefx: "a_" }],
    ["options", null]
  ]
  for (const [option, options] of wrong) {
    it.scopedLive(`refuses ${JSON.stringify(options)} and names ${option}`, () =>
      Effect.gen(function* () {
        const registry = new PromClient.Registry()
        const error = yield* Effect.flip(opened(registry, options as never))
        assert.instanceOf(error, DefaultMetrics.DefaultMetricsError)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, option)
        assert.instanceOf(error.cause, RangeError)
        assert.deepStrictEqual(names(registry), [])
      })
    )
  }
})

describe("In a process of its own", () => {
  it.live("each garbage collection is observed by its kind, nothing is left after a thousand layers, and it ends", () =>
    Effect.gen(function* () {
      const { code, lingered, stderr, stdout } = yield* runFixture("defaultMetrics.mjs", { execArgv: ["--expose-gc"] })
      assert.strictEqual(code, 0, stderr)
      const seen = JSON.parse(stdout)
      assert.isAtLeast(seen.major, 5)
      assert.isAtMost(seen.major, 30)
      assert.isAbove(seen.seconds, 0)
      assert.deepStrictEqual(seen.left, [])
      assert.strictEqual(seen.observers, 0)
      assert.deepStrictEqual([seen.before, seen.open, seen.after], [0, 1, 0])
      assert.isBelow(seen.growth, 4 * 2 ** 20)
      assert.isBelow(lingered, 5_000)
    })
  )
})
