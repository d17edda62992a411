import { setImmediate as nextTurn } from "node:timers/promises"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Gauge, Registry as PromRegistry } from "prom-client"
import { arrivals, type BlockedCollector, blockedCollector } from "./support/blockedCollector.js"
import { parseText } from "./support/expositionParser.js"
import { contentTypes, logged } from "./support/expositions.js"
import { type AskOptions, eventually, get, rawConnection, requestLines } from "./support/httpClient.js"
import { errors } from "./support/metrics.js"
import { type Answer, type Ask, type Mount, mounts } from "./support/mounts.js"
import { inPatientWorker, inThisThread, serverKinds, started } from "./support/servers.js"

const served: ReadonlyArray<Mount> = [
  ...mounts,
  {
    name: "a metrics server in this thread",
    start: (registry) =>
      Effect.map(
        Effect.orDie(
          started(inThisThread, { onError: "fail", selfMetrics: false }, { registry: registry as PromRegistry })
        ),
        ({ address }): Ask =>
          (target, options) =>
            get(`http://127.0.0.1:${address.port}${target}`, options)
      )
  }
]

type Request = readonly [target: string, options?: AskOptions]

/** The answers to requests all of which wait for the registry at the same time. */
const together = (
  asks: ReadonlyArray<readonly [ask: Ask, ...request: Request]>,
  { open, reached }: BlockedCollector,
  arriving = asks.length
) =>
  Effect.gen(function* () {
    const arrived = yield* arrivals
    const answers = yield* Effect.fork(
      Effect.all(
        asks.map(([ask, target, options]) => ask(target, options)),
        { concurrency: "unbounded" }
      )
    )
    yield* reached
    yield* arrived(arriving)
    yield* open
    return yield* Fiber.join(answers)
  })

const text = ({ bytes }: Answer): string => bytes.toString()

const familiesIn = (answer: Answer): ReadonlyArray<string> =>
  [...text(answer).matchAll(/^# TYPE (\S+)/gm)].map(([, name = ""]) => name)

const openMetrics = { headers: { accept: contentTypes.openmetrics } }
const withGzip = { headers: { "accept-encoding": "gzip" } }

interface Case {
  readonly title: string
  readonly requests: ReadonlyArray<Request>
  readonly fails?: boolean
  readonly check: (answers: ReadonlyArray<Answer>, held: BlockedCollector, ask: Ask) => Effect.Effect<void>
}

const statuses = (answers: ReadonlyArray<Answer>) => answers.map(({ status }) => status)

const cases: ReadonlyArray<Case> = [
  {
    title: "collect once, and get the same bytes; those who ask afterwards get new ones",
    requests: Array.from({ length: 5 }, () => ["/metrics"]),
    check: ([first, ...others], { collected }, ask) =>
      Effect.gen(function* () {
        assert.strictEqual(collected(), 1)
        assert.include(text(first as Answer), "\nheld 1\n")
        for (const { bytes } of others) assert.deepStrictEqual(bytes, first?.bytes)
        assert.include(text(yield* ask("/metrics")), "\nheld 2\n")
        assert.strictEqual(collected(), 2)
      })
  },
  {
    title: "collect once, whether they want a body, want it compressed, or say more of what they accept",
    requests: [
      ["/metrics"],
      ["/metrics", { method: "HEAD" }],
      ["/metrics", withGzip],
      ["/metrics?other=query", { headers: { accept: "text/plain" } }],
      ["/metrics", { method: "HEAD", ...withGzip }]
    ],
    check: ([plain, head, zipped, other, zippedHead], { collected }) =>
      Effect.sync(() => {
        assert.strictEqual(collected(), 1)
        assert.deepStrictEqual(other?.bytes, plain?.bytes)
        assert.deepStrictEqual(gunzipSync(zipped?.bytes ?? ""), plain?.bytes)
        for (const [without, whole] of [[head, plain] as const, [zippedHead, zipped] as const]) {
          assert.strictEqual(without?.bytes.byteLength, 0)
          assert.strictEqual(without?.headers["content-length"], String(whole?.bytes.byteLength))
        }
      })
  },
  {
    title: "collect once, and get each the format and the families that they ask for",
    requests: [
      ["/metrics"],
      ["/metrics", openMetrics],
      ["/metrics?name[]=held"],
      ["/metrics?name[]=held", openMetrics],
      ["/metrics?name[]=held&name[]=padded"]
    ],
    check: (answers, { collected }) =>
      Effect.sync(() => {
        assert.strictEqual(collected(), 1)
        const all = ["padded", "held", "effect_prometheus_errors_total"]
        const inOpenMetrics = [...all.slice(0, 2), "effect_prometheus_errors"]
        assert.deepStrictEqual(answers.map(familiesIn), [all, inOpenMetrics, ["held"], ["held"], ["padded", "held"]])
        assert.deepStrictEqual(
          answers.map((answer) => text(answer).endsWith("# EOF\n")),
          [false, true, false, true, false]
        )
      })
  },
  {
    title: "collect once, in whichever order and however often they name what they want",
    requests: [
      ["/metrics?name[]=held&name[]=padded"],
      ["/metrics?name[]=padded&name[]=held"],
      ["/metrics?name[]=padded&name[]=held&name[]=padded"]
    ],
    check: ([first, ...others], { collected }) =>
      Effect.sync(() => {
        assert.strictEqual(collected(), 1)
        assert.deepStrictEqual(familiesIn(first as Answer), ["padded", "held"])
        for (const { bytes } of others) assert.deepStrictEqual(bytes, first?.bytes)
      })
  },
  {
    title: "all get a failure, which is counted once; the next one may succeed",
    requests: Array.from({ length: 5 }, () => ["/metrics"]),
    fails: true,
    check: (answers, made, ask) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(statuses(answers), [500, 500, 500, 500, 500])
        assert.deepStrictEqual(yield* Effect.promise(() => errors(made.registry)), { collect: 1 })
        made.fails = false
        const next = yield* ask("/metrics")
        assert.strictEqual(next.status, 200)
        assert.include(text(next), "\nheld 2\n")
      })
  }
]

