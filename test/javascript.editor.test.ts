import { afterAll, assert, describe, it } from "@effect/vitest"
import { application, Editor } from "./support/editor.js"

const folder = application(process.env["CLIENT_OF_TESTS"] ?? "prom-client")
const editor = new Editor(folder.path)
afterAll(() => {
  editor.close()
  folder.remove()
})

/** Places that ask for options, and some of what must be offered there. All that is offered is documented. */
const places: ReadonlyArray<readonly [code: string, names: ReadonlyArray<string>]> = [
  ["startHttpServer({ ", ["host", "port", "path", "tls", "registry", "serviceDiscovery", "log"]],
  ["startHttpServerInThread({ ", ["host", "port", "grace", "staleFor", "workerUrl"]],
  ["startHttpServer({ tls: { ", ["key", "cert", "ca", "clientCertificate"]],
  ["startHttpServer({ authentication: { ", ["users", "tokens", "openHealthPage"]],
  ["consulAgent({ ", ["name", "serviceId", "tags", "address", "token", "check"]],
  ["consulAgent({ check: { ", ["url", "interval", "tlsSkipVerify", "ttl"]],
  ["nodeListener({ ", ["scrapeTimeout", "onError"]],
  ["MetricsServer.layer({ ", ["host", "port", "path", "tls"]],
  ["ConsulAgent.layer({ ", ["name", "serviceId", "tags"]],
  ["timed(seconds, { ", ["labels", "registry"]],
  ["countExceptions(total, { ", ["labels", "only", "registry"]],
  ["trackInProgress(running, { ", ["labels", "registry"]],
  ["instrumented({ ", ["duration", "exceptions", "inProgress"]],
  ["Metrics.timed(seconds, { ", ["labels", "exemplar"]],
  ["Metrics.countExceptions(total, { ", ["labels", "only", "exemplar"]],
  ["Metrics.trackInProgress(running, { ", ["labels"]],
  ["Metrics.instrumented({ ", ["duration", "exceptions", "inProgress"]],
  ["StreamMetrics.timed(seconds, { ", ["labels", "exemplar"]],
  ["StreamMetrics.countElements(total, { ", ["labels"]],
  ["StreamMetrics.countExceptions(total, { ", ["labels", "only", "exemplar"]],
  ["StreamMetrics.trackInProgress(running, { ", ["labels"]],
  ["StreamMetrics.instrumented({ ", ["duration", "elements", "exceptions", "inProgress"]],
  ["DefaultMetrics.layer({ ", ["prefix", "labels", "gcDurationBuckets", "eventLoopMonitoringPrecision"]]
]

/** Places that ask for the labels of a metric, and nothing else. */
const labels: ReadonlyArray<string> = [
  "timed(seconds, { labels: { ",
  "countExceptions(total, { labels: { ",
  "trackInProgress(running, { labels: { ",
  "instrumented({ duration: { metric: seconds, labels: { ",
  "Metrics.timed(seconds, { labels: { ",
  "Metrics.countExceptions(total, { labels: { ",
  "Metrics.trackInProgress(running, { labels: { ",
  "Metrics.instrumented({ duration: { metric: seconds, labels: { ",
  "StreamMetrics.timed(seconds, { labels: { ",
  "StreamMetrics.countElements(total, { labels: { ",
  "StreamMetrics.countExceptions(total, { labels: { ",
  "StreamMetrics.trackInProgress(running, { labels: { ",
  "StreamMetrics.instrumented({ elements: { metric: total, labels: { "
]

const imports = [
  'import { ConsulAgent, DefaultMetrics, Metrics, MetricsServer, StreamMetrics } from "effect-prometheus"',
  'import * as promises from "effect-prometheus/Promises"',
  'import { Counter, Gauge, Histogram } from "prom-client"',
  "const { consulAgent, countExceptions, hashPassword, instrumented, nodeListener } = promises",
  "const { startHttpServer, startHttpServerInThread, timed, trackInProgress } = promises"
]

const required = imports.map((line) => line.replace(/^import (?:\* as )?(.+) from (".+")$/, "const $1 = require($2)"))

const metrics = [
  'const labelled = { help: "h", labelNames: /** @type {const} */ (["method", "status"]) }',
  'const seconds = new Histogram({ ...labelled, name: "run_seconds" })',
  'const total = new Counter({ ...labelled, name: "failures_total" })',
  'const running = new Gauge({ ...labelled, name: "running" })'
]

