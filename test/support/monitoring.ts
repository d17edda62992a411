/** The dashboards and the alert rules in `examples/monitoring`, as Grafana and Prometheus see them. */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { root } from "./snippets.js"

const folder = join(root, "examples", "monitoring")

/** The path of one of the files. */
export const monitoringFile = (
  name: "alerts.yml" | "alerts.test.yml" | "alerts.days.test.yml" | "dashboard.json" | "dashboard-fleet.json"
): string => join(folder, name)

/** The rules, with every group evaluated each second. */
export const rulesEachSecond = (): string =>
  readFileSync(monitoringFile("alerts.yml"), "utf8").replace(/^( +interval:) \w+$/gm, "$1 1s")

export interface Target {
  readonly refId: string
  readonly expr: string
  readonly exemplar?: boolean
  readonly instant: boolean
  readonly datasource: { readonly type: string; readonly uid: string }
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: { readonly type: string; readonly uid: string }
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
  readonly targets?: ReadonlyArray<Target>
}

interface Variable {
  readonly name: string
  readonly type: string
  readonly definition?: string
  readonly query: string | { readonly query: string }
  readonly multi: boolean
  readonly includeAll: boolean
  readonly allValue?: string
}

export interface Dashboard {
  readonly uid: string
  readonly schemaVersion: number
  readonly panels: ReadonlyArray<Panel>
  readonly templating: { readonly list: ReadonlyArray<Variable> }
  readonly annotations: { readonly list: ReadonlyArray<{ readonly name: string; readonly expr?: string }> }
}

const read = (name: "dashboard.json" | "dashboard-fleet.json"): Dashboard =>
  JSON.parse(readFileSync(monitoringFile(name), "utf8"))

/** One service. */
export const service = read("dashboard.json")

/** All services. */
export const fleet = read("dashboard-fleet.json")

/** An expression, and its place. */
export interface Expression {
  readonly where: string
  readonly expr: string
}

/** Those of all panels and annotations. */
export const expressionsOf = ({ annotations, panels }: Dashboard): ReadonlyArray<Expression> => [
  ...panels.flatMap(({ targets = [], title }) =>
    targets.map(({ expr, refId }) => ({ where: `${title} ${refId}`, expr }))
  ),
  ...annotations.list.flatMap(({ expr, name }) => (expr === undefined ? [] : [{ where: name, expr }]))
]

/** The variables that are chosen in a dashboard. Absent ones are All. */
export interface Choice {
  readonly job: string
  readonly cluster?: ReadonlyArray<string>
  readonly environment?: ReadonlyArray<string>
  readonly instance?: ReadonlyArray<string>
  readonly route?: ReadonlyArray<string>
}

// As Grafana does it for Prometheus: a single value is escaped for the text of a label; the values of a variable that can
// have several are escaped for the regular expression, and again for the text.
const text = (value: string): string => value.replace(/\\/g, "\\\\").replace(/'/g, "\\\\'")

const pattern = (values: ReadonlyArray<string> | undefined): string => {
  if (values === undefined) return ".*"
  const escaped = values.map((value) => value.replace(/[$^*{}[\]'+?.()|\\]/g, "\\\\$&"))
  return escaped.length === 1 ? `${escaped[0]}` : `(${escaped.join("|")})`
}

/** The expression as Grafana sends it, where it scrapes often enough for rates over so many seconds. */
export const interpolated = (
  expr: string,
  { cluster, environment, instance, job, route }: Choice,
  seconds: number
): string => {
  const values: Readonly<Record<string, string>> = {
    job: text(job),
    cluster: pattern(cluster),
    namespace: ".*",
    environment: pattern(environment),
    instance: pattern(instance),
    route: pattern(route),
    __rate_interval: `${seconds}s`,
    __range: `${seconds}s`
  }
  return expr.replace(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole)
}

export interface Matcher {
  readonly name: string
  readonly type: "=" | "!=" | "=~" | "!~"
  readonly value: string
}

/** A selector of an expression. */
export interface Selector {
  readonly metric: string
  readonly matchers: ReadonlyArray<Matcher>
}

/** A node of an expression, as Prometheus parses it. */
interface Node {
  readonly type: string
  readonly name?: string
  readonly matchers?: ReadonlyArray<Matcher>
  readonly [more: string]: unknown
}

/** The selectors in an expression that Prometheus has parsed. */
export const selectorsIn = (parsed: unknown): ReadonlyArray<Selector> => {
  if (typeof parsed !== "object" || parsed === null) return []
  const below = Object.values(parsed).flatMap(selectorsIn)
  const { matchers = [], name: metric, type } = parsed as Node
  const isSelector = type === "vectorSelector" || type === "matrixSelector"
  return isSelector && metric !== undefined && metric !== "" ? [{ metric, matchers }, ...below] : below
}

/** The output and the exit code of a program. */
export interface ProgramResult {
  readonly code: number
  readonly said: string
}

/** Runs a program to its end. */
export const runProgram = (program: string, args: ReadonlyArray<string>): Effect.Effect<ProgramResult> =>
  Effect.async((resume) => {
    execFile(program, args, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code)
      resume(Effect.succeed({ code, said: `${stdout}${stderr}${error === null ? "" : error.message}` }))
    })
  })
