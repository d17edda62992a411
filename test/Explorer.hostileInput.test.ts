// Untrusted input: labels of an application for the page, headers of a request for the server.
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { pointsOf } from "../src/core/exposition/metricPoints.js"
import { asksForHtml, negotiate } from "../src/core/exposition/negotiation.js"
import { encodingFor } from "../src/core/server/compression.js"
import { checkNames } from "../src/core/util/options.js"
import { found } from "../src/explorer/filter.js"
import { observedByAll } from "../src/explorer/observations.js"
import { reading } from "../src/explorer/parse.js"
import { apart, quantileOf, thinned } from "../src/explorer/quantile.js"
import { stateOf } from "../src/explorer/state.js"
import { Store } from "../src/explorer/store.js"
import { roundTripSeed as seed } from "./support/roundTrip.js"

/** Everything that the page makes of these expositions but what is drawn. */
const looked = (...texts: ReadonlyArray<string>): Store => {
  const store = new Store()
  for (const [at, text] of texts.entries()) {
    store.begin(at * 1_000)
    for (const _ of reading(text, store));
    for (const _ of store.ending());
  }
  found(store, { query: "", kind: undefined, changedOnly: false, sort: "series" })
  for (const { series } of store.families.values()) {
    const { buckets } = observedByAll([...series.values()], "start")
    quantileOf(0.5, buckets)
    apart(buckets)
    thinned(buckets, 120)
  }
  return store
}

const lines = (count: number, line: (at: number) => string): string =>
  Array.from({ length: count }, (_, at) => line(at)).join("")
const list = (count: number, item: (at: number) => object): ReadonlyArray<never> =>
  Array.from({ length: count }, (_, at) => item(at)) as unknown as ReadonlyArray<never>

const pointed = (type: string, samples: ReadonlyArray<never>): void => {
  const family = { name: "a", help: "h", type }
  const style = { format: "openmetrics", defaults: undefined, clashes: new Map(), leaveOut: () => {} } as const
  for (const _ of pointsOf([samples], family, style));
}

const summary = "# TYPE a summary\n"
const histogram = "# TYPE a histogram\n"

/** What takes no more than four times as long where there is four times as much of it. */
const growing: ReadonlyArray<readonly [title: string, act: (count: number) => unknown]> = [
  ["quantiles in descending order", (n) => looked(summary + lines(2 * n, (at) => `a{quantile="${1 - at / n}"} 1\n`))],
  ["quantiles in ascending order", (n) => looked(summary + lines(n, (at) => `a{quantile="${at / n}"} 1\n`))],
  ["buckets in descending order", (n) => looked(histogram + lines(2 * n, (at) => `a_bucket{le="${n - at}"} 1\n`))],
  [
    "buckets in any order, others at each look",
    (n) =>
      looked(
        ...[0, 1, 2].map((look) => histogram + lines(n, (at) => `a_bucket{le="${((at * 7_919) % n) + look / 10}"} 1\n`))
      )
  ],
  [
    "buckets that come one after the other, look by look",
    (n) =>
      looked(
        ...[4, 2, 1].map((part) => histogram + lines((2 * n) / part, (at) => `a_bucket{le="${n / part - at}"} 1\n`))
      )
  ],
  [
    "bounds that are no numbers",
    (n) => looked(histogram + lines(n, (at) => `a_bucket{le="${at % 2 ? "NaN" : n - at}",x="${at}"} 1\n`))
  ],
  ["one bucket again and again", (n) => looked(histogram + lines(n, () => 'a_bucket{le="1"} 1\n'))],
  ["families", (n) => looked(lines(n, (at) => `# HELP f${at} h\n# TYPE f${at} gauge\nf${at} 1\n`))],
  [
    "one family whose type changes",
    (n) => looked(lines(n, (at) => `# TYPE a ${at % 2 ? "gauge" : "counter"}\na{x="${at}"} 1\n`))
  ],
  [
    "families in turns",
    (n) => looked(`# TYPE a gauge\n# TYPE b gauge\n${lines(n, (at) => `${at % 2 ? "a" : "b"}{x="${at}"} 1\n`)}`)
  ],
  ["series that come and go", (n) => looked(...[n, 1, n, 1].map((count) => lines(count, (at) => `a{x="${at}"} 1\n`)))],
  ["labels of one series", (n) => looked(`a{${lines(n, (at) => `l${at}="v",`)}} 1\n`)],
  [
    "labels of each bucket",
    (n) =>
      looked(histogram + lines(n / 100, (at) => `a_bucket{${lines(100, (other) => `l${other}="v",`)}le="${at}"} 1\n`))
  ],
  ["a long name", (n) => looked(`${"a".repeat(100 * n)} 1\n`)],
  ["a long name in labels", (n) => looked(`a{${"b".repeat(50 * n)}${" ".repeat(50 * n)}} 1\n`)],
  [
    "blanks",
    (n) =>
      looked(`a${" ".repeat(100 * n)}\n#${" ".repeat(100 * n)}\n# TYPE${" ".repeat(100 * n)}x${" ".repeat(100 * n)}y`)
  ],
  ["escapes", (n) => looked(`a{b="${'\\\\\\"\\n'.repeat(10 * n)}"} 1\n`)],
  ["backslashes without an end", (n) => looked(`a{b="${"\\".repeat(100 * n)}\n`)],
  ["labels without an end", (n) => looked(lines(n, () => 'a{b="\n'))],
  ["braces", (n) => looked("a{".repeat(50 * n))],
  [
    "points with buckets in descending order",
    (n) =>
      pointed(
        "histogram",
        list(n, (at) => ({ metricName: "a_bucket", labels: { le: n - at }, value: n - at }))
      )
  ],
  [
    "points with quantiles in descending order",
    (n) =>
      pointed(
        "summary",
        list(n, (at) => ({ labels: { quantile: 1 - at / n }, value: 1 }))
      )
  ],
  [
    "points with one quantile again and again",
    (n) =>
      pointed(
        "summary",
        list(n, () => ({ labels: { quantile: 0.5 }, value: 1 }))
      )
  ],
  [
    "points whose samples are apart",
    (n) =>
      pointed(
        "histogram",
        list(n, (at) => ({ metricName: "a_bucket", labels: { x: at % 100, le: at }, value: at }))
      )
  ],
  [
    "points that begin anew",
    (n) =>
      pointed(
        "summary",
        list(
          n,
          (at) =>
            [
              { labels: { quantile: 0.5 }, value: 1 },
              { metricName: "a_sum", value: 1 },
              { metricName: "a_count", value: 1 }
            ][at % 3] ?? {}
        )
      )
  ]
]

