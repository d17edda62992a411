/** The ways to serve the exposition inside an application that has a server already. */
import { createServer, type RequestListener } from "node:http"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Context, Effect, Layer, type Scope } from "effect"
import express from "express"
import * as Exposition from "../../src/Exposition.js"
import { layer, type MetricRegistry, Registry } from "../../src/Registry.js"
import { type AskOptions, ask } from "./httpClient.js"
import { listen } from "./listen.js"

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly bytes: Buffer
}

/** Asks an application for a path with its query. */
export type Ask = (target: string, options?: AskOptions) => Effect.Effect<Answer>

export interface Mount {
  readonly name: string
  /** An application that serves the exposition under /metrics for as long as the scope lasts. */
  readonly start: (
    registry: MetricRegistry,
    options?: Exposition.ServeOptions
  ) => Effect.Effect<Ask, never, Scope.Scope>
}

type Served = Layer.Layer<
  never,
  never,
  HttpServer.HttpServer | HttpRouter.HttpRouter.DefaultServices | HttpLayerRouter.HttpRouter
>

export interface PlatformMount {
  readonly name: string
  /** An application of `@effect/platform` that keeps an access log and also answers GET /other. */
  readonly app: (registry: MetricRegistry, options?: Exposition.ServeOptions & Exposition.MountOptions) => Served
}

const other = HttpServerResponse.text("other")

export const platformMounts: ReadonlyArray<PlatformMount> = [
  {
    name: "httpApp in an HttpRouter",
    app: (registry, { path = "/metrics", ...options } = {}) =>
      HttpRouter.empty.pipe(
        HttpRouter.all(path, Exposition.httpApp(options)),
        HttpRouter.get("/other", other),
        HttpServer.serve(HttpMiddleware.logger),
        Layer.provide(layer(registry))
      )
  },
  {
    name: "layerRouter in HttpRouter.Default",
    app: (registry, options) =>
      HttpRouter.Default.serve(HttpMiddleware.logger).pipe(
        Layer.provide(HttpRouter.Default.use((router) => router.get("/other", other))),
        Layer.provide(Layer.provide(Layer.orDie(Exposition.layerRouter(HttpRouter.Default, options)), layer(registry)))
      )
  },
  {
    name: "layerRouter in HttpLayerRouter.HttpRouter",
    app: (registry, options) =>
      HttpLayerRouter.serve(
        Layer.mergeAll(
          HttpLayerRouter.add("GET", "/other", other),
          Layer.provide(Layer.orDie(Exposition.layerRouter(HttpLayerRouter.HttpRouter, options)), layer(registry))
        ),
        { disableListenLog: true }
      )
  },
  {
    name: "layerRouter in HttpApiBuilder.Router",
    app: (registry, options) =>
      HttpApiBuilder.serve(HttpMiddleware.logger).pipe(
        Layer.provide(HttpApiBuilder.Router.use((router) => router.get("/other", other))),
        Layer.provide(
          Layer.provide(Layer.orDie(Exposition.layerRouter(HttpApiBuilder.Router, options)), layer(registry))
        ),
        Layer.provide(HttpApiBuilder.api(HttpApi.make("api")))
      )
  }
]

/** Serves an application of `@effect/platform` on a free port. */
export const startPlatform = (app: Served): Effect.Effect<Ask, never, Scope.Scope> => {
  const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
  const served = Layer.provideMerge(app, Layer.merge(server, HttpLayerRouter.layer))
  return Effect.map(Effect.orDie(Layer.build(served)), (context) => {
    const { address } = Context.get(context, HttpServer.HttpServer)
    return asking(address._tag === "TcpAddress" ? address.port : 0)
  })
}

/** Serves with `node:http` on a free port. */
const startNode = (listener: RequestListener): Effect.Effect<Ask, never, Scope.Scope> =>
  Effect.map(listen(createServer(listener)), asking)

const asking =
  (port: number): Ask =>
  (target, options) =>
    Effect.promise(() => ask(`http://127.0.0.1:${port}${target}`, options))

const askWeb =
  (handler: (request: Request) => Promise<Response>): Ask =>
  (target, options = {}) =>
    Effect.promise(async () => {
      const response = await handler(new Request(`http://localhost${target}`, options))
      const headers: Record<string, string> = {}
      response.headers.forEach((value, name) => {
        headers[name] = value
      })
      return { status: response.status, headers, bytes: Buffer.from(await response.arrayBuffer()) }
    })

export const mounts: ReadonlyArray<Mount> = [
  ...platformMounts.map(({ name, app }) => ({
    name,
    start: (registry: MetricRegistry, options?: Exposition.ServeOptions) => startPlatform(app(registry, options))
  })),
  {
    name: "nodeListener in node:http",
    start: (registry, options) =>
      Effect.flatMap(
        Effect.provideService(Effect.orDie(Exposition.nodeListener(options)), Registry, registry),
        startNode
      )
  },
  {
    name: "nodeListener in Express",
    start: (registry, options) =>
      Exposition.nodeListener(options).pipe(
        Effect.orDie,
        Effect.provideService(Registry, registry),
        Effect.flatMap((listener) => startNode(express().use("/metrics", listener)))
      )
  },
  {
    name: "webHandler",
    start: (registry, options) =>
      Effect.map(Effect.provideService(Effect.orDie(Exposition.webHandler(options)), Registry, registry), askWeb)
  }
]
