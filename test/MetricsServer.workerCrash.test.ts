import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import type * as MetricsServer from "../src/MetricsServer.js"
import { fixture } from "./support/child.js"
import { assertFree, eventually, get, isFree, listening, rawConnection } from "./support/http.js"
import type { Line } from "./support/servers.js"
import { inWorker, someMetrics, started, stoppable } from "./support/servers.js"
import { ageOf, stuck } from "./support/stuck.js"
import { assertWithin, itInTime } from "./support/times.js"

/** A worker that dies when it is told to. */
const dying = fixture("dying-worker.js")

const tellWorker = (word: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const channel = new BroadcastChannel("dying-worker")
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

const errors = ({ lines }: { readonly lines: ReadonlyArray<Line> }): ReadonlyArray<string> =>
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
  for (const { how, told, word } of [
    { how: "exits", word: "exit", told: "ended with code 3" },
    { how: "throws", word: "a bug in the worker", told: "a bug in the worker" }
  ]) {
    it.scopedLive(`because it ${how} is started anew on the same port, and that is logged as an error`, () =>
      Effect.gen(function* () {
        const server = yield* started(inWorker, { workerUrl: dying }, { registry: someMetrics() })
        assert.include((yield* get(server.url)).body, "jobs_total 3\n")
        for (const times of [1, 2]) {
          yield* dies(server, word)
          yield* answers(server.url)
          assert.include((yield* get(server.url)).body, "jobs_total 3\n")
          assert.strictEqual(errors(server).length, times)
          assert.include(errors(server)[0], told)
        }
      })
    )
  }

  itInTime("has something to serve as soon as it was started anew, and not what the first one began with", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const gauge = new Gauge({ name: "level", help: "h", registers: [registry] })
      gauge.set(1)
      const server = yield* started(inWorker, { workerUrl: dying }, { registry })
      gauge.set(2)
      yield* dies(server)
      yield* answers(server.healthUrl)
      const scraped = yield* stuck([{ url: server.url }], 100)
      for (const answer of scraped) {
        assert.include(answer.body, "\nlevel 2\n")
        assert.isAbove(ageOf(answer), 0)
      }
    })
  )

  itInTime("whose port was taken meanwhile tells so, tries again, and comes back to it", () =>
    Effect.gen(function* () {
      const server = yield* started(inWorker, { workerUrl: dying }, { registry: someMetrics() })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* dies(server)
          yield* listening(server.address.port)
          yield* eventually("it tells of it", async () => errors(server).length === 2)
        })
      )
      assert.include(errors(server)[1], String(server.address.port))
      yield* answers(server.url)
      assert.include((yield* get(server.url)).body, "jobs_total 3\n")
    })
  )

  it.scopedLive("as soon as it listens, again and again, is started anew once a second", () =>
    Effect.gen(function* () {
      const server = yield* started(inWorker, { workerUrl: fixture("brief-worker.js") }, { registry: someMetrics() })
      const start = performance.now()
      yield* dies(server)
      yield* eventually("it has died three times more", async () => errors(server).length >= 4)
      assert.isAtLeast(performance.now() - start, 1_900)
    })
  )

  itInTime("does not hold up the shutdown while its next start is waited for", () =>
    Effect.gen(function* () {
      const options = { workerUrl: dying, shutdownTimeout: "10 seconds" } as const
      const server = yield* stoppable(inWorker, options, { registry: someMetrics() })
      yield* dies(server)
      yield* listening(server.address.port)
      yield* eventually("it tells that it has to wait", async () => errors(server).length === 2)
      const [duration] = yield* Effect.timed(server.stop)
      assertWithin(Duration.toMillis(duration), 900)
    })
  )

  it.scopedLive("has left the port when the shutdown is over, also if the next one had it already", () =>
    Effect.gen(function* () {
      const workerUrl = fixture("late-worker.js")
      const server = yield* stoppable(inWorker, { workerUrl, shutdownTimeout: "10 seconds" })
      const { port } = server.address
      yield* dies(server)
      yield* eventually("the next one listens", async () => !(await isFree(port)))
      yield* server.stop
      yield* assertFree(port)
    })
  )

  itInTime("does not come back once its scope has closed", () =>
    Effect.gen(function* () {
      const server = yield* stoppable(inWorker, { workerUrl: dying, shutdownTimeout: "500 millis" })
      yield* dies(server)
      const [duration] = yield* Effect.timed(server.stop)
      assertWithin(Duration.toMillis(duration), 1_900)
      yield* assertFree(server.address.port)
    })
  )
})
