import { once } from "node:events"
import { Agent, request } from "node:https"
import { connect } from "node:net"
import { connect as secureConnect } from "node:tls"
import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Fiber, Option } from "effect"
import { Gauge } from "prom-client"
import { certificate } from "./support/certificates.js"
import { runFixture } from "./support/childProcess.js"
import type { RawConnection } from "./support/httpClient.js"
import { ask, assertFree, eventually, get, isFree, rawConnection, requestLines } from "./support/httpClient.js"
import { gatedCollector, serverKinds, someMetrics, stoppable } from "./support/servers.js"
import { assertInTime, assertWithin, itInTime } from "./support/timing.js"

/** What a shutdown may take beyond its timeouts. */
const slack = 900

/** Waits for the shutdown, which has to be over in time. */
const endsWithin = (stop: Effect.Effect<void>, milliseconds: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(stop)
    const ended = yield* Effect.timeoutOption(Fiber.join(fiber), milliseconds)
    assertInTime(Option.isSome(ended), `the shutdown has not ended within ${milliseconds} ms`)
  })

const wholeAnswer = (text: string): boolean => text.includes("</html>\n") || text.includes("\njobs_total 3\n")

/** A connection on which a request was answered, and which is kept for more. */
const keptAlive = (port: number, target = "/") =>
  Effect.gen(function* () {
    const connection = yield* rawConnection(port)
    connection.send(requestLines(target))
    const text = yield* connection.received(wholeAnswer)
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.notMatch(text, /^connection: close\r$/im)
    return connection
  })

/** Speaks TLS on a connection. */
const secure = (ca: string, { socket }: RawConnection) =>
  Effect.promise(async () => {
    socket.removeAllListeners("data")
    const secured = secureConnect({ socket, ca, host: "127.0.0.1" })
    secured.on("error", () => {})
    await once(secured, "secureConnect")
    return secured
  })

