import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import { blockThread, expositionAge, type Scraped, whileBlocked } from "./support/blockedThread.js"
import { fixture } from "./support/childProcess.js"
import { parseOpenMetrics } from "./support/expositionParser.js"
import { get } from "./support/httpClient.js"
import {
  gatedCollector,
  inPatientWorker,
  inWorker,
  refused,
  someMetrics,
  started,
  workerUrl
} from "./support/servers.js"
import { assertInTime, assertWithin, itInTime } from "./support/timing.js"

const textType = "text/plain; version=0.0.4; charset=utf-8"
const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
const openMetrics = { accept: "application/openmetrics-text" }

/** A quarter of a second: in twice its grace it gives the main thread up, and the rest is for the machine. */
const soon = 250

/** Where threads wait for the processor, an answer comes later: on each of its three ways it may have to. */
const assertSoon = (answers: ReadonlyArray<Scraped>): void => {
  assert.isNotEmpty(answers)
  for (const { late, milliseconds } of answers) assertWithin(milliseconds, soon + 3 * late, "an answer")
}

/** Its numbers are as old as nothing, as this thread had the time to answer at once. */
const assertFresh = (answer: { readonly body: string }): void => {
  assertInTime(expositionAge(answer) === 0, `its numbers are of ${expositionAge(answer)} s`)
}

/** What came for those requests, by their names. */
const named = (answers: ReadonlyArray<Scraped>, name: string): ReadonlyArray<Scraped> => {
  const own = answers.filter((answer) => answer.name === name)
  assert.isNotEmpty(own)
  return own
}

// The endpoint's own metrics are for other tests.
const typed = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^# TYPE (\S+)/gm)]
    .map(([, name]) => name ?? "")
    .filter((name) => !/^effect_prometheus_(scrape|registered|certificate|collect_failed)/.test(name))

const age = "effect_prometheus_exposition_age_seconds"

/** Entry files that do not start a server, and a part of the message. */
const strangers = [
  { how: "is missing", file: "nowhere-to-be-found.js", expected: "Cannot find module" },
  { how: "ends without a word", file: "silent-worker.js", expected: "exited with code 0 before it listened" },
  { how: "throws when it is loaded", file: "throwing-worker.js", expected: "not what you are looking for" },
  { how: "exits", file: "exiting-worker.js", expected: "exited with code 7 before it listened" }
]

/** A start with an entry file that is not one of the library, and fails. */
const refusedEntry = (url: string | URL, named: string) =>
  Effect.gen(function* () {
    const error = yield* refused(Effect.scoped(started(inWorker, { workerUrl: url })))
    assert.strictEqual(error.reason, "Worker")
    assert.include(error.message, named)
    return error.message
  })

// That takes ten seconds, in which the other tests run.
const idle = fixture("idle-worker.js")
let waiting: Promise<string>
beforeAll(() => {
  waiting = Effect.runPromise(refusedEntry(idle, fileURLToPath(idle)))
  waiting.catch(() => {})
})

describe("a worker's entry file", () => {
  for (const { expected, file, how } of strangers) {
    it.live(`that ${how} is a typed failure that names it`, () =>
      Effect.gen(function* () {
        const message = yield* refusedEntry(fixture(file), fileURLToPath(fixture(file)))
        assert.include(message, expected)
      })
    )
  }

  for (const url of [new URL("https://example.com/worker.js"), "https://example.com/worker.js"]) {
    it.live(`that is no file, given as ${typeof url === "string" ? "text" : "a URL"}, is a typed failure as well`, () =>
      refusedEntry(url, "example.com/worker.js")
    )
  }

  it.scopedLive("may be given as a path, as the text of a URL, or as a URL", () =>
    Effect.gen(function* () {
      for (const url of [fileURLToPath(workerUrl), "dist/esm/worker.mjs", workerUrl.href, workerUrl]) {
        const server = yield* started(inWorker, { workerUrl: url }, { registry: someMetrics() })
        assert.include((yield* get(server.url)).body, "jobs_total 3\n")
      }
    })
  )
})

