import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import {
  Chunk,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Layer,
  Logger,
  LogLevel,
  Random,
  Redacted,
  Scope,
  TestClock,
  Tracer
} from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import {
  type ConsulAgentStub,
  type RecordedRequest,
  type Registered,
  type Script,
  startConsulAgentStub,
  there
} from "./support/consulAgentStub.js"
import { assertFree, eventually } from "./support/httpClient.js"
import { logging } from "./support/servers.js"
import { assertWithin, itInTime, patience } from "./support/timing.js"

const isRegister = ({ path }: RecordedRequest) => path.endsWith("/register")
const isDeregister = ({ path }: RecordedRequest) => path.includes("/service/deregister/")
const isLook = ({ method, path }: RecordedRequest) => method === "GET" && path.includes("/v1/agent/service/")
const isPass = ({ path }: RecordedRequest) => path.includes("/check/pass/")

/** A server that is to be registered with that agent, and looked at often. */
const serverOf = (
  address: string,
  options: ConsulAgent.Options = {},
  shutdownTimeout: Duration.DurationInput = patience
) =>
  MetricsServer.layer({ host: "127.0.0.1", shutdownTimeout }).pipe(
    Layer.provide(ConsulAgent.layer({ address, name: "checkout", watchInterval: "30 millis", ...options })),
    Layer.provide(Registry.layer(new PromRegistry()))
  )

/** Such a server, and what it logs. */
const registeredWith = (...args: Parameters<typeof serverOf>) =>
  Effect.gen(function* () {
    const { layer: logger, lines } = logging()
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
    const server = yield* serverOf(...args).pipe(
      Layer.provide(logger),
      Layer.build,
      Effect.map((context) => Context.get(context, MetricsServer.MetricsServer)),
      Scope.extend(scope)
    )
    const isRegistered = () => Effect.runPromise(server.isRegistered)
    return { ...server, lines, isRegistered, stop: Scope.close(scope, Exit.void) }
  })

const refusing =
  (which: (received: RecordedRequest) => boolean, status = 500): Script =>
  (received, response) => {
    if (!which(received)) return false
    response.writeHead(status).end("Permission denied\n")
    return true
  }

const count = (requests: ReadonlyArray<RecordedRequest>, which: (one: RecordedRequest) => boolean) =>
  requests.filter(which).length

/** Waits for so many looks from now on. */
const looks = ({ requests }: { readonly requests: ReadonlyArray<RecordedRequest> }, more: number) =>
  Effect.suspend(() => {
    const until = count(requests, isLook) + more
    return eventually(`${more} looks`, async () => count(requests, isLook) >= until)
  })

const logged = (lines: ReadonlyArray<{ readonly level: string; readonly message: string }>) =>
  lines.slice(1).map(({ level, message }) => [level, message] as const)

const elsewhere = { ID: "checkout", Name: "checkout", Address: "10.9.8.7", Port: 80 }

