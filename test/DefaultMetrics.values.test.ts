import { execFileSync } from "node:child_process"
import { closeSync, openSync, readdirSync, readFileSync, stat } from "node:fs"
import { createServer } from "node:net"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import { vi } from "vitest"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as Registry from "../src/Registry.js"
import { blockThread } from "./support/blockedThread.js"
import { runFixture } from "./support/childProcess.js"
import { listen } from "./support/listen.js"
import { assertInTime, itInTime } from "./support/timing.js"

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A registry that has the metrics of the process, and nothing else. */
const opened = (options?: DefaultMetrics.Options) =>
  Effect.gen(function* () {
    const registry = new PromClient.Registry()
    yield* Effect.provideService(DefaultMetrics.make(options), Registry.Registry, registry)
    return registry
  })

/** The series of a metric, requested before this yields, so that nothing happens meanwhile. */
const asked = (registry: PromClient.Registry, name: string): Promise<ReadonlyArray<Series>> =>
  (registry.getSingleMetric(name) as unknown as { get(): Promise<{ values: ReadonlyArray<Series> }> })
    .get()
    .then(({ values }) => values)

const one = async (values: Promise<ReadonlyArray<Series>>): Promise<number> => (await values)[0]?.value ?? Number.NaN

/** Asserts that the value is between those of a reference that is read before and after it. */
const between = (registry: PromClient.Registry, name: string, reference: () => number) =>
  Effect.promise(async () => {
    const before = reference()
    const value = one(asked(registry, name))
    const after = reference()
    assert.isAtLeast(await value, before, name)
    assert.isAtMost(await value, after, name)
    return after
  })

const near = (actual: number, expected: number, tolerance: number, what: string): void =>
  assert.isAtMost(Math.abs(actual - expected), tolerance, `${what}: ${actual} is not ${expected}`)

const megabyte = 2 ** 20

const isLinux = process.platform === "linux"

/** Sizes in bytes as Linux reports them: all, those in memory, and those of data and stack. */
const pages = () => {
  const size = Number(execFileSync("getconf", ["PAGESIZE"]))
  const [all = 0, resident = 0, , , , data = 0] = readFileSync("/proc/self/statm", "utf8").split(" ").map(Number)
  return { all: all * size, resident: resident * size, data: data * size }
}

