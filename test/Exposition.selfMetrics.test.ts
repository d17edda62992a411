import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Counter, Gauge, Registry as PromRegistry, Summary } from "prom-client"
import { whileBlocked } from "./support/blockedThread.js"
import { authority, certificate } from "./support/certificates.js"
import { basic, bearer, hashOf } from "./support/credentials.js"
import { formats, logged, parsers } from "./support/expositions.js"
import { ask, eventually, get } from "./support/httpClient.js"
import { mounts } from "./support/mounts.js"
import type { ServerKind } from "./support/servers.js"
import {
  gatedCollector,
  inPatientWorker,
  inThisThread,
  inWorker,
  serverKinds,
  someMetrics,
  started,
  stoppable
} from "./support/servers.js"
import { itInTime } from "./support/timing.js"

const age = "effect_prometheus_exposition_age_seconds"
const registered = "effect_prometheus_registered"

/** What an exposition says of the endpoint: the value of each series. */
const readings = (body: string): Readonly<Record<string, number>> => {
  const own = parsers.text(body).filter(({ name }) => name.startsWith("effect_prometheus_"))
  return Object.fromEntries(
    own.flatMap(({ samples }) =>
      samples.map(({ labels, name, value }) => [[name, ...labels.values()].join(" "), value])
    )
  )
}

const scraped = (url: string) => Effect.map(get(url), ({ body }) => readings(body))

const scrapes = (code: number): string => `effect_prometheus_scrapes_total ${code}`
const causes = ["collect", "registry", "timeout", "in_flight", "stale", "client_closed"]
const errors = (cause: string): string => `effect_prometheus_scrape_errors_total ${cause}`
/** All causes at 0 but that one. */
const errorsBut = (one: string | undefined, count: number) =>
  Object.fromEntries(causes.map((cause) => [errors(cause), cause === one ? count : 0]))
const inFlight = "effect_prometheus_scrapes_in_flight"
const observed = "effect_prometheus_scrape_duration_seconds_count"
const seconds = "effect_prometheus_scrape_duration_seconds_sum"
const bytes = "effect_prometheus_scrape_response_bytes_total"

const atFirst = {
  "effect_prometheus_errors_total observe": 0,
  "effect_prometheus_errors_total inc": 0,
  "effect_prometheus_errors_total dec": 0,
  "effect_prometheus_errors_total collect": 0,
  ...Object.fromEntries([200, 400, 401, 403, 421, 429, 431, 499, 500, 503].map((code) => [scrapes(code), 0])),
  ...errorsBut(undefined, 0),
  // The scrape that reads it.
  [inFlight]: 1,
  [bytes]: 0,
  [observed]: 0,
  [seconds]: 0,
  ...Object.fromEntries(
    ["0.001", "0.005", "0.025", "0.1", "0.5", "1", "5", "10", "+Inf"].map((le) => [
      `effect_prometheus_scrape_duration_seconds_bucket ${le}`,
      0
    ])
  )
}

/** A registry with a metric that fails while a flag is set. */
const breakable = () => {
  const registry = someMetrics()
  const broken = { is: false }
  const collect = (): void => {
    if (broken.is) throw new Error("no")
  }
  new Gauge({ name: "breakable", help: "h", registers: [registry], collect })
  return { registry, broken }
}

