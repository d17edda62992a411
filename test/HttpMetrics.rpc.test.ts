import { createServer } from "node:http"
import { FetchHttpClient, HttpLayerRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer, NodeSocket } from "@effect/platform-node"
import { Rpc, RpcClient, RpcGroup, RpcMiddleware, RpcSerialization, RpcServer, RpcTest } from "@effect/rpc"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Counter, Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { samples } from "./support/httpApps.js"
import { eventually } from "./support/httpClient.js"

class Refused extends RpcMiddleware.Tag<Refused>()("test/Refused", { failure: Schema.Literal("refused") }) {}

class Things extends RpcGroup.make(
  Rpc.make("read", { payload: { id: Schema.Number }, success: Schema.String, error: Schema.String }),
  Rpc.make("dies"),
  Rpc.make("throws"),
  Rpc.make("unfit", { success: Schema.String.pipe(Schema.maxLength(3)) }),
  Rpc.make("waits"),
  Rpc.make("refused").middleware(Refused),
  Rpc.make("list", { success: Schema.Number, error: Schema.String, stream: true }),
  Rpc.make("breaks", { success: Schema.Number, error: Schema.String, stream: true }),
  Rpc.make("follow", { success: Schema.Number, stream: true })
) {}

const handlers = (reached: Deferred.Deferred<void>) =>
  Layer.merge(
    Things.toLayer({
      read: ({ id }) => (id === 0 ? Effect.fail("none") : Effect.succeed(`thing ${id}`)),
      dies: () => Effect.die("boom"),
      throws: (): Effect.Effect<void> => {
        throw new RangeError("no effect")
      },
      unfit: () => Effect.succeed("too long to be encoded"),
      waits: () => Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never),
      refused: () => Effect.void,
      list: () => Stream.make(1, 2, 3),
      breaks: () => Stream.concat(Stream.make(1), Stream.fail("no")),
      follow: () => Stream.concat(Stream.make(1), Stream.never)
    }),
    Layer.succeed(Refused, () => Effect.fail("refused" as const))
  )

type Client = RpcClient.RpcClient<RpcGroup.Rpcs<typeof Things>, unknown>

const measured = HttpMetrics.rpc(Things)

const port = (server: Context.Tag.Service<typeof HttpServer.HttpServer>) =>
  server.address._tag === "TcpAddress" ? server.address.port : 0

const overHttp = (protocol: "http" | "websocket", reached: Deferred.Deferred<void>) =>
  Effect.gen(function* () {
    const app = RpcServer.layerHttpRouter({ group: measured, path: "/rpc", protocol, disableFatalDefects: true })
    const served = HttpLayerRouter.serve(Layer.provide(app, handlers(reached)), {
      disableListenLog: true,
      disableLogger: true
    })
    const server = yield* Layer.build(
      Layer.provideMerge(served, NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })).pipe(
        Layer.provideMerge(RpcSerialization.layerNdjson)
      )
    )
    const url = `127.0.0.1:${port(Context.get(server, HttpServer.HttpServer))}/rpc`
    const transport =
      protocol === "http"
        ? Layer.provide(RpcClient.layerProtocolHttp({ url: `http://${url}` }), FetchHttpClient.layer)
        : Layer.provide(RpcClient.layerProtocolSocket(), NodeSocket.layerWebSocket(`ws://${url}`))
    const context = yield* Layer.build(Layer.provide(transport, RpcSerialization.layerNdjson))
    return (yield* Effect.provide(RpcClient.make(Things), context)) as unknown as Client
  })

const transports: ReadonlyArray<
  readonly [string, (reached: Deferred.Deferred<void>) => Effect.Effect<Client, unknown, never>]
> = [
  [
    "without a protocol",
    (reached) => Effect.provide(RpcTest.makeClient(measured), handlers(reached)) as unknown as Effect.Effect<Client>
  ],
  ["over HTTP", (reached) => overHttp("http", reached) as unknown as Effect.Effect<Client>],
  ["over a websocket", (reached) => overHttp("websocket", reached) as unknown as Effect.Effect<Client>]
]

const duration = "rpc_server_request_duration_seconds"
const of = (registry: PromRegistry) =>
  Effect.promise(async () => (await samples(registry, duration, "_count")).filter((text) => !text.endsWith(": 0")))
const running = async (registry: PromRegistry) => samples(registry, "rpc_server_requests_in_progress")

describe("Requests of an RPC group are counted by procedure and outcome", () => {
  for (const [name, start] of transports) {
    it.scopedLive(name, () => {
      const registry = new PromRegistry()
      return Effect.gen(function* () {
        const reached = yield* Deferred.make<void>()
        const client = yield* start(reached)
        const results = yield* Effect.all(
          [client.read({ id: 1 }), client.read({ id: 2 }), Effect.flip(client.read({ id: 0 }))],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(results, ["thing 1", "thing 2", "none"])
        yield* Effect.exit(client.dies())
        assert.isTrue(Exit.isFailure(yield* Effect.exit(client.throws())))
        yield* Effect.exit(client.unfit())
        assert.strictEqual(yield* Effect.flip(client.refused()), "refused")
        assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(client.list())), [1, 2, 3])
        yield* Effect.exit(Stream.runDrain(client.breaks()))
        yield* Stream.runDrain(Stream.take(client.follow(), 1))
        const waiting = yield* Effect.fork(client.waits())
        yield* Deferred.await(reached)
        assert.include(yield* Effect.promise(() => running(registry)), "waits: 1")
        yield* Fiber.interrupt(waiting)
        yield* eventually("none in progress", async () =>
          (await running(registry)).every((text) => text.endsWith(": 0"))
        )
        assert.deepStrictEqual(yield* of(registry), [
          "breaks failure: 1",
          "dies defect: 1",
          "follow interrupt: 1",
          "list success: 1",
          "read failure: 1",
          "read success: 2",
          "refused failure: 1",
          "unfit success: 1",
          "waits interrupt: 1"
        ])
      }).pipe(Effect.provideService(Registry.Registry, registry))
    })
  }
})

describe("A measured group", () => {
  it.scoped("is measured once, however often it was asked for", () => {
    const registry = new PromRegistry()
    return Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const client = yield* Effect.provide(RpcTest.makeClient(HttpMetrics.rpc(measured)), handlers(reached))
      yield* client.read({ id: 1 })
      assert.deepStrictEqual(yield* of(registry), ["read success: 1"])
    }).pipe(Effect.provideService(Registry.Registry, registry))
  })

  it.scoped("answers where the registry cannot take the metrics", () => {
    const registry = new PromRegistry()
    new Counter({ name: duration, help: "h", registers: [registry] })
    return Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const client = yield* Effect.provide(RpcTest.makeClient(measured), handlers(reached))
      assert.strictEqual(yield* client.read({ id: 1 }), "thing 1")
    }).pipe(Effect.provideService(Registry.Registry, registry))
  })

  it("has the same procedures, and is a group", () => {
    assert.deepStrictEqual([...measured.requests.keys()], [...Things.requests.keys()])
    assert.throws(() => HttpMetrics.rpc({} as never), TypeError, "RpcGroup")
  })
})
