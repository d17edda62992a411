// The expressions that the page copies. test/integration/Explorer.promql.test.ts has a real Prometheus evaluate them.
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Copy } from "../src/explorer/actions.js"
import { groupsOf, labelOf } from "../src/explorer/groups.js"
import { type Matcher, matchersOf } from "../src/explorer/matchers.js"
import { copyOfFamily, copyOfRow } from "../src/explorer/promqlOfRows.js"
import { foundFamily, histogramLines, seen } from "./support/explorerStore.js"
import { roundTripSeed as seed } from "./support/roundTrip.js"

const requests = `# TYPE requests_total counter
requests_total{route="/a",status="200"} 1
requests_total{route="/a",status="404"} 1
requests_total{route="/a",status="500"} 1
requests_total{route="/b",status="200"} 1
requests_total{route="/b",status="500"} 1
requests_total{route="/c",status="503",zone="x"} 1
`

const textOf = ({ first }: Copy): string | undefined => first?.text

const all = ({ expressions }: Copy): Readonly<Record<string, string>> =>
  Object.fromEntries(expressions.map(({ name, text }) => [name, text]))

const family = (text: string, name: string, query = "", by: ReadonlyArray<string> = []): Copy =>
  copyOfFamily(foundFamily(seen(text), name, { query }), by)

/** The row at that place, of the series that match. */
const row = (text: string, name: string, at: number, query = "", by: ReadonlyArray<string> = []): Copy => {
  const found = foundFamily(seen(text), name, { query })
  const group = groupsOf(found.series, by)[at]
  if (group === undefined) throw new Error(`there is no row ${at}`)
  return copyOfRow(found, by, group)
}

describe("The expression of a counter is", () => {
  it("the rate of one series, without the series that have more labels", () => {
    assert.deepStrictEqual(all(row(requests, "requests_total", 0)), {
      "Per second": 'rate(requests_total{route="/a",status="200",zone=""}[5m])',
      Value: 'requests_total{route="/a",status="200",zone=""}'
    })
  })

  it("the rate of each of its series", () => {
    assert.strictEqual(textOf(family(requests, "requests_total")), "rate(requests_total[5m])")
  })

  it("the sum by the chosen labels", () => {
    assert.deepStrictEqual(all(family(requests, "requests_total", "", ["route", "status"])), {
      "Per second": "sum by (route, status) (rate(requests_total[5m]))",
      Sum: "sum by (route, status) (requests_total)"
    })
  })

  it("the sum of one row", () => {
    const expected = 'sum(rate(requests_total{route="/a"}[5m]))'
    assert.strictEqual(textOf(row(requests, "requests_total", 0, "", ["route"])), expected)
  })

  it("of the samples with the suffix that the exposition gives them", () => {
    assert.strictEqual(textOf(family("# TYPE c counter\nc_total 1\n", "c")), "rate(c_total[5m])")
  })
})

