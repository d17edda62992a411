/** Settings that are not set, or are set but empty, and servers that share an id. */
import { HttpLayerRouter } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Exit, Layer, Option, Redacted, Scope } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as EffectMetrics from "../src/EffectMetrics.js"
import * as Exposition from "../src/Exposition.js"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { ServiceDiscovery } from "../src/ServiceDiscovery.js"
import { startConsulAgentStub, there } from "./support/consulAgentStub.js"
import { workerUrl } from "./support/servers.js"

const environment = (variables: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const fresh = Registry.layer(new PromRegistry())

type Discovering = ReturnType<typeof ConsulAgent.layerEnv>

/** What an agent receives from a registration: the tokens of its calls, and the service. */
const registered = (discovery: (address: string) => Discovering, variables: Readonly<Record<string, string>> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const layer = Layer.provide(discovery(agent.address), environment({ AGENT: agent.address, ...variables }))
      const context = yield* Layer.build(layer)
      yield* Context.get(context, ServiceDiscovery).register(there)
      const [service] = agent.services.values()
      return { tokens: new Set(agent.requests.map(({ token }) => token)), service }
    })
  )

const refusal = (options: ConsulAgent.Options) =>
  Effect.map(Effect.flip(Effect.scoped(ConsulAgent.make(options))), ({ message }) => message)

const redacted = Config.redacted("TOKEN")
const address = Config.string("AGENT")