for (const kind of serverKinds) {
  describe(`the shutdown of a metrics server ${kind.name}`, () => {
    itInTime("cuts a scrape that would take seconds at its timeout, and all other connections", function* () {
      const { registry, shut } = gatedCollector()
      const server = yield* stoppable(kind, { shutdownTimeout: "500 millis" }, { registry })
      const slow = yield* shut
      const scraping = yield* Effect.fork(Effect.either(Effect.tryPromise(() => ask(server.url))))
      yield* slow.reached
      const idle = [yield* keptAlive(server.address.port), yield* rawConnection(server.address.port)]
      yield* endsWithin(server.stop, 500 + slack)
      yield* assertFree(server.address.port)
      assert.strictEqual((yield* Fiber.join(scraping))._tag, "Left")
      for (const { closed } of idle) yield* closed
      yield* slow.open
    })

    itInTime("lets a scrape finish, answers it with Connection: close, and is over with it", function* () {
      const { registry, shut } = gatedCollector()
      const server = yield* stoppable(kind, { shutdownTimeout: "10 seconds" }, { registry })
      const connection = yield* keptAlive(server.address.port, "/metrics?name[]=jobs_total")
      const slow = yield* shut
      connection.send(requestLines("/metrics?name[]=slow"))
      yield* slow.reached
      const stopping = yield* Effect.fork(server.stop)
      yield* eventually("it no longer accepts", () => isFree(server.address.port))
      yield* slow.open
      yield* endsWithin(Fiber.join(stopping), slack)
      const [, answer] = (yield* connection.received((text) => text.includes("\nslow 1\n"))).split(/(?=HTTP\/1\.1 )/)
      assert.match(answer ?? "", /^HTTP\/1\.1 200 OK\r\n/)
      assert.match(answer ?? "", /^connection: close\r$/im)
      yield* connection.closed
    })

    itInTime("is not held up by idle connections that are kept alive", function* () {
      const server = yield* stoppable(kind, { shutdownTimeout: "10 seconds" }, { registry: someMetrics() })
      const idle = yield* Effect.replicateEffect(keptAlive(server.address.port), 5)
      const scraped = yield* keptAlive(server.address.port, "/metrics")
      yield* endsWithin(server.stop, slack)
      yield* assertFree(server.address.port)
      for (const { closed } of [...idle, scraped]) yield* closed
    })

    itInTime("is not held up by a connection that never sent anything", function* () {
      const server = yield* stoppable(kind, { shutdownTimeout: "10 seconds" })
      const silent = yield* rawConnection(server.address.port)
      // Connections are accepted in turn: after this answer the one before has been as well.
      yield* get(server.healthUrl)
      yield* endsWithin(server.stop, slack)
      yield* silent.closed
    })

    itInTime("cuts a client that never finishes its request, and one that does not read its answer", function* () {
      const registry = someMetrics()
      const server = yield* stoppable(kind, { shutdownTimeout: "500 millis" }, { registry })
      const unfinished = yield* rawConnection(server.address.port)
      unfinished.send("GET /metrics HTTP/1.1\r\nHost: loc")
      const gauge = new Gauge({ name: "big", help: "h", labelNames: ["text"], registers: [registry] })
      gauge.set({ text: "x".repeat(20_000_000) }, 1)
      const unread = yield* rawConnection(server.address.port)
      unread.socket.pause()
      unread.send(requestLines("/metrics"))
      yield* get(`${server.url}?name[]=jobs_total`)
      yield* endsWithin(server.stop, 500 + slack)
      yield* assertFree(server.address.port)
    })

    for (const secured of [false, true]) {
      itInTime(
        `lets an answer${secured ? " over HTTPS" : ""} be taken that is on its way, and is over with it`,
        function* () {
          const size = 20_000_000
          const registry = someMetrics()
          const gauge = new Gauge({ name: "big", help: "h", labelNames: ["text"], registers: [registry] })
          gauge.set({ text: "x".repeat(size) }, 1)
          const tls = secured ? yield* certificate : undefined
          const server = yield* stoppable(kind, { tls, shutdownTimeout: "10 seconds" }, { registry })
          const socket = yield* Effect.acquireRelease(
            Effect.sync(() => {
              const { port } = server.address
              const on = { port, host: "127.0.0.1" }
              return tls === undefined ? connect(on) : secureConnect({ ...on, ca: tls.cert })
            }),
            (opened) => Effect.sync(() => opened.destroy())
          )
          const closed = once(socket, "close")
          socket.write(requestLines("/metrics?name[]=big"))
          let received = 0
          const beginning = new Promise<void>((resolve) => {
            socket.on("data", (part) => {
              if (received === 0) socket.pause()
              received += part.byteLength
              resolve()
            })
          })
          yield* Effect.promise(() => beginning)
          const stopping = yield* Effect.fork(server.stop)
          yield* eventually("it no longer accepts", () => isFree(server.address.port))
          socket.resume()
          yield* endsWithin(Fiber.join(stopping), 2 * slack)
          yield* Effect.promise(() => closed)
          assert.isAbove(received, size)
        }
      )
    }

    itInTime("is not held up by idle HTTPS connections that are kept alive", function* () {
      const tls = yield* certificate
      const server = yield* stoppable(kind, { tls, shutdownTimeout: "10 seconds" })
      yield* Effect.acquireRelease(keptAliveAgent(server.healthUrl, tls.cert), (agent) =>
        Effect.sync(() => agent.destroy())
      )
      yield* endsWithin(server.stop, slack)
      yield* assertFree(server.address.port)
    })

    itInTime(
      "is not held up by connections to its HTTPS port that said nothing, or are not done with TLS",
      function* () {
        const tls = yield* certificate
        const server = yield* stoppable(kind, { tls, shutdownTimeout: "10 seconds" })
        const { port } = server.address
        const silent = [yield* rawConnection(port), yield* rawConnection(port)]
        // The beginning of a handshake.
        silent[1]?.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]))
        // Done with it, and nothing more.
        const secured = yield* secure(tls.cert, yield* rawConnection(port))
        const closed = once(secured, "close")
        yield* get(server.healthUrl, { ca: tls.cert })
        yield* endsWithin(server.stop, slack)
        yield* assertFree(port)
        for (const connection of silent) yield* connection.closed
        yield* Effect.promise(() => closed)
      }
    )

    for (const secured of [false, true]) {
      itInTime(
        `cuts two ${secured ? "HTTPS " : ""}connections from the same port of a client to two addresses of its own`,
        function* () {
          const tls = secured ? yield* certificate : undefined
          const server = yield* stoppable(kind, { tls, host: "0.0.0.0", shutdownTimeout: "500 millis" })
          const { port } = server.address
          const localAddress = "127.0.0.1"
          const first = yield* rawConnection(port, "127.0.0.1", { localAddress })
          const { localPort } = first.socket
          const second = yield* rawConnection(port, "127.0.0.2", { localAddress, localPort })
          const both = [first, second]
          for (const connection of both) {
            const socket = tls === undefined ? connection.socket : yield* secure(tls.cert, connection)
            const answered = once(socket, "data")
            socket.write(requestLines("/"))
            yield* Effect.promise(() => answered)
            socket.write("GET /metrics HTTP/1.1\r\nHost: loc")
          }
          yield* get(`${tls === undefined ? "http" : "https"}://127.0.0.1:${port}/`, { ca: tls?.cert })
          yield* endsWithin(server.stop, 500 + slack)
          yield* assertFree(port)
          for (const { closed } of both) yield* closed
        }
      )
    }

    itInTime("waits as long as configured, also without limit", function* () {
      const { registry, shut } = gatedCollector()
      const server = yield* stoppable(kind, { shutdownTimeout: Duration.infinity }, { registry })
      const slow = yield* shut
      const scraping = yield* Effect.fork(Effect.either(Effect.tryPromise(() => ask(server.url))))
      yield* slow.reached
      const stopping = yield* Effect.fork(server.stop)
      yield* eventually("it no longer accepts", () => isFree(server.address.port))
      // Long after any timer that was set to too large a number would have gone off.
      assert.isTrue(Option.isNone(yield* Effect.timeoutOption(Fiber.join(scraping), "100 millis")))
      yield* slow.open
      assert.strictEqual((yield* Fiber.join(scraping))._tag, "Right")
      yield* endsWithin(Fiber.join(stopping), slack)
    })
  })
}

