import type { IncomingMessage, Server, ServerOptions, ServerResponse } from "node:http"
import { createServer, request as httpRequest, ServerResponse as Response } from "node:http"
import { type ClientHttp2Session, connect as connectHttp2, createServer as createHttp2Server } from "node:http2"
import { createServer as createSecureServer } from "node:https"
import { connect as connectTls } from "node:tls"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import express from "express"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import type { HttpMeasure, HttpMetricsOptions } from "../src/Promises.js"
import { expressRoute, httpMetrics, nodeListener, webHandler } from "../src/Promises.js"
import { selfSigned } from "./support/certificates.js"
import { eventually, get, type RawConnection, rawConnection, requestLines } from "./support/httpClient.js"
import { countsIn, endedIn, inProgressIn, sumsIn } from "./support/httpSamples.js"
import { listen } from "./support/listen.js"
import { clients } from "./support/metrics.js"

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const pathOf = ({ url = "" }: { readonly url?: string | undefined }): string => url.split("?", 1)[0] ?? ""

/** A route for what begins with /known, with the rest as its parameter. */
const routeOf = (request: IncomingMessage) => () => (pathOf(request).startsWith("/known") ? "/known/:rest" : undefined)

const seconds = "http_server_request_duration_seconds"
const requestSize = "http_server_request_size_bytes"
const responseSize = "http_server_response_size_bytes"

/** A server whose requests are measured, and what is known of them. */
const measured = (
  handler: Handler,
  { registry = new PromRegistry(), ...options }: HttpMetricsOptions = {},
  serverOptions: ServerOptions = {}
) => {
  const measure = httpMetrics({ sizes: true, ...options, registry })
  const server = createServer(serverOptions, (request, response) => {
    measure(request, response, routeOf(request))
    handler(request, response)
  })
  return Effect.map(listen(server), (port) => ({
    port,
    url: `http://127.0.0.1:${port}`,
    server,
    ...requestsIn(registry)
  }))
}

const requestsIn = (registry: unknown) => {
  const text = Effect.promise(() => (registry as PromRegistry).metrics())
  const ended = Effect.map(text, endedIn)
  return {
    text,
    ended,
    inProgress: Effect.map(text, inProgressIn),
    counts: (family: string) => Effect.map(text, (all) => countsIn(all, family)),
    sums: (family: string) => Effect.map(text, (all) => sumsIn(all, family)),
    /** Once so many requests have ended, how. */
    endedAll: (many: number) =>
      Effect.zipRight(
        eventually(`${many} requests have ended`, async () => {
          const counts = Object.values(await Effect.runPromise(ended))
          return counts.reduce((sum, count) => sum + count, 0) >= many
        }),
        ended
      )
  }
}

const complete = (text: string): boolean => text.includes("\r\n\r\n")

/** Sends a request and waits for something of its answer. */
const asking = (port: number, text: string, enough = complete): Effect.Effect<RawConnection, never, Scope.Scope> =>
  Effect.tap(rawConnection(port), (connection) => {
    connection.send(text)
    return connection.received(enough)
  })

/** Waits for as many requests as that in progress. */
const running = (all: ReturnType<typeof requestsIn>, many: number) =>
  eventually(`${many} requests are in progress`, async () => {
    const counts = Object.values(await Effect.runPromise(all.inProgress))
    return counts.reduce((sum, count) => sum + count, 0) === many
  })

