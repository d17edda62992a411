import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import express from "express"
import fc from "fast-check"
import { expressRoute } from "../src/Promises.js"
import { get } from "./support/httpClient.js"
import { listen } from "./support/listen.js"

type Express = typeof express

/** Both versions have the same methods here. */
const versions: ReadonlyArray<readonly [version: string, express: Express]> = [
  ["Express 5", express],
  ["Express 4", createRequire(import.meta.url)("express4")]
]

const answer = (_: IncomingMessage, response: ServerResponse): void => void response.end()
const pass: express.RequestHandler = (_, __, next) => next()
const fail = (): never => {
  throw new Error("it failed")
}
const failLater: express.RequestHandler = (_, __, next) => void setImmediate(() => next(new Error("it failed")))

/** The pattern and the status of each of the paths, in their order. */
const patternsOf = (
  make: Express,
  declare: (application: express.Express) => void,
  paths: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const ended: Array<() => void> = []
    const patterns: Array<string> = []
    const application = make()
    application.set("env", "test")
    application.use((request, response, next) => {
      const pattern = expressRoute(request)
      response.on("close", () => {
        patterns.push(`${pattern()} ${response.statusCode}`)
        ended.shift()?.()
      })
      next()
    })
    declare(application)
    const url = `http://127.0.0.1:${yield* listen(createServer(application))}`
    for (const path of paths) {
      const end = new Promise<void>((resolve) => ended.push(resolve))
      yield* get(`${url}${path}`)
      yield* Effect.promise(() => end)
    }
    return patterns
  })

interface Case {
  readonly title: string
  readonly declare: (application: express.Express, make: Express) => void
  /** Each path that is asked for, with its pattern and status. */
  readonly asked: Readonly<Record<string, string>>
  /** What is different in Express 4, which does not say which path it matched. */
  readonly in4?: Readonly<Record<string, string>>
}

const leaf = (make: Express, options?: express.RouterOptions): express.Router =>
  make.Router(options).get("/posts", answer).get("/", answer).get("/:id", answer)

