// The expressions that the page copies, evaluated by Prometheus: they select what the page shows.
import { createServer } from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Copy } from "../../src/explorer/actions.js"
import { totalOf } from "../../src/explorer/figures.js"
import { groupsOf, labelNames } from "../../src/explorer/groups.js"
import type { Series } from "../../src/explorer/model.js"
import type { Labels } from "../../src/explorer/parse.js"
import { copyOfFamily, copyOfRow } from "../../src/explorer/promqlOfRows.js"
import { describeWith } from "../support/binaries.js"
import { filtered, histogramLines, seen } from "../support/explorerStore.js"
import { listen } from "../support/listen.js"
import { type Prometheus, prometheus, type QueriedSeries, queriedValue, until } from "../support/services.js"

const hostile = [
  ...['quoted "value"', "back\\slash", "new\nline", "tab\tand\rreturn", "\u202Egnp.exe\u2066", "nul\0\u0007bell"],
  ...["replaced \uFFFD", "line\u2028and\u2029more", "\u{E0001}tag", "é日😀", "`$x` {{z}}", "'single'", ""],
  ...["a|b", "a.b", "a*b", "^a$", "(a)[b]{c}", "a+b?", "\\d", "500", "5000"]
]

const escaped = (value: string): string => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")

// Words and numbers of PromQL, all of which can be names.
const words = [
  ...["on", "ignoring", "group_left", "group_right", "bool", "atan2", "inf", "NaN", "Inf", "ON", "Bool", "without"],
  ...["by", "sum", "count", "rate", "and", "or", "unless", "offset", "start", "end", "quantile", "topk", "le", "job_"]
]

const exposition = [
  "# TYPE requests_total counter",
  ...["/a", "/b"].flatMap((route, at) =>
    ["200", "404", "500"].map(
      (status, index) => `requests_total{route="${route}",status="${status}"} ${at * 10 + index}`
    )
  ),
  'requests_total{route="/a",status="500",zone="x"} 7',
  "# TYPE level gauge",
  ...hostile.map((value, at) => `level{value="${escaped(value)}",half="${at % 2}"} ${at}`),
  "# TYPE work_seconds histogram",
  histogramLines("work_seconds", 'route="/a"', { "1": 4, "2.5": 5, "+Inf": 6 }, 5),
  histogramLines("work_seconds", 'route="/b"', { "1": 1, "2.5": 5, "+Inf": 9 }, 9),
  "# TYPE sleep_seconds summary",
  'sleep_seconds{quantile="0.5",a="x"} 1',
  'sleep_seconds{quantile="1",a="x"} 2',
  'sleep_seconds_sum{a="x"} 3',
  'sleep_seconds_count{a="x"} 2',
  ...words.map((word) => `# TYPE ${word} gauge\n${word}{${word}="1",a="x"} 1\n${word}{${word}="2"} 2`)
]
  .map((line) => line.trimEnd())
  .join("\n")

const queries = ["", "500", '"500"', "/a", "/b 404", "a.b", "a|b", 'half="1', "\\", "value", 'status="404" zone']

/** Labels without those of the target, and without empty ones, which are the same as none. */
const own = (labels: Iterable<readonly [string, string]>): string =>
  JSON.stringify(
    [...labels]
      .filter(([name, value]) => value !== "" && !["__name__", "instance", "job", "quantile"].includes(name))
      .sort(([a], [b]) => (a < b ? -1 : 1))
  )

const sorted = (texts: ReadonlyArray<string>): ReadonlyArray<string> => [...texts].sort()

const evaluated = (server: Prometheus, text: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${server.url}/api/v1/query`, {
      method: "POST",
      body: new URLSearchParams({ query: text })
    })
    const answer = (await response.json()) as {
      readonly error?: string
      readonly data?: { readonly result: ReadonlyArray<QueriedSeries> }
    }
    assert.isUndefined(answer.error, text)
    return answer.data?.result ?? []
  })

/** Everything that can be copied: of each row, each sum and each family, with each filter. */
const copies = () => {
  const store = seen(exposition)
  return queries.flatMap((query) =>
    filtered(store, { query }).flatMap((found) => {
      const names = labelNames([...found.family.series.values()])
      const choices = [[], ...names.map((name) => [name]), names]
      return choices.flatMap((by) => [
        { copy: copyOfFamily(found, by), by, labels: undefined, series: found.series },
        ...groupsOf(found.series, by).map((group) => ({
          ...{ copy: copyOfRow(found, by, group), by, labels: group.labels, series: group.series }
        }))
      ])
    })
  )
}

interface Case {
  readonly copy: Copy
  readonly by: ReadonlyArray<string>
  /** Of a row. */
  readonly labels: Labels | undefined
  readonly series: ReadonlyArray<Series>
}

// Version 2 reads no quoted name after `by`, and version 2.24 reads no character by its number.
const isModern = (text: string): boolean => /by \([^)]*"|[^\\](?:\\\\)*\\[uU]/.test(text)

const selectorOf = ({ copy }: Case): string | undefined =>
  copy.expressions.find(({ name }) => name === "Value" || name === "Sum")?.text

const assertSelects = ({ by, labels, series }: Case, text: string, result: ReadonlyArray<QueriedSeries>): void => {
  const results = result.map(({ metric }) => own(Object.entries(metric)))
  if (by.length === 0) {
    assert.deepStrictEqual(sorted(results), sorted(series.map((one) => own(one.labels))), text)
    return
  }
  const sums = groupsOf(series, by).map((group) => [
    own(labels === undefined ? group.labels : []),
    totalOf(group.series)
  ])
  assert.deepStrictEqual(
    sorted(result.map((one, at) => JSON.stringify([results[at], queriedValue(one)]))),
    sorted(sums.map((sum) => JSON.stringify(sum))),
    text
  )
}

for (const { isLegacy, which } of [
  { which: "prometheus3", isLegacy: false },
  { which: "prometheus", isLegacy: true }
] as const) {
  describeWith([which], `What the explorer copies, evaluated by ${isLegacy ? "Prometheus 2" : "Prometheus 3"},`, () => {
    it.scopedLive("selects the series that are shown, and none besides", () =>
      Effect.gen(function* () {
        const target = createServer((_, response) => {
          response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8").end(`${exposition}\n`)
        })
        const port = yield* listen(target)
        const server = yield* prometheus(which, [
          { job_name: "explorer", static_configs: [{ targets: [`127.0.0.1:${port}`] }] }
        ])
        yield* until("there are rates", server.series("rate(requests_total[5m])"), (series) => series.length === 7)
        let count = 0
        let selected = 0
        for (const one of copies()) {
          for (const { text } of one.copy.expressions) {
            if (isLegacy && isModern(text)) continue
            const result = yield* evaluated(server, text)
            count += 1
            if (one.copy.note !== "" || text !== selectorOf(one)) continue
            assertSelects(one, text, result)
            selected += 1
          }
        }
        // The text format has such names only in quotation marks, so they cannot be scraped here.
        const found = filtered(seen('a.b{c.d="1",inf="2"} 1\na.b{c.d="3"} 2\n'))
        for (const { text } of found.flatMap((one) => copyOfFamily(one, ["c.d", "inf"]).expressions)) {
          if (!isLegacy) yield* evaluated(server, text)
        }
        console.log(`${which}: ${count} expressions, of which ${selected} select what is shown`)
        assert.isAbove(count, 700)
        assert.isAbove(selected, 500)
      })
    )
  })
}