describe("The filter is part of an expression", () => {
  it("as the label that it is about", () => {
    assert.strictEqual(textOf(family(requests, "requests_total", "404")), 'rate(requests_total{status="404"}[5m])')
    assert.strictEqual(textOf(family(requests, "requests_total", "/b")), 'rate(requests_total{route="/b"}[5m])')
  })

  it("as a list of values, which are no regular expressions", () => {
    const expected = 'sum by (route) (rate(requests_total{status=~"500|503"}[5m]))'
    assert.strictEqual(textOf(family(requests, "requests_total", '"50', ["route"])), expected)
    const text = 'g{a="x.1"} 1\ng{a="x|2"} 1\ng{a="y(1)"} 1\n'
    assert.strictEqual(textOf(family(text, "g", '"x')), 'g{a=~"x\\\\.1|x\\\\|2"}')
  })

  it("as several labels, if one does not do", () => {
    const expected = 'rate(requests_total{route="/b",status="500"}[5m])'
    assert.strictEqual(textOf(family(requests, "requests_total", "/b 500")), expected)
  })

  it("in the sum of a row", () => {
    const expected = 'sum(rate(requests_total{route="/a",status="500"}[5m]))'
    assert.strictEqual(textOf(row(requests, "requests_total", 0, '"500', ["route"])), expected)
  })

  it("by the label that was typed, also if another one would do", () => {
    const text = 'g{a="1",b="one"} 1\ng{a="2",b="two"} 1\n'
    assert.strictEqual(textOf(family(text, "g", "two")), 'g{b="two"}')
    assert.strictEqual(textOf(family(text, "g", 'a="2')), 'g{a="2"}')
  })

  const settled: ReadonlyArray<readonly [title: string, query: string, by: ReadonlyArray<string>, expected: string]> = [
    ["as a label that all series here match", "500", [], 'rate(c{status="500"}[5m])'],
    ["as several of these", "500 /b", [], 'rate(c{status="500",route="/b"}[5m])'],
    ["as a list of values that all series here match", "/", [], 'rate(c{route=~"/a|/b"}[5m])'],
    ["as a label with a part of its name", 'tus="5', [], 'rate(c{status="500"}[5m])'],
    ["in a sum that all series here match", "500", ["route"], 'sum by (route) (rate(c{status="500"}[5m]))'],
    ["not for a word in the name of a label", "status", [], "rate(c[5m])"],
    ["not for a word in the values of several labels", "eu", [], "rate(c[5m])"]
  ]
  for (const [title, query, by, expected] of settled) {
    it(title, () => {
      const text = `# TYPE c counter
c{route="/a",status="500",zone="eu-1",region="eu"} 1
c{route="/b",status="500",zone="eu-2",region="eu"} 1
`
      assert.strictEqual(textOf(family(text, "c", query, by)), expected)
    })
  }

  it("in the sum of a row once, also if the sum is by the label that was typed", () => {
    assert.strictEqual(
      textOf(row(requests, "requests_total", 0, "/a", ["route"])),
      'sum(rate(requests_total{route="/a"}[5m]))'
    )
  })

  it("not if no lists of values select the same series, and then it says so", () => {
    const text = 'g{a="1",b="2"} 1\ng{a="2",b="1"} 1\ng{a="1",b="1"} 1\ng{a="2",b="2"} 1\n'
    const found = foundFamily(seen(text), "g")
    const copy = copyOfFamily({ ...found, series: found.series.slice(0, 2) }, [])
    assert.strictEqual(textOf(copy), "g")
    assert.strictEqual(copy.note, "It is of all series, because label matchers cannot express this filter.")
    assert.strictEqual(family(text, "g", 'a="1"').note, "")
  })

  it("not as a list of more than ten values", () => {
    const text = Array.from({ length: 24 }, (_, at) => `g{a="${at < 12 ? "x" : "y"}${at}"} 1\n`).join("")
    assert.notStrictEqual(family(text, "g", "x").note, "")
  })

  it("not if it is about the name or the help", () => {
    assert.deepStrictEqual(all(family(`# HELP g Some 42\n${"g 1\n"}`, "g", "some g")), { Value: "g" })
  })
})

describe("The expression of a gauge is", () => {
  it("its selector, or a sum of it", () => {
    const text = '# TYPE g gauge\ng{a="1",b="x"} 1\ng{a="2",b="x"} 2\n'
    assert.deepStrictEqual(all(family(text, "g")), { Value: "g" })
    assert.deepStrictEqual(all(row(text, "g", 1)), { Value: 'g{a="2",b="x"}' })
    assert.deepStrictEqual(all(family(text, "g", "", ["b"])), { Sum: "sum by (b) (g)" })
    assert.deepStrictEqual(all(row(text, "g", 0, "", ["b"])), { Sum: 'sum(g{b="x"})' })
  })
})

describe("The expression of a histogram is", () => {
  const buckets = { "1": 1, "+Inf": 1 }
  const text = `# TYPE h histogram\n${histogramLines("h", 'a="1"', buckets, 1)}${histogramLines("h", 'a="2"', buckets, 1)}`

  it("p95 first, and its other quantiles, its mean, and its rate", () => {
    const copy = row(text, "h", 1)
    assert.strictEqual(copy.first?.name, "p95")
    assert.deepStrictEqual(all(copy), {
      p50: 'histogram_quantile(0.5, rate(h_bucket{a="2"}[5m]))',
      p95: 'histogram_quantile(0.95, rate(h_bucket{a="2"}[5m]))',
      p99: 'histogram_quantile(0.99, rate(h_bucket{a="2"}[5m]))',
      Mean: 'rate(h_sum{a="2"}[5m]) / rate(h_count{a="2"}[5m])',
      "Per second": 'rate(h_count{a="2"}[5m])'
    })
  })

  it("of each series, or of each sum", () => {
    assert.strictEqual(textOf(family(text, "h")), "histogram_quantile(0.95, rate(h_bucket[5m]))")
    assert.strictEqual(
      textOf(family(text, "h", "", ["a"])),
      "histogram_quantile(0.95, sum by (le, a) (rate(h_bucket[5m])))"
    )
    assert.strictEqual(
      all(family(text, "h", "", ["a"]))["Mean"],
      "sum by (a) (rate(h_sum[5m])) / sum by (a) (rate(h_count[5m]))"
    )
  })
})