describe("A registration with a Consul agent", () => {
  it.scopedLive("is looked at again and again, and not made again while it is as it was", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const { isRegistered, lines, stop } = yield* registeredWith(agent.address)
      yield* looks(agent, 5)
      assert.strictEqual(count(agent.requests, isRegister), 1)
      assert.isTrue(yield* Effect.promise(isRegistered))
      yield* stop
      assert.isEmpty([...agent.services.keys()])
      assert.deepStrictEqual(logged(lines), [])
    })
  )

  it.scoped(
    "is looked at every ten seconds, give or take a tenth, and after failures in one, two, four, eight, ten",
    () =>
      Effect.gen(function* () {
        let isDown = false
        const agent = yield* startConsulAgentStub((received, response, request) =>
          refusing(() => isDown)(received, response, request)
        )
        const discovery = yield* ConsulAgent.make({ address: agent.address })
        yield* discovery.register(there)
        for (const [index, seconds] of [10, 10, 10, 10, 1, 2, 4, 8, 10, 10, 10, 10].entries()) {
          const next = yield* nextWait(new Set())
          const jitter = index > 3 && index < 11 ? 0.2 : 0.1
          assert.closeTo(next.gap, 1_000 * seconds, 1_000 * seconds * jitter, `the look ${index}`)
          isDown = index > 2 && index < 10
          yield* looked(agent, next)
        }
      })
  )

  /** How long the only one that waits still has to, and until when, in milliseconds. */
  const nextWait = (stale: ReadonlySet<number>) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      let found: number | undefined
      while (found === undefined) {
        found = Chunk.toReadonlyArray(yield* TestClock.sleeps()).find((time) => time > now && !stale.has(time))
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 2)))
      }
      return { gap: found - now, until: found }
    })

  /** Lets that time go by, and waits for the look that comes with it. */
  const looked = ({ requests }: ConsulAgentStub, { until }: { readonly until: number }) =>
    Effect.suspend(() => {
      const before = count(requests, isLook)
      const look = eventually("it looks", async () => count(requests, isLook) > before)
      return Effect.zipRight(TestClock.setTime(until), look)
    })

  it.scoped("is looked at after times that differ, and not by more than a tenth from what was asked for", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const waits = (seed: string) =>
        Effect.gen(function* () {
          // The clock keeps those that were interrupted.
          const stale = new Set(yield* TestClock.sleeps())
          const discovery = yield* ConsulAgent.make({ address: agent.address, name: seed })
          yield* discovery.register(there)
          const gaps: Array<number> = []
          while (gaps.length < 20) {
            const next = yield* nextWait(stale)
            yield* looked(agent, next)
            gaps.push(next.gap)
          }
          return gaps
        }).pipe(Effect.scoped, Effect.withRandom(Random.make(seed)))
      const [one, other] = [yield* waits("one"), yield* waits("other")]
      for (const gap of [...one, ...other]) assert.isTrue(gap >= 9_000 && gap <= 11_000, `${gap}`)
      // Neither those of one instance nor those of two come to be at once.
      assert.strictEqual(new Set([...one, ...other]).size, 40)
      for (const gaps of [one, other]) assert.isAbove(Math.max(...gaps) - Math.min(...gaps), 1_000)
    })
  )

  it.scopedLive("is not looked at again with watchInterval: false", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      yield* registeredWith(agent.address, { watchInterval: false })
      const before = agent.requests.length
      yield* Effect.sleep("200 millis")
      assert.strictEqual(agent.requests.length, before)
    })
  )

  const changes: ReadonlyArray<readonly [string, (known: Registered) => Registered | undefined]> = [
    ["is gone", () => undefined],
    ["has another name", (known) => ({ ...known, Name: "other" })],
    ["has other tags", (known) => ({ ...known, Tags: ["v1"] })],
    ["has a tag less", (known) => ({ ...known, Tags: [] })],
    ["has other metadata", (known) => ({ ...known, Meta: { ...known.Meta, metrics_path: "/other" } })],
    ["has more metadata", (known) => ({ ...known, Meta: { ...known.Meta, more: "" } })],
    ["has no metadata", ({ Meta: _, ...known }) => known],
    ["has no check", ({ Check: _, ...known }) => known]
  ]
  for (const [how, change] of changes) {
    it.scopedLive(`is made again when what the agent knows ${how}, which is logged once`, () =>
      Effect.gen(function* () {
        const agent = yield* startConsulAgentStub()
        const { isRegistered, lines, url } = yield* registeredWith(agent.address, { tags: ["v2"] })
        const known = agent.services.get("checkout")
        assert.isDefined(known)
        const changed = change(known)
        if (changed === undefined) agent.services.delete("checkout")
        else agent.services.set("checkout", changed)
        yield* eventually("it is registered again", async () => count(agent.requests, isRegister) === 2)
        assert.deepStrictEqual(agent.services.get("checkout"), known)
        yield* looks(agent, 3)
        assert.strictEqual(count(agent.requests, isRegister), 2)
        assert.isTrue(yield* Effect.promise(isRegistered))
        const message = `${url} is registered again by the Consul agent at ${agent.address} with the id checkout`
        assert.deepStrictEqual(logged(lines), [["INFO", message]])
      })
    )
  }

  it.scopedLive("is as it was where the agent gives tags and metadata in another order, and a critical check", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub(({ path }, response) => {
        if (!path.includes("/health/")) return false
        response.writeHead(503).end(JSON.stringify({ Service: {}, Checks: [{ CheckID: "service:checkout" }] }))
        return true
      })
      yield* registeredWith(agent.address, { tags: ["a", "b"], meta: { zone: "z" } })
      const known = agent.services.get("checkout")
      assert.isDefined(known)
      const Meta = Object.fromEntries(Object.entries(known.Meta ?? {}).reverse())
      agent.services.set("checkout", { ...known, Tags: ["b", "a"], Meta })
      yield* looks(agent, 4)
      assert.strictEqual(count(agent.requests, isRegister), 1)
    })
  )

  it.scopedLive(
    "logs once that the agent fails and once that it has recovered, and reports isRegistered accordingly",
    () =>
      Effect.gen(function* () {
        let isDown = false
        const agent = yield* startConsulAgentStub(
          (received, response) => isDown && refusing(() => true)(received, response, undefined as never)
        )
        const { isRegistered, lines, url } = yield* registeredWith(agent.address)
        for (const _ of ["twice", "in the same way"]) {
          isDown = true
          yield* eventually("it is not sure", async () => !(await isRegistered()))
          yield* looks(agent, 3)
          isDown = false
          yield* eventually("it is sure", isRegistered)
        }
        const by = `the Consul agent at ${agent.address}`
        const failing = `${by} answered 500 to GET /v1/agent/service/checkout: Permission denied; ${url} may not be registered; retrying`
        const well = `${url} is still registered by ${by} with the id checkout`
        assert.deepStrictEqual(logged(lines), [
          ["WARN", failing],
          ["INFO", well],
          ["WARN", failing],
          ["INFO", well]
        ])
        assert.strictEqual(count(agent.requests, isRegister), 1)
      })
  )

  it.scopedLive("is made at last by default, where the agent refused it at first", () =>
    Effect.gen(function* () {
      let isAllowed = false
      const agent = yield* startConsulAgentStub(refusing((received) => !isAllowed && isRegister(received), 403))
      const { isRegistered, lines, url } = yield* registeredWith(agent.address)
      assert.isFalse(yield* Effect.promise(isRegistered))
      yield* looks(agent, 3)
      isAllowed = true
      yield* eventually("it is registered", isRegistered)
      const by = `the Consul agent at ${agent.address}`
      const refused = `${by} answered 403 to PUT /v1/agent/service/register: Permission denied; ${url} is not registered; retrying`
      const all = lines.map(({ level, message }) => [level, message])
      assert.deepStrictEqual(all, [
        ["WARN", refused],
        ["INFO", `metrics at ${url}, not yet registered by ${by} with the id checkout`],
        ["INFO", `${url} is registered by ${by} with the id checkout`]
      ])
    })
  )

  it.scopedLive("is made at last by default, and then not looked at, with watchInterval: false as well", () =>
    Effect.gen(function* () {
      let times = 0
      const agent = yield* startConsulAgentStub(refusing((received) => isRegister(received) && ++times < 2, 403))
      const { isRegistered } = yield* registeredWith(agent.address, { watchInterval: false })
      yield* eventually("it is registered", isRegistered)
      const before = agent.requests.length
      yield* Effect.sleep("200 millis")
      assert.strictEqual(agent.requests.length, before)
    })
  )
})

