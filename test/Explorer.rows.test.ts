// The order of families, the order of rows, their sums, and how a link keeps them.
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { type Choice, initialChoice, sortedBy } from "../src/explorer/choice.js"
import { rateOf, totalOf } from "../src/explorer/figures.js"
import { type Group, groupsOf, summableBy } from "../src/explorer/groups.js"
import { notesOf } from "../src/explorer/notes.js"
import { observedByAll, spans } from "../src/explorer/observations.js"
import { columns, firstOf, type RowOrder } from "../src/explorer/order.js"
import { quantileOf } from "../src/explorer/quantile.js"
import { fragmentOf, stateOf } from "../src/explorer/state.js"
import type { Store } from "../src/explorer/store.js"
import { filtered, foundFamily, histogramLines, seen } from "./support/explorerStore.js"
import { roundTripSeed as seed } from "./support/roundTrip.js"

describe("The families by name are in the order", () => {
  const inOrder = (...names: ReadonlyArray<string>): ReadonlyArray<string> =>
    filtered(seen(names.map((name) => `${name} 1\n`).join(""))).map(({ family }) => family.name)

  it("of the application, of the process and its runtime, and of this library", () => {
    const names = [
      ...["effect_prometheus_errors_total", "nodejs_version_info", "a_total", "process_cpu_seconds_total", "z_total"],
      ...["effect_fiber_active", "effect_prometheus_scrapes_total", "shop_orders_total"]
    ]
    assert.deepStrictEqual(inOrder(...names), [
      ...["a_total", "shop_orders_total", "z_total"],
      ...["effect_fiber_active", "nodejs_version_info", "process_cpu_seconds_total"],
      ...["effect_prometheus_errors_total", "effect_prometheus_scrapes_total"]
    ])
  })

  it("that recognizes the metrics of a runtime with a prefix, and no others", () => {
    const names = [
      ...["checkout_nodejs_heap_size_total_bytes", "checkout_process_cpu_user_seconds_total"],
      ...["order_process_duration_seconds", "processed_total", "my_effect_prometheus_total", "effect_total"]
    ]
    assert.deepStrictEqual(inOrder(...names), [
      ...["effect_total", "my_effect_prometheus_total", "order_process_duration_seconds", "processed_total"],
      ...["checkout_nodejs_heap_size_total_bytes", "checkout_process_cpu_user_seconds_total"]
    ])
  })

  it("that the number of series replaces: of those that match the filter", () => {
    const store = seen('a{x="1"} 1\nb{x="1"} 1\nb{x="2"} 1\nb{x="3"} 1\na{x="2"} 1\neffect_prometheus_c{x="2"} 1\n')
    const names = (query: string) => filtered(store, { query, sort: "series" }).map(({ family }) => family.name)
    assert.deepStrictEqual(names(""), ["b", "a", "effect_prometheus_c"])
    assert.deepStrictEqual(names("2"), ["a", "b", "effect_prometheus_c"])
  })
})

const counters = seen(
  '# TYPE c counter\nc{at="2"} 5\nc{at="10"} 5\nc{at="1"} NaN\nc{at="3"} 20\n',
  '# TYPE c counter\nc{at="2"} 8\nc{at="10"} 6\nc{at="1"} NaN\nc{at="3"} 20\n'
)

const rowsOf = (store: Store, name: string, by: ReadonlyArray<string> = []): ReadonlyArray<Group> =>
  groupsOf(foundFamily(store, name).series, by)

const ordered = (rows: ReadonlyArray<Group>, order: Partial<RowOrder>, count = 100): ReadonlyArray<string> =>
  firstOf(rows, { ...initialChoice, ...order }, count).map(({ labels }) => labels.map(([, value]) => value).join())

