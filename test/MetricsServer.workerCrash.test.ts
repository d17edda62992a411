import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Logger } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Registry from "../src/Registry.js"
import { expositionAge, whileBlocked } from "./support/blockedThread.js"
import { fixture } from "./support/childProcess.js"
import { assertFree, eventually, get, isFree, rawConnection, unusedListener } from "./support/httpClient.js"
import { inWorker, type LogLine, someMetrics, started, stoppable } from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

/** A worker that dies on demand. */
const dying = fixture("killable-worker.js")

const tellWorker = (word: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const channel = new BroadcastChannel("killable-worker")
    channel.postMessage(word)
    channel.close()
  })

const dies = ({ address }: MetricsServer.RunningServer, word = "exit") =>
  Effect.scoped(
    Effect.gen(function* () {
      const connection = yield* rawConnection(address.port)
      yield* tellWorker(word)
      yield* connection.closed
    })
  )

const errors = ({ lines }: { readonly lines: ReadonlyArray<LogLine> }): ReadonlyArray<string> =>
  lines.filter(({ level }) => level === "ERROR").map(({ message }) => message)

const answers = (url: string) =>
  eventually("it answers again", () =>
    Effect.runPromise(
      Effect.match(
        Effect.tryPromise(() => fetch(url)),
        { onFailure: () => false, onSuccess: ({ ok }) => ok }
      )
    )
  )

describe("a worker that dies", () => {
  for (const { how, message, word } of [
    { how: "exits", word: "exit", message: "exited with code 3" },
    { how: "throws", word: "a bug in the worker", message: "a bug in the worker" }
  ]) {
    it.scopedLive(`because it ${how} is restarted on the same port, and that is logged as an error`, () =>
      Effect.gen(function* () {
        const server = yield* started(inWorker, { workerUrl: dying }, { registry: someMetrics() })
        assert.include((yield* get(server.url)).body, "jobs_total 3\n")
        for (const times of [1, 2]) {
          yield* dies(server, word)
          yield* answers(server.url)
          assert.include((yield* get(server.url)).body, "jobs_total 3\n")
          assert.strictEqual(errors(server).length, times)
          assert.include(errors(server)[0], message)
        }
      })
    )
  }

  itInTime("has something to serve as soon as it was restarted, and not what the first one began with", function* () {
    const registry = new PromRegistry()
    const gauge = new Gauge({ name: "level", help: "h", registers: [registry] })
    gauge.set(1)
    const server = yield* started(inWorker, { workerUrl: dying }, { registry })
    gauge.set(2)
    yield* dies(server)
    yield* answers(server.healthUrl)
    const scraped = yield* whileBlocked([{ url: server.url }], 100)
    for (const answer of scraped) {
      assert.include(answer.body, "\nlevel 2\n")
      assert.isAbove(expositionAge(answer), 0)
    }
  })

  itInTime("whose port was taken meanwhile logs that, retries, and takes it again", function* () {
    const server = yield* started(inWorker, { workerUrl: dying }, { registry: someMetrics() })
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* dies(server)
        yield* unusedListener(server.address.port)
        yield* eventually("it logs that", async () => errors(server).length === 2)
      })
    )
    assert.include(errors(server)[1], String(server.address.port))
    yield* answers(server.url)
    assert.include((yield* get(server.url)).body, "jobs_total 3\n")
  })

  it.scopedLive("as soon as it listens, again and again, is restarted once a second", () =>
    Effect.gen(function* () {
      const server = yield* started(
        inWorker,
        { workerUrl: fixture("crash-loop-worker.js") },
        { registry: someMetrics() }
      )
      const start = performance.now()
      yield* dies(server)
      yield* eventually("it has died three times more", async () => errors(server).length >= 4)
      assert.isAtLeast(performance.now() - start, 1_900)
    })
  )

  itInTime("is restarted also where the logger throws", function* () {
    const throwing = Logger.make(({ logLevel }) => {
      if (logLevel.label === "ERROR") throw new Error("the log is full")
    })
    const served = inWorker.layer({ host: "127.0.0.1", workerUrl: dying })
    const context = yield* served.pipe(
      Layer.provide(Registry.layer(someMetrics())),
      Layer.provide(Logger.replace(Logger.defaultLogger, throwing)),
      Layer.build
    )
    const server = Context.get(context, MetricsServer.MetricsServer)
    yield* dies(server)
    yield* answers(server.url)
  })

  itInTime("does not hold up the shutdown while its next start is waited for", function* () {
    const options = { workerUrl: dying, shutdownTimeout: "10 seconds" } as const
    const server = yield* stoppable(inWorker, options, { registry: someMetrics() })
    yield* dies(server)
    yield* unusedListener(server.address.port)
    yield* eventually("it logs that it waits", async () => errors(server).length === 2)
    const [duration] = yield* Effect.timed(server.stop)
    assertWithin(Duration.toMillis(duration), 900)
  })

  it.scopedLive("has left the port when the shutdown is over, also if the next one had it already", () =>
    Effect.gen(function* () {
      const workerUrl = fixture("slow-restart-worker.js")
      const server = yield* stoppable(inWorker, { workerUrl, shutdownTimeout: "10 seconds" })
      const { port } = server.address
      yield* dies(server)
      yield* eventually("the next one listens", async () => !(await isFree(port)))
      yield* server.stop
      yield* assertFree(port)
    })
  )

  itInTime("does not come back once its scope has closed", function* () {
    const server = yield* stoppable(inWorker, { workerUrl: dying, shutdownTimeout: "500 millis" })
    yield* dies(server)
    const [duration] = yield* Effect.timed(server.stop)
    assertWithin(Duration.toMillis(duration), 1_900)
    yield* assertFree(server.address.port)
  })
})