describe("httpMetrics", () => {
  for (const { name, client } of clients) {
    it.scopedLive(`counts by method, pattern and status, times and sizes, on a registry of ${name}`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const all = yield* measured(
          (request, response) => {
            request.resume().on("end", () => {
              response.statusCode = pathOf(request) === "/known/bad" ? 422 : 200
              response.end("12345")
            })
          },
          { registry }
        )
        yield* get(`${all.url}/known/1?page=2`)
        yield* get(`${all.url}/known/2`)
        yield* get(`${all.url}/known/bad`, { method: "POST" })
        yield* get(`${all.url}/other`)
        const expected = { "GET /known/:rest 200": 2, "GET unmatched 200": 1, "POST /known/:rest 422": 1 }
        assert.deepStrictEqual(yield* all.endedAll(4), expected)
        assert.deepStrictEqual(yield* all.counts(seconds), expected)
        assert.deepStrictEqual(yield* all.counts(requestSize), expected)
        assert.deepStrictEqual(yield* all.sums(responseSize), {
          "GET /known/:rest 200": 10,
          "GET unmatched 200": 5,
          "POST /known/:rest 422": 5
        })
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0, POST: 0 })
      })
    )

    it.scopedLive(`records on the caller's own metrics of ${name}, and leaves out what is false`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const registers = [registry]
        const labelNames = ["method", "route", "status"] as const
        const requests = new client.Counter({ name: "mine_total", help: "h", labelNames, registers })
        const duration = new client.Summary({ name: "mine_seconds", help: "h", labelNames, registers })
        const inProgress = new client.Gauge({ name: "mine_running", help: "h", labelNames: ["method"], registers })
        inProgress.inc({ method: "GET" }, 5)
        const measure = httpMetrics({
          registry: new PromRegistry(),
          metrics: { requests, duration, inProgress, requestSize: false, responseSize: false }
        })
        const port = yield* listen(
          createServer((request, response) => {
            measure(request, response, () => "/mine")
            response.end()
          })
        )
        yield* get(`http://127.0.0.1:${port}/`)
        yield* eventually("it is over", async () => (await registry.metrics()).includes('mine_running{method="GET"} 5'))
        const text = yield* Effect.promise(() => registry.metrics())
        assert.include(text, 'mine_total{method="GET",route="/mine",status="200"} 1')
        assert.include(text, 'mine_seconds_count{method="GET",route="/mine",status="200"} 1')
        assert.notInclude(text, "http_server")
      })
    )
  }

  it.scopedLive("times until the answer was sent, and not until it was begun", () =>
    Effect.gen(function* () {
      const all = yield* measured((_, response) => {
        response.write("first")
        setTimeout(() => response.end("last"), 200)
      })
      yield* get(`${all.url}/known`)
      yield* all.endedAll(1)
      // A timer may be early by a fraction of a millisecond.
      assert.isAtLeast((yield* all.sums(seconds))["GET /known/:rest 200"] ?? 0, 0.199)
    })
  )

  it.scopedLive("has a request in progress until it has ended, and then not", () =>
    Effect.gen(function* () {
      const waiting: Array<ServerResponse> = []
      const all = yield* measured((_, response) => waiting.push(response))
      const one = yield* rawConnection(all.port)
      one.send(requestLines("/known"))
      const other = yield* rawConnection(all.port)
      other.send(requestLines("/known").replace("GET", "PUT"))
      yield* running(all, 2)
      assert.deepStrictEqual(yield* all.inProgress, { GET: 1, PUT: 1 })
      for (const response of waiting) response.end()
      yield* all.endedAll(2)
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0, PUT: 0 })
    })
  )

  it.scopedLive("makes one series of all invented paths and methods", () =>
    Effect.gen(function* () {
      const all = yield* measured((_, response) => {
        response.statusCode = 404
        response.end()
      })
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, at) => at),
        (at) => get(`${all.url}/${at}-${Math.random()}`, { method: at % 2 === 0 ? "PURGE" : "PROPFIND" }),
        { concurrency: 20 }
      )
      assert.deepStrictEqual(yield* all.endedAll(200), { "other unmatched 404": 200 })
      assert.deepStrictEqual(yield* all.inProgress, { other: 0 })
    })
  )

  it.scopedLive(
    "counts each request of a connection that is kept, of HTTP/1.0, and of those sent one after the other",
    () =>
      Effect.gen(function* () {
        const all = yield* measured((request, response) => {
          setTimeout(() => response.end("answer"), pathOf(request) === "/known/slow" ? 30 : 0)
        })
        const answers = (many: number) => (text: string) => text.split("answer").length === many + 1
        const kept = yield* asking(all.port, requestLines("/known"), answers(1))
        kept.send(requestLines("/other"))
        yield* kept.received(answers(2))
        kept.send(requestLines("/known/slow") + requestLines("/known") + requestLines("/other"))
        yield* kept.received(answers(5))
        yield* asking(all.port, "GET /known HTTP/1.0\r\n\r\n", answers(1))
        assert.deepStrictEqual(yield* all.endedAll(6), { "GET /known/:rest 200": 4, "GET unmatched 200": 2 })
        assert.deepStrictEqual(yield* all.sums(responseSize), { "GET /known/:rest 200": 24, "GET unmatched 200": 12 })
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      })
  )

  it.scopedLive("ends all pipelined requests in progress when their client disconnects", () =>
    Effect.gen(function* () {
      const all = yield* measured((request, response) => {
        if (pathOf(request) === "/known/3") response.end("never sent")
      })
      const connection = yield* rawConnection(all.port)
      connection.send(["/known/1", "/known/2", "/known/3"].map((path) => requestLines(path)).join(""))
      yield* running(all, 3)
      connection.socket.destroy()
      assert.deepStrictEqual(yield* all.endedAll(3), { "GET /known/:rest 499": 3 })
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
    })
  )

  const goneAway: ReadonlyArray<readonly [string, Handler, (connection: RawConnection) => void]> = [
    ["before anything was answered", () => {}, ({ socket }) => socket.end()],
    ["with a reset, before anything was answered", () => {}, ({ socket }) => socket.resetAndDestroy()],
    ["while it was answered", (_, response) => response.write("begun"), ({ socket }) => socket.destroy()],
    [
      "while more was written than fits on the way",
      (_, response) => response.end("x".repeat(30_000_000)),
      ({ socket }) => socket.resetAndDestroy()
    ]
  ]
  for (const [when, handler, go] of goneAway) {
    it.scopedLive(`counts 499 where the client goes away ${when}`, () =>
      Effect.gen(function* () {
        const all = yield* measured(handler)
        const connection = yield* rawConnection(all.port)
        connection.socket.pause()
        connection.send(requestLines("/known"))
        yield* running(all, 1)
        go(connection)
        assert.deepStrictEqual(yield* all.endedAll(1), { "GET /known/:rest 499": 1 })
        assert.deepStrictEqual(yield* all.counts(seconds), { "GET /known/:rest 499": 1 })
        assert.deepStrictEqual(yield* all.counts(responseSize), {})
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      })
    )
  }

  const cut: ReadonlyArray<readonly [string, Handler]> = [
    ["destroys its response", (_, response) => response.destroy()],
    ["destroys its response with an error", (_, response) => response.destroy(new Error("no"))],
    [
      "destroys its response for a connection of its own that was lost",
      (_, response) => response.destroy(Object.assign(new Error("reset"), { code: "ECONNRESET" }))
    ],
    ["destroys its request", (request) => request.destroy()]
  ]
  for (const [what, handler] of cut) {
    it.scopedLive(`counts 500 where a handler ${what} before it has answered`, () =>
      Effect.gen(function* () {
        const all = yield* measured((request, response) => {
          response.on("error", () => {})
          request.on("error", () => {})
          handler(request, response)
        })
        const connection = yield* rawConnection(all.port)
        connection.send(requestLines("/known"))
        assert.deepStrictEqual(yield* all.endedAll(1), { "GET /known/:rest 500": 1 })
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      })
    )
  }

  it.scopedLive("counts 500 for what was never answered when the server closes its connections", () =>
    Effect.gen(function* () {
      const all = yield* measured(() => {})
      const connection = yield* rawConnection(all.port)
      connection.send(requestLines("/known"))
      yield* running(all, 1)
      all.server.closeAllConnections()
      assert.deepStrictEqual(yield* all.endedAll(1), { "GET /known/:rest 500": 1 })
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
    })
  )

  it.scopedLive("counts what Node.js answers if a body is malformed, or late", () =>
    Effect.gen(function* () {
      const all = yield* measured(
        (request) => void request.on("error", () => {}),
        {},
        {
          requestTimeout: 300,
          headersTimeout: 200,
          connectionsCheckingInterval: 50
        }
      )
      const chunked = "POST /known HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
      const invalid = yield* rawConnection(all.port)
      invalid.send(`${chunked}no chunk\r\n`)
      assert.include(yield* invalid.received(complete), "400 Bad Request")
      const late = yield* rawConnection(all.port)
      late.send(`${chunked}2\r\nab\r\n`)
      assert.include(yield* late.received(complete), "408 Request Timeout")
      assert.deepStrictEqual(yield* all.endedAll(2), { "POST /known/:rest 400": 1, "POST /known/:rest 408": 1 })
      assert.deepStrictEqual(yield* all.counts(requestSize), {})
    })
  )

  it.scopedLive("counts an upgraded connection as 101 when it is closed, without its time", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const server = createServer().on("upgrade", (request, socket) => {
        const response = new Response(request)
        socket.resume().on("end", () => socket.end())
        measure(request, response, () => "/chat")
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n")
      })
      const port = yield* listen(server)
      const all = requestsIn(registry)
      const connection = yield* asking(port, requestLines("/chat", "Connection: Upgrade\r\nUpgrade: test\r\n"))
      assert.deepStrictEqual(yield* all.inProgress, { GET: 1 })
      assert.deepStrictEqual(yield* all.ended, {})
      connection.socket.destroy()
      assert.deepStrictEqual(yield* all.endedAll(1), { "GET /chat 101": 1 })
      assert.deepStrictEqual(yield* all.counts(seconds), {})
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
    })
  )

  it.scopedLive("counts what a handler upgrades by itself in the same way", () =>
    Effect.gen(function* () {
      const all = yield* measured((_, response) => {
        response.writeHead(101, { upgrade: "test", connection: "upgrade" })
        response.flushHeaders()
        const { socket } = response
        if (socket === null) return
        response.detachSocket(socket)
        socket.resume().on("end", () => socket.end())
      })
      const connection = yield* asking(all.port, requestLines("/known"))
      assert.deepStrictEqual(yield* all.inProgress, { GET: 1 })
      connection.socket.destroy()
      assert.deepStrictEqual(yield* all.endedAll(1), { "GET /known/:rest 101": 1 })
      assert.deepStrictEqual(yield* all.counts(seconds), {})
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
    })
  )

  it.scopedLive("counts over TLS", () =>
    Effect.gen(function* () {
      const { cert, key } = yield* Effect.promise(() => selfSigned())
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const server = createSecureServer({ cert, key }, (request, response) => {
        measure(request, response, routeOf(request))
        if (pathOf(request) === "/known") response.end("over TLS")
      })
      const port = yield* listen(server)
      const all = requestsIn(registry)
      yield* get(`https://127.0.0.1:${port}/known`, { ca: cert })
      const socket = connectTls({ port, host: "127.0.0.1", ca: cert }, () => socket.write(requestLines("/known/2")))
      socket.on("error", () => {})
      yield* running(all, 1)
      socket.destroy()
      assert.deepStrictEqual(yield* all.endedAll(2), { "GET /known/:rest 200": 1, "GET /known/:rest 499": 1 })
    })
  )

  it.scopedLive("counts over HTTP/2, by how each stream ends", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry, sizes: true })
      const server = createHttp2Server((request, response) => {
        measure(request as never, response as never, routeOf(request as never))
        const path = pathOf(request)
        if (path === "/known/cut") response.stream.destroy()
        else if (path === "/known/part") response.write("part")
        else if (path === "/known/echo") request.resume().on("end", () => response.end("12345678"))
        else if (path !== "/known/never") response.end("12345")
      })
      const port = yield* listen(server as unknown as Server)
      const all = requestsIn(registry)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connectHttp2(`http://127.0.0.1:${port}`).on("error", () => {})),
        (open: ClientHttp2Session) => Effect.sync(() => open.destroy())
      )
      const sent = (path: string, method = "GET") => {
        const stream = session.request({ ":path": path, ":method": method }).on("error", () => {})
        return stream.resume()
      }
      sent("/known")
      sent("/known", "HEAD")
      sent("/known/echo", "POST").end("123")
      sent("/known/cut")
      yield* all.endedAll(4)
      const streams = [sent("/known/never"), sent("/known/part")]
      yield* running(all, 2)
      for (const stream of streams) stream.close(8)
      yield* all.endedAll(6)
      sent("/known/never", "PUT").end()
      yield* running(all, 1)
      session.destroy()
      assert.deepStrictEqual(yield* all.endedAll(7), {
        "GET /known/:rest 200": 1,
        "GET /known/:rest 499": 2,
        "GET /known/:rest 500": 1,
        "HEAD /known/:rest 200": 1,
        "POST /known/:rest 200": 1,
        "PUT /known/:rest 499": 1
      })
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0, HEAD: 0, POST: 0, PUT: 0 })
      assert.strictEqual((yield* all.sums(requestSize))["POST /known/:rest 200"], 3)
      assert.deepStrictEqual(yield* all.sums(responseSize), {
        "GET /known/:rest 200": 5,
        "HEAD /known/:rest 200": 0,
        "POST /known/:rest 200": 8
      })
    })
  )
})

