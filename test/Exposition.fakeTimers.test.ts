import { mock } from "node:test"
import { assert, describe, it } from "@effect/vitest"
import FakeTimers from "@sinonjs/fake-timers"
import { Clock, Deferred, Effect, Fiber, type Scope } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import { vi } from "vitest"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import { runFixture } from "./support/childProcess.js"
import { logged, renderedOnce } from "./support/expositions.js"
import { assertFree, get, rawConnection, requestLines } from "./support/httpClient.js"
import {
  gatedCollector,
  inPatientWorker,
  inThisThread,
  serverKinds,
  someMetrics,
  started,
  stoppable
} from "./support/servers.js"

// A server of Node.js needs these two itself.
const apartFrom = ["nextTick", "queueMicrotask"] as const

const replaced = [
  "setTimeout",
  "setInterval",
  "setImmediate",
  "clearTimeout",
  "clearInterval",
  "clearImmediate"
] as const

/** What puts fake timers in the place of the real ones; what it gives puts them back. */
const fakes: ReadonlyArray<{ readonly name: string; readonly install: () => () => void }> = [
  {
    name: "Vitest",
    install: () => {
      vi.useFakeTimers()
      return () => vi.useRealTimers()
    }
  },
  {
    name: "Sinon",
    install: () => {
      const clock = FakeTimers.install({ now: 0, toNotFake: [...apartFrom] })
      return () => clock.uninstall()
    }
  },
  {
    name: "node:test",
    install: () => {
      mock.timers.enable()
      return () => mock.timers.reset()
    }
  },
  {
    name: "a test of its own",
    install: () => {
      const spies = replaced.map((name) => vi.spyOn(globalThis, name).mockImplementation((() => 0) as never))
      return () => {
        for (const spy of spies) spy.mockRestore()
      }
    }
  }
]

/** Ways to ask a registry. */
const asks: ReadonlyArray<{
  readonly title: string
  readonly ask: (registry: PromRegistry) => Effect.Effect<Effect.Effect<string>, unknown, Scope.Scope>
}> = [
  {
    title: "a render",
    ask: (registry) => Effect.succeed(Effect.map(Effect.orDie(renderedOnce(registry)), ({ body }) => body))
  },
  {
    title: "a handler",
    ask: (registry) =>
      Effect.map(Effect.provideService(Exposition.webHandler(), Registry.Registry, registry), (handler) =>
        Effect.promise(async () => (await handler(new Request("http://localhost/metrics"))).text())
      )
  },
  ...[inThisThread, inPatientWorker].map((kind) => ({
    title: `a metrics server ${kind.name}`,
    ask: (registry: PromRegistry) =>
      Effect.map(started(kind, {}, { registry }), ({ url }) => Effect.map(get(url), ({ body }) => body))
  }))
]

/** Fake timers for as long as the scope lasts, or until they are put back. */
const faked = (install: () => () => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({ restore: install() })),
      (fake) => Effect.sync(() => fake.restore())
    ),
    (fake) =>
      Effect.sync(() => {
        fake.restore()
        fake.restore = () => {}
      })
  )

