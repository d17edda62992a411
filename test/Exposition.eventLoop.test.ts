import { getEventListeners } from "node:events"
import { stat } from "node:fs"
import { createServer } from "node:http"
import type { Socket } from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Queue } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import { contentTypes } from "./support/expositions.js"
import { type AskOptions, eventually, get, rawConnection, requestLines } from "./support/httpClient.js"
import { listen } from "./support/listen.js"
import { inPatientWorker, serverKinds, started } from "./support/servers.js"

// A piece of work is over after five milliseconds.
const piece = 6

const busy = (): void => {
  for (const until = performance.now() + piece; performance.now() < until; );
}

/** Counts pieces of slow work, and the most of them that were done in one turn of the event loop. */
const countingTurns = Effect.acquireRelease(
  Effect.sync(() => {
    const made = { pieces: 0, most: 0, isOver: false, work: () => {} }
    let inThisTurn = 0
    made.work = () => {
      busy()
      made.pieces += 1
      inThisTurn += 1
      made.most = Math.max(made.most, inThisTurn)
    }
    const turning = async (): Promise<void> => {
      while (!made.isOver) {
        await nextTurn()
        inThisTurn = 0
      }
    }
    void turning()
    return made
  }),
  (made) =>
    Effect.sync(() => {
      made.isOver = true
    })
)

const families = ["one_total", "two_total", "three_total", "four_total"]

/** Counters each of which has labels that say slowly what they are: the first of every piece of 256 series. */
const slowLabels = (work: () => void): PromRegistry => {
  const registry = new PromRegistry()
  for (const name of families) {
    const counter = new Counter({ name, help: "h", labelNames: ["place"], registers: [registry] })
    for (let place = 0; place < 1_024; place += 1) {
      const slow = {
        toString: () => {
          work()
          return `slow ${place}`
        }
      }
      counter.inc({ place: (place % 256 === 0 ? slow : place) as never })
    }
  }
  return registry
}

const collectors =
  (collect: (work: () => void) => Promise<void> | void) =>
  (work: () => void): PromRegistry => {
    const registry = new PromRegistry()
    for (let place = 0; place < 8; place += 1) {
      new Gauge({
        name: `${families[place] ?? `collected_${place}`}`,
        help: "h",
        registers: [registry],
        collect: () => collect(work)
      })
    }
    return registry
  }

const slow: ReadonlyArray<{ readonly title: string; readonly make: (work: () => void) => PromRegistry }> = [
  { title: "labels that are slow", make: slowLabels },
  { title: "collectors that block", make: collectors((work) => work()) },
  {
    title: "asynchronous collectors that block at once",
    make: collectors(async (work) => {
      work()
    })
  },
  {
    title: "asynchronous collectors that block after a promise",
    make: collectors(async (work) => {
      await Promise.resolve()
      work()
    })
  },
  {
    title: "collectors that throw",
    make: collectors((work) => {
      work()
      throw new Error("no")
    })
  }
]

const openMetrics = { accept: contentTypes.openmetrics }

type Request = readonly [query: string, options?: AskOptions]

const many = (count: number, each: (index: number) => Request): ReadonlyArray<Request> =>
  Array.from({ length: count }, (_, index) => each(index))

const timeout = (seconds: number): AskOptions => ({
  headers: { "x-prometheus-scrape-timeout-seconds": String(seconds) }
})

const asks: ReadonlyArray<{ readonly title: string; readonly requests: ReadonlyArray<Request> }> = [
  { title: "one scrape", requests: [[""]] },
  { title: "24 that ask for the same", requests: many(24, () => [""]) },
  { title: "24 with a timeout of their own", requests: many(24, (index) => ["", timeout(20 + index / 10)]) },
  {
    title: "24 with names of which one is unknown",
    requests: many(24, (index) => [`?${families.map((name) => `name[]=${name}`).join("&")}&name[]=unknown_${index}`])
  },
  {
    title: "24 with different families",
    requests: many(24, (index) => [
      `?name[]=x${families.map((name, at) => ((index >> at) % 2 === 1 ? `&name[]=${name}` : "")).join("")}`
    ])
  },
  {
    title: "24 in two formats, some with gzip, some as HEAD",
    requests: many(24, (index) => [
      "",
      {
        method: index % 5 === 0 ? "HEAD" : "GET",
        headers: { ...(index % 2 === 0 ? openMetrics : {}), ...(index % 3 === 0 ? { "accept-encoding": "gzip" } : {}) }
      }
    ])
  }
]