/** Sends a body in these parts, chunked unless its length is given, and waits for the end of the answer. */
const sending = (url: string, parts: ReadonlyArray<string | Uint8Array>, headers: Record<string, string> = {}) =>
  Effect.async<number>((resume) => {
    const sent = httpRequest(url, { method: "POST", headers, agent: false }, (response) => {
      response.resume().on("end", () => resume(Effect.succeed(response.statusCode ?? 0)))
    })
    for (const part of parts) sent.write(part)
    sent.end()
  })

describe("the sizes", () => {
  it.scopedLive("of requests are those of their bodies as they were sent, with a length and without", () =>
    Effect.gen(function* () {
      const all = yield* measured((request, response) => {
        request.setEncoding("utf8")
        request.resume().on("end", () => response.end())
      })
      const packed = gzipSync("a".repeat(10_000))
      yield* sending(`${all.url}/known`, ["äöü", "abc"])
      yield* sending(`${all.url}/known`, ["12345"], { "content-length": "5" })
      yield* sending(`${all.url}/known`, [packed], { "content-encoding": "gzip" })
      yield* get(`${all.url}/known`)
      yield* all.endedAll(4)
      assert.deepStrictEqual(yield* all.sums(requestSize), {
        "GET /known/:rest 200": 0,
        "POST /known/:rest 200": 9 + 5 + packed.byteLength
      })
      assert.deepStrictEqual(yield* all.counts(requestSize), { "GET /known/:rest 200": 1, "POST /known/:rest 200": 3 })
    })
  )

  it.scopedLive("of requests are known also if measuring starts after the body arrives, but not once it is read", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry, sizes: true })
      const port = yield* listen(
        createServer((request, response) => {
          const isRead = pathOf(request) === "/read"
          if (isRead) request.resume()
          setTimeout(() => {
            measure(request, response, () => pathOf(request))
            request.resume()
            if (isRead) response.end()
            else request.on("end", () => response.end())
          }, 50)
        })
      )
      const all = requestsIn(registry)
      yield* sending(`http://127.0.0.1:${port}/late`, ["123", "456"])
      yield* sending(`http://127.0.0.1:${port}/read`, ["123", "456"])
      yield* all.endedAll(2)
      assert.deepStrictEqual(yield* all.sums(requestSize), { "POST /late 200": 6 })
    })
  )

  it.scopedLive("of requests are not known of bodies that did not come whole", () =>
    Effect.gen(function* () {
      const all = yield* measured((request) => void request.resume().on("error", () => {}))
      for (const headers of ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"]) {
        const connection = yield* rawConnection(all.port)
        connection.send(`${requestLines("/known", headers).replace("GET", "POST")}3\r\nabc\r\n`)
        yield* running(all, 1)
        connection.socket.destroy()
        yield* running(all, 0)
      }
      assert.deepStrictEqual(yield* all.endedAll(2), { "POST /known/:rest 499": 2 })
      assert.deepStrictEqual(yield* all.counts(requestSize), {})
    })
  )

  it.scopedLive("of requests are not what is said of a body that does not come", () =>
    Effect.gen(function* () {
      const all = yield* measured((_, response) => void response.writeHead(413).end())
      const lines = requestLines("/known", "Content-Length: 999999999999999\r\n").replace("GET", "POST")
      yield* asking(all.port, lines)
      assert.deepStrictEqual(yield* all.endedAll(1), { "POST /known/:rest 413": 1 })
      assert.deepStrictEqual(yield* all.counts(requestSize), {})
    })
  )

  const answers: ReadonlyArray<readonly [string, number, (response: ServerResponse) => void]> = [
    ["text at once", 7, (response) => response.end("äöü1")],
    ["text in an encoding", 3, (response) => response.end("616263", "hex")],
    ["bytes with a callback", 4, (response) => response.end(new Uint8Array(4), () => {})],
    [
      "parts",
      10,
      (response) => {
        response.write("abc")
        response.write(Buffer.from("def"), () => {})
        response.write("67", "hex")
        response.end("xyz")
      }
    ],
    ["nothing", 0, (response) => response.end()],
    ["nothing with a callback", 0, (response) => response.end(() => {})],
    ["no content", 0, (response) => response.writeHead(204).end()],
    ["a body that the status forbids", 0, (response) => response.writeHead(304).end("not sent")],
    [
      "what is written after the end as well",
      3,
      (response) => {
        response.on("error", () => {})
        response.end("abc")
        response.write("late")
      }
    ],
    [
      "an interim answer before",
      3,
      (response) => {
        response.writeEarlyHints({ link: "</style.css>; rel=preload" })
        response.end("abc")
      }
    ]
  ]
  for (const [what, bytes, answer] of answers) {
    it.scopedLive(`of an answer are those of its body: ${what}`, () =>
      Effect.gen(function* () {
        const all = yield* measured((_, response) => answer(response))
        const { bytes: received } = yield* get(`${all.url}/known`)
        assert.strictEqual(received.byteLength, bytes)
        yield* all.endedAll(1)
        assert.deepStrictEqual(Object.values(yield* all.sums(responseSize)), [bytes])
      })
    )
  }

  it.scopedLive("of a response to HEAD are 0, also if a body was written", () =>
    Effect.gen(function* () {
      const all = yield* measured((_, response) => response.end("not sent"))
      yield* get(`${all.url}/known`, { method: "HEAD" })
      assert.deepStrictEqual(yield* all.endedAll(1), { "HEAD /known/:rest 200": 1 })
      assert.deepStrictEqual(yield* all.sums(responseSize), { "HEAD /known/:rest 200": 0 })
    })
  )
})

