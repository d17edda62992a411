import { readFile, writeFile } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Ref } from "effect"
import * as ServiceDiscovery from "../src/ServiceDiscovery.js"
import { temporaryFiles } from "./support/certificates.js"
import { assertFree, eventually, get } from "./support/httpClient.js"
import {
  inThisThread,
  serverKinds,
  serverLayer,
  shutdownMethods,
  someMetrics,
  started,
  stoppable
} from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

const refusal = new ServiceDiscovery.ServiceDiscoveryError({ reason: "Refused", message: "no, said the agent" })

/** A discovery that takes registrations back in that way. */
const takingBack = (
  takeBack: (server: ServiceDiscovery.RunningServer) => Effect.Effect<void>
): ServiceDiscovery.Discovery => ({
  name: "the town crier",
  register: (server) => Effect.addFinalizer(() => takeBack(server))
})

/** What a shutdown may take beyond its timeouts. */
const slack = 900

/** Service discoveries that do not deregister a server, how long the server waits for them, and what it logs. */
const failing = [
  {
    how: "hangs",
    takeBack: Effect.never,
    waited: 100,
    message: "the town crier did not deregister the server within 100 ms"
  },
  {
    how: "hangs where nothing can interrupt it",
    takeBack: Effect.uninterruptible(Effect.never),
    waited: 100,
    message: "the town crier did not deregister the server within 100 ms"
  },
  {
    how: "dies",
    takeBack: Effect.die(new Error("out of breath")),
    waited: 0,
    message: "the town crier failed to deregister the server"
  }
]

const milliseconds = (effect: Effect.Effect<void>): Effect.Effect<number> =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

for (const kind of serverKinds) {
  for (const { how, stoppable } of shutdownMethods) {
    describe(`a registered metrics server ${kind.name}, ${how},`, () => {
      it.scopedLive("takes its registration back while it still answers, and only then frees the port", () =>
        Effect.gen(function* () {
          const events = yield* Ref.make<ReadonlyArray<string>>([])
          const tell = (event: string) => Ref.update(events, (all) => [...all, event])
          const discovery = takingBack(({ healthUrl, url }) =>
            Effect.gen(function* () {
              const { status } = yield* get(url)
              yield* tell(`taken back: ${status} ${(yield* get(healthUrl)).status}`)
            })
          )
          const server = yield* stoppable(kind, {}, { discovery })
          assert.strictEqual(yield* server.isRegistered, true)
          yield* server.stop
          yield* tell("stopped")
          yield* assertFree(server.address.port)
          assert.deepStrictEqual(yield* Ref.get(events), ["taken back: 200 200", "stopped"])
          assert.strictEqual(yield* server.isRegistered, false)
          assert.deepStrictEqual(
            server.lines.map(({ level }) => level),
            ["INFO"]
          )
        })
      )

      for (const failure of failing) {
        itInTime(
          `gives the registration up if taking it back ${failure.how}, says so, and frees the port`,
          function* () {
            const discovery = takingBack(() => failure.takeBack)
            const server = yield* stoppable(kind, { shutdownTimeout: "100 millis" }, { discovery })
            const took = yield* milliseconds(server.stop)
            assert.isAtLeast(took, failure.waited - 10)
            assertWithin(took, failure.waited + slack, "the shutdown")
            yield* assertFree(server.address.port)
            assert.strictEqual(yield* server.isRegistered, false)
            const warnings = server.lines.filter(({ level }) => level !== "INFO")
            assert.deepStrictEqual(
              warnings.map(({ level, message }) => ({ level, message })),
              [{ level: "WARN", message: failure.message }]
            )
          }
        )
      }
    })
  }

  describe(`a metrics server ${kind.name} that cannot be registered`, () => {
    it.scopedLive("fails with the same error, and frees the port", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<ServiceDiscovery.RunningServer>()
        const register = (server: ServiceDiscovery.RunningServer) =>
          Effect.zipRight(Deferred.succeed(asked, server), Effect.fail(refusal))
        assert.strictEqual(yield* Effect.flip(started(kind, {}, { discovery: { register } })), refusal)
        yield* assertFree((yield* Deferred.await(asked)).address.port)
      })
    )

    it.scopedLive("takes back what it had registered before it failed", () =>
      Effect.gen(function* () {
        const takenBack = yield* Ref.make(0)
        const register = () =>
          Effect.zipRight(
            Effect.addFinalizer(() => Ref.update(takenBack, (times) => times + 1)),
            Effect.fail(refusal)
          )
        yield* Effect.flip(started(kind, {}, { discovery: { register } }))
        assert.strictEqual(yield* Ref.get(takenBack), 1)
      })
    )

    it.scopedLive("leaves a defect of the discovery a defect, and frees the port", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<ServiceDiscovery.RunningServer>()
        const bug = new Error("a bug")
        const register = (server: ServiceDiscovery.RunningServer) =>
          Effect.zipRight(Deferred.succeed(asked, server), Effect.die(bug))
        const exit = yield* Effect.exit(started(kind, {}, { discovery: { register } }))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) {
          assert.isTrue(Option.isNone(Cause.failureOption(exit.cause)))
          assert.deepStrictEqual(Chunk.toReadonlyArray(Cause.defects(exit.cause)), [bug])
        }
        yield* assertFree((yield* Deferred.await(asked)).address.port)
      })
    )

    it.scopedLive("frees the port when it is interrupted while it is being registered", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<ServiceDiscovery.RunningServer>()
        const register = (server: ServiceDiscovery.RunningServer) =>
          Effect.zipRight(Deferred.succeed(asked, server), Effect.never)
        const fiber = yield* Effect.fork(Layer.launch(serverLayer(kind, {}, { discovery: { register } }).layer))
        const { address, healthUrl } = yield* Deferred.await(asked)
        assert.strictEqual((yield* get(healthUrl)).status, 200)
        yield* Fiber.interrupt(fiber)
        yield* assertFree(address.port)
      })
    )

    it.scopedLive("stops listening when make fails, also while its scope stays open", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<ServiceDiscovery.RunningServer>()
        const discovery = ServiceDiscovery.layer({
          register: (server) => Effect.zipRight(Deferred.succeed(asked, server), Effect.fail(refusal))
        })
        const error = yield* Effect.flip(Effect.provide(kind.make({ host: "127.0.0.1" }), discovery))
        assert.strictEqual(error, refusal)
        yield* assertFree((yield* Deferred.await(asked)).address.port)
      })
    )
  })

  describe(`a service discovery of one's own, with a metrics server ${kind.name},`, () => {
    it.scopedLive("gets the running server once", () =>
      Effect.gen(function* () {
        const received = yield* Ref.make<ReadonlyArray<ServiceDiscovery.RunningServer>>([])
        const register = (server: ServiceDiscovery.RunningServer) => Ref.update(received, (all) => [...all, server])
        const server = yield* started(kind, {}, { discovery: { register } })
        const { address, healthUrl, https, isHealthOpen, needsCertificate, url } = server
        assert.isTrue(isHealthOpen)
        assert.isFalse(needsCertificate)
        assert.deepStrictEqual(yield* Ref.get(received), [
          { address, https, url, healthUrl, isHealthOpen, needsCertificate }
        ])
      })
    )

    it.scopedLive("gets a wildcard bind as such", () =>
      Effect.gen(function* () {
        const received = yield* Deferred.make<ServiceDiscovery.RunningServer>()
        const register = (server: ServiceDiscovery.RunningServer) => Deferred.succeed(received, server)
        yield* started(kind, { host: "0.0.0.0" }, { discovery: { register } })
        assert.strictEqual((yield* Deferred.await(received)).address.hostname, "0.0.0.0")
      })
    )

    it.scopedLive("may say itself whether a server is registered at this moment", () =>
      Effect.gen(function* () {
        const registered = yield* Ref.make(false)
        const discovery = { name: "slow one", register: () => Effect.void, isRegistered: () => Ref.get(registered) }
        const server = yield* stoppable(kind, {}, { discovery })
        assert.strictEqual(server.lines[0]?.message, `metrics at ${server.url}, not yet registered by slow one`)
        assert.strictEqual(yield* server.isRegistered, false)
        yield* Ref.set(registered, true)
        assert.strictEqual(yield* server.isRegistered, true)
        yield* server.stop
        assert.strictEqual(yield* server.isRegistered, false)
      })
    )

    it.scopedLive(
      "that never says whether a server is registered holds up no start, and no scrape leaves a fiber",
      () =>
        Effect.gen(function* () {
          let running = 0
          const registry = someMetrics()
          const isRegistered = () =>
            Effect.sync(() => {
              running += 1
            }).pipe(Effect.zipRight(Effect.never), Effect.ensuring(Effect.sync(() => (running -= 1))))
          const discovery = { name: "silent one", register: () => Effect.void, isRegistered }
          const server = yield* started(kind, {}, { discovery, registry })
          assert.strictEqual(server.lines[0]?.message, `metrics at ${server.url}, not yet registered by silent one`)
          for (let scrape = 0; scrape < 3; scrape += 1) {
            assert.include((yield* get(server.url)).body, "effect_prometheus_registered 0\n")
          }
          yield* eventually("all of them have ended", async () => running === 0)
        })
    )
  })
}