describe("No turn of the event loop has more than a piece of the work", () => {
  for (const kind of serverKinds) {
    for (const { make, title } of slow) {
      for (const { requests, title: asked } of asks) {
        it.scopedLive(`for ${asked}, with ${title}, from a server ${kind.name}`, () =>
          Effect.gen(function* () {
            const turns = yield* countingTurns
            const registry = make(() => turns.work())
            const server = yield* started(kind, { onError: "continue" }, { registry })
            yield* get(server.url)
            turns.pieces = 0
            turns.most = 0
            const answers = yield* Effect.all(
              requests.map(([query, options]) => get(`${server.url}${query}`, options)),
              { concurrency: "unbounded" }
            )
            for (const { status } of answers) assert.strictEqual(status, 200)
            if (make !== slowLabels) assert.isAbove(turns.pieces, 0)
            assert.isAtMost(turns.most, 1)
          })
        )
      }
    }
  }

  it.scopedLive("for 24 expositions that an application renders itself", () =>
    Effect.gen(function* () {
      const turns = yield* countingTurns
      const registry = slowLabels(() => turns.work())
      yield* Effect.promise(() => nextTurn())
      turns.pieces = 0
      turns.most = 0
      const rendered = Effect.provideService(Exposition.render(), Registry.Registry, registry)
      yield* Effect.all(
        Array.from({ length: 24 }, () => rendered),
        { concurrency: "unbounded" }
      )
      assert.isAbove(turns.pieces, 16)
      assert.isAtMost(turns.most, 1)
    })
  )

  const beginnings: Readonly<Record<string, (begin: () => void) => void>> = {
    "a file has answered": (begin) => stat("/", begin),
    "a timer is over": (begin) => setTimeout(begin, 1),
    "the turn ends": (begin) => setImmediate(begin),
    "a promise is fulfilled": (begin) => void Promise.resolve().then(begin)
  }
  /** Renders 16 pieces. Returns for each how often a timer was over before it, and when. */
  const visitsOf = (after: (begin: () => void) => void) =>
    Effect.gen(function* () {
      let visits = 0
      let timer: NodeJS.Timeout
      const visit = (): void => {
        visits += 1
        timer = setTimeout(visit, 0)
      }
      visit()
      yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(timer)))
      const pieces: Array<readonly [visits: number, at: number]> = []
      const registry = slowLabels(() => {
        busy()
        pieces.push([visits, Math.round(performance.now())])
      })
      // The client reads them as well, when they are counted.
      pieces.length = 0
      yield* Effect.async<void>((resume) => after(() => resume(Effect.void)))
      yield* Effect.provideService(Exposition.render(), Registry.Registry, registry)
      return pieces
    }).pipe(Effect.scoped)

  for (const [when, after] of Object.entries(beginnings)) {
    it.live(`and timers come between two pieces, where it begins when ${when}`, () =>
      Effect.gen(function* () {
        const attempts: Array<string> = []
        // On a busy machine a timer can be late once. What is wrong is wrong each time.
        while (attempts.length < 3) {
          const pieces = yield* visitsOf(after)
          assert.lengthOf(pieces, 16)
          if (new Set(pieces.map(([visits]) => visits)).size === 16) return
          attempts.push(pieces.map(([visits, at]) => `${visits} at ${at}`).join())
        }
        assert.fail(attempts.join("; "))
      })
    )
  }
})

/** A registry that counts how often it was rendered. */
const counted = () => {
  const registry = new PromRegistry()
  for (const name of families) new Counter({ name, help: "h", registers: [registry] }).inc()
  const made = { registry, renders: 0 }
  const metricsOf = registry.getMetricsAsArray.bind(registry)
  registry.getMetricsAsArray = () => {
    made.renders += 1
    return metricsOf()
  }
  return made
}

