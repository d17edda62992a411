import { once } from "node:events"
import { createServer, type IncomingMessage, request as nodeRequest } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { Readable } from "node:stream"
import {
  HttpApp,
  HttpLayerRouter,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse,
  Socket
} from "@effect/platform"
import { NodeHttpServer, NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Data, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream, TestClock } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import {
  awaitIdle,
  inProgress,
  listen,
  measuring,
  requestSize,
  requests,
  responseSize,
  samples,
  samplesOf,
  seconds
} from "./support/httpApps.js"
import { eventually, get, rawConnection, requestLines } from "./support/httpClient.js"
import { interruptedEverywhere } from "./support/interruption.js"
import { clients } from "./support/metrics.js"
import { logging } from "./support/servers.js"

const served = (app: HttpApp.Default<unknown, never>, options: HttpMetrics.Options = {}) =>
  Effect.gen(function* () {
    const registry = new PromRegistry()
    const middleware = yield* measuring(registry, { sizes: true, ...options })
    const url = yield* listen(HttpServer.serve(app, middleware) as never)
    return { registry, url }
  })

const post = (url: string, headers: Readonly<Record<string, string>>, body: string) =>
  Effect.promise(
    () =>
      new Promise<number>((resolve, reject) => {
        const sent = nodeRequest(url, { method: "POST", agent: false, headers }, (response) =>
          response.resume().on("end", () => resolve(response.statusCode ?? 0))
        )
        sent.on("error", reject)
        sent.end(body)
      })
  )

describe("An app without a router", () => {
  it.scopedLive("is counted as 499 when its client disconnects, though it runs to its end", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<IncomingMessage>()
      const opened = yield* Deferred.make<void>()
      const { registry, url } = yield* served(
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ source }) =>
          Effect.zipRight(
            Deferred.succeed(reached, source as IncomingMessage),
            Effect.as(Deferred.await(opened), HttpServerResponse.text("late"))
          )
        )
      )
      const sent = nodeRequest(`${url}/`)
      sent.on("error", () => {})
      sent.end()
      const { socket } = yield* Deferred.await(reached)
      sent.destroy()
      yield* Effect.promise(() => once(socket, "close"))
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      yield* Deferred.succeed(opened, undefined)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET unmatched 499: 1"])
    })
  )
})

/** A websocket that says something, and hears it again. */
const talking = (url: string) =>
  Effect.gen(function* () {
    const heard = yield* Deferred.make<void>()
    const socket = yield* Effect.provide(Socket.makeWebSocket(url), NodeSocket.layerWebSocketConstructor)
    const write = yield* socket.writer
    const fiber = yield* Effect.forkScoped(Effect.ignore(socket.run(() => Deferred.succeed(heard, undefined))))
    yield* Effect.forkScoped(Effect.ignore(write("hello")))
    return { echoed: Deferred.await(heard), close: Fiber.interrupt(fiber) }
  })

describe("A connection that closes", () => {
  it.scopedLive("within a large body cuts it", () =>
    Effect.gen(function* () {
      const { registry, url } = yield* served(
        HttpRouter.empty.pipe(HttpRouter.get("/large", HttpServerResponse.uint8Array(new Uint8Array(50_000_000))))
      )
      const socket = connect(Number(new URL(url).port), "127.0.0.1")
      socket.on("error", () => {})
      socket.once("data", () => socket.destroy())
      socket.write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
      yield* eventually("counted", async () => (await samples(registry, requests)).length === 1)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /large 499: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
    })
  )

  it.scopedLive("by the server's own doing is counted as 503, and takes nothing else with it", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const reached = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      const server = createServer()
      const scope = yield* Scope.make()
      const app = HttpServer.serve(HttpRouter.get(HttpRouter.empty, "/waits", waits), middleware)
      const listening = NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })
      yield* Scope.extend(Layer.build(Layer.provide(app, listening)), scope)
      const connection = yield* rawConnection((server.address() as AddressInfo).port)
      connection.send(requestLines("/waits"))
      yield* Deferred.await(reached)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* eventually("no longer listening", async () => !server.listening)
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      server.closeAllConnections()
      yield* Fiber.join(closing)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /waits 503: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
    })
  )

  it.scopedLive("cuts all the requests that came over it, answered or not", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      const { registry, url } = yield* served(
        HttpRouter.empty.pipe(HttpRouter.get("/waits", waits), HttpRouter.get("/quick", HttpServerResponse.text("ok")))
      )
      const socket = connect(Number(new URL(url).port), "127.0.0.1")
      socket.on("error", () => {})
      const line = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
      socket.write(line("/waits") + line("/quick").repeat(20))
      yield* Deferred.await(reached)
      yield* eventually("in progress", async () => (await inProgress(registry)) === 21)
      socket.destroy()
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /quick 499: 20", "GET /waits 499: 1"])
    })
  )
})

