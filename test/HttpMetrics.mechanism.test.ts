/** Exchanges in which the fiber, the request or the response is not the one that a server began with. */
import type { ServerResponse } from "node:http"
import {
  HttpApp,
  HttpBody,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { type Context, Deferred, Effect, FiberRef, Layer, Queue, Runtime, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import {
  awaitIdle,
  inProgress,
  listen,
  measuring,
  requests,
  responseSize,
  samples,
  samplesOf
} from "./support/httpApps.js"
import { eventually, rawConnection, requestLines } from "./support/httpClient.js"

type AnyApp = HttpApp.Default<unknown>

const text = HttpServerResponse.text("ok")

const users = HttpRouter.empty.pipe(HttpRouter.get("/users/:id", text))

/** An app of its own at a path, with no router in it. */
const files = HttpRouter.empty.pipe(HttpRouter.mountApp("/files", Effect.as(Effect.void, text)))

const prefixed = HttpRouter.empty.pipe(
  HttpRouter.mountApp("/files", Effect.andThen(HttpServerRequest.HttpServerRequest, text), { includePrefix: true })
)

const inFiber = (app: AnyApp): AnyApp => Effect.flatMap(Effect.fork(app), (fiber) => fiber)

/** With the request that it makes of the one that arrived. */
const withRequest =
  (make: (request: HttpServerRequest.HttpServerRequest) => HttpServerRequest.HttpServerRequest) =>
  (app: AnyApp): AnyApp =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.provideService(app, HttpServerRequest.HttpServerRequest, make(request))
    )

describe("A route is found", () => {
  const rows: ReadonlyArray<readonly [string, AnyApp, string, string]> = [
    ["in the fiber of the request", users, "/users/7", "/users/:id 200"],
    ["in a forked fiber", inFiber(users), "/users/7", "/users/:id 200"],
    ["in a fiber of a forked fiber", inFiber(inFiber(users)), "/users/7", "/users/:id 200"],
    ["behind a timeout", Effect.timeout(users, "10 seconds"), "/users/7", "/users/:id 200"],
    [
      "behind a disconnected timeout",
      Effect.disconnect(Effect.timeout(users, "1 minute")),
      "/users/7",
      "/users/:id 200"
    ],
    [
      "in a race against something that never ends",
      Effect.race(users, Effect.interruptible(Effect.never)),
      "/users/7",
      "/users/:id 200"
    ],
    ["by a second router, after the first has none", Effect.catchAll(files, () => users), "/users/7", "/users/:id 200"],
    ["in a mounted app without a router", files, "/files/a/b", "/files/* 200"],
    ["in a mounted app without a router, in a forked fiber", inFiber(files), "/files/a/b", "/files/* 200"],
    ["in a mounted app that keeps its prefix", prefixed, "/files/a/b", "/files/* 200"],
    ["in a mounted app that keeps its prefix, in a forked fiber", inFiber(prefixed), "/files/a/b", "/files/* 200"],
    [
      "with a request that is modified in a forked fiber",
      inFiber(withRequest((request) => request.modify({ url: "/users/8" }))(users)),
      "/tenant/users/7",
      "/users/:id 200"
    ],
    [
      "by code that runs in a runtime of its own",
      Effect.flatMap(Effect.runtime<never>(), (runtime) =>
        Effect.promise(() => Runtime.runPromise(runtime)(users as never as Effect.Effect<typeof text>))
      ).pipe(Effect.flatten),
      "/users/7",
      "/users/:id 200"
    ],
    [
      "in a router below a mount, in a forked fiber",
      inFiber(HttpRouter.empty.pipe(HttpRouter.mountApp("/v1", users as never as HttpApp.Default<never>))),
      "/v1/users/7",
      "/v1/users/:id 200"
    ],
    [
      "in a router in a forked fiber below a mount",
      HttpRouter.empty.pipe(HttpRouter.mountApp("/v1", inFiber(users) as HttpApp.Default<never>)),
      "/v1/users/7",
      "/v1/users/:id 200"
    ],
    ["with a service that is provided around it", Effect.provide(users, Layer.empty), "/users/7", "/users/:id 200"],
    [
      "with a modified request",
      withRequest((request) => request.modify({ url: "/users/8" }))(users),
      "/tenant/users/7",
      "/users/:id 200"
    ],
    [
      "with an object that is derived from the request",
      withRequest((request) => Object.create(request))(users),
      "/users/7",
      "/users/:id 200"
    ],
    [
      "with a modified object that is derived from the request",
      withRequest((request) => (Object.create(request) as typeof request).modify({ url: "/users/8" }))(users),
      "/tenant/users/7",
      "/users/:id 200"
    ],
    [
      "with a proxy of the request",
      withRequest((request) => new Proxy(request, { get: (target, key) => Reflect.get(target, key, target) }))(users),
      "/users/7",
      "/users/:id 200"
    ],
    ["only where there is one", Effect.andThen(HttpServerRequest.HttpServerRequest, text), "/users/7", "unmatched 200"],
    [
      "also if the handler fails",
      HttpRouter.empty.pipe(HttpRouter.get("/no/:id", Effect.die("x"))),
      "/no/1",
      "/no/:id 500"
    ]
  ]
  for (const [name, app, path, expected] of rows) {
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const middleware = yield* measuring(registry, { sizes: true })
        const url = yield* listen(HttpServer.serve(app as HttpApp.Default, middleware) as never)
        yield* Effect.promise(() => fetch(`${url}${path}`).then((response) => response.text()))
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [`GET ${expected}: 1`])
        const web = new PromRegistry()
        const handler = HttpApp.toWebHandler(app as HttpApp.Default, (yield* measuring(web, { sizes: true })) as never)
        yield* Effect.promise(() => handler(new Request(`http://localhost${path}`)).then((response) => response.text()))
        yield* awaitIdle(web)
        assert.deepStrictEqual(yield* samplesOf(web, requests), [`GET ${expected}: 1`])
      })
    )
  }
})

