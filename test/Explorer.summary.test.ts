// The number in the line of a family: it is of the series that the filter leaves.
import { assert, describe, it } from "@effect/vitest"
import { historyOf } from "../src/explorer/figures.js"
import type { Wanted } from "../src/explorer/filter.js"
import { unitOf } from "../src/explorer/format.js"
import type { Store } from "../src/explorer/store.js"
import { type Summary, summaryOf } from "../src/explorer/summary.js"
import { filtered, foundFamily, histogramLines, type Looks, seen, seenAt } from "./support/explorerStore.js"

const shownOf = (store: Store, name: string, wanted: Partial<Wanted> = {}): Summary => {
  const found = foundFamily(store, name, wanted)
  return summaryOf(found, unitOf(name, found.family.kind))
}

const requests = (ok: number, failed: number): string =>
  `# TYPE requests_total counter\nrequests_total{status="200"} ${ok}\nrequests_total{status="500"} ${failed}\n`

const gauges = (first: number, second: number, third: number): string =>
  `# TYPE depth gauge\ndepth{queue="a1"} ${first}\ndepth{queue="a2"} ${second}\ndepth{queue="b"} ${third}\n`

const fast = { "0.1": 100, "1": 100, "+Inf": 100 }
const slow = { "0.1": 0, "1": 10, "+Inf": 10 }

const durations = (): string =>
  `# TYPE work_seconds histogram\n${histogramLines("work_seconds", 'route="/fast"', fast, 5)}${histogramLines("work_seconds", 'route="/slow"', slow, 6)}`

describe("With a filter, the line of a family shows", () => {
  it("the value and the rate of the counters that match", () => {
    const store = seen(requests(100, 1), requests(150, 3))
    assert.deepInclude(shownOf(store, "requests_total"), { text: "153", title: "153", more: "52/s" })
    assert.deepInclude(shownOf(store, "requests_total", { query: "500" }), { text: "3", title: "3", more: "2/s" })
    assert.deepInclude(shownOf(store, "requests_total", { query: 'status="200"' }), { text: "150", more: "50/s" })
  })

  it("the series that a word of its help is about, but all series for a word of its name", () => {
    const help = "# HELP requests_total Requests (500: it failed; 404: there is no page).\n"
    const store = seen(help + requests(100, 1), help + requests(150, 3))
    assert.deepInclude(shownOf(store, "requests_total", { query: "500" }), { text: "3", more: "2/s" })
    assert.deepInclude(shownOf(store, "requests_total", { query: "failed 500 requests" }), { text: "3", more: "2/s" })
    // No series is about these.
    assert.deepInclude(shownOf(store, "requests_total", { query: "404" }), { text: "153" })
    assert.deepInclude(shownOf(store, "requests_total", { query: "500 200" }), { text: "150" })
    const named = seen('code_500_total{status="500"} 1\ncode_500_total{status="200"} 2\n')
    assert.deepInclude(shownOf(named, "code_500_total", { query: "500" }), { text: "1 – 2" })
  })

  it("what has changed, if only that is wanted", () => {
    const store = seen(requests(100, 1), requests(100, 4))
    assert.deepInclude(shownOf(store, "requests_total", { changedOnly: true }), { text: "4", more: "3/s" })
  })

  it("the value of the only gauge that matches, and the range of several", () => {
    const store = seen(gauges(1, 5, 9))
    assert.deepInclude(shownOf(store, "depth"), { text: "1 – 9", more: "lowest – highest" })
    assert.deepInclude(shownOf(store, "depth", { query: "dept" }), { text: "1 – 9" })
    assert.deepInclude(shownOf(store, "depth", { query: "a1" }), { text: "1", title: "1", more: "" })
    assert.deepInclude(shownOf(store, "depth", { query: '"a' }), { text: "1 – 5", title: "1 – 5" })
  })

  it("the quantiles of the histograms that match", () => {
    const store = seen(durations())
    assert.include(shownOf(store, "work_seconds").title, "p50 – p99: 0.05")
    const { title } = shownOf(store, "work_seconds", { query: "/slow" })
    assert.strictEqual(title, `p50 – p99: ${0.1 + 0.9 * 0.5} – ${0.1 + 0.9 * 0.99}`)
  })

  it("the mean of the summaries that match", () => {
    const store = seen('# TYPE s summary\ns_sum{a="x"} 10\ns_count{a="x"} 10\ns_sum{a="y"} 90\ns_count{a="y"} 10\n')
    assert.strictEqual(shownOf(store, "s").text, "5")
    assert.strictEqual(shownOf(store, "s", { query: 'a="y"' }).text, "9")
  })

  it("how many of its series match, as Prometheus counts them", () => {
    const store = seen(durations() + gauges(1, 2, 3))
    const lines = (query: string) =>
      filtered(store, { query }).map(({ family, lines }) => [family.name, lines, family.lines])
    assert.deepStrictEqual(lines("slow"), [["work_seconds", 5, 10]])
    assert.deepStrictEqual(lines("b"), [["depth", 1, 3]])
    assert.deepStrictEqual(lines("depth"), [["depth", 3, 3]])
  })

  it("the history of the series that match", () => {
    const store = seen(requests(0, 0), requests(10, 0), requests(20, 5), requests(40, 6))
    const history = (query: string) => historyOf(foundFamily(store, "requests_total", { query }).series)
    assert.deepStrictEqual(history(""), [Number.NaN, 10, 15, 21])
    assert.deepStrictEqual(history("500"), [0, 5, 1])
    assert.deepStrictEqual(history("200"), [Number.NaN, 10, 10, 20])
    const all = foundFamily(store, "requests_total").family.history?.all()
    assert.deepStrictEqual(all, history(""))
  })

  it("no history if it cannot be known for all of the series that match", () => {
    const many = (value: number): string =>
      Array.from({ length: 2_100 }, (_, at) => `g{at="${at}"} ${value}\n`).join("")
    const { series } = foundFamily(seen(many(1), many(2)), "g")
    assert.deepStrictEqual(historyOf(series), [])
    assert.deepStrictEqual(historyOf(series.slice(0, 2)), [2, 4])
  })
})