describe("The rows of a family are sorted", () => {
  const cases: ReadonlyArray<readonly [title: string, order: Partial<RowOrder>, expected: ReadonlyArray<string>]> = [
    ["by labels first, in which numbers are compared as numbers", {}, ["1", "2", "3", "10"]],
    ["by labels in the other direction", { isDescending: true }, ["10", "3", "2", "1"]],
    ["by value, with what is no number last", { column: "value", isDescending: true }, ["3", "2", "10", "1"]],
    ["by value upwards, with what is no number last", { column: "value" }, ["10", "2", "3", "1"]],
    ["by rate", { column: "rate", isDescending: true }, ["2", "10", "3", "1"]],
    ["by rate upwards", { column: "rate" }, ["3", "10", "2", "1"]]
  ]
  for (const [title, order, expected] of cases) {
    it(title, () => assert.deepStrictEqual(ordered(rowsOf(counters, "c"), order), expected))
  }

  it("by labels where they are equal", () => {
    const store = seen('g{x="b"} 1\ng{x="c"} 1\ng{x="a"} 1\n')
    assert.deepStrictEqual(ordered(rowsOf(store, "g"), { column: "value", isDescending: true }), ["a", "b", "c"])
  })

  it("by the p99, the count and the rate of the observations in the time that is shown", () => {
    const text = (first: number, second: number): string =>
      `# TYPE h histogram\n${histogramLines("h", 'a="x"', { "1": first, "2": first, "+Inf": first }, 1)}${histogramLines("h", 'a="y"', { "1": 0, "2": second, "+Inf": second }, 1)}`
    const rows = rowsOf(seen(text(10, 100), text(50, 101)), "h")
    for (const [column, span, expected] of [
      ["p99", "minute", "y,x"],
      ["value", "start", "y,x"],
      ["value", "minute", "x,y"],
      ["rate", "minute", "x,y"],
      ["rate", "start", "x,y"]
    ] as const) {
      assert.strictEqual(ordered(rows, { column, span, isDescending: true }).join(), expected, `${column}, ${span}`)
    }
  })

  it("by the mean of summaries", () => {
    const store = seen('# TYPE s summary\ns_sum{a="x"} 1\ns_count{a="x"} 1\ns_sum{a="y"} 9\ns_count{a="y"} 3\n')
    assert.deepStrictEqual(ordered(rowsOf(store, "s"), { column: "mean", span: "start", isDescending: true }), [
      "y",
      "x"
    ])
  })

  it(`so that the first ones of many are those of all (seed ${seed}): 1,000 families`, () => {
    const value = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant("NaN"), fc.constant("+Inf"))
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 30 }),
        fc.nat(35),
        fc.constantFrom("labels", "value"),
        fc.boolean(),
        (values, count, column, isDescending) => {
          const store = seen(`# TYPE g gauge\n${values.map((one, at) => `g{at="${at}"} ${one}\n`).join("")}`)
          const rows = rowsOf(store, "g")
          const all = ordered(rows, { column, isDescending }, rows.length)
          assert.lengthOf(new Set(all), values.length)
          assert.deepStrictEqual(ordered(rows, { column, isDescending }, count), all.slice(0, count))
        }
      ),
      { seed, numRuns: 1_000 }
    )
  })

  it("downwards at the first click on a number, and in the other direction at the second", () => {
    const clicked = (...clicks: ReadonlyArray<Choice["column"]>) => {
      const { column, isDescending } = clicks.reduce(sortedBy, initialChoice)
      return [column, isDescending]
    }
    assert.deepStrictEqual(clicked("value"), ["value", true])
    assert.deepStrictEqual(clicked("value", "value"), ["value", false])
    assert.deepStrictEqual(clicked("value", "labels"), ["labels", false])
    assert.deepStrictEqual(clicked("labels"), ["labels", true])
  })
})

