// What the page makes of an exposition. It runs in a browser, where nothing of it can be asked; so it is asked here.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import * as fc from "fast-check"
import { formatted, shortest, unitOf } from "../src/explorer/format.js"
import { History, longest } from "../src/explorer/history.js"
import type { Kind } from "../src/explorer/model.js"
import { observedBy } from "../src/explorer/observations.js"
import { type Labels, labelsOf, reading } from "../src/explorer/parse.js"
import { apart, quantileOf, thinned } from "../src/explorer/quantile.js"
import { Store } from "../src/explorer/store.js"
import { anyClashingRegistry, anyRegistry, registryOf } from "./support/arbitraryRegistries.js"
import { look, seen } from "./support/explorerStore.js"
import { parseText } from "./support/expositionParser.js"
import { bodyOnce } from "./support/expositions.js"
import { roundTripSeed as seed } from "./support/roundTrip.js"

interface Read {
  readonly helps: Map<string, string>
  readonly types: Map<string, string>
  readonly samples: Array<{ readonly name: string; readonly labels: Labels; readonly value: number }>
  unread: number
}

const readBy = (text: string): Read => {
  const read: Read = { helps: new Map(), types: new Map(), samples: [], unread: 0 }
  const steps = reading(text, {
    help: (name, help) => void read.helps.set(name, help),
    type: (name, type) => void read.types.set(name, type),
    sample: (key, nameLength, value) => {
      read.samples.push({ name: key.slice(0, nameLength), labels: labelsOf(key, nameLength), value })
    },
    unread: () => {
      read.unread += 1
    }
  })
  for (const _ of steps);
  return read
}

const exposed = (...args: Parameters<typeof bodyOnce>): Promise<string> =>
  Effect.runPromise(Logger.withMinimumLogLevel(bodyOnce(...args), LogLevel.None))

describe(`The reader of the page (seed ${seed})`, () => {
  for (const [name, any] of Object.entries({ anyRegistry, anyClashingRegistry })) {
    it(`reads of ${name} what the tests' own parser reads: 500 registries`, async () => {
      let samples = 0
      await fc.assert(
        fc.asyncProperty(any, async (spec) => {
          const text = await exposed(registryOf(spec), "text")
          const expected = parseText(text, { mayClash: true })
          const read = readBy(text)
          assert.strictEqual(read.unread, 0)
          assert.deepStrictEqual(
            read.samples.map((sample) => ({ ...sample, labels: new Map(sample.labels) })),
            expected.flatMap((family) =>
              family.samples.map(({ name, labels, value }) => ({ name, labels, value }))
            ) as never
          )
          for (const family of expected) {
            assert.strictEqual(read.helps.get(family.name) ?? "", family.help)
            assert.strictEqual(read.types.get(family.name) ?? "untyped", family.type)
          }
          samples += read.samples.length
        }),
        { seed, numRuns: 500 }
      )
      console.log(`read as by the tests' own parser: ${samples} samples of 500 registries`)
      assert.isAbove(samples, 10_000)
    })
  }

  it("passes over exemplars, timestamps and the end of OpenMetrics", () => {
    const read = readBy('# TYPE a counter\na_total{x="}"} 1.5e3 1700000000 # {trace_id="a b"} 0.5 1.2\n# EOF\n')
    assert.deepStrictEqual(read.samples, [{ name: "a_total", labels: [["x", "}"]], value: 1_500 }])
    assert.strictEqual(read.unread, 0)
  })

  it("reports lines that cannot be parsed, and continues", () => {
    const lines = ["a", "a b", 'a{x="', 'a{x="\\"} 1', "{} 1", "a Infinity", "a 1_0", "b 2", "a{x=}"]
    const read = readBy(lines.join("\n"))
    assert.deepStrictEqual(read.samples, [{ name: "b", labels: [], value: 2 }])
    assert.strictEqual(read.unread, lines.length - 1)
  })

  it("accepts any text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'ab{}=",\\ #\n1e+.\t\u2028_:NaInf'), maxLength: 60 }),
        (text) => {
          const store = seen(text, `# TYPE a histogram\n${text}`, text)
          assert.isAtLeast(store.lines, 0)
        }
      ),
      { seed, numRuns: 20_000 }
    )
  })

  it("yields every few hundred lines", () => {
    const steps = [...reading("a 1\n".repeat(10_000), new Store())]
    assert.isAtLeast(steps.length, 30)
  })

  it("takes in 100,000 series in little time, and as many again in less", () => {
    const text = (value: number): string =>
      `# TYPE many counter\n${Array.from({ length: 100_000 }, (_, at) => `many{tenant="tenant-${at}",region="eu"} ${value}\n`).join("")}`
    const texts = [text(1), text(2), text(3)]
    const store = new Store()
    const took = texts.map((body, index) => {
      const start = performance.now()
      look(store, body, index * 1_000)
      return performance.now() - start
    })
    console.log(`100,000 lines: ${took.map((time) => time.toFixed(0)).join(", ")} ms`)
    assert.strictEqual(store.lines, 100_000)
    // In pieces, so that the page gets its turn: it is not about how long they take together.
    assert.isBelow(Math.min(...took.slice(1)), 5_000)
  })
})

