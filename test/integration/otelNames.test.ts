import { createServer } from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Registry as PromRegistry } from "prom-client"
import { httpMetrics, nodeListener } from "../../src/Promises.js"
import { describeWith } from "../support/binaries.js"
import { ask } from "../support/httpClient.js"
import { listen } from "../support/listen.js"
import { until, victoriaMetrics } from "../support/services.js"

type Attributes = Readonly<Record<string, string | number>>

// Messages of OTLP in the encoding of Protocol Buffers: each field has its number and the type of its value.

const varint = (value: number): ReadonlyArray<number> =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))]

const message = (field: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(body.length)]), body])
}

const string = (field: number, value: string): Uint8Array => message(field, Buffer.from(value))

const integer = (field: number, value: number): Uint8Array => Buffer.from([...varint(field * 8), ...varint(value)])

const double = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}

const fixed = (value: bigint): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

const eightBytes = (field: number, bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(varint(field * 8 + 1)), bytes])

const attributesOf = (field: number, attributes: Attributes): ReadonlyArray<Uint8Array> =>
  Object.entries(attributes).map(([key, value]) =>
    message(field, string(1, key), message(2, typeof value === "number" ? integer(3, value) : string(1, value)))
  )

const arrival = { "http.request.method": "GET", "url.scheme": "http" }

/** The requests of the test, as the conventions describe them: an attribute without a value is left out. */
const requests: ReadonlyArray<Attributes> = [
  { ...arrival, "http.route": "/users/:id", "http.response.status_code": 200 },
  { ...arrival, "http.response.status_code": 404 },
  { ...arrival, "http.route": "/fails", "http.response.status_code": 500, "error.type": "500" }
]

const cumulative = integer(2, 2)

const histogram = (name: string, unit: string, time: bigint): Uint8Array => {
  const points = requests.map((attributes) =>
    message(
      1,
      eightBytes(3, fixed(time)),
      eightBytes(4, fixed(1n)),
      eightBytes(5, double(1)),
      message(6, fixed(1n), fixed(0n)),
      message(7, double(10)),
      ...attributesOf(9, attributes)
    )
  )
  return message(2, string(1, name), string(3, unit), message(9, ...points, cumulative))
}

/** What an instrumentation of OpenTelemetry sends for these requests. */
const exported = (): Uint8Array => {
  const time = BigInt(Date.now()) * 1_000_000n
  const point = message(1, eightBytes(3, fixed(time)), eightBytes(4, double(0)), ...attributesOf(7, arrival))
  const active = string(1, "http.server.active_requests")
  return message(
    1,
    message(1, ...attributesOf(1, { job: "sent" })),
    message(
      2,
      histogram("http.server.request.duration", "s", time),
      histogram("http.server.request.body.size", "By", time),
      histogram("http.server.response.body.size", "By", time),
      message(2, active, string(3, "{request}"), message(7, point, cumulative))
    )
  )
}

describeWith(["victoriaMetrics"], "The names of OpenTelemetry", () => {
  it.scopedLive(
    "give the series that a database makes of the metrics of OpenTelemetry",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry, names: "otel", sizes: true })
        const metrics = nodeListener({ registry })
        const port = yield* listen(
          createServer((request, response) => {
            const { url = "" } = request
            if (url === "/metrics") return metrics(request, response)
            measure(request, response, () => (url === "/users/7" ? "/users/:id" : url === "/none" ? undefined : url))
            response.writeHead(url === "/users/7" ? 200 : url === "/none" ? 404 : 500).end("answer")
          })
        )
        for (const path of ["/users/7", "/none", "/fails"]) {
          yield* Effect.promise(() => ask(`http://127.0.0.1:${port}${path}`))
        }
        const { series, url } = yield* victoriaMetrics(
          [{ job_name: "scraped", static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
          ["-opentelemetry.usePrometheusNaming"]
        )
        const response = yield* Effect.promise(() =>
          fetch(`${url}/opentelemetry/v1/metrics`, {
            method: "POST",
            headers: { "content-type": "application/x-protobuf" },
            body: Buffer.from(exported())
          })
        )
        assert.strictEqual(response.status, 200, yield* Effect.promise(() => response.text()))
        const of = (job: string) =>
          Effect.map(series(`{job="${job}", __name__=~"http_server_.*", le=~"|\\\\+Inf"}`), (found) =>
            found
              .map(({ metric: { instance: _, job: __, ...labels } }) => JSON.stringify(Object.entries(labels).sort()))
              .sort()
          )
        // A histogram has a sum, a count, and the bucket +Inf, which both have.
        const many = 3 * 3 * requests.length + 1
        const scraped = yield* until("all are scraped", of("scraped"), ({ length }) => length === many)
        const sent = yield* until("all are stored", of("sent"), ({ length }) => length === many)
        assert.deepStrictEqual(scraped, sent)
      }),
    120_000
  )
})
