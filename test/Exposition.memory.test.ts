import { randomBytes } from "node:crypto"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { createServer, type ServerResponse } from "node:http"
import { connect, type Socket } from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import { connect as secureConnect } from "node:tls"
import { gunzipSync } from "node:zlib"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import * as fc from "fast-check"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import { acquire, release } from "../src/core/exposition/bufferPool.js"
import { Writer } from "../src/core/exposition/writer.js"
import * as Exposition from "../src/Exposition.js"
import { type MetricRegistry, Registry } from "../src/Registry.js"
import { arrivals } from "./support/blockedCollector.js"
import { certificate } from "./support/certificates.js"
import { contentTypes, formats, logged, metric, renderedOnce } from "./support/expositions.js"
import { type AskOptions, ask, eventually, get, requestLines } from "./support/httpClient.js"
import { listen } from "./support/listen.js"
import { type Mount, mounts } from "./support/mounts.js"
import { withoutDirectRead } from "./support/readPaths.js"
import { Application, anyOperations } from "./support/registryOperations.js"
import { inPatientWorker, inThisThread, started } from "./support/servers.js"
import { assertInTime, itInTime, patience } from "./support/timing.js"

const kilobyte = 1_000
const megabyte = 1_000_000

/** More than the system takes in for a connection that does not read (some 4 MB with Linux). */
const fillers = 5

interface Numbers {
  readonly registry: PromRegistry
  /** From now on they are other ones, and take more or less room than before. */
  readonly change: () => void
  /** How often they were collected, which takes a turn of the event loop. */
  readonly collected: () => number
  /** From now on collecting them waits until it is called. */
  readonly shut: () => () => void
}

/** Numbers whose exposition has about so many bytes, and still half of them when it is compressed. */
const numbers = (bytes: number): Numbers => {
  const registry = new PromRegistry()
  const options = { help: "h", registers: [registry] }
  const level = new Gauge({ ...options, name: "level", labelNames: ["place"] })
  const labels = Array.from({ length: bytes / kilobyte }, () => ({ place: randomBytes(488).toString("hex") }))
  let opened = Promise.resolve()
  let collected = 0
  new Gauge({
    ...options,
    name: "gate",
    async collect() {
      collected += 1
      await opened
      await nextTurn()
    }
  })
  const turns = new Counter({ ...options, name: "turns_total" })
  let turn = 0
  const change = (): void => {
    turn += 1
    turns.inc()
    for (const [at, each] of labels.entries()) level.set(each, turn * 7_919 ** (1 + (turn % 3)) + at)
  }
  change()
  const shut = () => {
    let open = () => {}
    opened = new Promise((resolve) => {
      open = resolve
    })
    return () => open()
  }
  return { registry, change, collected: () => collected, shut }
}

/** What is right at this moment, written into memory that has nothing to do with that of the registry. */
const right = (registry: MetricRegistry, options?: Exposition.RenderOptions): Effect.Effect<Buffer> =>
  renderedOnce(withoutDirectRead(registry), options).pipe(
    Effect.map(({ bytes }) => Buffer.from(bytes)),
    Effect.orDie
  )

/** Without a comparison of megabytes, if they are not. */
const assertSame = (bytes: Uint8Array, expected: Uint8Array): void => {
  if (Buffer.compare(bytes, expected) === 0) return
  const at = bytes.findIndex((byte, place) => byte !== expected[place])
  const part = (of: Uint8Array): string => Buffer.from(of.subarray(Math.max(0, at - 40), at + 40)).toString()
  assert.fail(`${bytes.length} bytes for ${expected.length}: "${part(bytes)}" instead of "${part(expected)}"`)
}

const openMetrics = { headers: { accept: contentTypes.openmetrics } }
const withGzip = { headers: { "accept-encoding": "gzip" } }

/** Asks in several ways, one after the other, and each answer is right. */
const assertRight = (url: string, registry: MetricRegistry, options: AskOptions = {}): Effect.Effect<void> =>
  Effect.gen(function* () {
    const plain = yield* get(url, options)
    assertSame(plain.bytes, yield* right(registry))
    const zipped = yield* get(url, { ...options, ...withGzip })
    assertSame(gunzipSync(zipped.bytes), plain.bytes)
    const other = yield* get(url, { ...options, ...openMetrics })
    assertSame(other.bytes, yield* right(registry, { accept: contentTypes.openmetrics }))
  })