describe("What the page remembers", () => {
  it("puts the series of a histogram together, in the order of their bounds", () => {
    const store = seen(
      '# TYPE h histogram\nh_bucket{x="1",le="+Inf"} 3\nh_bucket{le="0.5",x="1"} 2\nh_sum{x="1"} 1.5\nh_count{x="1"} 3\n'
    )
    const [series, ...more] = store.families.get("h")?.series.values() ?? []
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(series?.labels, [["x", "1"]])
    assert.deepStrictEqual(
      series?.distribution?.points.map(({ bound, value }) => [bound, value]),
      [
        [0.5, 2],
        [Number.POSITIVE_INFINITY, 3]
      ]
    )
    assert.strictEqual(store.lines, 4)
  })

  it("knows what a counter grows by in a second, also when it began anew", () => {
    const store = seen("# TYPE c counter\nc 10\n", "# TYPE c counter\nc 14\n", "# TYPE c counter\nc 3\n")
    // Of the first look nothing is known: it was not 0.
    assert.deepStrictEqual(store.families.get("c")?.history?.all(), [Number.NaN, 4, 3])
    const first = seen("# TYPE c counter\nc 10\n").families.get("c")
    assert.deepStrictEqual([first?.total, [...(first?.series.values() ?? [])][0]?.rate], [Number.NaN, Number.NaN])
  })

  it("computes rates by the time between two refreshes, and no rate without elapsed time", () => {
    const store = look(look(new Store(), "# TYPE c counter\nc 1\n", 1_000), "# TYPE c counter\nc 11\n", 5_000)
    assert.strictEqual(store.families.get("c")?.total, 2.5)
    assert.isNaN(look(store, "# TYPE c counter\nc 21\n", 5_000).families.get("c")?.total)
  })

  it("counts a repeated series once, and treats NaN as unchanged", () => {
    const text = "a 1\na 2\nb NaN\n"
    const store = seen(text, text)
    assert.strictEqual(store.lines, 2)
    assert.deepStrictEqual(
      [...store.families.values()].map(({ hasChanged, total }) => [hasChanged, total]),
      [
        [false, 1],
        [false, Number.NaN]
      ]
    )
  })

  it("takes what comes later as new, and counts what a distribution has besides its buckets", () => {
    const text = (count: number): string =>
      `# TYPE h histogram\nh_bucket{le="+Inf"} ${count}\nh_sum ${count}\nh_count ${count}\n`
    const store = seen("a 1\n", `a 1\nb 1\n${text(4)}`)
    assert.deepStrictEqual(
      [...store.families.values()].map(({ hasChanged, lines, name }) => [name, lines, hasChanged]),
      [
        ["a", 1, false],
        ["b", 1, true],
        ["h", 3, true]
      ]
    )
    const [series] = store.families.get("h")?.series.values() ?? []
    assert.isDefined(series)
    assert.strictEqual(observedBy(series, "open").count, 4)
  })

  it("does not take the time at which a series was made for its value", () => {
    const text = "# TYPE c counter\nc_total 3\nc_created 1700000000\n# TYPE s summary\ns_created 5\ns_count 2\n"
    const values = [...seen(text).families.values()].flatMap(({ series }) => [...series.values()])
    assert.deepStrictEqual(
      values.map(({ value }) => value),
      [3, 2]
    )
  })

  it("draws a constant counter from 0, and a gauge from its own value", () => {
    const texts = ["c 5\nd 1\n", "c 5\nd 1\n", "c 7\nd 3\n"].map((text) => `# TYPE c counter\n# TYPE d gauge\n${text}`)
    const store = seen(...texts)
    assert.deepStrictEqual(
      [...store.families.values()].map(({ history }) => history?.all()),
      [
        [0, 2],
        [1, 3]
      ]
    )
  })

  it("shows the observations since a restart, also when they are more than before it", () => {
    const text = (...[low, all]: readonly [number, number]) =>
      `# TYPE h histogram\nh_bucket{le="1"} ${low}\nh_bucket{le="+Inf"} ${all}\nh_sum ${all * 2}\nh_count ${all}\n`
    const store = seen(text(50, 100), text(55, 110), text(1, 3), text(90, 200))
    const [series] = store.families.get("h")?.series.values() ?? []
    assert.isDefined(series)
    assert.deepStrictEqual(observedBy(series, "open"), observedBy(series, "start"))
    assert.strictEqual(observedBy(series, "open").count, 200)
    const [before] = seen(text(50, 100), text(55, 110)).families.get("h")?.series.values() ?? []
    assert.isDefined(before)
    assert.deepStrictEqual(observedBy(before, "open"), {
      buckets: [
        { bound: 1, count: 5 },
        { bound: Number.POSITIVE_INFINITY, count: 10 }
      ],
      sum: 20,
      count: 10
    })
  })

  it("joins the series of a family that are interleaved with others", () => {
    const text = '# TYPE a counter\na{x="1"} 1\n# TYPE b gauge\nb 1\na{x="2"} 2\n'
    const a = seen(text, text).families.get("a")
    assert.deepStrictEqual([a?.kind, a?.lines], ["counter", 2])
  })

  it("forgets what is not there any more, and a family that is another one now", () => {
    const store = seen("# TYPE a gauge\na 1\nb 2\n", "# TYPE a counter\na 5\n")
    assert.deepStrictEqual([...store.families.keys()], ["a"])
    assert.strictEqual(store.families.get("a")?.kind, "counter")
    assert.deepStrictEqual(
      [...(store.families.get("a")?.series.values() ?? [])].map(({ value }) => value),
      [5]
    )
    assert.strictEqual(store.lines, 1)
    assert.strictEqual(look(store, "", 3_000).families.size, 0)
  })

  it("shows families that have no series yet", () => {
    const store = seen("# HELP a Some.\n# TYPE a counter\n")
    assert.strictEqual(store.families.get("a")?.help, "Some.")
    assert.strictEqual(store.families.get("a")?.lines, 0)
  })

  it("is not misled by names that every object has", () => {
    const store = seen('constructor 1\n__proto__{__proto__="a",toString="b"} 2\n')
    assert.deepStrictEqual([...store.families.keys()], ["constructor", "__proto__"])
  })

  it("keeps no more than two thousand histories, of the latest 120 points each", () => {
    const text = (value: number): string => Array.from({ length: 5_000 }, (_, at) => `g{x="${at}"} ${value}\n`).join("")
    const store = seen(text(1), text(2), text(3))
    const kept = (): number =>
      [...(store.families.get("g")?.series.values() ?? [])].filter(({ history }) => history !== undefined).length
    assert.strictEqual(kept(), 2_000)
    const families = (value: number): string => Array.from({ length: 3_000 }, (_, at) => `f${at} ${value}\n`).join("")
    const many = seen(families(1), families(2))
    assert.strictEqual([...many.families.values()].filter(({ history }) => history !== undefined).length, 2_000)
    // Others have their place when these are gone.
    look(store, "h 1\n", 4_000)
    for (const value of [5, 6]) look(store, text(value), value * 1_000)
    assert.strictEqual(kept(), 2_000)
    const history = new History()
    for (let point = 0; point < 500; point += 1) history.push(point)
    assert.deepStrictEqual([history.length, history.all()[0], history.all().at(-1)], [longest, 380, 499])
  })
})

