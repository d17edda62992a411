/** Which metrics an exposition names as missing: `effect_prometheus_collect_failed`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, type Scope } from "effect"
import { Counter, Gauge, Histogram, Registry as PromRegistry } from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import type * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import { contentTypes, formats, logged, parsers, renderedOnce } from "./support/expositions.js"
import { get } from "./support/httpClient.js"
import { mounts } from "./support/mounts.js"
import { inThisThread, serverKinds, someMetrics, started } from "./support/servers.js"
import { assertInTime, itInTime } from "./support/timing.js"

type Format = "text" | "openmetrics"

const name = "effect_prometheus_collect_failed"

interface Scraped {
  readonly status: number
  readonly body: string
  /** The metrics that it names as missing. */
  readonly failed: ReadonlyArray<string>
}

type Scrape = (query?: string, format?: Format) => Effect.Effect<Scraped>

const scraped = (status: number, body: string, format: Format): Scraped => {
  assertInTime(!body.startsWith("the scrape timed out before collecting "), body)
  const family = status === 200 ? parsers[format](body).find((one) => one.name === name) : undefined
  const samples = family?.samples ?? []
  for (const { labels, value } of samples) assert.deepStrictEqual([[...labels.keys()], value], [["metric"], 1])
  return { status, body, failed: samples.map(({ labels }) => labels.get("metric") ?? "") }
}

interface Endpoint {
  readonly title: string
  readonly open: (
    registry: PromRegistry,
    options?: Exposition.ServeOptions
  ) => Effect.Effect<Scrape, never, Scope.Scope>
}

const headersOf = (format: Format) => ({ headers: { accept: contentTypes[format] } })

const servers: ReadonlyArray<Endpoint> = serverKinds.map((kind) => ({
  title: `a metrics server ${kind.name}`,
  open: (registry, options = {}) =>
    Effect.map(
      Effect.orDie(started(kind, options, { registry })),
      ({ url }) =>
        (query = "", format = "text") =>
          Effect.map(get(`${url}${query}`, headersOf(format)), ({ body, status }) => scraped(status, body, format))
    )
}))

const endpoints: ReadonlyArray<Endpoint> = [
  ...servers,
  ...mounts.map(({ name, start }) => ({
    title: `an application with ${name}`,
    open: (registry: PromRegistry, options?: Exposition.ServeOptions) =>
      Effect.map(
        start(registry, options),
        (ask): Scrape =>
          (query = "", format = "text") =>
            Effect.map(ask(`/metrics${query}`, headersOf(format)), ({ bytes, status }) =>
              scraped(status, bytes.toString(), format)
            )
      )
  }))
]

/** Adds a metric that fails while `isBroken` returns true, and otherwise has the value 1. */
interface Source {
  readonly title: string
  /** As it is registered. */
  readonly named: string
  readonly options?: Exposition.ServeOptions
  readonly add: (registry: PromRegistry, isBroken: () => boolean) => Effect.Effect<unknown, unknown, Scope.Scope>
}

const fail = (): never => {
  throw new Error("no thermometer")
}

const added =
  (add: (registers: Array<PromRegistry>, isBroken: () => boolean) => unknown): Source["add"] =>
  (registry, isBroken) =>
    Effect.sync(() => add([registry], isBroken))

