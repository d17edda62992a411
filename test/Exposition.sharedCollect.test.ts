import { setImmediate as nextTurn } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Scope, TestClock } from "effect"
import { Counter, Gauge, Histogram, Registry as PromRegistry, Summary } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import type { Format } from "./support/arbitraryRegistries.js"
import { arrivals } from "./support/blockedCollector.js"
import { contentTypes, formats, logged, renderedOnce } from "./support/expositions.js"
import { eventually, get } from "./support/httpClient.js"
import { errors } from "./support/metrics.js"
import { inPatientWorker, inThisThread, started } from "./support/servers.js"

interface Slow {
  readonly registry: PromRegistry
  /** How often each metric was asked. */
  readonly asked: Map<string, number>
  /** When the first of them was asked. */
  readonly reached: Effect.Effect<void>
  /** Releases all of them, also later ones. */
  readonly open: Effect.Effect<void>
  /** From now on they wait again. */
  readonly shut: Effect.Effect<void>
  /** Whether they fail, after they have waited. */
  fails: boolean
}

/** Metrics of each type that reset themselves, wait, and record again: two at the same time would record twice. */
const slow: Effect.Effect<Slow> = Effect.gen(function* () {
  const registry = new PromRegistry()
  const asked = new Map<string, number>()
  const gate = { reached: yield* Deferred.make<void>(), opened: yield* Deferred.make<void>() }
  const made: Slow = {
    registry,
    asked,
    reached: Effect.suspend(() => Deferred.await(gate.reached)),
    open: Effect.suspend(() => Deferred.succeed(gate.opened, undefined)),
    shut: Effect.gen(function* () {
      asked.clear()
      gate.reached = yield* Deferred.make<void>()
      gate.opened = yield* Deferred.make<void>()
    }),
    fails: false
  }
  const waited = (name: string) => {
    asked.set(name, (asked.get(name) ?? 0) + 1)
    const { opened, reached } = gate
    return Effect.runPromise(Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(opened))).then(() => {
      if (made.fails) throw new Error("held back")
    })
  }
  const options = { help: "h", labelNames: ["room"], registers: [registry] }
  new Counter({
    ...options,
    name: "m_visits_total",
    async collect() {
      this.reset()
      await waited("m_visits_total")
      this.inc({ room: "a" }, 2)
    }
  })
  new Gauge({
    ...options,
    name: "m_people",
    async collect() {
      this.reset()
      await waited("m_people")
      this.inc({ room: "a" }, 3)
    }
  })
  new Gauge({
    help: "h",
    registers: [registry],
    name: "m_rooms",
    async collect() {
      this.set(0)
      await waited("m_rooms")
      this.inc(4)
    }
  })
  new Histogram({
    ...options,
    name: "m_stay_seconds",
    buckets: [1],
    async collect() {
      this.reset()
      await waited("m_stay_seconds")
      this.observe({ room: "a" }, 0.5)
    }
  })
  new Summary({
    ...options,
    name: "m_wait_seconds",
    percentiles: [0.5],
    async collect() {
      this.reset()
      await waited("m_wait_seconds")
      this.observe({ room: "a" }, 0.25)
    }
  })
  return made
})

const families = ["m_visits_total", "m_people", "m_rooms", "m_stay_seconds", "m_wait_seconds"]

/** The samples of these metrics, which an exposition may have among others. */
const samples = (body: string): ReadonlyArray<string> => body.split("\n").filter((line) => line.startsWith("m_"))

/** The expected bodies, whatever else is requested at the same time. */
const right: ReadonlyArray<string> = [
  'm_visits_total{room="a"} 2',
  'm_people{room="a"} 3',
  "m_rooms 4",
  'm_stay_seconds_bucket{le="1",room="a"} 1',
  'm_stay_seconds_bucket{le="+Inf",room="a"} 1',
  'm_stay_seconds_sum{room="a"} 0.5',
  'm_stay_seconds_count{room="a"} 1',
  'm_wait_seconds{quantile="0.5",room="a"} 0.25',
  'm_wait_seconds_sum{room="a"} 0.25',
  'm_wait_seconds_count{room="a"} 1'
]

