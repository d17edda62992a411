/**
 * Breaks real services on purpose, and waits for the alerts of a real Prometheus. Time passes fifteen times as fast as in the
 * rules (`rules.ts`). `npm run incidents` runs all incidents; by default those run that take less than two minutes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeUnless, describeWith } from "../support/binaries.js"
import { selfSigned } from "../support/certificates.js"
import { withoutMemoryGroups } from "../support/memoryGroup.js"
import { consul, prometheus } from "../support/services.js"
import { Fleet } from "./fleet.js"
import { type Incident, incidents, late } from "./incidents.js"
import { fasterRules, pace } from "./rules.js"

interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly state: "pending" | "firing"
}

const firing = async (url: string): Promise<ReadonlyArray<Alert>> => {
  const response = await fetch(`${url}/api/v1/alerts`)
  const { data } = (await response.json()) as { readonly data: { readonly alerts: ReadonlyArray<Alert> } }
  return data.alerts.filter(({ state }) => state === "firing")
}

const isOf = ({ alert, job, labels = {} }: Incident, { labels: found }: Alert): boolean =>
  found["alertname"] === alert &&
  (found["job"] === job || alert === "ServiceDiscoveryDown") &&
  Object.entries(labels).every(([name, value]) => found[name] === value)

/** Whether an alert is true of that incident, or of the one beside it that has other labels. */
const isTrueOf = ({ alert, also, job }: Incident, { labels: { alertname = "", job: found = job } }: Alert): boolean =>
  found.startsWith(job) && (alertname === alert || also?.test(alertname) === true)

interface Outcome {
  readonly incident: Incident
  /** Since the incident began, in seconds. */
  readonly seconds: number
  readonly alert: Alert
}

/** Breaks it, and waits for its alert. */
const broken = async (url: string, incident: Incident, act: () => Promise<unknown>): Promise<Outcome> => {
  const began = Date.now()
  const acting = act()
  const deadline = began + (incident.isLong === true ? 500_000 : 150_000)
  for (;;) {
    const found = (await firing(url)).find((alert) => isOf(incident, alert))
    if (found !== undefined) {
      const seconds = (Date.now() - began) / 1e3
      const before = await acting
      if (typeof before === "number")
        assert.isBelow(began + seconds * 1e3, before, `${incident.alert} fired after the process had ended`)
      return { incident, seconds, alert: found }
    }
    if (Date.now() > deadline) throw new Error(`${incident.alert} did not fire: ${incident.what}`)
    await sleep(250)
  }
}

/**
 * Where sixty processes start at once, the machine may hold one up for seconds. `nodejs_eventloop_lag_max_seconds` covers
 * that for up to two minutes, which do not pass faster, as the start that `EventLoopStuck` excludes does.
 */
const startsHavePassed = async (url: string): Promise<void> => {
  const deadline = Date.now() + 160_000
  const isLate = async () => (await firing(url)).some(({ labels }) => late.test(labels["alertname"] ?? ""))
  while ((await isLate()) && Date.now() < deadline) await sleep(1_000)
}

/**
 * How long the machine has held up this process, in milliseconds: it waits for timers and answers, and has no long work of its
 * own. Where that is as long as what the rules allow a process in their faster time, their alerts of late processes are true.
 */
const heldUp = (): (() => number) => {
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  return () => {
    delay.disable()
    return delay.max / 1e6
  }
}

const line = ({ alert, incident, seconds }: Outcome): string => {
  const minutes = (seconds * pace) / 60
  return `${incident.what} | ${incident.alert} | ${seconds.toFixed(1)} s, as ${minutes.toFixed(1)} min | ${alert.annotations["summary"]}`
}

const isAll = process.env["INCIDENTS"] === "all"

// They take the processor from all others.
const greedy = new Set(["busy", "restarting", "renamed"])

const reasons = withoutMemoryGroups()

const chosen = (): ReadonlyArray<Incident> => {
  const only = process.env["INCIDENTS_ONLY"]?.split(",")
  return incidents.filter(
    ({ isLong, job }) =>
      (isAll || isLong !== true) && (only?.includes(job) ?? true) && (job !== "memory" || reasons.length === 0)
  )
}

if (reasons.length > 0) describeUnless(reasons, "the incident of a full control group", () => {})

describeWith(["consul", "prometheus3"], "Incidents", () => {
  it.scopedLive(
    "raise the alert that names them, and no other one",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "incidents-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
        const fleet = new Fleet(folder)
        yield* Effect.addFinalizer(() => Effect.promise(() => fleet.close()))
        const agent = yield* consul()
        const certificate = yield* Effect.promise(() => selfSigned({ until: new Date(Date.now() + 5 * 86_400_000) }))
        writeFileSync(join(folder, "alerts.yml"), fasterRules())
        const all = chosen()
        const rules = all.flatMap(({ rules = [] }) => rules)
        writeFileSync(join(folder, "own.yml"), JSON.stringify({ groups: [{ name: "own", rules }] }))
        const { url } = yield* prometheus(
          "prometheus3",
          `rule_files: [${folder}/alerts.yml, ${folder}/own.yml]
scrape_configs:
  - job_name: services
    scrape_interval: 1s
    scrape_timeout: 1s
    tls_config: { insecure_skip_verify: true }
    file_sd_configs: [{ files: [${fleet.file}], refresh_interval: 1s }]`
        )
        yield* Effect.promise(async () => {
          const lab = {
            fleet,
            certificate,
            consul: { address: agent.address, kill: () => Effect.runPromise(agent.kill) }
          }
          const ready = await Promise.all(
            all.map(async (incident) => ({ incident, act: await incident.start(lab, incident.job) }))
          )
          // The rules need a few minutes of their time to know what is usual.
          await sleep(45_000)
          await startsHavePassed(url)
          assert.deepEqual(
            (await firing(url)).map(({ labels }) => labels),
            [],
            "while all is well"
          )
          const longest = heldUp()
          const outcomes: Array<Outcome> = []
          const seen = new Map<string, Alert>()
          const watch = setInterval(async () => {
            for (const alert of await firing(url).catch(() => [])) seen.set(JSON.stringify(alert.labels), alert)
          }, 1_000)
          const wave = async (part: typeof ready) => {
            const settled = await Promise.allSettled(part.map(({ act, incident }) => broken(url, incident, act)))
            for (const one of settled) {
              if (one.status === "fulfilled") outcomes.push(one.value)
              else failures.push(String(one.reason))
            }
          }
          const failures: Array<string> = []
          await wave(ready.filter(({ incident }) => !greedy.has(incident.job)))
          await wave(ready.filter(({ incident }) => greedy.has(incident.job)))
          clearInterval(watch)
          const held = longest()
          console.log(["what | alert | after | summary", ...outcomes.map(line)].join("\n"))
          console.log(`The machine held this process up for ${held.toFixed(0)} ms at most.`)
          const others = [...seen.values()].filter((alert) => !all.some((incident) => isTrueOf(incident, alert)))
          const isLate = ({ labels }: Alert): boolean => held > 500 && late.test(labels["alertname"] ?? "")
          for (const { labels } of others.filter(isLate)) console.log("left out, because the machine is late:", labels)
          const wrong = others.filter((alert) => !isLate(alert))
          assert.deepEqual(failures, [])
          assert.deepEqual(
            wrong.map(({ labels }) => labels),
            []
          )
        })
      }),
    1_060_000
  )
})