const twenty = HttpServerResponse.stream(Stream.make(new Uint8Array(8), new Uint8Array(12)))

const failing = HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array(8)), Stream.die("x")))

const mounted = (path: `/${string}`, app: AnyApp): AnyApp =>
  HttpRouter.empty.pipe(HttpRouter.mountApp(path, app as HttpApp.Default<never>))

const at = (path: `/${string}`, app: AnyApp): AnyApp => HttpRouter.empty.pipe(HttpRouter.get(path, app))

describe("A measured app that is below others", () => {
  type Around = (measured: (app: AnyApp) => AnyApp) => AnyApp

  const rows: ReadonlyArray<readonly [string, Around, RequestInit & { readonly path: string }, string, string?]> = [
    ["has no stream to send for HEAD", (m) => m(twenty), { path: "/", method: "HEAD" }, "HEAD unmatched 200", "0"],
    [
      "has no stream to send for HEAD, below a mount",
      (m) => mounted("/a", m(twenty)),
      { path: "/a/b", method: "HEAD" },
      "HEAD /a/* 200",
      "0"
    ],
    [
      "has a status that allows no body",
      (m) => m(HttpServerResponse.setStatus(HttpServerResponse.stream(Stream.never), 304)),
      { path: "/" },
      "GET unmatched 500"
    ],
    ["is mounted", (m) => mounted("/a", m(twenty)), { path: "/a/b" }, "GET /a/* 200", "20"],
    ["is mounted, with a body that fails", (m) => mounted("/a", m(failing)), { path: "/a/b" }, "GET /a/* 500"],
    ["is in a router", (m) => mounted("/a", at("/y/:id", m(text))), { path: "/a/y/1" }, "GET /y/:id 200", "2"],
    [
      "is a router in a router",
      (m) => mounted("/a", at("/y/:id", m(at("/y/:other", text)))),
      { path: "/a/y/1" },
      "GET /y/:other 200",
      "2"
    ],
    [
      "is a router in two mounts",
      (m) => mounted("/a", mounted("/b", m(at("/:id", text)))),
      { path: "/a/b/1" },
      "GET /b/:id 200",
      "2"
    ],
    [
      "gets a modified request",
      (m) => withRequest((request) => request.modify({ url: "/y/1" }))(m(at("/y/:id", twenty))),
      { path: "/x" },
      "GET /y/:id 200",
      "20"
    ],
    [
      "gets an object that is derived from the request",
      (m) => withRequest((request) => Object.create(request))(m(at("/y/:id", twenty))),
      { path: "/y/1" },
      "GET /y/:id 200",
      "20"
    ],
    [
      "gets a frozen request",
      (m) => withRequest((request) => Object.freeze(request.modify({})))(m(at("/y/:id", twenty))),
      { path: "/y/1" },
      "GET /y/:id 200",
      "20"
    ],
    [
      "gets a request with a modify of its own",
      (m) =>
        withRequest(({ headers, source, url }) => {
          const own = { url, method: "GET", source, headers, cookies: {}, originalUrl: url }
          const modify = (options: object) => ({ ...own, ...options })
          return { ...own, modify } as never
        })(m(mounted("/x", text))),
      { path: "/x/1" },
      "GET /x/* 200",
      "2"
    ],
    [
      "gets a request that was derived from a measured one",
      (m) =>
        Effect.catchAll(Effect.scoped(m(at("/no", text))), () =>
          withRequest((request) => Object.create(request))(m(mounted("/x", at("/:id", text))))
        ),
      { path: "/x/1" },
      "GET /x/:id 200",
      "2"
    ],
    [
      "has a handler that provides the context of an outer route again",
      (m) => {
        const outer = Effect.context<never>()
        const asks = (context: Context.Context<never>) =>
          at("/u/:id", Effect.zipRight(Effect.provide(HttpServerRequest.HttpServerRequest, context as never), text))
        return m(mounted("/api", Effect.flatMap(outer, asks)))
      },
      { path: "/api/u/1" },
      "GET /api/u/:id 200",
      "2"
    ],
    [
      "has a handler with a route of its own making",
      (m) => {
        const params = Effect.provideService(HttpRouter.RouteContext, HttpRouter.RouteContext, { params: {} } as never)
        return m(at("/u/:id", Effect.zipRight(params, text)))
      },
      { path: "/u/1" },
      "GET /u/:id 200",
      "2"
    ],
    [
      "forks a router that gets a proxy of the request with another URL",
      (m) =>
        m(
          withRequest(
            (request) =>
              new Proxy(request, {
                get: (target, key) => (key === "url" ? `/v2${target.url}` : Reflect.get(target, key, target))
              })
          )(inFiber(Effect.orElse(at("/v2/x/:id", text), () => at("/v2/v2/x/:id", text))))
        ),
      { path: "/x/1" },
      "GET /v2/x/:id 200",
      "2"
    ]
  ]
  for (const [name, around, { path, ...init }, expected, size] of rows) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const middleware = (yield* measuring(registry, { sizes: true })) as unknown as (app: AnyApp) => AnyApp
        const handler = HttpApp.toWebHandler(around(middleware) as HttpApp.Default)
        const read = handler(new Request(`http://localhost${path}`, init)).then((response) => response.text())
        yield* Effect.promise(() => read.catch(() => ""))
        yield* awaitIdle(registry)
        // One of them asks two apps.
        const others = [...(yield* samplesOf(registry, requests))].filter((sample) => !sample.includes("unmatched 404"))
        assert.deepStrictEqual(others, [`${expected}: 1`])
        const sizes = [...(yield* samplesOf(registry, responseSize, "_sum"))].filter((sample) =>
          sample.includes(expected)
        )
        assert.deepStrictEqual(sizes, size === undefined ? [] : [`${expected}: ${size}`])
      })
    )
  }

  it.effect("cannot answer a client that has gone, also at once", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const client = new AbortController()
      const app = Effect.zipRight(
        Effect.sync(() => client.abort()),
        text
      )
      const handler = HttpApp.toWebHandler(app, (yield* measuring(registry, { sizes: true })) as never)
      yield* Effect.promise(() => handler(new Request("http://localhost/", { signal: client.signal })))
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET unmatched 499: 1"])
    })
  )

  it.effect("counts each part of a body once, if another handler replaces the body in between", () =>
    Effect.gen(function* () {
      const [outer, inner] = [new PromRegistry(), new PromRegistry()]
      const [around, within] = [yield* measuring(outer, { sizes: true }), yield* measuring(inner, { sizes: true })]
      const forty = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.succeed(HttpServerResponse.setBody(response, HttpBody.stream(Stream.make(new Uint8Array(40)))))
      )
      const handler = HttpApp.toWebHandler(around(Effect.zipRight(forty, within(twenty))))
      yield* Effect.promise(() => handler(new Request("http://localhost/")).then((response) => response.arrayBuffer()))
      yield* awaitIdle(inner)
      assert.deepStrictEqual(yield* samplesOf(outer, responseSize, "_sum"), [])
      assert.deepStrictEqual(yield* samplesOf(inner, responseSize, "_sum"), ["GET unmatched 200: 40"])
    })
  )

  it.effect("leaves fibers and requests with the methods that they have", () =>
    Effect.gen(function* () {
      const middleware = yield* measuring(new PromRegistry())
      const keysOf = (value: object) => Reflect.ownKeys(value).filter((key) => !/prometheus/.test(String(key)))
      const looking = (shown: Array<unknown>) =>
        Effect.withFiberRuntime<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>(
          (fiber) =>
            Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
              shown.push(keysOf(fiber), keysOf(request))
              return text
            })
        )
      const prototypeOf = Effect.map(Effect.fork(Effect.void), (fiber) => Object.getPrototypeOf(fiber))
      const [bare, measured]: [Array<unknown>, Array<unknown>] = [[], []]
      yield* Effect.fork(asking(looking(bare), "/")).pipe(Effect.flatten)
      yield* asking(middleware(text), "/")
      const { getFiberRefs, setFiberRef } = yield* prototypeOf
      yield* Effect.fork(asking(middleware(looking(measured)), "/")).pipe(Effect.flatten)
      assert.deepStrictEqual(measured, bare)
      // The methods are replaced once, whatever is measured after that.
      const after = yield* prototypeOf
      assert.isTrue(after.setFiberRef === setFiberRef && after.getFiberRefs === getFiberRefs)
    })
  )

  it.effect("leaves nothing in a request that is answered, also if it is measured again", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const seen: Array<HttpServerRequest.HttpServerRequest> = []
      const app = Effect.tap(middleware(users), () =>
        Effect.map(HttpServerRequest.HttpServerRequest, (r) => seen.push(r))
      )
      yield* asking(Effect.zipRight(app, app), "/users/1")
      const [request] = seen
      assert.isDefined(request)
      const keys = Object.getOwnPropertySymbols(request).filter((key) => /prometheus/.test(String(key)))
      assert.isNotEmpty(keys)
      for (const key of keys) assert.isUndefined(Reflect.get(request, key))
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 2"])
    })
  )

  it.scoped("leaves nothing in a fiber that reads its requests", () =>
    Effect.gen(function* () {
      const middleware = yield* measuring(new PromRegistry())
      const asked = yield* Queue.unbounded<readonly [HttpServerRequest.HttpServerRequest, Deferred.Deferred<string>]>()
      const worker = yield* Effect.forkScoped(
        Effect.forever(Effect.flatMap(Queue.take(asked), ([request, answer]) => Deferred.succeed(answer, request.url)))
      )
      const app = Effect.gen(function* () {
        const answer = yield* Deferred.make<string>()
        yield* Effect.fork(Effect.void)
        yield* Queue.offer(asked, [yield* HttpServerRequest.HttpServerRequest, answer])
        return HttpServerResponse.text(yield* Deferred.await(answer))
      })
      for (let count = 0; count < 20; count += 1) yield* asking(middleware(app), "/")
      const key = Object.getOwnPropertySymbols(worker).find((symbol) => symbol.description?.endsWith("tracked"))
      let links = 0
      for (let link = Reflect.get(worker, key ?? ""); link !== undefined; link = link.outer) links += 1
      assert.isAtMost(links, 1)
    })
  )
})