describe("Each value agrees with another source:", () => {
  it.scopedLive("CPU time, as the usage of resources", () =>
    Effect.gen(function* () {
      // So that the two are not the same.
      for (let turn = 0; turn < 2_000; turn += 1) readdirSync("/")
      blockThread(100)
      // What is read for one of them serves the others.
      const checked = (name: string, reference: () => number) =>
        Effect.flatMap(opened(), (registry) => between(registry, `process_cpu_${name}_total`, reference))
      const usage = () => process.resourceUsage()
      const user = yield* checked("user_seconds", () => usage().userCPUTime / 1e6)
      const system = yield* checked("system_seconds", () => usage().systemCPUTime / 1e6)
      assert.isAbove(Math.abs(user - system), 0.05)
      yield* checked("seconds", () => (usage().userCPUTime + usage().systemCPUTime) / 1e6)
    })
  )

  it.scopedLive("what was read for another metric is not reused when it is old", () =>
    Effect.gen(function* () {
      const registry = yield* opened()
      const before = yield* Effect.promise(() => one(asked(registry, "process_cpu_user_seconds_total")))
      const spent = process.resourceUsage()
      // More than that much of the processor, however busy the machine is.
      while (process.resourceUsage().userCPUTime < spent.userCPUTime + 150_000);
      const all = yield* Effect.promise(() => one(asked(registry, "process_cpu_seconds_total")))
      assert.isAtLeast(all, before + spent.systemCPUTime / 1e6 + 0.15)
    })
  )

  if (isLinux) {
    it.scopedLive("the start of the process, as /proc/self/stat, also when the clock changes", () =>
      Effect.gen(function* () {
        const registry = yield* opened()
        const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]?.split(" ") ?? []
        const ticks = Number(execFileSync("getconf", ["CLK_TCK"]))
        const booted = Date.now() / 1e3 - Number(readFileSync("/proc/uptime", "utf8").split(" ")[0])
        const started = yield* Effect.promise(() => one(asked(registry, "process_start_time_seconds")))
        near(started, booted + Number(fields[19]) / ticks, 1, "start")
        vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 })
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.useRealTimers()))
        assert.strictEqual(yield* Effect.promise(() => one(asked(registry, "process_start_time_seconds"))), started)
      })
    )

    it.scopedLive("the memory of the process, as /proc/self/statm, and it follows", () =>
      Effect.gen(function* () {
        const registry = yield* opened()
        const checked = () =>
          Effect.promise(async () => {
            const { all, data, resident } = pages()
            const names = [
              "process_virtual_memory_bytes",
              "process_resident_memory_bytes",
              "process_heap_bytes"
            ] as const
            const [virtual = 0, held = 0, heap = 0] = await Promise.all(names.map((name) => one(asked(registry, name))))
            near(virtual, all, 16 * megabyte, "virtual")
            near(held, resident, 16 * megabyte, "resident")
            // Theirs has the stack as well.
            near(heap, data, 16 * megabyte, "data")
            return { virtual, held, heap }
          })
        const before = yield* checked()
        const much = Buffer.alloc(96 * megabyte, 1)
        const after = yield* checked()
        assert.strictEqual(much.length, 96 * megabyte)
        for (const key of ["virtual", "held", "heap"] as const)
          assert.isAbove(after[key] - before[key], 64 * megabyte, key)
      })
    )

    it.scopedLive("file descriptors, as the shell reports them and after some are opened", () =>
      Effect.gen(function* () {
        const registry = yield* opened()
        const count = () => Effect.promise(() => one(asked(registry, "process_open_fds")))
        const listed = () => readdirSync("/proc/self/fd").length - 1
        const before = listed()
        assert.strictEqual(yield* count(), before)
        const all = Array.from({ length: 20 }, () => openSync("/dev/null", "r"))
        const during = yield* count()
        for (const descriptor of all) closeSync(descriptor)
        near(during, before + 20, 5, "descriptors")
        const limit = Number(execFileSync("sh", ["-c", "ulimit -n"]))
        assert.strictEqual(yield* Effect.promise(() => one(asked(registry, "process_max_fds"))), limit)
      })
    )
  }

  it.scopedLive("V8's heap, as V8", () =>
    Effect.gen(function* () {
      const registry = yield* opened()
      const checked = () =>
        Effect.promise(async () => {
          const { heap_size_limit, total_heap_size, used_heap_size } = getHeapStatistics()
          const { external } = process.memoryUsage()
          const names = ["size_total", "size_used", "size_limit"].map((name) => `nodejs_heap_${name}_bytes`)
          const asking = [...names, "nodejs_external_memory_bytes"].map((name) => one(asked(registry, name)))
          const [total = 0, used = 0, limit = 0, outside = 0] = await Promise.all(asking)
          near(total, total_heap_size, megabyte, "total")
          near(used, used_heap_size, megabyte, "used")
          assert.strictEqual(limit, heap_size_limit)
          near(outside, external, megabyte, "external")
          return outside
        })
      // What the tests before left behind may be collected during one of these, and outweigh it.
      const held: Array<Buffer> = []
      const grown: Array<number> = []
      while (held.length < 4) {
        const before = yield* checked()
        held.push(Buffer.alloc(32 * megabyte))
        grown.push((yield* checked()) - before)
      }
      assert.isAbove(Math.max(...grown), 24 * megabyte, grown.join())
      assert.strictEqual(held.length, 4)
    })
  )

  it.scopedLive("the spaces of V8's heap, as V8", () =>
    Effect.gen(function* () {
      const fields = { total: "space_size", used: "space_used_size", available: "space_available_size" } as const
      const tolerance = megabyte / 4
      for (const which of ["total", "used", "available"] as const) {
        // What was read for one of them would serve the next, and be older than what it is compared with.
        const registry = yield* opened()
        const before = getHeapSpaceStatistics()
        const asking = asked(registry, `nodejs_heap_space_size_${which}_bytes`)
        const after = getHeapSpaceStatistics()
        const series = yield* Effect.promise(() => asking)
        const values = new Map(series.map(({ labels, value }) => [`${labels["space"]}_space`, value]))
        assert.sameMembers(
          [...values.keys()],
          before.map(({ space_name }) => space_name)
        )
        let isToldApart = 0
        const others: Array<string> = []
        for (const [at, space] of before.entries()) {
          const name = space.space_name
          const [first, last] = [space[fields[which]], after[at]?.[fields[which]] ?? Number.NaN]
          // Between the two a collection may have come.
          if (Math.abs(first - last) > tolerance) continue
          if (!(Math.abs((values.get(name) ?? Number.NaN) - first) <= tolerance)) others.push(name)
          isToldApart += Object.values(fields).filter((field) => Math.abs(space[field] - first) > 2 * tolerance).length
        }
        assert.isAtLeast(isToldApart, 2)
        // One may have been collected while it was read.
        assert.isAtMost(others.length, 1, others.join())
      }
    })
  )

  it.scopedLive("what keeps the event loop alive, after resources are started", () =>
    Effect.gen(function* () {
      const registry = yield* opened()
      const counted = async (name: string) => {
        const [series, total] = [
          asked(registry, `nodejs_active_${name}`),
          asked(registry, `nodejs_active_${name}_total`)
        ]
        const byType = new Map((await series).map(({ labels, value }) => [labels["type"], value]))
        assert.strictEqual(
          await one(total),
          [...byType.values()].reduce((sum, value) => sum + value, 0)
        )
        return byType
      }
      const all = () =>
        Effect.promise(async () => {
          const [resources, handles, requests] = ["resources", "handles", "requests"].map(counted)
          return { resources: await resources, handles: await handles, requests: await requests }
        })
      const before = yield* all()
      yield* listen(createServer())
      const timers = [1, 2, 3].map(() => setTimeout(() => {}, 60_000))
      for (let request = 0; request < 5; request += 1) stat("/", () => {})
      const during = yield* all()
      for (const timer of timers) clearTimeout(timer)
      const more = (kind: keyof typeof during, type: string) =>
        (during[kind]?.get(type) ?? 0) - (before[kind]?.get(type) ?? 0)
      assert.isAtLeast(more("resources", "Timeout"), 3)
      assert.strictEqual(more("resources", "TCPServerWrap"), 1)
      assert.strictEqual(more("handles", "Server"), 1)
      assert.isAtLeast(more("requests", "FSReqCallback"), 1)
      assert.isFalse(during.handles?.has("FSReqCallback"))
      assert.isFalse(during.requests?.has("Server"))
    })
  )

  it.scopedLive("the version of Node.js", () =>
    Effect.gen(function* () {
      const registry = yield* opened({ labels: { zone: "a" } })
      const [major = "", minor = "", patch = ""] = process.versions.node.split(".")
      const labels = { version: `v${process.versions.node}`, major, minor, patch, zone: "a" }
      assert.deepStrictEqual(
        (yield* Effect.promise(() => asked(registry, "nodejs_version_info"))).map((series) => ({ ...series })),
        [{ labels, value: 1 }]
      )
    })
  )

  it.scopedLive("the time that the event loop was busy, as perf_hooks", () =>
    Effect.gen(function* () {
      const registry = yield* opened()
      blockThread(20)
      const active = () => performance.eventLoopUtilization().active / 1e3
      yield* between(registry, "nodejs_eventloop_active_seconds_total", active)
    })
  )

  itInTime("how late the event loop is, as a monitor of its own", function* () {
    const registry = yield* opened()
    const monitor = monitorEventLoopDelay({ resolution: 10 })
    monitor.enable()
    yield* Effect.addFinalizer(() => Effect.sync(() => monitor.disable()))
    // Most are on time, some are late, and a few are very late: each of the numbers is another one.
    for (let turn = 0; turn < 60; turn += 1) {
      yield* Effect.sleep("15 millis")
      if (turn % 5 === 0) blockThread(50)
      if (turn === 30) blockThread(300)
    }
    yield* Effect.sleep("30 millis")
    const keys = ["min", "max", "mean", "stddev", "p50", "p90", "p99"] as const
    const names = keys.map((key) => `nodejs_eventloop_lag_${key}_seconds`)
    const values = yield* Effect.promise(() => Promise.all(names.map((name) => one(asked(registry, name)))))
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - 0.01)
    const { max, mean, min, stddev } = monitor
    const [p50, p90, p99] = [50, 90, 99].map((percentile) => late(monitor.percentile(percentile)))
    const expected = [late(min), late(max), late(mean), stddev / 1e9, p50, p90, p99]
    for (const [at, value] of values.entries()) {
      const other = expected[at] ?? Number.NaN
      assertInTime(Math.abs(value - other) < 0.005, `${keys[at]}: ${value} is not ${other}`)
      assert.isAtLeast(value, 0)
    }
    console.log(keys.map((key, at) => `${key} ${(values[at] ?? 0).toFixed(4)}`).join(" "))
  })

  it.live("of garbage collections, and each is observed by its kind, as by an observer of its own", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runFixture("garbageCollections.mjs", { execArgv: ["--expose-gc"] })
      assert.strictEqual(code, 0, stderr)
      const { observed, seen } = JSON.parse(stdout)
      assert.deepStrictEqual(observed, seen)
      for (const kind of ["major", "minor", "incremental"]) assert.isAtLeast(seen[kind].count, 1, kind)
      assert.isAbove(seen.major.sum, 0)
      console.log(stdout.trim())
    })
  )
})

describe("How late the event loop is", () => {
  it.live("covers the last one to two minutes, with two monitors at most, and keeps no process alive", () =>
    Effect.gen(function* () {
      const { code, lingered, stderr, stdout } = yield* runFixture("eventLoopMonitors.mjs")
      assert.strictEqual(code, 0, stderr)
      const { beside, most, refused, timers } = JSON.parse(stdout)
      console.log(stdout.trim())
      assert.isAtLeast(most[0], 0.2)
      assert.isAtLeast(most[1], 0.2)
      // It is another one's: the exact number would not come again.
      assert.notStrictEqual(most[2], most[0])
      assert.deepStrictEqual(timers, [0, 1, 2, 2, 2, 0])
      assert.deepStrictEqual(refused, [true, 0])
      // If others registered all of these metrics, no monitor is needed.
      assert.deepStrictEqual(beside[0], beside[1])
      assert.isBelow(lingered, 5_000)
    })
  )
})