describe("An id that another instance holds", () => {
  it.scopedLive(
    "is taken over by the newer instance at its start, with a warning that names both and the solution",
    () =>
      Effect.gen(function* () {
        const agent = yield* startConsulAgentStub()
        agent.services.set("checkout", elsewhere)
        const { address, isRegistered, lines } = yield* registeredWith(agent.address)
        assert.strictEqual(agent.services.get("checkout")?.Port, address.port)
        assert.isTrue(yield* Effect.promise(isRegistered))
        const warnings = lines.filter(({ level }) => level === "WARN").map(({ message }) => message)
        assert.strictEqual(warnings.length, 1)
        for (const part of ["the same service id checkout", "10.9.8.7:80", `127.0.0.1:${address.port}`, "serviceId"]) {
          assert.include(warnings[0], part)
        }
      })
  )

  it.scopedLive(
    "is not fought for later: one error that names it, and the registration comes back when it is gone",
    () =>
      Effect.gen(function* () {
        const agent = yield* startConsulAgentStub()
        const { address, isRegistered, lines, url } = yield* registeredWith(agent.address)
        agent.services.set("checkout", { ...elsewhere, Address: "fd00::7" })
        yield* eventually("it is noticed", async () => !(await isRegistered()))
        yield* looks(agent, 4)
        assert.strictEqual(count(agent.requests, isRegister), 1)
        agent.services.delete("checkout")
        yield* eventually("it is back", isRegistered)
        assert.strictEqual(agent.services.get("checkout")?.Port, address.port)
        const [error, info, ...more] = logged(lines)
        assert.strictEqual(error?.[0], "ERROR")
        for (const part of ["the same service id checkout", "[fd00::7]:80", `127.0.0.1:${address.port}`, "serviceId"]) {
          assert.include(error?.[1], part)
        }
        assert.deepStrictEqual(info, [
          "INFO",
          `${url} is registered again by the Consul agent at ${agent.address} with the id checkout`
        ])
        assert.isEmpty(more)
      })
  )

  it.scopedLive("stays with the other one when this one stops", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const { lines, stop } = yield* registeredWith(agent.address, { watchInterval: "1 hour" })
      agent.services.set("checkout", elsewhere)
      yield* stop
      assert.deepStrictEqual(agent.services.get("checkout"), elsewhere)
      assert.strictEqual(count(agent.requests, isDeregister), 0)
      assert.deepStrictEqual(logged(lines), [
        ["INFO", "the service checkout stays registered, because another instance has its id: 10.9.8.7:80"]
      ])
    })
  )

  it.scopedLive("stays with the other one also if the agent does not say so when this one stops", () =>
    Effect.gen(function* () {
      let isSilent = false
      const agent = yield* startConsulAgentStub((received) => isSilent && isLook(received))
      const { isRegistered, lines, stop } = yield* registeredWith(agent.address)
      agent.services.set("checkout", elsewhere)
      yield* eventually("it is noticed", async () => !(await isRegistered()))
      isSilent = true
      yield* stop
      assert.deepStrictEqual(agent.services.get("checkout"), elsewhere)
      assert.strictEqual(count(agent.requests, isDeregister), 0)
      assert.deepStrictEqual(logged(lines).at(-1), [
        "INFO",
        "the service checkout stays registered, because another instance has its id: 10.9.8.7:80"
      ])
    })
  )

  it.scopedLive("stays with the other one also if the token for the question takes its time", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const token = Effect.delay(Effect.succeed("abc"), "600 millis")
      const { stop } = yield* registeredWith(agent.address, { token, watchInterval: "1 hour" })
      agent.services.set("checkout", elsewhere)
      yield* stop
      assert.deepStrictEqual(agent.services.get("checkout"), elsewhere)
    })
  )

  it.scopedLive("removes the check of an earlier run if the registration has no check", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      agent.services.set("checkout", { ...elsewhere, Check: { TTL: "10s" } })
      yield* registeredWith(agent.address, { check: false })
      assert.include(agent.requestLines(), "PUT /v1/agent/check/deregister/service%3Acheckout")
    })
  )
})