/** How many of the requests come to a server. */
const arrivingAt = ({ name }: Mount, requests: ReadonlyArray<unknown>): number =>
  name === "webHandler" ? 0 : requests.length

describe("Those who ask at the same time through", () => {
  for (const mount of served) {
    for (const { check, fails = false, requests, title } of cases) {
      it.scopedLive(`${mount.name} ${title}`, () =>
        logged(function* () {
          const made = yield* blockedCollector
          made.fails = fails
          const ask = yield* mount.start(made.registry, { onError: "fail", selfMetrics: false })
          const asks = requests.map((request) => [ask, ...request] as const)
          yield* check(yield* together(asks, made, arrivingAt(mount, requests)), made, ask)
        })
      )
    }
  }

  const mount = (name: string): Mount => served.find((each) => each.name === name) as Mount
  const node = mount("nodeListener in node:http")
  const web = mount("webHandler")

  it.scopedLive("different ways to one registry share as well", () =>
    Effect.gen(function* () {
      const made = yield* blockedCollector
      const asks = yield* Effect.forEach([node, web, ...served], ({ start }) => start(made.registry))
      const answers = yield* together(
        asks.map((ask) => [ask, "/metrics"] as const),
        made,
        asks.length - 2
      )
      assert.strictEqual(made.collected(), 1)
      for (const { bytes } of answers) assert.deepStrictEqual(bytes, answers[0]?.bytes)
    })
  )

  it.scopedLive("one handler that fails and one that continues share the failure, which is counted once", () =>
    logged(function* () {
      const made = yield* blockedCollector
      made.fails = true
      const failing = yield* web.start(made.registry, { onError: "fail" })
      const continuing = yield* web.start(made.registry)
      const requests = [failing, continuing, failing, continuing].map((ask) => [ask, "/metrics"] as const)
      assert.deepStrictEqual(statuses(yield* together(requests, made, 0)), [500, 200, 500, 200])
      assert.strictEqual(made.collected(), 1)
      assert.deepStrictEqual(yield* Effect.promise(() => errors(made.registry)), { collect: 1 })
    })
  )

  it.scopedLive("one handler to two registries share nothing", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* blockedCollector, yield* blockedCollector]
      const asks = yield* Effect.forEach([one, two], ({ registry }) => web.start(registry))
      yield* two.open
      const answers = yield* together(
        asks.map((ask) => [ask, "/metrics"] as const),
        one,
        0
      )
      assert.deepStrictEqual([one.collected(), two.collected()], [1, 1])
      assert.deepStrictEqual(statuses(answers), [200, 200])
    })
  )

  for (const kind of serverKinds) {
    it.scopedLive(`one connection to a metrics server ${kind.name} collect once`, () =>
      Effect.gen(function* () {
        const { collected, open, registry } = yield* blockedCollector
        yield* open
        const server = yield* started(kind, {}, { registry })
        // A worker has asked for a first exposition already.
        const before = collected()
        const connection = yield* rawConnection(server.address.port)
        connection.send(requestLines("/metrics").repeat(5))
        const received = yield* connection.received((text) => text.split("\nheld ").length === 6)
        assert.strictEqual(collected(), before + 1)
        assert.strictEqual(received.split(`\nheld ${before + 1}\n`).length, 6)
      })
    )
  }

  it.scopedLive("several connections to a metrics server in a worker thread collect once", () =>
    Effect.gen(function* () {
      const { collected, open, registry } = yield* blockedCollector
      const server = yield* started(inPatientWorker, {}, { registry })
      const before = collected()
      const connections = yield* Effect.replicateEffect(rawConnection(server.address.port), 3)
      for (const { received, send } of connections) {
        send(requestLines("/"))
        yield* received((text) => text.endsWith("</html>\n"))
      }
      for (const { send } of connections) send(requestLines("/metrics"))
      yield* eventually("this thread knows of all three", async () => {
        const { values } = await (registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge).get()
        return values[0]?.value === connections.length
      })
      // It reads for them in its next turns.
      for (let turn = 0; turn < 3; turn += 1) yield* Effect.promise(() => nextTurn())
      yield* open
      // They share the reading with the first exposition of the worker, which waits for it still.
      for (const { received } of connections) yield* received((text) => text.includes(`\nheld ${before}\n`))
      assert.strictEqual(collected(), before)
    })
  )

  it.scopedLive("a metrics server get their responses, also if others disconnect before", () =>
    Effect.gen(function* () {
      const { collected, open, reached, registry } = yield* blockedCollector
      const server = yield* started(inThisThread, { selfMetrics: false }, { registry })
      const arrived = yield* arrivals
      const first = yield* rawConnection(server.address.port)
      first.send(requestLines("/metrics"))
      yield* reached
      const others = yield* Effect.fork(
        Effect.all([get(server.url), get(server.url, withGzip)], { concurrency: "unbounded" })
      )
      const last = yield* rawConnection(server.address.port)
      last.send(requestLines("/metrics", "accept-encoding: gzip\r\n"))
      yield* arrived(4)
      for (const { closed, socket } of [first, last]) {
        socket.destroy()
        yield* closed
      }
      yield* open
      const [plain, zipped] = yield* Fiber.join(others)
      assert.strictEqual(collected(), 1)
      parseText(plain.body)
      assert.deepStrictEqual(gunzipSync(zipped.bytes), plain.bytes)
      assert.include((yield* get(server.url)).body, "\nheld 2\n")
    })
  )
})