describe("Websockets", () => {
  const sockets = (registry: PromRegistry) =>
    Effect.gen(function* () {
      const middleware = yield* measuring(registry, { sizes: true })
      const app = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/echo/:room",
          Effect.gen(function* () {
            const socket = yield* HttpServerRequest.upgrade
            const write = yield* socket.writer
            yield* Effect.ignore(socket.run((data) => write(data)))
            return HttpServerResponse.empty()
          })
        ),
        HttpRouter.get("/refused", HttpServerResponse.empty({ status: 401 }))
      )
      return yield* listen(HttpServer.serve(app as never, middleware) as never)
    })

  it.scopedLive("are in progress while they live, and counted as 101 without a duration", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const url = (yield* sockets(registry)).replace("http", "ws")
      const { close, echoed } = yield* talking(`${url}/echo/7`)
      yield* echoed
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      yield* close
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /echo/:room 101: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, seconds, "_count"), [])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
    })
  )

  it.scopedLive(
    "are 101 too where the connection is cut, and what is refused has the status that it is refused with",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const url = new URL(yield* sockets(registry))
        const upgrading = (path: string) =>
          Effect.promise(
            () =>
              new Promise<string>((resolve) => {
                const socket = connect(Number(url.port), "127.0.0.1")
                socket.on("error", () => {})
                socket.once("data", (data) => {
                  socket.destroy()
                  resolve(data.toString().slice(9, 12))
                })
                socket.write(
                  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
              })
          )
        assert.strictEqual(yield* upgrading("/echo/1"), "101")
        assert.strictEqual(yield* upgrading("/refused"), "401")
        assert.strictEqual((yield* get(`${url}echo/1`)).status, 400)
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [
          "GET /echo/:room 101: 1",
          "GET /echo/:room 400: 1",
          "GET /refused 401: 1"
        ])
      })
  )

  it.scopedLive("that the server ends are over with it", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const scope = yield* Scope.make()
      const url = (yield* Scope.extend(sockets(registry), scope)).replace("http", "ws")
      const { echoed } = yield* talking(`${url}/echo/7`)
      yield* echoed
      yield* eventually("in progress", async () => (await inProgress(registry)) === 1)
      yield* Scope.close(scope, Exit.void)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /echo/:room 101: 1"])
    })
  )
})