const sources: ReadonlyArray<Source> = [
  {
    title: "a gauge whose collect throws",
    named: "sometimes",
    add: added((registers, isBroken) => {
      const collect = () => void (isBroken() && fail())
      new Gauge({ name: "sometimes", help: "h", registers, collect }).set(1)
    })
  },
  {
    title: "a counter whose collect rejects",
    named: "sometimes_total",
    add: added((registers, isBroken) => {
      const collect = async () => void (isBroken() && fail())
      new Counter({ name: "sometimes_total", help: "h", registers, collect }).inc(1)
    })
  },
  {
    title: "a gauge whose collect is late",
    named: "sometimes",
    options: { scrapeTimeout: "350 millis" },
    add: added((registers, isBroken) => {
      const collect = async () => {
        while (isBroken()) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      new Gauge({ name: "sometimes", help: "h", registers, collect }).set(1)
    })
  },
  {
    title: "a gauge whose effect fails",
    named: "sometimes",
    add: (registry, isBroken) =>
      Registry.gaugeEffect({
        name: "sometimes",
        help: "h",
        value: Effect.suspend(() => (isBroken() ? Effect.fail("no thermometer") : Effect.succeed(1)))
      }).pipe(Effect.provideService(Registry.Registry, registry))
  },
  {
    title: "an object whose name cannot be read",
    named: "entry 3 of the registry",
    add: (registry, isBroken) =>
      Effect.sync(() => {
        const made = { help: "h", type: "gauge", get: async () => ({ name: "sometimes", values: [{ value: 1 }] }) }
        const all = registry.getMetricsAsArray.bind(registry) as () => ReadonlyArray<unknown>
        registry.getMetricsAsArray = () => {
          const unnamed = Object.defineProperty({ ...made }, "name", { get: fail })
          const [one, two, ...others] = all()
          return [one, two, isBroken() ? unnamed : { ...made, name: "sometimes" }, ...others] as never
        }
      })
  }
]

for (const { open, title: where } of endpoints) {
  describe(`${where} names`, () => {
    for (const { add, named, options, title } of sources) {
      itInTime(`${title} from the scrape after the one that failed to the one that reads it again`, function* () {
        yield* logged(function* () {
          const registry = someMetrics()
          const state = { isBroken: false }
          yield* add(registry, () => state.isBroken)
          const scrape = yield* open(registry, options)
          const steps: ReadonlyArray<readonly [isBroken: boolean, failed: ReadonlyArray<string>, format: Format]> = [
            [false, [], "text"],
            [true, [], "text"],
            [true, [named], "text"],
            [true, [named], "openmetrics"],
            [false, [named], "text"],
            [false, [], "openmetrics"],
            [true, [], "text"],
            [true, [named], "text"]
          ]
          for (const [step, [isBroken, expected, format]] of steps.entries()) {
            state.isBroken = isBroken
            const { body, failed, status } = yield* scrape("", format)
            assert.strictEqual(status, 200)
            assert.include(body, "jobs_total 3\n")
            assert.strictEqual(/^sometimes(_total)? 1$/m.test(body), !isBroken, `step ${step}`)
            assert.deepStrictEqual(failed, expected, `step ${step}`)
          }
        })
      })
    }

    it.scopedLive("two metrics at once, and each of them until it is read", () =>
      logged(function* () {
        const registry = someMetrics()
        const broken = new Set(["one", "two"])
        for (const name of ["one", "two", "three"]) {
          new Gauge({ name, help: "h", registers: [registry], collect: () => void (broken.has(name) && fail()) })
        }
        const scrape = yield* open(registry)
        yield* scrape()
        assert.deepStrictEqual((yield* scrape()).failed, ["one", "two"])
        broken.delete("one")
        yield* scrape()
        assert.deepStrictEqual((yield* scrape()).failed, ["two"])
        broken.add("three")
        broken.delete("two")
        yield* scrape()
        assert.deepStrictEqual((yield* scrape()).failed, ["three"])
      })
    )
  })
}

for (const { open, title: where } of servers) {
  describe(`${where} names a metric that cannot be read`, () => {
    const broken = () => {
      const registry = someMetrics()
      const state = { isBroken: true }
      new Gauge({ name: "broken", help: "h", registers: [registry], collect: () => void (state.isBroken && fail()) })
      return { registry, state }
    }
    const others = "?name[]=jobs_total&name[]=effect_prometheus_collect_failed"

    it.scopedLive("also to a scrape of other metrics, which neither adds a name nor removes one", () =>
      logged(function* () {
        const { registry, state } = broken()
        const scrape = yield* open(registry)
        yield* scrape()
        state.isBroken = false
        for (let time = 0; time < 3; time += 1) assert.deepStrictEqual((yield* scrape(others)).failed, ["broken"])
        yield* scrape("?name[]=broken")
        assert.deepStrictEqual((yield* scrape(others)).failed, [])
        state.isBroken = true
        for (let time = 0; time < 2; time += 1) assert.deepStrictEqual((yield* scrape(others)).failed, [])
        yield* scrape("?name[]=broken")
        assert.deepStrictEqual((yield* scrape(others)).failed, ["broken"])
      })
    )

    for (const [how, act] of [
      ["it was removed from the registry", (registry: PromRegistry) => registry.removeSingleMetric("broken")],
      ["the registry was cleared", (registry: PromRegistry) => registry.clear()]
    ] as const) {
      for (const [what, query] of [
        ["a scrape of everything", ""],
        ["a scrape of it", `${others}&name[]=broken`]
      ] as const) {
        it.scopedLive(`no longer after ${how} and ${what} found it missing`, () =>
          logged(function* () {
            const { registry } = broken()
            const scrape = yield* open(registry)
            yield* scrape(query)
            assert.deepStrictEqual((yield* scrape(query)).failed, ["broken"])
            act(registry)
            yield* scrape(query)
            assert.deepStrictEqual((yield* scrape(query)).failed, [])
          })
        )
      }
    }

    it.scopedLive("again after the metrics were reset", () =>
      logged(function* () {
        const { registry } = broken()
        const scrape = yield* open(registry)
        yield* scrape()
        registry.resetMetrics()
        assert.deepStrictEqual((yield* scrape()).failed, ["broken"])
      })
    )

    it.scopedLive("with its own name, also if it is that of a histogram, and escapes nothing in it", () =>
      logged(function* () {
        const registry = new PromRegistry()
        new Histogram({ name: "job:seconds", help: "h", registers: [registry], collect: fail })
        const scrape = yield* open(registry)
        yield* scrape()
        for (const format of formats) assert.deepStrictEqual((yield* scrape("", format)).failed, ["job:seconds"])
      })
    )

    itInTime("of those that wait for it, not for a scrape with too little time for any metric", function* () {
      yield* logged(function* () {
        const registry = someMetrics()
        const state = { isLate: true }
        const collect = async () => {
          while (state.isLate) await new Promise((resolve) => setTimeout(resolve, 5))
        }
        new Gauge({ name: "late", help: "h", registers: [registry], collect }).set(1)
        const { url } = yield* Effect.orDie(started(inThisThread, { scrapeTimeout: "1200 millis" }, { registry }))
        const asked = (seconds: number) =>
          Effect.map(
            get(url, { headers: { "x-prometheus-scrape-timeout-seconds": String(seconds) } }),
            ({ body, status }) => scraped(status, body, "text").failed
          )
        // It has a tenth of a second, which says nothing about the metric.
        for (let time = 0; time < 2; time += 1) assert.deepStrictEqual(yield* asked(0.2), [])
        assert.deepStrictEqual(yield* asked(20), [])
        // What is known of it stays known.
        for (let time = 0; time < 2; time += 1) assert.deepStrictEqual(yield* asked(0.2), ["late"])
        state.isLate = false
        assert.deepStrictEqual(yield* asked(20), ["late"])
        assert.deepStrictEqual(yield* asked(20), [])
      })
    })

    it.scopedLive("and gets there from an endpoint that fails, and from a render of the registry", () =>
      logged(function* () {
        const { registry, state } = broken()
        const strict = yield* open(registry, { onError: "fail" })
        const lenient = yield* open(registry)
        assert.strictEqual((yield* strict()).status, 500)
        assert.deepStrictEqual((yield* lenient()).failed, ["broken"])
        state.isBroken = false
        yield* renderedOnce(registry)
        assert.deepStrictEqual((yield* lenient()).failed, [])
        state.isBroken = true
        yield* Effect.exit(renderedOnce(registry))
        assert.deepStrictEqual((yield* lenient()).failed, ["broken"])
      })
    )

    it.scopedLive("not without metrics about the endpoint", () =>
      logged(function* () {
        const { registry } = broken()
        const scrape = yield* open(registry, { selfMetrics: false })
        yield* scrape()
        assert.notInclude((yield* scrape()).body, name)
      })
    )

    it.scopedLive("beside those of Effect, of which one that cannot be read is left out and not named", () =>
      logged(function* () {
        yield* Metric.set(Metric.gauge("cf_sound"), 1)
        const summary = { name: "cf_unsound", maxAge: "1 day", maxSize: 0, error: 0, quantiles: [0.5] } as const
        yield* Metric.update(Metric.summary(summary), 1)
        const { registry } = broken()
        yield* Effect.provideService(EffectMetrics.make({ include: ["cf_*"] }), Registry.Registry, registry)
        const scrape = yield* open(registry)
        yield* scrape()
        const { body, failed } = yield* scrape()
        assert.deepStrictEqual(failed, ["broken"])
        assert.include(body, "\ncf_sound 1\n")
        assert.include(body, "\neffect_prometheus_metrics_left_out 1\n")
      })
    )
  })
}