describe("What was registered with a Consul agent", () => {
  const forgetful: Script = (received, response) => {
    if (!isRegister(received)) return false
    response.end()
    return true
  }

  const failure = (options: ConsulAgent.Options) =>
    Effect.scoped(Effect.flip(registeredWith(options.address ?? "", { required: true, ...options })))

  it.scopedLive("is read back: an agent that does not know it after all is a typed failure", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub(forgetful)
      const error = yield* failure({ address })
      assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "NotVerified" })
      assert.include(error.message, address)
      assert.include(error.message, "but shows no service")
    })
  )

  it.scopedLive("is read back: what differs is named, and it is taken back", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub((received, response) => {
        if (!isRegister(received)) return false
        const { Check: _, ...registered } = JSON.parse(received.body) as Registered
        agent.services.set("checkout", { ...registered, Tags: ["v1"] })
        response.end()
        return true
      })
      const error = yield* failure({ address: agent.address, tags: ["v2"] })
      assert.include(error.message, 'tags ["v1"] instead of ["v2"]')
      assert.isFalse(agent.services.has("checkout"))
      const unchecked = yield* failure({ address: agent.address, tags: ["v1"] })
      assert.include(unchecked.message, "no check")
    })
  )

  it.scopedLive("is read back as it is, also where words of it are secrets and the check is critical", () =>
    Effect.gen(function* () {
      // An agent before Consul 1.10, for which unknown is no 404.
      const agent: ConsulAgentStub = yield* startConsulAgentStub(({ path }, response) => {
        const known = agent.services.get("checkout")
        if (path.includes("/health/")) {
          response.writeHead(503)
          response.end(
            JSON.stringify({ Service: known, Checks: [{ CheckID: "service:checkout", Status: "critical" }] })
          )
          return true
        }
        if (known !== undefined || !path.includes("/v1/agent/service/checkout")) return false
        response.writeHead(500).end('Unknown service "checkout"')
        return true
      })
      for (const verify of [true, false]) {
        const { stop } = yield* registeredWith(agent.address, {
          verify,
          check: { header: { host: "checkout", "x-from": "service" } }
        })
        yield* looks(agent, 3)
        yield* stop
      }
      assert.strictEqual(count(agent.requests, isRegister), 2)
    })
  )

  it.scopedLive("is read back: an address that the agent changed is named", () =>
    Effect.gen(function* () {
      const agent: ConsulAgentStub = yield* startConsulAgentStub((received, response) => {
        if (!isRegister(received)) return false
        agent.services.set("checkout", { ...(JSON.parse(received.body) as Registered), Address: "10.9.8.7" })
        response.end()
        return true
      })
      const error = yield* failure({ address: agent.address })
      assert.include(error.message, 'address "10.9.8.7" instead of "127.0.0.1"')
    })
  )

  it.scopedLive("is not read back with verify: false", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub(forgetful)
      const { isRegistered } = yield* registeredWith(address, { verify: false, watchInterval: "1 hour" })
      assert.isTrue(yield* Effect.promise(isRegistered))
    })
  )

  it.scopedLive("has the path and the scheme of the metrics in its metadata, and the given metadata", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      yield* registeredWith(agent.address, { meta: { metrics_path: "/through/a/proxy", zone: "b" } })
      assert.deepStrictEqual(agent.services.get("checkout")?.Meta, {
        metrics_path: "/through/a/proxy",
        metrics_scheme: "http",
        zone: "b"
      })
    })
  )
})