describe("The expression of a summary is", () => {
  const text =
    '# TYPE s summary\ns{quantile="0.5",a="x"} 1\ns{quantile="1",a="x"} 2\ns_sum{a="x"} 3\ns_count{a="x"} 2\n'

  it("each quantile, its mean, and its rate", () => {
    assert.deepStrictEqual(all(row(text, "s", 0)), {
      p50: 's{a="x",quantile="0.5"}',
      // Prometheus 3 stores it as 1.0.
      p100: 's{a="x",quantile=~"1|1\\\\.0"}',
      Mean: 'rate(s_sum{a="x"}[5m]) / rate(s_count{a="x"}[5m])',
      "Per second": 'rate(s_count{a="x"}[5m])'
    })
  })

  it("without quantiles if it is a sum", () => {
    assert.deepStrictEqual(all(family(text, "s", "", ["a"])), {
      Mean: "sum by (a) (rate(s_sum[5m])) / sum by (a) (rate(s_count[5m]))",
      "Per second": "sum by (a) (rate(s_count[5m]))"
    })
  })
})

describe("An expression names", () => {
  const gauge = (labels: string): string | undefined => textOf(row(`g{${labels}} 1\n`, "g", 0))
  const names: ReadonlyArray<readonly [title: string, actual: string | undefined, expected: string]> = [
    ["values with quotes, backslashes and newlines", gauge('a="x\\"\\\\\\n"'), 'g{a="x\\"\\\\\\n"}'],
    [
      "values with invisible characters",
      gauge('a="\u202Ex\u0000\u2028\u{E0001}"'),
      'g{a="\\u202ex\\u0000\\u2028\\U000e0001"}'
    ],
    ["values with the replacement character", gauge('a="\uFFFD"'), 'g{a="\\ufffd"}'],
    ["values with other characters as they are", gauge('a="é日😀$x`"'), 'g{a="é日😀$x`"}'],
    ["labels in UTF-8", gauge('a.b="1"'), 'g{"a.b"="1"}'],
    ["metrics in UTF-8", textOf(family("a.b 1\n", "a.b")), '{__name__="a.b"}'],
    ["metrics that are words of the language", textOf(family("bool 1\n", "bool")), '{__name__="bool"}'],
    ["metrics that are numbers of the language", textOf(family("NaN 1\n", "NaN")), '{__name__="NaN"}'],
    [
      "labels to sum by that are numbers, or words of the language",
      textOf(family('g{inf="1",without="2",by="3",a.b="4"} 1\ng 2\n', "g", "", ["inf", "without", "by", "a.b"])),
      'sum by ("inf", "without", by, "a.b") (g)'
    ]
  ]
  for (const [title, actual, expected] of names) it(title, () => assert.strictEqual(actual, expected))
})

describe("Matchers", () => {
  const selects = (matchers: ReadonlyArray<Matcher>, labels: Parameters<typeof labelOf>[0]): boolean =>
    matchers.every(({ name, values }) => values.includes(labelOf(labels, name)))

  it(`select exactly the chosen series, or there are none (seed ${seed}): 5,000 families`, () => {
    const value = fc.constantFrom("", "1", "2", "3")
    const series = fc.record({ labels: fc.tuple(value, value, value), isChosen: fc.boolean() })
    let exact = 0
    fc.assert(
      fc.property(fc.uniqueArray(series, { selector: ({ labels }) => labels.join(), minLength: 1 }), (given) => {
        const text = given.map(({ labels: [a, b, c] }) => `g{a="${a}",b="${b}",c="${c}"} 1\n`).join("")
        const { series: every } = foundFamily(seen(text), "g")
        const chosen = every.filter((_, at) => given[at]?.isChosen)
        const matchers = matchersOf(chosen, every, { fixed: [], words: ["1"] })
        // A label that is the same for all chosen ones can be given as well.
        const selected = matchers && every.filter((one) => selects(matchers, one))
        if (selected !== undefined) exact += 1
        if (selected !== undefined && chosen.length > 0) assert.deepStrictEqual(selected, chosen)
        // One series can always be selected.
        if (chosen.length === 1) assert.isDefined(matchers)
      }),
      { seed, numRuns: 5_000 }
    )
    assert.isAbove(exact, 1_000)
  })
})