const rightOf = (names: ReadonlyArray<string> = families): ReadonlyArray<string> =>
  right.filter((line) => names.some((name) => line.startsWith(name)))

/** Waits until so many scrapes are, of whatever serves that registry. */
const areInFlight = (registry: PromRegistry, count: number) =>
  eventually(`${count} are in flight`, async () => {
    const gauge = registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge | undefined
    return (await gauge?.get())?.values[0]?.value === count
  })

interface Asking {
  readonly body: Effect.Effect<string>
  readonly names?: ReadonlyArray<string>
}

interface Askings {
  readonly asks: ReadonlyArray<Asking>
  /** How many of them come to a server of this thread. */
  readonly arriving?: number
  /** When those that come to another thread are there. */
  readonly arrived?: Effect.Effect<unknown>
}

const inProcess = (registry: Registry.MetricRegistry, format: Format, names?: ReadonlyArray<string>): Asking => ({
  body: Effect.map(Effect.orDie(renderedOnce(registry, { accept: contentTypes[format], names })), ({ body }) => body),
  ...(names && { names })
})

const overHttp = (url: string, accept: string, headers: Readonly<Record<string, string>> = {}): Asking => ({
  body: Effect.map(get(url, { headers: { accept, ...headers } }), ({ body, status }) => {
    assert.strictEqual(status, 200, body)
    return body
  })
})

const served = (registry: PromRegistry) => started(inThisThread, { onError: "fail" }, { registry })

const ways: ReadonlyArray<{
  readonly title: string
  readonly ask: (registry: PromRegistry) => Effect.Effect<Askings, unknown, Scope.Scope>
}> = [
  {
    title: "two formats",
    ask: (registry) => Effect.succeed({ asks: formats.map((format) => inProcess(registry, format)) })
  },
  {
    title: "all families, some, and one",
    ask: (registry) =>
      Effect.succeed({
        asks: [
          inProcess(registry, "text"),
          inProcess(registry, "text", families.slice(0, 3)),
          inProcess(registry, "openmetrics", ["m_wait_seconds"])
        ]
      })
  },
  {
    title: "requests to a server in two formats, and for names",
    ask: (registry) =>
      Effect.map(served(registry), ({ url }) => ({
        asks: [
          ...formats.map((format) => overHttp(url, contentTypes[format])),
          {
            ...overHttp(`${url}?name[]=m_people&name[]=m_stay_seconds`, "*/*"),
            names: ["m_people", "m_stay_seconds"]
          }
        ],
        arriving: 3
      }))
  },
  {
    title: "requests to a server that wait for different times",
    ask: (registry) =>
      Effect.map(served(registry), ({ url }) => ({
        asks: [10, 15, 20].map((seconds) =>
          overHttp(url, "*/*", { "x-prometheus-scrape-timeout-seconds": String(seconds) })
        ),
        arriving: 3
      }))
  },
  {
    title: "a HEAD in one format and a GET in the other one",
    ask: (registry) =>
      Effect.map(served(registry), ({ url }) => ({
        asks: [
          { body: Effect.as(get(url, { method: "HEAD" }), ""), names: [] },
          overHttp(url, contentTypes.openmetrics)
        ],
        arriving: 2
      }))
  },
  {
    title: "a server that fails and one that continues",
    ask: (registry) =>
      Effect.map(Effect.all([served(registry), started(inThisThread, {}, { registry })]), (servers) => ({
        asks: servers.map(({ url }) => overHttp(url, "*/*")),
        arriving: 2
      }))
  },
  {
    title: "a handler in the application, a server in this thread and one in a worker thread",
    ask: (registry) =>
      Effect.gen(function* () {
        const handler = yield* Effect.provideService(
          Exposition.webHandler({ onError: "fail" }),
          Registry.Registry,
          registry
        )
        const server = yield* served(registry)
        const worker = yield* started(inPatientWorker, { onError: "fail" }, { registry })
        return {
          asks: [
            { body: Effect.promise(() => handler(new Request("http://localhost/metrics")).then((it) => it.text())) },
            overHttp(server.url, contentTypes.openmetrics),
            overHttp(worker.url, "*/*")
          ],
          arriving: 1,
          // The worker asks this thread in the turn after it has announced the scrape, and before it answers this.
          arrived: Effect.zipRight(areInFlight(registry, 3), get(worker.healthUrl))
        }
      })
  },
  {
    title: "two registries that share the metrics",
    ask: (registry) => {
      const other = new PromRegistry()
      for (const name of families) other.registerMetric(registry.getSingleMetric(name) as never)
      return Effect.succeed({ asks: [inProcess(registry, "text"), inProcess(other, "openmetrics")] })
    }
  },
  {
    title: "a registry and one that it was merged into",
    ask: (registry) => {
      const other = new PromRegistry()
      new Gauge({ name: "other", help: "h", registers: [other] })
      const merged = PromRegistry.merge([other, registry])
      return Effect.succeed({ asks: [inProcess(registry, "text"), inProcess(merged, "text")] })
    }
  }
]