const describeSelfMetrics = (kind: ServerKind) =>
  describe(`a metrics server ${kind.name} exposes metrics of itself:`, () => {
    const isWorker = kind !== inThisThread

    it.scopedLive("from the first scrape on, with every series at 0", () =>
      Effect.gen(function* () {
        const { url } = yield* started(kind, {}, { registry: someMetrics() })
        const expected = { ...atFirst, ...(isWorker ? { [age]: 0 } : {}) }
        assert.deepStrictEqual(yield* scraped(url), expected)
      })
    )

    it.scopedLive("its scrapes by code, their number, their duration and their bytes as they were sent", () =>
      Effect.gen(function* () {
        const { broken, registry } = breakable()
        const { url } = yield* started(kind, { onError: "fail" }, { registry })
        const plain = yield* get(url)
        const zipped = yield* get(url, { headers: { "accept-encoding": "gzip" } })
        yield* get(url, { method: "HEAD" })
        assert.isBelow(zipped.bytes.byteLength, plain.bytes.byteLength)
        broken.is = true
        assert.strictEqual((yield* get(url)).status, 500)
        broken.is = false
        const now = yield* scraped(url)
        assert.deepInclude(now, {
          [scrapes(200)]: 3,
          [scrapes(500)]: 1,
          [errors("collect")]: 1,
          [observed]: 4,
          [bytes]: plain.bytes.byteLength + zipped.bytes.byteLength,
          [inFlight]: 1
        })
        assert.isAbove(now[seconds] ?? 0, 0)
        assert.isBelow(now[seconds] ?? 0, 10)
      })
    )

    it.scopedLive("those that it does not let in, by why that is", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const other = yield* trusted.issue()
        const named = yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }] })
        const token = "0123456789abcdef"
        const options = {
          tls: { ...other, ca: trusted.cert, allowedNames: ["prometheus"] },
          authentication: { tokens: [token], users: { scraper: hashOf("secret", { ln: 16, r: 8, p: 4 }) } }
        }
        const { healthUrl, url } = yield* started(kind, options, { registry: someMetrics() })
        const asked = (target: string, headers: Readonly<Record<string, string>>, client = named) =>
          get(target, { ca: trusted.cert, ...client, headers })
        const status = (...args: Parameters<typeof asked>) => Effect.map(asked(...args), ({ status }) => status)
        assert.strictEqual(yield* status(url, bearer(token), other), 403)
        for (const headers of [{}, bearer(`${token}0`), basic("scraper", "")]) {
          assert.strictEqual(yield* status(url, headers), 401)
        }
        const guesses = ["a", "b", "c", "d", "e", "f", "g"].map((guess) => status(url, basic("scraper", guess)))
        const statuses = yield* Effect.all(guesses, { concurrency: "unbounded" })
        const busy = statuses.filter((one) => one === 429).length
        assert.isAbove(busy, 0)
        // Those that ask for something else are no scrapes.
        assert.strictEqual(yield* status(healthUrl, {}), 401)
        assert.strictEqual(yield* status(healthUrl, bearer(token), other), 403)
        assert.deepInclude(readings((yield* asked(url, bearer(token))).body), {
          ...atFirst,
          [scrapes(401)]: 3 + statuses.length - busy,
          [scrapes(403)]: 1,
          [scrapes(429)]: busy
        })
      })
    )

    it.scopedLive("a scrape of a registry that cannot be read", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const { url } = yield* started(kind, {}, { registry })
        const all = registry.getMetricsAsArray
        registry.getMetricsAsArray = () => {
          throw new Error("no")
        }
        assert.strictEqual((yield* get(url)).status, 500)
        assert.strictEqual((yield* get(url)).status, 500)
        registry.getMetricsAsArray = all
        assert.deepInclude(yield* scraped(url), {
          ...errorsBut("registry", 2),
          [scrapes(200)]: 0,
          [scrapes(500)]: 2,
          [observed]: 2,
          [inFlight]: 1
        })
      })
    )

    it.scopedLive("what is no scrape it does not count", () =>
      Effect.gen(function* () {
        const { healthUrl, url } = yield* started(kind, {}, { registry: someMetrics() })
        for (const [target, method] of [
          [healthUrl, "GET"],
          [`${healthUrl}elsewhere`, "GET"],
          [url, "POST"]
        ] as const)
          yield* get(target, { method })
        const now = yield* scraped(url)
        for (const [name, value] of Object.entries(atFirst)) assert.strictEqual(now[name], value, name)
      })
    )

    it.scopedLive("scrapes that are in flight, and those that are too many", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const { url } = yield* started(kind, { maxScrapesInFlight: 2 }, { registry })
        const { open, reached } = yield* shut
        const waiting = yield* Effect.fork(Effect.all([get(url), get(`${url}?name[]=slow`)], { concurrency: 2 }))
        yield* reached
        yield* eventually("both are in flight", async () => {
          const gauge = registry.getSingleMetric(inFlight) as Gauge
          return (await gauge.get()).values[0]?.value === 2
        })
        const refused = yield* get(url)
        assert.strictEqual(refused.status, 503)
        assert.strictEqual(refused.headers["retry-after"], "1")
        yield* open
        for (const { status } of yield* waiting) assert.strictEqual(status, 200)
        assert.deepInclude(yield* scraped(url), {
          [scrapes(200)]: 2,
          [scrapes(503)]: 1,
          [errors("in_flight")]: 1,
          [observed]: 2,
          [inFlight]: 1
        })
      })
    )

    itInTime("no scrape in flight that was cut, also after its server has closed", function* () {
      const { registry, shut } = gatedCollector()
      for (let time = 0; time < 2; time += 1) {
        const { stop, url } = yield* stoppable(kind, { shutdownTimeout: "100 millis" }, { registry })
        const { open, reached } = yield* shut
        const cut = yield* Effect.fork(Effect.exit(Effect.tryPromise(() => ask(url))))
        yield* reached
        yield* stop
        yield* open
        yield* cut
      }
      const { url } = yield* started(kind, {}, { registry })
      yield* eventually("all are over", async () => {
        const gauge = registry.getSingleMetric(inFlight) as Gauge
        return (await gauge.get()).values[0]?.value === 0
      })
      assert.deepInclude(yield* scraped(url), { [inFlight]: 1 })
    })

    it.scopedLive("what is in flight right again after the metrics were reset", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const { url } = yield* started(kind, {}, { registry })
        const { open, reached } = yield* shut
        const waiting = yield* Effect.fork(get(url))
        yield* reached
        registry.resetMetrics()
        yield* open
        yield* waiting
        assert.deepInclude(yield* scraped(url), { [inFlight]: 1 })
      })
    )

    itInTime("a scrape that took too long", function* () {
      const { registry, shut } = gatedCollector()
      const { url } = yield* started(kind, { onError: "fail", scrapeTimeout: "200 millis" }, { registry })
      const { open, reached } = yield* shut
      const { body, status } = yield* get(url)
      yield* reached
      assert.strictEqual(status, 503)
      assert.include(body, "slow")
      yield* open
      yield* eventually("it answers again", async () => (await Effect.runPromise(get(url))).status === 200)
      const now = yield* scraped(url)
      assert.deepInclude(now, {
        [scrapes(503)]: now[errors("timeout")],
        "effect_prometheus_errors_total collect": now[errors("timeout")]
      })
      assert.isAtLeast(now[errors("timeout")] ?? 0, 1)
    })

    it.scopedLive("together with another server of the same registry", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const one = yield* started(kind, {}, { registry })
        const two = yield* started(inThisThread, {}, { registry })
        yield* get(one.url)
        yield* get(two.url)
        assert.deepInclude(yield* scraped(one.url), { [scrapes(200)]: 2, [observed]: 2, [inFlight]: 1 })
        assert.deepInclude(yield* scraped(two.url), { [scrapes(200)]: 3, [observed]: 3, [inFlight]: 1 })
      })
    )

    it.scopedLive("not where that is switched off, but for the failures of metrics", () =>
      Effect.gen(function* () {
        const { broken, registry } = breakable()
        const { url } = yield* started(kind, { selfMetrics: false }, { registry })
        broken.is = true
        yield* get(url)
        broken.is = false
        assert.deepStrictEqual(yield* scraped(url), {
          "effect_prometheus_errors_total observe": 0,
          "effect_prometheus_errors_total inc": 0,
          "effect_prometheus_errors_total dec": 0,
          "effect_prometheus_errors_total collect": 1
        })
      })
    )

    it.scopedLive("how many servers of the registry are registered at this moment", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const states = [true, true]
        const discovery = (at: number) => ({
          register: () => Effect.void,
          isRegistered: () => Effect.sync(() => states[at] ?? false)
        })
        const one = yield* started(kind, {}, { registry, discovery: discovery(0) })
        assert.strictEqual((yield* scraped(one.url))[registered], 1)
        const two = yield* stoppable(kind, {}, { registry, discovery: discovery(1) })
        assert.strictEqual((yield* scraped(one.url))[registered], 2)
        states[0] = false
        assert.strictEqual((yield* scraped(two.url))[registered], 1)
        yield* two.stop
        assert.strictEqual((yield* scraped(one.url))[registered], 0)
        states[0] = true
        assert.strictEqual((yield* scraped(one.url))[registered], 1)
      })
    )

    it.scopedLive("and keeps serving if the registry rejects new metrics", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        registry.registerMetric = () => {
          throw new Error("full")
        }
        const { url } = yield* started(kind, {}, { registry })
        const { body, status } = yield* get(url)
        assert.strictEqual(status, 200)
        assert.include(body, "jobs_total 3\n")
      })
    )

    it.scopedLive("and leaves alone what an application has under such a name", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        new Gauge({ name: "effect_prometheus_scrapes_total", help: "Mine.", registers: [registry] }).set(7)
        const { url } = yield* started(kind, {}, { registry })
        yield* get(url)
        const now = yield* scraped(url)
        assert.strictEqual(now["effect_prometheus_scrapes_total"], 7)
        assert.strictEqual(now[inFlight], 1)
      })
    )

    for (const { act, how } of [
      { how: "cleared", act: (registry: PromRegistry) => registry.clear() },
      { how: "reset", act: (registry: PromRegistry) => registry.resetMetrics() }
    ]) {
      it.scopedLive(`again after the registry was ${how}, every series at 0`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const discovery = { register: () => Effect.void }
          const { url } = yield* started(kind, {}, { registry, discovery })
          yield* get(url)
          act(registry)
          const first = { ...atFirst, [registered]: 1, ...(isWorker ? { [age]: 0 } : {}) }
          // The clients keep no series of a histogram that was reset.
          const kept = Object.entries(first).filter(([name]) => how === "cleared" || !name.includes("duration"))
          assert.deepStrictEqual(yield* scraped(url), Object.fromEntries(kept))
          assert.deepInclude(yield* scraped(url), { [scrapes(200)]: 1, [observed]: 1, [registered]: 1 })
        })
      )
    }

    it.scopedLive("again after the registry was cleared while a scrape is in flight", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const { url } = yield* started(kind, {}, { registry })
        const slow = yield* shut
        const hanging = yield* Effect.fork(get(url))
        yield* slow.reached
        registry.clear()
        const { body } = yield* get(`${url}?name[]=effect_prometheus_scrapes_total`)
        assert.include(body, 'effect_prometheus_scrapes_total{code="200"} 0\n')
        yield* slow.open
        yield* Fiber.join(hanging)
      })
    )

    it.scopedLive(
      "nothing where it is switched off, also after a server that did and a registry that was cleared",
      () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          yield* Effect.scoped(Effect.flatMap(started(kind, {}, { registry }), ({ url }) => get(url)))
          registry.clear()
          const { url } = yield* started(kind, { selfMetrics: false }, { registry })
          const operations = Object.entries(atFirst).filter(([name]) =>
            name.startsWith("effect_prometheus_errors_total")
          )
          assert.deepStrictEqual(yield* scraped(url), Object.fromEntries(operations))
        })
    )
  })

