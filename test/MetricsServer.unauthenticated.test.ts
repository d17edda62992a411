import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { connect as secureConnect } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Counter, Gauge } from "prom-client"
import { ownMetrics } from "../src/core/registry/selfMetrics.js"
import { authority, certificate } from "./support/certificates.js"
import { basic, bearer, hashOf } from "./support/credentials.js"
import { ask, eventually, get, isFree } from "./support/httpClient.js"
import { gatedCollector, inThisThread, serverKinds, someMetrics, started, stoppable } from "./support/servers.js"
import { assertWithin, excusedBlock, itInTime, patience } from "./support/timing.js"

const token = "0123456789abcdef0123"
const tokens = [token]

/** What a client says, and what came of it. */
interface Client {
  readonly socket: Socket
  readonly text: () => string
  readonly statuses: () => ReadonlyArray<string>
  /** Until there are so many answers, or the connection is closed. */
  readonly answers: (count: number) => Effect.Effect<ReadonlyArray<string>>
  readonly closed: Effect.Effect<void>
}

const dialled = (port: number, isSecure = false): Promise<Client> =>
  new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", rejectUnauthorized: false, allowHalfOpen: true }
    const socket = isSecure ? secureConnect(options) : connect(options)
    let text = ""
    socket.on("data", (part) => {
      text += part.toString("latin1")
    })
    socket.on("end", () => socket.end())
    socket.on("error", () => {})
    const closed = new Promise<void>((done) => socket.once("close", () => done()))
    const statuses = () => [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => String(status))
    const client: Client = {
      socket,
      text: () => text,
      statuses,
      answers: (count) =>
        Effect.map(
          eventually(`${count} answers`, async () => socket.destroyed || statuses().length >= count),
          () => statuses()
        ),
      closed: Effect.timeoutFail(
        Effect.promise(() => closed),
        { duration: patience, onTimeout: () => new Error(`not closed: ${text}`) }
      ).pipe(Effect.orDie)
    }
    socket.on(isSecure ? "secureConnect" : "connect", () => resolve(client))
    closed.then(() => reject(new Error("closed before it was connected")))
  })

