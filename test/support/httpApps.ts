/** The same application for each router of `@effect/platform`, with a middleware around it. */
import { createServer } from "node:http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Data, Deferred, Effect, Layer, type Scope, Stream } from "effect"
import type { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../../src/HttpMetrics.js"
import * as Registry from "../../src/Registry.js"
import { eventually } from "./httpClient.js"

/** A middleware whose metrics are in the registry. */
export const measuring = (registry: PromRegistry, options: HttpMetrics.Options = {}) =>
  Effect.provideService(HttpMetrics.makeMiddleware(options), Registry.Registry, registry)

/** An error that says how it is to be answered. */
export class Teapot extends Data.TaggedError("Teapot") implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.empty({ status: 418 })
  }
}

/** Signals of the handlers: reached, and opened. */
export interface Signals {
  readonly reached: Deferred.Deferred<void>
  readonly opened: Deferred.Deferred<void>
}

export const signals: Effect.Effect<Signals> = Effect.all({
  reached: Deferred.make<void>(),
  opened: Deferred.make<void>()
})

const parts = ["one", "two", "three"].map((text) => new TextEncoder().encode(text))
const endless = (reached: Effect.Effect<unknown>) =>
  HttpServerResponse.stream(
    Stream.concat(
      Stream.make(new TextEncoder().encode("begun")),
      Stream.drain(Stream.fromEffect(Effect.zipRight(reached, Effect.never)))
    )
  )

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>
type Method = "GET" | "POST"

/** The routes of each application. */
export const handlers = ({ opened, reached }: Signals): ReadonlyArray<readonly [Method, `/${string}`, Handler]> => [
  ["GET", "/plain", HttpServerResponse.text("plain")],
  ["GET", "/users/:id", HttpServerResponse.text("user")],
  ["GET", "/made", HttpServerResponse.empty({ status: 201 })],
  ["GET", "/none", HttpServerResponse.empty()],
  ["GET", "/fails", Effect.fail("no")],
  ["GET", "/teapot", new Teapot()],
  ["GET", "/dies", Effect.die("boom")],
  ["GET", "/interrupted", Effect.interrupt],
  ["GET", "/stream", Effect.succeed(HttpServerResponse.stream(Stream.fromIterable(parts)))],
  [
    "GET",
    "/broken",
    Effect.succeed(HttpServerResponse.stream(Stream.concat(Stream.fromIterable(parts), Stream.die("x"))))
  ],
  [
    "GET",
    "/waits",
    Effect.zipRight(
      Deferred.succeed(reached, undefined),
      Effect.as(Deferred.await(opened), HttpServerResponse.text("late"))
    )
  ],
  ["GET", "/endless", Effect.sync(() => endless(Deferred.succeed(reached, undefined)))],
  [
    "POST",
    "/read",
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.map(request.text, (text) => HttpServerResponse.text(`${text.length}`))
    )
  ],
  ["POST", "/unread", HttpServerResponse.empty()]
]

type Served = Layer.Layer<
  never,
  unknown,
  HttpServer.HttpServer | HttpLayerRouter.HttpRouter | Layer.Layer.Success<typeof NodeHttpServer.layerContext>
>

export interface App {
  readonly name: string
  readonly serve: (made: Signals, middleware: HttpMetrics.Middleware) => Served
}

const httpRouter = (made: Signals) =>
  handlers(made).reduce(
    (router, [method, path, handler]) => HttpRouter.route(method)(router, path, handler),
    HttpRouter.empty as HttpRouter.HttpRouter<unknown, Scope.Scope>
  )

// The types of an API list its endpoints one by one; here they come from a list.
interface AnyGroup {
  readonly add: (endpoint: unknown) => AnyGroup
}
interface AnyHandlers {
  readonly handle: (name: string, handler: () => Handler) => AnyHandlers
}

const api = (made: Signals) => {
  const all = handlers(made)
  const group = all.reduce(
    (added: AnyGroup, [method, path], index) => added.add(HttpApiEndpoint.make(method)(`endpoint${index}`, path)),
    HttpApiGroup.make("all") as unknown as AnyGroup
  )
  const declared = HttpApi.make("api").add(group as unknown as HttpApiGroup.HttpApiGroup<"all">)
  const live = HttpApiBuilder.group(declared, "all", ((empty: AnyHandlers) =>
    all.reduce((added, [, , handler], index) => added.handle(`endpoint${index}`, () => handler), empty)) as never)
  return Layer.provide(HttpApiBuilder.api(declared), live as unknown as Layer.Layer<never>)
}

