/**
 * Measures what the rules and the dashboard of `examples/monitoring` cost a real Prometheus: `npm run bench:monitoring`
 *
 * A fleet of 300 services with four instances each is scraped every 15 seconds. Prints the time of each group of rules, with
 * its slow rules, as the median and the 95th percentile of the evaluations, and the time of each query of the dashboards over
 * the last hour.
 * `--minutes 15` sets how long the fleet is scraped; needs `PROMETHEUS3_BIN`.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { parseArgs } from "node:util"
import { monitoring, startFleet, startPrometheus } from "./monitoring/lab.js"

const { values } = parseArgs({
  options: {
    services: { type: "string", default: "300" },
    instances: { type: "string", default: "4" },
    routes: { type: "string", default: "12" },
    minutes: { type: "string", default: "10" }
  }
})
const { minutes, ...size } = values

interface Rule {
  readonly name: string
  readonly evaluationTime: number
  readonly health: string
  readonly lastError?: string
}

interface Group {
  readonly name: string
  readonly evaluationTime: number
  readonly rules: ReadonlyArray<Rule>
}

const quantile = (share: number, numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length * share)] ?? Number.NaN

const median = (numbers: ReadonlyArray<number>): number => quantile(0.5, numbers)

const row = (...cells: ReadonlyArray<string | number>): void =>
  console.log(`| ${cells.map((cell) => (typeof cell === "number" ? cell.toFixed(3) : cell)).join(" | ")} |`)

const fleet = await startFleet(size)
const ask = await startPrometheus(fleet, size)
/** The evaluation times of each group, and of each rule, in seconds. */
const times = new Map<string, Array<number>>()
const timesOf = (name: string): ReadonlyArray<number> => times.get(name) ?? []
const took = (name: string, seconds: number): void => {
  times.set(name, [...timesOf(name), seconds])
}
let groups: ReadonlyArray<Group> = []
// The first evaluations have no series yet.
const warm = Date.now() + 120_000
const end = Date.now() + Number(minutes) * 60_000
while (Date.now() < end) {
  await setTimeout(15_000)
  groups = (await ask<{ readonly groups: ReadonlyArray<Group> }>("rules")).groups
  if (Date.now() < warm) continue
  for (const { evaluationTime, name, rules } of groups) {
    took(name, evaluationTime)
    for (const rule of rules) took(rule.name, rule.evaluationTime)
  }
}

const { headStats } = await ask<{ readonly headStats: { readonly numSeries: number } }>("status/tsdb")
console.log(`${headStats.numSeries} series\n`)
row("group", "rule", "median, s", "95 %, s")
row("---", "---", "---", "---")
for (const { name, rules } of groups) {
  row(name, "all", median(timesOf(name)), quantile(0.95, timesOf(name)))
  for (const { health, lastError = "", name: rule } of rules) {
    const seconds = median(timesOf(rule))
    if (seconds > 0.02) row("", rule, seconds, quantile(0.95, timesOf(rule)))
    if (health === "err") console.log(`${rule} cannot be evaluated: ${lastError}`)
  }
}
const total = groups.reduce((sum, { name }) => sum + median(timesOf(name)), 0)
row("all", "all", total, "")

interface Target {
  readonly expr: string
  readonly refId: string
  readonly instant: boolean
}

interface Dashboard {
  readonly panels: ReadonlyArray<{ readonly title: string; readonly targets?: ReadonlyArray<Target> }>
}

const chosen: Readonly<Record<string, string>> = {
  job: "service-7",
  instance: ".*",
  route: ".*",
  cluster: ".*",
  namespace: ".*",
  environment: ".*",
  __rate_interval: "1m",
  __range: "1h"
}

/** The milliseconds that a query takes, and the series that it has. */
const measured = async ({ expr, instant }: Target): Promise<readonly [milliseconds: number, series: number]> => {
  const query = expr.replace(/\$(\w+)/g, (whole, name: string) => chosen[name] ?? whole)
  const now = Date.now() / 1e3
  const start = performance.now()
  const { result } = instant
    ? await ask<{ readonly result: ReadonlyArray<unknown> }>("query", { query, time: String(now) })
    : await ask<{ readonly result: ReadonlyArray<unknown> }>("query_range", {
        query,
        start: String(now - 3_600),
        end: String(now),
        step: "15"
      })
  return [performance.now() - start, result.length]
}

for (const file of ["dashboard.json", "dashboard-fleet.json"]) {
  const { panels } = JSON.parse(readFileSync(join(monitoring, file), "utf8")) as Dashboard
  console.log()
  row(`panel of ${file}`, "median, ms", "series")
  row("---", "---", "---")
  for (const { targets = [], title } of panels) {
    for (const target of targets) {
      const durations: Array<number> = []
      let count = 0
      for (let time = 0; time < 5; time += 1) {
        const [milliseconds, series] = await measured(target)
        durations.push(milliseconds)
        count = series
      }
      row(`${title} ${target.refId}`, median(durations).toFixed(0), String(count))
    }
  }
}
process.exit(0)