describe("Sizes", () => {
  it.scopedLive("of requests are what they declare, what came of those in chunks, and 0 where there is no body", () =>
    Effect.gen(function* () {
      const reading = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) =>
        Effect.map(text, (body) => HttpServerResponse.text(`${body.length}`))
      )
      const { registry, url } = yield* served(HttpRouter.empty.pipe(HttpRouter.all("/read", reading)))
      assert.strictEqual(yield* post(`${url}/read`, { "content-length": "11" }, "hello world"), 200)
      assert.strictEqual(yield* post(`${url}/read`, { "transfer-encoding": "chunked" }, "hello"), 200)
      assert.strictEqual((yield* get(`${url}/read`)).status, 200)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requestSize, "_sum"), [
        "GET /read 200: 0",
        "POST /read 200: 16"
      ])
      assert.deepStrictEqual(yield* samplesOf(registry, requestSize, "_count"), [
        "GET /read 200: 1",
        "POST /read 200: 2"
      ])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [
        "GET /read 200: 1",
        "POST /read 200: 3"
      ])
    })
  )

  it.scopedLive("of requests are not what is said of a body that does not come", () =>
    Effect.gen(function* () {
      const { registry, url } = yield* served(HttpRouter.empty)
      const connection = yield* rawConnection(Number(new URL(url).port))
      connection.send("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999\r\n\r\n")
      assert.include(yield* connection.received((text) => text.includes("\r\n\r\n")), "404 Not Found")
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["POST unmatched 404: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, requestSize, "_sum"), [])
    })
  )

  it.scopedLive("of answers are those of their bodies, of every kind", () =>
    Effect.gen(function* () {
      const form = new FormData()
      form.append("a", "b")
      const { registry, url } = yield* served(
        HttpRouter.empty.pipe(
          HttpRouter.get("/text", HttpServerResponse.text("naïve")),
          HttpRouter.get("/raw", HttpServerResponse.raw("naïve")),
          HttpRouter.get("/bytes", HttpServerResponse.uint8Array(new Uint8Array(7))),
          HttpRouter.get("/form", HttpServerResponse.formData(form)),
          HttpRouter.get(
            "/stream",
            HttpServerResponse.stream(Stream.make(new Uint8Array(3), new Uint8Array(4)), { contentType: "text/x" })
          )
        )
      )
      const lengths: Record<string, number> = {}
      for (const path of ["text", "raw", "bytes", "form", "stream"]) {
        const { body, status } = yield* get(`${url}/${path}`)
        assert.strictEqual(status, 200)
        lengths[path] = Buffer.byteLength(body)
      }
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [
        "GET /bytes 200: 7",
        `GET /form 200: ${lengths["form"]}`,
        "GET /raw 200: 6",
        "GET /stream 200: 7",
        "GET /text 200: 6"
      ])
    })
  )
})

