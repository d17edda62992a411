import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Histogram, Registry as PromRegistry } from "prom-client"
import type { RequestEvent, ScrapeEvent, ScrapeReport } from "../src/core/registry/scrapeRecorder.js"
import { ownMetrics } from "../src/core/registry/selfMetrics.js"
import { partsOf, ReportRecorder, ScrapeReporter, ScrapeSums } from "../src/core/worker/scrapeReport.js"
import { whileBlocked } from "./support/blockedThread.js"
import { bearer } from "./support/credentials.js"
import { eventually, get } from "./support/httpClient.js"
import { inPatientWorker, inWorker, someMetrics, started, stoppable } from "./support/servers.js"
import { itInTime } from "./support/timing.js"

const began: RequestEvent = { tag: "Began" }
const ended = (seconds: number, bytes = 100): RequestEvent => ({
  tag: "Ended",
  status: 200,
  cause: undefined,
  bytes,
  seconds
})
const stale: RequestEvent = { tag: "Ended", status: 503, cause: "stale", bytes: 0, seconds: 0.1 }
const refused = (status: 401 | 403 | 429): RequestEvent => ({ tag: "Rejected", status, cause: undefined })
const tooMany: RequestEvent = { tag: "Rejected", status: 503, cause: "in_flight" }

const reported = (events: Iterable<RequestEvent>): ScrapeReport | undefined => {
  const sums = new ScrapeSums()
  for (const event of events) sums.add(event)
  return sums.take()
}

const nothing: ScrapeReport = { inFlight: 0, scrapes: [], errors: [], bytes: 0, durations: [] }

const totals: ReadonlyArray<{
  readonly title: string
  readonly events: ReadonlyArray<RequestEvent>
  readonly report: ScrapeReport | undefined
}> = [
  { title: "of nothing", events: [], report: undefined },
  { title: "of a scrape that goes on", events: [began], report: { ...nothing, inFlight: 1 } },
  {
    title: "of scrapes that are over",
    events: [began, began, ended(0.25, 7), ended(0.5, 8)],
    report: {
      ...nothing,
      scrapes: [[200, 2]],
      bytes: 15,
      durations: [
        [0.25, 1],
        [0.5, 1]
      ]
    }
  },
  {
    title: "of one that got nothing",
    events: [began, stale],
    report: { ...nothing, scrapes: [[503, 1]], errors: [["stale", 1]], durations: [[0.1, 1]] }
  },
  {
    title: "of requests that were refused",
    events: [refused(401), refused(429), refused(401), tooMany, refused(403), tooMany],
    report: {
      ...nothing,
      scrapes: [
        [401, 2],
        [429, 1],
        [503, 2],
        [403, 1]
      ],
      errors: [["in_flight", 2]]
    }
  }
]

/** What a histogram of the client shows after so many durations. */
const observed = async (durations: Iterable<readonly [number, number]>) => {
  const { buckets, help, name } = ownMetrics.duration
  const histogram = new Histogram({ name, help, buckets: [...buckets], registers: [new PromRegistry()] })
  for (const [seconds, times] of durations) {
    for (let time = 0; time < times; time += 1) histogram.observe(seconds)
  }
  const { values } = await histogram.get()
  const sum = values.find(({ metricName }) => metricName?.endsWith("_sum"))?.value ?? Number.NaN
  return { sum, others: values.filter(({ metricName }) => !metricName?.endsWith("_sum")) }
}

const timesOf = (durations: ScrapeReport["durations"]): number => durations.reduce((sum, [, times]) => sum + times, 0)

