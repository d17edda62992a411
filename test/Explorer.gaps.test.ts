import { assert, describe, it } from "@effect/vitest"
import { definitions } from "../src/core/process/definitions.js"
import { sleepingClock } from "../src/explorer/clock.js"
import { totalOf } from "../src/explorer/figures.js"
import { observedByAll } from "../src/explorer/observations.js"
import { familyRank } from "../src/explorer/order.js"
import { foundFamily, histogramLines, type Looks, seenAt } from "./support/explorerStore.js"

const histogram = (low: number, all: number): string =>
  `# TYPE h histogram\n${histogramLines("h", "", { "1": low, "+Inf": all }, all)}`

const counter = (value: number): string => `# TYPE c counter\nc ${value}\n`

const other = "other 1\n"

/** What the observations of a histogram are, and how fast a counter rises. */
const shown = (...looks: Looks) => {
  const store = seenAt(...looks)
  const { series } = foundFamily(store, "h")
  const { series: counted } = foundFamily(store, "c")
  return {
    minute: observedByAll(series, "minute").count,
    open: observedByAll(series, "open").count,
    rate: counted[0]?.rate,
    total: totalOf(counted)
  }
}

describe("After an exposition without them, metrics continue where they are", () => {
  const gaps: Readonly<Record<string, ReadonlyArray<string>>> = {
    "one of other metrics": [other],
    "two of other metrics": [other, other],
    "an empty one": [""],
    "one in which they have another type": ["# TYPE h gauge\nh 1\n# TYPE c gauge\nc 1\n"]
  }
  for (const [name, gap] of Object.entries(gaps)) {
    it(name, () => {
      const before: Looks = [[0, histogram(100, 200) + counter(1_000)]]
      const without: Looks = gap.map((text, at) => [5 * (at + 1), text] as const)
      const back = 5 * (gap.length + 1)
      const again: Looks = [...before, ...without, [back, histogram(100, 200) + counter(1_000)]]
      assert.deepStrictEqual(shown(...again), { minute: 0, open: 0, rate: 0, total: 1_000 })
      const then: Looks = [...again, [back + 5, histogram(101, 210) + counter(1_050)]]
      assert.deepStrictEqual(shown(...then), { minute: 10, open: 10, rate: 10, total: 1_050 })
    })
  }
})

describe("What is new began at 0", () => {
  it("a metric that was never there", () => {
    const looks: Looks = [
      [0, other],
      [5, histogram(1, 10) + counter(40)]
    ]
    assert.deepStrictEqual(shown(...looks), { minute: 10, open: 10, rate: 8, total: 40 })
  })

  it("a series of a metric that was there, whose history begins at 0", () => {
    const store = seenAt(
      [0, '# TYPE c counter\nc{status="200"} 7\n'],
      [5, '# TYPE c counter\nc{status="200"} 7\nc{status="500"} 40\n'],
      [10, '# TYPE c counter\nc{status="200"} 7\nc{status="500"} 40\n']
    )
    const [failed] = foundFamily(store, "c", { query: "500" }).series
    assert.deepStrictEqual([...(failed?.history?.all() ?? [])], [0, 8, 0])
  })
})

describe("The time between two expositions", () => {
  const cases: ReadonlyArray<readonly [string, monotonic: number, wall: number, passed: number]> = [
    ["is that of the clock that only goes forwards", 5_000, 5_000, 5_000],
    ["is not changed by a wall clock that is set a little forwards", 5_000, 6_500, 5_000],
    ["nor by one that is set back", 5_000, -3_600_000, 5_000],
    ["includes the sleep of the machine, in which that clock stands still", 5_000, 28_805_000, 28_805_000]
  ]
  for (const [name, monotonic, wall, passed] of cases) {
    it(name, () => {
      let [now, at] = [100, 1e12]
      const clock = sleepingClock(
        () => now,
        () => at
      )
      const before = clock()
      now += monotonic
      at += wall
      assert.strictEqual(clock() - before, passed)
      now += 5_000
      at += 5_000
      assert.strictEqual(clock() - before, passed + 5_000)
    })
  }
})

it("All metrics of the process and its runtime come after those of the application, also with a prefix", () => {
  for (const { name } of definitions) {
    for (const prefix of ["", "checkout_", "shop:"]) assert.strictEqual(familyRank(prefix + name), 1, prefix + name)
  }
})