const timeOf = (act: () => unknown): number => {
  let least = Number.POSITIVE_INFINITY
  for (let time = 0; time < 3; time += 1) {
    const start = performance.now()
    act()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

// What grows with the square of its size takes 4,096 times as long for 64 times as much. The garbage collector takes ten
// times as long for each of many objects as for each of few. What the machine has to do besides is no reason to fail, so
// it is the best of several attempts.
const most = 1_024
const attempts = 4

const assertGrows = (act: (count: number) => unknown): void => {
  const ratios: Array<number> = []
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const few = timeOf(() => act(500))
    const ratio = timeOf(() => act(32_000)) / few
    if (ratio <= most) return
    ratios.push(ratio)
  }
  assert.fail(`64 times as much took ${ratios.map((ratio) => ratio.toFixed(1)).join(", ")} times as long`)
}

describe("The time that it takes grows no faster than what there is of", () => {
  for (const [title, act] of growing) it(title, () => assertGrows(act), 60_000)
})

describe("A query of very many words", () => {
  const store = looked(lines(2_000, (at) => `f${at}{a="${"v".repeat(100)}"} 1\n`))
  const find = (query: string) => found(store, { query, kind: undefined, changedOnly: false, sort: "name" })

  for (const [title, word] of [
    ["that differ", (at: number) => `${at}`],
    ["that are the same", () => "v"]
  ] as const) {
    it(`${title} takes no longer than one of 1,000 characters`, () => {
      const query = lines(200_000, (at) => `${word(at)} `)
      let took = Number.POSITIVE_INFINITY
      const short = timeOf(() => find(query.slice(0, 1_000)))
      for (let attempt = 0; attempt < attempts && took > 5 * short; attempt += 1) took = timeOf(() => find(query))
      assert.isAtMost(took, 5 * short)
    })
  }

  it("finds what has each word of the first 1,000 characters", () => {
    assert.lengthOf(find("f1999 v a="), 1)
    assert.lengthOf(find("f1999 v v v f f1 f19 nothing"), 0)
    assert.lengthOf(find(`${"v ".repeat(500)}nothing`), 2_000)
  })

  it("stays no longer in the address", () => {
    assert.lengthOf(stateOf(`#q=${"w".repeat(5_000)}`).query, 1_000)
    assert.strictEqual(stateOf("#q=some+words").query, "some words")
  })
})

describe("The page has the points of a series in the order of their bounds", () => {
  const boundsIn = (store: Store): ReadonlyArray<number> =>
    [...(store.families.get("a")?.series.values() ?? [])][0]?.distribution?.points.map(({ bound }) => bound) ?? []
  const bucket = (bound: string, more = ""): string => `a_bucket{le="${bound}"${more}} 1\n`

  const orders: ReadonlyArray<
    readonly [title: string, looks: ReadonlyArray<ReadonlyArray<string>>, ReadonlyArray<number>]
  > = [
    ["in ascending order", [["1", "2", "+Inf"]], [1, 2, Number.POSITIVE_INFINITY]],
    [
      "in descending order",
      [["+Inf", "2", "1", "-1", "-Inf"]],
      [Number.NEGATIVE_INFINITY, -1, 1, 2, Number.POSITIVE_INFINITY]
    ],
    [
      "with new ones between",
      [
        ["1", "3"],
        ["1", "2", "3", "0"]
      ],
      [0, 1, 2, 3]
    ],
    [
      "with some that are gone",
      [
        ["3", "2", "1"],
        ["3", "1"]
      ],
      [1, 3]
    ],
    ["with what is no number", [["NaN", "2", "1"]], [1, 2, Number.NaN]]
  ]
  for (const [title, looks, bounds] of orders) {
    it(title, () => {
      const store = looked(...looks.map((all) => histogram + all.map((bound) => bucket(bound)).join("")))
      assert.deepStrictEqual(boundsIn(store), bounds)
    })
  }
})

describe("A histogram with very many buckets", () => {
  it("is put together like any other", () => {
    const count = 300_000
    const samples = [
      ...list(count, (at) => ({ metricName: "a_bucket", labels: { le: count - at }, value: count - at })),
      ...list(1, () => ({ metricName: "a_sum", value: 1 })),
      ...list(1, () => ({ metricName: "a_count", value: count }))
    ]
    let written = 0
    const family = { name: "a", help: "h", type: "histogram" }
    const style = { format: "openmetrics", defaults: undefined, clashes: new Map(), leaveOut: () => {} } as const
    for (const piece of pointsOf([samples], family, style)) written += piece.length
    assert.strictEqual(written, count + 3)
  })

  it("comes back in pieces of a bounded size, where there are several of them", () => {
    const bounds = 200
    const all = Array.from({ length: 50 }, (_, series) => [
      ...list(bounds, (at) => ({ metricName: "a_bucket", labels: { le: at, series }, value: at })),
      ...list(1, () => ({ metricName: "a_count", labels: { series }, value: bounds }))
    ]).flat()
    const family = { name: "a", help: "h", type: "histogram" }
    const style = { format: "text", defaults: undefined, clashes: new Map(), leaveOut: () => {} } as const
    const sizes = [...pointsOf([all], family, style)].map((piece) => piece.length)
    assert.strictEqual(
      sizes.reduce((sum, size) => sum + size, 0),
      50 * (bounds + 2)
    )
    assert.isAtMost(Math.max(...sizes), 1_024)
  })
})

/** What the headers ask for, in the simplest way: by splitting them. */
const split = (() => {
  const parts = (text: string, by: RegExp): ReadonlyArray<string> => text.match(by) ?? []
  const parse = (header: string) =>
    parts(header, /(?:"(?:\\.|[^"\\])*"?|[^,"])+/g).flatMap((part, position) => {
      const [value = "", ...rest] = parts(part, /(?:"(?:\\.|[^"\\])*"?|[^;"])+/g).map((one) => one.trim())
      const parameters = new Map(
        rest.map((text) => {
          const [name = "", ...more] = text.split("=")
          const given = more.join("=").trim()
          return [name.trim().toLowerCase(), given.replace(/^"(.*)"$/, "$1")] as const
        })
      )
      const weight = parameters.get("q") ?? "1"
      if (!/^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight)) return []
      const version = parameters.get("version")
      return [{ value: value.toLowerCase(), version, quality: Number(weight), position }]
    })
  type Ranges = ReturnType<typeof parse>
  const best = (ranges: Ranges, type: string, own: string) => {
    const ofType = ranges.filter(({ value }) => value === type)
    const candidates = [
      ofType.filter(({ version }) => version === own),
      ofType.filter(({ version }) => version === undefined),
      ranges.filter(({ value }) => value === `${type.split("/")[0]}/*`),
      ranges.filter(({ value }) => value === "*/*")
    ]
    const [found = []] = candidates.filter((matches) => matches.length > 0)
    return [...found].sort((a, b) => b.quality - a.quality || a.position - b.position)[0]
  }
  return {
    negotiate: (header: string) => {
      const ranges = parse(header)
      const openmetrics = best(ranges, "application/openmetrics-text", "1.0.0")
      const text = best(ranges, "text/plain", "0.0.4")
      if (openmetrics === undefined || openmetrics.quality === 0) return "text"
      if (text === undefined || openmetrics.quality > text.quality) return "openmetrics"
      return openmetrics.quality === text.quality && openmetrics.position < text.position ? "openmetrics" : "text"
    },
    acceptsGzip: (header: string) => {
      const ranges = parse(header)
      const gzip = ranges.find(({ value }) => value === "gzip" || value === "x-gzip")
      return ((gzip ?? ranges.find(({ value }) => value === "*"))?.quality ?? 0) > 0
    },
    asksForHtml: (header: string) => parse(header).some(({ quality, value }) => value === "text/html" && quality > 0)
  }
})()