describe("One render answers", () => {
  for (const kind of serverKinds) {
    for (const { requests, title } of asks.slice(1)) {
      it.scopedLive(`${title}, on one connection to a server ${kind.name}`, () =>
        Effect.gen(function* () {
          const made = counted()
          const server = yield* started(kind, {}, { registry: made.registry })
          yield* get(server.url)
          made.renders = 0
          const pipelined = requests.slice(0, 14)
          const connection = yield* rawConnection(server.address.port)
          connection.send(
            pipelined
              .map(([query, { headers = {} } = {}]) => {
                const lines = Object.entries(headers).filter(([name]) => name !== "accept-encoding")
                return requestLines(`/metrics${query}`, lines.map(([name, value]) => `${name}: ${value}\r\n`).join(""))
              })
              .join("")
          )
          yield* connection.received((text) => text.split("HTTP/1.1 200 OK").length > pipelined.length)
          // One for each format.
          assert.isAtMost(made.renders, 2)
        })
      )
    }
  }

  it.scopedLive("each with the families, the format and the errors that it asked for", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      for (const name of families) new Counter({ name, help: "h", registers: [registry] }).inc()
      new Gauge({
        name: "broken",
        help: "h",
        registers: [registry],
        collect: () => {
          throw new Error("no")
        }
      })
      const server = yield* started(inPatientWorker, { onError: "fail" }, { registry })
      const subsets = Array.from({ length: 16 }, (_, bits) => families.filter((_, at) => (bits >> at) % 2 === 1))
      const answers = yield* Effect.all(
        subsets.flatMap((names) => {
          const query = `?name[]=x${names.map((name) => `&name[]=${name}`).join("")}`
          return [
            get(`${server.url}${query}`),
            get(`${server.url}${query}`, { headers: openMetrics }),
            get(`${server.url}${query}&name[]=broken`)
          ]
        }),
        { concurrency: "unbounded" }
      )
      for (const [index, names] of subsets.entries()) {
        const [text, open, failed] = answers.slice(3 * index)
        const samples = (body = ""): ReadonlyArray<string> =>
          body.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.includes("_age_seconds"))
        assert.deepStrictEqual(
          samples(text?.body),
          names.map((name) => `${name} 1`)
        )
        assert.deepStrictEqual(samples(open?.body), samples(text?.body))
        assert.isTrue(open?.body.endsWith("# EOF\n"))
        assert.strictEqual(failed?.status, 500)
        assert.strictEqual(failed?.body, "collecting broken failed\n")
      }
    })
  )
})