describe("The quantiles of the page", () => {
  const buckets = (...counts: ReadonlyArray<readonly [number, number]>) =>
    counts.map(([bound, count]) => ({ bound, count }))
  const end = Number.POSITIVE_INFINITY
  const some = buckets([0.1, 10], [0.5, 30], [1, 40], [end, 44])

  const cases = [
    { title: "by a straight line within a bucket", quantile: 0.5, of: some, expected: 0.34 },
    { title: "from 0 in the first bucket", quantile: 0.1, of: some, expected: 0.044 },
    { title: "as the highest finite bound in the last one", quantile: 0.99, of: some, expected: 1 },
    {
      title: "as the bound of a first bucket that is not above 0",
      quantile: 0.1,
      of: buckets([-1, 5], [end, 5]),
      expected: -1
    },
    { title: "as NaN if nothing was observed", quantile: 0.5, of: buckets([1, 0], [end, 0]), expected: Number.NaN },
    {
      title: "as NaN without a +Inf bucket",
      quantile: 0.5,
      of: buckets([1, 1], [2, 2]),
      expected: Number.NaN
    },
    { title: "as NaN with the +Inf bucket alone", quantile: 0.5, of: buckets([end, 2]), expected: Number.NaN },
    { title: "as NaN without buckets", quantile: 0.5, of: [], expected: Number.NaN },
    {
      title: "as NaN if nothing was observed below 0",
      quantile: 0.5,
      of: buckets([-1, 0], [end, 0]),
      expected: Number.NaN
    },
    {
      title: "past a count that is no number",
      quantile: 0.5,
      of: buckets([1, Number.NaN], [2, 2], [end, 2]),
      expected: 1.5
    },
    { title: "past counts that fall", quantile: 0.5, of: buckets([1, 10], [2, 9], [end, 20]), expected: 1 }
  ]
  for (const { expected, of, quantile, title } of cases) {
    it(`are estimated ${title}`, () => {
      const estimated = quantileOf(quantile, of)
      if (Number.isNaN(expected)) assert.isNaN(estimated)
      else assert.closeTo(estimated, expected, 1e-12)
    })
  }

  it("are shown beside the count of each bucket", () => {
    assert.deepStrictEqual(apart(some), [10, 20, 10, 4])
    assert.deepStrictEqual(apart(buckets([1, 10], [2, 9], [end, 20])), [10, 0, 10])
  })

  it("leave buckets as they are where they are few, and put others together where they are many", () => {
    assert.strictEqual(thinned(some, 4), some)
    const seven = buckets([1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 6], [end, 9])
    assert.deepStrictEqual(thinned(seven, 4), buckets([2, 2], [4, 4], [6, 6], [end, 9]))
    assert.deepStrictEqual(thinned(seven.slice(1), 4), buckets([2, 2], [4, 4], [6, 6], [end, 9]))
    assert.deepStrictEqual(thinned([], 4), [])
  })
})