const cases: ReadonlyArray<Case> = [
  {
    title: "of no mount, if an error comes before them",
    declare: (application, make) => {
      application.use((request, _, next) => next(request.url.includes("bad") ? new Error("it failed") : undefined))
      application.use("/users", leaf(make))
      application.use("/:tenant", leaf(make))
      application.use("/:tenant", pass)
    },
    asked: {
      "/users/bad": "undefined 500",
      "/bad": "undefined 500",
      "/acme/bad/posts": "undefined 500",
      "/users/posts": "/users/posts 200"
    }
  },
  {
    title: "of no mount, if an error comes later than the request",
    declare: (application, make) => {
      application.use(failLater)
      application.use("/:tenant", leaf(make))
    },
    asked: { "/users/7": "undefined 500", "/": "undefined 500" }
  },
  {
    title: "of the mount that an error comes from, and of no later one",
    declare: (application, make) => {
      application.use("/users", (request, response, next) =>
        request.url === "/fail" ? fail() : failLater(request, response, next)
      )
      application.use("/:tenant", leaf(make))
      application.use("/:tenant/:more", pass)
    },
    asked: { "/users/fail": "/users 500", "/users/later": "/users 500", "/acme/7": "/:tenant/:id 200" }
  },
  {
    title: "of a router that is mounted under a parameter, whose value is also elsewhere in the path",
    declare: (application, make) => application.use("/api/v1/users/:userId", leaf(make)),
    asked: {
      "/api/v1/users/1/posts": "/api/v1/users/:userId/posts 200",
      "/api/v1/users/a/posts": "/api/v1/users/:userId/posts 200",
      "/api/v1/users/users/posts": "/api/v1/users/:userId/posts 200",
      "/api/v1/users/v1/7": "/api/v1/users/:userId/:id 200",
      "/API/V1/Users/api/": "/api/v1/users/:userId 200",
      "/api/v1/users/a%2Fb/posts": "/api/v1/users/:userId/posts 200",
      "/api/v1/users/%20/posts?x=/users": "/api/v1/users/:userId/posts 200",
      "/api/v1/users/1/posts/none": "undefined 404"
    }
  },
  {
    title: "of a mount with several parameters that have equal values",
    declare: (application, make) => application.get("/:a/x/:b", pass).use("/:a/x/:b", leaf(make)),
    asked: {
      "/x/x/x": "/:a/x/:b 200",
      "/1/x/2/3": "/:a/x/:b/:id 200",
      "/x/x/x/x": "/:a/x/:b/:id 200",
      "/1/x/1/1": "/:a/x/:b/:id 200"
    },
    in4: { "/x/x/x": "/x/:a/:b 200", "/x/x/x/x": "/x/:a/:b/:id 200" }
  },
  {
    title: "of mounts with wildcards, with optional parameters, and with a value that has a slash",
    declare: (application, make) => {
      const [all, optional] = make === express ? ["/files/*path", "/opt{/:id}"] : ["/files/*", "/opt/:id?"]
      application.use(all, (_, response) => void response.end())
      application.use("/in/:id", make.Router({ mergeParams: true }).use(optional, leaf(make)))
      application.use("/:a/:b/users/:id", leaf(make))
      application.use("/of/:tenant", make.Router({ mergeParams: true }).use("/data/:x", leaf(make)))
    },
    asked: {
      "/files/a/b": "/files/*path 200",
      "/in/7/opt": "/in/:id/opt{/:id} 200",
      "/a/b/users/a%2Fb/posts": "/:a/:b/users/:id/posts 200",
      "/of/d/data/7/posts": "/of/:tenant/data/:x/posts 200"
    },
    in4: {
      "/files/a/b": "/files/:0 200",
      "/in/7/opt": "/in/:id/opt 200",
      "/of/d/data/7/posts": "/of/:tenant/:tenant/:x/posts 200"
    }
  },
  {
    title: "of a mount with a parameter that has a prefix",
    declare: (application, make) => application.use("/v:version", leaf(make)).use("/in-:from-:to/v", leaf(make)),
    asked: {
      "/v1/posts": "/v:version/posts 200",
      "/vposts/posts": "/v:version/posts 200",
      "/vv/v": "/v:version/:id 200",
      "/in-a-b/v/posts": "/in-:from-:to/v/posts 200",
      "/in-a-a/v/posts": "/in-:from-:to/v/posts 200"
    }
  },
  {
    title: "of nested mounts, with and without the parameters of those further out",
    declare: (application, make) => {
      const inner = make.Router({ mergeParams: true }).use("/:tenant/y", leaf(make, { mergeParams: true }))
      const outer = make.Router().use("/orders", leaf(make)).use("/in/:deep", inner)
      application.use("/:tenant", outer)
    },
    asked: {
      "/ada/orders/1": "/:tenant/orders/:id 200",
      "/orders/orders/orders": "/:tenant/orders/:id 200",
      "/a/in/b/c/y/d": "/:tenant/in/:deep/:tenant/y/:id 200",
      "/a/in/a/a/y/a": "/:tenant/in/:deep/:tenant/y/:id 200",
      "/in/in/in/in/y/in": "/:tenant/in/:deep/:tenant/y/:id 200",
      "/ada/orders/1/2": "undefined 404"
    },
    in4: { "/in/in/in/in/y/in": "/:tenant/in/:deep/:tenant/y/:id 200" }
  },
  {
    title: "of lists of paths: the one that matched",
    declare: (application, make) => {
      application.use(["/shops/:shop", "/stores/:shop"], leaf(make))
      application.get(["/one", "/two/:id"], answer)
      application.get([["/three/:id", ["/four/:id"]]] as never, answer)
    },
    asked: {
      "/shops/1/posts": "/shops/:shop/posts 200",
      "/stores/stores/posts": "/stores/:shop/posts 200",
      "/one": "/one 200",
      "/two/7": "/two/:id 200",
      "/four/7": "/four/:id 200"
    },
    in4: {
      "/one": "/one,/two/:id 200",
      "/two/7": "/one,/two/:id 200",
      "/four/7": "/three/:id,/four/:id 200"
    }
  },
  {
    title: "of sub-applications, empty mounts, mounts that end in a slash, and strict routing",
    declare: (application, make) => {
      const strict = make.Router({ strict: true, caseSensitive: true })
      strict.get("/a/", answer).get("/a", answer).get("/", answer)
      application.use("/sub/:id/", make().use("/app", make().use(leaf(make))))
      application.use("/", make.Router().use("/", leaf(make).use("/strict/", strict)))
    },
    asked: {
      "/sub/1/app/posts": "/sub/:id/app/posts 200",
      "/sub/sub/app/app": "/sub/:id/app/:id 200",
      "/sub/1/app": "/sub/:id/app 200",
      "/posts": "/posts 200",
      "/posts/": "/posts 200",
      "/": "/ 200",
      "/strict/a": "/strict/a 200",
      "/strict/a/": "/strict/a/ 200",
      "/strict/A": "undefined 404"
    }
  },
  {
    title: "of a handler that is mounted: its mount, unlike a 404",
    declare: (application, make) => {
      application.use(pass).use("/graphql", answer)
      application.use("/:tenant/graphql", answer)
      application.use("/admin", pass)
      application.use("/admin/queues", pass, answer)
      application.use("/guarded", (_, response) => void response.status(401).end(), leaf(make))
      application.use("/shop", make.Router().use("/cart", answer).use(pass))
    },
    asked: {
      "/graphql": "/graphql 200",
      "/graphql/x?query={a}": "/graphql 200",
      "/GraphQL/": "/graphql 200",
      "/ada/graphql/1": "/:tenant/graphql 200",
      "/admin/queues/7": "/admin/queues 200",
      "/admin/none": "undefined 404",
      "/guarded/7": "/guarded 401",
      "/shop/cart/9": "/shop/cart 200",
      "/shop/none": "undefined 404",
      "/graphq": "undefined 404"
    }
  },
  {
    title: "of what fails: where it failed, in any depth, whichever handler answers",
    declare: (application, make) => {
      application.use("/graphql", fail).use("/later", failLater).use("/admin", pass)
      application.use("/shop", make.Router().use("/deep/:id", failLater).get("/orders/:order", fail))
      application.use("/own", make.Router().get("/:id", fail), ((_, __, response, ___) => {
        response.status(503).end()
      }) as express.ErrorRequestHandler)
      application.use(((_, __, response, next) => {
        if (response.req.url === "/graphql/default") next(new Error("it failed"))
        else response.status(500).end()
      }) as express.ErrorRequestHandler)
    },
    asked: {
      "/graphql/1": "/graphql 500",
      "/later/2": "/later 500",
      "/shop/deep/7/8": "/shop/deep/:id 500",
      "/shop/orders/7": "/shop/orders/:order 500",
      "/own/1": "/own/:id 503",
      "/admin/none": "undefined 404"
    }
  },
  {
    title: "of overlapping routes: the one that answered",
    declare: (application) => {
      application.get("/users/me", answer)
      application.get("/users/:id", (request, response, next) => {
        if (request.params.id === "none") next()
        else {
          response.end()
          // It has answered by then.
          next()
        }
      })
      application.use("/users", answer)
      application.get(/^\/any/, answer)
    },
    asked: {
      "/users/me": "/users/me 200",
      "/users/7": "/users/:id 200",
      "/users/none": "/users 200",
      "/users/7/8": "/users 200",
      "/anything": "/^\\/any/ 200"
    }
  },
  {
    title: "of a mount that fails, behind a route that has passed the request on",
    declare: (application, make) => {
      application.get("/:any", pass).get("/shop/:any", pass)
      application.use("/broken", (_, response) => void response.status(503).end())
      const answerError: express.ErrorRequestHandler = (_, __, response, ___) => void response.status(503).end()
      application.use("/shop", make.Router().use("/inner", fail).use(answerError))
    },
    asked: { "/broken": "/broken 503", "/shop/inner": "/shop/inner 503" }
  },
  {
    title: "of a route that is come to again, from a mount",
    declare: (application, make) => {
      const router = make.Router()
      router.get("/again/:id", (request, response) => {
        if (request.params.id !== "1") response.end()
        else {
          router.use("/again", (inner, answered, next) => {
            inner.url = "/again/2"
            router(inner, answered, next)
          })
          request.next?.()
        }
      })
      application.use(router)
    },
    asked: { "/again/1": "/again/again/:id 200" }
  },
  {
    title: "where it is asked for again, further in",
    declare: (application, make) => {
      const again: express.RequestHandler = (request, _, next) => {
        expressRoute(request)
        next()
      }
      application.use("/shop/:shop", again, leaf(make)).use(again).get("/users/:id", again, answer)
    },
    asked: { "/shop/1/posts": "/shop/:shop/posts 200", "/users/7": "/users/:id 200" }
  },
  {
    title: "of applications of another version, or of another copy, in this one",
    declare: (application, make) => {
      for (const [version, other] of versions) {
        const inner = other().use("/in/:x", leaf(make)).use("/of/:y", leaf(other)).get("/fail/:id", fail)
        application.use(`/${version.replace(" ", "-")}/:z`, inner)
      }
      const other = versions[make === express ? 1 : 0]?.[1] ?? make
      application.use(other().get("/fail/:id", fail).use("/deep/:y", leaf(other)))
      application.all(/^\/routed/, other().use("/routed/:y", leaf(other)))
      application.use(((_, __, response, ___) => void response.status(500).end()) as express.ErrorRequestHandler)
    },
    asked: {
      "/Express-5/in/in/in/posts": "/Express-5/:z/in/:x/posts 200",
      "/Express-5/1/of/2/3": "/Express-5/:z/of/:y/:id 200",
      "/Express-5/1/fail/2": "/Express-5/:z/fail/:id 500",
      "/Express-4/in/in/in/posts": "/Express-4/:z/in/:x/posts 200",
      "/Express-4/1/of/2/3": "/Express-4/:z/of/:y/:id 200",
      "/Express-4/1/fail/2": "/Express-4/:z/fail/:id 500",
      "/fail/7": "/fail/:id 500",
      "/deep/deep/posts": "/deep/:y/posts 200",
      "/routed/1/posts": "/routed/:y/posts 200"
    },
    in4: {
      "/Express-5/in/in/in/posts": "/express-5/:z/in/:x/posts 200",
      "/Express-5/1/of/2/3": "/express-5/:z/of/:y/:id 200",
      "/Express-5/1/fail/2": "/express-5/:z/fail/:id 500",
      "/Express-4/in/in/in/posts": "/express-4/:z/in/:x/posts 200",
      "/Express-4/1/of/2/3": "/express-4/:z/of/:y/:id 200",
      "/Express-4/1/fail/2": "/express-4/:z/fail/:id 500"
    }
  },
  {
    title: "where the application changes what was matched",
    declare: (application, make) => {
      application.param("user", (request, _, next) => {
        Object.assign(request.params, { user: "users" })
        next()
      })
      application.use("/users/:user", leaf(make))
      application.use("/gone", (request, _, next) => {
        Object.assign(request, { baseUrl: undefined, route: null, params: undefined })
        next()
      })
    },
    asked: {
      "/users/7/posts": "/users/:user/posts 200",
      "/users/8/posts": "/users/:user/posts 200",
      "/gone": "undefined 404"
    }
  }
]

