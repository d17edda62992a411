import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { type HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { Counter, Histogram, Registry as PromRegistry } from "prom-client"
import { httpMetrics } from "../src/Promises.js"
import { awaitIdle, measuring } from "./support/httpApps.js"
import { get } from "./support/httpClient.js"
import { listen } from "./support/listen.js"

type Listener = (request: IncomingMessage, response: ServerResponse) => void

type Seen = () => Promise<void>

const listenerOf = (registry: PromRegistry, seen: Seen, ...options: ReadonlyArray<object>) =>
  Effect.gen(function* () {
    const middlewares = yield* Effect.forEach(options, (each) => measuring(registry, each))
    const answer = Effect.as(Effect.promise(seen), HttpServerResponse.text("ok"))
    const router = HttpRouter.get(HttpRouter.empty, "/users/:id", answer)
    return yield* NodeHttpServer.makeHandler(
      middlewares.reduce<HttpApp.Default<unknown>>((app, middleware) => middleware(app), router)
    )
  }) as unknown as Effect.Effect<Listener, never, Scope.Scope>

const measuredBy = (registry: PromRegistry, listener: Listener, ...options: ReadonlyArray<object>): Listener => {
  const all = options.map((each) => httpMetrics({ registry, ...each }))
  return (request, response) => {
    for (const measure of all) measure(request, response, () => "/users/:id")
    listener(request, response)
  }
}

/** One request, measured with both options: those of the outer measurement, and those of the inner one. */
const ways: Readonly<
  Record<
    string,
    (registry: PromRegistry, outer: object, inner: object, seen: Seen) => Effect.Effect<Listener, never, Scope.Scope>
  >
> = {
  "two calls of httpMetrics": (registry, outer, inner, seen) => {
    const answer: Listener = (_, response) => void seen().then(() => response.end("ok"))
    return Effect.succeed(measuredBy(registry, answer, outer, inner))
  },
  "httpMetrics around HttpMetrics": (registry, outer, inner, seen) =>
    Effect.map(listenerOf(registry, seen, inner), (listener) => measuredBy(registry, listener, outer)),
  "two middlewares of HttpMetrics": (registry, outer, inner, seen) => listenerOf(registry, seen, inner, outer)
}

const labelNames = ["method", "route", "status"] as const
const otelNames = [
  "http_request_method",
  "url_scheme",
  "http_route",
  "http_response_status_code",
  "error_type"
] as const

type Options = (registry: PromRegistry) => object

const counter = (names: ReadonlyArray<string>) => (registry: PromRegistry) => ({
  requests: new Counter({ name: "own_total", help: "h", labelNames: names, registers: [registry] })
})

const histogram = (registry: PromRegistry) => ({
  duration: new Histogram({ name: "own_seconds", help: "h", labelNames, registers: [registry] })
})

const plain: Options = () => ({})

const requests = "http_server_requests_total"
const duration = "http_server_request_duration_seconds_count"
const sizes = ["http_server_request_size_bytes_count", "http_server_response_size_bytes_count"]

/** The samples that count the request, each of which is 1. */
const pairs: ReadonlyArray<readonly [name: string, one: Options, other: Options, counts: ReadonlyArray<string>]> = [
  ["the same metrics", plain, plain, [duration, requests]],
  ["all metrics, and all but the counter", plain, () => ({ metrics: { requests: false } }), [duration, requests]],
  [
    "a counter of the caller's own",
    plain,
    (registry) => ({ metrics: counter(labelNames)(registry) }),
    [duration, requests, "own_total"]
  ],
  [
    "a histogram of the caller's own, and no counter",
    () => ({ metrics: { requests: false } }),
    (registry) => ({ metrics: histogram(registry) }),
    [duration, requests, "own_seconds_count"]
  ],
  ["sizes, and none", () => ({ sizes: true }), plain, [duration, ...sizes, requests]],
  [
    "sizes, and one of them",
    () => ({ sizes: true, metrics: { requestSize: false } }),
    () => ({ sizes: true, metrics: { responseSize: false } }),
    [duration, ...sizes, requests]
  ],
  [
    "other names, and sizes by their own",
    () => ({ names: { requests: "old_total", duration: "old_seconds" } }),
    () => ({ sizes: true }),
    [duration, ...sizes, requests, "old_seconds_count", "old_total"]
  ],
  [
    "the names of OpenTelemetry, and a counter of the caller's own",
    () => ({ names: "otel" }),
    (registry) => ({ names: "otel", metrics: counter(otelNames)(registry) }),
    [duration, "own_total"]
  ],
  [
    "the number in progress alone",
    plain,
    () => ({ metrics: { requests: false, duration: false } }),
    [duration, requests]
  ],
  [
    "nothing in common",
    () => ({ metrics: { duration: false, inProgress: false } }),
    () => ({ metrics: { requests: false } }),
    [duration, requests]
  ]
]

const samples = async (registry: PromRegistry) =>
  (await registry.metrics())
    .split("\n")
    .flatMap((line) => /^((?:http|own|old)_\w+)\{.*\} (\S+)$/.exec(line)?.slice(1, 3).join(" ") ?? [])

describe("A request that is measured twice is recorded once on each metric", () => {
  for (const [way, open] of Object.entries(ways)) {
    for (const [what, one, other, counts] of pairs) {
      for (const order of ["", ", the other way round"]) {
        it.scopedLive(`by ${way}, with ${what}${order}`, () =>
          Effect.gen(function* () {
            const registry = new PromRegistry()
            const [outer, inner] = order === "" ? [one(registry), other(registry)] : [other(registry), one(registry)]
            let during: ReadonlyArray<string> = []
            const listener = yield* open(registry, outer, inner, async () => {
              during = (await samples(registry)).filter((sample) => /in_progress|active/.test(sample))
            })
            const port = yield* listen(createServer(listener))
            assert.strictEqual((yield* get(`http://127.0.0.1:${port}/users/1`)).status, 200)
            yield* awaitIdle(registry)
            const ended = yield* Effect.promise(() => samples(registry))
            assert.deepStrictEqual(
              during.map((sample) => sample.split(" ")[1]),
              ["1"]
            )
            assert.deepStrictEqual(
              ended.filter((sample) => /_(count|total) /.test(sample)).sort(),
              counts.map((name) => `${name} 1`).sort()
            )
          })
        )
      }
    }
  }
})
