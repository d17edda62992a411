import { createServer } from "node:http"
import {
  HttpApp,
  type HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Exit, Layer, ManagedRuntime } from "effect"
import { HttpMetrics, Registry } from "effect-prometheus"
import * as promClient from "prom-client"
import { host } from "../../load.js"
import { handMetrics } from "../byHand.js"
import type { Contenders, Start } from "../contender.js"
import { patterns, type Size } from "../exchanges.js"

type Router = HttpRouter.HttpRouter<unknown>
type RouterMiddleware = (router: Router) => Router

const handler = Effect.map(HttpRouter.RouteContext, ({ params }) =>
  HttpServerResponse.text("ok", { status: Number(params["status"]) })
)

const routerOf = (size: Size): Router =>
  patterns(size).reduce((all: Router, pattern) => HttpRouter.all(all, pattern, handler), HttpRouter.empty as Router)

/** In the router, where the route is in context. */
const byHand =
  (all: boolean): RouterMiddleware =>
  (router) => {
    const metrics = handMetrics(all)
    return HttpRouter.use(router, (app) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const { method } = request
        const start = metrics.begin(method)
        return Effect.onExit(app, (exit) =>
          Effect.map(HttpRouter.RouteContext, ({ route }) => {
            const { body, status } = Exit.isSuccess(exit) ? exit.value : HttpServerResponse.empty({ status: 500 })
            const requestBytes = Number(request.headers["content-length"] ?? 0)
            const responseBytes = body.contentLength ?? 0
            metrics.end({ method, route: route.path, status, start, requestBytes, responseBytes })
          })
        )
      })
    ) as Router
  }

const registry = () => Registry.layer(promClient.register)

const two = { metrics: { inProgress: false } } as const

const overSockets =
  (within: RouterMiddleware, middleware?: HttpMiddleware.HttpMiddleware): Start =>
  async (size) => {
    const router = within(routerOf(size)) as HttpRouter.HttpRouter
    const served = middleware === undefined ? HttpServer.serve(router) : HttpServer.serve(router, middleware)
    const server = Layer.provideMerge(
      served as Layer.Layer<never, never, HttpServer.HttpServer>,
      NodeHttpServer.layer(createServer, { host, port: 0 })
    )
    const runtime = ManagedRuntime.make(Layer.provideMerge(server, registry()))
    const { address } = await runtime.runPromise(HttpServer.HttpServer)
    if (address._tag !== "TcpAddress") throw new TypeError("expected a port")
    return { port: address.port }
  }

const inProcess =
  (within: RouterMiddleware, middleware?: HttpMiddleware.HttpMiddleware): Start =>
  async (size) => {
    const router = within(routerOf(size)) as HttpRouter.HttpRouter
    const runtime = await ManagedRuntime.make(registry()).runtime()
    return { answer: HttpApp.toWebHandlerRuntime(runtime)(router, middleware) }
  }

const unchanged: RouterMiddleware = (router) => router

export const effect: Contenders = {
  bare: overSockets(unchanged),
  byHand: overSockets(byHand(true)),
  byHandTwo: overSockets(byHand(false)),
  ours: overSockets(unchanged, HttpMetrics.middleware({ sizes: true })),
  oursTwo: overSockets(unchanged, HttpMetrics.middleware(two))
}

export const web: Contenders = {
  bare: inProcess(unchanged),
  byHand: inProcess(byHand(true)),
  ours: inProcess(unchanged, HttpMetrics.middleware({ sizes: true }))
}
