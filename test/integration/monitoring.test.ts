import { readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { incidents, notLive } from "../incidents/incidents.js"
import { describeWith } from "../support/binaries.js"
import type { Choice, Dashboard, Selector } from "../support/monitoring.js"
import {
  expressionsOf,
  fleet,
  interpolated,
  monitoringFile,
  rulesEachSecond,
  runProgram,
  selectorsIn,
  service
} from "../support/monitoring.js"
import { prometheus, type QueriedSeries, queriedValue, temporaryFolder, until } from "../support/services.js"
import { root, run } from "../support/snippets.js"

const dashboards = [
  ["one service", service],
  ["all services", fleet]
] as const

// What a healthy service rightly has nothing of, and why.
const rightlyEmpty: Readonly<Record<string, string>> = {
  "Firing alerts A": "no alert fires",
  "Services J": "no alert fires",
  Alerts: "no alert fires",
  "Exposition age A": "its metrics are not served by a worker",
  "Registered servers A": "it has no service discovery",
  "Servers that are not registered A": "it has no service discovery",
  "Missing metrics A": "every metric can be collected",
  "Certificates A": "its metrics server has no TLS",
  "Next certificates to expire A": "its metrics server has no TLS",
  "Routes with failures A": "it may have answered every request",
  "Services with targets down A": "all targets answer"
}

// Metrics that are not there for the same reasons, those of the other naming scheme, those of targets that are down, are of
// another kind or are counted in advance, and one that needs an hour.
const rightlyMissing: ReadonlySet<string> = new Set([
  "effect_prometheus_exposition_age_seconds",
  "effect_prometheus_collect_failed",
  "effect_prometheus_registered",
  "effect_prometheus_certificate_expiry_timestamp_seconds",
  "effect_prometheus_series_overflow_total",
  "http_server_active_requests",
  "http_server_request_duration_milliseconds_sum",
  "instance_route:http_server_requests_failed:increase5m",
  "http_server_request_body_size_bytes_sum",
  "http_server_response_body_size_bytes_sum",
  "job:without_effect_prometheus:seen",
  "instance:up:down1m",
  "expected:up:count",
  "job:http_server_requests:usual5m",
  "job:up:gone",
  "ALERTS",
  "ALERTS_FOR_STATE"
])

const all = { includeAll: true, multi: true }

const datasourceVariable = `\${datasource}`

describe.each(dashboards)("The dashboard of %s", (_, dashboard) => {
  const panels = dashboard.panels.filter(({ type }) => type !== "row")
  const expressions = expressionsOf(dashboard)

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

  it("knows every variable that its expressions use, and has no All for the job", () => {
    const variables = new Set(dashboard.templating.list.map(({ name }) => name))
    const builtIn = new Set(["__rate_interval", "__range"])
    for (const { expr, where } of expressions) {
      const used = [...expr.matchAll(/\$(\w+)/g)].map(([, name = ""]) => name)
      assert.deepEqual(
        used.filter((name) => !variables.has(name) && !builtIn.has(name)),
        [],
        where
      )
      assert.notInclude(expr, ".+", where)
    }
    for (const { allValue, includeAll, multi, name, type } of dashboard.templating.list) {
      if (type !== "query") continue
      assert.deepEqual({ includeAll, multi }, name === "job" ? { includeAll: false, multi: false } : all, name)
      assert.strictEqual(allValue, name === "job" ? undefined : ".*", name)
    }
  })

  it("asks for exemplars wherever it draws the histogram of durations", () => {
    for (const { targets = [], title } of panels) {
      for (const { exemplar = false, expr, instant } of targets) {
        assert.strictEqual(exemplar, !instant && expr.includes("http_server_request_duration_seconds_bucket"), title)
      }
    }
  })
})

describe("The dashboard of one service", () => {
  it("narrows every selector to the job and the cluster", () => {
    for (const { expr, where } of expressionsOf(service)) {
      const selectors = expr.match(/\{[^{}]*=[^{}]*\}/g) ?? []
      assert.isAbove(selectors.length, 0, where)
      for (const selector of selectors) assert.include(selector, 'job="$job", cluster=~"$cluster"', where)
    }
  })

  it("has the uid and the variables that the alerts link to", () => {
    const rules = readFileSync(monitoringFile("alerts.yml"), "utf8")
    const links = [...rules.matchAll(/dashboard: "https:\/\/grafana\.example\.com\/d\/([\w-]+)(.*)"/g)]
    assert.isAbove(links.length, 30)
    const variables = new Set(service.templating.list.map(({ name }) => name))
    for (const [link, uid = "", query = ""] of links) {
      assert.include([service.uid, fleet.uid], uid, link)
      for (const [, name = ""] of query.matchAll(/[?&]var-(\w+)=/g)) assert.isTrue(variables.has(name), link)
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

  it("are tested with all groups in a fixed order", () => {
    const groups = (text: string, start: RegExp): ReadonlyArray<string | undefined> =>
      [...text.matchAll(start)].map(([, name]) => name)
    for (const file of tests) {
      const [, order = ""] = readFileSync(file, "utf8").split("group_eval_order:\n")
      const [listed = ""] = order.split("tests:\n")
      assert.deepEqual(groups(listed, /^ {2}- (.+)$/gm), groups(rules, /^ {2}- name: (.+)$/gm), file)
    }
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

/** Starts a Prometheus that evaluates the rules each second. */
const withRules = (which: "prometheus2" | "prometheus3", scrapeConfigs: ReadonlyArray<object> = []) =>
  Effect.gen(function* () {
    const file = join(yield* temporaryFolder("rules-"), "alerts.yml")
    yield* Effect.promise(() => writeFile(file, rulesEachSecond()))
    const config = `rule_files: [${JSON.stringify(file)}]\nscrape_configs: ${JSON.stringify(scrapeConfigs)}`
    const { url } = yield* prometheus(which, config)
    return askOf(url)
  })

/** The demo with its visitors, and a Prometheus that scrapes it and knows the alerts. */
const scraped = Effect.gen(function* () {
  const { output } = yield* Effect.acquireRelease(
    Effect.sync(() => run(join(root, "examples", "demo.ts"))),
    ({ child, exited }) => Effect.sync(() => child.kill("SIGKILL")).pipe(Effect.zipRight(Effect.promise(() => exited)))
  )
  const printed = Effect.sync(() => /metrics +http:\/\/(\S+)\/metrics\n/.exec(output())?.[1] ?? "")
  const instance = yield* until("the demo says where its metrics are", printed, (found) => found !== "")
  const ask = yield* withRules("prometheus3", [{ job_name: job, static_configs: [{ targets: [instance] }] }])
  return { ask, instance }
})

// Characters that mean something in a regular expression.
const job = "shop (demo)"

/** The expressions that give no number, and why. */
const withoutNumbers = (ask: Ask, dashboard: Dashboard, choice: Choice): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    Effect.forEach(expressionsOf(dashboard), ({ expr, where }) =>
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

const everyExpression = dashboards.flatMap(([, dashboard]) => expressionsOf(dashboard))

/** The selectors of expressions, with their places. */
const selectorsOf = (ask: Ask, expressions: ReadonlyArray<{ readonly where: string; readonly expr: string }>) =>
  Effect.map(
    Effect.forEach(expressions, ({ expr, where }) =>
      Effect.map(ask("parse_query", { query: interpolated(expr, { job }, 4) }), (parsed) =>
        selectorsIn(parsed).map((selector) => ({ ...selector, where }))
      )
    ),
    (all): ReadonlyArray<Selector & { readonly where: string }> => all.flat()
  )

/** The metrics that are asked for, in a dashboard or by a rule, and are not there, with where that is. */
const missingMetrics = (ask: Ask, rules: ReadonlyArray<Rule>) =>
  Effect.gen(function* () {
    const known = new Set(yield* ask<ReadonlyArray<string>>("label/__name__/values"))
    const asked = yield* selectorsOf(ask, [
      ...everyExpression,
      ...rules.map(({ name, query }) => ({ where: name, expr: query }))
    ])
    assert.isAbove(new Set(asked.map(({ metric }) => metric)).size, 30)
    return asked
      .filter(({ metric }) => !known.has(metric) && !rightlyMissing.has(metric))
      .map(({ metric, where }) => `${metric} of ${where}`)
  })

/** What the variables of the dashboard of a service offer. */
const offered = (ask: Ask) =>
  Effect.forEach(
    service.templating.list.flatMap(({ definition }) => (definition === undefined ? [] : [definition])),
    (definition) => {
      const [, selector = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? []
      return ask<ReadonlyArray<string>>(`label/${label}/values`, { "match[]": interpolated(selector, { job }, 4) })
    }
  )

describeWith(["prometheus2"], "Prometheus 2.42", () => {
  it.scopedLive("evaluates every rule and every expression of the dashboards, all without a fault", () =>
    Effect.gen(function* () {
      const ask = yield* withRules("prometheus2")
      const rules = yield* until("every rule was evaluated", rulesBy(ask), isEvaluated)
      assert.isAbove(rules.length, 15)
      for (const { health, lastError = "", name } of rules) assert.strictEqual(health, "ok", `${name}: ${lastError}`)
      for (const { expr } of everyExpression) yield* ask("query", { query: interpolated(expr, { job }, 4) })
    })
  )
})

describeWith(["prometheus3"], "With the demo, scraped by Prometheus 3", () => {
  it.scopedLive(
    "every expression of the dashboards has numbers, every metric in them is there, and no alert is raised",
    () =>
      Effect.gen(function* () {
        const { ask, instance } = yield* scraped
        const numbers = (dashboard: Dashboard, choice: Choice) =>
          until("every expression has numbers", withoutNumbers(ask, dashboard, choice), ({ length }) => length === 0)
        yield* numbers(service, { job, instance: [instance] })
        yield* numbers(service, { job, instance: ["a|b", instance], route: ["/search", "/checkout"] })
        // Its metrics have no such label.
        yield* numbers(service, { job, environment: ["live"] })
        yield* numbers(fleet, { job })
        // And what is not chosen is not shown.
        const expressions = expressionsOf(service)
        const another = yield* withoutNumbers(ask, service, { job: "shop .demo." })
        assert.strictEqual(another.length, expressions.filter(({ where }) => !(where in rightlyEmpty)).length)
        const [jobs, clusters, namespaces, environments, instances, routes] = yield* offered(ask)
        assert.deepEqual([jobs, clusters, namespaces, environments, instances], [[job], [], [], [], [instance]])
        assert.includeMembers([...(routes ?? [])], ["/search", "/checkout", "unmatched"])
        for (const { matchers, metric, where } of yield* selectorsOf(ask, expressions)) {
          const narrowing = matchers.find(({ name }) => name === "job")
          assert.deepInclude(narrowing, { type: "=", value: job }, `${metric} of ${where}`)
        }

        const rules = yield* until("every rule was evaluated", rulesBy(ask), isEvaluated)
        assert.deepEqual(yield* missingMetrics(ask, rules), [])
        for (const { health, lastError = "", name } of rules) assert.strictEqual(health, "ok", `${name}: ${lastError}`)
        const raised = rules.filter(({ state = "inactive" }) => state !== "inactive").map(({ name }) => name)
        // A machine that has other things to do holds the event loop up.
        assert.deepEqual(
          raised.filter((name) => name !== "EventLoopLagging"),
          []
        )
        const said = `${everyExpression.length} expressions and ${rules.length} rules were evaluated`
        const empty = everyExpression.filter(({ where }) => where in rightlyEmpty)
        console.log(`${said}; ${empty.length} expressions may be empty`)
      }),
    600_000
  )
})