/** What a client does when the server of a process is closed. */
const connections = [
  { what: "idle", title: "an idle connection that is kept alive" },
  { what: "silent", title: "a connection that never said anything" },
  { what: "unfinished", title: "a request that is not finished" },
  { what: "scrape", title: "a scrape whose collector never ends" },
  { what: "gone", title: "many such scrapes on a connection that has gone" },
  { what: "refused", title: "such a scrape, and another that was refused" },
  { what: "slow", title: "a reader that does not take its answer" }
]

describe("a process whose server is closed", () => {
  for (const way of ["layer", "layerWorker"]) {
    for (const { title, what } of connections) {
      itInTime(
        `ends by itself after MetricsServer.${way} with ${title}`,
        function* () {
          const { code, lingered, signal, stderr, stdout } = yield* runFixture("closeServer.mjs", {
            args: [way, what]
          })
          assert.deepStrictEqual({ code, signal }, { code: 0, signal: null }, stderr)
          const [, milliseconds] = /closed after (\d+) ms/.exec(stdout) ?? []
          assertWithin(Number(milliseconds), 300 + slack, "the shutdown")
          assertWithin(lingered, 2_000, "its end")
          console.log(
            `shutdown of ${way} with ${title}: closed after ${milliseconds} ms, ended ${lingered.toFixed(0)} ms later`
          )
        },
        { concurrent: true }
      )
    }
  }
})

const keptAliveAgent = (url: string, ca: string) =>
  Effect.promise(
    () =>
      new Promise<Agent>((resolve, reject) => {
        const agent = new Agent({ keepAlive: true, ca })
        agent.on("free", () => resolve(agent))
        request(url, { agent }, (response) => response.resume())
          .on("error", reject)
          .end()
      })
  )
