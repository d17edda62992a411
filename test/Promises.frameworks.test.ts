import type { RequestListener } from "node:http"
import { createRequire } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import { Router } from "@koa/router"
import { Effect } from "effect"
import express from "express"
import Fastify from "fastify"
import { Hono } from "hono"
import { matchedRoutes } from "hono/route"
import Koa from "koa"
import mount from "koa-mount"
import { createMocks } from "node-mocks-http"
import { Registry } from "prom-client"
import supertest from "supertest"
import { expressRoute, type HttpMeasure, honoMetrics, httpMetrics, koaRoute } from "../src/Promises.js"
import { eventually } from "./support/httpClient.js"
import { countsIn, endedIn, inProgressIn } from "./support/httpSamples.js"

/** Asks for a path by the test helper of the framework, and gives the status of the answer. */
type Ask = (path: string) => Promise<number>

const failing = (): never => {
  throw new Error("it failed")
}
const orderOf = (order: unknown): string => (order === "none" ? failing() : `order ${order}`)

const supertested =
  (listener: RequestListener): Ask =>
  async (path) =>
    (await supertest(listener).get(path)).status

const ofExpress =
  (make: typeof express) =>
  (measure: HttpMeasure): Ask => {
    const application = make()
    application.set("env", "test")
    application.use((request, response, next) => {
      measure(request, response, expressRoute(request))
      next()
    })
    application.get("/users/me", (_, response) => void response.send("me"))
    application.get("/users/:id", ({ params }, response, next) => {
      if (params.id === "none") next()
      else response.send("user")
    })
    application.get("/users/:name", (_, response) => void response.send("name"))
    application.get("/fail/:id", failing)
    const orders = make.Router()
    orders.get("/orders/:order", ({ params }, response) => void response.send(orderOf(params.order)))
    application.use("/shop", make.Router().use("/v1", orders))
    application.use(
      "/mounted",
      make().use("/deep", (_, response) => void response.send("mounted"))
    )
    return supertested(application)
  }

const ofFastify = (measure: HttpMeasure): Ask => {
  const application = Fastify()
  application.addHook("onRequest", async (request, reply) => {
    measure(request.raw, reply.raw, () => request.routeOptions.url)
  })
  application.get("/users/me", async () => "me")
  application.get<{ Params: { id: string } }>("/users/:id", async () => "user")
  application.get("/fail/:id", failing)
  application.register(
    async (shop) => {
      // Of the paths below the prefix.
      shop.setNotFoundHandler(async (_, reply) => reply.code(404).send("no such order"))
      shop.register(
        async (version) => {
          version.get<{ Params: { order: string } }>("/orders/:order", async ({ params }) => orderOf(params.order))
        },
        { prefix: "/v1" }
      )
    },
    { prefix: "/shop" }
  )
  application.all("/mounted/*", async () => "mounted")
  return async (path) => (await application.inject(path)).statusCode
}

const ofKoa = (measure: HttpMeasure): Ask => {
  const application = new Koa()
  application.silent = true
  application.use((context, next) => {
    measure(context.req, context.res, koaRoute(context))
    return next()
  })
  const router = new Router()
  router.get("/users/me", (context) => {
    context.body = "me"
  })
  router.get("/users/:id", (context, next) => {
    if (context.params["id"] === "none") return next()
    context.body = "user"
    return undefined
  })
  router.get("/users/:name", (context) => {
    context.body = "name"
  })
  router.get("/fail/:id", failing)
  const orders = new Router({ prefix: "/v1" })
  orders.get("/orders/:order", (context) => {
    context.body = orderOf(context.params["order"])
  })
  const mounted = mount("/deep", (context) => {
    context.body = "mounted"
  })
  application.use(router.routes()).use(mount("/shop", orders.routes())).use(mount("/mounted", mounted))
  return supertested(application.callback())
}