/** A registry with a metric whose reading takes a quarter of a second of this thread. It is how often it was read. */
const laborious = (): PromRegistry => {
  const registry = someMetrics()
  let reading = 0
  new Gauge({
    name: "laborious",
    help: "h",
    registers: [registry],
    collect() {
      reading += 1
      blockThread(250)
      this.set(reading)
    }
  })
  return registry
}

describe("a metrics server in a worker thread", () => {
  it.scopedLive("says in every answer how old its numbers are, and that is 0 when they are fresh", () =>
    Effect.gen(function* () {
      const server = yield* started(inPatientWorker, {}, { registry: someMetrics() })
      for (const query of ["", "?name[]=jobs_total", "?name[]=nothing_of_that_name"]) {
        for (const accept of ["text/plain", "application/openmetrics-text"]) {
          const answer = yield* get(`${server.url}${query}`, { headers: { accept } })
          assert.strictEqual(expositionAge(answer), 0)
          assert.include(answer.body, "# TYPE effect_prometheus_exposition_age_seconds gauge\n")
        }
      }
    })
  )

  itInTime("waits for a metric that takes its time, as long as the main thread is not stuck", function* () {
    const registry = someMetrics()
    let reading = 0
    new Gauge({
      name: "slow",
      help: "h",
      registers: [registry],
      async collect() {
        reading += 1
        await new Promise((resolve) => setTimeout(resolve, 300))
        this.set(reading)
      }
    })
    const server = yield* started(inWorker, {}, { registry })
    const answer = yield* get(server.url)
    assertFresh(answer)
    assert.isAtLeast(answer.milliseconds, 290)
    assert.include(answer.body, "\nslow 2\n")
  })

  itInTime("waits for a scrape that keeps the main thread busy itself, for longer than its grace", function* () {
    const server = yield* started(inWorker, {}, { registry: laborious() })
    for (const expected of [2, 3]) {
      const answer = yield* get(server.url)
      assertFresh(answer)
      assert.include(answer.body, `\nlaborious ${expected}\n`)
    }
  })

  itInTime("waits for it as well after a scrape of some metrics, which did not block", function* () {
    const server = yield* started(inWorker, {}, { registry: laborious() })
    for (const expected of [2, 3]) {
      yield* get(`${server.url}?name[]=jobs_total`)
      const answer = yield* get(server.url)
      assertFresh(answer)
      assert.include(answer.body, `\nlaborious ${expected}\n`)
    }
  })

  itInTime("waits for it as well where it is asked for nothing else", function* () {
    const registry = someMetrics()
    let held = 0
    const gauge = new Gauge({ name: "held", help: "h", registers: [registry], collect: () => blockThread(held) })
    const server = yield* started(inWorker, {}, { registry })
    held = 400
    const ages = []
    for (const value of [1, 2, 3]) {
      gauge.set(value)
      ages.push(expositionAge(yield* get(`${server.url}?name[]=held`)))
    }
    // Nobody knew of it the first time.
    assert.deepStrictEqual(ages.slice(1), [0, 0])
  })

  itInTime("says how old its numbers are with the labels that all others have", function* () {
    const registry = someMetrics()
    registry.setDefaultLabels({ app: "shop" })
    const server = yield* started(inWorker, {}, { registry })
    assert.include((yield* get(server.url)).body, `\n${age}{app="shop"} 0\n`)
    const answers = yield* whileBlocked([{ url: server.url }], 100)
    for (const { body } of answers) assert.match(body, new RegExp(`^${age}{app="shop"} \\d+\\.`, "m"))
  })

  itInTime("leaves a metric alone that has the name of what says how old its numbers are", function* () {
    const registry = someMetrics()
    const name = "effect_prometheus_exposition_age_seconds"
    new Gauge({ name, help: "Mine.", registers: [registry] }).set(7)
    const server = yield* started(inWorker, {}, { registry })
    for (const query of ["", "?name[]=jobs_total"]) {
      const url = `${server.url}${query}`
      const fresh = yield* get(url, { headers: openMetrics })
      const old = (yield* whileBlocked([{ url, headers: openMetrics }], 100))[0]?.body ?? ""
      for (const body of [fresh.body, old]) {
        const families = parseOpenMetrics(body).filter((family) => family.name === name)
        assert.deepStrictEqual(
          families.map(({ help }) => help),
          query === "" ? ["Mine."] : []
        )
      }
    }
  })

  it.scopedLive("takes labels that cannot be sent to a thread as the texts that they are exposed as", () =>
    Effect.gen(function* () {
      const registry = someMetrics()
      registry.setDefaultLabels({ home: new URL("http://shop/"), of: () => "x" })
      const server = yield* started(inWorker, {}, { registry })
      const { body } = yield* get(server.url)
      assert.include(body, '\njobs_total{home="http://shop/",of="() => \\"x\\""} 3\n')
      assert.include(body, `\n${age}{home="http://shop/",of="() => \\"x\\""} 0\n`)
    })
  )

  it.scopedLive("starts even if a metric cannot be read then, and logs that when it is scraped", () =>
    Effect.gen(function* () {
      const registry = someMetrics()
      const fails = () => {
        throw new Error("no thermometer")
      }
      new Gauge({ name: "temperature_celsius", help: "h", registers: [registry], collect: fails })
      const server = yield* started(inWorker, { onError: "fail" }, { registry })
      const { body, status } = yield* get(server.url)
      assert.strictEqual(status, 500)
      assert.include(body, "temperature_celsius")
    })
  )

  itInTime("starts although a metric hangs, and serves the others", function* () {
    const { registry, shut } = gatedCollector()
    const slow = yield* shut
    const start = performance.now()
    const server = yield* started(inWorker, {}, { registry })
    assertWithin(performance.now() - start, 5_000)
    assert.include((yield* get(`${server.url}?name[]=jobs_total`)).body, "jobs_total 3\n")
    yield* slow.open
  })
})

