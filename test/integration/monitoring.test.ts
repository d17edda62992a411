import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { incidents, notLive } from "../incidents/incidents.js"
import { describeWith } from "../support/binaries.js"
import type { Choice } from "../support/monitoring.js"
import { dashboard, expressions, interpolated, metricsIn, monitoringFile, runProgram } from "../support/monitoring.js"
import { prometheus, type QueriedSeries, queriedValue, until } from "../support/services.js"
import { root, run } from "../support/snippets.js"

// What a healthy service rightly has nothing of, and why.
const rightlyEmpty: Readonly<Record<string, string>> = {
  "Exposition age A": "its metrics are not served by a worker",
  "Recordings beyond maxSeries A": "none of its metrics has a limit"
}

// Metrics that are not there for the same reasons, and the one that Prometheus has where an alert fires.
const rightlyMissing: ReadonlySet<string> = new Set([
  "effect_prometheus_exposition_age_seconds",
  "effect_prometheus_series_overflow_total",
  "ALERTS"
])

const datasourceVariable = `\${datasource}`

describe("The dashboard", () => {
  const panels = dashboard.panels.filter(({ type }) => type !== "row")

  it("has an id for each panel", () => {
    assert.isAbove(panels.length, 20)
    assert.strictEqual(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    assert.strictEqual(new Set(expressions.map(({ where }) => where)).size, expressions.length)
    assert.match(dashboard.uid, /^[a-z-]{1,40}$/)
  })

  it("says of each panel what it shows, in which unit and from which data source", () => {
    for (const { datasource, description = "", fieldConfig, targets = [], title } of panels) {
      assert.isAbove(title.length, 1)
      assert.match(description, /^[A-Z0-9].{20,}\.$/s, title)
      assert.isDefined(fieldConfig?.defaults.unit, title)
      assert.isAbove(targets.length, 0, title)
      for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
        assert.deepEqual(source, { type: "prometheus", uid: datasourceVariable }, title)
      }
    }
  })

  it("lays its panels out side by side, without overlap", () => {
    const taken = new Map<string, string>()
    for (const { gridPos, title } of dashboard.panels) {
      assert.isAtMost(gridPos.x + gridPos.w, 24, title)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.isUndefined(taken.get(`${x} ${y}`), title)
          taken.set(`${x} ${y}`, title)
        }
      }
    }
  })

  it("narrows every expression to the jobs and instances that are chosen, and knows no other variable", () => {
    for (const { expr, where } of expressions) {
      const selectors = expr.match(/\{[^{}]*=[^{}]*\}/g) ?? []
      assert.isAbove(selectors.length, 0, where)
      for (const selector of selectors) assert.include(selector, 'job=~"$job", instance=~"$instance"', where)
      assert.notMatch(interpolated(expr, { job: "All", instance: "All" }, 4), /\$\w/, where)
    }
  })
})

describe("The alerts", () => {
  const rules = readFileSync(monitoringFile("alerts.yml"), "utf8")
  const names = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name)
  const tests = (["alerts.test.yml", "alerts.days.test.yml"] as const).map(monitoringFile)

  // Each test lists all alerts that fire at its times, so every alert is also tested not to fire.
  it("each have a test in which they fire, with their texts", () => {
    assert.isAbove(names.length, 30)
    const written = tests.map((file) => readFileSync(file, "utf8")).join("\n")
    for (const name of names) {
      assert.include(written, `{alertname="${name}"`, name)
      assert.include(written, `alertname: ${name}\n`, name)
    }
  })

  it("each have a severity, a runbook whose section exists, and a link to a dashboard", () => {
    const runbooks = readFileSync(join(root, "docs", "incidents.md"), "utf8")
    for (const text of rules.split("      - alert: ").slice(1)) {
      const [name = ""] = text.split("\n", 1)
      assert.match(text, /severity: (critical|warning|info)\n/, name)
      assert.include(text, `incidents.md#${name.toLowerCase()}\n`, name)
      assert.match(text, /dashboard: "https:\/\/grafana\.example\.com\/d\/[a-z-]+["?]/, name)
      assert.include(runbooks, `### ${name}\n`, name)
    }
  })

  it("are raised by an incident of real processes, or it is said why not", () => {
    const live = new Set(incidents.map(({ alert }) => alert))
    assert.deepEqual(
      names.filter((name) => !live.has(name) && !(name in notLive)),
      []
    )
    assert.deepEqual(
      Object.keys(notLive).filter((name) => live.has(name) || !names.includes(name)),
      []
    )
  })

  describeWith(["promtool"], "promtool", ({ promtool }) => {
    it.live("finds no fault with the rules", () =>
      Effect.gen(function* () {
        const { code, said } = yield* runProgram(promtool, [
          "check",
          "rules",
          "--lint-fatal",
          monitoringFile("alerts.yml")
        ])
        assert.strictEqual(code, 0, said)
      })
    )

    it.live(
      "sees them fire and keep quiet as their tests say",
      () =>
        Effect.gen(function* () {
          const { code, said } = yield* runProgram(promtool, ["test", "rules", ...tests])
          assert.strictEqual(code, 0, said)
        }),
      600_000
    )
  })
})

