// The observations of the last minute: the difference to the exposition that is closest to a minute ago.
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { notesOf } from "../src/explorer/notes.js"
import { type Observed, observedBy, observedByAll } from "../src/explorer/observations.js"
import { SnapshotTimes } from "../src/explorer/recent.js"
import type { Store } from "../src/explorer/store.js"
import { foundFamily, histogramLines, type Looks, look, seenAt } from "./support/explorerStore.js"
import { roundTripSeed as seed } from "./support/roundTrip.js"

const text = (low: number, all: number, labels = ""): string =>
  `# TYPE h histogram\n${histogramLines("h", labels, { "1": low, "+Inf": all }, all * 2)}`

const observed = (store: Store): Observed => observedByAll(foundFamily(store, "h").series, "minute")

const counts = (store: Store): ReadonlyArray<number> => observed(store).buckets.map(({ count }) => count)

describe("The last minute of a histogram", () => {
  it("is empty at the first exposition", () => {
    const store = seenAt([0, text(3, 5)])
    assert.strictEqual(store.window, 0)
    assert.deepStrictEqual(observed(store), {
      buckets: [
        { bound: 1, count: 0 },
        { bound: Number.POSITIVE_INFINITY, count: 0 }
      ],
      sum: 0,
      count: 0
    })
  })

  it("begins with the first exposition while the page has been open for less than a minute", () => {
    const store = seenAt([100, text(3, 5)], [105, text(4, 7)], [110, text(4, 9)])
    assert.strictEqual(store.window, 10)
    assert.deepStrictEqual([observed(store).count, observed(store).sum, counts(store)], [4, 8, [1, 4]])
  })

  it("is the time since the exposition that is closest to a minute ago", () => {
    const looks = Array.from({ length: 30 }, (_, at) => [at * 5, text(at, at * 3)] as const)
    const store = seenAt(...looks)
    assert.strictEqual(store.window, 60)
    assert.deepStrictEqual([observed(store).count, counts(store)], [36, [12, 36]])
  })

  it("is longer if nothing was requested in between, and says so", () => {
    const store = seenAt([0, text(1, 1)], [5, text(2, 2)], [605, text(9, 9)])
    assert.strictEqual(store.window, 600)
    assert.strictEqual(observed(store).count, 7)
    look(store, text(10, 10), 610_000)
    assert.deepStrictEqual([store.window, observed(store).count], [5, 1])
  })

  it("has what was observed since a reset, also if that is more than before", () => {
    const store = seenAt([0, text(50, 100)], [5, text(55, 110)], [10, text(1, 3)], [15, text(90, 200)])
    assert.deepStrictEqual([observed(store).count, counts(store), observed(store).sum], [200, [90, 200], 400])
    // A minute after the reset, the time before it is over.
    for (let at = 20; at <= 80; at += 5) look(store, text(90, 200), at * 1_000)
    assert.deepStrictEqual([observed(store).count, counts(store)], [0, [0, 0]])
  })

  it("has all observations of a series that appeared in it", () => {
    const store = seenAt([0, text(1, 1, 'a="1"')], [5, text(1, 1, 'a="1"') + text(2, 3, 'a="2"')])
    assert.strictEqual(observed(store).count, 3)
  })

  it("does not mix up its buckets if some come, go, or are in another order", () => {
    const lines = (buckets: Readonly<Record<string, number>>): string =>
      `# TYPE h histogram\n${histogramLines("h", "", buckets, 1)}`
    const store = seenAt(
      [0, lines({ "4": 40, "2": 20, "1": 10, "+Inf": 50 })],
      [5, lines({ "4": 44, "3": 35, "1": 11, "+Inf": 55 })],
      [10, lines({ "1": 12, "3": 36, "4": 46, "+Inf": 58 })]
    )
    assert.deepStrictEqual(
      observed(store).buckets.map(({ bound, count }) => [bound, count]),
      [
        [1, 2],
        // It is new, so it began at 0.
        [3, 36],
        [4, 6],
        [Number.POSITIVE_INFINITY, 8]
      ]
    )
  })

  it("keeps the numbers of its buckets apart when one of them is gone", () => {
    const lines = (buckets: Readonly<Record<string, number>>): string =>
      `# TYPE h histogram\n${histogramLines("h", "", buckets, 1)}`
    const store = seenAt(
      [0, lines({ "1": 1, "2": 2, "4": 4, "+Inf": 8 })],
      [60, lines({ "2": 20, "4": 40, "+Inf": 80 })],
      [120, lines({ "2": 21, "4": 42, "+Inf": 84 })]
    )
    assert.deepStrictEqual(counts(store), [1, 2, 4])
  })

  it("does not remember more if it is refreshed again and again", () => {
    const store = seenAt(...Array.from({ length: 500 }, (_, at) => [at / 100, text(at, at)] as const))
    assert.closeTo(store.window, 4.99, 1e-9)
    assert.strictEqual(observed(store).count, 499)
    const times = new SnapshotTimes()
    const due = Array.from({ length: 500 }, (_, at) => {
      times.begin(at * 10)
      return times.isDue
    })
    assert.lengthOf(due.filter(Boolean), 2)
  })

  it(`is the difference to a minute ago for any history (seed ${seed}): 2,000 of them`, () => {
    const step = fc.record({ pause: fc.integer({ min: 1, max: 90 }), grown: fc.nat(5), isReset: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const store = seenAt([0, text(0, 0)])
        const times = [0]
        // What was counted in all since the beginning, at each time.
        const totals = [0]
        let [at, value, total] = [0, 0, 0]
        for (const { grown, isReset, pause } of steps) {
          at += pause
          // A reset shows if the count is lower than before.
          value = isReset && grown < value ? grown : value + grown
          total += grown
          times.push(at)
          totals.push(total)
          look(store, text(value, value), at * 1_000)
        }
        const before = at - store.window
        const index = times.indexOf(before)
        assert.isAtLeast(index, 0, "it is the time of an exposition")
        const last = totals.at(-1) ?? 0
        const expected = last - (totals[index] ?? 0)
        // After a reset, what was counted between the last exposition before it and the baseline is not known.
        assert.isAtMost(observed(store).count, last)
        const hasReset = steps.slice(index).some(({ isReset }) => isReset)
        if (!hasReset) assert.strictEqual(observed(store).count, expected)
        else assert.isAtMost(observed(store).count, expected)
      }),
      { seed, numRuns: 2_000 }
    )
  })
})