for (const { install, name } of fakes) {
  describe(`While ${name} has replaced the timers,`, () => {
    for (const { ask, title } of asks) {
      it.scopedLive(`${title} answers, and afterwards as well`, () =>
        Effect.gen(function* () {
          const asked = yield* ask(someMetrics())
          const restore = yield* faked(install)
          for (let time = 0; time < 2; time += 1) assert.include(yield* asked, "\njobs_total 3\n")
          yield* restore
          assert.include(yield* asked, "\njobs_total 3\n")
        })
      )

      it.scopedLive(`${title} answers where that is from its beginning until it waits for a metric`, () =>
        Effect.gen(function* () {
          const { registry, shut } = gatedCollector()
          const asked = yield* ask(registry)
          const { open, reached } = yield* shut
          const restore = yield* faked(install)
          const answer = yield* Effect.fork(asked)
          yield* reached
          yield* restore
          yield* open
          assert.include(yield* Fiber.join(answer), "\nslow 1\n")
        })
      )

      it.scopedLive(`${title} answers where that is while it waits for a metric`, () =>
        Effect.gen(function* () {
          const { registry, shut } = gatedCollector()
          const asked = yield* ask(registry)
          const { open, reached } = yield* shut
          const answer = yield* Effect.fork(asked)
          yield* reached
          const restore = yield* faked(install)
          yield* open
          assert.include(yield* Fiber.join(answer), "\nslow 1\n")
          yield* restore
        })
      )
    }

    it.scoped("a large registry is rendered to its end, in pieces", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const counter = new Counter({ name: "rooms_total", help: "h", labelNames: ["room"], registers: [registry] })
        for (let room = 0; room < 30_000; room += 1) counter.inc({ room })
        yield* faked(install)
        const { body } = yield* renderedOnce(registry)
        assert.strictEqual(body.split("\nrooms_total{").length, 30_001)
      })
    )

    for (const kind of serverKinds) {
      it.scopedLive(`a metrics server ${kind.name} ends a scrape at its limit, and itself at its own`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const asked = yield* Deferred.make<void>()
          new Gauge({
            name: "hung",
            help: "h",
            registers: [registry],
            collect: () => {
              Deferred.unsafeDone(asked, Effect.void)
              return new Promise(() => {})
            }
          })
          const options = { onError: "fail", scrapeTimeout: "100 millis", shutdownTimeout: "100 millis" } as const
          const server = yield* stoppable(kind, options, { registry })
          const limited = yield* stoppable(kind, { ...options, scrapeTimeout: "1 minute" }, { registry })
          yield* faked(install)
          const { body, status } = yield* get(server.url)
          assert.strictEqual(status, 503)
          assert.match(body, /^the scrape timed out (while waiting for|before collecting) hung\n$/)
          const connection = yield* rawConnection(limited.address.port)
          connection.send(requestLines("/metrics"))
          yield* Deferred.await(asked)
          for (const { address, stop } of [server, limited]) {
            yield* stop
            yield* assertFree(address.port)
          }
          yield* connection.closed
        })
      )
    }

    it.scopedLive("the value of a gauge that is an effect is waited for no longer than it may take", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const options = { name: "never", help: "h", value: Effect.never, timeout: "50 millis" } as const
        yield* Effect.provideService(Registry.gaugeEffect(options), Registry.Registry, registry)
        yield* faked(install)
        const rendering = logged(function* () {
          yield* renderedOnce(registry, { names: ["never"] })
        })
        const { message } = yield* Effect.flip(rendering)
        assert.strictEqual(message, "collecting never failed")
      })
    )

    it.scopedLive("how late the event loop is, is read", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        yield* Effect.provideService(DefaultMetrics.make(), Registry.Registry, registry)
        yield* faked(install)
        const { body } = yield* renderedOnce(registry, { names: ["nodejs_eventloop_lag_seconds"] })
        assert.match(body, /^nodejs_eventloop_lag_seconds \d/m)
      })
    )

    it.scopedLive("a library that is loaded then answers, then and afterwards", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const restore = yield* faked(install)
        vi.resetModules()
        const loaded = yield* Effect.promise(() => import("../src/Promises.js"))
        const ask = Effect.promise(async () => {
          const handler = await loaded.webHandler({ registry })
          return (await handler(new Request("http://localhost/metrics"))).text()
        })
        assert.include(yield* ask, "\njobs_total 3\n")
        yield* restore
        assert.include(yield* ask, "\njobs_total 3\n")
      })
    )
  })
}

describe("Fake timers", () => {
  for (const tool of ["@sinonjs/fake-timers", "node:test"]) {
    it.live(`of ${tool} that are there before the library is loaded are nothing to it, nor is their end`, () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runFixture("fakeTimers.mjs", { args: [tool] })
        assert.strictEqual(code, 0, stderr)
        assert.deepStrictEqual(JSON.parse(stdout), {
          never: "its effect did not end within 50 ms",
          lag: 1,
          faked: [200, 503, 200, 503],
          real: [200, 503, 200, 503]
        })
      })
    )
  }

  it.scopedLive("drive the effect of a gauge, and the clock of Effect", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const value = Effect.zipRight(Effect.sleep("1 minute"), Clock.currentTimeMillis)
      const options = { name: "later", help: "h", value, timeout: "1 hour" } as const
      yield* Effect.provideService(Registry.gaugeEffect(options), Registry.Registry, registry)
      yield* faked(() => {
        vi.useFakeTimers({ now: 0 })
        return () => vi.useRealTimers()
      })
      const answer = yield* Effect.fork(renderedOnce(registry))
      yield* Effect.promise(() => vi.advanceTimersByTimeAsync(60_000))
      assert.include((yield* Fiber.join(answer)).body, "\nlater 60000\n")
    })
  )
})