describe("a report of a worker", () => {
  for (const { events, report, title } of totals) {
    it(title, () => assert.deepStrictEqual(reported(events), report))
  }

  it("contains what has happened since the last one, and how many scrapes are in flight in all", () => {
    const sums = new ScrapeSums()
    sums.add(began)
    sums.add(refused(401))
    sums.take()
    assert.isUndefined(sums.take())
    sums.add(began)
    assert.deepStrictEqual(sums.take(), { ...nothing, inFlight: 2 })
    sums.add(ended(0.5, 9))
    assert.deepStrictEqual(sums.take(), {
      ...nothing,
      inFlight: 1,
      scrapes: [[200, 1]],
      bytes: 9,
      durations: [[0.5, 1]]
    })
  })

  const manyDurations: ReadonlyArray<readonly [title: string, of: (index: number) => number]> = [
    ["that differ", (index) => ((index * 7_919) % 120_011) / 1e4],
    ["that are the same", () => 0.1],
    ["that are bounds of buckets", (index) => ownMetrics.duration.buckets[index % 8] ?? 0],
    ["that are just above such bounds", (index) => (ownMetrics.duration.buckets[index % 8] ?? 0) * (1 + 2 ** -52)],
    ["that are 0", () => 0]
  ]
  for (const [title, secondsOf] of manyDurations) {
    it(`has bounded memory for any number of durations ${title}, and the histogram is the same`, async () => {
      const all = Array.from({ length: 50_000 }, (_, index) => secondsOf(index))
      const { durations = [] } = reported(all.map((seconds) => ended(seconds))) ?? {}
      assert.isAtMost(durations.length, 1_100)
      const [now, before] = [await observed(durations), await observed(all.map((seconds) => [seconds, 1]))]
      assert.deepStrictEqual(now.others, before.others)
      assert.closeTo(now.sum, before.sum, 1e-9 * (1 + before.sum))
    })
  }

  for (const times of [1, 2_047, 2_048, 2_049, 50_000]) {
    it(`of ${times} equal durations is recorded in parts of a bounded size`, () => {
      const report: ScrapeReport = {
        inFlight: 3,
        scrapes: [[200, times]],
        errors: [["stale", 1]],
        bytes: 5,
        durations: [
          [0.1, times],
          [0.2, 1]
        ]
      }
      const parts = partsOf(report)
      for (const { durations } of parts) assert.isAtMost(timesOf(durations), 2_048)
      assert.strictEqual(timesOf(parts.flatMap(({ durations }) => durations)), times + 1)
      for (const { inFlight } of parts) assert.strictEqual(inFlight, 3)
      assert.deepStrictEqual(
        parts.map(({ bytes, errors, scrapes }) => ({ bytes, errors, scrapes })),
        parts.map((_, index) =>
          index === 0
            ? { bytes: 5, errors: report.errors, scrapes: report.scrapes }
            : { bytes: 0, errors: [], scrapes: [] }
        )
      )
    })
  }
})

describe("the worker reports", () => {
  const reporting = () => {
    const reports: Array<ScrapeReport> = []
    return { reports, reporter: new ScrapeReporter((report) => reports.push(report)) }
  }

  it("nothing while a report is not read, however much happens, and then all of it at once", () => {
    const { reporter, reports } = reporting()
    for (let time = 0; time < 10_000; time += 1) {
      for (const event of [refused(401), began, ended(0.1)]) reporter.add(event)
    }
    assert.strictEqual(reports.length, 1)
    reporter.read()
    assert.strictEqual(reports.length, 2)
    assert.deepStrictEqual(reports[1]?.scrapes, [
      [200, 10_000],
      [401, 9_999]
    ])
  })

  it("the end of a scrape at once, as soon as the last report is read", () => {
    const { reporter, reports } = reporting()
    for (const event of [began, ended(0.1), began, ended(0.2)]) reporter.add(event)
    reporter.read()
    assert.deepStrictEqual(
      reports.map(({ scrapes }) => scrapes),
      [[], [[200, 2]]]
    )
    reporter.read()
    reporter.add(began)
    assert.strictEqual(reports.length, 2)
    reporter.add(ended(0.1))
    assert.strictEqual(reports.length, 3)
  })

  it("what has happened before a scrape, read or not", () => {
    const { reporter, reports } = reporting()
    for (let scrape = 1; scrape <= 3; scrape += 1) {
      reporter.add(refused(401))
      reporter.add(began)
      reporter.send()
      reporter.send()
      assert.strictEqual(reports.at(-1)?.inFlight, scrape)
    }
    assert.strictEqual(
      reports.flatMap(({ scrapes }) => scrapes).reduce((sum, [, times]) => sum + times, 0),
      3
    )
  })

  it.live("requests that were refused after a moment", () =>
    Effect.gen(function* () {
      const { reporter, reports } = reporting()
      reporter.add(refused(401))
      reporter.read()
      for (let time = 0; time < 1_000; time += 1) reporter.add(refused(401))
      assert.deepStrictEqual(
        reports.map(({ scrapes }) => scrapes),
        [[[401, 1]]]
      )
      yield* eventually("they are reported", async () => reports.length > 1)
      assert.deepStrictEqual(reports[1]?.scrapes, [[401, 1_000]])
    })
  )
})