describe("The history of several series", () => {
  it("has a gauge that never changes as its value, also before another one changes", () => {
    const store = seen(gauges(1, 5, 9), gauges(1, 5, 9), gauges(1, 6, 9), gauges(1, 6, 10))
    const { series } = foundFamily(store, "depth")
    assert.deepStrictEqual(historyOf(series), [15, 16, 17])
  })

  const one = (value: number): string => `depth{queue="a"} ${value}\n`
  const other = (value: number): string => `depth{queue="b"} ${value}\n`
  const later: ReadonlyArray<readonly [title: string, texts: ReadonlyArray<string>, expected: ReadonlyArray<number>]> =
    [
      ["that never changes", [one(1), one(2), one(3) + other(10), one(4) + other(10)], [1, 2, 13, 14]],
      ["that changes later", [one(1), one(2), one(3) + other(10), one(4) + other(12)], [1, 2, 13, 16]],
      ["that appears again", [one(1) + other(9), one(2), one(3) + other(9)], [1, 2, 12]]
    ]
  for (const [title, texts, expected] of later) {
    it(`has a gauge as 0 before it appeared, also one ${title}`, () => {
      const store = seen(...texts.map((text) => `# TYPE depth gauge\n${text}`))
      assert.deepStrictEqual(historyOf(foundFamily(store, "depth").series), expected)
    })
  }
})

describe("The line of a histogram shows", () => {
  const text = (low: number, all: number): string =>
    `# TYPE h histogram\n${histogramLines("h", "", { "1": low, "2": all, "+Inf": all }, all)}`

  it("the quantiles since the start until there is something to compare with", () => {
    assert.deepInclude(shownOf(seenAt([0, text(10, 10)]), "h"), {
      ...{ text: "0.5 – 0.99", more: "p50 – p99 since start", since: "" }
    })
  })

  it("those of the last minute then, how long that was, its rate, and those since the start below", () => {
    const store = seenAt([0, text(10, 10)], [20, text(10, 20)])
    assert.deepInclude(shownOf(store, "h"), {
      ...{ text: "1.5 – 1.99", title: "p50 – p99: 1.5 – 1.99", more: "p50 – p99, last 20 s, 0.5/s" },
      since: "since start 1 – 1.98"
    })
    const later = seenAt([0, text(10, 10)], [60, text(10, 20)], [120, text(70, 80)])
    assert.deepInclude(shownOf(later, "h"), {
      ...{ text: "0.5 – 0.99", more: "p50 – p99, last minute, 1/s" }
    })
  })

  it("that there was nothing in that time", () => {
    const store = seenAt([0, text(10, 10)], [60, text(10, 10)])
    const shown = { text: "–", title: "", more: "nothing in the last minute", since: "since start 0.5 – 0.99" }
    assert.deepStrictEqual(shownOf(store, "h"), shown)
  })

  it("the mean of the last minute, and the rate, if its series have different buckets", () => {
    const different = (count: number, sum: number): string =>
      `# TYPE h histogram\n${histogramLines("h", 'a="1"', { "1": 2, "+Inf": 2 }, 1)}${histogramLines("h", 'a="2"', { "5": count, "+Inf": count }, sum)}`
    const first: Looks[number] = [0, different(2, 1)]
    const cases: ReadonlyArray<readonly [Looks, Partial<Summary>]> = [
      [[first], { text: "0.5", more: "mean since start", since: "" }],
      [[first, [60, different(2, 1)]], { text: "–", more: "nothing in the last minute", since: "since start 0.5" }],
      [[first, [60, different(62, 127)]], { text: "2.1", more: "mean, last minute, 1/s", since: "since start 2" }]
    ]
    for (const [looks, expected] of cases) assert.deepInclude(shownOf(seenAt(...looks), "h"), expected)
  })

  it("the number of observations if there is no mean either", () => {
    assert.deepInclude(shownOf(seen(text(0, 0)), "h"), { text: "0 observations", more: "" })
  })
})