for (const kind of serverKinds) describeSelfMetrics(kind)

describe("metrics that only the worker knows", () => {
  itInTime("scrapes that got nothing because the numbers were too old", function* () {
    const { url } = yield* started(inWorker, { staleFor: "300 millis" }, { registry: someMetrics() })
    const statuses = (yield* whileBlocked([{ url }], 500)).map(({ status }) => status)
    const tooOld = statuses.filter((status) => status === 503).length
    assert.isAbove(tooOld, 0)
    assert.deepInclude(yield* scraped(url), {
      ...errorsBut("stale", tooOld),
      [scrapes(200)]: statuses.length - tooOld,
      [scrapes(503)]: tooOld,
      [inFlight]: 1
    })
  })

  itInTime("scrapes that got nothing because there were no numbers yet", function* () {
    const { broken, registry } = breakable()
    broken.is = true
    const { url } = yield* started(inWorker, { onError: "fail" }, { registry })
    broken.is = false
    const answers = yield* whileBlocked([{ url }], 200)
    assert.isNotEmpty(answers)
    for (const { status } of answers) assert.strictEqual(status, 503)
    const now = yield* scraped(url)
    assert.deepInclude(now, { ...errorsBut("stale", answers.length), [scrapes(200)]: 0 })
    assert.strictEqual(now[scrapes(503)], answers.length)
  })

  it.scopedLive("in OpenMetrics, as one exposition that is well formed", () =>
    Effect.gen(function* () {
      const { url } = yield* started(inPatientWorker, {}, { registry: someMetrics() })
      const headers = { accept: "application/openmetrics-text" }
      const names = parsers.openmetrics((yield* get(url, { headers })).body).map(({ name }) => name)
      assert.strictEqual(new Set(names).size, names.length)
      assert.include(names, age)
      assert.include(names, "effect_prometheus_scrapes")
    })
  )
})