describe("Clients that leave", () => {
  for (const kind of serverKinds) {
    for (const where of ["", "?name[]=late", "?name[]=late&name[]=x"]) {
      it.scopedLive(`give back their places at once, having asked for /metrics${where} of a server ${kind.name}`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          let release = (): void => {}
          let isHeld = false
          let asked = 0
          new Gauge({
            name: "late",
            help: "h",
            registers: [registry],
            collect: async () => {
              if (!isHeld) return
              asked += 1
              await new Promise<void>((resolve) => {
                release = resolve
              })
            }
          })
          new Counter({ name: "quick_total", help: "h", registers: [registry] })
          const server = yield* started(kind, {}, { registry })
          isHeld = true
          const inFlight = (count: number) =>
            eventually(`${count} scrapes are in flight`, async () => {
              const { values } = await (registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge).get()
              return values[0]?.value === count
            })
          const bodies: ReadonlyArray<readonly [headers: string, body: string]> = [
            ["", ""],
            ["Content-Length: 5\r\n", "hello"],
            ["Transfer-Encoding: chunked\r\n", "1\r\n"]
          ]
          for (const [round, [headers, body]] of bodies.entries()) {
            const connections = yield* Effect.replicateEffect(rawConnection(server.address.port), 64)
            for (const { send } of connections) send(requestLines(`/metrics${where}`, headers) + body)
            yield* inFlight(64)
            assert.strictEqual((yield* get(`${server.url}?name[]=quick_total`)).status, 503)
            for (const { socket } of connections) socket.destroy()
            yield* inFlight(0)
            const { body: text, status } = yield* get(
              `${server.url}?name[]=quick_total&name[]=effect_prometheus_scrapes_total`
            )
            assert.strictEqual(status, 200)
            assert.include(text, `effect_prometheus_scrapes_total{code="499"} ${64 * (round + 1)}\n`)
          }
          // It hangs once, for any request.
          assert.strictEqual(asked, 1)
          isHeld = false
          release()
          assert.strictEqual((yield* get(server.url)).status, 200)
        })
      )
    }
  }

  it.scopedLive("end the work that is done for them alone, between two families", () =>
    Effect.gen(function* () {
      const turns = yield* countingTurns
      const registry = slowLabels(() => turns.work())
      const handler = yield* Effect.provideService(
        Exposition.webHandler({ selfMetrics: false }),
        Registry.Registry,
        registry
      )
      turns.pieces = 0
      const controllers = [new AbortController(), new AbortController()]
      const answers = controllers.map(({ signal }) => handler(new Request("http://localhost/", { signal })))
      yield* eventually("it has begun", async () => turns.pieces > 0)
      for (const controller of controllers) controller.abort()
      for (const { status } of yield* Effect.promise(() => Promise.all(answers))) assert.strictEqual(status, 499)
      for (let turn = 0; turn < 50; turn += 1) yield* Effect.promise(() => nextTurn())
      // All of the first family, at most.
      assert.isAtMost(turns.pieces, 4)
      const { status } = yield* Effect.promise(() => handler(new Request("http://localhost/")))
      assert.strictEqual(status, 200)
    })
  )

  it.scopedLive("are not listened to any more once they are answered, where many requests share a signal", () =>
    Effect.gen(function* () {
      const handler = yield* Effect.provideService(Exposition.webHandler(), Registry.Registry, new PromRegistry())
      const { signal } = new AbortController()
      const given = { method: "GET", url: "http://localhost/", headers: new Headers(), signal }
      const request = given as unknown as Parameters<typeof handler>[0]
      for (let time = 0; time < 20; time += 1) yield* Effect.promise(() => handler(request))
      assert.strictEqual(getEventListeners(signal, "abort").length, 0)
    })
  )

  const apps: ReadonlyArray<readonly [title: string, options: Exposition.ServeOptions, collect: () => unknown]> = [
    ["an exposition", {}, () => undefined],
    ["an exposition without some metrics", {}, () => Promise.reject(new Error("broken"))],
    ["the name of what failed", { onError: "fail" }, () => Promise.reject(new Error("broken"))]
  ]
  for (const [title, options, collect] of apps) {
    it.scopedLive(`in the turn in which they would get ${title} leave nothing of their request in an app`, () =>
      Effect.gen(function* () {
        const sockets = new Set<Socket>()
        const registry = new PromRegistry()
        new Gauge({
          name: "late",
          help: "h",
          registers: [registry],
          collect: async () => {
            await nextTurn()
            for (const socket of sockets) socket.destroy()
            await collect()
          }
        })
        const ended = yield* Queue.unbounded<void>()
        const app = Effect.zipRight(
          Effect.addFinalizer(() => ended.offer(undefined)),
          Exposition.httpApp(options)
        )
        const server = createServer((request) => sockets.add(request.socket))
        yield* HttpRouter.empty.pipe(
          HttpRouter.all("/metrics", app),
          HttpServer.serve(),
          Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })),
          Layer.provide(Registry.layer(registry)),
          Layer.build
        )
        const { port } = server.address() as { readonly port: number }
        for (let round = 0; round < 5; round += 1) {
          sockets.clear()
          const connections = yield* Effect.replicateEffect(rawConnection(port), 4)
          for (const { send } of connections) send(requestLines("/metrics"))
          for (const _ of connections) yield* Queue.take(ended)
        }
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, Logger.none)))
    )
  }

  const handlers = ["webHandler", "nodeListener"] as const
  for (const name of handlers) {
    it.scopedLive(`give back their places at once in an application with ${name}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        let isHeld = true
        new Gauge({
          name: "late",
          help: "h",
          registers: [registry],
          collect: () => (isHeld ? new Promise<void>(() => {}) : undefined)
        })
        new Counter({ name: "quick_total", help: "h", registers: [registry] })
        const provided = Effect.provideService(Registry.Registry, registry)
        if (name === "webHandler") {
          const handler = yield* provided(Exposition.webHandler())
          const controllers = Array.from({ length: 64 }, () => new AbortController())
          const waiting = controllers.map(({ signal }) => handler(new Request("http://localhost/", { signal })))
          const quick = (): Promise<Response> => handler(new Request("http://localhost/?name[]=quick_total"))
          assert.strictEqual((yield* Effect.promise(quick)).status, 503)
          for (const controller of controllers) controller.abort()
          yield* Effect.promise(() => Promise.allSettled(waiting))
          assert.strictEqual((yield* Effect.promise(quick)).status, 200)
        } else {
          const listener = yield* provided(Exposition.nodeListener())
          const port = yield* listen(createServer(listener))
          const connections = yield* Effect.replicateEffect(rawConnection(port), 64)
          for (const { send } of connections) send(requestLines("/"))
          const quick = `http://127.0.0.1:${port}/?name[]=quick_total`
          yield* eventually("all places are taken", async () => (await fetch(quick)).status === 503)
          for (const { socket } of connections) socket.destroy()
          yield* eventually("there are places again", async () => (await fetch(quick)).status === 200)
        }
        isHeld = false
      })
    )
  }
})