describe("The answer", () => {
  it.scopedLive("is counted as what is sent, also if middleware changes it", () =>
    Effect.gen(function* () {
      const changed = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.succeed(HttpServerResponse.setStatus(response, 202))
      )
      const { registry, url } = yield* served(
        HttpRouter.empty.pipe(
          HttpRouter.get("/changed", Effect.zipRight(changed, HttpServerResponse.text("ok"))),
          HttpRouter.get("/failed", Effect.zipRight(changed, Effect.fail("no")))
        )
      )
      assert.strictEqual((yield* get(`${url}/changed`)).status, 202)
      assert.strictEqual((yield* get(`${url}/failed`)).status, 202)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /changed 202: 1", "GET /failed 202: 1"])
    })
  )

  it.scopedLive("is 500 if its body breaks off, for each kind of body", () =>
    Effect.gen(function* () {
      const fails = function* () {
        yield "begun"
        throw new Error("no")
      }
      const { registry, url } = yield* served(
        HttpRouter.empty.pipe(
          HttpRouter.get(
            "/node",
            Effect.sync(() => HttpServerResponse.raw(Readable.from(fails())))
          ),
          HttpRouter.get("/stream", HttpServerResponse.stream(Stream.die("no"))),
          HttpRouter.get(
            "/directory",
            Effect.orDie(Effect.provide(HttpServerResponse.file(tmpdir()), NodeHttpServer.layerContext))
          )
        )
      )
      for (const path of ["directory", "node", "stream"]) yield* Effect.exit(get(`${url}/${path}`))
      yield* eventually("counted", async () => (await samples(registry, requests)).length === 3)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET /directory 500: 1",
        "GET /node 500: 1",
        "GET /stream 500: 1"
      ])
    })
  )

  it.scopedLive("is the one of a middleware further in that answers itself", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ok")))
      const url = yield* listen(
        HttpServer.serve(app, (inner: HttpApp.Default<unknown>) => middleware(HttpMiddleware.cors()(inner))) as never
      )
      assert.strictEqual((yield* get(`${url}/`, { method: "OPTIONS" })).status, 204)
      assert.strictEqual((yield* get(`${url}/`)).headers["access-control-allow-origin"], "*")
      const refusing = yield* listen(HttpServer.serve(app, () => middleware(new Unauthorized())) as never)
      assert.strictEqual((yield* get(`${refusing}/`)).status, 401)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET / 200: 1",
        "GET unmatched 401: 1",
        "OPTIONS unmatched 204: 1"
      ])
    })
  )

  it.effect("of a web handler ends when its body has been read, or when reading stops", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/whole", HttpServerResponse.stream(Stream.make(new Uint8Array(3), new Uint8Array(4)))),
        HttpRouter.get("/cut", HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array(5)), Stream.never)))
      )
      const handler = HttpApp.toWebHandler(app, middleware)
      const whole = yield* Effect.promise(() => handler(new Request("http://localhost/whole")))
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      assert.strictEqual((yield* Effect.promise(() => whole.arrayBuffer())).byteLength, 7)
      yield* awaitIdle(registry)
      const cut = yield* Effect.promise(() => handler(new Request("http://localhost/cut")))
      const reader = cut.body?.getReader()
      yield* Effect.promise(async () => reader?.read())
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      yield* Effect.promise(async () => reader?.cancel())
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /cut 499: 1", "GET /whole 200: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), ["GET /whole 200: 7"])
    })
  )

  it.effect("of a web handler whose client leaves before there is one is counted as 499", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const reached = yield* Deferred.make<void>()
      const app = HttpRouter.get(
        HttpRouter.empty,
        "/waits",
        Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      )
      const aborting = new AbortController()
      const handled = HttpApp.toWebHandler(
        app,
        middleware
      )(new Request("http://localhost/waits", { signal: aborting.signal }))
      yield* Deferred.await(reached)
      aborting.abort()
      assert.strictEqual((yield* Effect.promise(() => handled)).status, 499)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /waits 499: 1"])
    })
  )

  it.effect("of a web handler is over where its body is not to be read, or its client left before it was", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const stream = HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array(3)), Stream.never))
      const app = HttpRouter.empty.pipe(HttpRouter.get("/stream", stream), HttpRouter.get("/in", middleware(stream)))
      const handler = HttpApp.toWebHandler(app, middleware)
      const aborting = new AbortController()
      const asking = (path: string, init: RequestInit) =>
        Effect.promise(() => handler(new Request(`http://localhost${path}`, init)))
      yield* asking("/stream", { method: "HEAD" })
      yield* asking("/in", { method: "HEAD" })
      const left = yield* asking("/stream", { signal: aborting.signal })
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 1)
      aborting.abort()
      yield* awaitIdle(registry)
      yield* Effect.promise(async () => left.body?.cancel())
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET /stream 499: 1",
        "HEAD /in 200: 1",
        "HEAD /stream 200: 1"
      ])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [
        "HEAD /in 200: 0",
        "HEAD /stream 200: 0"
      ])
    })
  )

  it.effect("is not the one of another app that a handler asks by itself", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const other = HttpServerResponse.text("other", { status: 207 })
      const batch = Effect.gen(function* () {
        const ask = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<never>())(other)
        const answer = yield* Effect.promise(() => ask(new Request("http://localhost/other")))
        return HttpServerResponse.text(`${answer.status}`)
      })
      const handler = HttpApp.toWebHandler(HttpRouter.get(HttpRouter.empty, "/batch", batch), middleware)
      const answer = yield* Effect.promise(() => handler(new Request("http://localhost/batch")))
      assert.strictEqual(yield* Effect.promise(() => answer.text()), "207")
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /batch 200: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), ["GET /batch 200: 3"])
    })
  )

  it.effect("is counted once for each time that an app runs, also in one fiber", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/"))
      const app = middleware(HttpServerResponse.text("ok"))
      yield* Effect.repeatN(Effect.provideService(app, HttpServerRequest.HttpServerRequest, request), 2)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET unmatched 200: 3"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), ["GET unmatched 200: 6"])
    })
  )

  it.effect("takes the time that Effect's clock says", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/"))
      const app = middleware(Effect.as(Effect.sleep("3 seconds"), HttpServerResponse.text("ok")))
      const fiber = yield* Effect.fork(Effect.provideService(app, HttpServerRequest.HttpServerRequest, request))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* samplesOf(registry, seconds, "_sum"), ["GET unmatched 200: 3"])
    })
  )
})

