/** Exchanges in which the fiber, the request or the response is not the one that a server began with. */
import type { ServerResponse } from "node:http"
import {
  HttpApp,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FiberRef, Layer, Runtime, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { awaitIdle, inProgress, listen, requests, responseSize, samples, samplesOf } from "./support/httpApps.js"
import { eventually, rawConnection, requestLines } from "./support/httpClient.js"

type AnyApp = HttpApp.Default<unknown>

const made = (registry: PromRegistry, options: HttpMetrics.Options = {}) =>
  Effect.provideService(HttpMetrics.makeMiddleware(options), Registry.Registry, registry)

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
        const middleware = yield* made(registry)
        const url = yield* listen(HttpServer.serve(app as HttpApp.Default, middleware) as never)
        yield* Effect.promise(() => fetch(`${url}${path}`).then((response) => response.text()))
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, requests), [`GET ${expected}: 1`])
        const web = new PromRegistry()
        const handler = HttpApp.toWebHandler(app as HttpApp.Default, (yield* made(web)) as never)
        yield* Effect.promise(() => handler(new Request(`http://localhost${path}`)).then((response) => response.text()))
        yield* awaitIdle(web)
        assert.deepStrictEqual(yield* samplesOf(web, requests), [`GET ${expected}: 1`])
      })
    )
  }
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
      const middleware = yield* made(registry)
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
      const [around, within] = [yield* made(outer), yield* made(inner)]
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
      const middleware = yield* made(new PromRegistry())
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
      const middleware = yield* made(registry)
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
