/** The dashboard and the alert rules in `examples/monitoring`, as Grafana and Prometheus see them. */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { root } from "./snippets.js"

const folder = join(root, "examples", "monitoring")

/** The path of one of the files. */
export const monitoringFile = (
  name: "alerts.yml" | "alerts.test.yml" | "alerts.days.test.yml" | "dashboard.json"
): string => join(folder, name)

export interface Target {
  readonly refId: string
  readonly expr: string
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
}

export interface Dashboard {
  readonly uid: string
  readonly schemaVersion: number
  readonly panels: ReadonlyArray<Panel>
  readonly templating: { readonly list: ReadonlyArray<Variable> }
  readonly annotations: { readonly list: ReadonlyArray<{ readonly name: string; readonly expr?: string }> }
}

export const dashboard = JSON.parse(readFileSync(monitoringFile("dashboard.json"), "utf8")) as Dashboard

/** An expression, and its place. */
export interface Expression {
  readonly where: string
  readonly expr: string
}

/** Those of all panels and annotations. */
export const expressions: ReadonlyArray<Expression> = [
  ...dashboard.panels.flatMap(({ targets = [], title }) =>
    targets.map(({ expr, refId }) => ({ where: `${title} ${refId}`, expr }))
  ),
  ...dashboard.annotations.list.flatMap(({ expr, name }) => (expr === undefined ? [] : [{ where: name, expr }]))
]

/** The variables that are chosen in the dashboard. */
export interface Choice {
  readonly job: ReadonlyArray<string> | "All"
  readonly instance: ReadonlyArray<string> | "All"
}

// As Grafana does it for Prometheus: special characters are escaped for the regular expression, and again for the text.
const chosen = (values: ReadonlyArray<string> | "All"): string => {
  if (values === "All") return ".+"
  const escaped = values.map((value) => value.replace(/[$^*{}[\]'+?.()|\\]/g, "\\\\$&"))
  return escaped.length === 1 ? `${escaped[0]}` : `(${escaped.join("|")})`
}

/** The expression as Grafana sends it, where it scrapes often enough for rates over so many seconds. */
export const interpolated = (expr: string, choice: Choice, seconds: number): string => {
  const values: Readonly<Record<string, string>> = {
    job: chosen(choice.job),
    instance: chosen(choice.instance),
    __rate_interval: `${seconds}s`,
    __range: `${seconds}s`
  }
  return expr.replace(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole)
}

/** A node of an expression, as Prometheus parses it. */
interface Node {
  readonly type: string
  readonly name?: string
  readonly [more: string]: unknown
}

/** The names of metrics in an expression that Prometheus has parsed. */
export const metricsIn = (parsed: unknown): ReadonlyArray<string> => {
  if (typeof parsed !== "object" || parsed === null) return []
  const below = Object.values(parsed).flatMap(metricsIn)
  const { name, type } = parsed as Node
  const isSelector = type === "vectorSelector" || type === "matrixSelector"
  return isSelector && name !== undefined && name !== "" ? [name, ...below] : below
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