describe("A token from configuration", () => {
  const ways: Readonly<Record<string, (address: string) => Discovering>> = {
    "Config.option": () => ConsulAgent.layerConfig({ address, token: Config.option(redacted) }),
    "Config.option of a text": () => ConsulAgent.layerConfig({ address, token: Config.option(Config.string("TOKEN")) }),
    "Config.all of all options": () => ConsulAgent.layerConfig(Config.all({ address, token: Config.option(redacted) })),
    "Config.withDefault of nothing": () =>
      ConsulAgent.layerConfig({ address, token: Config.withDefault(redacted, undefined) }),
    "an Option in the options": (address) =>
      Layer.unwrapEffect(Effect.map(Config.option(redacted), (token) => ConsulAgent.layer({ address, token }))),
    "an effect": (address) =>
      ConsulAgent.layer({
        address,
        token: Effect.orElseSucceed(
          Effect.configProviderWith((provider) => provider.load(redacted)),
          () => ""
        )
      })
  }
  for (const [how, layer] of Object.entries(ways)) {
    it.live(`is undefined if it is unset or empty, and the token if it is set: by ${how}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* registered(layer)).tokens, new Set([undefined]))
        if (how !== "an effect") {
          assert.deepStrictEqual((yield* registered(layer, { TOKEN: "" })).tokens, new Set([undefined]))
          assert.deepStrictEqual((yield* registered(layer, { TOKEN: "t" })).tokens, new Set(["t"]))
        }
      })
    )
  }
})

describe("Options from configuration that are Options", () => {
  const missing = Config.option(Config.string("NOT_SET"))
  const set = Config.option(Config.string("SET"))

  it.live("are the options of Consul's layer, in groups as well", () =>
    Effect.gen(function* () {
      const layer = (port: Config.Config<Option.Option<number>>, tls: Config.Config<Option.Option<string>>) =>
        ConsulAgent.layerConfig({
          address: Config.option(address),
          name: set,
          serviceId: missing,
          tags: Config.option(Config.array(Config.string(), "TAGS")),
          advertise: { address: missing, port },
          check: Config.option(Config.succeed({ ttl: "5 seconds" as const })),
          tls: { serverName: tls },
          required: Config.option(Config.boolean("NOT_SET"))
        })
      const variables = { SET: "checkout", TAGS: "a, b", PORT: "80" }
      const port = Config.option(Config.integer("PORT"))
      const { service } = yield* registered(() => layer(port, missing), variables)
      assert.deepInclude(service, { ID: "checkout", Name: "checkout", Tags: ["a", "b"], Port: 80 })
      assert.deepInclude(service as object, { Address: "127.0.0.1" })
    })
  )

  it.scopedLive("are those of every other layer", () =>
    Effect.gen(function* () {
      const flag = Config.option(Config.boolean("NOT_SET"))
      const text = missing
      const layers = {
        server: MetricsServer.layerConfig({
          host: Config.option(Config.string("HOST")),
          port: Config.option(Config.port("NOT_SET")),
          path: set,
          explorer: flag,
          shutdownTimeout: Config.option(Config.duration("NOT_SET")),
          tls: Config.option(Config.all({ cert: Config.string("NOT_SET"), key: Config.redacted("NOT_SET") }))
        }),
        worker: MetricsServer.layerWorkerConfig({
          workerUrl: Config.succeed(workerUrl),
          host: Config.option(Config.string("HOST")),
          path: set,
          staleFor: Config.option(Config.duration("NOT_SET"))
        }),
        effectMetrics: EffectMetrics.layerConfig({ prefix: text }),
        defaultMetrics: DefaultMetrics.layerConfig({ prefix: text }),
        httpMetrics: HttpMetrics.layerConfig({ exclude: Config.option(Config.array(Config.string(), "NOT_SET")) }),
        exposition: Exposition.layerRouterConfig(HttpLayerRouter.HttpRouter, {
          path: Config.option(Config.literal("/own")("SET"))
        })
      }
      const variables = environment({ HOST: "127.0.0.1", SET: "/own" })
      for (const [name, layer] of Object.entries(layers) as ReadonlyArray<
        readonly [string, Layer.Layer<unknown, unknown, never>]
      >) {
        const built = Layer.build(layer).pipe(
          Effect.provide(Layer.mergeAll(variables, Registry.layer(new PromRegistry()), HttpLayerRouter.layer))
        )
        const context = yield* built
        if (name === "server" || name === "worker") {
          const { url } = Context.get(
            context as Context.Context<MetricsServer.MetricsServer>,
            MetricsServer.MetricsServer
          )
          assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/own$/)
        }
      }
    })
  )

  it.live("leave a group with nothing set refused, where it would be less than was asked for", () =>
    Effect.gen(function* () {
      const layer = MetricsServer.layerConfig({ tls: { cert: missing, key: missing } })
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.provide(layer, [environment({}), fresh]))))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})

describe("Settings of a Consul agent that are set but empty", () => {
  const hidden = Redacted.make("")

  it.live("count as not set", () =>
    Effect.gen(function* () {
      const expected = yield* registered((address) => ConsulAgent.layer({ address }))
      const rows: ReadonlyArray<ConsulAgent.Options> = [
        { token: "" },
        { token: hidden },
        { token: Option.none() },
        { token: Effect.succeed("") },
        { auth: hidden },
        { namespace: "" },
        { tags: [""] },
        { tags: ["", " ", ""] },
        { advertise: { address: "" } },
        { tls: { ca: "", cert: "", key: hidden, serverName: "" } },
        { token: " " },
        { token: Redacted.make("\n") },
        { token: Effect.succeed("\n") },
        { auth: Redacted.make(" ") },
        { namespace: "\t" },
        { advertise: { address: " " } },
        { tls: { ca: " ", cert: "\n", key: Redacted.make(" "), serverName: " " } }
      ]
      for (const options of rows) {
        const shown = JSON.stringify(options)
        assert.deepStrictEqual(
          yield* registered((address) => ConsulAgent.layer({ address, ...options })),
          expected,
          shown
        )
        assert.deepStrictEqual(
          yield* registered((address) => ConsulAgent.layerEnv({ address, ...options })),
          expected,
          shown
        )
      }
    })
  )

  it.live("count as not set where they come from the environment, and leave out only what is empty of a list", () =>
    Effect.gen(function* () {
      const tags = Config.array(Config.string(), "TAGS")
      const layer = () => ConsulAgent.layerConfig({ address, tags })
      for (const [given, expected] of [
        ["", []],
        [",", []],
        ["a,,b, ", ["a", "b"]]
      ] as const) {
        const { service } = yield* registered(layer, { TAGS: given })
        assert.deepInclude(service as object, { Tags: expected })
      }
      const names =
        "CONSUL_HTTP_TOKEN CONSUL_HTTP_TOKEN_FILE CONSUL_HTTP_AUTH CONSUL_HTTP_SSL CONSUL_NAMESPACE CONSUL_CACERT"
      const variables = Object.fromEntries(names.split(" ").map((name) => [name, ""]))
      const { tokens } = yield* registered((address) => ConsulAgent.layerEnv({ address, token: "" }), variables)
      assert.deepStrictEqual(tokens, new Set([undefined]))
      const blank = Object.fromEntries(Object.keys(variables).map((name) => [name, " "]))
      const ofBlank = yield* registered((address) => ConsulAgent.layerEnv({ address }), blank)
      assert.deepStrictEqual(ofBlank.tokens, new Set([undefined]))
      const fromEnvironment = yield* registered((address) => ConsulAgent.layerEnv({ address, token: "" }), {
        ...variables,
        CONSUL_HTTP_TOKEN: "of the environment"
      })
      assert.deepStrictEqual(fromEnvironment.tokens, new Set(["of the environment"]))
      const { address: own } = yield* Effect.provide(ConsulAgent.fromEnv, environment({ CONSUL_HTTP_ADDR: "" }))
      assert.strictEqual(own, "http://127.0.0.1:8500")
    })
  )

  it.live("are refused by name where something has to have a name", () =>
    Effect.gen(function* () {
      for (const empty of ["", " ", "\n"]) {
        assert.include(yield* refusal({ name: empty }), "name must be a non-empty string")
        assert.include(yield* refusal({ serviceId: empty }), "serviceId must be")
        assert.include(yield* refusal({ check: { url: empty } }), "check.url must be")
      }
      assert.include(yield* refusal({ tags: ["a,b"] }), "a,b")
      assert.include(yield* refusal({ token: 7 as never, tags: "" as never }), "tags must be an array of strings")
    })
  )
})

describe("Two servers of one process", () => {
  const serving = (discovery: Discovering) =>
    MetricsServer.layer({ host: "127.0.0.1", shutdownTimeout: "1 second" }).pipe(
      Layer.provide(discovery),
      Layer.provide(Registry.layer(new PromRegistry()))
    )

  it.scopedLive("that share a discovery are refused with an error that says that they share its id", () =>
    Effect.gen(function* () {
      for (const options of [{}, { serviceId: "one" }, { name: "checkout", required: true }]) {
        const agent = yield* startConsulAgentStub()
        const discovery = ConsulAgent.layer({ address: agent.address, ...options })
        const both = Layer.merge(
          serving(discovery),
          Layer.fresh(MetricsServer.layer({ host: "127.0.0.1" })).pipe(Layer.provide(discovery), Layer.provide(fresh))
        )
        const error = yield* Effect.flip(Effect.scoped(Layer.build(both)))
        assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "InvalidOptions" })
        const id = options.serviceId ?? options.name ?? "app-metrics"
        assert.match(
          String(error),
          new RegExp(`http://127.0.0.1:\\d+/metrics and http://127.0.0.1:\\d+/metrics have the same service id ${id}, `)
        )
        assert.include(String(error), "serviceId")
        assert.isEmpty([...agent.services.keys()])
      }
    })
  )

  it.live("that share a discovery of plain promises are refused so, and may follow one another", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const discoveries = [
        Promises.consulAgent({ address: agent.address }),
        Promises.consulAgentFromEnv({ address: agent.address })
      ]
      for (const serviceDiscovery of discoveries) {
        const start = () =>
          Promises.startHttpServer({ host: "127.0.0.1", registry: new PromRegistry(), serviceDiscovery })
        yield* Effect.promise(async () => {
          const first = await start()
          let error: unknown
          await start().catch((cause) => {
            error = cause
          })
          assert.include(String(error), "have the same service id app-metrics")
          assert.deepStrictEqual(
            [...agent.services.values()].map(({ Port }) => Port),
            [first.address.port]
          )
          await first.close()
          const next = await start()
          assert.deepStrictEqual(
            [...agent.services.values()].map(({ Port }) => Port),
            [next.address.port]
          )
          await next.close()
        })
      }
    }).pipe(Effect.scoped)
  )

  it.scopedLive("that start at the same time under one id: the one that lost it says that they share it", () =>
    Effect.gen(function* () {
      // The agent shows the other one, which has registered in between.
      const other = { ID: "app-metrics", Service: "app-metrics", Address: "127.0.0.1", Port: 1, Tags: [], Meta: {} }
      let isRegistered = false
      const agent = yield* startConsulAgentStub(({ path }, response) => {
        if (path.endsWith("/register")) {
          isRegistered = true
          return false
        }
        if (!isRegistered || !path.startsWith("/v1/agent/service/app-metrics")) return false
        response.end(JSON.stringify(other))
        return true
      })
      const discovery = yield* ConsulAgent.make({ address: agent.address, required: true })
      const error = yield* Effect.flip(Effect.scoped(discovery.register(there)))
      assert.strictEqual(error.reason, "NotVerified")
      assert.include(error.message, "If 127.0.0.1:1 is another server, both have the same service id app-metrics")
      assert.include(error.message, "set a different serviceId for each")
    })
  )

  it.scopedLive("with ids of their own are both registered", () =>
    Effect.gen(function* () {
      const agent = yield* startConsulAgentStub()
      const of = (serviceId: string) => serving(ConsulAgent.layer({ address: agent.address, serviceId }))
      const scope = yield* Scope.make()
      yield* Effect.all([Layer.buildWithScope(of("one"), scope), Layer.buildWithScope(of("two"), scope)], {
        concurrency: 2
      })
      assert.sameMembers([...agent.services.keys()], ["one", "two"])
      yield* Scope.close(scope, Exit.void)
      assert.isEmpty([...agent.services.keys()])
    })
  )
})
