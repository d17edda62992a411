import { assert, describe, it } from "@effect/vitest"
import { Router } from "@koa/router"
import { Effect } from "effect"
import Koa from "koa"
import mount from "koa-mount"
import { Registry } from "prom-client"
import supertest from "supertest"
import { httpMetrics, koaRoute } from "../src/Promises.js"
import { eventually } from "./support/httpClient.js"
import { endedIn, inProgressIn } from "./support/httpSamples.js"

const answer = (context: Koa.Context): void => {
  context.body = "answer"
}
const pass: Koa.Middleware = (_, next) => next()
const fail = (): never => {
  throw new Error("it failed")
}

interface Case {
  readonly title: string
  readonly declare: (application: Koa) => void
  /** Each path that is asked for, with its route and status. */
  readonly asked: Readonly<Record<string, string>>
}

const users = (): Router => {
  const router = new Router()
  router.get("/users/:id", answer)
  router.get("/", answer)
  return router
}

const cases: ReadonlyArray<Case> = [
  {
    title: "of routers that koa-mount has mounted: each under its own prefix",
    declare: (application) => {
      application.use(mount("/v1", users().routes()))
      application.use(mount("/v2/", new Koa().use(mount("/deep", new Koa().use(users().routes())))))
      application.use(mount("/v3", mount("/v3", users().routes())))
      application.use(mount(users().routes()))
      const late = new Koa()
      late.use(mount("/passed", pass)).use(users().routes())
      application.use(mount("/late", late))
    },
    asked: {
      "/v1/users/7": "/v1/users/:id 200",
      "/v1/users/v1?x=1": "/v1/users/:id 200",
      "/v1": "/v1 200",
      "/v1/none": "unmatched 404",
      "/v3/v3/users/v3": "/v3/v3/users/:id 200",
      "/v3/v3": "/v3/v3 200",
      "/users/7": "/users/:id 200",
      "/": "/ 200",
      "/late/users/7": "/late/users/:id 200",
      "/late/passed/none": "unmatched 404"
    }
  },
  {
    title: "of nested routers with prefixes and parameters",
    declare: (application) => {
      const inner = new Router({ prefix: "/in/:inner" })
      inner.get("/:id", answer)
      const outer = new Router({ prefix: "/out/:outer" })
      outer.use(pass)
      outer.use("/use", inner.routes())
      outer.use(inner.routes(), inner.allowedMethods())
      outer.get(["/one", "/two"], answer)
      application.use(outer.routes()).use(outer.allowedMethods())
      const mounted = new Router({ prefix: "/router" })
      mounted.use("/x/:y", users().routes())
      application.use(mount("/m", mounted.routes()))
    },
    asked: {
      "/out/1/in/2/3": "/out/:outer/in/:inner/:id 200",
      "/out/out/in/in/in": "/out/:outer/in/:inner/:id 200",
      "/out/1/use/in/2/3": "/out/:outer/use/in/:inner/:id 200",
      "/out/1/two": "/out/:outer/two 200",
      "/m/router/x/7/users/8": "/m/router/x/:y/users/:id 200",
      "/m/router/x/m": "/m/router/x/:y 200",
      "/out/1": "unmatched 404"
    }
  },
  {
    title: "of overlapping routes: the one that answered",
    declare: (application) => {
      const router = new Router()
      router.get("/users/me", answer)
      router.get("/users/:id", (context, next) => (context["params"]["id"] === "none" ? next() : answer(context)))
      router.get(/^.users/, answer)
      application.use(router.routes())
    },
    asked: {
      "/users/me": "/users/me 200",
      "/users/7": "/users/:id 200",
      "/users/none": "/^.users/ 200",
      "/users": "/^.users/ 200"
    }
  },
  {
    title: "of a handler that is mounted without a router: its mount, unlike a 404",
    declare: (application) => {
      application.use(mount("/graphql", answer))
      application.use(mount("/deep", mount("/er", answer)))
      application.use(mount("/passing", pass))
      application.use(mount("/failing", fail))
      const guarded = new Koa()
      guarded.use((context, next) => (context.query["key"] === undefined ? context.throw(401) : next()))
      guarded.use(users().routes())
      application.use(mount("/guarded", guarded))
    },
    asked: {
      "/graphql": "/graphql 200",
      "/graphql/x?query={a}": "/graphql 200",
      "/deep/er/est": "/deep/er 200",
      "/passing/none": "unmatched 404",
      "/failing/1": "/failing 500",
      "/guarded/users/7": "/guarded 401",
      "/guarded/users/7?key=1": "/guarded/users/:id 200",
      "/none": "unmatched 404"
    }
  },
  {
    title: "whatever becomes of the path on the way",
    declare: (application) => {
      application.use((context, next) => {
        context.path = context.path.replace(/^\/tenants\/[^/]+/, "")
        return next()
      })
      application.use(users().routes()).use(mount("/v1", users().routes()))
      const closed = new Router({ prefix: "/closed/:what" })
      closed.use((context) => context.throw(401))
      closed.get("/x/:id", answer)
      const open = new Router()
      open.use((context) => context.throw(403))
      open.get("/open/:id", answer)
      application.use(closed.routes()).use(mount("/m", open.routes()))
      const failing = new Router()
      failing.get("/fail/:id", fail)
      failing.post("/posted", answer)
      application.use(failing.routes()).use(failing.allowedMethods())
    },
    asked: {
      "/tenants/7/users/8": "/users/:id 200",
      "/tenants/9/v1/users/9": "/v1/users/:id 200",
      "/fail/7": "/fail/:id 500",
      "/posted": "unmatched 405",
      "/closed/a/x/b": "/closed/:what/x/:id 401",
      "/m/open/a": "/m/open/:id 403",
      "/users/%2Fv1%2F": "/users/:id 200"
    }
  },
  {
    title: "of a route that has the path of a middleware",
    declare: (application) => {
      const guarded = new Router()
      guarded.use("/users", pass).get("/users", answer)
      const outer = new Router({ prefix: "/outer" })
      const inner = new Router().get("/", answer)
      outer.use("/", pass).get("/", answer)
      outer.use("/inner", pass, inner.routes())
      outer.use("/guarded", (context) => context.throw(401))
      application.use(guarded.routes()).use(mount("/m", outer.routes()))
    },
    asked: {
      "/users": "/users 200",
      "/m/outer": "/m/outer 200",
      "/m/outer/inner": "/m/outer/inner 200",
      "/m/outer/guarded": "unmatched 404"
    }
  }
]