class Unauthorized extends Data.TaggedError("Unauthorized") implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.empty({ status: 401 })
  }
}

describe("Interrupted at any operation", () => {
  for (const scoped of [false, true]) {
    it.effect(`a request is counted as often as it began, ${scoped ? "with" : "without"} a scope of its own`, () =>
      Effect.gen(function* () {
        const results = yield* interruptedEverywhere(() => {
          const registry = new PromRegistry()
          const middleware = Effect.runSync(measuring(registry))
          const request = HttpServerRequest.fromWeb(new Request("http://localhost/"))
          const app = middleware(Effect.as(Effect.yieldNow(), HttpServerResponse.text("ok")))
          const program = Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
          return { program: scoped ? Effect.scoped(program) : program, result: () => registry }
        })
        assert.isAbove(results.length, 10)
        let interrupted = 0
        for (const registry of results) {
          assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
          const begun = yield* samplesOf(registry, "http_server_requests_in_progress")
          const ended = yield* samplesOf(registry, requests)
          assert.strictEqual(ended.length, begun.length)
          if (ended[0] === "GET unmatched 503: 1") interrupted += 1
        }
        assert.isAbove(interrupted, 2)
      })
    )
  }
})

describe("What is left out", () => {
  it.scopedLive("is the exposition, wherever it is mounted, and it does not count itself as in progress", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const app = HttpRouter.empty.pipe(
        HttpRouter.all("/own/path", Effect.provideService(Exposition.httpApp(), Registry.Registry, registry)),
        HttpRouter.mountApp("/mounted", Effect.provideService(Exposition.httpApp(), Registry.Registry, registry))
      )
      const url = yield* listen(HttpServer.serve(app, middleware) as never)
      const { body } = yield* get(`${url}/own/path`)
      assert.include(body, 'http_server_requests_in_progress{method="GET"} 0')
      assert.strictEqual((yield* get(`${url}/mounted/metrics`)).status, 200)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [])
      assert.deepStrictEqual(yield* samplesOf(registry, seconds, "_count"), [])
    })
  )

  it.scopedLive("is what a function says, and nothing where it throws", () =>
    Effect.gen(function* () {
      const { layer, lines } = logging()
      const registry = new PromRegistry()
      const app = HttpRouter.empty.pipe(HttpRouter.get("/:x", HttpServerResponse.text("ok")))
      const middleware = yield* measuring(registry, {
        exclude: ({ url: path }) => {
          if (path === "/throws") throw new Error("no path")
          return path === "/out"
        }
      })
      const url = yield* listen(Layer.provide(HttpServer.serve(app, middleware), layer) as never)
      for (const path of ["/out", "/throws", "/in"]) yield* get(`${url}${path}`)
      yield* eventually("recorded", async () => (await samples(registry, requests))[0] === "GET /:x 200: 2")
      assert.isTrue(lines.some(({ message }) => message.includes("no path")))
    })
  )

  it.scopedLive("are paths, what is under them, and patterns", () =>
    Effect.gen(function* () {
      const ok = HttpServerResponse.text("ok")
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/health", ok),
        HttpRouter.get("/internal/a/b", ok),
        HttpRouter.get("/users/:id", ok),
        HttpRouter.get("/seen/:id", ok)
      )
      const { registry, url } = yield* served(app, { exclude: ["/health", "/internal/*", "/users/:id"] })
      for (const path of ["/health?x", "/internal/a/b", "/users/1", "/seen/1", "/healthy"]) yield* get(`${url}${path}`)
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /seen/:id 200: 1", "GET unmatched 404: 1"])
    })
  )
})