const client = (port: number, isSecure = false) =>
  Effect.acquireRelease(
    Effect.promise(() => dialled(port, isSecure)),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const right = `Authorization: Bearer ${token}\r\n`
const wrong = "Authorization: Bearer wrong\r\n"

const lines = (target: string, headers = right, method = "GET"): string =>
  `${method} ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`

const isOpen = ({ socket }: Client): boolean => !socket.destroyed

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    it.scopedLive("closes the unauthenticated connection that is idle longest, and no authenticated one", () =>
      Effect.gen(function* () {
        const options = { maxConnections: 4, authentication: { tokens } }
        const { address } = yield* started(kind, options, { registry: someMetrics() })
        const known = yield* client(address.port)
        known.socket.write(lines("/"))
        yield* known.answers(1)
        const strangers: Array<Client> = []
        const says = ["", "GET / HTTP/1.1\r\nHost: lo", lines("/nowhere", "Expect: tea\r\n").slice(0, -2), ""]
        for (const text of [...says, ...says]) {
          const stranger = yield* client(address.port)
          stranger.socket.write(text)
          strangers.push(stranger)
          if (strangers.length > 3) yield* (strangers[strangers.length - 4] as Client).closed
          assert.deepStrictEqual(
            strangers.slice(-3).map(isOpen),
            strangers.slice(-3).map(() => true)
          )
        }
        known.socket.write(lines("/metrics"))
        assert.deepStrictEqual(yield* known.answers(2), ["200", "200"])
      })
    )

    it.scopedLive("closes a connection whose password is being verified before any authenticated one", () =>
      Effect.gen(function* () {
        const users = { prom: hashOf("right", { ln: 16, r: 8, p: 4 }) }
        const options = { maxConnections: 2, authentication: { users, tokens } }
        const { address } = yield* started(kind, options, { registry: someMetrics() })
        const known = yield* client(address.port)
        known.socket.write(lines("/"))
        yield* known.answers(1)
        for (const password of ["a", "b"]) {
          const guess = yield* client(address.port)
          guess.socket.write(lines("/", `Authorization: ${basic("prom", password).authorization}\r\n`))
          const next = yield* client(address.port)
          yield* guess.closed
          assert.deepStrictEqual(guess.statuses(), [])
          next.socket.destroy()
        }
        assert.isTrue(isOpen(known))
      })
    )

    it.scopedLive("takes one that was let in for a stranger again once it sends what is wrong, and closes it", () =>
      Effect.gen(function* () {
        const { address } = yield* started(kind, { authentication: { tokens } }, { registry: someMetrics() })
        const known = yield* client(address.port)
        known.socket.write(lines("/") + lines("/metrics") + lines("/metrics", wrong) + lines("/metrics"))
        yield* known.closed
        assert.deepStrictEqual(known.statuses(), ["200", "200", "401"])
      })
    )

    it.scopedLive("does not protect a connection for requesting the open health page", () =>
      Effect.gen(function* () {
        const options = { maxConnections: 2, authentication: { tokens, openHealthPage: true } }
        const { address } = yield* started(kind, options, { registry: someMetrics() })
        const known = yield* client(address.port)
        known.socket.write(lines("/"))
        yield* known.answers(1)
        const health = yield* client(address.port)
        for (let count = 1; count < 4; count += 1) {
          health.socket.write(lines("/", ""))
          assert.strictEqual((yield* health.answers(count)).length, count)
        }
        const next = yield* client(address.port)
        yield* health.closed
        assert.deepStrictEqual([known, next].map(isOpen), [true, true])
      })
    )

    it.scopedLive("closes the connection with each refusal", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const own = yield* certificate
        const other = yield* trusted.issue({ names: [{ type: 2, value: "other" }] })
        const tls = { ...own, ca: trusted.cert, allowedNames: ["known"] }
        const secure = yield* started(kind, { tls }, { registry: someMetrics() })
        // A client asks for that by itself where it will not come back.
        const keepAlive = { connection: "keep-alive" }
        const forbidden = yield* get(secure.url, { ...other, ca: own.cert, headers: keepAlive })
        assert.deepStrictEqual([forbidden.status, forbidden.headers.connection], [403, "close"])
        const users = { prom: hashOf("right", { ln: 15, r: 8, p: 4 }) }
        const { url } = yield* started(kind, { authentication: { users } }, { registry: someMetrics() })
        const answers = yield* Effect.forEach(
          Array.from({ length: 4 }, (_, index) => basic("prom", String(index))),
          (headers) => get(url, { headers: { ...headers, ...keepAlive } }),
          { concurrency: "unbounded" }
        )
        const statuses = answers.map(({ status }) => status).sort()
        assert.deepStrictEqual(statuses, [401, 401, 429, 429])
        for (const { headers } of answers) assert.strictEqual(headers.connection, "close")
        const known = yield* get(url, { headers: { ...basic("prom", "right"), ...keepAlive } })
        assert.strictEqual(known.headers.connection, "keep-alive")
      })
    )

    it.scopedLive("verifies one password for sixteen simultaneous requests, and answers others with Retry-After", () =>
      Effect.gen(function* () {
        const users = { prom: hashOf("right", { ln: 16, r: 8, p: 4 }) }
        for (const [password, expected] of [
          ["wrong", 401],
          ["right", 200]
        ] as const) {
          const { healthUrl } = yield* started(kind, { authentication: { users } })
          const answers = yield* Effect.forEach(
            Array.from({ length: 40 }),
            () => get(healthUrl, { headers: basic("prom", password) }),
            { concurrency: "unbounded" }
          )
          const of = (status: number): number => answers.filter((answer) => answer.status === status).length
          assert.deepStrictEqual([of(expected), of(429)], [16, 24])
        }
      })
    )

    for (const secured of [false, true]) {
      const over = secured ? " over HTTPS" : ""

      /** Requests that are sent at once, and their answers. */
      const pipelines: Readonly<Record<string, readonly [text: string, statuses: ReadonlyArray<string>]>> = {
        "different ones": [
          [
            lines("/"),
            lines("/nowhere"),
            lines("/metrics", right, "HEAD"),
            lines("/metrics"),
            lines("/", right, "PUT")
          ].join(""),
          ["200", "404", "200", "200", "405"]
        ],
        "sixteen scrapes": [lines("/metrics").repeat(16), Array.from({ length: 16 }, () => "200")],
        "large ones": [
          lines("/", `${right}A: ${"b".repeat(15_000)}\r\n`).repeat(12),
          Array.from({ length: 12 }, () => "200")
        ],
        "ones that announce an empty body": [
          lines("/", `${right}Content-Length: 0\r\n`).repeat(3),
          ["200", "200", "200"]
        ],
        "what is expected": [lines("/", `${right}Expect: tea\r\n`) + lines("/"), ["200", "200"]]
      }

      /** The same, after which the connection is closed. */
      const lastOnes: typeof pipelines = {
        "one with a body": [
          `${lines("/metrics") + lines("/", `${right}Content-Length: 5\r\n`, "POST")}hello${lines("/")}`,
          ["200", "405"]
        ],
        "one with a body in pieces": [
          lines("/metrics") +
            lines("/", `${right}Transfer-Encoding: chunked\r\n`) +
            "1\r\na\r\n".repeat(50_000) +
            lines("/"),
          ["200", "200"]
        ],
        "one with a large body": [
          lines("/") + lines("/metrics", `${right}Content-Length: 1000000\r\n`) + "x".repeat(1_000_000) + lines("/"),
          ["200", "200"]
        ],
        "one that is too large": [lines("/") + lines(`/${"a".repeat(20_000)}`), ["200", "431"]],
        "one with too many headers": [
          lines("/") + lines("/", right + Array.from({ length: 120 }, (_, index) => `A${index}: b\r\n`).join("")),
          ["200", "431"]
        ],
        "an invalid one": [`${lines("/metrics")}${lines("/")}what\r\n\r\n`, ["200", "200", "400"]]
      }

      it.scopedLive(`answers requests that come at once${over} in their order, and the next ones after them`, () =>
        Effect.gen(function* () {
          const tls = secured ? yield* certificate : undefined
          const options = { tls, authentication: { tokens, users: { prom: hashOf("right") } } }
          const { address } = yield* started(kind, options, { registry: someMetrics() })
          for (const [what, [text, expected]] of Object.entries({ ...pipelines, ...lastOnes })) {
            const each = yield* client(address.port, secured)
            each.socket.write(text)
            assert.deepStrictEqual(yield* each.answers(expected.length), expected, what)
            if (what in lastOnes) {
              yield* each.closed
              continue
            }
            each.socket.write(text)
            assert.deepStrictEqual(yield* each.answers(2 * expected.length), [...expected, ...expected], what)
          }
          // A password that is verified first.
          const first = yield* client(address.port, secured)
          first.socket.write(lines("/", `Authorization: ${basic("prom", "right").authorization}\r\n`).repeat(16))
          assert.deepStrictEqual(
            yield* first.answers(16),
            Array.from({ length: 16 }, () => "200")
          )
        })
      )

      it.scopedLive(`keeps serving after clients have reset their connections${over}, after any bytes`, () =>
        Effect.gen(function* () {
          const tls = secured ? yield* certificate : undefined
          const server = yield* started(kind, { tls, authentication: { tokens } }, { registry: someMetrics() })
          const starts = [right, wrong].flatMap((who) => [
            "GET /met",
            lines("/metrics", who),
            `${lines("/metrics", who)}hello`,
            lines("/metrics", `${who}Content-Length: 500000\r\n`, "POST") + "x".repeat(100_000),
            lines("/metrics", `${who}Transfer-Encoding: chunked\r\n`) + "1\r\na\r\n".repeat(20_000),
            lines("/metrics", `${who}Connection: Upgrade\r\nUpgrade: websocket\r\n`),
            `CONNECT localhost:443 HTTP/1.1\r\n${who}\r\nmore`,
            lines("/metrics", who).repeat(12)
          ])
          const after = [0, 1, 2, 5, 10, 20]
          const resets = starts.flatMap((start) => after.map((milliseconds) => [start, milliseconds] as const))
          yield* Effect.promise(() =>
            Promise.all(
              resets.map(async ([start, milliseconds]) => {
                const raw = connect({ port: server.address.port, host: "127.0.0.1" }).on("error", () => {})
                const socket = secured ? secureConnect({ socket: raw, rejectUnauthorized: false }) : raw
                socket.on("error", () => {})
                await new Promise((resolve) => socket.once(secured ? "secureConnect" : "connect", resolve))
                socket.write(start)
                await sleep(milliseconds)
                raw.resetAndDestroy()
              })
            )
          )
          const { status } = yield* get(server.url, { headers: bearer(token), ca: tls?.cert })
          assert.strictEqual(status, 200)
          const { body } = yield* get(server.url, { headers: bearer(token), ca: tls?.cert })
          assert.include(body, "effect_prometheus_scrapes_in_flight 1\n")
        })
      )

      it.scopedLive(
        `closes a connection${over} of which more waits than may, and answers one of which as much waits`,
        () =>
          Effect.gen(function* () {
            const tls = secured ? yield* certificate : undefined
            const { registry, shut } = gatedCollector()
            const users = { prom: hashOf("right", { ln: 14, r: 8, p: 2 }) }
            const { address, healthUrl } = yield* started(
              kind,
              { tls, authentication: { tokens, users } },
              { registry }
            )
            const guess = `Authorization: ${basic("prom", "wrong").authorization}\r\n`
            // Some 4 kB each with what is kept of a header beside its text, of 16 kB.
            const short = guess + Array.from({ length: 60 }, () => "A:b\r\n").join("")
            const rows: ReadonlyArray<readonly [headers: string, times: number, statuses: ReadonlyArray<string>]> = [
              [right, 16, Array.from({ length: 16 }, () => "200")],
              [right, 17, []],
              [guess, 16, ["401"]],
              [guess, 17, []],
              [short, 3, ["401"]],
              [short, 4, []]
            ]
            let others = 0
            for (const [headers, times, statuses] of rows) {
              // After it no other one is being verified.
              yield* eventually("a password has its turn", async () => {
                others += 1
                const { status } = await ask(healthUrl, { ca: tls?.cert, headers: basic("prom", `other ${others}`) })
                return status === 401
              })
              const slow = yield* shut
              const each = yield* client(address.port, secured)
              each.socket.write(lines("/metrics", headers).repeat(times))
              if (statuses.length === 0) yield* each.closed
              yield* slow.open
              yield* each.answers(statuses.length)
              if (headers !== right) yield* each.closed
              assert.deepStrictEqual(each.statuses(), statuses, `${times} times ${headers}`)
            }
          })
      )

      // Over TLS it depends on the machine how much of it Node.js has decrypted before.
      if (!secured) {
        it.scopedLive("does not read from a connection while two scrapes of it wait", () =>
          Effect.gen(function* () {
            const { registry, shut } = gatedCollector()
            const { address } = yield* started(kind, { authentication: { tokens } }, { registry })
            const slow = yield* shut
            const each = yield* client(address.port)
            each.socket.write(lines("/metrics").repeat(2))
            yield* eventually("both of them have come", async () => {
              const { values } = await (registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge).get()
              return values[0]?.value === 2
            })
            // Read at once, the seventeenth of all would close it.
            each.socket.write(lines("/", `${right}A: ${"b".repeat(15_000)}\r\n`).repeat(20))
            yield* Effect.sleep("100 millis")
            yield* slow.open
            const expected = Array.from({ length: 22 }, () => "200")
            assert.deepStrictEqual(yield* each.answers(expected.length), expected)
          })
        )
      }

      it.scopedLive(`answers what was asked${over} when it stops, and closes the connections`, () =>
        Effect.gen(function* () {
          const tls = secured ? yield* certificate : undefined
          const { registry, shut } = gatedCollector()
          const server = yield* stoppable(kind, { tls, authentication: { tokens } }, { registry })
          const slow = yield* shut
          const [piped, single] = [
            yield* client(server.address.port, secured),
            yield* client(server.address.port, secured)
          ]
          piped.socket.write(lines("/metrics").repeat(3))
          single.socket.write(lines("/metrics"))
          yield* slow.reached
          yield* eventually("all of them have come", async () => {
            const { values } = await (registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge).get()
            return values[0]?.value === 4
          })
          const stopping = yield* Effect.fork(server.stop)
          yield* eventually("it does not listen any more", () => isFree(server.address.port))
          yield* slow.open
          yield* piped.closed
          yield* single.closed
          assert.strictEqual(piped.statuses()[0], "200")
          assert.deepStrictEqual(single.statuses(), ["200"])
          yield* Fiber.join(stopping)
        })
      )

      it.scopedLive(
        `answers a client that ends its side after its requests${over}, and ends the connection with that`,
        () =>
          Effect.gen(function* () {
            const tls = secured ? yield* certificate : undefined
            const { registry, shut } = gatedCollector()
            const { address } = yield* started(kind, { tls, authentication: { tokens } }, { registry })
            const slow = yield* shut
            const rows: ReadonlyArray<readonly [text: string, statuses: ReadonlyArray<string>]> = [
              [lines("/metrics"), ["200"]],
              [lines("/metrics", right, "HEAD"), ["200"]],
              [lines("/metrics").repeat(5), Array.from({ length: 5 }, () => "200")],
              [lines("/metrics", wrong), ["401"]],
              [lines("/", `${right}Content-Length: 5\r\n`, "POST"), ["405"]],
              ["GET /", ["400"]],
              ["", []]
            ]
            const clients: Array<Client> = []
            for (const [text] of rows) {
              const each = yield* client(address.port, secured)
              each.socket.end(text)
              clients.push(each)
            }
            yield* slow.reached
            yield* slow.open
            for (const [index, each] of clients.entries()) {
              yield* each.closed
              assert.deepStrictEqual(each.statuses(), rows[index]?.[1], rows[index]?.[0])
            }
          })
      )
    }

    itInTime("keeps to its limits where a client has ended its side, and does not take its answer", function* () {
      const registry = someMetrics()
      const big = "x".repeat(20_000_000)
      new Gauge({ name: "big", help: big, registers: [registry] })
      const limits = { headersTimeout: "300 millis", requestTimeout: "300 millis", maxConnections: 1 } as const
      const server = yield* started(kind, limits, { registry })
      const reader = yield* client(server.address.port)
      reader.socket.pause()
      reader.socket.end(lines("/metrics"))
      const start = performance.now()
      yield* eventually("another one is let in", () =>
        ask(server.healthUrl).then(
          () => true,
          () => false
        )
      )
      assertWithin(performance.now() - start, 5_000)
    })

    it.scopedLive("closes a stranger that sends more than one request may have at once", () =>
      Effect.gen(function* () {
        const { address, url } = yield* started(kind, { authentication: { tokens } }, { registry: someMetrics() })
        const stranger = yield* client(address.port)
        stranger.socket.write(lines("/metrics", `${wrong}A: ${"b".repeat(15_000)}\r\n`).repeat(16))
        yield* stranger.closed
        assert.isBelow(stranger.statuses().length, 2)
        assert.strictEqual((yield* get(url, { headers: bearer(token) })).status, 200)
      })
    )
  })
}