describe("The token of a Consul agent", () => {
  it.scopedLive("can be an effect, run for each call; with another token the service is registered again", () =>
    Effect.gen(function* () {
      let token = "the-first"
      const agent = yield* startConsulAgentStub()
      const { stop } = yield* registeredWith(agent.address, { token: Effect.sync(() => Redacted.make(token)) })
      yield* looks(agent, 2)
      assert.isTrue(agent.requests.every((received) => received.token === "the-first"))
      const before = agent.requests.length
      token = "the-second"
      yield* eventually("it is registered again", async () => count(agent.requests, isRegister) === 2)
      yield* looks(agent, 3)
      yield* stop
      // One call can have been under way.
      assert.isTrue(agent.requests.slice(before + 1).every((received) => received.token === "the-second"))
      assert.strictEqual(count(agent.requests, isRegister), 2)
    })
  )

  it.scopedLive("can be a function for plain promises", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      for (const token of [
        () => "now",
        async () => Redacted.make("later"),
        Effect.succeed("in an effect"),
        "as it is"
      ]) {
        const serviceDiscovery = Promises.consulAgent({ address: agent.address, token })
        const options = { host: "127.0.0.1", registry: new PromRegistry(), log: false, serviceDiscovery } as const
        const server = yield* Effect.promise(() => Promises.startHttpServer(options))
        yield* Effect.promise(() => server.close())
      }
      const tokens = [...new Set(agent.requests.map(({ token }) => token))]
      assert.deepStrictEqual(tokens, ["now", "later", "in an effect", "as it is"])
    })
  )

  const failing: ReadonlyArray<readonly [string, Effect.Effect<never, unknown> | Effect.Effect<string>, string]> = [
    ["fails", Effect.fail(new RangeError("the-secret is out of range")), "failed with RangeError"],
    ["fails with a tag", Effect.fail({ _tag: "VaultError", token: "the-secret" }), "failed with VaultError"],
    ["fails with the token", Effect.fail("the-secret"), "the token effect failed"],
    ["dies", Effect.die(new Error("the-secret")), "died with Error"],
    ["interrupts itself", Effect.interrupt, "was interrupted"],
    ["gives no text", Effect.succeed({ token: "the-secret" } as never), "a value that is not a string"],
    ["gives what no header holds", Effect.succeed("the-secret\n"), "not valid in a header"],
    ["never ends", Effect.never, "did not end within 200 ms"],
    ["never ends and cannot be interrupted", Effect.uninterruptible(Effect.never), "did not end within 200 ms"]
  ]
  for (const [how, token, why] of failing) {
    it.scopedLive(`is a typed failure without the token where its effect ${how}`, () =>
      Effect.gen(function* () {
        const { address, requests } = yield* startConsulAgentStub()
        const { layer, lines } = logging()
        const error = yield* Effect.scoped(
          Effect.flip(
            Layer.build(serverOf(address, { token, timeout: "200 millis", required: true }).pipe(Layer.provide(layer)))
          )
        ).pipe(Logger.withMinimumLogLevel(LogLevel.All))
        assert.notInclude(inspect(lines), "the-secret")
        assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "Token" })
        assert.include(error.message, address)
        assert.include(error.message, why)
        assert.notInclude(inspect(error, { depth: Number.POSITIVE_INFINITY }), "the-secret")
        assert.isEmpty(requests)
      })
    )
  }

  itInTime("is asked for once when the registration is taken back, which has to be done in time", function* () {
    const agent = yield* startConsulAgentStub()
    const token = Effect.delay(Effect.succeed("abc"), "2 seconds")
    const { lines, stop } = yield* registeredWith(agent.address, { token, watchInterval: false }, "3500 millis")
    yield* stop
    assert.isEmpty([...agent.services.keys()])
    assert.deepStrictEqual(logged(lines), [])
  })

  it.scopedLive("that nothing can interrupt while it is waited for holds up no shutdown", () =>
    Effect.gen(function* () {
      let isStuck = false
      const waits = yield* Deferred.make<void>()
      const token = Effect.suspend(() => {
        if (!isStuck) return Effect.succeed("abc")
        isStuck = false
        return Effect.uninterruptible(Effect.zipRight(Deferred.succeed(waits, undefined), Effect.never))
      })
      const agent = yield* startConsulAgentStub()
      const { stop } = yield* registeredWith(agent.address, { token })
      isStuck = true
      yield* Deferred.await(waits)
      yield* stop
      assert.isEmpty([...agent.services.keys()])
    })
  )

  it.scopedLive("is in no span, as nothing here has one", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const spans: Array<string> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        span: (name, parent, context, links, startTime, kind) => {
          spans.push(name)
          return native.span(name, parent, context, links, startTime, kind)
        },
        context: (run) => run()
      })
      yield* Effect.flatMap(ConsulAgent.make({ address: agent.address, token: "the-secret" }), ({ register }) =>
        register(there)
      ).pipe(Effect.withSpan("the application"), Effect.withTracer(tracer))
      assert.isAtLeast(agent.requests.length, 4)
      assert.deepStrictEqual(spans, ["the application"])
    })
  )

  it.scopedLive("that cannot be read for a while is logged once, and the watch continues", () =>
    Effect.gen(function* () {
      let isLost = false
      const token = Effect.suspend(() => (isLost ? Effect.fail(new Error("the-secret")) : Effect.succeed("the-secret")))
      const agent = yield* startConsulAgentStub()
      const { isRegistered, lines } = yield* registeredWith(agent.address, { token })
      isLost = true
      yield* eventually("it is not sure", async () => !(await isRegistered()))
      yield* Effect.sleep("150 millis")
      isLost = false
      yield* eventually("it is sure", isRegistered)
      assert.deepStrictEqual(
        logged(lines).map(([level]) => level),
        ["WARN", "INFO"]
      )
      assert.notInclude(inspect(lines), "the-secret")
    })
  )
})

