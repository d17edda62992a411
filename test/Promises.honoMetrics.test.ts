import type { Server } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { createAdaptorServer, type HttpBindings } from "@hono/node-server"
import { Deferred, Effect } from "effect"
import { Hono, type MiddlewareHandler } from "hono"
import { HTTPException } from "hono/http-exception"
import { matchedRoutes } from "hono/route"
import { Registry } from "prom-client"
import { type HttpMeasure, honoMetrics, httpMetrics, webHandler } from "../src/Promises.js"
import { eventually, get } from "./support/httpClient.js"
import { endedIn, inProgressIn } from "./support/httpSamples.js"
import { listen } from "./support/listen.js"

const fail = (): never => {
  throw new Error("it failed")
}
const quiet = (): Hono => {
  const application = new Hono()
  application.onError((error, context) => context.text("failed", error instanceof HTTPException ? error.status : 500))
  return application
}
const pass: MiddlewareHandler = (_, next) => next()

interface Case {
  readonly title: string
  readonly declare: (application: Hono, measure: HttpMeasure) => void
  /** Each path that is asked for, with its route and status. */
  readonly asked: Readonly<Record<string, string>>
}

const cases: ReadonlyArray<Case> = [
  {
    title: "of overlapping routes: the one that answered, whatever else would match",
    declare: (application) => {
      application.use(pass)
      application.get("/users/me", (context) => context.text("me"))
      application.get("/users/:id", (context, next) =>
        context.req.param("id") === "none" ? next() : context.text("id")
      )
      application.get("/users/*", pass)
      application.get("*", (context) => context.text("all", context.req.path === "/gone" ? 404 : 200))
    },
    asked: {
      "/users/me": "/users/me 200",
      "/users/7?x=1": "/users/:id 200",
      "/users/none": "/* 200",
      "/users/7/8": "/* 200",
      "/": "/* 200",
      "/gone": "/* 404"
    }
  },
  {
    title: "of a base path, and of applications that are routed and mounted",
    declare: (application) => {
      const api = new Hono().basePath("/api/:version")
      api.get("/users/:id", (context) => context.text("user"))
      const shop = quiet()
      shop.get("/orders/:order", (context) => context.text("order", context.req.param("order") === "0" ? 404 : 200))
      shop.get("/fail", fail)
      shop.use("/guarded/*", pass)
      application.route("/", api)
      application.route("/shops/:shop", new Hono().route("/in", shop))
      application.mount("/mounted", (request) => new Response(new URL(request.url).pathname))
      application.all("/any/:method", (context) => context.text("any"))
    },
    asked: {
      "/api/v1/users/v1": "/api/:version/users/:id 200",
      "/shops/7/in/orders/8": "/shops/:shop/in/orders/:order 200",
      "/shops/7/in/orders/0": "/shops/:shop/in/orders/:order 404",
      "/shops/7/in/fail": "/shops/:shop/in/fail 500",
      "/shops/7/in/guarded/none": "unmatched 404",
      "/shops/7/none": "unmatched 404",
      "/mounted/a/b": "/mounted/* 200",
      "/any/thing": "/any/:method 200"
    }
  },
  {
    title: "once, also for an application that is measured within one, and for a response to an unmatched request",
    declare: (application, measure) => {
      application.notFound((context) => context.html("<p>the page of all paths", 200))
      const inner = quiet()
      inner.use(honoMetrics(measure, matchedRoutes)).get("/:id", (context) => context.text("inner"))
      application.route("/in", inner)
    },
    asked: { "/in/7": "/in/:id 200", "/none": "unmatched 200" }
  },
  {
    title: "of what fails or responds before its route, and of unmatched requests",
    declare: (application) => {
      application.use("/admin/*", async (context, next) => {
        if (context.req.query("key") === undefined) throw new HTTPException(401)
        if (context.req.query("key") === "old") return context.text("no", 403)
        await next()
        return undefined
      })
      application.get("/admin/users/:id", (context) => context.text("user"))
      application.get("/fail/:id", pass, fail)
      application.post("/only/post", (context) => context.text("posted"))
    },
    asked: {
      "/admin/users/7": "/admin/* 401",
      "/admin/users/7?key=old": "/admin/* 403",
      "/admin/users/7?key=new": "/admin/users/:id 200",
      "/admin/none?key=new": "unmatched 404",
      "/fail/7": "/fail/:id 500",
      "/only/post": "unmatched 404",
      "/none": "unmatched 404"
    }
  }
]