/** The statuses that are recorded on a registry, in their order, and how many in each turn of the event loop. */
const recorded = (registry: ReturnType<typeof someMetrics>) => {
  const all: Array<string | undefined> = []
  const turns: Array<number> = []
  const { help, label, name } = ownMetrics.scrapes
  const counter = new Counter({ name, help, labelNames: [label], registers: [registry] })
  const inc = counter.inc.bind(counter) as (labels: Readonly<Record<string, string>>, by: number) => void
  let turn = 0
  Object.assign(counter, {
    inc: (labels: Readonly<Record<string, string>>, by = 1) => {
      inc(labels, by)
      if (by === 0) return
      all.push(labels[label])
      turns[turn] = (turns[turn] ?? 0) + 1
    }
  })
  const watching = Effect.acquireRelease(
    Effect.sync(() => {
      const watch = { next: setImmediate(() => {}) }
      const count = (): void => {
        turn += 1
        watch.next = setImmediate(count)
      }
      watch.next = setImmediate(count)
      return watch
    }),
    ({ next }) => Effect.sync(() => clearImmediate(next))
  )
  return { all, turns, watching }
}

/** A server that answers one scrape at a time, and is at one. */
const occupied = Effect.gen(function* () {
  const { registry, shut } = gatedCollector()
  const record = recorded(registry)
  const options = { authentication: { tokens }, maxScrapesInFlight: 1 }
  const { address } = yield* started(inThisThread, options, { registry })
  const slow = yield* shut
  const first = yield* client(address.port)
  first.socket.write(lines("/metrics"))
  yield* slow.reached
  return { address, slow, ...record }
})