describe("while the main thread is stuck, a metrics server in a worker thread", () => {
  itInTime(
    "answers every scrape within a quarter of a second, and says how the age of its numbers grows",
    function* () {
      const registry = new PromRegistry()
      const gauge = new Gauge({ name: "level", help: "h", registers: [registry] })
      gauge.set(1)
      const server = yield* started(inWorker, {}, { registry })
      gauge.set(2)
      const before = yield* get(server.url)
      assertFresh(before)
      assert.include(before.body, "\nlevel 2\n")
      gauge.set(3)
      const answers = yield* whileBlocked([{ url: server.url }], 2_600)
      assertSoon(answers)
      assertInTime(answers.length > 10, `${answers.length} answers`)
      for (const { body, contentType, status } of answers) {
        assert.strictEqual(status, 200)
        assert.strictEqual(contentType, textType)
        assert.include(body, "\nlevel 2\n")
      }
      const ages = answers.map(expositionAge)
      assert.deepStrictEqual(
        ages,
        [...new Set(ages)].sort((one, other) => one - other)
      )
      assert.isAbove(ages[0] ?? 0, 0)
      assertInTime((ages.at(-1) ?? 0) > 2.3, `the last one is of ${ages.at(-1)} s`)
      const after = yield* get(server.url)
      assertFresh(after)
      assert.include(after.body, "\nlevel 3\n")
    }
  )

  const names = (count: number, of: string): string =>
    `?${Array.from({ length: count }, (_, index) => `name[]=${of}_${index}`).join("&")}`
  const floods: ReadonlyArray<{ readonly title: string; readonly queryOf: (index: number) => string }> = [
    { title: "for everything", queryOf: () => "" },
    { title: "for a family", queryOf: () => "?name[]=jobs_total" },
    { title: "for 12 kB of names each", queryOf: (index) => names(500, `of_nothing_${index}`) }
  ]
  for (const { queryOf, title } of floods) {
    itInTime(`asks it no more, however many scrapes there are ${title}`, function* () {
      const { url } = yield* started(inWorker, {}, { registry: someMetrics() })
      let asked = 0
      const emit = Worker.prototype.emit
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          Worker.prototype.emit = function (this: Worker, event: string | symbol, ...given: ReadonlyArray<unknown>) {
            const [message] = given as ReadonlyArray<{ readonly tag?: unknown; readonly scrapes: [] } | undefined>
            if (event === "message" && message?.tag === "Scrape") asked += message.scrapes.length
            return Reflect.apply(emit, this, [event, ...given])
          } as typeof emit
        }),
        () =>
          Effect.sync(() => {
            Worker.prototype.emit = emit
          })
      )
      const clients = Array.from({ length: 12 }, (_, index) => ({ url: `${url}${queryOf(index)}` }))
      const answers = yield* whileBlocked(clients, 1_000)
      for (const { status } of answers) assert.strictEqual(status, 200)
      assert.isAbove(answers.length, 5 * clients.length)
      // The last one is of a client that comes after the others.
      assertFresh(yield* get(url))
      // Those that came before it was known to be stuck.
      assert.isAtMost(asked, clients.length + 1)
    })
  }

  itInTime("answers as soon when the main thread gets stuck while a slow metric is being read", function* () {
    const { registry, shut } = gatedCollector()
    const server = yield* started(inWorker, {}, { registry })
    const slow = yield* shut
    const answers = yield* whileBlocked([{ url: server.url }], 500, slow.reached)
    yield* slow.open
    assertSoon(answers)
    for (const { body, status } of answers) {
      assert.strictEqual(status, 200)
      assert.include(body, "\njobs_total 3\n")
    }
    assertFresh(yield* get(server.url))
  })

  itInTime("cuts what it has to name[], and serves text under its own type where only text is at hand", function* () {
    const server = yield* started(inWorker, {}, { registry: someMetrics() })
    const { url } = server
    const answers = yield* whileBlocked(
      [
        { name: "cut", url: `${url}?name[]=jobs_total` },
        { name: "cut to nothing", url: `${url}?name[]=nothing_of_that_name` },
        { name: "OpenMetrics", url, headers: openMetrics },
        { name: "OpenMetrics, cut", url: `${url}?name[]=jobs_total`, headers: openMetrics }
      ],
      200
    )
    assertSoon(answers)
    for (const { contentType, status } of answers) {
      assert.strictEqual(status, 200)
      assert.strictEqual(contentType, textType)
    }
    for (const { body } of named(answers, "cut")) assert.deepStrictEqual(typed(body), ["jobs_total", age])
    for (const answer of named(answers, "cut to nothing")) {
      assert.deepStrictEqual(typed(answer.body), [age])
      assert.isAbove(expositionAge(answer), 0.05)
    }
    for (const { body } of named(answers, "OpenMetrics, cut")) assert.deepStrictEqual(typed(body), ["jobs_total", age])
    for (const { body } of named(answers, "OpenMetrics")) {
      assert.deepStrictEqual(typed(body), ["jobs_total", "queue_length", "effect_prometheus_errors_total", age])
      assert.notInclude(body, "# EOF")
    }
  })

  itInTime("serves each format that it was last asked for in that format", function* () {
    const { url } = yield* started(inWorker, {}, { registry: someMetrics() })
    yield* get(url, { headers: openMetrics })
    const answers = yield* whileBlocked(
      [
        { name: "text", url },
        { name: "OpenMetrics", url, headers: openMetrics }
      ],
      200
    )
    assertSoon(answers)
    for (const { body, contentType } of named(answers, "OpenMetrics")) {
      assert.strictEqual(contentType, openMetricsType)
      assert.deepStrictEqual(typed(body), ["jobs", "queue_length", "effect_prometheus_errors", age])
      assert.match(body, /# EOF\n$/)
    }
    for (const { body, contentType } of named(answers, "text")) {
      assert.strictEqual(contentType, textType)
      assert.include(body, "# TYPE jobs_total counter\n")
    }
  })

  itInTime("leaves no family out because the last scrape in that format asked for others only", function* () {
    const { url } = yield* started(inWorker, {}, { registry: someMetrics() })
    yield* get(`${url}?name[]=jobs_total`, { headers: openMetrics })
    yield* get(`${url}?name[]=jobs_total`)
    const answers = yield* whileBlocked(
      [
        { name: "text", url },
        { name: "OpenMetrics", url, headers: openMetrics },
        { name: "another family", url: `${url}?name[]=queue_length`, headers: openMetrics }
      ],
      200
    )
    for (const { body, name } of answers) {
      assert.include(body, 'queue_length{queue="a"} 2\n', name)
      if (name !== "another family") assert.include(body, "jobs_total 3\n", name)
    }
  })

  itInTime("answers 503 to any request once its numbers are older than staleFor", function* () {
    const { healthUrl, url } = yield* started(inWorker, { staleFor: "300 millis" }, { registry: someMetrics() })
    yield* get(url)
    const answers = yield* whileBlocked(
      [
        { name: "all", url },
        { name: "some", url: `${url}?name[]=jobs_total` },
        { name: "none", url: `${url}?name[]=nothing_of_that_name` },
        { name: "/", url: healthUrl }
      ],
      500
    )
    for (const { status } of named(answers, "/")) assert.strictEqual(status, 200)
    for (const name of ["all", "some", "none"]) {
      const statuses = named(answers, name).map(({ status }) => status)
      assert.deepStrictEqual(statuses, [...statuses].sort())
      assert.strictEqual(statuses.at(-1), 503)
    }
    const last = named(answers, "all").at(-1)
    assert.strictEqual(last?.contentType, "text/plain; charset=utf-8")
    assert.notInclude(last?.body, "jobs_total")
    assert.strictEqual((yield* get(url)).status, 200)
  })

  itInTime("serves fresh text instead of OpenMetrics that is too old", function* () {
    const { url } = yield* started(inWorker, { staleFor: "600 millis" }, { registry: someMetrics() })
    const asked = yield* get(url, { headers: openMetrics })
    assert.strictEqual(asked.status, 200)
    blockThread(600)
    yield* get(url)
    const [first] = yield* whileBlocked([{ url, headers: openMetrics }], 100)
    assert.strictEqual(first?.status, 200)
    assert.strictEqual(first?.contentType, textType)
  })

  itInTime("no longer serves a family that was removed from the registry before", function* () {
    const registry = someMetrics()
    const { url } = yield* started(inWorker, {}, { registry })
    assert.include((yield* get(url)).body, "queue_length")
    registry.removeSingleMetric("queue_length")
    assert.notInclude((yield* get(url)).body, "queue_length")
    const answers = yield* whileBlocked([{ url }, { url: `${url}?name[]=queue_length` }], 100)
    for (const { body } of answers) assert.notInclude(body, "queue_length")
  })

  itInTime("forgets a family that was asked for by name and is no longer there", function* () {
    const registry = someMetrics()
    const { url } = yield* started(inWorker, {}, { registry })
    registry.removeSingleMetric("queue_length")
    yield* get(`${url}?name[]=queue_length`)
    const answers = yield* whileBlocked([{ url }], 100)
    for (const { body } of answers) {
      assert.notInclude(body, "queue_length")
      assert.include(body, "jobs_total 3\n")
    }
  })

  itInTime("waits for as long as its grace says", function* () {
    const { url } = yield* started(inWorker, { grace: "300 millis" }, { registry: someMetrics() })
    const answers = yield* whileBlocked([{ url }], 300)
    for (const { late, milliseconds } of answers) {
      assert.isAtLeast(milliseconds, 295)
      assertWithin(milliseconds, 600 + 50 + 3 * late, "an answer")
    }
  })
})

describe("in the end, a worker's entry file", () => {
  it.live("that stays and does not listen is a typed failure that names it", () =>
    Effect.gen(function* () {
      assert.include(yield* Effect.promise(() => waiting), "did not listen within 10 seconds")
    })
  )
})