/** An app as the server runs it, in the fiber of the test. */
const asking = <E, R>(app: HttpApp.Default<E, R>, path: string) =>
  Effect.provideService(
    app,
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request(`http://localhost${path}`))
  )

describe("Requests that one fiber answers", () => {
  it.effect("one after the other have their own routes, and leave nothing behind", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      for (let at = 0; at < 3; at += 1) {
        yield* asking(middleware(users), `/users/${at}`)
        yield* asking(middleware(text), "/")
        yield* asking(users, "/users/unmeasured")
      }
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 3", "GET unmatched 200: 3"])
      assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
    })
  )

  it.effect("one within the other have their own routes, whichever of them is measured", () =>
    Effect.gen(function* () {
      const [outer, inner] = [new PromRegistry(), new PromRegistry()]
      const [around, within] = [yield* measuring(outer, { sizes: true }), yield* measuring(inner, { sizes: true })]
      const asks = (app: AnyApp) =>
        HttpRouter.empty.pipe(HttpRouter.get("/asks/:id", Effect.zipRight(asking(app, "/users/1"), text)))
      yield* asking(around(asks(users) as AnyApp), "/asks/1")
      yield* asking(around(asks(within(users)) as AnyApp), "/asks/2")
      yield* asking(asks(within(users)) as AnyApp, "/asks/3")
      assert.deepStrictEqual(yield* samplesOf(outer, requests), ["GET /asks/:id 200: 2"])
      assert.deepStrictEqual(yield* samplesOf(inner, requests), ["GET /users/:id 200: 2"])
    })
  )

  it.effect("keep what the app has set, also in a fiber that is measured and joined", () =>
    Effect.gen(function* () {
      const middleware = yield* measuring(new PromRegistry())
      const setting = FiberRef.unsafeMake("not set")
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", Effect.zipRight(FiberRef.set(setting, "set"), text)))
      yield* asking(middleware(inFiber(app)), "/")
      assert.strictEqual(yield* FiberRef.get(setting), "set")
    })
  )
})

