/** Requests and fibers whose methods other code replaces as well, and handlers that are lost with their fiber. */
import {
  HttpApp,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
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
type Around = (app: AnyApp) => AnyApp

const made = (registry: PromRegistry) =>
  Effect.map(measuring(registry, { sizes: true }), (middleware) => middleware as unknown as Around)

const serving = (app: AnyApp, around: Around) =>
  listen(HttpServer.serve(app as HttpApp.Default, around as never) as never)

const text = HttpServerResponse.text("ok")
const broken = HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array(8)), Stream.die("x")))

const users = HttpRouter.empty.pipe(
  HttpRouter.get("/users/:id", text),
  HttpRouter.get("/broken", Effect.succeed(broken))
)
const app: AnyApp = HttpRouter.empty.pipe(HttpRouter.mountApp("/v1", users))

const read = (response: Promise<Response>): Effect.Effect<unknown> =>
  Effect.promise(() => response.then((received) => received.text()).catch(() => ""))

type Method = (...args: ReadonlyArray<unknown>) => unknown

/** Puts a function around a method or an accessor. The result puts back what was there. */
const wrap = (owner: object, key: string): (() => void) => {
  const before = Object.getOwnPropertyDescriptor(owner, key)
  if (before === undefined) return () => {}
  const around = (method: Method) =>
    function (this: unknown, ...args: ReadonlyArray<unknown>) {
      return Reflect.apply(method, this, args)
    }
  const { get, value } = before
  const replaced = get === undefined ? { value: around(value) } : { get: around(get) }
  Object.defineProperty(owner, key, { ...before, ...replaced })
  return () => void Object.defineProperty(owner, key, before)
}

interface Seen {
  readonly request: object
  readonly fiber: object
}

const ofFibers = ["setFiberRef", "getFiberRefs"]
const ofRequests = ["modify", "resolvedResponse", "upgrade"]

/** What other code does when a request arrives, before it is measured. */
const actions = () => {
  const restores: Array<() => void> = []
  const restoring = (): void => {
    while (restores.length > 0) restores.pop()?.()
  }
  return {
    nothing: (): void => {},
    wrapping: ({ fiber, request }: Seen): void => {
      for (const key of ofFibers) restores.push(wrap(Object.getPrototypeOf(fiber), key))
      for (const key of ofRequests) restores.push(wrap(Object.getPrototypeOf(request), key))
    },
    restoring,
    // As a spy on one object.
    owning: ({ fiber, request }: Seen): void => {
      for (const [target, keys] of [[fiber, ofFibers] as const, [request, ofRequests] as const]) {
        for (const key of keys) {
          const defined = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(target), key)
          if (defined !== undefined) Object.defineProperty(target, key, defined)
          wrap(target, key)
        }
      }
    },
    deriving: ({ request }: Seen): void => {
      const base: object = Object.getPrototypeOf(request)
      const prototype = {
        constructor: () => {},
        modify(...args: ReadonlyArray<unknown>) {
          return Reflect.apply(Reflect.get(base, "modify"), this, args)
        },
        get resolvedResponse() {
          return Reflect.get(base, "resolvedResponse", this)
        }
      }
      Object.setPrototypeOf(request, Object.setPrototypeOf(prototype, base))
    }
  }
}

type Action = keyof ReturnType<typeof actions>

describe("Requests are counted the same if", () => {
  const rows: Readonly<Record<string, ReadonlyArray<Action>>> = {
    "nothing else replaces the methods": ["nothing", "nothing"],
    "a request has methods of its own": ["owning", "nothing", "owning"],
    "other code wraps the methods before them": ["wrapping", "nothing", "restoring", "nothing"],
    "other code wraps the methods between them, more than once": ["nothing", "wrapping", "wrapping", "restoring"],
    "requests have a class that is derived from the known one": ["deriving", "nothing", "deriving"],
    "all of this is mixed": ["owning", "wrapping", "deriving", "restoring", "wrapping", "owning", "restoring"]
  }
  for (const [name, row] of Object.entries(rows)) {
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const [registry, others] = [new PromRegistry(), new PromRegistry()]
        const [measure, measureOthers] = [yield* made(registry), yield* made(others)]
        const known = actions()
        yield* Effect.addFinalizer(() => Effect.sync(known.restoring))
        // The last one is for a body that fails.
        const left: Array<Action> = [...row, "nothing"]
        const acting = Effect.withFiberRuntime<void, never, HttpServerRequest.HttpServerRequest>((fiber) =>
          Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
            known[left.shift() ?? "nothing"]({ fiber, request })
          )
        )
        const url = yield* serving(app, (inner) => Effect.zipRight(acting, measure(inner)))
        // Its requests are of another class.
        const web = HttpApp.toWebHandler(measureOthers(app) as HttpApp.Default)
        for (const _ of row) {
          yield* read(fetch(`${url}/v1/users/1`))
          yield* read(web(new Request("http://localhost/v1/users/1")))
        }
        yield* read(fetch(`${url}/v1/broken`))
        yield* awaitIdle(registry)
        const counts = [`GET /v1/users/:id 200: ${row.length}`, "GET /v1/broken 500: 1"]
        assert.sameMembers([...(yield* samplesOf(registry, requests))], counts)
        assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_sum"), [
          `GET /v1/users/:id 200: ${2 * row.length}`
        ])
        assert.deepStrictEqual(yield* samplesOf(others, requests), counts.slice(0, 1))
      })
    )
  }
})