const measured = (registry: Registry, declare: Case["declare"]): Hono => {
  const application = quiet()
  const measure = httpMetrics({ registry })
  application.use(honoMetrics(measure, matchedRoutes))
  const metrics = webHandler({ registry })
  application.get("/metrics", (context) => metrics(context.req.raw, context.env))
  declare(application, measure)
  return application
}

const serving = (application: Hono) =>
  Effect.map(listen(createAdaptorServer({ fetch: application.fetch }) as Server), (port) => `http://127.0.0.1:${port}`)

const counted = (expected: Iterable<string>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const route of expected) counts[`GET ${route}`] = (counts[`GET ${route}`] ?? 0) + 1
  return counts
}

describe("the route of a request of Hono is that", () => {
  for (const { asked, declare, title } of cases) {
    it.scopedLive(`${title}, on a server`, () =>
      Effect.gen(function* () {
        const registry = new Registry()
        const url = yield* serving(measured(registry, declare))
        for (const path of Object.keys(asked)) yield* get(`${url}${path}`)
        const expected = counted(Object.values(asked))
        yield* eventually("all are counted", async () => {
          const ended = Object.values(endedIn(await registry.metrics()))
          return ended.reduce((sum, count) => sum + count, 0) === Object.keys(asked).length
        })
        const { body } = yield* get(`${url}/metrics`)
        assert.deepStrictEqual(endedIn(body), expected)
        assert.deepStrictEqual(inProgressIn(body), { GET: 0 })
      })
    )

    it(`${title}, by application.request()`, async () => {
      const registry = new Registry()
      const application = measured(registry, declare)
      for (const [path, route] of Object.entries(asked)) {
        assert.strictEqual((await application.request(path)).status, Number(route.split(" ")[1]))
      }
      const body = await (await application.request("/metrics")).text()
      assert.deepStrictEqual(endedIn(body), counted(Object.values(asked)))
      assert.deepStrictEqual(inProgressIn(body), { GET: 0 })
    })
  }

  it("of each method, in any environment of the application, also when a handler returns nothing", async () => {
    const registry = new Registry()
    const application = measured(registry, (hono) => {
      hono.post("/users", async (context) => context.text(await context.req.text(), 201))
      hono.get("/nothing/:id", (() => undefined) as never)
      hono.on("PURGE", "/cache/:key", (context) => context.body(null, 204))
      hono.get("/users/:id", (context) => context.text("user"))
    })
    await application.request("/users", { method: "POST", body: "0123456789" })
    await application.request("/cache/7", { method: "PURGE" })
    await application.request("/users/7", { method: "HEAD" })
    assert.strictEqual((await application.request("/nothing/7")).status, 500)
    await application.request("/users/7", {}, { KV: "of a worker" })
    assert.deepStrictEqual(endedIn(await registry.metrics()), {
      "POST /users 201": 1,
      "other /cache/:key 204": 1,
      "HEAD /users/:id 200": 1,
      "GET /nothing/:id 500": 1,
      "GET /users/:id 200": 1
    })
  })

  it.scopedLive("also when the client goes away before there is an answer", () =>
    Effect.gen(function* () {
      const registry = new Registry()
      const arrived = yield* Deferred.make<void>()
      const application = measured(registry, (hono) => {
        hono.get("/slow/:id", async (context) => {
          const bindings = context.env as HttpBindings
          Deferred.unsafeDone(arrived, Effect.void)
          await new Promise((resolve) => bindings.outgoing.once("close", resolve))
          return context.text("too late")
        })
        hono.get("*", (context) => context.text("all"))
      })
      const url = yield* serving(application)
      const going = new AbortController()
      const gone = fetch(`${url}/slow/7`, { signal: going.signal }).catch(() => "gone")
      yield* Deferred.await(arrived)
      going.abort()
      yield* Effect.promise(() => gone)
      yield* eventually("it is counted", async () => {
        const ended = endedIn(await registry.metrics())
        return ended["GET /slow/:id 499"] === 1
      })
    })
  )
})