/** Whether there is memory that can be used again. It is taken. */
const hasSpare = (registry: MetricRegistry): boolean => acquire(registry) !== undefined

/** The memory that can be used again, once there is some. It is taken. */
const spareOf = (registry: MetricRegistry): Effect.Effect<Writer> =>
  Effect.gen(function* () {
    let writer: Writer | undefined
    yield* eventually("the memory can be used again", async () => {
      writer ??= acquire(registry)
      return writer !== undefined
    })
    return writer as Writer
  })

/** More of the event loop than it takes to go on after what is waited for. */
const someTurns = Effect.promise(async () => {
  for (let turn = 0; turn < 10; turn += 1) await nextTurn()
})

const channel = "http.server.request.start"

/** The responses of servers in this thread from now on. */
const watched: Effect.Effect<ReadonlyArray<ServerResponse>, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const responses: Array<ServerResponse> = []
      const listener = (message: unknown): void => {
        responses.push((message as { readonly response: ServerResponse }).response)
      }
      subscribe(channel, listener)
      return { listener, responses }
    }),
    ({ listener }) => Effect.sync(() => unsubscribe(channel, listener))
  ),
  ({ responses }) => responses
)

/** Waits until so many of them are answered: later changes do not affect them. */
const answered = (responses: ReadonlyArray<ServerResponse>, count: number): Effect.Effect<void> =>
  eventually(`${count} answers`, async () => {
    return responses.length === count && responses.every(({ writableEnded }) => writableEnded)
  })

/** Sends so many requests, and waits until they are answered. */
const allAnswered = (connection: Socket, requests: string, count: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const responses = yield* watched
      connection.write(requests)
      yield* answered(responses, count)
      return responses
    })
  )

/** Waits until everything is sent, and all callbacks have run. */
const sent = (responses: ReadonlyArray<ServerResponse>): Effect.Effect<void> =>
  Effect.zipRight(
    eventually("all of the answers", async () => responses.every(({ writableFinished }) => writableFinished)),
    someTurns
  )

const unsent = (responses: ReadonlyArray<ServerResponse>): number =>
  responses.filter(({ writableFinished }) => !writableFinished).length