const sources = [
  { kind: "an ES module", extension: "js", head: ["// @ts-check", ...imports, ...metrics] },
  { kind: "a CommonJS module", extension: "cjs", head: ["// @ts-check", ...required, ...metrics] }
]

for (const { extension, head, kind } of sources) {
  describe(`In ${kind} of plain JavaScript an editor`, () => {
    const opened = (name: string, code: string): string => {
      const file = `${name}.${extension}`
      editor.open(file, [...head, code].join("\n"))
      return file
    }
    const closing = (code: string): string =>
      [...code]
        .flatMap((character) => ({ "{": "}", "(": ")" })[character] ?? [])
        .reverse()
        .join("")

    it.each(places)("offers the options of %s, each with what it is for", async (code, names) => {
      const file = opened("options", `${code}${closing(code)}`)
      const offered = await editor.completions(file, `\n${code}`)
      assert.includeMembers([...offered], [...names])
      for (const name of offered) {
        assert.match(await editor.completion(file, `\n${code}`, name), /\w.*\./s, name)
      }
    })

    it.each(labels)("offers the labels of the metric in %s", async (code) => {
      const file = opened("labels", `${code}${closing(code)}`)
      assert.sameMembers([...(await editor.completions(file, `\n${code}`))], ["method", "status"])
    })

    it("shows of timed what it takes, the metric first", async () => {
      const signatures = await editor.signatures(opened("signature", "timed("), "\ntimed(")
      const parameters = signatures.map((signature) => signature.parameters.map(({ name }) => name).join(", "))
      assert.sameMembers([...new Set(parameters)], ["metric, options", "metric, promise, options"])
      assert.strictEqual(parameters[0], "metric, options")
    })

    it("finds nothing wrong with what is right, and knows the types of what is measured", async () => {
      const file = opened(
        "right",
        `const load = timed(seconds, { labels: { method: "GET", status: 200 } })(async (size = 1) => "x".repeat(size))
         const asked = timed(seconds, fetch("http://127.0.0.1/"), { labels: (exit) => ({ method: "GET", status: exit.status }) })
         asked.then(({ status }) => status.toFixed())
         trackInProgress(running, { labels: { method: "GET", status: 1 } })(() => countExceptions(total.labels("GET", "1")))
         startHttpServer({ port: 9464, serviceDiscovery: consulAgent({ name: "checkout", tags: ["v2"] }) })
           .then(async (server) => { await server.close() })
         hashPassword("secret").then((hash) => hash.trim())
         MetricsServer.layer({ port: 9464 })
         load(3).then((text) => text.toUpperCase())`
      )
      assert.deepEqual(await editor.diagnostics(file), [])
    })

    it.each([
      ["timed(seconds, { labels: { methd: 'GET', status: 1 } })", /Did you mean to write 'method'\?/],
      ["timed(seconds, { labels: { method: 'GET' } })", /Property 'status' is missing/],
      ["timed(seconds)", /this metric has labels: pass \{ labels \} or a child/],
      ["timed(total.labels('GET', '1'))", /Property 'observe' is missing/],
      ["trackInProgress(running, { labels: { methd: 'GET', status: 1 } })", /Did you mean to write 'method'\?/],
      ["startHttpServer({ prot: 9464 })", /'prot' does not exist in type 'ServerOptions'/],
      ["startHttpServer({ port: '9464' })", /Type 'string' is not assignable to type 'number'/],
      ["startHttpServer({ tls: { key: 'key.pem' } })", /Property 'cert' is missing/],
      ["consulAgent({ tag: ['v2'] })", /Did you mean to write 'tags'\?/],
      [
        "MetricsServer.layer({ onError: 'ignore' })",
        /Type '"ignore"' is not assignable to type '"(?:fail|continue)" \| "(?:fail|continue)"/
      ],
      ["timed(seconds.labels('GET', '1'))(async () => 1)().then((one) => one.trim())", /'trim' does not exist/]
    ] as const)("finds what is wrong with %s", async (code, message) => {
      const found = await editor.diagnostics(opened("wrong", code))
      assert.strictEqual(found.length, 1, JSON.stringify(found))
      assert.match(found[0]?.text ?? "", message)
      assert.strictEqual(found[0]?.start.line, head.length + 1)
    })
  })
}
