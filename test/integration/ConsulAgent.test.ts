import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import * as Prometheus from "prom-client"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Promises from "../../src/Promises.js"
import * as Registry from "../../src/Registry.js"
import { ServiceDiscoveryError } from "../../src/ServiceDiscovery.js"
import { describeWith } from "../support/binaries.js"
import { type Consul, consul, forwarding, freePorts, until } from "../support/services.js"

const masterToken = "7c2b6bd4-6f5c-4ac5-9c33-3c6ccd0f2a11"

type Discovery = ReturnType<typeof ConsulAgent.layerEnv>

const serving = (
  discovery: Discovery,
  options: MetricsServer.Options = {},
  registry: Registry.MetricRegistry = new Prometheus.Registry()
) =>
  MetricsServer.layer({ host: "127.0.0.1", shutdownTimeout: "2 seconds", ...options }).pipe(
    Layer.provide(discovery),
    Layer.provide(Registry.layer(registry)),
    Layer.build,
    Effect.map((context) => Context.get(context, MetricsServer.MetricsServer))
  )

/** The same, with the scope in the test's hands. */
const served = (discovery: Discovery, options?: MetricsServer.Options, registry?: Registry.MetricRegistry) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const server = yield* Scope.extend(serving(discovery, options, registry), scope)
    return { server, stop: Scope.close(scope, Exit.void) }
  })

const failure = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.scoped(Effect.flip(effect))

const isListening = (port: number) =>
  Effect.promise(
    () =>
      new Promise<boolean>((resolve) => {
        const server = createServer()
        server.once("error", () => resolve(true))
        server.listen(port, "127.0.0.1", () => server.close(() => resolve(false)))
      })
  )

const service = ({ services }: Consul, id: string) => Effect.map(services, (all) => all[id])

const checkStatus = ({ get }: Consul, name: string) =>
  Effect.map(
    get<ReadonlyArray<{ readonly Status: string }>>(`/v1/health/checks/${name}`),
    (checks) => checks[0]?.Status
  )

