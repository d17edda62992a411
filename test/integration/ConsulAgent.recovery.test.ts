import { mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Registry from "../../src/Registry.js"
import { describeWith } from "../support/binaries.js"
import { runFixture } from "../support/childProcess.js"
import { assertFree } from "../support/httpClient.js"
import { listen } from "../support/listen.js"
import { logging } from "../support/servers.js"
import { type Consul, consul, consulPorts, type Forwarded, forwarding, prometheus, until } from "../support/services.js"
import { assertInTime, assertWithin, itInTime } from "../support/timing.js"

const masterToken = "7c2b6bd4-6f5c-4ac5-9c33-3c6ccd0f2a11"

/** A registered server, what it logs, and its end. */
const registeredWith = (options: ConsulAgent.Options, server: MetricsServer.Options = {}) =>
  Effect.gen(function* () {
    const { layer: logger, lines } = logging()
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
    const running = yield* MetricsServer.layer({ host: "127.0.0.1", shutdownTimeout: "2 seconds", ...server }).pipe(
      Layer.provide(ConsulAgent.layer(options)),
      Layer.provide(Registry.layer(new PromRegistry())),
      Layer.provide(logger),
      Layer.build,
      Effect.map((context) => Context.get(context, MetricsServer.MetricsServer)),
      Scope.extend(scope)
    )
    return { ...running, lines, stop: Scope.close(scope, Exit.void) }
  })

const known = ({ services }: Consul, id: string) => Effect.map(services, (all) => all[id])

const isKnown = (agent: Consul, id: string, seconds?: number) =>
  until(`${id} is registered`, known(agent, id), (service) => service !== undefined, seconds)

const isGone = (agent: Consul, id: string, seconds?: number) =>
  until(`${id} is gone`, known(agent, id), (service) => service === undefined, seconds)

interface Check {
  readonly Status: string
}

/** The check of a service, as the agent itself knows it. */
const checkOf = ({ get }: Consul, id: string, token?: string) =>
  Effect.map(get<Readonly<Record<string, Check>>>("/v1/agent/checks", token), (all) => all[`service:${id}`]?.Status)

const isPassing = (agent: Consul, id: string) =>
  until("its check passes", checkOf(agent, id), (status) => status === "passing")

const isRegister = ({ path }: Forwarded) => path.endsWith("/register")

const millis = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([took]) => Math.round(Duration.toMillis(took)))

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "consul-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const levels = (lines: ReadonlyArray<{ readonly level: string }>) => lines.slice(1).map(({ level }) => level)

describeWith(
  ["consul", "prometheus"],
  "With a Consul agent that is killed and has lost its state when it comes back",
  () => {
    itInTime(
      "a service is registered again within 15 s, and Prometheus misses it no longer than that and two scrapes",
      function* () {
        const ports = yield* consulPorts
        const first = yield* consul({ ports })
        const { address, isRegistered, lines } = yield* registeredWith({ address: first.address, name: "checkout" })
        const { query, timesOf } = yield* prometheus("prometheus", [
          {
            job_name: "services",
            consul_sd_configs: [{ server: first.address.replace("http://", ""), refresh_interval: "1s" }],
            relabel_configs: [{ source_labels: ["__meta_consul_service"], regex: "checkout", action: "keep" }]
          }
        ])
        yield* until("it is up", query("up"), (up) => up === 1)
        yield* first.kill
        const second = yield* consul({ ports })
        assert.isUndefined(yield* known(second, "checkout"))
        const healed = yield* millis(isKnown(second, "checkout", 15))
        assert.strictEqual((yield* known(second, "checkout"))?.Port, address.port)
        yield* until("it knows", isRegistered, (is) => is)
        // After a failure Prometheus asks Consul again in 15 seconds.
        yield* Effect.sleep("25 seconds")
        yield* until("it is up to the end", query("up"), (up) => up === 1)
        const times = yield* timesOf("up", 1, 3)
        const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
        const longest = Math.max(...gaps)
        console.log(
          `registered again ${healed} ms after the agent was back; of ${times.length} scrapes over ` +
            `${Math.round((times.at(-1) ?? 0) - (times[0] ?? 0))} s the longest gap was ${longest.toFixed(1)} s`
        )
        assertInTime(times.length > 40, `${times.length} scrapes`)
        assertInTime(longest <= 15 + 2 * 0.5, `a gap of ${longest} s`)
        assert.deepInclude(["INFO", "WARN,INFO"], levels(lines).join())
      },
      600_000
    )
  }
)

