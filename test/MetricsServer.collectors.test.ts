import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import { blockThread, expositionAge, scrapeFromThread } from "./support/blockedThread.js"
import { runFixture } from "./support/childProcess.js"
import { parseText } from "./support/expositionParser.js"
import { contentTypes } from "./support/expositions.js"
import { type Answer, eventually, get } from "./support/httpClient.js"
import { mounts } from "./support/mounts.js"
import { inThisThread, inWorker, serverKinds, someMetrics, started } from "./support/servers.js"
import { assertInTime, assertWaitedFor, assertWithin, itInTime } from "./support/timing.js"

/** A gauge whose collect hangs on demand until it is released. Its value is how often it was released. */
const hanging = (registry: PromRegistry, name = "hung") => {
  let release: (() => void) | undefined
  let gate: Promise<void> | undefined
  const made = {
    /** How often it was asked since it began to hang. */
    asked: 0,
    value: 1,
    hang: () => {
      made.asked = 0
      gate = new Promise((resolve) => {
        release = resolve
      })
    },
    release: () => {
      gate = undefined
      release?.()
    }
  }
  new Gauge({
    name,
    help: "h",
    registers: [registry],
    async collect() {
      made.asked += 1
      await gate
      this.set(made.value)
    }
  })
  return made
}

const throwing = (registry: PromRegistry) =>
  new Gauge({
    name: "broken",
    help: "h",
    registers: [registry],
    collect: () => {
      throw new Error("no thermometer")
    }
  })

const openMetrics = { headers: { accept: contentTypes.openmetrics } }

const assertLate = (answer: Answer, limit: number): void => {
  const { milliseconds } = answer
  assertWaitedFor("hung", answer)
  assert.isAtLeast(milliseconds, limit - 2)
  assertWithin(milliseconds, limit + 1_000)
}

const collectErrors = (body: string): number =>
  Number(/^effect_prometheus_errors_total\{operation="collect"\} (\d+)$/m.exec(body)?.[1])

/** Waits until so many scrapes are, of all servers of that registry. */
const areInFlight = (registry: PromRegistry, count: number): Effect.Effect<void> =>
  eventually(`${count} are in flight`, async () => {
    const gauge = registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge | undefined
    return (await gauge?.get())?.values[0]?.value === count
  })

const all = <const Effects extends ReadonlyArray<Effect.Effect<unknown>>>(effects: Effects) =>
  Effect.all(effects, { concurrency: "unbounded" })

