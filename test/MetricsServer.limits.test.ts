import { once } from "node:events"
import { connect } from "node:net"
import { connect as secureConnect } from "node:tls"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Option, type Scope } from "effect"
import { Gauge, type Registry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import type * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import { certificate } from "./support/certificates.js"
import { runFixture } from "./support/childProcess.js"
import { ask, eventually, get, type RawConnection, rawConnection, requestLines } from "./support/httpClient.js"
import { gatedCollector, inThisThread, logging, refused, serverKinds, someMetrics, started } from "./support/servers.js"
import { assertInTime, assertWaitedFor, assertWithin, itInTime, patience } from "./support/timing.js"

const sleep = (milliseconds: number): Effect.Effect<void> => Effect.sleep(milliseconds)

const page = (text: string): boolean => text.endsWith("</html>\n")

/** Connections that were accepted: each has been answered once, and is kept alive. */
const idle = (port: number, count: number) =>
  Effect.replicateEffect(
    Effect.tap(rawConnection(port), ({ received, send }) => {
      send(requestLines("/"))
      return received(page)
    }),
    count
  )

const silent = (port: number, count: number) =>
  Effect.replicateEffect(rawConnection(port), count, { concurrency: "unbounded" })

const isOpen = ({ socket }: RawConnection): boolean => !socket.destroyed && !socket.readableEnded

/** Whether a new connection gets a response. */
const isLetIn = (url: string) => () =>
  ask(url).then(
    () => true,
    () => false
  )

const open = (connections: ReadonlyArray<RawConnection>): number => connections.filter(isOpen).length

/** How long it takes, in milliseconds. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const start = performance.now()
    const result = yield* self
    return { result, milliseconds: performance.now() - start }
  })

const inFlight = /^effect_prometheus_scrapes_in_flight (\d+)$/m

/** Waits until a metric of the endpoint has that value, without a scrape. */
const has = (registry: Registry, name: string, count: number): Effect.Effect<void> =>
  eventually(`${name} is ${count}`, async () => {
    const { values } = await (registry.getSingleMetric(name) as Gauge).get()
    return values[0]?.value === count
  })

const inFlightOn = (registry: Registry, count: number) => has(registry, "effect_prometheus_scrapes_in_flight", count)

/** Those that got an exposition. */
const scrapesOn = (registry: Registry, count: number) => has(registry, "effect_prometheus_scrapes_total", count)

const token = "0123456789abcdef0123"

/** What a client can go on sending, and what it begins with. */
const endless = [
  { what: "empty lines", begins: "", goesOn: "\r\n" },
  { what: "spaces before a target", begins: "GET", goesOn: " " },
  { what: "spaces after a target", begins: "GET /metrics", goesOn: " " },
  { what: "spaces before the value of a header", begins: "GET /metrics HTTP/1.1\r\nA:", goesOn: " " },
  { what: "a header", begins: "GET /metrics HTTP/1.1\r\nA: ", goesOn: "b" },
  ...[
    { who: "a stranger", authorization: "" },
    { who: "a client that is let in", authorization: `Authorization: Bearer ${token}\r\n` }
  ].flatMap(({ who, authorization }) => [
    {
      what: `a body of ${who}`,
      begins: requestLines("/metrics", `${authorization}Content-Length: 100000000000\r\n`),
      goesOn: "a"
    },
    {
      what: `the pieces of a body of ${who}`,
      begins: requestLines("/metrics", `${authorization}Transfer-Encoding: chunked\r\n`),
      goesOn: "1\r\na\r\n"
    },
    {
      what: `what ${who} says in another protocol`,
      begins: requestLines("/metrics", `${authorization}Connection: Upgrade\r\nUpgrade: websocket\r\n`),
      goesOn: "a"
    }
  ])
]

/** How much of it can be in the buffers of this process and of the system, in bytes. */
const mostOnItsWay = 40_000_000

/** How many bytes a client could send without taking its answer until its connection was closed. */
const sentInAll = (port: number, isSecure: boolean, begins: string, goesOn: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", rejectUnauthorized: false }
    const piece = Buffer.from(goesOn.repeat(65_536 / goesOn.length))
    const socket = isSecure ? secureConnect(options) : connect(options)
    let sent = 0
    const more = (): void => {
      do sent += piece.byteLength
      while (sent < 2 * mostOnItsWay && !socket.destroyed && socket.write(piece))
      if (sent >= 2 * mostOnItsWay) socket.destroy()
    }
    const late = setTimeout(() => reject(new Error(`its connection is open, with ${sent} bytes`)), patience)
    socket.pause()
    socket.on("drain", more)
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(late)
      resolve(sent)
    })
    socket.on(isSecure ? "secureConnect" : "connect", () => {
      socket.write(begins)
      more()
    })
  })

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    const counts = ["maxConnections", "maxHeaderSize", "maxScrapesInFlight"] as const
    const durations = ["scrapeTimeout", "headersTimeout", "requestTimeout"] as const
    const values = [
      ...counts.flatMap((name) => [0, -1, 1.5, Number.NaN, "10", null, {}].map((value) => [name, value] as const)),
      ...durations.flatMap((name) =>
        [0, -1, "soon", Number.NaN, "0 seconds", {}].map((value) => [name, value] as const)
      )
    ].filter(([, value]) => value !== null)

    it.scopedLive("refuses to start with an invalid limit, and names it", () =>
      Effect.gen(function* () {
        for (const [name, value] of values) {
          const error = yield* refused(started(kind, { [name]: value }))
          assert.strictEqual(error.reason, "InvalidOptions", `${name}: ${String(value)}`)
          assert.include(error.message, name)
        }
      })
    )

    it.scopedLive("takes limits without an end, and times that are no whole milliseconds", () =>
      Effect.gen(function* () {
        const endless = Number.POSITIVE_INFINITY
        const options: MetricsServer.Options = {
          ...Object.fromEntries(counts.map((name) => [name, endless])),
          ...Object.fromEntries(durations.map((name) => [name, Duration.infinity]))
        }
        for (const limits of [options, { headersTimeout: 1_500.5, requestTimeout: 2_500.25, scrapeTimeout: 700.5 }]) {
          const server = yield* started(kind, limits, { registry: someMetrics() })
          assert.include((yield* get(server.url)).body, "jobs_total 3\n")
        }
      })
    )

    it.scopedLive("limits the scrapes in flight, answers others with Retry-After, and counts down afterwards", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const server = yield* started(kind, { maxScrapesInFlight: 3 }, { registry })
        const slow = yield* shut
        const scrapes = yield* Effect.forEach(["", "?name[]=slow", "?name[]=slow&name[]=jobs_total"], (query) =>
          Effect.fork(get(`${server.url}${query}`))
        )
        yield* inFlightOn(registry, 3)
        assert.strictEqual((yield* get(server.url, { method: "HEAD" })).status, 503)
        for (const target of [server.url, `${server.url}?name[]=jobs_total`]) {
          const { body, headers, milliseconds, status } = yield* get(target)
          assert.strictEqual(status, 503)
          assert.strictEqual(headers["retry-after"], "1")
          assert.match(headers["content-type"] ?? "", /^text\/plain/)
          assert.strictEqual(body, "3 scrapes are already in flight (maxScrapesInFlight)\n")
          assert.isBelow(milliseconds, patience / 2)
        }
        assert.strictEqual((yield* get(server.healthUrl)).status, 200)
        yield* slow.open
        for (const scrape of scrapes) assert.strictEqual((yield* Fiber.join(scrape)).status, 200)
        const { body } = yield* get(server.url)
        // That of a worker comes a little later.
        yield* eventually(
          "it counts only its own scrapes",
          async () => inFlight.exec((await ask(server.url)).body)?.[1] === "1"
        )
        assert.match(body, /^effect_prometheus_scrape_errors_total\{cause="in_flight"\} [1-9]/m)
        assert.match(body, /^effect_prometheus_scrapes_total\{code="503"\} [1-9]/m)
      })
    )

    it.scopedLive("has room for a scrape again however one ends", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const fails = { now: false }
        new Gauge({
          name: "broken",
          help: "h",
          registers: [registry],
          collect: () => {
            if (fails.now) throw new Error("no thermometer")
          }
        })
        const server = yield* started(kind, { maxScrapesInFlight: 1, onError: "fail" }, { registry })
        const sound = () => eventually("the next one is answered", async () => (await ask(server.url)).status === 200)
        for (let time = 0; time < 2; time += 1) {
          fails.now = true
          assert.strictEqual((yield* get(server.url)).status, 500)
          fails.now = false
          yield* sound()
          assert.strictEqual((yield* get(server.url, { method: "HEAD" })).status, 200)
          yield* sound()
          assert.strictEqual((yield* get(server.url, { headers: { "accept-encoding": "gzip" } })).status, 200)
          const slow = yield* shut
          const left = yield* rawConnection(server.address.port)
          left.send(requestLines("/metrics"))
          yield* slow.reached
          left.socket.destroy()
          yield* left.closed
          yield* slow.open
          yield* sound()
          const hung = yield* shut
          const headers = { "x-prometheus-scrape-timeout-seconds": "0.2" }
          assert.strictEqual((yield* get(server.url, { headers })).status, 503)
          yield* hung.open
          yield* sound()
        }
        yield* eventually(
          "no scrape is in flight",
          async () => inFlight.exec((await ask(server.url)).body)?.[1] === "1"
        )
      })
    )

    const late = [
      { header: "1", limit: 500 },
      { header: "0.8", limit: 400 },
      { header: "0.4", limit: 200 },
      { header: "1e-9", limit: 0 },
      { header: " 1 ", limit: 500 },
      ...[
        "",
        "0",
        "-1",
        "-Infinity",
        "NaN",
        "Infinity",
        "1e308",
        "1e3",
        "0x10",
        "ten",
        "1,5",
        "1 s",
        "\u00e9",
        "9".repeat(400)
      ].map((header) => ({ header, limit: 700 }))
    ]

    itInTime(
      "ends a scrape at its limit, or half a second before the scraper's own, and whatever that header says",
      function* () {
        const { registry, shut } = gatedCollector()
        const server = yield* started(kind, { onError: "fail", scrapeTimeout: "700 millis" }, { registry })
        const slow = yield* shut
        const answered = yield* Effect.forEach(
          late,
          ({ header, limit }) =>
            Effect.map(
              get(server.url, { headers: { "x-prometheus-scrape-timeout-seconds": header } }),
              ({ body, milliseconds, status }) => {
                assert.strictEqual(status, 503, header)
                if (limit > 0) assertWaitedFor("slow", { body, status }, header)
                assert.isAtLeast(milliseconds, limit - 2, header)
                return { limit, milliseconds }
              }
            ),
          { concurrency: "unbounded" }
        )
        const of = (isOwn: boolean) =>
          answered.filter(({ limit }) => (limit === 700) === isOwn).map(({ milliseconds }) => milliseconds)
        assertWithin(Math.max(...of(false)), Math.min(...of(true)), "those with less time")
        const reached = answered.map(({ limit, milliseconds }) => milliseconds - limit)
        // Two of them are two headers of that name to Node.js, and no number.
        const twice = yield* rawConnection(server.address.port)
        const scrapeTimeout = "X-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n"
        twice.send(requestLines("/metrics", `${scrapeTimeout}${scrapeTimeout}Connection: close\r\n`))
        const start = performance.now()
        assert.include(yield* twice.received((text) => text.endsWith("slow\n")), "HTTP/1.1 503 ")
        assert.isAtLeast(performance.now() - start, 690)
        yield* slow.open
        assert.strictEqual((yield* get(server.url)).status, 200)
        assertWithin(Math.max(...reached), 1_000, "an answer after its limit")
        console.log(
          `limits ${kind.name}: ${late.length} scrape timeouts, the latest answer ${Math.max(...reached).toFixed(0)} ms after its limit`
        )
      }
    )

    it.scopedLive("limits its connections, also when many come at once, and answers each request", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { maxConnections: 10 }, { registry: someMetrics() })
        const connections = yield* silent(server.address.port, 200)
        yield* eventually("all but ten are closed", async () => open(connections) <= 10)
        assert.strictEqual((yield* get(server.url)).status, 200)
        // The one that asked took the place of another.
        yield* eventually("one of the ten made room", async () => open(connections) === 9)
        yield* sleep(50)
        assert.strictEqual(open(connections), 9)
        console.log(`limits ${kind.name}: 200 connections at once, 10 of them stayed open`)
      })
    )

    it.scopedLive("gives up the connection that was used the longest time ago, and closes it in good order", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { maxConnections: 3 }, { registry: someMetrics() })
        const [first, second, third] = (yield* idle(server.address.port, 3)) as [
          RawConnection,
          RawConnection,
          RawConnection
        ]
        first.send(requestLines("/nowhere"))
        yield* first.received((text) => text.endsWith("Not found\n"))
        const errors: Array<Error> = []
        second.socket.on("error", (error) => errors.push(error))
        const [fourth] = (yield* idle(server.address.port, 1)) as [RawConnection]
        yield* second.closed
        assert.deepStrictEqual(errors, [])
        assert.isTrue(second.socket.readableEnded)
        const [fifth] = (yield* idle(server.address.port, 1)) as [RawConnection]
        yield* third.closed
        assert.deepStrictEqual([first, fourth, fifth].map(isOpen), [true, true, true])
      })
    )

    it.scopedLive("closes a connection with a slow request, and none that waits for a response", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const server = yield* started(kind, { maxConnections: 3 }, { registry })
        const slow = yield* shut
        const waiting = yield* silent(server.address.port, 2)
        for (const { send } of waiting) send(requestLines("/metrics"))
        yield* slow.reached
        const [asking] = (yield* silent(server.address.port, 1)) as [RawConnection]
        asking.send("GET /metrics HTTP/1.1\r\nHost: loc")
        yield* get(server.healthUrl)
        yield* asking.closed
        // A third one that waits: now there is no room for another.
        const [last] = (yield* silent(server.address.port, 1)) as [RawConnection]
        last.send(requestLines("/metrics"))
        yield* inFlightOn(registry, 3)
        yield* eventually("no other connection is accepted", () =>
          ask(server.healthUrl).then(
            () => false,
            () => true
          )
        )
        assert.deepStrictEqual([...waiting, last].map(isOpen), [true, true, true])
        yield* slow.open
        for (const { received } of [...waiting, last]) {
          assert.match(yield* received((text) => text.includes("\nslow 1\n")), /^HTTP\/1\.1 200 /)
        }
        assert.strictEqual((yield* get(server.url)).status, 200)
      })
    )

    it.scopedLive("closes a connection whose client has gone before its requests are answered", () =>
      Effect.gen(function* () {
        const { registry, shut } = gatedCollector()
        const server = yield* started(kind, { maxConnections: 2 }, { registry })
        for (let time = 0; time < 5; time += 1) {
          const slow = yield* shut
          const piped = yield* silent(server.address.port, 2)
          for (const { send } of piped) send(requestLines("/metrics").repeat(3))
          yield* slow.reached
          for (const { closed, socket } of piped) {
            socket.destroy()
            yield* closed
          }
          yield* slow.open
          // It is a moment before the server hears of it.
          yield* eventually("there is room again", isLetIn(server.healthUrl))
        }
        const late = yield* idle(server.address.port, 3)
        yield* eventually("one made room for another", async () => open(late) === 2)
      })
    )

    it.scopedLive("keeps to so many connections over TLS as well, whether they speak it or not", () =>
      Effect.gen(function* () {
        const tls = yield* certificate
        const server = yield* started(kind, { tls, maxConnections: 5 }, { registry: someMetrics() })
        const { port } = server.address
        const secure = Effect.acquireRelease(
          Effect.promise(async () => {
            const socket = secureConnect({ port, host: "127.0.0.1", ca: tls.cert })
            socket.on("error", () => {})
            await once(socket, "secureConnect")
            socket.write(requestLines("/"))
            await once(socket, "data")
            return socket
          }),
          (socket) => Effect.sync(() => socket.destroy())
        )
        const secured = yield* Effect.replicateEffect(secure, 3)
        const plain = yield* silent(port, 50)
        yield* eventually("those that do not speak it make room", async () => open(plain) <= 2)
        assert.isTrue(secured.every(({ destroyed }) => !destroyed))
        const { status } = yield* get(server.url, { ca: tls.cert })
        assert.strictEqual(status, 200)
        yield* eventually("five are left", async () => open(plain) <= 1)
      })
    )

    it.scopedLive("answers headers that are too long with 431, and closes the connection", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, { maxHeaderSize: 2_000 }, { registry: someMetrics() })
        const fits = `${server.url}?name[]=jobs_total&${"a".repeat(1_700)}`
        assert.strictEqual((yield* get(fits)).status, 200)
        for (const lines of [
          requestLines(`/metrics?${"a".repeat(2_000)}`),
          requestLines("/metrics", `Cookie: ${"a".repeat(2_000)}\r\n`),
          requestLines("/metrics", "A-Header: of-many\r\n".repeat(150))
        ]) {
          const connection = yield* rawConnection(server.address.port)
          connection.send(lines)
          yield* connection.closed
          const text = yield* connection.received(() => true)
          if (text !== "") assert.match(text, /^HTTP\/1\.1 431 /)
        }
        assert.strictEqual((yield* get(fits)).status, 200)
      })
    )

    itInTime("answers as many name[] as the headers have room for, quickly", function* () {
      const server = yield* started(kind, {}, { registry: someMetrics() })
      const names = Array.from({ length: 1_500 }, (_, index) => `name[]=${index % 300}`)
      const target = `${server.url}?${names.join("&")}&name[]=jobs_total`
      assert.isBelow(target.length, 16_384)
      const { body, milliseconds, status } = yield* get(target)
      assert.strictEqual(status, 200)
      assert.include(body, "jobs_total 3\n")
      assert.notInclude(body, "queue_length")
      assertWithin(milliseconds, 1_000)
      console.log(`limits ${kind.name}: ${names.length + 1} name[] answered in ${milliseconds.toFixed(0)} ms`)
    })

    itInTime("closes a connection that is slow with its headers, and one that says nothing", function* () {
      const server = yield* started(kind, { headersTimeout: "300 millis" }, { registry: someMetrics() })
      const { milliseconds, result } = yield* timed(
        Effect.gen(function* () {
          const [mute, slow] = (yield* silent(server.address.port, 2)) as [RawConnection, RawConnection]
          const text = requestLines("/metrics")
          for (let sent = 0; isOpen(slow) && sent < text.length; sent += 1) {
            slow.send(text.charAt(sent))
            yield* sleep(20)
          }
          yield* slow.closed
          yield* mute.closed
          return [mute, slow]
        })
      )
      for (const { received } of result) assert.match(yield* received(() => true), /^HTTP\/1\.1 408 /)
      assert.isAtLeast(milliseconds, 290)
      assertWithin(milliseconds, 300 + 300 + 1_000)
      console.log(`limits ${kind.name}: headers not there after 300 ms, closed after ${milliseconds.toFixed(0)} ms`)
      assert.strictEqual((yield* get(server.url)).status, 200)
    })

    itInTime("closes a connection to its HTTPS port that is slow with its handshake", function* () {
      const tls = yield* certificate
      const server = yield* started(kind, { tls, headersTimeout: "300 millis" })
      const connections = yield* silent(server.address.port, 3)
      // The beginning of a handshake.
      connections[1]?.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]))
      const { milliseconds } = yield* timed(Effect.forEach(connections, ({ closed }) => closed))
      assertWithin(milliseconds, 300 + 1_000)
    })

    itInTime("answers without waiting for a body, and closes the connection with that", function* () {
      const server = yield* started(kind, {}, { registry: someMetrics() })
      const chunked = "Transfer-Encoding: chunked\r\n"
      const start = performance.now()
      const endless = yield* silent(server.address.port, 4)
      endless[0]?.send(`POST /metrics HTTP/1.1\r\nHost: localhost\r\n${chunked}\r\n1\r\nx\r\n`)
      endless[1]?.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
      endless[2]?.send(`GET /nowhere HTTP/1.1\r\nHost: localhost\r\n${chunked}\r\n`)
      // However much it is, and whatever it looks like.
      const size = 20_000_000
      endless[3]?.send(`GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${size}\r\n\r\n`)
      endless[3]?.socket.write(Buffer.alloc(size, "GET / HTTP/1.1\r\n\r\n"))
      yield* Effect.forEach(endless, ({ closed }) => closed)
      assertWithin(performance.now() - start, 3_000)
      const texts = yield* Effect.forEach(endless, ({ received }) => received(() => true))
      assert.deepStrictEqual(
        texts.map((text) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)),
        [["405"], ["200"], ["404"], ["200"]]
      )
      for (const text of texts) assert.match(text, /^connection: close\r$/im)
    })

    for (const { protocol, headers } of [
      { protocol: "websocket", headers: "Connection: Upgrade\r\nUpgrade: websocket\r\n" },
      { protocol: "h2c", headers: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n" }
    ]) {
      it.scopedLive(`answers a request for ${protocol} in HTTP/1.1, and closes the connection with that`, () =>
        Effect.gen(function* () {
          const server = yield* started(kind, {}, { registry: someMetrics() })
          const [asking] = (yield* silent(server.address.port, 1)) as [RawConnection]
          // Of what comes with it only the beginning would be lost to Node.js.
          asking.send(
            `${requestLines("/")}${requestLines("/metrics", headers)}${requestLines("/metrics").slice(0, 20)}`
          )
          yield* asking.closed
          const text = yield* asking.received(() => true)
          const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)
          assert.deepStrictEqual(statuses, ["200", "200"])
          assert.match(text, /\njobs_total 3\n/)
          assert.strictEqual(text.match(/^connection: close\r$/gim)?.length, 1)
        })
      )
    }

    for (const { what, begins, goesOn } of endless) {
      for (const secured of [false, true]) {
        itInTime(
          `reads a part of ${what} without an end${secured ? " over HTTPS" : ""}, and closes the connection`,
          function* () {
            const tls = secured ? yield* certificate : undefined
            const options = { tls, authentication: { tokens: [token] }, requestTimeout: "5 seconds" } as const
            const server = yield* started(kind, options, { registry: someMetrics() })
            const sent = yield* Effect.promise(() => sentInAll(server.address.port, secured, begins, goesOn))
            assert.isBelow(sent, mostOnItsWay)
          }
        )
      }
    }

    itInTime("cuts a reader that does not take its answer, once that is there for as long as it may", function* () {
      const registry = someMetrics()
      const gauge = new Gauge({ name: "big", help: "h", labelNames: ["text"], registers: [registry] })
      gauge.set({ text: "x".repeat(20_000_000) }, 1)
      const options = { headersTimeout: "300 millis", requestTimeout: "300 millis", maxConnections: 1 } as const
      const server = yield* started(kind, options, { registry })
      const [unread] = (yield* silent(server.address.port, 1)) as [RawConnection]
      unread.socket.pause()
      const start = performance.now()
      unread.send(requestLines("/metrics"))
      yield* scrapesOn(registry, 1)
      const { milliseconds } = yield* timed(eventually("another one is let in", isLetIn(server.healthUrl)))
      assert.isAtLeast(performance.now() - start, 290)
      // In a second it would have to make room for the other one.
      assertWithin(milliseconds, 800)
      console.log(`limits ${kind.name}: an answer not taken for 300 ms, cut after ${milliseconds.toFixed(0)} ms`)
    })

    itInTime("gives the place of a reader that does not take its answer to a new connection", function* () {
      const registry = someMetrics()
      const gauge = new Gauge({ name: "big", help: "h", labelNames: ["text"], registers: [registry] })
      gauge.set({ text: "x".repeat(20_000_000) }, 1)
      const server = yield* started(kind, { maxConnections: 3 }, { registry })
      const readers = yield* silent(server.address.port, 3)
      for (const { send, socket } of readers) {
        socket.pause()
        send(requestLines("/metrics"))
      }
      yield* scrapesOn(registry, 3)
      // An answer may be on its way for a moment.
      assertInTime(!(yield* Effect.promise(isLetIn(server.healthUrl))), "another one is let in already")
      const { milliseconds } = yield* timed(eventually("another one is let in", isLetIn(server.healthUrl)))
      assertWithin(milliseconds, 5_000)
      for (const { socket } of readers) socket.resume()
      yield* Effect.raceAll(readers.map(({ closed }) => closed))
    })

    for (const secured of [false, true]) {
      const over = secured ? " over HTTPS" : ""
      itInTime(`closes connections that send requests without end${over}, and answers others meanwhile`, function* () {
        const tls = secured ? yield* certificate : undefined
        const authentication = { tokens: ["0123456789abcdef0123"] }
        const server = yield* started(kind, { tls, authentication }, { registry: someMetrics() })
        const args = [String(server.address.port), tls === undefined ? "http" : "https"]
        const flood = yield* Effect.fork(runFixture("requestFlood.mjs", { args }))
        const headers = { authorization: `Bearer ${authentication.tokens[0]}` }
        const before = process.memoryUsage().rss
        let [answered, slowest, grown] = [0, 0, 0]
        while (Option.isNone(yield* Fiber.poll(flood))) {
          const { milliseconds, status } = yield* get(server.url, { headers, ca: tls?.cert })
          assert.strictEqual(status, 200)
          answered += 1
          slowest = Math.max(slowest, milliseconds)
          grown = Math.max(grown, process.memoryUsage().rss - before)
        }
        const { code, stderr, stdout } = yield* Fiber.join(flood)
        assert.strictEqual(code, 0, stderr)
        const { closed, opened, sent } = JSON.parse(stdout)
        console.log(
          `limits ${kind.name}: ${opened} connections that asked without an end${over}, ${closed} of them closed, ` +
            `${sent} bytes; ${answered} honest scrapes, the slowest in ${slowest.toFixed(0)} ms; ` +
            `${(grown / 1e6).toFixed(0)} MB more at most`
        )
        assert.isAtLeast(closed, opened - 1)
        assert.isAbove(opened, 1)
        assert.isAbove(answered, 5)
        assertWithin(slowest, 5_000, "an honest scrape")
        // That is garbage, which the collector has not come to. Without a limit to what a connection may ask for at
        // once, it is 900 MB and more in these three seconds.
        assert.isBelow(grown, 500_000_000)
      })
    }

    it.scopedLive("answers sixteen requests that come at once, in their order, and the next sixteen after them", () =>
      Effect.gen(function* () {
        const server = yield* started(kind, {}, { registry: someMetrics() })
        const [connection] = (yield* silent(server.address.port, 1)) as [RawConnection]
        const targets = Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? "/nowhere" : "/"))
        const statuses = targets.map((target) => (target === "/" ? "200" : "404"))
        const statusesIn = (text: string) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)
        for (const times of [1, 2]) {
          connection.send(targets.map((target) => requestLines(target)).join(""))
          const text = yield* connection.received((all) => all.split("</html>\n").length === 8 * times + 1)
          assert.deepStrictEqual(statusesIn(text), Array.from({ length: times }, () => statuses).flat())
        }
      })
    )

    itInTime("keeps connections that pause between two requests, or pipeline several", function* () {
      const { registry, shut } = gatedCollector()
      const options = {
        onError: "fail",
        scrapeTimeout: "600 millis",
        requestTimeout: "300 millis",
        headersTimeout: "300 millis"
      } as const
      const server = yield* started(kind, options, { registry })
      const slow = yield* shut
      const [connection] = (yield* silent(server.address.port, 1)) as [RawConnection]
      connection.send(requestLines("/metrics") + requestLines("/"))
      const text = yield* connection.received(page)
      assert.match(text, /^HTTP\/1\.1 503 [\s\S]*waiting for slow\nHTTP\/1\.1 200 /)
      yield* slow.open
      yield* sleep(1_100)
      connection.send(requestLines("/metrics"))
      yield* connection.received((all) => all.includes("\nslow 1\n"))
    })
  })
}