describeWith(["consul"], "With a Consul agent that is killed and comes back with its state", () => {
  it.scopedLive("a service is looked at and not registered again", () =>
    Effect.gen(function* () {
      const options = { ports: yield* consulPorts, dataDir: yield* folder }
      const first = yield* consul(options)
      const heard: Array<Forwarded> = []
      const proxy = yield* forwarding(first.address, async (one) => void heard.push(one))
      const check = { interval: "1 second" } as const
      const { isRegistered } = yield* registeredWith({
        address: proxy,
        name: "checkout",
        watchInterval: "1 second",
        check
      })
      yield* isPassing(first, "checkout")
      yield* first.kill
      yield* until("it is not sure", isRegistered, (is) => !is)
      const second = yield* consul(options)
      yield* until("it is sure", isRegistered, (is) => is)
      const looked = heard.length
      yield* until(
        "it looks on",
        Effect.sync(() => heard.length),
        (length) => length > looked + 6
      )
      assert.strictEqual(heard.filter(isRegister).length, 1)
      assert.isDefined(yield* known(second, "checkout"))
      yield* isPassing(second, "checkout")
    })
  )
})

describeWith(["consul"], "A server whose Consul agent", () => {
  itInTime("is down when it stops stops within its bound, with a warning", function* () {
    const agent = yield* consul()
    const { address, lines, stop } = yield* registeredWith({ address: agent.address, watchInterval: false })
    yield* agent.kill
    const took = yield* millis(stop)
    console.log(`stopped in ${took} ms with the agent down`)
    assertWithin(took, 2_000 + 900, "the shutdown")
    yield* assertFree(address.port)
    assert.deepStrictEqual(levels(lines), ["WARN"])
    assert.include(lines[1]?.message, "ECONNREFUSED")
  })

  itInTime("hangs when it stops stops within its bound, with a warning", function* () {
    const agent = yield* consul()
    const { address, lines, stop } = yield* registeredWith({ address: agent.address, watchInterval: false })
    yield* agent.hang
    const took = yield* millis(stop)
    console.log(`stopped in ${took} ms with the agent hanging, of 2000 that it may take`)
    assertWithin(took, 2_000 + 900, "the shutdown")
    yield* assertFree(address.port)
    assert.deepStrictEqual(levels(lines), ["WARN"])
    assert.include(lines[1]?.message, agent.address)
  })

  itInTime("hangs for a while knows that it is not sure, and is sure again afterwards", function* () {
    const agent = yield* consul()
    const options = { address: agent.address, watchInterval: "200 millis", timeout: "500 millis" } as const
    const { isRegistered, lines } = yield* registeredWith(options)
    yield* agent.hang
    yield* until("it is not sure", isRegistered, (is) => !is)
    yield* agent.goOn
    yield* until("it is sure", isRegistered, (is) => is)
    assert.deepStrictEqual(levels(lines), ["WARN", "INFO"])
    assert.include(lines[1]?.message, "did not answer")
  })

  it.scopedLive("hangs at its start fails in time if it is required, and serves if not", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      yield* agent.hang
      const options = { address: agent.address, timeout: "500 millis" } as const
      const error = yield* Effect.scoped(Effect.flip(registeredWith({ ...options, required: true })))
      assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "Timeout" })
      const { isRegistered, url } = yield* registeredWith(options)
      assert.strictEqual((yield* Effect.promise(() => fetch(url))).status, 200)
      assert.isFalse(yield* isRegistered)
      yield* agent.goOn
      yield* until("it is registered", isRegistered, (is) => is)
    })
  )
})

describeWith(["consul"], "The metric effect_prometheus_registered, as it is scraped,", () => {
  const registered = (url: string) =>
    Effect.promise(async () => {
      const body = await (await fetch(url)).text()
      return Number(/^effect_prometheus_registered (\S+)$/m.exec(body)?.[1])
    })

  it.scopedLive(
    "is 1 while the Consul agent has the service, 0 while it is gone or has it otherwise, and 1 again",
    () =>
      Effect.gen(function* () {
        const ports = yield* consulPorts
        const first = yield* consul({ ports })
        const options = { address: first.address, name: "checkout", watchInterval: "200 millis" } as const
        const { url } = yield* registeredWith(options)
        assert.strictEqual(yield* registered(url), 1)
        yield* first.kill
        yield* until("it is 0 without the agent", registered(url), (value) => value === 0)
        const second = yield* consul({ ports })
        yield* until("it is 1 with an agent that had forgotten it", registered(url), (value) => value === 1)
        assert.isDefined(yield* known(second, "checkout"))
        yield* Effect.promise(() =>
          fetch(`${second.address}/v1/agent/service/register`, {
            method: "PUT",
            body: JSON.stringify({ ID: "checkout", Name: "checkout", Address: "127.0.0.9", Port: 9 })
          })
        )
        yield* until("it is 0 when another has its id", registered(url), (value) => value === 0)
        assert.strictEqual((yield* known(second, "checkout"))?.Port, 9)
        yield* Effect.promise(() => fetch(`${second.address}/v1/agent/service/deregister/checkout`, { method: "PUT" }))
        yield* until("it is 1 when the id is free", registered(url), (value) => value === 1)
        assert.isDefined(yield* known(second, "checkout"))
      })
  )
})