describeWith(["consul"], "A server registered with a Consul agent", () => {
  it.scopedLive("is there with its name, id, tags, address and port, and its check turns passing", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const server = yield* serving(
        ConsulAgent.layer({
          address: agent.address,
          name: "checkout",
          serviceId: "checkout-1",
          tags: ["v2", "blue"],
          check: { interval: "1 second" }
        })
      )
      assert.isTrue(yield* server.isRegistered)
      const registered = yield* service(agent, "checkout-1")
      assert.deepInclude(registered, {
        ID: "checkout-1",
        Service: "checkout",
        Tags: ["v2", "blue"],
        Address: "127.0.0.1",
        Port: server.address.port
      })
      yield* until("the check is passing", checkStatus(agent, "checkout"), (status) => status === "passing")
    })
  )

  it.scopedLive("has the seed's defaults: app-metrics as name and id, no tags, a check every ten seconds", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const sent: Array<unknown> = []
      const proxy = yield* forwarding(agent.address, async ({ body, path }) => {
        if (path.endsWith("/register")) sent.push(JSON.parse(body))
      })
      const { address, healthUrl } = yield* serving(ConsulAgent.layer({ address: proxy }))
      assert.deepEqual(sent, [
        {
          Name: "app-metrics",
          ID: "app-metrics",
          Tags: [],
          Address: "127.0.0.1",
          Port: address.port,
          Meta: { metrics_path: "/metrics", metrics_scheme: "http" },
          Check: { HTTP: healthUrl, Interval: "10s", DeregisterCriticalServiceAfter: "600s" }
        }
      ])
      assert.deepInclude(yield* service(agent, "app-metrics"), { Service: "app-metrics", Tags: [] })
    })
  )

  it.scopedLive("gives no address on a wildcard bind, and the check still passes on this machine", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const layer = ConsulAgent.layer({ address: agent.address, name: "everywhere", check: { interval: "1 second" } })
      yield* serving(layer, { host: "0.0.0.0" })
      assert.strictEqual((yield* service(agent, "everywhere"))?.Address, "")
      yield* until("the check is passing", checkStatus(agent, "everywhere"), (status) => status === "passing")
    })
  )

  it.scopedLive("advertises the configured address, and has no check if it is disabled", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const advertise = { address: "10.1.2.3", port: 80 }
      yield* serving(ConsulAgent.layer({ address: agent.address, name: "behind-a-proxy", advertise, check: false }))
      assert.deepInclude(yield* service(agent, "behind-a-proxy"), { Address: "10.1.2.3", Port: 80 })
      assert.deepEqual(yield* agent.get("/v1/health/checks/behind-a-proxy"), [])
    })
  )

  it.scopedLive("is gone from the agent before its port closes", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const ports: Array<number> = []
      const seen: Array<{ readonly gone: boolean; readonly listening: boolean }> = []
      // Stands between the library and the real agent, and looks around when the agent has answered a deregistration.
      const proxy = yield* forwarding(agent.address, async ({ path }) => {
        if (!path.includes("/deregister/")) return
        const gone = (await Effect.runPromise(service(agent, "leaving"))) === undefined
        seen.push({ gone, listening: await Effect.runPromise(isListening(ports[0] ?? 0)) })
      })
      const { server, stop } = yield* served(ConsulAgent.layer({ address: proxy, name: "leaving" }))
      ports.push(server.address.port)
      assert.isDefined(yield* service(agent, "leaving"))
      yield* stop
      assert.deepEqual(seen, [{ gone: true, listening: true }])
      assert.isFalse(yield* isListening(server.address.port))
      assert.isFalse(yield* server.isRegistered)
    })
  )

  it.scopedLive("is taken back when the application is interrupted", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const layer = MetricsServer.layer({ host: "127.0.0.1" }).pipe(
        Layer.provide(ConsulAgent.layer({ address: agent.address, name: "interrupted" })),
        Layer.provide(Registry.layer(new Prometheus.Registry()))
      )
      const application = yield* Effect.fork(Layer.launch(layer))
      yield* until("it is registered", service(agent, "interrupted"), (known) => known !== undefined)
      yield* Fiber.interrupt(application)
      assert.isUndefined(yield* service(agent, "interrupted"))
    })
  )

  it.scopedLive("stays with deregister: false", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const { stop } = yield* served(ConsulAgent.layer({ address: agent.address, name: "staying", deregister: false }))
      yield* stop
      assert.isDefined(yield* service(agent, "staying"))
    })
  )

  it.scopedLive("closes in peace when the agent has forgotten it already", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const { server, stop } = yield* served(ConsulAgent.layer({ address: agent.address, name: "forgotten" }))
      yield* Effect.promise(() =>
        fetch(`${agent.address}/v1/agent/service/deregister/forgotten`, { method: "PUT" }).then((answer) =>
          answer.text()
        )
      )
      yield* stop
      assert.isFalse(yield* isListening(server.address.port))
    })
  )

  it.scopedLive("can have an id that must be escaped in a path", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const serviceId = "checkout 1 ü%3F"
      const { stop } = yield* served(ConsulAgent.layer({ address: agent.address, serviceId }))
      assert.isDefined(yield* service(agent, serviceId))
      yield* stop
      assert.isUndefined(yield* service(agent, serviceId))
    })
  )

  it.scopedLive("registers with HTTPS, and the check passes with tlsSkipVerify", () =>
    Effect.gen(function* () {
      const { selfSigned } = yield* Effect.promise(() => import("../support/certificates.js"))
      const tls = yield* Effect.promise(() => selfSigned())
      const agent = yield* consul()
      const check = { interval: "1 second", tlsSkipVerify: true } as const
      const server = yield* serving(ConsulAgent.layer({ address: agent.address, name: "secure", check }), { tls })
      assert.match(server.healthUrl, /^https:/)
      yield* until("the check is passing", checkStatus(agent, "secure"), (status) => status === "passing")
    })
  )

  it.scopedLive("registers from the worker thread's server as well", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const workerUrl = new URL("../../dist/esm/worker.mjs", import.meta.url)
      const scope = yield* Scope.make()
      yield* MetricsServer.layerWorker({ host: "127.0.0.1", workerUrl }).pipe(
        Layer.provide(ConsulAgent.layer({ address: agent.address, name: "threaded", check: { interval: "1 second" } })),
        Layer.provide(Registry.layer(new Prometheus.Registry())),
        Layer.build,
        Scope.extend(scope)
      )
      yield* until("the check is passing", checkStatus(agent, "threaded"), (status) => status === "passing")
      yield* Scope.close(scope, Exit.void)
      assert.isUndefined(yield* service(agent, "threaded"))
    })
  )

  it.scopedLive("sends its token: the right one registers, a missing one fails with 403 and the agent's message", () =>
    Effect.gen(function* () {
      const agent = yield* consul({ masterToken })
      const rules = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'
      yield* until(
        "the policy can be written",
        agent.put("/v1/acl/policy", { Name: "services", Rules: rules }, masterToken),
        () => true
      )
      const { SecretID } = yield* agent.put<{ readonly SecretID: string }>(
        "/v1/acl/token",
        { Policies: [{ Name: "services" }] },
        masterToken
      )
      const token = Redacted.make(SecretID)
      const { stop } = yield* served(ConsulAgent.layer({ address: agent.address, name: "trusted", token }))
      assert.isDefined(yield* service(agent, "trusted"))
      yield* stop
      assert.isUndefined(yield* service(agent, "trusted"))

      const [port = 0] = yield* freePorts(1)
      const layer = ConsulAgent.layer({ address: agent.address, name: "nobody", required: true })
      const refused = yield* failure(serving(layer, { port }))
      assert.instanceOf(refused, ServiceDiscoveryError)
      assert.deepInclude(refused, { reason: "Refused", status: 403 })
      assert.include((refused as ServiceDiscoveryError).body, "Permission denied")
      assert.include(refused.message, agent.address)
      assert.include(refused.message, "403")
      assert.isFalse(yield* isListening(port))
    })
  )

  it.scopedLive("speaks to an agent behind a unix socket, and reads the environment of Consul's own tools", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "consul-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
      )
      const socket = join(folder, "consul.sock")
      const tokenFile = join(folder, "token")
      yield* Effect.promise(() => writeFile(tokenFile, `${masterToken}\n`))
      const agent = yield* consul({ masterToken, socket })
      const environment = (entries: ReadonlyArray<readonly [string, string]>) =>
        Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries)))

      const overSocket = ConsulAgent.layerEnv({ name: "over-a-socket" }).pipe(
        Layer.provide(
          environment([
            ["CONSUL_HTTP_ADDR", `unix://${socket}`],
            ["CONSUL_HTTP_TOKEN_FILE", tokenFile]
          ])
        )
      )
      yield* serving(overSocket)
      assert.isDefined(yield* service(agent, "over-a-socket"))

      const hostAndPort = ConsulAgent.layerEnv({ name: "by-host-and-port" }).pipe(
        Layer.provide(
          environment([
            ["CONSUL_HTTP_ADDR", agent.address.replace("http://", "")],
            ["CONSUL_HTTP_TOKEN", masterToken]
          ])
        )
      )
      yield* serving(hostAndPort)
      assert.isDefined(yield* service(agent, "by-host-and-port"))
    })
  )

  it.scopedLive("by default serves, keeps trying, and is registered once the agent is there", () =>
    Effect.gen(function* () {
      const [port = 0, late = 0] = yield* freePorts(2)
      const layer = ConsulAgent.layer({ address: `http://127.0.0.1:${late}`, name: "patient" })
      const server = yield* serving(layer, { port })
      assert.isFalse(yield* server.isRegistered)
      assert.strictEqual(yield* Effect.promise(async () => (await fetch(server.url)).status), 200)
      const agent = yield* consul({ port: late })
      yield* until("it is registered", service(agent, "patient"), (known) => known !== undefined)
      yield* until("it says so", server.isRegistered, (is) => is)
    })
  )

  it.live("registers for plain promises, and takes it back when the handle closes", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const agent = yield* consul()
        const discovery = Promises.consulAgent({ address: agent.address, name: "promised" })
        const handle = yield* Effect.promise(() =>
          Promises.startHttpServer({
            host: "127.0.0.1",
            registry: new Prometheus.Registry(),
            serviceDiscovery: discovery
          })
        )
        assert.isTrue(handle.isRegistered)
        assert.isDefined(yield* service(agent, "promised"))
        yield* Effect.promise(() => handle.close())
        assert.isFalse(handle.isRegistered)
        assert.isUndefined(yield* service(agent, "promised"))
      })
    )
  )
})