/** The response of Node.js behind a request. */
const responseOf = (request: HttpServerRequest.HttpServerRequest) =>
  (request as unknown as { readonly response: ServerResponse }).response

describe("A connection", () => {
  const answered = (count: number) => (text: string) => text.split("HTTP/1.1 ").length > count

  const serving = (app: AnyApp, around: HttpMiddleware.HttpMiddleware = (inner) => inner) =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const middleware = yield* measuring(registry, { sizes: true })
      const measured = (inner: AnyApp) => around(middleware(inner) as HttpApp.Default) as AnyApp
      const url = yield* listen(HttpServer.serve(app as HttpApp.Default, measured as never) as never)
      return { registry, connection: yield* rawConnection(Number(new URL(url).port)) }
    })

  const rows: ReadonlyArray<
    readonly [string, AnyApp, ReadonlyArray<string>, ReadonlyArray<string>, HttpMiddleware.HttpMiddleware?]
  > = [
    ["with two requests, one after the other", users, ["/users/1", "/users/2"], ["GET /users/:id 200: 2"]],
    [
      "with a handler that has answered by itself",
      HttpRouter.empty.pipe(
        HttpRouter.get(
          "/self",
          Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
            responseOf(request).writeHead(202).end("own")
            return HttpServerResponse.text("too late", { status: 201 })
          })
        )
      ),
      ["/self", "/self"],
      ["GET /self 202: 2"]
    ],
    [
      "with a middleware around the measured one that answers instead",
      HttpRouter.empty.pipe(HttpRouter.get("/gone/:id", text)),
      ["/gone/1"],
      ["GET /gone/:id 200: 1"],
      HttpMiddleware.make((app) => Effect.as(app, HttpServerResponse.empty({ status: 410 })))
    ],
    [
      "with a body that fails before its first part",
      HttpRouter.empty.pipe(HttpRouter.get("/broken", Effect.succeed(HttpServerResponse.stream(Stream.die("x"))))),
      ["/broken"],
      ["GET /broken 500: 1"]
    ]
  ]
  for (const [name, app, paths, expected, around] of rows) {
    it.scopedLive(`${name} is counted as it was answered`, () =>
      Effect.gen(function* () {
        const { connection, registry } = yield* serving(app, around)
        for (const [at, path] of paths.entries()) {
          connection.send(requestLines(path))
          yield* connection.received(answered(at + 1))
        }
        yield* eventually("counted", async () => (await samples(registry, requests)).length > 0)
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), expected)
      })
    )
  }

  it.scopedLive("with pipelined requests is counted for each of them", () =>
    Effect.gen(function* () {
      const { connection, registry } = yield* serving(users)
      connection.send(["/users/1", "/users/2", "/other", "/users/3"].map((path) => requestLines(path)).join(""))
      yield* connection.received(answered(4))
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /users/:id 200: 3", "GET unmatched 404: 1"])
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [
        "GET /users/:id 200: 3",
        "GET unmatched 404: 1"
      ])
    })
  )

  it.scopedLive("that closes between the head and the body is counted as 499, with its other requests", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const body = Stream.concat(
        Stream.drain(Stream.fromEffect(Deferred.succeed(reached, undefined))),
        Stream.fromEffect(Effect.never)
      )
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/endless", Effect.succeed(HttpServerResponse.stream(body))),
        HttpRouter.get("/waits", Effect.never)
      )
      const { connection, registry } = yield* serving(app)
      connection.send(requestLines("/endless") + requestLines("/waits"))
      yield* Deferred.await(reached)
      yield* eventually("both in progress", async () => (await inProgress(registry)) === 2)
      connection.socket.destroy()
      yield* eventually("the first is counted", async () => (await samples(registry, requests)).length > 0)
      assert.deepInclude(yield* samplesOf(registry, requests), "GET /endless 499: 1")
      assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
    })
  )

  it.scopedLive("whose upgrade is refused is counted as it was answered", () =>
    Effect.gen(function* () {
      const app = HttpRouter.empty.pipe(HttpRouter.get("/socket", HttpServerResponse.empty({ status: 426 })))
      const { connection, registry } = yield* serving(app)
      connection.send(requestLines("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\n"))
      yield* connection.received(answered(1))
      yield* awaitIdle(registry)
      assert.deepStrictEqual(yield* samplesOf(registry, requests), ["GET /socket 426: 1"])
    })
  )
})
