// node check.mjs <webpack|turbopack>: builds the application with this bundler, runs its standalone server and checks
// the numbers in both expositions: of the metrics server in the worker thread, and of the route of the application.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const bundlers = ["webpack", "turbopack"]
const bundler = process.argv[2]
if (!bundlers.includes(bundler)) {
  console.error(`usage: node check.mjs <${bundlers.join("|")}>`)
  process.exit(1)
}

const here = fileURLToPath(new URL(".", import.meta.url))
const buildTimeout = 300_000
const startTimeout = 30_000
const requestTimeout = 10_000

const say = (text) => console.log(`next (${bundler}): ${text}`)

const check = (condition, message, details = "") => {
  if (!condition) throw new Error(details === "" ? message : `${message}\n${details}`)
}

/** Runs Node.js and collects what it prints. */
const run = (parameters, cwd, more = {}) => {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", ...more }
  const child = spawn(process.execPath, parameters, { cwd, env, stdio: ["ignore", "pipe", "pipe"] })
  const running = { child, output: "", ended: once(child, "close") }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      running.output += text
    })
  }
  return running
}

const isRunning = ({ child }) => child.exitCode === null && child.signalCode === null

/** Ends the process, by its id. */
const end = async (running) => {
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    if (!isRunning(running)) return
    running.child.kill(signal)
    await Promise.race([running.ended, sleep(5_000, undefined, { ref: false })])
  }
}

/** Two ports that are free now: both are held until both are known. */
const freePorts = async () => {
  const servers = [createServer(), createServer()]
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening")
  const ports = servers.map((server) => server.address().port)
  for (const server of servers) await once(server.close(), "close")
  return ports
}

const get = (url, headers = {}) => fetch(url, { headers, signal: AbortSignal.timeout(requestTimeout) })

const text = async (url, headers) => {
  const response = await get(url, headers)
  const body = await response.text()
  check(response.status === 200, `${url} answered ${response.status}`, body)
  return body
}

const build = async () => {
  await rm(join(here, ".next"), { recursive: true, force: true })
  const next = join(here, "node_modules/next/dist/bin/next")
  const building = run([next, "build", `--${bundler}`], here)
  await Promise.race([building.ended, sleep(buildTimeout, undefined, { ref: false })])
  const inTime = !isRunning(building)
  await end(building)
  check(inTime, `the build took longer than ${buildTimeout / 1e3} seconds`, building.output)
  check(building.child.exitCode === 0, "the build failed", building.output)
  check(!/EFFECT_PROMETHEUS_COPIES|Can't resolve|Module not found/.test(building.output), "warnings", building.output)
  say("ok: built")
}

const started = async (application, url) => {
  const deadline = Date.now() + startTimeout
  while (isRunning(application) && Date.now() < deadline) {
    try {
      return await text(url)
    } catch {
      await sleep(200)
    }
  }
  throw new Error(`${url} does not answer`)
}

/** Each line is expected exactly once, with this value. */
const checkNumbers = (body, name) => {
  for (const [series, value] of [
    ['work_seconds_count{kind="route"}', 3],
    ['work_seconds_count{kind="page"}', 2],
    ['work_items_total{kind="route"}', 6],
    ['work_items_total{kind="page"}', 2],
    ['effect_prometheus_errors_total{operation="observe"}', 0]
  ]) {
    const lines = body.split("\n").filter((line) => line.startsWith(`${series} `))
    check(lines.length === 1 && lines[0] === `${series} ${value}`, `${name}: ${series} is not ${value}`, body)
  }
  say(`ok: exact numbers in the exposition of ${name}`)
}

const checkApplication = async () => {
  // In a directory of its own: node_modules of this directory must not supply a file that was not traced.
  const directory = await mkdtemp(join(tmpdir(), "next-consumer-"))
  let application
  try {
    await cp(join(here, ".next/standalone"), directory, { recursive: true, verbatimSymlinks: true })
    const [port, metricsPort] = await freePorts()
    const environment = { HOSTNAME: "127.0.0.1", PORT: `${port}`, METRICS_PORT: `${metricsPort}` }
    application = run(["server.js"], directory, environment)
    const origin = `http://127.0.0.1:${port}`
    const server = `http://127.0.0.1:${metricsPort}`
    await started(application, `${origin}/metrics`)
    for (let request = 0; request < 3; request += 1) await text(`${origin}/work`)
    for (let request = 0; request < 2; request += 1) {
      check((await text(`${origin}/`)).includes("a page"), "the page is not complete")
    }

    const inThread = await text(`${server}/metrics`)
    checkNumbers(inThread, "the metrics server")
    // Only a worker has this metric.
    check(inThread.includes("\neffect_prometheus_exposition_age_seconds 0\n"), "not served by the worker", inThread)
    check((await text(`${server}/`, { accept: "text/html" })).startsWith("<!doctype html>"), "no browser page")
    say("ok: the metrics server runs in its worker thread")

    // `fetch` accepts gzip, as Prometheus does.
    checkNumbers(await text(`${origin}/metrics`), "the route")
    const openMetrics = await text(`${origin}/metrics`, { accept: "application/openmetrics-text;version=1.0.0" })
    check(openMetrics.endsWith("\n# EOF\n"), "not OpenMetrics", openMetrics)

    check(isRunning(application), "the application ended")
    check(!/EFFECT_PROMETHEUS_COPIES|EffectPrometheusWarning/.test(application.output), "a warning was printed")
    say("ok: no warning of a second copy")
  } catch (error) {
    if (application !== undefined) console.error(application.output)
    throw error
  } finally {
    if (application !== undefined) await end(application)
    await rm(directory, { recursive: true, force: true })
  }
}

try {
  await build()
  await checkApplication()
} catch (error) {
  say(`failed: ${error.message}`)
  process.exitCode = 1
}