/** Headers of 16 kB, which is all that a server takes. */
const headers: ReadonlyArray<readonly [title: string, header: string]> = [
  ["weights", `application/openmetrics-text${";q=".repeat(4_000)}`],
  ["parameters", `application/openmetrics-text${";a=b".repeat(4_000)}`],
  ["types", "application/openmetrics-text,".repeat(560)],
  ["short types", "gzip,".repeat(3_200)],
  ["commas", ",".repeat(16_000)],
  ["quotation marks", '"'.repeat(16_000)],
  ["quoted commas", '",";"'.repeat(3_200)],
  ["escaped quotation marks", `a;b="${'\\"'.repeat(8_000)}`],
  ["backslashes", `"${"\\".repeat(16_000)}`],
  ["equals signs", `a;b${"=".repeat(16_000)}`],
  ["blanks", `a${" ".repeat(8_000)}b;${" ".repeat(8_000)}q`],
  ["digits", `a;q=0.${"0".repeat(16_000)}`],
  ["HTML", "text/html,".repeat(1_600)]
]

describe("A header of up to 16 kB", () => {
  for (const [title, header] of headers) {
    it(`of ${title} is gone through once`, () => {
      const part = (count: number): string => header.slice(0, count)
      assertGrows((count) => {
        for (let time = 0; time < 20; time += 1) {
          negotiate(part(count))
          encodingFor(part(count))
          asksForHtml(part(count))
        }
      })
    })
  }

  const piece = fc.constantFrom(
    ...[
      "text/plain",
      "TEXT/html",
      "application/openmetrics-text",
      "application/*",
      "*/*",
      "*",
      "gzip",
      "x-gzip",
      "a/b"
    ],
    ...[
      ",",
      ";",
      "=",
      '"',
      "\\",
      " ",
      "\t",
      "q",
      "Q",
      "version",
      "v",
      "1.0.0",
      "0.0.4",
      "0",
      "1",
      "0.5",
      "q=",
      ";q=0.5",
      "é"
    ]
  )
  it(`is read as by a reader that splits it (seed ${seed}): 5,000 of them`, () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
        const header = pieces.join("")
        assert.strictEqual(negotiate(header), split.negotiate(header))
        assert.strictEqual(encodingFor(header) !== undefined, split.acceptsGzip(header))
        assert.strictEqual(asksForHtml(header), split.asksForHtml(header))
      }),
      { numRuns: 5_000, seed }
    )
  })
})

describe("An unknown option with a very long name", () => {
  it("is refused without being compared letter by letter", () => {
    const known = Object.fromEntries(
      ["authentication", "compression", "host", "port", "maxScrapesInFlight"].map((name) => [name, true as const])
    )
    const refused = (length: number) => () =>
      assert.throws(() => checkNames(known, { ["x".repeat(length)]: 1 }), /unknown option/)
    const short = timeOf(() => {
      for (let time = 0; time < 100; time += 1) refused(30)()
    })
    let took = Number.POSITIVE_INFINITY
    for (let attempt = 0; attempt < attempts && took > 5 * short; attempt += 1) took = timeOf(refused(100_000))
    assert.isAtMost(took, 5 * short)
  })
})