describe("The last minute of a summary", () => {
  it("has the count and the sum, and no difference of quantiles", () => {
    const lines = (count: number, quantile: number): string =>
      `# TYPE s summary\ns{quantile="0.5"} ${quantile}\ns_sum ${count * 3}\ns_count ${count}\n`
    const store = seenAt([0, lines(4, 9)], [60, lines(10, 2)])
    const [series] = foundFamily(store, "s").series
    assert.isDefined(series)
    const { count, sum } = observedBy(series, "minute")
    assert.deepStrictEqual([count, sum, series.distribution?.points[0]?.value], [6, 18, 2])
  })
})

describe("The note above histograms", () => {
  const noted = (...looks: Looks) => notesOf(foundFamily(seenAt(...looks), "h"), "minute", [])
  const cases: ReadonlyArray<readonly [title: string, looks: Looks, note: string]> = [
    [
      "says that there is no last minute yet",
      [[0, text(1, 1)]],
      "These are the observations since the start. Those of the last minute come with the next refresh."
    ],
    [
      "says how long the page has been open",
      [
        [0, text(1, 1)],
        [12.2, text(2, 2)]
      ],
      "Nothing was requested a minute ago: these are the observations of the last 12 s."
    ],
    [
      "says one second if it is less",
      [
        [0, text(1, 1)],
        [0.2, text(2, 2)]
      ],
      "Nothing was requested a minute ago: these are the observations of the last 1 s."
    ],
    [
      "says for how long nothing was requested",
      [
        [0, text(1, 1)],
        [600, text(2, 2)]
      ],
      "Nothing was requested a minute ago: these are the observations of the last 10 min."
    ],
    [
      "says nothing of a minute",
      [
        [0, text(1, 1)],
        [61, text(2, 2)]
      ],
      ""
    ]
  ]
  for (const [title, looks, note] of cases) it(title, () => assert.strictEqual(noted(...looks), note))
})
