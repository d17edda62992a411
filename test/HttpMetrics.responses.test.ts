/**
 * Responses that a server of Node.js writes within the measured app, with middlewares in between. A middleware without
 * `labels` observes the response of Node.js, and one with `labels` adds a handler: both must record the same.
 */
import { Readable } from "node:stream"
import { HttpApp, HttpBody, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import type * as HttpMetrics from "../src/HttpMetrics.js"
import { awaitIdle, listen, measuring, requests, responseSize, samples, samplesOf } from "./support/httpApps.js"
import { ask, eventually } from "./support/httpClient.js"

type AnyApp = HttpApp.Default<unknown>

type Between = (app: AnyApp) => AnyApp

const text = HttpServerResponse.text("ok")

const at = (handler: AnyApp): AnyApp => HttpRouter.empty.pipe(HttpRouter.all("/:id", handler as never)) as AnyApp

const streamed = (stream: Stream.Stream<Uint8Array, unknown>, status = 200) =>
  at(Effect.succeed(HttpServerResponse.stream(stream, { status })))

const parts = Stream.make(new Uint8Array(3), new Uint8Array(4))
const failing = Stream.concat(parts, Stream.die("broken"))

const nothing: Between = (app) => app
const recovering: Between = (app) => Effect.catchAllCause(app, () => HttpServerResponse.text("sorry"))
const modifying: Between = (app) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.provideService(app, HttpServerRequest.HttpServerRequest, request.modify({ headers: request.headers }))
  )
const forking: Between = (app) => Effect.flatMap(Effect.fork(app), (fiber) => fiber)
const proxying: Between = (app) =>
  Effect.updateService(
    app,
    HttpServerRequest.HttpServerRequest,
    (request) => new Proxy(request, { get: (target, key) => Reflect.get(target, key, target) })
  )
const handling =
  (change: (response: HttpServerResponse.HttpServerResponse) => HttpServerResponse.HttpServerResponse): Between =>
  (app) =>
    Effect.zipRight(
      HttpApp.appendPreResponseHandler((_, response) => Effect.succeed(change(response))),
      app
    )
const first: Between = () => HttpServerResponse.text("first", { status: 403 })

const ownWriting = at(
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    NodeHttpServerRequest.toServerResponse(request).writeHead(202).end("own")
    return HttpServerResponse.text("too late", { status: 201 })
  })
)

interface Row {
  readonly app: AnyApp
  readonly between?: Between
  readonly around?: Between
  readonly method?: string
  readonly expected: string
  /** The server does not answer, and the client leaves. */
  readonly isLeft?: boolean
  /** In bytes. Default: not observed. */
  readonly size?: number
}

const found = (status: number, method = "GET") => `${method} /:id ${status}`

const rows: Record<string, Row> = {
  "a text": { app: at(text), expected: found(200), size: 2 },
  "a body that is empty": { app: streamed(Stream.empty), expected: found(200), size: 0 },
  "a body in parts": { app: streamed(parts), expected: found(200), size: 7 },
  "a body in parts of a response that has none": { app: streamed(parts, 204), expected: found(204), size: 0 },
  "a body in parts for HEAD": { app: streamed(parts), method: "HEAD", expected: found(200, "HEAD"), size: 0 },
  "a stream of Node.js": {
    app: at(Effect.sync(() => HttpServerResponse.raw(Readable.from([Buffer.alloc(5), Buffer.alloc(6)])))),
    expected: found(200),
    size: 11
  },
  "a stream of Node.js that fails": {
    app: at(
      Effect.sync(() =>
        HttpServerResponse.raw(
          new Readable({
            read() {
              this.destroy(new Error("broken"))
            }
          })
        )
      )
    ),
    expected: found(500)
  },
  "a body that fails": { app: streamed(failing), expected: found(500) },
  "a body that fails before its first part": { app: streamed(Stream.die("broken")), expected: found(500) },
  "a body that is interrupted": {
    app: streamed(Stream.concat(parts, Stream.fromEffect(Effect.interrupt))),
    expected: found(503)
  },
  "a body that fails, and a middleware that recovers": {
    app: streamed(failing),
    between: recovering,
    expected: found(500)
  },
  "a body that fails, and a middleware that recovers, with a modified request": {
    app: streamed(failing),
    between: (app) => recovering(modifying(app)),
    expected: found(500)
  },
  "a body that fails, and a middleware that recovers, in another fiber": {
    app: streamed(failing),
    between: (app) => recovering(forking(app)),
    expected: found(500)
  },
  "a body that a timeout cuts": {
    app: streamed(Stream.concat(parts, Stream.never)),
    between: (app) => Effect.interruptible(Effect.timeout(app, "40 millis")),
    expected: found(503),
    isLeft: true
  },
  "a body of the response of an error that fails": {
    app: at(Effect.fail(HttpServerResponse.stream(failing, { status: 409 }))),
    expected: found(500)
  },
  "a body of the response of an error": {
    app: at(Effect.fail(HttpServerResponse.stream(parts, { status: 409 }))),
    expected: found(409),
    size: 7
  },
  "a failure that becomes a defect": {
    app: HttpRouter.empty,
    between: (app) => Effect.orDie(app),
    expected: "GET unmatched 404",
    size: 0
  },
  "a failure that becomes another one, too late": {
    app: HttpRouter.empty,
    between: (app) => Effect.mapError(app, () => "other"),
    expected: "GET unmatched 404",
    size: 0
  },
  "a handler of Effect that fails": {
    app: at(
      Effect.zipRight(
        HttpApp.appendPreResponseHandler(() => Effect.die("no")),
        text
      )
    ),
    expected: found(500),
    size: 0,
    isLeft: true
  },
  "a handler of Effect that never ends": {
    app: at(
      Effect.zipRight(
        HttpApp.appendPreResponseHandler(() => Effect.never),
        text
      )
    ),
    expected: found(499),
    isLeft: true
  },
  "a handler that fails": { app: at(Effect.fail("no")), expected: found(500), size: 0 },
  "a handler that fails, and a middleware that recovers": {
    app: at(Effect.fail("no")),
    between: recovering,
    expected: found(500),
    size: 0
  },
  "a handler that is interrupted": { app: at(Effect.interrupt), expected: found(503), size: 0 },
  "no route": { app: HttpRouter.empty, expected: "GET unmatched 404", size: 0 },
  "headers that cannot be sent": {
    app: at(Effect.succeed(HttpServerResponse.text("ok", { headers: { "x-name": "\n" } }))),
    expected: found(500)
  },
  "a modified request": { app: at(text), between: modifying, expected: found(200), size: 2 },
  "a request that was modified twice": {
    app: at(text),
    between: (app) => modifying(modifying(app)),
    expected: found(200),
    size: 2
  },
  "a request that was modified before the fiber was forked": {
    app: at(text),
    between: (app) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const modified = request.modify({ url: request.url })
        return forking(Effect.provideService(app, HttpServerRequest.HttpServerRequest, modified))
      }),
    expected: found(200),
    size: 2
  },
  "a request that was modified and frozen": {
    app: at(text),
    between: (app) =>
      Effect.updateService(app, HttpServerRequest.HttpServerRequest, (request) => Object.freeze(request.modify({}))),
    expected: found(500),
    size: 0
  },
  "a proxy of the request": { app: at(text), between: proxying, expected: found(200), size: 2 },
  "a modified request around": { app: at(text), around: modifying, expected: found(200), size: 2 },
  "an app in another fiber": { app: at(text), between: forking, expected: found(200), size: 2 },
  "all of it in another fiber": { app: at(text), around: forking, expected: found(200), size: 2 },
  "a middleware that answers first": { app: at(text), between: first, expected: "GET unmatched 403", size: 5 },
  "a middleware that answers instead, too late": {
    app: at(text),
    between: (app) => Effect.as(app, HttpServerResponse.text("late", { status: 410 })),
    expected: found(200),
    size: 2
  },
  "a handler that another one of Effect follows": {
    app: at(text),
    between: handling(HttpServerResponse.setStatus(418)),
    expected: found(418),
    size: 2
  },
  "a handler of Effect around that replaces the body": {
    app: at(text),
    around: handling(HttpServerResponse.setBody(HttpBody.text("replaced"))),
    expected: found(200),
    size: 8
  },
  "a handler that writes by itself": { app: ownWriting, expected: found(202), size: 3 }
}

