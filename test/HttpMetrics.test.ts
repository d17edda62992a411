import { Agent, request as nodeRequest } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { Registry as PromRegistry } from "prom-client"
import {
  apps,
  awaitIdle,
  inProgress,
  listen,
  measuring,
  requests,
  responseSize,
  samplesOf,
  seconds,
  signals
} from "./support/httpApps.js"
import { get } from "./support/httpClient.js"

/** Begins a request, and disconnects on demand. */
const leaving = (url: string) => {
  const sent = nodeRequest(url)
  sent.on("error", () => {})
  sent.on("response", (response) => response.on("error", () => {}).resume())
  sent.end()
  return Effect.sync(() => sent.destroy())
}

for (const app of apps) {
  describe(app.name, () => {
    const start = Effect.gen(function* () {
      const registry = new PromRegistry()
      const made = yield* signals
      const middleware = yield* measuring(registry, { sizes: true })
      const url = yield* listen(app.serve(made, middleware))
      return { registry, url, ...made }
    })

    it.scopedLive("counts each request by method, pattern and what was sent", () =>
      Effect.gen(function* () {
        const { registry, url } = yield* start
        const asked = [
          ["GET", "/plain", 200, 5],
          ["GET", "/users/1", 200, 4],
          ["GET", "/users/2?x=1", 200, 4],
          ["HEAD", "/users/2", 200, 0],
          ["GET", "/made", 201, 0],
          ["GET", "/none", 204, 0],
          ["GET", "/fails", 500, 0],
          ["GET", "/teapot", 418, 0],
          ["GET", "/dies", 500, 0],
          ["GET", "/interrupted", 503, 0],
          ["GET", "/stream", 200, 11],
          ["GET", "/nowhere", 404, 0],
          ["PURGE", "/plain", 404, 0]
        ] as const
        for (const [method, path, status, bytes] of asked) {
          const answer = yield* get(`${url}${path}`, { method })
          assert.strictEqual(answer.status, status, `${method} ${path}`)
          if (method !== "HEAD") assert.strictEqual(answer.bytes.length, bytes, path)
        }
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [
          "GET /dies 500: 1",
          "GET /fails 500: 1",
          "GET /interrupted 503: 1",
          "GET /made 201: 1",
          "GET /none 204: 1",
          "GET /plain 200: 1",
          "GET /stream 200: 1",
          "GET /teapot 418: 1",
          "GET /users/:id 200: 2",
          "GET unmatched 404: 1",
          "HEAD /users/:id 200: 1",
          "other unmatched 404: 1"
        ])
        const counts = yield* samplesOf(registry, seconds, "_count")
        assert.deepStrictEqual(counts, yield* samplesOf(registry, requests))
        const sizes = yield* samplesOf(registry, responseSize, "_sum")
        assert.includeMembers([...sizes], ["GET /users/:id 200: 8", "GET /stream 200: 11", "HEAD /users/:id 200: 0"])
      })
    )

    for (const [when, path] of [
      ["before the response", "/waits"],
      ["within the body", "/endless"]
    ]) {
      it.scopedLive(`counts a request whose client disconnects ${when} as 499, and its size as unknown`, () =>
        Effect.gen(function* () {
          const { reached, registry, url } = yield* start
          const disconnect = leaving(`${url}${path}`)
          yield* Deferred.await(reached)
          assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
          yield* disconnect
          yield* awaitIdle(registry)
          assert.deepStrictEqual(yield* samplesOf(registry, requests), [`GET ${path} 499: 1`])
          assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [])
        })
      )
    }

    it.scopedLive("counts a body that breaks off as 500", () =>
      Effect.gen(function* () {
        const { registry, url } = yield* start
        assert.strictEqual((yield* get(`${url}/broken`)).status, 200)
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /broken 500: 1"])
      })
    )

    it.scopedLive("makes one series of a thousand paths that match nothing", () =>
      Effect.gen(function* () {
        const { registry, url } = yield* start
        const agent = new Agent({ keepAlive: true })
        yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
        yield* Effect.forEach(
          Array.from({ length: 1_000 }, (_, index) => index),
          (index) => get(`${url}/random/${index}`, { agent }),
          { concurrency: 10, discard: true }
        )
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET unmatched 404: 1000"])
      })
    )
  })
}