describe("the server in this thread", () => {
  it.scopedLive("warns of nothing, however many requests come at once on a connection", () =>
    Effect.gen(function* () {
      const warnings: Array<Error> = []
      const warned = (warning: Error): number => warnings.push(warning)
      process.on("warning", warned)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", warned)))
      const { layer } = logging()
      const done = yield* Deferred.make<void>()
      const server = yield* Effect.provide(started(inThisThread, {}, { registry: someMetrics() }), layer)
      const [connection] = (yield* silent(server.address.port, 1)) as [RawConnection]
      connection.send(requestLines("/metrics").repeat(16))
      yield* connection.received((text) => text.split("\njobs_total 3\n").length === 17)
      setImmediate(() => Effect.runSync(Deferred.succeed(done, undefined)))
      yield* Deferred.await(done)
      assert.deepStrictEqual(warnings, [])
    })
  )
})

class Inherited {
  get authentication() {
    return { tokens: ["0123456789abcdef"] }
  }
}

describe("the exposition mounted with an invalid option", () => {
  const given: ReadonlyArray<readonly [options: object, message: string]> = [
    [{ maxScrapesInFlight: 0 }, "maxScrapesInFlight must be "],
    [{ scrapeTimeout: Number.NaN }, "scrapeTimeout must be "],
    [{ scrapeTimeout: 0 }, "scrapeTimeout must be "],
    [{ onError: "contineu" }, "onError must be "],
    [{ compression: "no" }, "compression must be "],
    [{ selfMetrics: "false" }, "selfMetrics must be "],
    [{ authentication: { tokens: ["0123456789abcdef"] } }, "unknown option authentication"],
    [{ compresion: false }, "unknown option compresion"],
    [new Inherited(), "unknown option authentication"],
    [null as never, "options must be an object with options, not null"],
    [["no", "options"], "options must be an object with options, not a list"]
  ]
  const routers = [HttpRouter.Default, HttpLayerRouter.HttpRouter, HttpApiBuilder.Router]

  it.scoped("is refused where it is mounted, by an error that names it", () =>
    Effect.gen(function* () {
      for (const [options, message] of given) {
        const thrown = (mount: () => unknown) => assert.throws(mount, RangeError, message)
        thrown(() => Exposition.httpApp(options))
        thrown(() => Promises.nodeListener(options))
        thrown(() => Promises.webHandler(options))
        const mounts: ReadonlyArray<Effect.Effect<unknown, Exposition.ExpositionError, Scope.Scope>> = [
          Exposition.nodeListener(options),
          Exposition.webHandler(options),
          ...routers.map((router) => Layer.build(Exposition.layerRouter(router as typeof HttpRouter.Default, options)))
        ]
        for (const mount of mounts) {
          const error = yield* Effect.flip(mount)
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, message)
        }
      }
    })
  )
})