describe("The sum by a label", () => {
  const requests = (...[one, two, three]: readonly [number, number, number]): string =>
    [
      "# TYPE c counter",
      `c{route="/a",status="200"} ${one}`,
      `c{route="/a",status="500"} ${two}`,
      `c{status="500"} ${three}\n`
    ].join("\n")

  it("adds the values and the rates of counters; a label that is missing is empty", () => {
    const store = seen(requests(1, 2, 3), requests(4, 4, 4))
    const sums = (...by: ReadonlyArray<string>) =>
      rowsOf(store, "c", by).map(({ labels, series }) => [labels, totalOf(series), rateOf(series)])
    assert.deepStrictEqual(sums("route"), [
      [[["route", "/a"]], 8, 5],
      [[["route", ""]], 4, 1]
    ])
    assert.deepStrictEqual(sums("status"), [
      [[["status", "200"]], 4, 3],
      [[["status", "500"]], 8, 3]
    ])
    assert.lengthOf(sums("status", "route"), 3)
  })

  it("adds up what the filter leaves", () => {
    const { series } = foundFamily(seen(requests(1, 2, 3)), "c", { query: "500" })
    const sums = groupsOf(series, ["route"]).map((group) => totalOf(group.series))
    assert.deepStrictEqual(sums, [2, 3])
  })

  it("keeps its key at the next exposition, and distinguishes any values", () => {
    const store = seen('g{a="x\\",\\"b",b=""} 1\ng{a="x",b="b"} 1\ng{a="x",b="b\\n"} 1\n')
    const keys = rowsOf(store, "g", ["a", "b"]).map(({ key }) => key)
    assert.lengthOf(new Set(keys), 3)
    assert.deepStrictEqual(
      rowsOf(store, "g", ["a", "b"]).map(({ key }) => key),
      keys
    )
  })

  it("merges the buckets of histograms", () => {
    const store = seen(
      `# TYPE h histogram\n${histogramLines("h", 'a="1",b="x"', { "1": 4, "2": 4, "+Inf": 4 }, 2)}${histogramLines("h", 'a="1",b="y"', { "1": 0, "2": 4, "+Inf": 4 }, 6)}`
    )
    const [row, ...others] = rowsOf(store, "h", ["a"])
    assert.deepStrictEqual(others, [])
    const observed = observedByAll(row?.series ?? [], "start")
    assert.deepStrictEqual([observed.count, observed.sum], [8, 8])
    assert.strictEqual(quantileOf(0.75, observed.buckets), 1.5)
    assert.strictEqual(notesOf(foundFamily(store, "h"), "start", ["a"]), "")
  })

  it("has no quantiles of histograms with different buckets, and says so", () => {
    const store = seen(
      `# TYPE h histogram\n${histogramLines("h", 'a="1"', { "1": 4, "+Inf": 4 }, 2)}${histogramLines("h", 'a="2"', { "2": 4, "+Inf": 4 }, 6)}${histogramLines("h", 'a="3"', { "1": 4, "+Inf": 4 }, 2)}`
    )
    const { buckets, count } = observedByAll(foundFamily(store, "h").series, "start")
    assert.deepStrictEqual([buckets, count], [[], 12])
    assert.strictEqual(
      notesOf(foundFamily(store, "h"), "start", ["a"]),
      "Series with different buckets have no common quantiles."
    )
  })

  it("has no quantiles of summaries, and says so", () => {
    const store = seen('# TYPE s summary\ns{a="1",quantile="0.5"} 1\ns_sum{a="1"} 3\ns_count{a="1"} 2\n')
    assert.strictEqual(
      notesOf(foundFamily(store, "s"), "start", ["a"]),
      "Quantiles of summaries cannot be summed: only the sum and the count are."
    )
    assert.strictEqual(notesOf(foundFamily(store, "s"), "start", []), "")
  })

  it("can be chosen for each label of more than one series, up to twenty", () => {
    const names = (text: string) => summableBy(foundFamily(seen(text), "g").series)
    assert.deepStrictEqual(names('g{a="1"} 1\n'), [])
    assert.deepStrictEqual(names('g{a="1"} 1\ng{b="1",a="2"} 1\n'), ["a", "b"])
    const many = Array.from({ length: 30 }, (_, at) => `l${at}="v"`).join(",")
    assert.lengthOf(names(`g{${many}} 1\ng 2\n`), 20)
  })
})

describe("A link keeps how the rows are shown", () => {
  const throughLink = (choices: ReadonlyMap<string, Choice>): ReadonlyMap<string, Choice> =>
    stateOf(fragmentOf({ ...stateOf(""), choices })).choices

  it("in a form that can be read", () => {
    const choice: Choice = { by: ["route", "status"], column: "rate", isDescending: true, span: "start" }
    const fragment = fragmentOf({ ...stateOf(""), open: new Set(["a"]), choices: new Map([["a", choice]]) })
    assert.strictEqual(fragment, "#open=a&view=a+-rate+start+by:route,status")
    assert.deepStrictEqual(stateOf(fragment).choices.get("a"), choice)
  })

  it("unless it is the initial way", () => {
    assert.strictEqual(fragmentOf({ ...stateOf(""), choices: new Map([["a", initialChoice]]) }), "")
  })

  it(`of any names (seed ${seed}): 1,000 choices`, () => {
    // What the parser takes for a name.
    const name = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 8 })
      .map((text) => `n${text.replace(/[\s{}="',\\]/g, "")}`)
    const choice = fc.record({
      by: fc.uniqueArray(name, { maxLength: 4 }),
      column: fc.constantFrom(...columns),
      isDescending: fc.boolean(),
      span: fc.constantFrom(...spans)
    })
    fc.assert(
      fc.property(name, choice, (family, chosen) => {
        const text = fragmentOf({ ...stateOf(""), choices: new Map([[family, chosen]]) })
        assert.deepStrictEqual(stateOf(text).choices.get(family) ?? initialChoice, chosen)
      }),
      { seed, numRuns: 1_000 }
    )
  })

  it("of thirty families at most, the latest ones, and ignores what it does not know", () => {
    const choices = new Map(
      Array.from({ length: 40 }, (_, at) => [`f${at}`, sortedBy(initialChoice, "value")] as const)
    )
    assert.deepStrictEqual([...throughLink(choices).keys()], [...choices.keys()].slice(-30))
    assert.deepStrictEqual(stateOf("#view=a+nothing+by:+-+-minute&view=").choices.get("a"), initialChoice)
    const names = Array.from({ length: 100_000 }, (_, at) => `l${at}`)
    assert.lengthOf(stateOf(`#view=a+by:${names.join(",")}`).choices.get("a")?.by ?? [], 20)
  })
})