describe("An endpoint in an application's own server", () => {
  for (const { name, start } of mounts) {
    it.scopedLive(`exposes metrics of its scrapes when it is mounted as ${name}`, () =>
      logged(function* () {
        const { broken, registry } = breakable()
        const asking = yield* start(registry, { maxScrapesInFlight: 3, onError: "fail" })
        const asked = Effect.map(asking("/metrics"), ({ bytes: body }) => readings(body.toString()))
        assert.deepStrictEqual(yield* asked, atFirst)
        broken.is = true
        assert.strictEqual((yield* asking("/metrics")).status, 500)
        broken.is = false
        assert.deepInclude(yield* asked, { [scrapes(200)]: 1, [scrapes(500)]: 1, [observed]: 2, [inFlight]: 1 })
      })
    )
  }
})

describe("The table of the endpoint's own metrics", () => {
  const rows = [
    ...readFileSync(new URL("../docs/expose.md", import.meta.url), "utf8").matchAll(
      /^\| `(effect_prometheus_\w+)(?:\{(\w+)\})?` \| (\w+) \| (.*) \|$/gm
    )
  ].map(([, name = "", label, type, text = ""]) => ({ name, label, type, text }))

  for (const format of formats) {
    it.scopedLive(`has each of the metrics with its type and label, and no other, in ${format}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        new Counter({ name: "jobs_total", help: "Jobs.", registers: [registry] })
        // One of these is left out.
        new Summary({ name: "job_seconds", help: "Time of a job.", registers: [registry] })
        new Gauge({ name: "job_seconds_count", help: "Jobs.", registers: [registry] })
        const collect = () => assert.fail("no thermometer")
        new Gauge({ name: "temperature_celsius", help: "h", registers: [registry], collect })
        const tls = yield* certificate
        const around = { registry, discovery: { register: () => Effect.void } }
        const { url } = yield* started(inPatientWorker, { tls }, around)
        const headers = { accept: format === "text" ? "text/plain" : "application/openmetrics-text" }
        const families = parsers[format]((yield* get(url, { ca: tls.cert, headers })).body).filter(({ name }) =>
          name.startsWith("effect_prometheus_")
        )
        const nameOf = (name: string, type: string | undefined): string =>
          format === "openmetrics" && type === "counter" ? name.replace(/_total$/, "") : name
        assert.sameMembers(
          families.map(({ name, type }) => `${name} ${type}`),
          rows.map(({ name, type }) => `${nameOf(name, type)} ${type}`)
        )
        for (const { label, name, text, type } of rows) {
          const family = families.find((known) => known.name === nameOf(name, type))
          assert.isNotEmpty(family?.samples, name)
          if (label === "metric") continue
          const values = new Set(
            family?.samples.flatMap(({ labels }) => (label === undefined ? [] : [labels.get(label)]))
          )
          for (const value of values) assert.include(text, value ?? "nothing", name)
          if (label !== undefined) assert.isAbove(values.size, 3)
        }
      })
    )
  }
})