describe("ServiceDiscovery.layer", () => {
  it.scopedLive("can be a file that Prometheus reads, there for as long as the server serves", () =>
    Effect.gen(function* () {
      const { targets } = yield* temporaryFiles({ targets: "[]" })
      const write = (content: unknown) => Effect.promise(() => writeFile(targets, JSON.stringify(content)))
      const read = Effect.promise(async (): Promise<unknown> => JSON.parse(await readFile(targets, "utf8")))
      const register = ({ address }: ServiceDiscovery.RunningServer) =>
        Effect.acquireRelease(write([{ targets: [`${address.hostname}:${address.port}`] }]), () => write([]))
      const { address, stop } = yield* stoppable(inThisThread, {}, { discovery: { register } })
      assert.deepStrictEqual(yield* read, [{ targets: [`127.0.0.1:${address.port}`] }])
      yield* stop
      assert.deepStrictEqual(yield* read, [])
    })
  )

  it.scopedLive("serves several servers, and takes each of them back by itself", () =>
    Effect.gen(function* () {
      const ports = yield* Ref.make<ReadonlyArray<number>>([])
      const discovery: ServiceDiscovery.Discovery = {
        register: ({ address: { port } }) =>
          Effect.acquireRelease(
            Ref.update(ports, (all) => [...all, port]),
            () => Ref.update(ports, (all) => all.filter((other) => other !== port))
          )
      }
      const first = yield* stoppable(inThisThread, {}, { discovery })
      const second = yield* stoppable(inThisThread, {}, { discovery })
      assert.deepStrictEqual(yield* Ref.get(ports), [first.address.port, second.address.port])
      yield* first.stop
      assert.deepStrictEqual(yield* Ref.get(ports), [second.address.port])
      assert.strictEqual(yield* first.isRegistered, false)
      assert.strictEqual(yield* second.isRegistered, true)
    })
  )
})