describe("The metrics", () => {
  for (const { client, name } of clients) {
    it.scopedLive(`may be the caller's own, with further labels from request and exit (${name})`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const registers = [registry]
        const labelNames = ["method", "route", "status", "tenant", "outcome"] as const
        const own = {
          requests: new client.Counter({ name: "own_total", help: "h", labelNames, registers }),
          duration: new client.Histogram({ name: "own_seconds", help: "h", labelNames, registers }),
          inProgress: new client.Gauge({ name: "own_in_progress", help: "h", labelNames: ["method"], registers })
        }
        const middleware = yield* Effect.provideService(
          HttpMetrics.makeMiddleware({
            metrics: { ...own, requestSize: false },
            sizes: true,
            labelNames: ["tenant", "outcome"],
            labels: ({ exit, request }) => ({
              tenant: request.headers["x-tenant"] ?? "none",
              outcome: Exit.isSuccess(exit) ? "good" : "bad"
            })
          }),
          Registry.Registry,
          registry
        )
        const app = HttpRouter.empty.pipe(
          HttpRouter.get("/ok", HttpServerResponse.text("ok")),
          HttpRouter.get("/fails", Effect.fail("no"))
        )
        const url = yield* listen(HttpServer.serve(app, middleware) as never)
        yield* get(`${url}/ok`, { headers: { "x-tenant": "acme" } })
        yield* get(`${url}/fails`)
        yield* eventually("over", async () => (await samples(registry, "own_total")).length === 2)
        assert.deepStrictEqual(yield* samplesOf(registry, "own_total"), [
          "GET /fails 500 none bad: 1",
          "GET /ok 200 acme good: 1"
        ])
        assert.deepStrictEqual(yield* samplesOf(registry, "own_seconds", "_count"), [
          "GET /fails 500 none bad: 1",
          "GET /ok 200 acme good: 1"
        ])
        assert.deepStrictEqual(yield* samplesOf(registry, "own_in_progress"), ["GET: 0"])
        assert.deepStrictEqual(
          registry
            .getMetricsAsArray()
            .map((metric) => metric.name)
            .sort(),
          ["http_server_response_size_bytes", "own_in_progress", "own_seconds", "own_total"]
        )
      })
    )
  }

  it.scopedLive("that throw change nothing, are logged once, and do not keep others from being recorded", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const { layer, lines } = logging()
      const broken = {
        name: "broken",
        labels: () => broken,
        inc: () => {
          throw new Error("broken")
        },
        observe: () => {
          throw new Error("broken")
        },
        dec: () => {}
      }
      const middleware = yield* measuring(registry, { metrics: { requests: broken, inProgress: broken } as never })
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ok")))
      const url = yield* listen(Layer.provide(HttpServer.serve(app, middleware), layer) as never)
      for (let i = 0; i < 3; i += 1) assert.strictEqual((yield* get(`${url}/`)).body, "ok")
      yield* eventually("recorded", async () => (await samples(registry, seconds, "_count"))[0] === "GET / 200: 3")
      assert.include(yield* samplesOf(registry, "effect_prometheus_errors_total"), "inc: 6")
      assert.strictEqual(lines.filter(({ message }) => message.includes("metric broken")).length, 1)
    })
  )

  it.scopedLive("are empty strings if the function of labels throws, which is logged", () =>
    Effect.gen(function* () {
      const { layer, lines } = logging()
      const registry = new PromRegistry()
      const middleware = yield* Effect.provideService(
        HttpMetrics.makeMiddleware({
          labelNames: ["tenant"],
          labels: (): { tenant: string } => {
            throw new Error("no tenant")
          }
        }),
        Registry.Registry,
        registry
      )
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ok")))
      const url = yield* listen(Layer.provide(HttpServer.serve(app, middleware), layer) as never)
      assert.strictEqual((yield* get(`${url}/`)).body, "ok")
      yield* eventually("it is logged", async () => lines.some(({ message }) => message.includes("no tenant")))
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET / 200 : 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, "effect_prometheus_errors_total"), [
        "collect: 0",
        "dec: 0",
        "inc: 1",
        "observe: 0"
      ])
    })
  )

  it.scopedLive("come with one layer to an HttpLayerRouter, its options from configuration", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const ok = HttpServerResponse.text("ok")
      const configuration = ConfigProvider.fromMap(
        new Map([
          ["EXCLUDE", "/health"],
          ["SIZES", "true"]
        ])
      )
      const measured = HttpMetrics.layerConfig(
        { exclude: Config.array(Config.string(), "EXCLUDE"), sizes: Config.boolean("SIZES") },
        { labelNames: ["kind"], labels: () => ({ kind: "a" }) }
      )
      const routes = Layer.mergeAll(
        HttpLayerRouter.add("GET", "/health", ok),
        HttpLayerRouter.add("GET", "/users/:id", ok),
        HttpLayerRouter.use((router) => router.prefixed("/api").add("GET", "/in/:x", ok)),
        measured
      )
      const app = HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }).pipe(
        Layer.provide(Layer.setConfigProvider(configuration)),
        Layer.provide(Registry.layer(registry))
      )
      const url = yield* listen(app as never)
      for (const path of ["/health", "/users/1", "/api/in/1", "/no"]) yield* get(`${url}${path}`)
      yield* eventually("recorded", async () => (await samples(registry, requests)).length === 3)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), [
        "GET /api/in/:x 200 a: 1",
        "GET /users/:id 200 a: 1",
        "GET unmatched 404 a: 1"
      ])
      assert.include(yield* samplesOf(registry, responseSize, "_sum"), "GET /users/:id 200 a: 2")
    })
  )

  it.effect("fail with a typed error if the registry has other metrics of their names, or an option is invalid", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const { Counter } = clients[0]?.client ?? assert.fail("no client")
      new Counter({ name: requests, help: "h", registers: [registry] })
      const taken = yield* Effect.flip(measuring(registry))
      assert.strictEqual(taken.reason, "Metric")
      assert.include(taken.message, requests)
      const bad = [
        [{ exlude: [] }, "exclude"],
        [{ exclude: "/health" }, "exclude"],
        [{ exclude: ["health"] }, "exclude"],
        [{ buckets: [2, 1] }, "buckets"],
        [{ exemplar: "span" }, "exemplar"],
        [{ labelNames: ["method"], labels: () => ({}) }, "method"],
        [{ labelNames: ["a"] }, "labels"],
        [{ metrics: { duration: {} } }, "metrics.duration"],
        [{ metrics: { durations: false } }, "metrics.durations"]
      ] as const
      for (const [options, text] of bad) {
        const error = yield* Effect.flip(measuring(new PromRegistry(), options as never))
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, text)
        assert.throws(() => HttpMetrics.middleware(options as never), RangeError, text)
      }
    })
  )

  it.scopedLive("that a registry rejects are logged by the plain middleware, and the request is answered", () =>
    Effect.gen(function* () {
      const { layer, lines } = logging()
      const registry = new PromRegistry()
      const { Counter } = clients[0]?.client ?? assert.fail("no client")
      new Counter({ name: requests, help: "h", registers: [registry] })
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ok")))
      const served = HttpServer.serve(app, HttpMetrics.middleware())
      const url = yield* listen(served.pipe(Layer.provide(Registry.layer(registry)), Layer.provide(layer)) as never)
      for (let i = 0; i < 2; i += 1) assert.strictEqual((yield* get(`${url}/`)).body, "ok")
      yield* eventually("it is logged", async () =>
        lines.some(({ message }) => message.includes(`${requests} is already`))
      )
      assert.include(yield* samplesOf(registry, "effect_prometheus_errors_total"), "inc: 2")
    })
  )

  it.scopedLive("are on the registry in the context of the request, for the plain middleware", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ok")))
      const url = yield* listen(
        Layer.provide(HttpServer.serve(app, HttpMetrics.middleware()), Registry.layer(registry)) as never
      )
      yield* get(`${url}/`)
      yield* eventually("recorded", async () => (await samples(registry, requests))[0] === "GET / 200: 1")
    })
  )
})