describe("The check of a Consul agent", () => {
  it.scopedLive("forgets the service after ten minutes by default, after another time, or never", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const check = { interval: "1 second" } as const
      for (const [after, sent] of [
        [undefined, "600s"],
        ["90 seconds", "90s"],
        [false, undefined]
      ] as const) {
        const { healthUrl, stop } = yield* registeredWith(agent.address, {
          check: { ...check, deregisterCriticalServiceAfter: after }
        })
        assert.deepStrictEqual(agent.services.get("checkout")?.Check, {
          HTTP: healthUrl,
          Interval: "1s",
          ...(sent === undefined ? {} : { DeregisterCriticalServiceAfter: sent })
        })
        yield* stop
      }
    })
  )

  it.scopedLive("carries headers", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const header = { authorization: Redacted.make("Basic abc"), "x-from": "consul" }
      yield* registeredWith(agent.address, { check: { header } })
      assert.deepStrictEqual(agent.services.get("checkout")?.Check?.["Header"], {
        authorization: ["Basic abc"],
        "x-from": ["consul"]
      })
    })
  )

  /** A server whose page for health checks asks for credentials. */
  const closed = { ...there, isHealthOpen: false }

  it.scopedLive("is refused where the server would turn it away, with the ways out", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      for (const check of [undefined, {}, { interval: "1 second" }, { header: {} }] as const) {
        const discovery = yield* ConsulAgent.make({ address: agent.address, check })
        const error = yield* Effect.flip(discovery.register(closed))
        assert.strictEqual(error.reason, "InvalidOptions")
        for (const way of [closed.healthUrl, "check.header", "check.ttl", "openHealthPage"]) {
          assert.include(error.message, way)
        }
      }
      assert.isEmpty(agent.requests)
      const ways = [
        false,
        { url: "http://127.0.0.1:1/" },
        { header: { authorization: "Basic abc" } },
        { ttl: "9 seconds" }
      ]
      for (const check of ways as ReadonlyArray<ConsulAgent.Check>) {
        const discovery = yield* ConsulAgent.make({ address: agent.address, check })
        yield* Effect.scoped(discovery.register(closed))
      }
      assert.strictEqual(count(agent.requests, isRegister), 4)
    })
  )

  it.scopedLive("is refused where the agent has no certificate to show, with the ways out", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const header = { authorization: "Basic abc" }
      for (const isHealthOpen of [true, false]) {
        const locked = { ...there, isHealthOpen, needsCertificate: true }
        for (const check of [undefined, {}, { header }] as const) {
          const discovery = yield* ConsulAgent.make({ address: agent.address, check })
          const error = yield* Effect.flip(discovery.register(locked))
          assert.strictEqual(error.reason, "InvalidOptions")
          for (const way of [
            locked.healthUrl,
            "certificate",
            "check.ttl",
            "check.url",
            "enable_agent_tls_for_checks"
          ]) {
            assert.include(error.message, way)
          }
        }
        assert.isFalse(agent.requests.some(isRegister))
        for (const check of [false, { url: "https://127.0.0.1:1/", header }, { ttl: "9 seconds" }] as const) {
          const discovery = yield* ConsulAgent.make({ address: agent.address, check })
          yield* Effect.scoped(discovery.register(locked))
        }
        assert.strictEqual(count(agent.requests, isRegister), 3)
        agent.requests.length = 0
      }
    })
  )

  it.scopedLive("accepts durations that are longer than any timer", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const long = { interval: "26 days", timeout: "25 days" } as const
      for (const [check, sent] of [
        [long, { Interval: "2246400s", Timeout: "2160000s", DeregisterCriticalServiceAfter: "2592000s" }],
        [{ ttl: "90 days" }, { TTL: "7776000s", DeregisterCriticalServiceAfter: "2592000s" }]
      ] as const) {
        const { stop } = yield* registeredWith(agent.address, {
          check: { ...check, deregisterCriticalServiceAfter: "30 days" }
        })
        assert.deepInclude(agent.services.get("checkout")?.Check, sent)
        yield* stop
      }
    })
  )

  itInTime("with a TTL is passing from the start, and fed three times in its life", function* () {
    const agent = yield* startConsulAgentStub()
    const start = performance.now()
    yield* registeredWith(agent.address, { check: { ttl: "3300 millis" } })
    assert.deepStrictEqual(agent.services.get("checkout")?.Check, {
      TTL: "3300ms",
      Status: "passing",
      DeregisterCriticalServiceAfter: "600s"
    })
    yield* eventually("it is fed four times", async () => count(agent.requests, isPass) >= 4)
    const took = performance.now() - start
    // The first at once, and then three.
    assert.isAtLeast(took, 3_200)
    assertWithin(took, 3_300 + 1_000)
  })

  it.scopedLive("with a TTL that the agent does not know is looked at at once, and registered again", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const { isRegistered } = yield* registeredWith(agent.address, {
        check: { ttl: "1 second" },
        watchInterval: "1 hour"
      })
      agent.services.delete("checkout")
      yield* eventually("it is registered again", async () => agent.services.has("checkout"))
      yield* eventually("it is fed again", async () => {
        const last = agent.requests.at(-1)
        return last !== undefined && isPass(last)
      })
      assert.isTrue(yield* Effect.promise(isRegistered))
    })
  )

  it.scopedLive("with a TTL is passed again after an agent that failed, also without a watch", () =>
    Effect.gen(function* () {
      let isDown = false
      const agent = yield* startConsulAgentStub(refusing(() => isDown))
      const options = { check: { ttl: "1 second" }, watchInterval: false } as const
      const { isRegistered, lines } = yield* registeredWith(agent.address, options)
      isDown = true
      yield* eventually("it is not sure", async () => !(await isRegistered()))
      isDown = false
      yield* eventually("it is sure", isRegistered)
      assert.deepStrictEqual(
        logged(lines).map(([level]) => level),
        ["WARN", "INFO"]
      )
    })
  )

  it.scopedLive("with a TTL logs once that it cannot be passed, and once that it passes again", () =>
    Effect.gen(function* () {
      let isRefused = true
      const agent = yield* startConsulAgentStub(refusing((received) => isRefused && isPass(received)))
      const { lines, url } = yield* registeredWith(agent.address, { check: { ttl: "1 second" } })
      yield* eventually("it was tried", async () => count(agent.requests, isPass) >= 6)
      isRefused = false
      yield* eventually("it is logged", async () => logged(lines).length > 1)
      const refused = `the Consul agent at ${agent.address} answered 500 to PUT /v1/agent/check/pass/service%3Acheckout: Permission denied`
      assert.deepStrictEqual(logged(lines), [
        ["WARN", `${refused}; the check of ${url} becomes critical if this continues`],
        ["INFO", `the check of ${url} passes again`]
      ])
    })
  )

  it.scopedLive("with a TTL is not fed where another instance holds the id", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const { isRegistered } = yield* registeredWith(agent.address, { check: { ttl: "1 second" } })
      agent.services.set("checkout", { ...elsewhere, Check: { TTL: "1s" } })
      yield* eventually("it is noticed", async () => !(await isRegistered()))
      // It may have been logged already.
      yield* looks(agent, 2)
      const before = count(agent.requests, isPass)
      yield* Effect.sleep("700 millis")
      assert.strictEqual(count(agent.requests, isPass), before)
    })
  )
})

describe("A shutdown with a Consul agent", () => {
  const ways: ReadonlyArray<readonly [string, (received: RecordedRequest, request: Parameters<Script>[2]) => boolean]> =
    [
      ["that never answers", () => true],
      [
        "that hangs up",
        (_, request) => {
          request.socket.destroy()
          return true
        }
      ]
    ]
  for (const [how, answer] of ways) {
    itInTime(`${how} is over within its bound, and the port is free`, function* () {
      let isOver = false
      const agent = yield* startConsulAgentStub((received, _, request) => isOver && answer(received, request))
      const { address, lines, stop } = yield* registeredWith(agent.address, { watchInterval: "20 millis" }, "2 seconds")
      isOver = true
      yield* looks(agent, 1)
      const [took] = yield* Effect.timed(stop)
      assertWithin(Duration.toMillis(took), 2_000 + 900, "the shutdown")
      yield* assertFree(address.port)
      assert.isTrue(lines.some(({ level, message }) => level === "WARN" && message.includes(agent.address)))
      assert.isTrue(agent.requests.some(isDeregister))
    })
  }
})