for (const kind of serverKinds) {
  describe(`a collector that never ends, in a metrics server ${kind.name},`, () => {
    itInTime("is asked once, named by every scrape that times out, and exposed again when it ends", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const server = yield* started(kind, { onError: "fail", scrapeTimeout: "250 millis" }, { registry })
      for (const value of [2, 3]) {
        hung.hang()
        const answers = yield* Effect.replicateEffect(get(server.url), 4)
        for (const answer of answers) assertLate(answer, 250)
        assert.strictEqual(hung.asked, 1)
        // What it holds up are those who want it.
        const other = yield* get(`${server.url}?name[]=jobs_total`)
        assert.include(other.body, "jobs_total 3\n")
        assertWithin(other.milliseconds, 200, "another scrape")
        hung.value = value
        hung.release()
        const { body, status } = yield* get(server.url)
        assert.strictEqual(status, 200)
        assert.include(body, `\nhung ${value}\n`)
        const latest = Math.max(...answers.map(({ milliseconds }) => milliseconds))
        console.log(
          `collectors ${kind.name}: 503 that names it after ${latest.toFixed(0)} ms at most, limit 250 ms, asked once`
        )
      }
    })

    itInTime("is waited for by the next scrape, which gets its value of that moment", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const server = yield* started(kind, { onError: "fail", scrapeTimeout: "10 seconds" }, { registry })
      hung.hang()
      const impatient = { headers: { "x-prometheus-scrape-timeout-seconds": "0.2" } }
      assertLate(yield* get(server.url, impatient), 100)
      const waiting = yield* Effect.fork(all([get(server.url), get(server.url, openMetrics)]))
      assertLate(yield* get(server.url, impatient), 100)
      assert.strictEqual(hung.asked, 1)
      hung.value = 7
      hung.release()
      for (const { body, status } of yield* Fiber.join(waiting)) {
        assert.strictEqual(status, 200)
        assert.include(body, "\nhung 7\n")
      }
      assert.strictEqual(hung.asked, 1)
      hung.value = 8
      assert.include((yield* get(server.url)).body, "\nhung 8\n")
      assert.strictEqual(hung.asked, 2)
    })

    itInTime("is named in all concurrent responses, for any families, and then not asked again", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const server = yield* started(kind, { onError: "fail", scrapeTimeout: "300 millis" }, { registry })
      hung.hang()
      const narrowed = `${server.url}?name[]=hung`
      const asks = [
        ...Array.from({ length: 10 }, () => get(server.url)),
        ...Array.from({ length: 10 }, () => get(server.url, openMetrics)),
        get(narrowed),
        get(narrowed, openMetrics)
      ]
      for (const answer of yield* all(asks)) assertLate(answer, 300)
      // Once for each run that began before one of them gave it up.
      assertInTime(hung.asked <= 6, `it was asked ${hung.asked} times`)
      const before = hung.asked
      for (const answer of yield* all(asks)) assertLate(answer, 300)
      assert.strictEqual(hung.asked, before)
      hung.release()
      for (const { status } of yield* all(asks)) assert.strictEqual(status, 200)
    })

    itInTime("is left out in time where the others are to be served, counted, and logged when it begins", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      throwing(registry)
      new Gauge({ name: "last", help: "h", registers: [registry], collect: () => {} }).set(5)
      const server = yield* started(kind, { scrapeTimeout: "2 seconds" }, { registry })
      const failed = collectErrors((yield* get(server.url)).body)
      hung.hang()
      for (let time = 1; time <= 3; time += 1) {
        const { body, milliseconds, status } = yield* get(server.url)
        // A tenth of its time is kept for the others.
        assertInTime(status !== 503, body)
        assert.strictEqual(status, 200)
        parseText(body)
        assert.notMatch(body, /^(hung|broken) /m)
        assert.include(body, "\nlast 5\n")
        assert.isAtLeast(milliseconds, 1_790)
        assertWithin(milliseconds, 2_000)
      }
      assert.strictEqual(hung.asked, 1)
      // The numbers of a scrape are those before it failed itself.
      const names = `${server.url}?name[]=effect_prometheus_errors_total`
      assert.strictEqual(collectErrors((yield* get(names)).body), failed + 1 + 3 * 2)
      const messages = server.lines.filter(({ level }) => level === "ERROR").map(({ message }) => message)
      assert.deepStrictEqual(messages, ["collecting broken failed", "collecting hung failed"])
      hung.release()
      assert.include((yield* get(server.url)).body, "\nhung 1\n")
    })

    it.scopedLive("does not affect scrapes while it ends", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const counter = new Counter({ name: "rooms_total", help: "h", labelNames: ["room"], registers: [registry] })
        const hung = hanging(registry)
        for (let room = 0; room < 2_000; room += 1) counter.inc({ room })
        const server = yield* started(kind, { onError: "fail", scrapeTimeout: "60 millis" }, { registry })
        const headers = { "accept-encoding": "identity" }
        for (let time = 0; time < 15; time += 1) {
          hung.hang()
          const scraping = yield* Effect.fork(
            all([get(server.url, { headers }), get(server.url, openMetrics), get(`${server.url}?name[]=rooms_total`)])
          )
          yield* Effect.sleep(10 * (time % 8))
          hung.release()
          const [text, , rooms] = yield* Fiber.join(scraping)
          for (const { body, status } of [text, rooms]) {
            if (status === 503) assert.match(body, /^the scrape timed out (while waiting for|before collecting) .*\n$/)
            else assert.strictEqual(body.split("\nrooms_total{").length, 2_001)
            if (status === 200) parseText(body)
          }
        }
      })
    )
  })

  describe(`a collector that takes its time, in a metrics server ${kind.name},`, () => {
    const timeout = (seconds: number) => ({ headers: { "x-prometheus-scrape-timeout-seconds": String(seconds) } })

    itInTime("is awaited by a later scrape until its own timeout, not until that of the first", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const { url } = yield* started(kind, { onError: "fail", scrapeTimeout: "1200 millis" }, { registry })
      hung.hang()
      const first = yield* Effect.fork(get(url))
      yield* Effect.sleep("800 millis")
      const second = yield* Effect.fork(get(url))
      assert.strictEqual((yield* first).status, 503)
      yield* Effect.sleep("50 millis")
      hung.release()
      const { body, status } = yield* second
      assert.strictEqual(status, 200)
      assert.include(body, "\nhung 1\n")
      assert.strictEqual(hung.asked, 1)
    })

    itInTime(
      "is neither logged nor counted as a failure if a scrape with a short timeout did not wait for it",
      function* () {
        const registry = someMetrics()
        const hung = hanging(registry)
        const { lines, url } = yield* started(kind, { onError: "fail" }, { registry })
        for (let time = 0; time < 3; time += 1) {
          hung.hang()
          assertWaitedFor("hung", yield* get(url, timeout(0.1)))
          hung.release()
          assert.include((yield* get(url)).body, 'effect_prometheus_errors_total{operation="collect"} 0\n')
        }
        assert.deepStrictEqual(
          lines.filter(({ level }) => level !== "INFO"),
          []
        )
      }
    )

    itInTime("is asked once for those whose own limits are nearly the same", function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const { url } = yield* started(kind, {}, { registry })
      hung.hang()
      const asks = Array.from({ length: 8 }, (_, index) => get(url, timeout(20 + index / 1_000)))
      const all = yield* Effect.fork(Effect.all(asks, { concurrency: "unbounded" }))
      yield* areInFlight(registry, 8)
      hung.release()
      for (const { status } of yield* all) assert.strictEqual(status, 200)
      // A scrape whose render begins after the release asks again.
      assertInTime(hung.asked === 1, `it was asked ${hung.asked} times`)
    })
  })

  describe(`collectors that block the thread, in a metrics server ${kind.name},`, () => {
    itInTime("end a scrape after the collector that exceeds the timeout, and the others are not asked", function* () {
      const registry = someMetrics()
      const asked: Array<string> = []
      let blocks = false
      for (const name of ["one", "two", "three", "four"]) {
        new Gauge({
          name,
          help: "h",
          registers: [registry],
          collect() {
            if (!blocks) return
            asked.push(name)
            blockThread(1_000)
          }
        })
      }
      const server = yield* started(kind, { scrapeTimeout: "1500 millis" }, { registry })
      yield* get(server.url)
      blocks = true
      const { body, status } = yield* get(server.url)
      assert.strictEqual(status, 503)
      assert.include(body, "the scrape timed out before collecting jobs_total\n")
      assert.deepStrictEqual(asked, ["one", "two"])
    })
  })
}