describe("the main thread records", () => {
  const large: ScrapeReport = { ...nothing, inFlight: 2, scrapes: [[200, 10_000]], durations: [[0.1, 10_000]] }
  const small: ScrapeReport = { ...nothing, inFlight: 1, scrapes: [[401, 1]] }

  const recording = () => {
    const events: Array<ScrapeEvent> = []
    return { events, recorder: new ReportRecorder((event) => events.push(event)) }
  }
  const codes = (events: ReadonlyArray<ScrapeEvent>) =>
    events.map((event) => (event.tag === "Reported" ? (event.report.scrapes[0]?.[0] ?? "") : event.tag))

  it("a report of some requests at once", () => {
    const { events, recorder } = recording()
    let read = 0
    recorder.record(small, () => {
      read += 1
    })
    assert.deepStrictEqual(events, [{ tag: "Reported", report: small }])
    assert.strictEqual(read, 1)
  })

  it("one of thousands of durations in several turns, and what comes meanwhile after it", async () => {
    const { events, recorder } = recording()
    const read: Array<number> = []
    recorder.record(large, () => read.push(events.length))
    recorder.record(small, () => read.push(events.length))
    recorder.gone()
    assert.strictEqual(events.length, 1)
    await recorder.settled()
    assert.deepStrictEqual(codes(events), [200, "", "", "", "", 401, "Gone"])
    assert.deepStrictEqual(read, [5, 6])
    recorder.gone()
    assert.strictEqual(events.length, 8)
  })
})

/** A registry that counts how often a request is recorded on it. */
const counted = () => {
  const registry = someMetrics()
  const { help, label, name } = ownMetrics.scrapes
  const counter = new Counter({ name, help, labelNames: [label], registers: [registry] })
  const recorded = { times: 0 }
  const inc = counter.inc.bind(counter) as (labels: object, by: number) => void
  Object.assign(counter, {
    inc: (labels: object, by = 1) => {
      if (by > 0) recorded.times += 1
      inc(labels, by)
    }
  })
  const count = async (code: number): Promise<number | undefined> =>
    (await counter.get()).values.find(({ labels }) => labels[label] === String(code))?.value
  return { registry, recorded, count }
}

const token = "0123456789abcdef0123456789abcdef"
const headers = bearer(token)
const authentication = { tokens: [token] }
const codeOf = (body: string, code: number): number =>
  Number(body.match(new RegExp(`^effect_prometheus_scrapes_total\\{code="${code}"\\} (\\d+)$`, "m"))?.[1])
const durationsOf = (body: string): number =>
  Number(body.match(/^effect_prometheus_scrape_duration_seconds_count (\d+)$/m)?.[1])

describe("a metrics server in a worker thread adds up what happens to requests", () => {
  itInTime("while the main thread is stuck: it is recorded together afterwards, and nothing is missing", function* () {
    const { recorded, registry } = counted()
    const { url } = yield* started(inWorker, { authentication }, { registry })
    const refusals = yield* whileBlocked(
      Array.from({ length: 20 }, () => ({ url })),
      500
    )
    for (const { status } of refusals) assert.strictEqual(status, 401)
    assert.isAbove(refusals.length, 50)
    const { body } = yield* get(url, { headers })
    assert.strictEqual(codeOf(body, 401), refusals.length)
    assert.isAtMost(recorded.times, 10)
  })

  itInTime("while the main thread is stuck and the last numbers are served, with their durations", function* () {
    const { registry } = counted()
    const { url } = yield* started(inWorker, { authentication }, { registry })
    const answers = yield* whileBlocked([{ url, headers }, { url }, { url, headers }], 500)
    const { body } = yield* get(url, { headers })
    for (const code of [200, 401]) {
      assert.strictEqual(codeOf(body, code), answers.filter(({ status }) => status === code).length)
    }
    assert.strictEqual(durationsOf(body), codeOf(body, 200))
    assert.match(body, /^effect_prometheus_scrapes_in_flight 1$/m)
  })

  itInTime("so that each exposition contains everything that happened before it", function* () {
    const { registry } = counted()
    const { url } = yield* started(inPatientWorker, { authentication }, { registry })
    for (let turn = 1; turn <= 20; turn += 1) {
      for (let time = 0; time < 3; time += 1) yield* get(url)
      const { body } = yield* get(url, { headers })
      assert.strictEqual(codeOf(body, 401), 3 * turn)
      assert.strictEqual(codeOf(body, 200), turn - 1)
      assert.strictEqual(durationsOf(body), turn - 1)
      assert.match(body, /^effect_prometheus_scrapes_in_flight 1$/m)
    }
  })

  itInTime("so that the main thread has little to do with those that are refused", function* () {
    const { count, recorded, registry } = counted()
    const { url } = yield* started(inPatientWorker, { authentication }, { registry })
    const start = performance.now()
    yield* Effect.forEach(Array.from({ length: 300 }), () => get(url), { concurrency: 10, discard: true })
    yield* eventually("all are recorded", async () => (await count(401)) === 300)
    assert.isAtMost(recorded.times, 2 + (performance.now() - start) / 250)
  })

  itInTime("and reports the rest when it closes", function* () {
    const { count, registry } = counted()
    const { stop, url } = yield* stoppable(inPatientWorker, { authentication }, { registry })
    for (let time = 0; time < 20; time += 1) yield* get(url)
    yield* stop
    assert.strictEqual(yield* Effect.promise(() => count(401)), 20)
  })
})