describe("The request of a test, which lacks what a server gives it, is answered", () => {
  const known = { url: "/users/1", method: "GET" }
  const strict = new Proxy(known, {
    get: (target, key) => {
      if (!(key in target)) throw new Error(`not mocked: ${String(key)}`)
      return Reflect.get(target, key)
    }
  })
  const given = (request: object) => Layer.succeed(HttpServerRequest.HttpServerRequest, request as never)
  const rows: Readonly<Record<string, Layer.Layer<HttpServerRequest.HttpServerRequest>>> = {
    "as a mock": Layer.mock(HttpServerRequest.HttpServerRequest, known as never),
    "as an object": given({ ...known }),
    "as a frozen object": given(Object.freeze({ ...known })),
    "as a proxy that throws for what it does not know": given(strict)
  }
  for (const [name, request] of Object.entries(rows)) {
    it.scoped(name, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = yield* made(registry)
        // The methods of fibers are replaced.
        yield* read(HttpApp.toWebHandler(measure(app) as HttpApp.Default)(new Request("http://localhost/v1/users/1")))
        for (const each of [users, measure(users)]) {
          const { status } = yield* Effect.provide(each as typeof users, request)
          assert.strictEqual(status, 200)
        }
        assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
      })
    )
  }
})

describe("A handler that is added in a fiber", () => {
  const adding = HttpApp.appendPreResponseHandler((_, response) => Effect.succeed(response))
  const timesOut = (inner: AnyApp): AnyApp =>
    Effect.interruptible(
      Effect.timeoutTo(HttpMiddleware.cors()(Effect.never), {
        duration: 10,
        onSuccess: (response: HttpServerResponse.HttpServerResponse): AnyApp => Effect.succeed(response),
        onTimeout: () => inner
      })
    ).pipe(Effect.flatten)

  const rows: Readonly<Record<string, Around>> = {
    "of the request": (inner) => Effect.zipRight(adding, inner),
    "that is joined": (inner) => Effect.zipRight(Effect.flatMap(Effect.fork(adding), Fiber.join), inner),
    "that is not joined": (inner) => Effect.zipRight(Effect.flatMap(Effect.fork(adding), Fiber.await), inner),
    "that goes on alone": (inner) =>
      Effect.zipRight(Effect.forkDaemon(adding), Effect.zipRight(Effect.yieldNow(), inner)),
    "beside another": (inner) => Effect.zipRight(Effect.all([adding, adding], { concurrency: 2 }), inner),
    "that times out": timesOut,
    "for a part of it alone": (inner) =>
      HttpApp.withPreResponseHandler(inner, (_, response) => Effect.succeed(response))
  }
  for (const [name, around] of Object.entries(rows)) {
    it.scopedLive(`${name} changes nothing for a body that fails, or a client that leaves`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const slow = HttpRouter.get("/slow", Effect.never)
        const url = yield* serving(around(slow(users) as AnyApp), yield* made(registry))
        yield* read(fetch(`${url}/broken`))
        yield* awaitIdle(registry)
        const connection = yield* rawConnection(Number(new URL(url).port))
        connection.send(requestLines("/slow") + requestLines("/users/1"))
        yield* eventually("both are in progress", async () => (await inProgress(registry)) === 2)
        yield* Effect.sleep(50)
        connection.socket.destroy()
        yield* eventually("all have ended", async () => (await samples(registry, requests)).length === 3)
        assert.sameMembers(
          [...(yield* samplesOf(registry, requests))],
          ["GET /broken 500: 1", "GET /slow 499: 1", "GET /users/:id 499: 1"]
        )
        assert.deepStrictEqual(yield* samplesOf(registry, responseSize, "_count"), [])
        assert.strictEqual(yield* Effect.promise(() => inProgress(registry)), 0)
      })
    )
  }
})