const untilAllHaveCome = (): void =>
  excusedBlock(50, () => {
    for (const start = performance.now(); performance.now() - start < 50; );
  })

describe("a metrics server in this thread", () => {
  for (const [what, headers, status] of [
    ["that are refused", wrong, 401],
    // One of them is in flight.
    ["that are let in", right, 503]
  ] as const) {
    it.scopedLive(`begins at most sixteen requests ${what} in a turn of the event loop`, () =>
      Effect.gen(function* () {
        const { address, all, slow, turns, watching } = yield* occupied
        const clients = yield* Effect.replicateEffect(client(address.port), 200)
        yield* watching
        for (const { socket } of clients) socket.write(lines("/metrics", headers))
        untilAllHaveCome()
        for (const each of clients) assert.deepStrictEqual(yield* each.answers(1), [String(status)])
        assert.deepStrictEqual(
          all,
          clients.map(() => String(status))
        )
        assert.isAtMost(Math.max(...turns.filter((count) => count > 0)), 16)
        yield* slow.open
      })
    )
  }

  it.scopedLive("answers a request that is let in before those that came earlier and are not", () =>
    Effect.gen(function* () {
      const { address, all, slow } = yield* occupied
      const strangers = yield* Effect.replicateEffect(client(address.port), 200)
      const known = yield* client(address.port)
      for (const { socket } of strangers) socket.write(lines("/metrics", wrong))
      known.socket.write(lines("/metrics"))
      untilAllHaveCome()
      for (const each of [known, ...strangers]) yield* each.answers(1)
      assert.lengthOf(all, 201)
      // Some have had their turn when it is read.
      assert.isBelow(all.indexOf("503"), 100)
      yield* slow.open
    })
  )
})