describeWith(["consul"], "With the ACLs of a Consul agent", () => {
  const rules = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'

  const acl = (agent: Consul) => {
    const put = <A>(path: string, body: unknown) => agent.put<A>(path, body, masterToken)
    return {
      policy: until("the policy is written", put("/v1/acl/policy", { Name: "services", Rules: rules }), () => true),
      token: (policies: ReadonlyArray<string>) =>
        put<{ readonly SecretID: string; readonly AccessorID: string }>("/v1/acl/token", {
          Policies: policies.map((Name) => ({ Name }))
        }),
      allow: (accessor: string) =>
        put(`/v1/acl/token/${accessor}`, { AccessorID: accessor, Policies: [{ Name: "services" }] }),
      forget: (accessor: string) =>
        Effect.promise(() =>
          fetch(`${agent.address}/v1/acl/token/${accessor}`, {
            method: "DELETE",
            headers: { "x-consul-token": masterToken }
          }).then((answer) => answer.text())
        )
    }
  }

  it.scopedLive("a token that is allowed to register later registers then", () =>
    Effect.gen(function* () {
      const agent = yield* consul({ masterToken })
      const { allow, policy, token } = acl(agent)
      yield* policy
      const { AccessorID, SecretID } = yield* token([])
      const options = {
        address: agent.address,
        name: "checkout",
        token: Redacted.make(SecretID)
      } as const
      const { isRegistered, lines } = yield* registeredWith(options)
      assert.isFalse(yield* isRegistered)
      assert.include(lines[0]?.message, "403")
      yield* allow(AccessorID)
      const took = yield* millis(until("it is registered", isRegistered, (is) => is))
      console.log(`registered ${took} ms after it was allowed to`)
      assert.isDefined(yield* known(agent, "checkout"))
    })
  )

  it.scopedLive("a token that is replaced is replaced everywhere, also where the agent speaks to the servers", () =>
    Effect.gen(function* () {
      const agent = yield* consul({ masterToken })
      const { forget, policy, token } = acl(agent)
      yield* policy
      const heard: Array<Forwarded> = []
      const proxy = yield* forwarding(agent.address, async (one) => void heard.push(one))
      let current = yield* token(["services"])
      const { isRegistered, lines, stop } = yield* registeredWith({
        address: proxy,
        name: "checkout",
        token: Effect.sync(() => Redacted.make(current.SecretID)),
        watchInterval: "500 millis",
        check: { ttl: "3 seconds" }
      })
      const catalog = agent.get<ReadonlyArray<unknown>>("/v1/catalog/service/checkout", masterToken)
      yield* until("the catalog knows it", catalog, (entries) => entries.length === 1)
      const old = current
      current = yield* token(["services"])
      yield* forget(old.AccessorID)
      yield* until(
        "it is registered with the new one",
        Effect.sync(() => heard),
        (all) => all.some((one) => isRegister(one) && one.token === current.SecretID)
      )
      yield* until("it is sure", isRegistered, (is) => is)
      const { length } = heard
      yield* until(
        "it looks on",
        Effect.sync(() => heard.length),
        (now) => now > length + 6
      )
      assert.isTrue(heard.slice(length).every((one) => one.token === current.SecretID))
      assert.strictEqual(heard.filter(isRegister).length, 2)
      yield* stop
      yield* until("the catalog has forgotten it", catalog, (entries) => entries.length === 0)
      for (const { message } of lines) {
        for (const { SecretID } of [old, current]) assert.notInclude(message, SecretID)
      }
    })
  )
})