describe("what is left out", () => {
  const handlers: ReadonlyArray<readonly [string, (registry: PromRegistry) => Handler]> = [
    ["nodeListener", (registry) => nodeListener({ registry })],
    [
      "webHandler",
      (registry) => {
        const metrics = webHandler({ registry })
        return (incoming, response) => {
          const asked = new Request(`http://127.0.0.1${incoming.url}`, { method: incoming.method ?? "GET" })
          void metrics(asked, { incoming, outgoing: response }).then(async (answer) => {
            answer.headers.forEach((value, name) => void response.setHeader(name, value))
            response.writeHead(answer.status)
            response.end(Buffer.from(await answer.arrayBuffer()))
          })
        }
      }
    ]
  ]
  for (const [name, handler] of handlers) {
    it.scopedLive(`are scrapes that ${name} answers: not counted, nor in progress while they are answered`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const metrics = handler(registry)
        const all = yield* measured(
          (request, response) => (pathOf(request) === "/where/ever" ? metrics(request, response) : response.end()),
          { registry }
        )
        yield* get(`${all.url}/known`)
        yield* all.endedAll(1)
        for (const method of ["GET", "GET", "HEAD", "POST"]) {
          const { body } = yield* get(`${all.url}/where/ever`, { method })
          if (method === "GET") assert.deepStrictEqual(inProgressIn(body), { GET: 0 })
        }
        yield* get(`${all.url}/known`)
        assert.deepStrictEqual(yield* all.endedAll(2), { "GET /known/:rest 200": 2 })
      })
    )
  }

  const excludes: ReadonlyArray<readonly [string, HttpMetricsOptions["exclude"]]> = [
    ["a path", ["/known/health"]],
    ["all under a path", ["/known/h/*", "/known/health"]],
    ["a function", (request) => pathOf(request).startsWith("/known/h")]
  ]
  for (const [what, exclude] of excludes) {
    it.scopedLive(`is what is excluded by ${what}`, () =>
      Effect.gen(function* () {
        const all = yield* measured((_, response) => response.end(), { exclude })
        yield* get(`${all.url}/known/health?deep=1`)
        yield* get(`${all.url}/known/healthy`.replace("/healthy", typeof exclude === "function" ? "/good" : "/healthy"))
        assert.deepStrictEqual(yield* all.endedAll(1), { "GET /known/:rest 200": 1 })
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      })
    )
  }

  it.scopedLive("is what is excluded by the pattern of its route, and by the whole path in Express", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry, exclude: ["/known/:rest", "/api/hidden"] })
      const router = express.Router()
      router.use((request, response, next) => {
        measure(request, response, routeOf(request))
        next()
      })
      router.use((_, response) => void response.send("ok"))
      const port = yield* listen(createServer(express().use("/api", router)))
      const all = requestsIn(registry)
      yield* get(`http://127.0.0.1:${port}/api/hidden`)
      yield* get(`http://127.0.0.1:${port}/api/known/1`)
      yield* get(`http://127.0.0.1:${port}/api/other`)
      assert.deepStrictEqual(yield* all.endedAll(1), { "GET unmatched 200": 1 })
      assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
    })
  )
})