/** Waits until all of them wait for the registry. */
const asking = ({ arrived = Effect.void, arriving = 0, asks }: Askings, { reached }: Slow) =>
  Effect.gen(function* () {
    const come = yield* arrivals
    const answers = yield* Effect.forkScoped(
      Effect.all(
        asks.map(({ body }) => body),
        { concurrency: "unbounded" }
      )
    )
    yield* reached
    yield* arrived
    yield* come(arriving)
    return answers
  })

describe("One reading of a metric that resets itself, waits and records", () => {
  for (const { ask, title } of ways) {
    it.scopedLive(`serves ${title}: each answer is right`, () =>
      logged(function* () {
        const made = yield* slow
        yield* made.open
        const askings = yield* ask(made.registry)
        for (let time = 0; time < 2; time += 1) {
          yield* made.shut
          const answers = yield* asking(askings, made)
          yield* made.open
          for (const [index, body] of (yield* Fiber.join(answers)).entries()) {
            assert.deepStrictEqual(samples(body), rightOf(askings.asks[index]?.names), `answer ${index}`)
          }
          assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
        }
      })
    )

    it.scopedLive(`that fails is a failure for ${title}, counted once; the next one may succeed`, () =>
      logged(function* () {
        const made = yield* slow
        yield* made.open
        const { asks, ...others } = yield* ask(made.registry)
        const exits = asks.map(({ body }) => ({
          body: Effect.map(Effect.exit(body), (exit) => (Exit.isSuccess(exit) ? exit.value : ""))
        }))
        yield* made.shut
        made.fails = true
        const answers = yield* asking({ ...others, asks: exits }, made)
        yield* made.open
        for (const body of yield* Fiber.join(answers)) assert.deepStrictEqual(samples(body), [])
        assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
        assert.deepStrictEqual(yield* Effect.promise(() => errors(made.registry)), { collect: 5 })
        made.fails = false
        for (const { body } of asks.slice(1)) yield* body
        assert.deepStrictEqual(samples((yield* renderedOnce(made.registry)).body), right)
      })
    )
  }

  it.scopedLive("continues for the other requests when one has timed out", () =>
    logged(function* () {
      const made = yield* slow
      const options = { onError: "fail", scrapeTimeout: "20 seconds" } as const
      const { url } = yield* started(inThisThread, options, { registry: made.registry })
      const others = yield* asking({ asks: [overHttp(url, contentTypes.openmetrics)], arriving: 1 }, made)
      const impatient = { headers: { "x-prometheus-scrape-timeout-seconds": "0.1" } }
      assert.strictEqual((yield* get(url, impatient)).status, 503)
      assert.strictEqual((yield* get(`${url}?name[]=m_people`, impatient)).status, 503)
      yield* made.open
      for (const body of yield* Fiber.join(others)) assert.deepStrictEqual(samples(body), right)
      assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
    })
  )

  it.scopedLive("continues for the other requests when one render is interrupted", () =>
    Effect.gen(function* () {
      const made = yield* slow
      const first = yield* asking({ asks: [inProcess(made.registry, "text")] }, made)
      const others = yield* asking({ asks: [inProcess(made.registry, "openmetrics")] }, made)
      yield* Fiber.interrupt(first)
      yield* made.open
      for (const body of yield* Fiber.join(others)) assert.deepStrictEqual(samples(body), right)
      assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
    })
  )

  it.scopedLive("is what the next one waits for where all who have asked have gone", () =>
    Effect.gen(function* () {
      const made = yield* slow
      for (const format of formats) {
        yield* Fiber.interrupt(yield* asking({ asks: [inProcess(made.registry, format)] }, made))
      }
      const next = yield* asking({ asks: [inProcess(made.registry, "text")] }, made)
      yield* made.open
      for (const body of yield* Fiber.join(next)) assert.deepStrictEqual(samples(body), right)
      assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
      yield* renderedOnce(made.registry)
      assert.deepStrictEqual([...made.asked.values()], [2, 2, 2, 2, 2])
    })
  )

  it.scopedLive(
    "that is over is not used for a render that begins later, while an earlier one still waits for others",
    () =>
      Effect.gen(function* () {
        const made = yield* slow
        const quick = new Gauge({
          name: "m_quick",
          help: "h",
          registers: [made.registry],
          async collect() {
            await nextTurn()
            this.inc()
          }
        })
        const first = yield* asking({ asks: [inProcess(made.registry, "text")] }, made)
        assert.strictEqual((yield* Effect.promise(() => quick.get())).values[0]?.value, 2)
        const second = yield* asking({ asks: [inProcess(made.registry, "openmetrics")] }, made)
        yield* made.open
        const bodies = [...(yield* Fiber.join(first)), ...(yield* Fiber.join(second))]
        assert.deepStrictEqual(
          bodies.map((body) => samples(body).at(-1)),
          ["m_quick 1", "m_quick 3"]
        )
        assert.deepStrictEqual([...made.asked.values()], [1, 1, 1, 1, 1])
      })
  )

  it.scopedLive("serves formats of one handler that are asked for at the same time, however short it is", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      let asked = 0
      new Counter({
        name: "m_total",
        help: "h",
        registers: [registry],
        async collect() {
          asked += 1
          this.reset()
          await Promise.resolve()
          this.inc(2)
        }
      })
      const handler = yield* Effect.provideService(Exposition.webHandler(), Registry.Registry, registry)
      // What answers is loaded with the first request.
      yield* Effect.promise(() => handler(new Request("http://localhost/metrics")))
      asked = 0
      const bodies = yield* Effect.promise(() =>
        Promise.all(
          formats.map(async (format) => {
            const headers = { accept: contentTypes[format] }
            return (await handler(new Request("http://localhost/metrics", { headers }))).text()
          })
        )
      )
      assert.deepStrictEqual(bodies.map(samples), [["m_total 2"], ["m_total 2"]])
      assert.strictEqual(asked, 1)
    })
  )

  for (const labelNames of [[], ["room"]] as const) {
    it.scoped(`is one run of the effect of a gauge ${labelNames.length === 0 ? "without" : "with"} labels`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        let runs = 0
        const value = Effect.suspend(() => {
          runs += 1
          const now = runs
          return Effect.delay(
            Effect.succeed(labelNames.length === 0 ? now : [{ labels: { room: "a" }, value: now }]),
            "1 minute"
          )
        }) as Effect.Effect<never>
        const options = { name: "m_effect", help: "h", labelNames, value, timeout: "1 hour" } as const
        yield* Effect.provideService(Registry.gaugeEffect(options), Registry.Registry, registry)
        const shown = labelNames.length === 0 ? "m_effect" : 'm_effect{room="a"}'
        for (const time of [1, 2]) {
          const asks = formats.map((format) => inProcess(registry, format).body)
          const answers = yield* Effect.fork(Effect.all(asks, { concurrency: "unbounded" }))
          const direct = registry.metrics()
          for (let turn = 0; turn < 3; turn += 1) yield* Effect.promise(() => nextTurn())
          yield* TestClock.adjust("1 minute")
          const bodies = [...(yield* Fiber.join(answers)), yield* Effect.promise(() => direct)]
          for (const body of bodies) assert.deepStrictEqual(samples(body), [`${shown} ${time}`])
          assert.strictEqual(runs, time)
        }
      })
    )
  }
})
