import { createServer, request } from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Gauge, Histogram, Registry as PromRegistry, Summary } from "prom-client"
import type { Format } from "../support/arbitraryRegistries.js"
import { describeWith } from "../support/binaries.js"
import { authority, temporaryFiles } from "../support/certificates.js"
import { hashOf } from "../support/credentials.js"
import { contentTypes, formats, parsers } from "../support/expositions.js"
import { get } from "../support/httpClient.js"
import { listen } from "../support/listen.js"
import { inPatientWorker, inThisThread, someMetrics, started } from "../support/servers.js"
import { type QueriedSeries, queriedValue, until, victoriaMetrics } from "../support/services.js"

/** What it sends by default, and what a job sends that sets the header. It ignores `scrape_protocols`. */
const accepts: { readonly [F in Format]: string } = {
  text: "text/plain;version=0.0.4;q=1,*/*;q=0.1",
  openmetrics: "application/openmetrics-text;version=1.0.0"
}

interface Job {
  readonly name: string
  readonly format: Format
  readonly isCompressed: boolean
}

const jobs: ReadonlyArray<Job> = formats.flatMap((format) =>
  [true, false].map((isCompressed) => ({
    name: `${format}-${isCompressed ? "gzip" : "plain"}`,
    format,
    isCompressed
  }))
)

/** Passes requests on to that port, and keeps what was asked for and what was answered. */
const relay = (port: number) =>
  Effect.gen(function* () {
    const exchanges = new Set<string>()
    const server = createServer((incoming, response) => {
      const { headers, method, url } = incoming
      const onward = request({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
        const { "content-encoding": encoding, "content-type": type } = answer.headers
        exchanges.add(exchange(headers.accept, type, encoding))
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      })
      incoming.pipe(onward.on("error", () => response.destroy()))
    })
    return { exchanges, target: `127.0.0.1:${yield* listen(server)}` }
  })

const exchange = (accept: string | undefined, type: string | undefined, encoding: string | undefined): string =>
  `${accept} => ${type}, ${encoding ?? "not compressed"}`

const quoted = 'a "quoted" \\ path\nwith ünïcödé 🎉'

const hostile = [quoted, "\\", '"', "\n", "\\n", '\\"', 'x{a="b",c="d"} # 7 1\r\t', ""]

// It keeps no NaN, and rounds other numbers to 12 digits or more.
const numbers: Readonly<Record<string, number>> = {
  negative: -2.5,
  zero: 0,
  huge: 1e300,
  tiny: 1e-300,
  integer: 2 ** 53,
  inf: Number.POSITIVE_INFINITY,
  ninf: Number.NEGATIVE_INFINITY
}

const registryOfAll = (): PromRegistry => {
  const registry = new PromRegistry()
  // The client requires it for exemplars, which the library sends in OpenMetrics only.
  registry.setContentType(PromRegistry.OPENMETRICS_CONTENT_TYPE as never)
  const registers = [registry]
  const exemplarLabels = { trace_id: "0af7651916cd43dd", span: 'a "quoted" # {b="c"} 7' }
  new Counter<string>({ name: "jobs_total", help: "Jobs.", enableExemplars: true, registers }).inc({
    value: 3,
    exemplarLabels
  })
  new Counter({ name: "jobs", help: "No total in the name.", registers }).inc(4)
  const requests = new Counter({
    name: "requests_total",
    help: 'Help with "quotes", \\ and\nanother line.',
    labelNames: ["path", "code"],
    registers
  })
  for (const [at, path] of hostile.entries()) requests.inc({ path, code: "200" }, at + 1)
  new Counter({ name: "never_total", help: "No series yet.", labelNames: ["kind"], registers })
  const levels = new Gauge({ name: "level", help: "Numbers.", labelNames: ["which"], registers })
  for (const [which, value] of Object.entries(numbers)) levels.set({ which }, value)
  const sizes = new Histogram<string>({
    name: "size_bytes",
    help: "Sizes.",
    labelNames: ["path"],
    buckets: [0.5, 10, 100],
    enableExemplars: true,
    registers
  })
  for (const value of [0.25, 5, 5, 50, 500]) sizes.observe({ labels: { path: quoted }, value, exemplarLabels })
  const latency = new Summary({ name: "latency_seconds", help: "Latency.", percentiles: [0.5], registers })
  for (const seconds of [1, 2, 3]) latency.observe(seconds)
  return registry
}