describe("the route of a request of Express", () => {
  const answer = (_: IncomingMessage, response: ServerResponse) => void response.end("ok")
  const fails = () => {
    throw new Error("it failed")
  }
  /** An application with routers in routers, and how often each of its routes has ended after those requests. */
  const routesOf = (paths: ReadonlyArray<string>, declare: (application: express.Express) => void) =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const application = express()
      application.use((request, response, next) => {
        measure(request, response, expressRoute(request))
        next()
      })
      declare(application)
      application.use((_: Error, __: IncomingMessage, response: ServerResponse, ___: express.NextFunction) => {
        response.writeHead(500).end()
      })
      const port = yield* listen(createServer(application))
      for (const path of paths) yield* get(`http://127.0.0.1:${port}${path}`)
      return yield* requestsIn(registry).endedAll(paths.length)
    })
  const router = (declare: (router: express.Router) => void, options?: express.RouterOptions): express.Router => {
    const made = express.Router(options)
    declare(made)
    return made
  }

  it.scopedLive("is the pattern that it was declared with, in every depth, also when an error leaves its router", () =>
    Effect.gen(function* () {
      const paths = [
        "/users/7",
        "/shop/orders/1?x=2",
        "/shop/orders/2",
        "/shop/deep/down/9",
        "/shop/fail",
        "/shop",
        "/no"
      ]
      const ended = yield* routesOf([...paths, "/shop/no", "/sub/app/1", "/health"], (application) => {
        application.use("/health", answer)
        application.use(router((one) => one.get("/users/:name", (_, __, next) => next())))
        application.get("/users/:id", answer)
        application.use("/shop", (_, __, next) => next())
        const down = router((one) => one.get("/down/:n", answer))
        const shop = router((one) => {
          one.get("/", answer)
          one.get("/orders/:order", answer)
          one.use("/deep", down)
          one.get("/fail", fails)
        })
        application.use("/shop", shop)
        application.use(
          "/sub",
          express().use(
            "/app",
            router((one) => one.get("/:id", answer))
          )
        )
      })
      assert.deepStrictEqual(ended, {
        "GET /users/:id 200": 1,
        "GET /shop/orders/:order 200": 2,
        "GET /shop/deep/down/:n 200": 1,
        "GET /shop/fail 500": 1,
        "GET /shop 200": 1,
        "GET /sub/app/:id 200": 1,
        "GET /health 200": 1,
        "GET unmatched 404": 2
      })
    })
  )

  it.scopedLive("has the declared mount paths of routers, not the paths that were sent", () =>
    Effect.gen(function* () {
      const more = ["/V-%C3%A9/Deep/8", "/two/x/y/x/9", "/ada/kept/1"]
      const sent = [
        ...more,
        "/ada/orders/1",
        "/Bob/Orders/2",
        "/%C3%A9%20e/oRDERS/3",
        "/a%2Fb/orders/4",
        "/orders/orders/5"
      ]
      const ended = yield* routesOf([...sent, "/x/x/y/6", "/v-1/deep/7", "/files/a/b/c/8"], (application) => {
        const leaf = router((one) => one.get("/:id", answer))
        const merging = router((one) => one.get("/:id", answer), { mergeParams: true })
        application.use(
          "/files/*rest",
          router((one) => one.get("/", answer))
        )
        application.use("/v-:version/deep", leaf)
        application.use("/two/:a/y/:b", leaf)
        const outer = router(
          (one) =>
            one
              .use("/kept", (_, __, next) => next())
              .get("/kept/:id", answer)
              .use("/:tenant/y", merging)
              .use("/orders", merging),
          { mergeParams: true }
        )
        application.use("/:tenant", outer)
      })
      assert.deepStrictEqual(ended, {
        "GET /:tenant/orders/:id 200": 5,
        "GET /:tenant/:tenant/y/:id 200": 1,
        "GET /:tenant/kept/:id 200": 1,
        "GET /two/:a/y/:b/:id 200": 1,
        "GET /v-:version/deep/:id 200": 2,
        "GET /files/*rest 200": 1
      })
    })
  )

  it.scopedLive("is a pattern also where the application puts something else in the place of a parameter", () =>
    Effect.gen(function* () {
      const ended = yield* routesOf(["/ada/settings/1", "/bob/settings/2", "/eve/other/3"], (application) => {
        const leaf = router((one) => one.get("/:id", answer))
        application.param("user", (request, _, next, name) => {
          Object.assign(request.params, { user: { name } })
          next()
        })
        application.use("/:user/settings", leaf)
        application.use("/:user/other", (request, _, next) => {
          Object.assign(request, { baseUrl: undefined, route: null })
          next()
        })
      })
      assert.deepStrictEqual(ended, { "GET /:user/settings/:id 200": 2, "GET unmatched 404": 1 })
    })
  )

  it.scopedLive("is the same for all callers, and for one within a router", () =>
    Effect.gen(function* () {
      const asked: Array<string | undefined> = []
      const ended = yield* routesOf(["/in/7"], (application) => {
        application.use((request, _, next) => {
          const { baseUrl, route } = request
          const tell = expressRoute(request)
          assert.strictEqual(tell, expressRoute(request))
          asked.push(baseUrl, String(route), tell())
          next()
        })
        const inner = router((one) =>
          one.get("/:id", (request, response) => {
            asked.push(request.baseUrl, request.route.path, expressRoute(request)())
            response.end()
          })
        )
        application.use("/in", inner)
      })
      assert.deepStrictEqual(asked, ["", "undefined", undefined, "/in", "/:id", "/in/:id"])
      assert.deepStrictEqual(ended, { "GET /in/:id 200": 1 })
      const late: Array<string | undefined> = []
      const application = express()
      application.use(
        "/:Tenant",
        router((one) =>
          one.get("/:id", (request, response) => {
            late.push(expressRoute(request)())
            response.end()
          })
        )
      )
      const port = yield* listen(createServer(application))
      yield* get(`http://127.0.0.1:${port}/ada/1`)
      assert.deepStrictEqual(late, ["/*/:id"], "a pattern, whatever was sent")
    })
  )

  it.scopedLive("is unmatched beside anything but Express", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const port = yield* listen(
        createServer((request, response) => {
          measure(request, response, expressRoute(request))
          response.end()
        })
      )
      yield* get(`http://127.0.0.1:${port}/known/1`)
      assert.deepStrictEqual(yield* requestsIn(registry).endedAll(1), { "GET unmatched 200": 1 })
    })
  )
})