interface Rule {
  readonly name: string
  readonly query: string
  readonly health: string
  readonly lastError?: string
  /** Of alerts only. */
  readonly state?: string
}

/** Asks the API of a Prometheus, which has to know an answer. */
const askOf =
  (url: string) =>
  <A>(path: string, query: Readonly<Record<string, string>> = {}): Effect.Effect<A> =>
    Effect.promise(async () => {
      const response = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(query)}`)
      const answer = (await response.json()) as { readonly data: A; readonly error?: string }
      if (answer.error !== undefined) throw new Error(answer.error)
      return answer.data
    })

type Ask = ReturnType<typeof askOf>

const rulesBy = (ask: Ask): Effect.Effect<ReadonlyArray<Rule>> =>
  Effect.map(ask<{ readonly groups: ReadonlyArray<{ readonly rules: ReadonlyArray<Rule> }> }>("rules"), ({ groups }) =>
    groups.flatMap(({ rules }) => rules)
  )

const isEvaluated = (rules: ReadonlyArray<Rule>): boolean =>
  rules.length > 0 && rules.every(({ health }) => health !== "unknown")

/** The demo with its visitors, and a Prometheus that scrapes it and knows the alerts. */
const scraped = Effect.gen(function* () {
  const { output } = yield* Effect.acquireRelease(
    Effect.sync(() => run(join(root, "examples", "demo.ts"))),
    ({ child, exited }) => Effect.sync(() => child.kill("SIGKILL")).pipe(Effect.zipRight(Effect.promise(() => exited)))
  )
  const printed = Effect.sync(() => /metrics +http:\/\/(\S+)\/metrics\n/.exec(output())?.[1] ?? "")
  const instance = yield* until("the demo says where its metrics are", printed, (found) => found !== "")
  const rules = `rule_files: [${JSON.stringify(monitoringFile("alerts.yml"))}]`
  const configs = [{ job_name: job, static_configs: [{ targets: [instance] }] }]
  const { url } = yield* prometheus("prometheus3", `${rules}\nscrape_configs: ${JSON.stringify(configs)}`)
  return { ask: askOf(url), instance }
})

// Characters that mean something in a regular expression.
const job = "shop (demo)"

/** The expressions that give no number, and why. */
const withoutNumbers = (ask: Ask, choice: Choice): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    Effect.forEach(expressions, ({ expr, where }) =>
      ask<{ readonly result: ReadonlyArray<QueriedSeries> }>("query", { query: interpolated(expr, choice, 4) }).pipe(
        Effect.map(({ result }) => {
          const hasNumbers = result.some((series) => !Number.isNaN(queriedValue(series)))
          return hasNumbers || where in rightlyEmpty ? [] : [`${where} has ${JSON.stringify(result)} for ${expr}`]
        }),
        Effect.catchAllDefect((defect) => Effect.succeed([`${where}: ${defect} of ${expr}`]))
      )
    ),
    (all) => all.flat()
  )

/** The metrics that are asked for, in the dashboard or by an alert, and are not there, with where that is. */
const missingMetrics = (ask: Ask, rules: ReadonlyArray<Rule>) =>
  Effect.gen(function* () {
    const known = new Set(yield* ask<ReadonlyArray<string>>("label/__name__/values"))
    const all = [
      ...expressions.map(({ expr, where }) => ({
        where,
        expr: interpolated(expr, { job: "All", instance: "All" }, 4)
      })),
      ...rules.map(({ name, query }) => ({ where: name, expr: query }))
    ]
    const asked = yield* Effect.forEach(all, ({ expr, where }) =>
      Effect.map(ask("parse_query", { query: expr }), (parsed) => metricsIn(parsed).map((name) => ({ name, where })))
    )
    assert.isAbove(new Set(asked.flat().map(({ name }) => name)).size, 30)
    return asked
      .flat()
      .filter(({ name }) => !known.has(name) && !rightlyMissing.has(name))
      .map(({ name, where }) => `${name} of ${where}`)
  })

/** What the variables of the dashboard offer. */
const offered = (ask: Ask) =>
  Effect.forEach(
    dashboard.templating.list.flatMap(({ definition }) => (definition === undefined ? [] : [definition])),
    (definition) => {
      const [, selector = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? []
      const match = interpolated(selector, { job: [job], instance: "All" }, 4)
      return ask<ReadonlyArray<string>>(`label/${label}/values`, { "match[]": match })
    }
  )

describeWith(["prometheus2"], "Prometheus 2.42", () => {
  it.scopedLive("evaluates every rule and every expression of the dashboard, all without a fault", () =>
    Effect.gen(function* () {
      const { url } = yield* prometheus("prometheus2", `rule_files: [${JSON.stringify(monitoringFile("alerts.yml"))}]`)
      const ask = askOf(url)
      const rules = yield* until("every rule was evaluated", rulesBy(ask), isEvaluated)
      assert.isAbove(rules.length, 15)
      for (const { health, lastError = "", name } of rules) assert.strictEqual(health, "ok", `${name}: ${lastError}`)
      for (const { expr } of expressions) {
        yield* ask("query", { query: interpolated(expr, { job: [job], instance: "All" }, 4) })
      }
    })
  )
})

describeWith(["prometheus3"], "With the demo, scraped by Prometheus 3", () => {
  it.scopedLive(
    "every expression of the dashboard has numbers, every metric in it is there, and no alert is raised",
    () =>
      Effect.gen(function* () {
        const { ask, instance } = yield* scraped
        const chosen = { job: [job], instance: [instance] }
        yield* until("every expression has numbers", withoutNumbers(ask, chosen), (without) => without.length === 0)
        const several = { job: ["a|b", job], instance: "All" } as const
        yield* until("it has for several jobs", withoutNumbers(ask, several), (without) => without.length === 0)
        // And what is not chosen is not shown.
        const another = yield* withoutNumbers(ask, { job: ["shop .demo."], instance: "All" })
        assert.strictEqual(another.length, expressions.length - Object.keys(rightlyEmpty).length)
        assert.deepEqual(yield* offered(ask), [[job], [instance]])

        const rules = yield* until("every rule was evaluated", rulesBy(ask), isEvaluated)
        assert.deepEqual(yield* missingMetrics(ask, rules), [])
        for (const { health, lastError = "", name } of rules) assert.strictEqual(health, "ok", `${name}: ${lastError}`)
        const raised = rules.filter(({ state = "inactive" }) => state !== "inactive").map(({ name }) => name)
        // A machine that has other things to do holds the event loop up.
        assert.deepEqual(
          raised.filter((name) => name !== "EventLoopLagging"),
          []
        )
        const said = `${expressions.length} expressions and ${rules.length} rules were evaluated`
        console.log(`${said}; ${Object.keys(rightlyEmpty).length} expressions are rightly empty`)
      }),
    600_000
  )
})
