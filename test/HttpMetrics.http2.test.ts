import type { Server } from "node:http"
import { type ClientHttp2Session, connect, constants, createSecureServer, createServer } from "node:http2"
import { Readable } from "node:stream"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import { type Certificate, certificate } from "./support/certificates.js"
import {
  awaitIdle,
  inProgress,
  measuring,
  requestSize,
  requests,
  responseSize,
  samples,
  samplesOf
} from "./support/httpApps.js"
import { eventually, get } from "./support/httpClient.js"

const chunk = new Uint8Array(5)

const app = (reached: Effect.Effect<unknown>) =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/plain/:x", HttpServerResponse.text("plain")),
    HttpRouter.get("/fails", Effect.fail("no")),
    HttpRouter.get("/stream", HttpServerResponse.stream(Stream.make(chunk, chunk))),
    HttpRouter.get("/broken", HttpServerResponse.stream(Stream.concat(Stream.make(chunk), Stream.die("x")))),
    HttpRouter.get(
      "/raw",
      Effect.sync(() => HttpServerResponse.raw(new Readable({ read: () => {} }).destroy(new Error("no"))))
    ),
    HttpRouter.get("/waits", Effect.zipRight(reached, Effect.never)),
    HttpRouter.get(
      "/endless",
      HttpServerResponse.stream(
        Stream.concat(Stream.make(chunk), Stream.drain(Stream.fromEffect(Effect.zipRight(reached, Effect.never))))
      )
    ),
    HttpRouter.get("/large", HttpServerResponse.uint8Array(new Uint8Array(20_000_000))),
    HttpRouter.post(
      "/read",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) =>
        Effect.map(text, (body) => HttpServerResponse.text(body))
      )
    )
  )

const servers = {
  "without TLS": { scheme: "http", make: (_: Certificate) => createServer() },
  "over TLS": {
    scheme: "https",
    make: ({ cert, key }: Certificate) => createSecureServer({ cert, key, allowHTTP1: true })
  }
} as const

for (const [name, { make, scheme }] of Object.entries(servers)) {
  describe(`HTTP/2 ${name}`, () => {
    const start = Effect.gen(function* () {
      const registry = new PromRegistry()
      const shown = yield* certificate
      const reached = yield* Deferred.make<void>()
      const middleware = yield* measuring(registry, { sizes: true })
      const served = HttpServer.serve(app(Deferred.succeed(reached, undefined)), middleware)
      // The platform knows of HTTP/1 only, by its types.
      const server = NodeHttpServer.layer(() => make(shown) as unknown as Server, { host: "127.0.0.1", port: 0 })
      const { address } = Context.get(yield* Layer.build(Layer.provideMerge(served, server)), HttpServer.HttpServer)
      const url = `${scheme}://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connect(url, { ca: shown.cert }).on("error", () => {})),
        (open: ClientHttp2Session) => Effect.sync(() => open.destroy())
      )
      const sent = (path: string, method = "GET") =>
        session.request({ ":path": path, ":method": method }).on("error", () => {})
      return { ca: shown.cert, reached: Deferred.await(reached), registry, sent, session, url }
    })

    it.scopedLive("is counted by method, pattern, status and sizes", () =>
      Effect.gen(function* () {
        const { registry, sent } = yield* start
        for (const path of ["/plain/1", "/plain/2", "/fails", "/stream", "/broken", "/raw", "/no"]) sent(path).resume()
        sent("/plain/1", "HEAD").resume()
        sent("/stream", "HEAD").resume()
        sent("/read", "POST").resume().end("12345678")
        yield* eventually("all of them", async () => {
          const all = await samples(registry, requests)
          return all.reduce((sum, text) => sum + Number(text.split(": ")[1]), 0) === 10
        })
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [
          "GET /broken 500: 1",
          "GET /fails 500: 1",
          "GET /plain/:x 200: 2",
          "GET /raw 500: 1",
          "GET /stream 200: 1",
          "GET unmatched 404: 1",
          "HEAD /plain/:x 200: 1",
          "HEAD /stream 200: 1",
          "POST /read 200: 1"
        ])
        assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [
          "GET /fails 500: 0",
          "GET /plain/:x 200: 10",
          "GET /stream 200: 10",
          "GET unmatched 404: 0",
          "HEAD /plain/:x 200: 0",
          "HEAD /stream 200: 0",
          "POST /read 200: 8"
        ])
        assert.include(yield* samplesOf(registry, requestSize, "_sum"), "POST /read 200: 8")
        assert.include(yield* samplesOf(registry, requestSize, "_sum"), "GET /plain/:x 200: 0")
      })
    )

    for (const [what, path] of [
      ["before the answer", "/waits"],
      ["within a streamed body", "/endless"]
    ] as const) {
      it.scopedLive(`is counted as 499 where its client cancels it ${what}`, () =>
        Effect.gen(function* () {
          const { reached, registry, sent } = yield* start
          const stream = sent(path).resume()
          yield* reached
          assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
          stream.close(constants.NGHTTP2_CANCEL)
          yield* awaitIdle(registry)
          assert.deepStrictEqual(yield* samplesOf(registry, requests), [`GET ${path} 499: 1`])
          assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
        })
      )
    }

    it.scopedLive("is counted as 499 where its client cancels it within a body that was handed over whole", () =>
      Effect.gen(function* () {
        const { registry, sent } = yield* start
        const stream = sent("/large")
        stream.once("data", () => stream.close(constants.NGHTTP2_CANCEL))
        yield* eventually("counted", async () => (await samples(registry, requests)).length === 1)
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /large 499: 1"])
        assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
      })
    )

    it.scopedLive("ends on a connection that accepts no further streams", () =>
      Effect.gen(function* () {
        const { registry, sent, session } = yield* start
        const stream = sent("/large")
        stream.once("data", () => session.close())
        yield* eventually("counted", async () => (await samples(registry, requests)).length === 1)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /large 200: 1"])
        assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), ["GET /large 200: 20000000"])
      })
    )

    it.scopedLive("is counted as 499 where its connection is gone", () =>
      Effect.gen(function* () {
        const { reached, registry, sent, session } = yield* start
        sent("/waits").resume()
        yield* reached
        session.destroy()
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /waits 499: 1"])
      })
    )

    if (scheme === "https") {
      it.scopedLive("is counted beside HTTP/1 on the same port", () =>
        Effect.gen(function* () {
          const { ca, registry, sent, url } = yield* start
          sent("/plain/1").resume()
          assert.strictEqual((yield* get(`${url}/plain/2`, { ca })).status, 200)
          yield* eventually("both", async () => (await samples(registry, requests))[0] === "GET /plain/:x 200: 2")
          yield* awaitIdle(registry)
        })
      )
    }
  })
}