describe("the route of a request of Koa is that", () => {
  for (const { asked, declare, title } of cases) {
    it(title, async () => {
      const registry = new Registry()
      const measure = httpMetrics({ registry })
      const other = new Registry()
      const measureAgain = httpMetrics({ registry: other })
      const application = new Koa()
      application.silent = true
      application.use((context, next) => {
        measure(context.req, context.res, koaRoute(context))
        measureAgain(context.req, context.res, koaRoute(context))
        return next()
      })
      declare(application)
      const ended = async (): Promise<ReadonlyArray<string>> => Object.keys(endedIn(await registry.metrics()))
      const found: Record<string, string> = {}
      for (const path of Object.keys(asked)) {
        await supertest(application.callback()).get(path)
        await Effect.runPromise(eventually("it is counted", async () => (await ended()).length === 1))
        found[path] = (await ended())[0]?.replace("GET ", "") ?? ""
        assert.deepStrictEqual(inProgressIn(await registry.metrics()), { GET: 0 })
        assert.deepStrictEqual(Object.keys(endedIn(await other.metrics())), await ended())
        registry.resetMetrics()
        other.resetMetrics()
      }
      assert.deepStrictEqual(found, asked)
    })
  }

  it("that the application sees what it had seen without it", async () => {
    const seen: Array<unknown> = []
    for (const isMeasured of [false, true]) {
      const application = new Koa()
      application.use((context, next) => {
        if (isMeasured) koaRoute(context)
        return next()
      })
      application.use(async (context, next) => {
        await next()
        context.body = { route: context["_matchedRoute"], mount: context["mountPath"] }
      })
      application.use(mount("/v1", users().routes()))
      seen.push((await supertest(application.callback()).get("/v1/users/7")).body)
    }
    assert.sameMembers(
      seen.map((body) => JSON.stringify((body as { route: unknown }).route)),
      ['"/users/:id"', '"/users/:id"']
    )
    assert.sameDeepMembers(
      seen.map((body) => (body as { mount: unknown }).mount),
      ["/v1", "/v1"]
    )
  })

  it("in a mounted application that measures itself, below its mount", async () => {
    const registry = new Registry()
    const measure = httpMetrics({ registry })
    const own = new Koa()
    own.use((context, next) => {
      measure(context.req, context.res, koaRoute(context))
      return next()
    })
    own.use(mount("/v1", users().routes())).use(mount("/graphql", answer))
    const application = new Koa().use(mount("/api", own))
    for (const path of ["/api/v1/users/7", "/api/graphql"]) await supertest(application.callback()).get(path)
    assert.deepStrictEqual(endedIn(await registry.metrics()), {
      "GET /v1/users/:id 200": 1,
      "GET /graphql 200": 1
    })
  })

  type Context = Record<string, unknown> & { path: string; status: number }
  const made = (application: Koa): Context =>
    application.createContext({ url: "/", headers: {} } as never, {} as never) as unknown as Context

  it("that was set on its own context, also after others were set", () => {
    const application = new Koa()
    const base = made(application)
    koaRoute(base)
    for (const context of [base, Object.create(base), Object.create(base), made(application)]) {
      const [route, again] = [koaRoute(context), koaRoute(context)]
      context["_matchedRoute"] = "/users/:id"
      assert.deepStrictEqual([route(), again(), context["_matchedRoute"]], Array(3).fill("/users/:id"))
    }
    const [first, second]: [Context, Context] = [Object.create(base), Object.create(base)]
    const routes = [koaRoute(first), koaRoute(second)]
    first["_matchedRoute"] = "/first"
    second["_matchedRoute"] = "/second"
    assert.deepStrictEqual([first["_matchedRoute"], second["_matchedRoute"]], ["/first", "/second"])
    assert.deepStrictEqual(
      routes.map((route) => route()),
      ["/first", "/second"]
    )
  })

  it("whatever is set on the context of the application, and is seen in copies of a context", () => {
    const application = new Koa()
    const routeOf = (context: Context): unknown => {
      const route = koaRoute(context)
      context["_matchedRoute"] = "/users/:id"
      return {
        route: route(),
        copied: { ...context }["_matchedRoute"],
        own: Object.keys(context).includes("mountPath")
      }
    }
    const expected = routeOf(made(application))
    Object.assign(application.context, { _matchedRoute: "", mountPath: "" })
    assert.deepStrictEqual(routeOf(made(application)), expected)
    assert.deepStrictEqual(expected, { route: "/users/:id", copied: "/users/:id", own: true })
    assert.notProperty(made(new Koa()), "_matchedRoute")
  })
})