/** A registry with a metric that blocks the thread for two seconds once a flag is set. */
const blocking = () => {
  const registry = someMetrics()
  const made = { registry, blocks: false, blocked: 0 }
  new Gauge({
    name: "blocking",
    help: "h",
    registers: [registry],
    collect() {
      if (!made.blocks) return
      made.blocked += 1
      blockThread(2_000)
    }
  })
  return made
}

describe("a collector that blocks the thread for two seconds", () => {
  itInTime("delays requests to the server in this thread, and the responses are correct", function* () {
    const made = blocking()
    const server = yield* started(inThisThread, {}, { registry: made.registry })
    made.blocks = true
    const answers = yield* scrapeFromThread(
      [
        { name: "/", url: server.healthUrl },
        { name: "metrics", url: server.url }
      ],
      500
    )
    const slowest = Math.max(...answers.map(({ late, milliseconds }) => milliseconds - 3 * late))
    for (const { status } of answers) assert.strictEqual(status, 200)
    assert.isAtLeast(Math.max(...answers.map(({ milliseconds }) => milliseconds)), 1_900)
    assertWithin(slowest, 2_000 + 1_500, "an answer")
    console.log(`collectors in this thread: one blocks for 2 s, the slowest answer took ${slowest.toFixed(0)} ms`)
  })

  itInTime(
    "delays no page of a worker, which serves its last numbers until it knows that they take their time",
    function* () {
      const made = blocking()
      const server = yield* started(inWorker, {}, { registry: made.registry })
      yield* get(server.url)
      made.blocks = true
      const requests = [
        { name: "/", url: server.healthUrl },
        { name: "metrics", url: server.url }
      ]
      const answers = yield* scrapeFromThread(requests, 3_000)
      const scraped = answers.filter(({ name }) => name === "metrics")
      const slowestPage = Math.max(
        ...answers.filter(({ name }) => name === "/").map(({ late, milliseconds }) => milliseconds - 3 * late)
      )
      assert.isAtLeast(made.blocked, 1)
      for (const { status } of answers) assert.strictEqual(status, 200)
      for (const { body } of scraped) assert.include(body, "jobs_total 3\n")
      const [first] = scraped
      assertWithin(slowestPage, 250, "a page")
      assertWithin((first?.milliseconds ?? 0) - 3 * (first?.late ?? 0), 500, "the first scrape")
      for (const { milliseconds } of scraped) assertWithin(milliseconds, 2_000 + 1_500, "a scrape")
      assert.isAbove(Math.max(...scraped.map(expositionAge)), 0.05)
      console.log(
        `collectors in a worker thread: one blocks for 2 s, / took ${slowestPage.toFixed(0)} ms at most, the first scrape ` +
          `${first?.milliseconds.toFixed(0)} ms with the last numbers`
      )
    }
  )

  itInTime("has a worker that has nothing else to serve say so at the limit", function* () {
    const made = blocking()
    const options = { scrapeTimeout: "500 millis", staleFor: "1 millis" } as const
    const server = yield* started(inWorker, options, { registry: made.registry })
    made.blocks = true
    const [first] = yield* scrapeFromThread([{ name: "metrics", url: server.url }], 100)
    assert.strictEqual(first?.status, 503)
    assert.include(first?.body, "the application does not respond")
    assertWithin((first?.milliseconds ?? 0) - 3 * (first?.late ?? 0), 500 + 100 + 400)
    console.log(`collectors in a worker thread: nothing to serve, 503 after ${first?.milliseconds.toFixed(0)} ms`)
    made.blocks = false
    yield* eventually("it is back", async () => (await Effect.runPromise(get(server.url))).status === 200)
  })
})