describe("when recording fails", () => {
  const errors = /effect_prometheus_errors_total\{operation="(\w+)"\} ([1-9]\d*)/g
  const failuresIn = (text: string) =>
    Object.fromEntries([...text.matchAll(errors)].map(([, name, count]) => [name, count]))

  it.scopedLive("changes nothing in the answers, is counted, and keeps nothing else from being recorded", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const broken = (): never => {
        throw new Error("broken")
      }
      const labels = (_: Readonly<Record<string, string>>) => ({ inc: broken, dec: broken, observe: broken })
      const metric = { inc: broken, dec: broken, observe: broken, labels }
      const measure = httpMetrics({
        registry,
        sizes: true,
        metrics: { requests: metric, duration: metric, inProgress: metric }
      })
      const port = yield* listen(
        createServer((request, response) => {
          measure(request, response, broken)
          response.end("as it is")
        })
      )
      assert.strictEqual((yield* get(`http://127.0.0.1:${port}/`)).body, "as it is")
      const { text } = requestsIn(registry)
      yield* eventually("the size is recorded", async () =>
        (await registry.metrics()).includes(
          'http_server_response_size_bytes_sum{method="GET",route="unmatched",status="200"} 8'
        )
      )
      // The +1 of the gauge, the route, the counter; and the duration. There is no −1 where there was no +1.
      assert.deepStrictEqual(failuresIn(yield* text), { inc: "3", observe: "1" })
    })
  )

  it.scopedLive("is logged for functions of labels, whose values are empty then", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const given: ReadonlyArray<() => { readonly tenant: string }> = [
        () => ({ tenant: "a" }),
        () => {
          throw new Error("no tenant")
        },
        () => ({}) as { tenant: string },
        () => ({ tenant: "a", other: "b" }) as { tenant: string }
      ]
      let turn = 0
      const measure = httpMetrics({
        registry,
        labelNames: ["tenant"],
        labels: () => given[turn++]?.() ?? { tenant: "none" },
        exclude: () => {
          throw new Error("not known")
        }
      })
      const port = yield* listen(
        createServer((request, response) => {
          measure(request, response, () => "/")
          response.end()
        })
      )
      const all = requestsIn(registry)
      for (const many of [1, 2, 3, 4]) {
        yield* get(`http://127.0.0.1:${port}/`)
        yield* all.endedAll(many)
      }
      const text = yield* all.text
      const total = 'http_server_requests_total{method="GET",route="/",status="200",tenant='
      assert.include(text, `${total}"a"} 2`)
      assert.include(text, `${total}""} 2`)
      // Each time `exclude`, one of the labels, and one that has a label too much.
      assert.deepStrictEqual(failuresIn(text), { inc: "6" })
    })
  )

  it.scopedLive("a registry that was cleared or reset has them again, and in progress is right", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const waiting: Array<ServerResponse> = []
      const all = yield* measured((_, response) => waiting.push(response), { registry })
      const asked = yield* rawConnection(all.port)
      for (const change of [() => registry.resetMetrics(), () => registry.clear()]) {
        asked.send(requestLines("/known"))
        yield* running(all, 1)
        change()
        const next = yield* rawConnection(all.port)
        next.send(requestLines("/known"))
        yield* eventually("it is asked", async () => waiting.length === 2)
        for (const response of waiting.splice(0)) response.end()
        yield* all.endedAll(2)
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      }
    })
  )

  it("invalid options are refused by name", () => {
    const registry = new PromRegistry()
    const refused: ReadonlyArray<readonly [unknown, string]> = [
      [{ exclud: [] }, "unknown option exclud"],
      [{ exclude: "/x" }, "exclude must be a function, or an array of paths and patterns that start with /"],
      [{ exclude: ["x"] }, "exclude must be a function, or an array of paths and patterns that start with /"],
      [{ buckets: [1, 1] }, "buckets must be an array of seconds above 0 in increasing order, not 1,1"],
      [{ buckets: [0] }, "buckets must be an array of seconds above 0 in increasing order, not 0"],
      [{ buckets: [Number.NaN] }, "buckets must be an array of seconds above 0 in increasing order, not NaN"],
      [{ labelNames: ["a-b"], labels: () => ({}) }, 'labelNames must contain only valid label names, not "a-b"'],
      [
        { labelNames: ["route"], labels: () => ({}) },
        "labelNames must not contain route: this label name is already used or reserved"
      ],
      [{ labelNames: ["a", "a"], labels: () => ({}) }, "labelNames contains a twice"],
      [{ labelNames: ["a"] }, "labelNames and labels must be set together"],
      [{ labels: () => ({}) }, "labelNames and labels must be set together"],
      [{ labelNames: ["a"], labels: {} }, "labels must be a function"],
      [{ metrics: { request: false } }, "unknown option metrics.request"],
      [
        { metrics: { inProgress: { inc() {}, labels() {} } } },
        "metrics.inProgress must be a metric or false, but it has no dec()"
      ],
      [{ metrics: { requests: true } }, "metrics.requests must be a metric or false, but it has no labels()"],
      [{ registry: {} }, "registry must be a registry of prom-client, but it has no getMetricsAsArray()"],
      [null, "options must be an object with options, not null"]
    ]
    assert.throws(
      () => nodeListener({ registry: {} } as never),
      RangeError,
      "registry must be a registry of prom-client"
    )
    for (const [options, message] of refused) {
      const given = options === null ? null : { registry, ...(options as object) }
      assert.throws(() => httpMetrics(given as HttpMetricsOptions as never), RangeError, message)
    }
    assert.deepStrictEqual(registry.getMetricsAsArray(), [])
  })

  it("another metric by the name of one of them is an error at once, and one of the same shape is used", async () => {
    const registry = new PromRegistry()
    const requests = new Counter({
      name: "http_server_requests_total",
      help: "Mine.",
      labelNames: ["status", "method", "route"],
      registers: [registry]
    })
    httpMetrics({ registry })
    assert.strictEqual(registry.getSingleMetric("http_server_requests_total"), requests)
    const other = new PromRegistry()
    new Gauge({ name: "http_server_requests_total", help: "h", registers: [other] })
    assert.throws(
      () => httpMetrics({ registry: other }),
      Error,
      "http_server_requests_total is already registered as a gauge"
    )
  })

  it.scopedLive(
    "a request that is measured twice, or when it is over, is counted once, and nothing stays in progress",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure: HttpMeasure = httpMetrics({ registry })
        const over: Array<() => void> = []
        const port = yield* listen(
          createServer((request, response) => {
            if (pathOf(request) === "/late") {
              request.socket.on("close", () => over.push(() => measure(request, response, () => "/late")))
            } else {
              measure(request, response, () => "/twice")
              measure(request, response, () => "/twice")
            }
            response.end()
          })
        )
        const all = requestsIn(registry)
        yield* get(`http://127.0.0.1:${port}/twice`)
        assert.deepStrictEqual(yield* all.endedAll(1), { "GET /twice 200": 1 })
        yield* get(`http://127.0.0.1:${port}/late`)
        yield* eventually("the connection is closed", async () => over.length === 1)
        for (const act of over) act()
        assert.deepStrictEqual(yield* all.endedAll(2), { "GET /late 200": 1, "GET /twice 200": 1 })
        assert.deepStrictEqual(yield* all.inProgress, { GET: 0 })
      })
  )

  it.scopedLive("leaves no listeners on a connection that is kept", () =>
    Effect.gen(function* () {
      let listeners = 0
      const all = yield* measured((request, response) => {
        listeners = request.socket.listenerCount("close")
        response.end("answer")
      })
      const connection = yield* asking(all.port, requestLines("/known"))
      const first = listeners
      for (const many of [2, 3, 4, 5]) {
        connection.send(requestLines("/known"))
        yield* connection.received((text) => text.split("answer").length === many + 1)
      }
      assert.strictEqual(listeners, first)
    })
  )
})