/** Those with a router. */
export const apps: ReadonlyArray<App> = [
  {
    name: "HttpRouter",
    serve: (made, middleware) => HttpServer.serve(httpRouter(made), middleware) as Served
  },
  {
    name: "HttpRouter.Default",
    serve: (made, middleware) =>
      HttpRouter.Default.serve(middleware as never).pipe(
        Layer.provide(
          HttpRouter.Default.use((router) =>
            Effect.forEach(handlers(made), ([method, path, handler]) =>
              router[method === "GET" ? "get" : "post"](path, handler as never)
            )
          )
        )
      ) as Served
  },
  {
    name: "HttpLayerRouter, around its server",
    serve: (made, middleware) =>
      HttpLayerRouter.serve(layerRoutes(made), {
        disableListenLog: true,
        disableLogger: true,
        middleware: middleware as never
      }) as unknown as Served
  },
  {
    name: "HttpLayerRouter, as its layer",
    serve: (made, middleware) =>
      HttpLayerRouter.serve(
        Layer.merge(
          layerRoutes(made),
          Layer.effectDiscard(
            Effect.flatMap(
              HttpLayerRouter.HttpRouter,
              (router) => router.addGlobalMiddleware(middleware as never) as Effect.Effect<void>
            )
          )
        ),
        { disableListenLog: true, disableLogger: true }
      ) as unknown as Served
  },
  {
    name: "HttpApi",
    serve: (made, middleware) =>
      HttpApiBuilder.serve(middleware as never).pipe(Layer.provide(api(made))) as unknown as Served
  }
]

const layerRoutes = (made: Signals) =>
  Layer.mergeAll(
    Layer.empty,
    ...handlers(made).map(([method, path, handler]) => HttpLayerRouter.add(method, path, handler as never))
  )

/** Serves on a free port of 127.0.0.1; gives back where. */
export const listen = (app: Served): Effect.Effect<string, never, Scope.Scope> => {
  const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
  const served = Layer.provideMerge(app, Layer.merge(server, HttpLayerRouter.layer))
  return Effect.map(Effect.orDie(Layer.build(served)), (context) => {
    const { address } = Context.get(context, HttpServer.HttpServer)
    return `http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`
  })
}

interface Value {
  readonly metricName?: string
  readonly value: number
  readonly labels: Readonly<Record<string, string | number>>
}

/** The samples of a family as texts: labels, and the value. */
export const samples = async (
  registry: Pick<PromRegistry, "getSingleMetric">,
  name: string,
  suffix = ""
): Promise<ReadonlyArray<string>> => {
  const metric = registry.getSingleMetric(name) as unknown as
    | { get(): Promise<{ values: ReadonlyArray<Value> }> }
    | undefined
  if (metric === undefined) return []
  const { values } = await metric.get()
  return values
    .filter((value) => (value.metricName ?? name) === `${name}${suffix}`)
    .map(({ labels, value }) => `${Object.values(labels).join(" ")}: ${value}`)
    .sort()
}

/** The same as an effect. */
export const samplesOf = (...args: Parameters<typeof samples>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(() => samples(...args))

/** How many requests are in progress, of all methods. */
export const inProgress = async (registry: Pick<PromRegistry, "getSingleMetric">): Promise<number> => {
  const all = await samples(registry, "http_server_requests_in_progress")
  return all.reduce((sum, text) => sum + Number(text.split(": ")[1]), 0)
}

export const requests = "http_server_requests_total"
export const seconds = "http_server_request_duration_seconds"
export const requestSize = "http_server_request_size_bytes"
export const responseSize = "http_server_response_size_bytes"

/** Waits until no request is in progress. */
export const awaitIdle = (registry: Pick<PromRegistry, "getSingleMetric">): Effect.Effect<void> =>
  eventually("no request in progress", async () => (await inProgress(registry)) === 0)