describe("the pattern that expressRoute returns", () => {
  for (const [version, make] of versions) {
    for (const { asked, declare, in4, title } of cases) {
      it.scopedLive(`${title}, in ${version}`, () =>
        Effect.gen(function* () {
          const expected = make === express ? asked : { ...asked, ...in4 }
          const paths = Object.keys(expected)
          const patterns = yield* patternsOf(make, (application) => declare(application, make), paths)
          assert.deepStrictEqual(Object.fromEntries(paths.map((path, index) => [path, patterns[index]])), expected)
        })
      )
    }
  }
})

it("routers that keep the parts of a wildcard, and do not say what they matched, have its name in the pattern", () => {
  const request: Record<string, unknown> = {}
  const pattern = expressRoute(request as never)
  request["params"] = { path: ["a", "b"], id: "b" }
  request["baseUrl"] = "/files/a/b/in/b"
  request["route"] = { path: "/posts" }
  assert.strictEqual(pattern(), "/files/:path/in/:id/posts")
})

describe("where expressRoute is called", () => {
  interface Where {
    readonly title: string
    readonly listener: (make: Express, called: express.RequestHandler) => RequestListener
    readonly asked: Readonly<Record<string, string>>
    readonly in4?: Readonly<Record<string, string>>
  }
  const places: ReadonlyArray<Where> = [
    {
      title: "before the application, it is the same pattern",
      listener: (make, called) => {
        const application = make()
        application.use(["/shops/:shop", "/stores/:shop"], leaf(make)).get(["/one", "/two/:id"], answer)
        return (request, response) => {
          called(request as never, response as never, () => {})
          application(request, response)
        }
      },
      asked: { "/one": "/one", "/two/7": "/two/:id", "/stores/1/posts": "/stores/:shop/posts" },
      in4: { "/one": "/one,/two/:id", "/two/7": "/one,/two/:id" }
    },
    {
      title: "inside a router or a route, what is above is not known",
      listener: (make, called) => {
        const inner = (versions[make === express ? 1 : 0]?.[1] ?? make)().use("/in/:y", leaf(make))
        const application = make()
        application.get("/users/:id", called, answer)
        application.get(["/one", "/two/:id"], called, answer)
        application.use("/shop/:shop", make.Router().get("/orders/:order", called, answer))
        application.use("/mall/:mall", make.Router().get(["/a", "/b/:x"], called, answer))
        application.use("/other/:x", (request, response, next) => {
          called(request, response, () => inner(request, response, next))
        })
        return application
      },
      asked: {
        "/users/7": "/users/:id",
        "/one": "/one",
        "/two/7": "/two/:id",
        "/shop/1/orders/2": "/*/orders/:order",
        "/mall/1/b/2": "/*/b/:x",
        "/other/1/in/2/posts": "/*/in/:y/posts"
      },
      in4: { "/one": "/one,/two/:id", "/two/7": "/one,/two/:id", "/mall/1/b/2": "/*/a,/b/:x" }
    }
  ]
  for (const [version, make] of versions) {
    for (const { asked, in4, listener, title } of places) {
      it.scopedLive(`${title}, in ${version}`, () =>
        Effect.gen(function* () {
          const expected = make === express ? asked : { ...asked, ...in4 }
          const found: Record<string, string | undefined> = {}
          let pattern: (() => string | undefined) | undefined
          const called: express.RequestHandler = (request, _, next) => {
            pattern = expressRoute(request)
            next()
          }
          const url = `http://127.0.0.1:${yield* listen(createServer(listener(make, called)))}`
          for (const path of Object.keys(expected)) {
            yield* get(`${url}${path}`)
            found[path] = pattern?.()
          }
          assert.deepStrictEqual(found, expected)
        })
      )
    }
  }
})