describe("a collector that never ends, where the exposition is mounted as", () => {
  for (const { name, start } of mounts) {
    itInTime(
      `${name}, is named with 503 at the limit, or left out, and takes no place of another scrape`,
      function* () {
        const registry = someMetrics()
        const hung = hanging(registry)
        const options = { scrapeTimeout: "500 millis", maxScrapesInFlight: 2 } as const
        const failing = yield* start(registry, { ...options, onError: "fail" })
        const continuing = yield* start(registry, options)
        hung.hang()
        for (let time = 0; time < 2; time += 1) {
          const both = yield* Effect.fork(all([failing("/metrics"), failing("/metrics?name[]=hung")]))
          yield* areInFlight(registry, 2)
          const other = yield* failing("/metrics?name[]=jobs_total")
          for (const { bytes, status } of yield* Fiber.join(both)) {
            assertWaitedFor("hung", { body: bytes.toString(), status })
          }
          assert.strictEqual(other.status, 503)
          assert.strictEqual(other.headers["retry-after"], "1")
          assert.strictEqual(other.bytes.toString(), "2 scrapes are already in flight (maxScrapesInFlight)\n")
          const rest = yield* continuing("/metrics")
          assertInTime(rest.status !== 503, rest.bytes.toString())
          assert.strictEqual(rest.status, 200)
          assert.include(rest.bytes.toString(), "jobs_total 3\n")
          assert.notMatch(rest.bytes.toString(), /^hung /m)
        }
        const impatient = { headers: { "x-prometheus-scrape-timeout-seconds": "0.1" } }
        const [duration, answer] = yield* Effect.timed(failing("/metrics?name[]=hung", impatient))
        assertWaitedFor("hung", { body: answer.bytes.toString(), status: answer.status })
        assertWithin(Duration.toMillis(duration), 400)
        assert.isAtMost(hung.asked, 3)
        hung.release()
        assert.include((yield* failing("/metrics")).bytes.toString(), "\nhung 1\n")
      },
      { concurrent: true }
    )
  }

  itInTime(
    "a function, answers five thousand name[], and those who repeat them in another order share a scrape",
    function* () {
      const registry = someMetrics()
      const hung = hanging(registry)
      const mount = mounts.find(({ name }) => name === "webHandler")
      const ask = yield* mount?.start(registry) ?? assert.fail("no such mount")
      const names = ["hung", "jobs_total", ...Array.from({ length: 4_998 }, (_, index) => `no_such_${index}`)]
      const query = (of: ReadonlyArray<string>) => `/metrics?${of.map((name) => `name[]=${name}`).join("&")}`
      const start = performance.now()
      const answers = yield* all([
        ask(query(names)),
        ask(query([...names].reverse())),
        ask(query([...names, ...names, ...names.slice(0, 100)]))
      ])
      const milliseconds = performance.now() - start
      for (const { bytes, status } of answers) {
        assert.strictEqual(status, 200)
        assert.strictEqual(bytes.toString(), answers[0]?.bytes.toString())
      }
      assert.strictEqual(hung.asked, 1)
      assertWithin(milliseconds, 2_000)
      console.log(
        `collectors: 3 scrapes with 5,000 name[] and more share one, answered in ${milliseconds.toFixed(0)} ms`
      )
    }
  )
})

describe("in an application on the built package, a collector that never ends", () => {
  it.live("takes no memory with each scrape that gives it up", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runFixture("hungCollector.mjs", { execArgv: ["--expose-gc"] })
      assert.strictEqual(code, 0, stderr)
      const { asked, bytes, scrapes } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "")
      assert.strictEqual(asked, 1)
      console.log(`collectors: ${(bytes / scrapes).toFixed(1)} bytes more per scrape, of ${scrapes} that gave it up`)
      assert.isBelow(bytes / scrapes, 60)
    })
  )
})
