import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import { get, rawConnection, requestLines } from "./support/httpClient.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"

const textType = "text/plain; version=0.0.4; charset=utf-8"
const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
const openMetrics = { accept: "application/openmetrics-text;version=1.0.0" }

const origin = ({ url }: { readonly url: string }): string => new URL(url).origin

// The answers of a worker end with a metric of its own.
const families = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^# TYPE (\S+)/gm)]
    .map(([, name]) => name ?? "")
    .filter((name) => name !== "effect_prometheus_exposition_age_seconds")

const failingGauge = (registry: PromRegistry) =>
  new Gauge({
    name: "temperature_celsius",
    help: "h",
    registers: [registry],
    collect: () => {
      throw new Error("no thermometer")
    }
  })

const manySeries = (registry: PromRegistry, count: number): void => {
  const gauge = new Gauge({ name: "rooms", help: "h", labelNames: ["room"], registers: [registry] })
  for (let room = 0; room < count; room++) gauge.set({ room: String(room) }, room)
}

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name} answers`, () => {
    it.scopedLive("a GET of its url with the registry as text 0.0.4", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        assert.strictEqual(server.url, `http://127.0.0.1:${server.address.port}/metrics`)
        assert.strictEqual(server.https, false)
        const { body, headers, status } = yield* get(server.url)
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["content-type"], textType)
        assert.include(body, "# TYPE jobs_total counter\njobs_total 3\n")
        assert.include(body, 'queue_length{queue="a"} 2\n')
        assert.notInclude(body, "# EOF")
      })
    )

    it.scopedLive("a GET that accepts OpenMetrics with OpenMetrics 1.0.0, which says where it ends", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        const { body, headers, status } = yield* get(server.url, { headers: openMetrics })
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["content-type"], openMetricsType)
        assert.include(body, "# TYPE jobs counter\n")
        assert.include(body, "jobs_total 3\n")
        assert.match(body, /# EOF\n$/)
      })
    )

    it.scopedLive("concurrent scrapes each in its own format, with the same names every time", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        const asked = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? {} : openMetrics))
        const answers = yield* Effect.forEach(asked, (headers) => get(server.url, { headers }), {
          concurrency: "unbounded"
        })
        answers.forEach(({ body, headers }, index) => {
          assert.strictEqual(headers["content-type"], index % 2 === 0 ? textType : openMetricsType)
          assert.include(body, "\njobs_total 3\n")
        })
      })
    )

    it.scopedLive("what the registry holds now, not what it held before", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const server = yield* started(kind, {}, { registry })
        const gauge = new Gauge({ name: "level", help: "h", registers: [registry] })
        for (const level of [1, 2]) {
          gauge.set(level)
          assert.include((yield* get(server.url)).body, `\nlevel ${level}\n`)
        }
        registry.removeSingleMetric("level")
        assert.notInclude((yield* get(server.url)).body, "level")
      })
    )

    it.scopedLive("/ with a small page that links to the metrics, the same for any size of the registry", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const server = yield* started(kind, { path: "/internal/metrics" }, { registry })
        assert.strictEqual(server.healthUrl, `${origin(server)}/`)
        const page = yield* get(server.healthUrl)
        assert.strictEqual(page.status, 200)
        assert.strictEqual(page.headers["content-type"], "text/html; charset=utf-8")
        assert.include(page.body, 'href="./internal/metrics"')
        assert.isBelow(page.bytes.byteLength, 1_024)
        manySeries(registry, 1_000)
        failingGauge(registry)
        assert.deepStrictEqual((yield* get(server.healthUrl)).bytes, page.bytes)
      })
    )

    it.scopedLive("any other path with 404", () =>
      Effect.gen(function* () {
        const server = yield* started(kind)
        for (const path of ["/metric", "/metrics/", "/metrics/x", "/favicon.ico", "/METRICS"]) {
          assert.strictEqual((yield* get(`${origin(server)}${path}`)).status, 404, path)
        }
      })
    )

    it.scopedLive("any other method with 405, which names those that are allowed", () =>
      Effect.gen(function* () {
        const server = yield* started(kind)
        for (const url of [server.url, server.healthUrl]) {
          for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
            const { headers, status } = yield* get(url, { method })
            assert.strictEqual(status, 405, `${method} ${url}`)
            assert.strictEqual(headers.allow, "GET, HEAD")
          }
        }
      })
    )

    it.scopedLive("HEAD as GET, without the body", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { selfMetrics: false }, { registry: someMetrics() })
        for (const url of [server.url, server.healthUrl]) {
          const head = yield* get(url, { method: "HEAD" })
          assert.strictEqual(head.status, 200)
          assert.strictEqual(head.body, "")
          const { bytes, headers } = yield* get(url)
          assert.strictEqual(head.headers["content-type"], headers["content-type"])
          assert.strictEqual(head.headers["content-length"], String(bytes.byteLength))
        }
      })
    )

    it.scopedLive("name[] with those families alone, also when it is percent-encoded", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        manySeries(registry, 2)
        const server = yield* started(kind, {}, { registry })
        const named = (query: string, headers = {}) => get(`${server.url}?${query}`, { headers })
        assert.deepStrictEqual(families((yield* named("name[]=jobs_total")).body), ["jobs_total"])
        assert.deepStrictEqual(families((yield* named("name%5B%5D=rooms&name[]=jobs_total")).body), [
          "jobs_total",
          "rooms"
        ])
        assert.deepStrictEqual(families((yield* named("name[]=jobs_total", openMetrics)).body), ["jobs"])
        const none = yield* named("name[]=nothing_of_that_name")
        assert.strictEqual(none.status, 200)
        assert.deepStrictEqual(families(none.body), [])
        assert.include(families((yield* named("other=jobs_total")).body), "rooms")
      })
    )

    it.scopedLive("with gzip when it is asked for and worthwhile", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        manySeries(registry, 200)
        const server = yield* started(kind, {}, { registry })
        const zipped = yield* get(server.url, { headers: { "accept-encoding": "gzip" } })
        assert.strictEqual(zipped.headers["content-encoding"], "gzip")
        assert.strictEqual(zipped.headers["content-length"], String(zipped.bytes.byteLength))
        assert.include(zipped.headers.vary ?? "", "Accept-Encoding")
        assert.include(gunzipSync(zipped.bytes).toString(), 'rooms{room="199"} 199\n')
        for (const encoding of ["identity", "br", "gzip;q=0"]) {
          const plain = yield* get(server.url, { headers: { "accept-encoding": encoding } })
          assert.isUndefined(plain.headers["content-encoding"], encoding)
          assert.include(plain.body, 'rooms{room="199"} 199\n')
        }
        const page = yield* get(server.healthUrl, { headers: { "accept-encoding": "gzip" } })
        assert.isUndefined(page.headers["content-encoding"])
      })
    )

    it.scopedLive("without gzip if compression is off", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        manySeries(registry, 200)
        const server = yield* started(kind, { compression: false }, { registry })
        const { body, headers } = yield* get(server.url, { headers: { "accept-encoding": "gzip" } })
        assert.isUndefined(headers["content-encoding"])
        assert.include(body, 'rooms{room="199"} 199\n')
      })
    )

    it.scopedLive("on the path that it was given, and on no other", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { path: "/internal/prom-metrics_v1.txt" }, { registry: someMetrics() })
        assert.strictEqual(server.url, `${origin(server)}/internal/prom-metrics_v1.txt`)
        assert.include((yield* get(server.url)).body, "jobs_total 3\n")
        assert.strictEqual((yield* get(`${origin(server)}/metrics`)).status, 404)
      })
    )

    it.scopedLive("many requests that come at once on one connection, each in its turn", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        const connection = yield* rawConnection(server.address.port)
        const targets = Array.from({ length: 15 }, (_, index) =>
          index % 3 === 0 ? "/" : index % 3 === 1 ? "/nowhere" : "/metrics?name[]=jobs_total"
        )
        connection.send(targets.map((target) => requestLines(target)).join(""))
        connection.send(requestLines("/last", "Connection: close\r\n"))
        yield* connection.closed
        const text = yield* connection.received(() => true)
        const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)
        assert.deepStrictEqual(statuses, [...targets.map((target) => (target === "/nowhere" ? "404" : "200")), "404"])
        assert.strictEqual(text.split("\njobs_total 3\n").length - 1, 5)
      })
    )

    it.scopedLive("a request whose target is a whole URL", () =>
      Effect.gen(function* () {
        const options = { allowedHosts: ["metrics.example"] }
        const server = yield* started(kind, options, { registry: someMetrics() })
        const connection = yield* rawConnection(server.address.port)
        connection.send(requestLines("http://localhost/metrics?name[]=jobs_total"))
        assert.include(yield* connection.received((text) => text.includes("jobs_total 3\n")), "HTTP/1.1 200 OK")
        connection.send(requestLines("http://127.0.0.1/elsewhere", "Connection: close\r\n"))
        yield* connection.closed
        assert.include(yield* connection.received(() => true), "HTTP/1.1 404 Not Found")
      })
    )

    it.scopedLive("an invalid request target with a 4xx, and keeps serving", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        for (const target of ["http://", "http://[", "*", "//"]) {
          const connection = yield* rawConnection(server.address.port)
          connection.send(requestLines(target, "Connection: close\r\n"))
          yield* connection.closed
          assert.match(yield* connection.received(() => true), /^HTTP\/1\.1 4\d\d /, target)
        }
        assert.strictEqual((yield* get(server.url)).status, 200)
      })
    )

    it.scopedLive("a path that begins with two slashes as a path, not as the name of a host", () =>
      Effect.gen(function* () {
        const server = yield* started(kind)
        for (const path of ["//nowhere", "//nowhere/metrics"]) {
          assert.strictEqual((yield* get(`${origin(server)}${path}`)).status, 404, path)
        }
      })
    )

    it.scopedLive("500 when a metric cannot be read, with onError: fail, and names it; it is counted and logged", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        failingGauge(registry)
        const server = yield* started(kind, { onError: "fail" }, { registry })
        const { body, headers, status } = yield* get(server.url)
        assert.strictEqual(status, 500)
        assert.strictEqual(headers["content-type"], "text/plain; charset=utf-8")
        assert.include(body, "temperature_celsius")
        const others = yield* get(`${server.url}?name[]=effect_prometheus_errors_total`)
        assert.strictEqual(others.status, 200)
        assert.match(others.body, /effect_prometheus_errors_total\{operation="collect"\} [1-9]/)
        const errors = server.lines.filter(({ level }) => level === "ERROR")
        assert.strictEqual(errors.length, 1)
        assert.include(errors[0]?.message, "temperature_celsius failed")
        assert.include(errors[0]?.cause, "no thermometer")
      })
    )

    it.scopedLive("the other metrics when one cannot be read", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        failingGauge(registry)
        const server = yield* started(kind, {}, { registry })
        yield* get(server.url)
        const { body, status } = yield* get(server.url)
        assert.strictEqual(status, 200)
        assert.include(body, "jobs_total 3\n")
        assert.notMatch(body, /^temperature_celsius/m)
        assert.include(body, '\neffect_prometheus_collect_failed{metric="temperature_celsius"} 1\n')
        assert.match(body, /effect_prometheus_errors_total\{operation="collect"\} [1-9]/)
      })
    )

    it.scopedLive("as two servers on one registry, one of which can stop while the other keeps serving", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const first = yield* started(kind, {}, { registry })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const second = yield* started(kind, {}, { registry })
            assert.notStrictEqual(second.address.port, first.address.port)
            const answers = yield* Effect.all([get(first.url), get(second.url)], { concurrency: 2 })
            for (const { body } of answers) assert.include(body, "jobs_total 3\n")
          })
        )
        assert.include((yield* get(first.url)).body, "jobs_total 3\n")
      })
    )
  })
}