/** A router or a handler that is mounted, and what is mounted in it. */
interface Node {
  readonly path: ReadonlyArray<string>
  readonly kind: "routes" | "handler" | "passing"
  readonly mergeParams: boolean
  readonly inner: ReadonlyArray<Node>
}

describe("with any mounts and any requests", () => {
  const segments = fc.array(fc.constantFrom("api", "users", "v1", "a", ":id", ":user", ":other", "v:version"), {
    minLength: 1,
    maxLength: 3
  })
  // A name twice in one path is an error.
  const path = segments.filter((all) => new Set(all).size === all.length)
  const { node } = fc.letrec<{ node: Node }>((tie) => ({
    node: fc.record({
      path,
      kind: fc.constantFrom("routes", "handler", "passing"),
      mergeParams: fc.boolean(),
      inner: fc.oneof({ maxDepth: 2 }, fc.constant([]), fc.array(tie("node"), { maxLength: 2 }))
    })
  }))
  // Also what is the same as other segments, and what looks like a pattern.
  const value = fc.oneof(
    fc.constantFrom(
      "users",
      "api",
      "v1",
      "a",
      "v",
      "id",
      ":id",
      "Users",
      "a%2Fusers",
      "%20",
      "%C3%A9",
      "users%2F",
      "*"
    ),
    fc.stringMatching(/^[a-z0-9]{1,6}$/)
  )
  // Express 4: where a segment is a prefix and a value that is another segment, either of them can be taken for the value.
  const isDeclared = /^(\/(v?(api|users|v1|a|posts)|v?:(id|user|other|version)))*$/

  const pathsOf = ({ inner, path }: Node, above: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> => {
    const own = [...above, ...path]
    return [[...own, "posts"], [...own, ":id"], own, ...inner.flatMap((node) => pathsOf(node, own))]
  }
  const mount = (make: Express, into: express.IRouter, { inner, kind, mergeParams, path }: Node): void => {
    if (kind === "handler") into.use(`/${path.join("/")}`, answer)
    else {
      const router = make.Router({ mergeParams })
      if (kind === "routes") router.get("/posts", answer).get("/:id", answer)
      for (const node of inner) mount(make, router, node)
      into.use(`/${path.join("/")}`, router)
    }
  }

  for (const [version, make] of versions) {
    it(`patterns are made of declared segments alone, in ${version}`, () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(node, { minLength: 1, maxLength: 3 }),
          fc.array(fc.tuple(fc.nat(), fc.array(value, { minLength: 8, maxLength: 8 })), {
            minLength: 20,
            maxLength: 20
          }),
          async (nodes, asked) => {
            const declared = nodes.flatMap((node) => pathsOf(node))
            const paths = asked.map(([which, values]) => {
              const segments = declared[which % declared.length] ?? []
              return `/${segments.map((segment, index) => segment.replace(/:\w+/, values[index] ?? "x")).join("/")}`
            })
            const declare = (application: express.Express) => {
              for (const node of nodes) mount(make, application, node)
            }
            const patterns = await Effect.runPromise(Effect.scoped(patternsOf(make, declare, paths)))
            const found = patterns.map((text) => text.split(" ")[0] ?? "").filter((pattern) => pattern !== "undefined")
            for (const pattern of found) assert.match(pattern, isDeclared)
            if (make === express)
              assert.includeMembers(
                declared.map((path) => `/${path.join("/")}`),
                found
              )
          }
        ),
        { numRuns: 30 }
      ))

    it(`a regular expression that is mounted has no more patterns than mounts, or 500, in ${version}`, () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const paths = Array.from({ length: 510 }, (_, index) => `/v${index}/posts`)
            const declare = (application: express.Express) => application.use(/^\/v\d+/, leaf(make))
            const patterns = new Set(yield* patternsOf(make, declare, [...paths, "/none"]))
            assert.isTrue(patterns.has("undefined 404"))
            if (make === express) assert.deepStrictEqual([...patterns], ["/^\\/v\\d+/posts 200", "undefined 404"])
            else assert.isAtMost(patterns.size, 502)
          })
        )
      ))
  }
})