const ofHono = (measure: HttpMeasure): Ask => {
  const application = new Hono()
  application.onError((_, context) => context.text("failed", 500))
  application.use(honoMetrics(measure, matchedRoutes))
  application.get("/users/me", (context) => context.text("me"))
  application.get("/users/:id", (context, next) => (context.req.param("id") === "none" ? next() : context.text("user")))
  application.get("/users/:name", (context) => context.text("name"))
  application.get("/fail/:id", failing)
  const orders = new Hono().basePath("/v1")
  orders.get("/orders/:order", (context) => context.text(orderOf(context.req.param("order"))))
  application.route("/shop", orders)
  application.all("/mounted/deep/*", (context) => context.text("mounted"))
  return async (path) => (await application.request(path)).status
}

const nodeRoutes: ReadonlyArray<readonly [pattern: string, answer: (parameter: string) => string]> = [
  ["/users/me", () => "me"],
  ["/users/:id", () => "user"],
  ["/fail/:id", failing],
  ["/shop/v1/orders/:order", orderOf]
]

const ofNode = (measure: HttpMeasure): Ask => {
  const listener: RequestListener = (request, response) => {
    const { url = "" } = request
    const route = nodeRoutes.find(([pattern]) => new RegExp(`^${pattern.replace(/:\w+/, "[^/]+")}$`).test(url))
    measure(request, response, () => route?.[0])
    try {
      const body = route?.[1](url.slice(url.lastIndexOf("/") + 1))
      response.writeHead(route === undefined ? 404 : 200).end(body)
    } catch {
      response.writeHead(500).end()
    }
  }
  return async (url) => {
    const { req, res } = createMocks({ url }, { eventEmitter: (await import("node:events")).EventEmitter })
    listener(req, res)
    return res.statusCode
  }
}

/** The same paths everywhere, by the pattern of their route and the status of their answer. */
const common: Readonly<Record<string, string>> = {
  "/users/me": "/users/me 200",
  "/users/7": "/users/:id 200",
  "/users/users": "/users/:id 200",
  "/shop/v1/orders/9": "/shop/v1/orders/:order 200",
  "/shop/v1/orders/v1": "/shop/v1/orders/:order 200",
  "/shop/v1/orders/none": "/shop/v1/orders/:order 500",
  "/fail/7": "/fail/:id 500",
  "/shop/v1/none": "unmatched 404",
  "/none": "unmatched 404"
}

const overlapping = { "/users/none": "/users/:name 200" }

const frameworks: ReadonlyArray<readonly [string, (measure: HttpMeasure) => Ask, Readonly<Record<string, string>>]> = [
  ["Express 5 and supertest", ofExpress(express), { ...overlapping, "/mounted/deep/er": "/mounted/deep 200" }],
  [
    "Express 4 and supertest",
    ofExpress(createRequire(import.meta.url)("express4")),
    { ...overlapping, "/mounted/deep/er": "/mounted/deep 200" }
  ],
  ["Fastify and application.inject()", ofFastify, { "/mounted/deep/er": "/mounted/* 200" }],
  ["Koa and supertest", ofKoa, { ...overlapping, "/mounted/deep/er": "/mounted/deep 200" }],
  ["Hono and application.request()", ofHono, { ...overlapping, "/mounted/deep/er": "/mounted/deep/* 200" }],
  ["node:http and node-mocks-http", ofNode, {}]
]

describe("requests are counted and timed once by the route that answered, with the status that was sent", () => {
  for (const [name, build, more] of frameworks) {
    it(`by ${name}`, async () => {
      const registry = new Registry()
      const ask = build(httpMetrics({ registry }))
      const asked = Object.entries({ ...common, ...more })
      const expected: Record<string, number> = {}
      for (const [path, route] of asked) {
        assert.strictEqual(await ask(path), Number(route.split(" ")[1]), path)
        expected[`GET ${route}`] = (expected[`GET ${route}`] ?? 0) + 1
      }
      const ended = async (): Promise<number> =>
        Object.values(endedIn(await registry.metrics())).reduce((sum, count) => sum + count, 0)
      await Effect.runPromise(eventually("all are counted", async () => (await ended()) >= asked.length))
      const exposition = await registry.metrics()
      assert.deepStrictEqual(endedIn(exposition), expected)
      assert.deepStrictEqual(countsIn(exposition, "http_server_request_duration_seconds"), expected)
      assert.deepStrictEqual(inProgressIn(exposition), { GET: 0 })
    })
  }
})