/** A connection that reads nothing until it is resumed. */
const slowConnection = (port: number, ca?: string): Effect.Effect<Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Socket>((resume) => {
      const connected = (): void => {
        socket.pause()
        resume(Effect.succeed(socket))
      }
      const to = { port, host: "127.0.0.1" }
      const socket = ca === undefined ? connect(to, connected) : secureConnect({ ...to, ca }, connected)
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** All that comes until the server ends the connection: the bodies of the answers, uncompressed. */
const bodiesOf = (socket: Socket): Effect.Effect<ReadonlyArray<Buffer>> =>
  Effect.promise(async () => {
    const parts: Array<Buffer> = []
    socket.setTimeout(patience, () => socket.destroy(new Error("no more came")))
    for await (const part of socket) parts.push(part)
    const all = Buffer.concat(parts)
    const bodies: Array<Buffer> = []
    for (let start = 0; start < all.length; ) {
      const body = all.indexOf("\r\n\r\n", start) + 4
      const head = all.toString("latin1", start, body)
      assert.match(head, /^HTTP\/1\.1 200 OK\r\n/)
      const [, length] = /^content-length: (\d+)\r$/im.exec(head) ?? []
      start = body + Number(length)
      const sent = all.subarray(body, start)
      bodies.push(/^content-encoding: gzip\r$/im.test(head) ? gunzipSync(sent) : sent)
    }
    return bodies
  })

const acceptOpenMetrics = `accept: ${contentTypes.openmetrics}\r\n`
const last = "connection: close\r\n"

/** More than a connection takes, and then plain text, which waits for its turn. */
const slowRequests = requestLines("/metrics", acceptOpenMetrics).repeat(fillers) + requestLines("/metrics", last)

/** A server of the library for numbers whose memory is used again, and is free for the next to ask. */
const serving = (made: Numbers, tls?: { readonly key: string; readonly cert: string }) =>
  Effect.gen(function* () {
    const server = yield* started(
      inThisThread,
      { onError: "fail", selfMetrics: false, ...(tls && { tls }) },
      { registry: made.registry }
    )
    const options = tls === undefined ? {} : { ca: tls.cert }
    // Once to learn how much it takes, and once more with that much.
    for (let time = 0; time < 2; time += 1) yield* get(server.url, options)
    release(made.registry, yield* spareOf(made.registry))
    return { url: server.url, port: server.address.port, options }
  })

const ownServer: Mount = {
  name: "a metrics server",
  start: (registry, options) =>
    Effect.map(
      Effect.orDie(started(inThisThread, options, { registry: registry as PromRegistry })),
      ({ address }) =>
        (target, options) =>
          get(`http://127.0.0.1:${address.port}${target}`, options)
    )
}

const ways: ReadonlyArray<{ readonly how: string; readonly options: AskOptions; readonly isCompressed: boolean }> = [
  { how: "as it is", options: {}, isCompressed: false },
  { how: "to HEAD", options: { method: "HEAD" }, isCompressed: false },
  { how: "with gzip", options: withGzip, isCompressed: true },
  { how: "with gzip to HEAD", options: { method: "HEAD", ...withGzip }, isCompressed: true }
]

describe("The memory of an exposition", () => {
  for (const { name, start } of [...mounts, ownServer]) {
    for (const { how, isCompressed, options } of ways) {
      if (isCompressed || name === ownServer.name || name === "webHandler") {
        it.scopedLive(`is used again after an answer ${how} by ${name}`, () =>
          Effect.gen(function* () {
            const { registry } = numbers(10 * kilobyte)
            const ask = yield* start(registry, { selfMetrics: false })
            yield* ask("/metrics", options)
            const writer = yield* spareOf(registry)
            release(registry, writer)
            yield* ask("/metrics", options)
            assert.isTrue((yield* spareOf(registry)) === writer)
          })
        )
      } else {
        it.scopedLive(`is not used again after an answer ${how} by ${name}, which an application may keep`, () =>
          Effect.gen(function* () {
            const { registry } = numbers(10 * kilobyte)
            const ask = yield* start(registry, { selfMetrics: false })
            const responses = yield* watched
            for (let time = 0; time < 2; time += 1) yield* ask("/metrics", options)
            yield* sent(responses)
            assert.isFalse(hasSpare(registry))
          })
        )
      }
    }
  }

  it.scopedLive("is not used again above 4 MiB", () =>
    Effect.gen(function* () {
      const { registry } = numbers(4_300 * kilobyte)
      const server = yield* started(inThisThread, { selfMetrics: false }, { registry })
      const handler = yield* Effect.provideService(Exposition.webHandler({ selfMetrics: false }), Registry, registry)
      const responses = yield* watched
      for (let time = 0; time < 2; time += 1) {
        for (const options of [{}, withGzip]) yield* get(server.url, options)
        yield* Effect.promise(() => handler(new Request("http://localhost/metrics")))
        yield* sent(responses)
        assert.isFalse(hasSpare(registry))
      }
      release(registry, new Writer(4 * 1_024 ** 2 + 1))
      assert.isFalse(hasSpare(registry))
      release(registry, new Writer(4 * 1_024 ** 2))
      assert.isTrue(hasSpare(registry))
    })
  )

  it.scopedLive("is used by one after the other: of two at once the registry keeps one", () =>
    Effect.gen(function* () {
      const { registry } = numbers(10 * kilobyte)
      const server = yield* started(inThisThread, { selfMetrics: false }, { registry })
      const responses = yield* watched
      yield* Effect.all([get(server.url), get(server.url, openMetrics)], { concurrency: "unbounded" })
      yield* sent(responses)
      assert.isFalse(hasSpare(numbers(kilobyte).registry))
      assert.isTrue(hasSpare(registry))
      assert.isFalse(hasSpare(registry))
      for (const [one, other] of [
        [100, 200],
        [200, 100]
      ] as const) {
        for (const capacity of [one, other]) release(registry, new Writer(capacity))
        assert.strictEqual((yield* spareOf(registry)).capacity, 200)
      }
    })
  )

  it.scopedLive("is not that of two who ask for different things at once", () =>
    Effect.gen(function* () {
      const made = numbers(50 * kilobyte)
      const { url } = yield* serving(made)
      const asks = [undefined, ["gate", "level"], ["level"]].flatMap((names) =>
        [{}, openMetrics, withGzip].map((options) => ({ names, options }))
      )
      for (let round = 0; round < 5; round += 1) {
        made.change()
        const before = made.collected()
        const open = made.shut()
        const arrived = yield* arrivals
        const asked = yield* Effect.fork(
          Effect.all(
            asks.map(({ names = [], options }) =>
              get(`${url}?${names.map((name) => `name[]=${name}`).join("&")}`, options)
            ),
            { concurrency: "unbounded" }
          )
        )
        yield* arrived(asks.length)
        yield* eventually("they wait", async () => made.collected() > before)
        open()
        const answers = yield* Fiber.join(asked)
        for (const [at, { names, options }] of asks.entries()) {
          const { bytes = Buffer.of() } = answers[at] ?? {}
          const accept = options === openMetrics ? contentTypes.openmetrics : contentTypes.text
          assertSame(options === withGzip ? gunzipSync(bytes) : bytes, yield* right(made.registry, { names, accept }))
        }
      }
    })
  )

  it.scopedLive("is never used again when Exposition.render has given it out", () =>
    Effect.gen(function* () {
      const made = numbers(50 * kilobyte)
      const { registry } = made
      const { url } = yield* serving(made)
      const kept: Array<readonly [exposition: Exposition.Exposition, expected: Buffer]> = []
      for (let round = 0; round < 5; round += 1) {
        made.change()
        for (const accept of [contentTypes.text, contentTypes.openmetrics]) {
          const exposition = yield* renderedOnce(registry, { accept })
          kept.push([exposition, yield* right(registry, { accept })])
          const spare = acquire(registry)
          assert.isFalse(spare?.bytes().buffer === exposition.bytes.buffer)
          if (spare !== undefined) release(registry, spare)
        }
        yield* assertRight(url, registry)
      }
      for (const [{ body, bytes }, expected] of kept) {
        assertSame(bytes, expected)
        assertSame(Buffer.from(body), expected)
      }
    })
  )

  it.scopedLive("is not held by a small one that Exposition.render gives out, nor taken from the next scrape", () =>
    Effect.gen(function* () {
      const made = numbers(megabyte)
      yield* serving(made)
      const { bytes } = yield* renderedOnce(made.registry, { names: ["turns_total"] })
      assert.isBelow(bytes.buffer.byteLength, kilobyte)
      assert.isTrue(hasSpare(made.registry))
    })
  )

  it.scopedLive("is not used again under what an application keeps of its answers", () =>
    Effect.gen(function* () {
      const made = numbers(50 * kilobyte)
      const { registry } = made
      const { url } = yield* serving(made)
      const provided = Effect.provideService(Registry, registry)
      const listener = yield* provided(Exposition.nodeListener({ selfMetrics: false }))
      const handler = yield* provided(Exposition.webHandler({ selfMetrics: false }))
      let cached: unknown
      const caching = createServer((request, response) => {
        const end = response.end.bind(response)
        response.end = ((body: unknown) => {
          cached = body
          return end(body)
        }) as typeof response.end
        listener(request, response)
      })
      const port = yield* listen(caching)
      const request = new Request("http://localhost/metrics")
      const asks = [
        get(`http://127.0.0.1:${port}/`).pipe(Effect.map(() => cached)),
        Exposition.httpApp({ selfMetrics: false }).pipe(
          Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
          provided,
          Effect.map(({ body }) => (body._tag === "Uint8Array" ? body.body : undefined))
        ),
        Effect.promise(() => handler(request))
      ]
      const kept: Array<readonly [body: unknown, expected: Buffer]> = []
      for (let round = 0; round < 3; round += 1) {
        for (const ask of asks) {
          kept.push([yield* ask, yield* right(registry)])
          made.change()
          yield* assertRight(url, registry)
        }
      }
      for (const [body, expected] of kept) {
        const bytes = body instanceof Response ? yield* Effect.promise(() => body.arrayBuffer()) : body
        assertSame(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : (bytes as Uint8Array), expected)
      }
    })
  )

  it.scopedLive("has nothing of a scrape that failed, or of a family that failed half way", () =>
    logged(function* () {
      const made = numbers(50 * kilobyte)
      const { registry } = made
      let fails = false
      const given = metric("given", "gauge", [{ value: 1 }, { value: 2 }]) as { get: () => Promise<object> }
      const unreadable = Object.defineProperty({}, "value", {
        get: () => {
          throw new Error("no value")
        }
      })
      const bad = [...Array.from({ length: 300 }, (_, value) => ({ labels: { value }, value })), unreadable]
      let how: () => Promise<object> = given.get
      registry.registerMetric({ ...given, get: () => (fails ? how() : given.get()) } as never)
      const { url } = yield* serving(made)
      const lenient = yield* started(inThisThread, { selfMetrics: false }, { registry })
      for (const failing of [
        () => Promise.reject(new Error("no numbers")),
        async () => ({ ...(await given.get()), values: bad })
      ]) {
        how = failing
        for (let round = 0; round < 3; round += 1) {
          made.change()
          fails = true
          for (const options of [{}, withGzip]) {
            assert.strictEqual((yield* get(url, options)).status, 500)
          }
          release(registry, yield* spareOf(registry))
          const [some, again] = [yield* get(lenient.url), yield* get(lenient.url, withGzip)]
          fails = false
          for (const text of [some.body, gunzipSync(again.bytes).toString()]) {
            assert.notInclude(text, "given")
            assert.isTrue(text.startsWith("# HELP level h\n"))
            assert.strictEqual(text.match(/^# TYPE /gm)?.length, 4)
          }
          yield* assertRight(url, registry)
          yield* assertRight(lenient.url, registry)
        }
      }
    })
  )

  it.scopedLive("is not used again when it was transferred to a worker", () =>
    Effect.gen(function* () {
      const made = numbers(50 * kilobyte)
      const { registry } = made
      const { url } = yield* serving(made)
      const worker = yield* started(inPatientWorker, { selfMetrics: false }, { registry })
      for (let round = 0; round < 5; round += 1) {
        made.change()
        yield* assertRight(url, registry)
        release(registry, yield* spareOf(registry))
        const { bytes } = yield* get(worker.url)
        const expected = yield* right(registry)
        assertSame(bytes.subarray(0, expected.length), expected)
        const spare = acquire(registry)
        assert.isTrue(spare === undefined || spare.capacity > 0)
      }
      yield* assertRight(url, registry)
    })
  )
})

describe("Whoever reads slowly", () => {
  for (const scheme of ["http", "https"]) {
    it.scopedLive(`over ${scheme} gets the numbers of its own scrape, with others in between`, () =>
      Effect.gen(function* () {
        const made = numbers(3 * megabyte)
        const { registry } = made
        const tls = scheme === "https" ? yield* certificate : undefined
        const { options, port, url } = yield* serving(made, tls)
        const slow = yield* slowConnection(port, tls?.cert)
        const responses = yield* allAnswered(slow, slowRequests, fillers + 1)
        const expected = yield* right(registry, { accept: contentTypes.openmetrics })
        const expectedLast = yield* right(registry)
        for (let round = 0; round < 3; round += 1) {
          made.change()
          yield* assertRight(url, registry, options)
        }
        // The last of them in whole, and a part of the one before.
        assert.isAtLeast(unsent(responses), 2)
        assert.isBelow(slow.bytesRead, expected.length)
        const bodies = yield* bodiesOf(slow)
        assert.strictEqual(bodies.length, fillers + 1)
        for (const body of bodies.slice(0, -1)) assertSame(body, expected)
        assertSame(bodies.at(-1) as Buffer, expectedLast)
        yield* assertRight(url, registry, options)
      })
    )
  }

  const others: ReadonlyArray<{ readonly title: string; readonly goesAway: boolean }> = [
    { title: "one who is fast and one who wants it compressed", goesAway: false },
    { title: "others who go away in the middle of it", goesAway: true }
  ]
  for (const { goesAway, title } of others) {
    it.scopedLive(`shares the memory with ${title}, and is the last to need it`, () =>
      Effect.gen(function* () {
        const made = numbers(3 * megabyte)
        const { registry } = made
        const { port, url } = yield* serving(made)
        const slow = yield* slowConnection(port)
        const before = made.collected()
        const open = made.shut()
        const responses = yield* watched
        const arrived = yield* arrivals
        slow.write(slowRequests)
        const fast = yield* Effect.fork(
          Effect.all([get(url), get(url, withGzip), get(url, { method: "HEAD" })], { concurrency: "unbounded" })
        )
        const leaving = yield* Effect.forEach(goesAway ? [1, 2, 3] : [], () => slowConnection(port))
        for (const each of leaving) each.write(slowRequests)
        const count = (1 + leaving.length) * (fillers + 1) + 3
        yield* arrived(count)
        open()
        const [plain, zipped] = yield* Fiber.join(fast)
        yield* answered(responses, count)
        // Text and OpenMetrics, from one reading.
        assert.strictEqual(made.collected(), before + 1)
        const expected = yield* right(registry, { accept: contentTypes.openmetrics })
        const expectedLast = yield* right(registry)
        assertSame(plain.bytes, expectedLast)
        assertSame(gunzipSync(zipped.bytes), expectedLast)
        for (const each of leaving) each.destroy()
        const own = responses.filter(({ req }) => req.socket.remotePort === slow.localPort)
        assert.strictEqual(own.length, fillers + 1)
        yield* eventually("the others are done", async () =>
          responses.every((each) => own.includes(each) || each.closed || each.req.socket.destroyed)
        )
        yield* sent(responses.filter((each) => !own.includes(each) && !each.req.socket.destroyed))
        assert.isAtLeast(unsent(own), 2)
        assert.isFalse(hasSpare(registry))

        for (let round = 0; round < 3; round += 1) {
          made.change()
          yield* assertRight(url, registry)
        }
        assert.isAtLeast(unsent(own), 2)
        yield* spareOf(registry)

        const bodies = yield* bodiesOf(slow)
        assert.strictEqual(bodies.length, fillers + 1)
        for (const body of bodies.slice(0, -1)) assertSame(body, expected)
        assertSame(bodies.at(-1) as Buffer, expectedLast)
        // Answers that were not begun to be sent before their client went away are never said to be done.
        if (!goesAway) yield* spareOf(registry)
      })
    )
  }

  itInTime("or wants it compressed keeps the memory until it is", function* () {
    const made = numbers(3 * megabyte)
    const { registry } = made
    const { url } = yield* serving(made)
    let meanwhile = 0
    for (let round = 0; round < 4; round += 1) {
      made.change()
      const expected = yield* right(registry)
      const before = made.collected()
      const responses = yield* watched
      const zipped = yield* Effect.fork(get(url, withGzip))
      yield* eventually("it is collected", async () => made.collected() > before)
      yield* someTurns
      made.change()
      const { bytes } = yield* get(url, openMetrics)
      if (!responses[0]?.writableEnded) meanwhile += 1
      assertSame(bytes, yield* right(registry, { accept: contentTypes.openmetrics }))
      assertSame(gunzipSync((yield* Fiber.join(zipped)).bytes), expected)
    }
    // The other scrape is the faster one, unless something else keeps this thread.
    assertInTime(meanwhile > 0, "the other scrape was never the faster one")
  })
})

describe("A scrape is right", () => {
  it.scopedLive("after clients that have gone away in the middle of their answers", () =>
    Effect.gen(function* () {
      const made = numbers(2 * megabyte)
      const { registry } = made
      const { port, url } = yield* serving(made)
      for (let round = 0; round < 20; round += 1) {
        made.change()
        const responses = yield* watched
        const leaving = yield* slowConnection(port)
        // Before they are answered, so that others share them; as soon as they are; and when some of it is read.
        const open = round % 3 === 0 ? made.shut() : () => {}
        leaving.write(slowRequests)
        if (round % 3 === 0) yield* eventually("they are asked", async () => responses.length === fillers + 1)
        else yield* answered(responses, fillers + 1)
        if (round % 3 === 2) {
          yield* Effect.async<void>((resume) => {
            leaving.once("data", () => resume(Effect.void))
            leaving.resume()
          })
          assert.isAtLeast(unsent(responses), 1)
        }
        leaving.destroy()
        const asked = yield* Effect.fork(Effect.all([get(url), get(url, openMetrics)], { concurrency: "unbounded" }))
        yield* eventually("others ask", async () => responses.length === fillers + 3)
        open()
        const [one, two] = yield* Fiber.join(asked)
        assertSame(one.bytes, yield* right(registry))
        assertSame(two.bytes, yield* right(registry, { accept: contentTypes.openmetrics }))
      }
    })
  )

  it.scopedLive("also for those who ask for many at once on one connection", () =>
    Effect.gen(function* () {
      const made = numbers(megabyte)
      const { registry } = made
      const { port, url } = yield* serving(made)
      const zip = "accept-encoding: gzip\r\n"
      const targets = ["/metrics", "/metrics?name[]=level", "/metrics?name[]=turns_total&name[]=gate"]
      const kinds = ["", zip, acceptOpenMetrics, `${zip}${acceptOpenMetrics}`]
      const asks = targets.flatMap((target) => kinds.map((headers) => ({ target, headers })))
      for (let first = 0; first < asks.length; first += 5) {
        made.change()
        const connection = yield* slowConnection(port)
        const turned = [...asks.slice(first), ...asks.slice(0, first), { target: "/metrics", headers: last }]
        const lines = turned.map(({ headers, target }) => requestLines(target, headers))
        const responses = yield* allAnswered(connection, lines.join(""), turned.length)
        const expected = yield* Effect.forEach(turned, ({ headers, target }) => {
          const names = new URL(target, "http://localhost").searchParams.getAll("name[]")
          return right(registry, {
            ...(headers.includes(acceptOpenMetrics) && { accept: contentTypes.openmetrics }),
            ...(names.length > 0 && { names })
          })
        })
        made.change()
        yield* assertRight(url, registry)
        assert.isAtLeast(unsent(responses), 1)
        const bodies = yield* bodiesOf(connection)
        assert.strictEqual(bodies.length, turned.length)
        for (const [at, body] of bodies.entries()) assertSame(body, expected[at] as Buffer)
      }
    })
  )

  const anyScrape = fc.record({
    format: fc.constantFrom(...formats),
    isCompressed: fc.boolean(),
    names: fc.option(
      fc.subarray(["counted_total", "level", "run_seconds", "padded", "late", "nothing"], { minLength: 1 }),
      { nil: undefined }
    )
  })

  const anyRounds = fc.array(
    fc.record({
      changes: anyOperations.map((changes) => changes.flatMap((change) => (change.does === "render" ? [] : [change]))),
      atOnce: fc.array(anyScrape, { minLength: 1, maxLength: 3 })
    }),
    { minLength: 2, maxLength: 8, size: "max" }
  )

  it("after any changes and scrapes, and beside any concurrent scrapes", () =>
    fc.assert(
      fc.asyncProperty(anyRounds, (rounds) =>
        Effect.runPromise(
          Effect.scoped(
            Effect.gen(function* () {
              const application = new Application()
              const { registry } = application
              const options = { help: "-".repeat(1_024), registers: [registry] }
              new Gauge({ ...options, name: "padded" })
              new Gauge({ ...options, name: "late", collect: () => nextTurn() })
              const { url } = yield* started(inThisThread, { selfMetrics: false }, { registry })
              for (const { atOnce, changes } of rounds) {
                for (const change of changes) application.apply(change)
                const answers = yield* Effect.promise(() =>
                  Promise.all(
                    atOnce.map(({ format, isCompressed, names = [] }) =>
                      ask(`${url}?${names.map((name) => `name[]=${name}`).join("&")}`, {
                        headers: { accept: contentTypes[format], ...(isCompressed && withGzip.headers) }
                      })
                    )
                  )
                )
                for (const [at, { format, names }] of atOnce.entries()) {
                  const { bytes = Buffer.of(), headers } = answers[at] ?? {}
                  const plain = headers?.["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes
                  const expected = yield* right(registry, { names, accept: contentTypes[format] })
                  assert.strictEqual(plain.toString(), expected.toString())
                }
              }
            })
          )
        )
      ),
      { seed: Number(process.env["FAST_CHECK_SEED"] ?? 20_260_101), numRuns: 30 }
    ))
})