describeWith(["consul"], "Two instances with one id at a Consul agent", () => {
  it.scopedLive(
    "warn of each other: the newer one has the id, keeps it when the older one stops, and deregisters it",
    () =>
      Effect.gen(function* () {
        const agent = yield* consul()
        const options = { address: agent.address, name: "checkout", watchInterval: "300 millis" } as const
        const portOf = Effect.map(known(agent, "checkout"), (service) => service?.Port)
        const first = yield* registeredWith(options)
        const second = yield* registeredWith(options)
        assert.strictEqual(yield* portOf, second.address.port)
        yield* until("the first notices", first.isRegistered, (is) => !is)
        assert.isTrue(yield* second.isRegistered)
        const places = [`127.0.0.1:${first.address.port}`, `127.0.0.1:${second.address.port}`]
        const warning = second.lines.find(({ level }) => level === "WARN")
        const error = first.lines.find(({ level }) => level === "ERROR")
        for (const part of [...places, "checkout", "serviceId"]) {
          assert.include(warning?.message, part)
          assert.include(error?.message, part)
        }
        yield* second.stop
        yield* until("the first is back", portOf, (port) => port === first.address.port)
        const third = yield* registeredWith(options)
        yield* first.stop
        assert.strictEqual(yield* portOf, third.address.port)
        assert.isTrue(yield* third.isRegistered)
      })
  )
})

describeWith(["consul"], "The check at a Consul agent", () => {
  itInTime("with a TTL passes while the process reports it, and is critical after it stops", function* () {
    const agent = yield* consul()
    const options = { address: agent.address, name: "checkout", deregister: false } as const
    const { stop } = yield* registeredWith({ ...options, check: { ttl: "1500 millis" } })
    assert.strictEqual(yield* checkOf(agent, "checkout"), "passing")
    yield* Effect.sleep("4 seconds")
    assert.strictEqual(yield* checkOf(agent, "checkout"), "passing")
    yield* stop
    yield* until("it is critical", checkOf(agent, "checkout"), (status) => status === "critical")
  })

  it.scopedLive("is made again after it was removed, of either kind", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const watchInterval = "300 millis"
      yield* registeredWith({ address: agent.address, name: "asked", watchInterval, check: { interval: "1 second" } })
      yield* registeredWith({ address: agent.address, name: "told", watchInterval: false, check: { ttl: "2 seconds" } })
      for (const id of ["asked", "told"]) {
        yield* isPassing(agent, id)
        yield* Effect.promise(() =>
          fetch(`${agent.address}/v1/agent/check/deregister/service:${id}`, { method: "PUT" }).then((answer) =>
            answer.text()
          )
        )
        yield* isPassing(agent, id)
      }
    })
  )

  it.scopedLive("shows the header that it was given", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const seen = new Set<string | undefined>()
      const server = createServer(({ headers: { authorization } }, response) => {
        seen.add(authorization)
        response.writeHead(authorization === "Bearer abc" ? 200 : 401).end()
      })
      const url = `http://127.0.0.1:${yield* listen(server)}/`
      const header = { Authorization: Redacted.make("Bearer abc") }
      const check = { url, header, interval: "1 second" } as const
      yield* registeredWith({ address: agent.address, name: "checkout", check })
      yield* isPassing(agent, "checkout")
      assert.deepStrictEqual([...seen], ["Bearer abc"])
    })
  )

  it.scopedLive("of an earlier run that was killed is removed if there is to be no check", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const options = { address: agent.address, name: "checkout" } as const
      const earlier = yield* registeredWith({ ...options, deregister: false, check: { ttl: "1 second" } })
      yield* earlier.stop
      yield* registeredWith({ ...options, check: false })
      assert.isUndefined(yield* checkOf(agent, "checkout"))
    })
  )

  it.scopedLive(
    "makes the agent forget a process that was killed with SIGKILL, once its time is over",
    () =>
      Effect.gen(function* () {
        const agent = yield* consul()
        const check = { interval: "1 second", deregisterCriticalServiceAfter: "1 minute" }
        const options = JSON.stringify({ address: agent.address, name: "checkout", check })
        const ended = yield* runFixture("consulRegistration.mjs", {
          args: ["layer", options, "stays"],
          signal: { on: "registered\n", name: "SIGKILL" }
        })
        assert.strictEqual(ended.signal, "SIGKILL")
        yield* isKnown(agent, "checkout")
        const took = yield* millis(isGone(agent, "checkout", 150))
        console.log(`the agent forgot it ${(took / 1_000).toFixed(0)} s after the SIGKILL`)
        assert.isAtLeast(took, 55_000)
      }),
    300_000
  )
})

describeWith(["consul"], "What a Consul agent takes", () => {
  it.scopedLive("are 64 pairs of metadata, with keys of 128 characters and values of 512 bytes", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const pairs = Array.from({ length: 62 }, (_, index) => [`${index}_-K`.padEnd(128, "k"), "ü".repeat(256)])
      yield* registeredWith({ address: agent.address, name: "checkout", meta: Object.fromEntries(pairs) })
      const service = yield* known(agent, "checkout")
      assert.strictEqual(Object.keys(service?.Meta ?? {}).length, 64)
      assert.deepInclude(service?.Meta, { metrics_path: "/metrics", metrics_scheme: "http" })
    })
  )
})