const placements = {
  "a middleware of the server": (app: AnyApp, measured: Between, { around = nothing, between = nothing }: Row) =>
    HttpServer.serve(app as HttpApp.Default, ((inner: AnyApp) => around(measured(between(inner)))) as never),
  "a middleware of the app": (app: AnyApp, measured: Between, { around = nothing, between = nothing }: Row) =>
    HttpServer.serve(around(measured(between(app))) as HttpApp.Default)
}

const asked = ({ isLeft = false, method = "GET" }: Row, url: string): Promise<unknown> =>
  isLeft
    ? fetch(url, { method, signal: AbortSignal.timeout(200) }).then((response) => response.text())
    : ask(url, { method })

// The app ends before the server writes, so they do not end as they do within the server.
const differing: Record<string, readonly [expected: string, size?: number]> = {
  "a handler that fails, and a middleware that recovers": [found(200), 5],
  "a middleware that answers instead, too late": [found(410), 4],
  "a body that a timeout cuts": [found(499)],
  "a failure that becomes another one, too late": ["GET unmatched 500", 0],
  // A server cannot mark a frozen request as answered.
  "a request that was modified and frozen": [found(200), 2]
}

for (const [placement, serving] of Object.entries(placements)) {
  const labelled = { labelNames: ["kind"] as const, labels: () => ({ kind: "x" }) }
  const given: Readonly<Record<string, object>> = {
    "with sizes": { sizes: true },
    "without sizes": {},
    "with sizes and labels": { sizes: true, ...labelled }
  }
  for (const [what, options] of Object.entries(given)) {
    describe(`${placement}, ${what}, records`, () => {
      for (const [name, row] of Object.entries(rows)) {
        it.scopedLive(name, () =>
          Effect.gen(function* () {
            const registry = new PromRegistry()
            const middleware = yield* measuring(registry, options as HttpMetrics.Options)
            const url = yield* listen(serving(row.app, middleware as never, row) as never)
            for (let count = 0; count < 2; count += 1) {
              yield* Effect.promise(() => asked(row, `${url}/7`).catch(() => undefined))
            }
            yield* eventually("counted", async () => (await samples(registry, requests)).join().includes(": 2"))
            yield* awaitIdle(registry)
            const [expected, size] = (placement.endsWith("app") ? differing[name] : undefined) ?? [
              row.expected,
              row.size
            ]
            const simple = (sample: string) => sample.replace(" x:", ":")
            assert.deepStrictEqual([...(yield* samplesOf(registry, requests))].map(simple), [`${expected}: 2`])
            const sizes = [...(yield* samplesOf(registry, responseSize, "_sum"))].map(simple)
            const isSized = "sizes" in options && size !== undefined
            assert.deepStrictEqual(sizes, isSized ? [`${expected}: ${2 * size}`] : [])
          })
        )
      }
    })
  }
}