describe("The numbers of the page", () => {
  // What a clock on the wall is behind the one in Greenwich then, in seconds.
  const here = new Date(2026, 0, 2).getTimezoneOffset() * 60
  const cases: ReadonlyArray<readonly [name: string, value: number, text: string, kind?: Kind]> = [
    ["a_seconds", 0.0125, "12.5 ms"],
    ["a_seconds_sum", 0.9999, "1 s"],
    ["a_seconds", 3_661, "61 min"],
    ["a_seconds", 0, "0 s"],
    ["a_bytes_total", 1_536, "1.5 KiB"],
    ["a_bytes", -1_048_576, "−1 MiB"],
    ["a_ratio", 0.256, "25.6 %"],
    ["a_total", 1_234_567, "1.23 M"],
    ["a_total", 999_999.9, "1 M"],
    ["a", 1_234.5, "1,235"],
    ["a", 1e300, "1.00e+300"],
    ["a", Number.NaN, "NaN"],
    ["a_seconds", Number.POSITIVE_INFINITY, "+Inf"],
    ["a_bytes", Number.NEGATIVE_INFINITY, "−Inf"],
    ["a_timestamp_seconds", 1e300, "1.00e+300"],
    ["a_timestamp_seconds", 0, "0"],
    ["a_start_time_seconds", Date.UTC(2026, 0, 2, 3, 4, 5) / 1e3 + here, "2026-01-02 03:04:05"],
    // What takes time has the same end in its name.
    ["a_response_time_seconds", 0.25, "250 ms"],
    ["a_response_time_seconds", 0.25, "250 ms", "histogram"],
    ["a_cpu_time_seconds_total", 2e9, "23,150 d", "counter"]
  ]
  for (const [name, value, text, kind = "gauge"] of cases) {
    it(`are written for people: ${name} of ${value} as ${text}${kind === "gauge" ? "" : `, of a ${kind}`}`, () => {
      assert.strictEqual(formatted(value, unitOf(name, kind)), text)
    })
  }

  it("of bounds are as round as they were chosen", () => {
    assert.deepStrictEqual(
      [10_000, 1_048_576].map((bound) => shortest(bound, "bytes")),
      ["10 kB", "1 MiB"]
    )
  })
})