/** The results of queries that are about the series of one job. */
const expected: ReadonlyArray<readonly [metric: string, matchers: string, value: number | undefined]> = [
  ["jobs_total", "", 3],
  ["jobs", "", 4],
  ["never_total", "", undefined],
  ...hostile.map((path, at) => ["requests_total", `code="200",path=${JSON.stringify(path)}`, at + 1] as const),
  ...Object.entries(numbers).map(([which, value]) => ["level", `which="${which}"`, value] as const),
  ["size_bytes_bucket", 'le="0.5"', 1],
  ["size_bytes_bucket", 'le="10"', 3],
  ["size_bytes_bucket", 'le="100"', 4],
  ["size_bytes_bucket", 'le="+Inf"', 5],
  ["size_bytes_sum", `path=${JSON.stringify(quoted)}`, 560.25],
  ["size_bytes_count", `path=${JSON.stringify(quoted)}`, 5],
  ["latency_seconds", 'quantile="0.5"', 2],
  ["latency_seconds_sum", "", 6],
  ["latency_seconds_count", "", 3]
]

/** A series as text. A label without a value is one that is not there. */
const series = (name: string, labels: Iterable<readonly [string, string]>, value: number): string =>
  JSON.stringify([name, [...labels].filter(([, text]) => text !== "").sort(), String(value)])

const heldSeries = (queried: QueriedSeries): string => {
  const { __name__: name = "", job, instance, ...labels } = queried.metric
  return series(name, Object.entries(labels), queriedValue(queried))
}

/** The series of an exposition, without those about the library itself, which change with each scrape. */
const sentSeries = (format: Format, body: string): ReadonlyArray<string> =>
  parsers[format](body)
    .flatMap(({ samples }) => samples)
    .filter(({ name }) => !name.startsWith("effect_prometheus_"))
    .map(({ labels, name, value }) => series(name, labels, value))

describeWith(["victoriaMetrics"], "VictoriaMetrics", () => {
  it.scopedLive(
    "scrapes both formats, compressed or not, and gives back every series with its value",
    () =>
      Effect.gen(function* () {
        const { address, url } = yield* started(inThisThread, {}, { registry: registryOfAll() })
        const relays = yield* Effect.forEach(jobs, (job) =>
          Effect.map(relay(address.port), (relayed) => ({ ...relayed, ...job }))
        )
        const server = yield* victoriaMetrics(
          relays.map(({ format, isCompressed, name, target }) => ({
            job_name: name,
            static_configs: [{ targets: [target] }],
            disable_compression: !isCompressed,
            ...(format === "text" ? {} : { headers: [`Accept: ${accepts[format]}`] })
          }))
        )
        yield* until("all were scraped", server.query("count(up == 1)"), (up) => up === jobs.length)
        const own = "up|scrape_.*|effect_prometheus_.*"
        for (const { exchanges, format, isCompressed, name: job } of relays) {
          assert.deepStrictEqual(
            [...exchanges],
            [exchange(accepts[format], contentTypes[format], isCompressed ? "gzip" : undefined)]
          )
          for (const [metric, matchers, value] of expected) {
            const promql = `${metric}{job="${job}",${matchers}}`
            assert.strictEqual(yield* server.query(promql), value, promql)
          }
          const { body } = yield* get(url, { headers: { accept: contentTypes[format] } })
          assert.strictEqual(body.includes(' # {trace_id="'), format === "openmetrics")
          const held = yield* server.series(`{job="${job}",__name__!~"${own}"}`)
          assert.deepStrictEqual(held.map(heldSeries).sort(), [...sentSeries(format, body)].sort())
          assert.strictEqual(yield* server.query(`effect_prometheus_errors_total{job="${job}",operation="collect"}`), 0)
        }
        assert.deepStrictEqual(
          (yield* server.targets).filter(({ health, lastError }) => health !== "up" || lastError !== ""),
          []
        )
      }),
    180_000
  )

  it.scopedLive(
    "scrapes over TLS with a password or a token, and not without",
    () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const { ca } = yield* temporaryFiles({ ca: trusted.cert })
        const [password, token] = ["correct horse battery staple", "0123456789abcdef"]
        const { address } = yield* started(
          inPatientWorker,
          {
            tls: yield* trusted.issue(),
            authentication: { users: { scraper: hashOf(password) }, tokens: [token] }
          },
          { registry: someMetrics() }
        )
        const cases: Readonly<Record<string, readonly [how: object, up: 0 | 1]>> = {
          password: [{ basic_auth: { username: "scraper", password } }, 1],
          token: [{ authorization: { credentials: token } }, 1],
          "wrong-password": [{ basic_auth: { username: "scraper", password: "guess" } }, 0],
          nothing: [{}, 0],
          "other-authority": [{ authorization: { credentials: token }, tls_config: {} }, 0]
        }
        const { query } = yield* victoriaMetrics(
          Object.entries(cases).map(([name, [how]]) => ({
            job_name: name,
            scheme: "https",
            tls_config: { ca_file: ca },
            static_configs: [{ targets: [`127.0.0.1:${address.port}`] }],
            ...how
          }))
        )
        for (const [name, [, expected]] of Object.entries(cases)) {
          yield* until(`${name} is ${expected}`, query(`up{job="${name}"}`), (up) => up === expected)
          assert.strictEqual(yield* query(`jobs_total{job="${name}"}`), expected === 1 ? 3 : undefined, name)
        }
      }),
    180_000
  )
})
