import { AsyncLocalStorage } from "node:async_hooks"
import { createServer, type IncomingMessage, ServerResponse as Response, type ServerResponse } from "node:http"
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2"
import type { AddressInfo, Server } from "node:net"
import { pipeline, Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import express from "express"
import Fastify from "fastify"
import { Registry as PromRegistry } from "prom-client"
import { expressRoute, type HttpMeasure, type HttpOutcome, httpMetrics } from "../src/Promises.js"
import { eventually, get, type RawConnection, rawConnection, requestLines } from "./support/httpClient.js"
import { countsIn, endedIn, inProgressIn } from "./support/httpSamples.js"
import { listen } from "./support/listen.js"

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const seconds = "http_server_request_duration_seconds"

/** How the requests on a registry have ended, once there are so many of them. */
const endedAll = (registry: PromRegistry, many: number) =>
  Effect.promise(async () => {
    await Effect.runPromise(
      eventually(`${many} requests have ended`, async () => {
        const counts = Object.values(endedIn(await registry.metrics()))
        return counts.reduce((sum, count) => sum + count, 0) >= many
      })
    )
    const text = await registry.metrics()
    assert.deepStrictEqual(Object.values(inProgressIn(text)).filter(Boolean), [])
    return { ended: endedIn(text), timed: countsIn(text, seconds) }
  })

const running = (registry: PromRegistry, many: number) =>
  eventually(`${many} requests are in progress`, async () => {
    const counts = Object.values(inProgressIn(await registry.metrics()))
    return counts.reduce((sum, count) => sum + count, 0) === many
  })

const pathOf = ({ url = "" }: IncomingMessage): string => url.split("?", 1)[0] ?? ""

const complete = (text: string): boolean => text.includes("\r\n\r\n")

describe("Functions of the options are called in the asynchronous context of their request", () => {
  const store = new AsyncLocalStorage<string>()

  /** What was seen by `route`, `labels` and `longLived`, and by a metric of the caller's, of each request. */
  const watching = () => {
    const registry = new PromRegistry()
    const seen: Array<ReadonlyArray<string | undefined>> = []
    let current: Array<string | undefined> = []
    const note = (): void => void current.push(store.getStore())
    const child = {
      inc: () => {
        note()
        seen.push(current)
        current = []
      }
    }
    const measure = httpMetrics({
      registry,
      metrics: { requests: { inc: () => {}, labels: (_: Readonly<Record<string, string>>) => child } },
      labelNames: ["tenant"],
      labels: () => {
        note()
        return { tenant: store.getStore() ?? "none" }
      },
      longLived: () => {
        note()
        return false
      }
    })
    return {
      measure: (request: IncomingMessage, response: ServerResponse) =>
        measure(request, response, () => {
          note()
          return "/"
        }),
      ended: (many: number) =>
        Effect.as(
          eventually(`${many} have ended`, async () => seen.length >= many),
          seen
        ),
      running: (many: number) => running(registry, many)
    }
  }

  const all = (tenant: string) => [tenant, tenant, tenant, tenant]

  /** A server that deals with each request in a context that is named like its path. */
  const inContext = (measure: Handler, handler: Handler) =>
    createServer((request, response) => {
      store.run(pathOf(request).slice(1), () => {
        measure(request, response)
        handler(request, response)
      })
    })

  const aborts: Readonly<Record<string, readonly [Handler, (connection: RawConnection) => void]>> = {
    "before the head": [() => {}, ({ socket }) => socket.destroy()],
    "by a reset": [() => {}, ({ socket }) => socket.resetAndDestroy()],
    "after the head": [(_, response) => response.write("begun"), ({ socket }) => socket.destroy()]
  }
  for (const [when, [handler, go]] of Object.entries(aborts)) {
    it.scopedLive(`where its client goes away ${when}`, () =>
      Effect.gen(function* () {
        const watched = watching()
        const port = yield* listen(inContext(watched.measure, handler))
        const connection = yield* rawConnection(port)
        connection.send(requestLines("/ada"))
        yield* watched.running(1)
        go(connection)
        assert.deepStrictEqual(yield* watched.ended(1), [all("ada")])
      })
    )
  }

  it.scopedLive("where several come over one connection, one after the other and before the first is answered", () =>
    Effect.gen(function* () {
      const watched = watching()
      const port = yield* listen(
        inContext(watched.measure, (request, response) => {
          setTimeout(() => response.end("answer"), pathOf(request) === "/slow" ? 30 : 0)
        })
      )
      const connection = yield* rawConnection(port)
      connection.send(requestLines("/first"))
      yield* watched.ended(1)
      connection.send(["/slow", "/fast", "/last"].map((path) => requestLines(path)).join(""))
      assert.deepStrictEqual(yield* watched.ended(4), ["first", "slow", "fast", "last"].map(all))
    })
  )

  it.scopedLive("where the context is entered only after the request is measured", () =>
    Effect.gen(function* () {
      const watched = watching()
      const application = express()
      application.use((request, response, next) => {
        expressRoute(request)
        watched.measure(request, response)
        next()
      })
      application.use((request, _, next) => store.run(request.path.slice(1), next))
      application.get("/part", (_, response) => void response.write("part"))
      application.get("/whole", (_, response) => void response.send("whole"))
      application.get("/never", () => {})
      const port = yield* listen(createServer(application))
      yield* get(`http://127.0.0.1:${port}/whole`)
      yield* watched.ended(1)
      const connection = yield* rawConnection(port)
      connection.send(requestLines("/part"))
      yield* connection.received(complete)
      connection.socket.destroy()
      yield* watched.ended(2)
      const other = yield* rawConnection(port)
      other.send(requestLines("/never"))
      yield* watched.running(1)
      other.socket.destroy()
      assert.deepStrictEqual(yield* watched.ended(3), [all("whole"), all("part"), all("never")])
    })
  )

  it.scopedLive("where a connection is upgraded and closes", () =>
    Effect.gen(function* () {
      const watched = watching()
      const server = createServer().on("upgrade", (request, socket) => {
        store.run("chat", () => watched.measure(request, new Response(request)))
        socket.resume().on("end", () => socket.end())
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n")
      })
      const port = yield* listen(server)
      const connection = yield* rawConnection(port)
      connection.send(requestLines("/", "Connection: Upgrade\r\nUpgrade: test\r\n"))
      yield* connection.received(complete)
      connection.socket.destroy()
      assert.deepStrictEqual(yield* watched.ended(1), [all("chat")])
    })
  )

  it.scopedLive("where a stream of HTTP/2 is reset", () =>
    Effect.gen(function* () {
      const watched = watching()
      const server = createHttp2Server((request, response) => {
        store.run(request.url.slice(1), () => watched.measure(request as never, response as never))
      })
      const port = yield* listen(server as unknown as Server)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connectHttp2(`http://127.0.0.1:${port}`).on("error", () => {})),
        (open) => Effect.sync(() => open.destroy())
      )
      const streams = ["/ada", "/bob"].map((path) => session.request({ ":path": path }).on("error", () => {}))
      yield* watched.running(2)
      for (const stream of streams) stream.close(8)
      assert.sameDeepMembers([...(yield* watched.ended(2))], [all("ada"), all("bob")])
    })
  )
})

describe("What is the only code of the application is called in the asynchronous context of its request:", () => {
  const store = new AsyncLocalStorage<string>()
  type Options = NonNullable<Parameters<typeof httpMetrics>[0]>
  type Route = ReturnType<typeof expressRoute>
  const metric = (note: () => string) => ({ inc: () => {}, labels: () => ({ inc: () => void note() }) })
  const noted = (note: () => string, route: Route) => () => {
    note()
    return route()
  }

  const alone: Readonly<Record<string, (note: () => string, route: Route) => Options | Route>> = {
    labels: (note) => ({ labelNames: ["tenant"], labels: () => ({ tenant: note() }) }) as never,
    longLived: (note) => ({ longLived: () => note() === "" }),
    "a metric of the caller": (note) => ({ metrics: { requests: metric(note) } }),
    "a route": noted,
    "a route with the properties of another": (note, route) => Object.assign(noted(note, route), route),
    "a proxy of a route": (note, route) => new Proxy(route, { apply: noted(note, route) })
  }
  for (const [name, make] of Object.entries(alone)) {
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const seen: Array<string | undefined> = []
        const note = (): string => {
          const found = store.getStore()
          seen.push(found)
          return found ?? "none"
        }
        const made = make(note, () => undefined)
        const measure = httpMetrics({ registry, ...(typeof made === "function" ? {} : made) })
        const application = express()
        application.use((request, response, next) => {
          store.run(request.path.slice(1), () => {
            const found = expressRoute(request)
            const route = typeof made === "function" ? (make(note, found) as Route) : found
            measure(request, response, request.path === "/plain" && route === found ? undefined : route)
            next()
          })
        })
        application.get("/whole", (_, response) => void response.send("whole"))
        application.use("/plain", () => {})
        const port = yield* listen(createServer(application))
        yield* get(`http://127.0.0.1:${port}/whole`)
        for (const path of ["/plain", "/none/x"]) {
          const connection = yield* rawConnection(port)
          connection.send(requestLines(path))
          if (path === "/plain") yield* running(registry, 1)
          else yield* connection.received(complete)
          connection.socket.destroy()
          yield* running(registry, 0)
        }
        yield* eventually("all have ended", async () => seen.length === 3)
        assert.deepStrictEqual(seen, ["whole", "plain", "none/x"])
      })
    )
  }
})

describe("A route that is no function is none", () => {
  for (const route of [null, "/users", "", 7, false, {}, [], Symbol("route")]) {
    for (const longLived of [undefined, () => false]) {
      it.scopedLive(`${String(route)}${longLived === undefined ? "" : ", beside a function of the options"}`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const measure = httpMetrics({ registry, longLived })
          const port = yield* listen(
            createServer((request, response) => {
              measure(request, response, route as never)
              response.end("answer")
            })
          )
          yield* get(`http://127.0.0.1:${port}/`)
          assert.deepStrictEqual((yield* endedAll(registry, 1)).ended, { "GET unmatched 200": 1 })
        })
      )
    }
  }
})

describe("The status is the one that was sent", () => {
  const applications: Readonly<Record<string, (measure: HttpMeasure) => Handler>> = {
    "where it is changed after the head": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.writeHead(201)
      response.statusCode = 500
      response.end("answer")
    },
    "where it is changed after a first part": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.statusCode = 201
      response.write("part")
      response.statusCode = 500
      response.end("rest")
    },
    "where it is changed after the end": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.statusCode = 201
      response.end("answer")
      response.statusCode = 500
    },
    "where it is changed after its headers were flushed": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.statusCode = 201
      response.flushHeaders()
      response.statusCode = 500
      response.end()
    },
    "where its headers were flushed and the server destroys the response": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.writeHead(201)
      response.flushHeaders()
      response.destroy()
    },
    "where the request is measured after the head": (measure) => (request, response) => {
      response.writeHead(201)
      measure(request, response, () => "/")
      response.end()
    },
    "where hints and a continuation come before": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.writeProcessing()
      response.writeEarlyHints({ link: "</style.css>; rel=preload" })
      response.writeContinue()
      response.writeHead(201).end()
    },
    "where the server destroys the response in the middle": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.writeHead(201, { "content-length": 100 })
      response.write("part", () => response.destroy(new Error("it failed")))
      response.on("error", () => {})
    },
    "where the server destroys the connection in the middle": (measure) => (request, response) => {
      measure(request, response, () => "/")
      response.statusCode = 201
      response.write("part", () => request.socket.destroy())
    },
    "where a handler of Express fails in the middle": (measure) => {
      const application = express()
      application.set("env", "test")
      application.use((request, response, next) => {
        measure(request, response, expressRoute(request))
        next()
      })
      application.get("/", (_, response, next) => {
        response.status(201).write("part", () => next(new Error("it failed")))
      })
      return application
    },
    "where a handler of Express sets another one when it fails": (measure) => {
      const application = express()
      application.use((request, response, next) => {
        measure(request, response, expressRoute(request))
        next()
      })
      application.get("/", (_, response) => {
        response.status(201).write("part")
        throw new Error("it failed")
      })
      application.use((_: Error, __: IncomingMessage, response: express.Response, ___: express.NextFunction) => {
        response.status(500).end()
      })
      return application
    }
  }
  for (const [where, application] of Object.entries(applications)) {
    it.scopedLive(where, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const port = yield* listen(createServer(application(httpMetrics({ registry }))))
        const connection = yield* rawConnection(port)
        connection.send(requestLines("/"))
        assert.deepStrictEqual((yield* endedAll(registry, 1)).ended, { "GET / 201": 1 })
      })
    )
  }

  it.scopedLive("and if none was sent because its turn never came, 500", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const port = yield* listen(
        createServer((request, response) => {
          measure(request, response, () => pathOf(request))
          if (pathOf(request) === "/first") response.write("part")
          else response.end("never sent", () => {})
          if (pathOf(request) === "/last") setImmediate(() => request.socket.destroy())
        })
      )
      const connection = yield* rawConnection(port)
      connection.send(["/first", "/second", "/last"].map((path) => requestLines(path)).join(""))
      const { ended } = yield* endedAll(registry, 3)
      assert.deepStrictEqual(ended, { "GET /first 200": 1, "GET /second 500": 1, "GET /last 500": 1 })
    })
  )

  const unsent: Readonly<Record<string, (response: ServerResponse) => void>> = {
    "is destroyed": (response) => response.destroy(),
    "is destroyed with its connection": (response) => response.socket?.destroy(),
    "is destroyed by a stream that fails before its first part": (response) => {
      const failing = new Readable({ read: () => failing.destroy(new Error("it failed")) })
      pipeline(failing, response, () => {})
    }
  }
  for (const [how, destroy] of Object.entries(unsent)) {
    it.scopedLive(`and where none was sent because the answer ${how} after its head was made, 500`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry })
        const port = yield* listen(
          createServer((request, response) => {
            measure(request, response, () => pathOf(request))
            if (pathOf(request) === "/before") response.end()
            else destroy(response.writeHead(201))
          })
        )
        const connection = yield* rawConnection(port)
        connection.send(requestLines("/before"))
        yield* endedAll(registry, 1)
        connection.send(requestLines("/"))
        assert.deepStrictEqual((yield* endedAll(registry, 2)).ended, { "GET /before 200": 1, "GET / 500": 1 })
      })
    )
  }

  const announced: Readonly<Record<string, readonly [status: number, answer: (response: ServerResponse) => void]>> = {
    "all that a header announced": [201, (response) => response.setHeader("Content-Length", 4).write("part")],
    "all that writeHead announced": [
      201,
      (response) => response.writeHead(201, { "Content-Length": "4" }).write("part")
    ],
    "all that writeHead announced in a list": [
      201,
      (response) => response.writeHead(201, ["X-Part", "4", "content-length", "4"]).write("part")
    ],
    "less than was announced": [499, (response) => response.setHeader("Content-Length", 5).write("part")],
    "an answer of no announced length": [499, (response) => response.write("part")],
    "nothing, of an answer without a body": [499, (response) => void response.setHeader("Content-Length", 0)]
  }
  for (const [what, [status, answer]] of Object.entries(announced)) {
    const title = `and ${status} where the client closes before end() is called, having got ${what}`
    it.scopedLive.each([true, false])(`${title} (sizes: %s)`, (sizes) =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry, sizes })
        const port = yield* listen(
          createServer((request, response) => {
            measure(request, response, () => "/")
            response.statusCode = 201
            answer(response)
          })
        )
        const connection = yield* rawConnection(port)
        connection.send(requestLines("/"))
        yield* running(registry, 1)
        if (!what.startsWith("nothing")) yield* connection.received((text) => text.includes("part"))
        connection.socket.destroy()
        assert.deepStrictEqual((yield* endedAll(registry, 1)).ended, { [`GET / ${status}`]: 1 })
        const counts = countsIn(yield* Effect.promise(() => registry.metrics()), "http_server_response_size_bytes")
        assert.deepStrictEqual(counts, status === 499 || !sizes ? {} : { "GET / 201": 1 })
      })
    )
  }

  it.scopedLive("over HTTP/2 too, also where it is changed and where the stream is cut", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry })
      const server = createHttp2Server((request, response) => {
        measure(request as never, response as never, () => request.url)
        response.statusCode = 201
        response.write("part", () => {
          response.statusCode = 500
          if (request.url === "/cut") response.stream.close(2)
          else response.end()
        })
      })
      const port = yield* listen(server as unknown as Server)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connectHttp2(`http://127.0.0.1:${port}`).on("error", () => {})),
        (open) => Effect.sync(() => open.destroy())
      )
      for (const path of ["/changed", "/cut"]) {
        session
          .request({ ":path": path })
          .on("error", () => {})
          .resume()
      }
      assert.deepStrictEqual((yield* endedAll(registry, 2)).ended, { "GET /changed 201": 1, "GET /cut 201": 1 })
    })
  )

  it.scopedLive("and a label can say who cut the answer", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const outcomes: Array<HttpOutcome> = []
      const measure = httpMetrics({
        registry,
        labelNames: ["cut"],
        labels: (_, __, outcome) => {
          outcomes.push(outcome)
          return { cut: outcome.cut ?? "" }
        }
      })
      const handlers: Readonly<Record<string, Handler>> = {
        "/whole": (_, response) => response.end(),
        "/server": (_, response) => response.write("part", () => response.destroy()),
        "/nothing": (_, response) => response.destroy(),
        "/client": (_, response) => response.write("part")
      }
      const port = yield* listen(
        createServer((request, response) => {
          const path = pathOf(request)
          measure(request, response, () => (path === "/client" ? path : undefined))
          handlers[path]?.(request, response)
        })
      )
      for (const [at, path] of Object.keys(handlers).entries()) {
        const connection = yield* rawConnection(port)
        connection.send(requestLines(path))
        if (path === "/client") {
          yield* connection.received(complete)
          connection.socket.destroy()
        }
        yield* endedAll(registry, at + 1)
      }
      assert.deepStrictEqual(outcomes, [
        { route: "unmatched", status: 200, cut: undefined },
        { route: "unmatched", status: 200, cut: "server" },
        { route: "unmatched", status: 500, cut: "server" },
        { route: "/client", status: 499, cut: "client" }
      ])
      assert.include(yield* Effect.promise(() => registry.metrics()), 'status="200",cut="server"} 1')
    })
  )
})

describe("Answers that last as long as their client wants have no duration, and their end by the client is no 499", () => {
  const events = "text/event-stream"
  const types: Readonly<Record<string, Handler>> = {
    setHeader: (_, response) => {
      response.setHeader("Content-Type", `${events}; charset=utf-8`)
      response.write("data: 1\n\n")
    },
    "writeHead with an object": (_, response) => {
      response.writeHead(200, { "Content-Type": events })
      response.write("data: 1\n\n")
    },
    "writeHead with a reason and a list": (_, response) => {
      response.writeHead(200, "OK", ["content-type", "Text/Event-Stream"])
      response.write("data: 1\n\n")
    },
    "writeHead with headers, and no more": (_, response) =>
      response.writeHead(200, { "content-type": events }).flushHeaders()
  }
  for (const [how, handler] of Object.entries(types)) {
    it.scopedLive(`by their content type, as it is given to ${how}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry, longLived: [events] })
        const port = yield* listen(
          createServer((request, response) => {
            measure(request, response, () => "/events")
            handler(request, response)
          })
        )
        const connection = yield* rawConnection(port)
        connection.send(requestLines("/"))
        yield* connection.received(complete)
        connection.socket.destroy()
        assert.deepStrictEqual(yield* endedAll(registry, 1), { ended: { "GET /events 200": 1 }, timed: {} })
      })
    )
  }

  it.scopedLive(
    "by their route, also where nothing was sent; what ends by itself keeps its status, and others all",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry, longLived: ["/poll/:id", "text/other"] })
        const port = yield* listen(
          createServer((request, response) => {
            const [, first = ""] = pathOf(request).split("/")
            measure(request, response, () => `/${first}/:id`)
            if (pathOf(request).endsWith("/answered")) response.writeHead(204).end()
          })
        )
        for (const path of ["/poll/answered", "/other/answered"]) yield* get(`http://127.0.0.1:${port}${path}`)
        for (const path of ["/poll/7", "/other/7"]) {
          const connection = yield* rawConnection(port)
          connection.send(requestLines(path))
          yield* running(registry, 1)
          connection.socket.destroy()
          yield* running(registry, 0)
        }
        assert.deepStrictEqual(yield* endedAll(registry, 4), {
          ended: { "GET /poll/:id 204": 1, "GET /poll/:id 200": 1, "GET /other/:id 204": 1, "GET /other/:id 499": 1 },
          timed: { "GET /other/:id 204": 1, "GET /other/:id 499": 1 }
        })
      })
  )

  it.scopedLive("by a function, and over HTTP/2; one that fails changes nothing", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({
        registry,
        longLived: ({ url }) => {
          if (url === "/fails") throw new Error("not known")
          return url === "/events"
        }
      })
      const byType = new PromRegistry()
      const alike = httpMetrics({ registry: byType, longLived: [events] })
      const server = createHttp2Server((request, response) => {
        measure(request as never, response as never, () => request.url)
        alike(request as never, response as never, () => request.url)
        response.writeHead(200, { "content-type": events })
        response.write("data: 1\n\n")
      })
      const port = yield* listen(server as unknown as Server)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => connectHttp2(`http://127.0.0.1:${port}`).on("error", () => {})),
        (open) => Effect.sync(() => open.destroy())
      )
      for (const path of ["/events", "/fails"]) {
        const stream = session.request({ ":path": path }).on("error", () => {})
        stream.on("data", () => stream.close(8))
      }
      assert.deepStrictEqual(yield* endedAll(registry, 2), {
        ended: { "GET /events 200": 1, "GET /fails 499": 1 },
        timed: { "GET /fails 499": 1 }
      })
      assert.deepStrictEqual(yield* endedAll(byType, 2), {
        ended: { "GET /events 200": 1, "GET /fails 200": 1 },
        timed: {}
      })
    })
  )

  it.scopedLive("of Fastify, whose replies are hijacked", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const measure = httpMetrics({ registry, longLived: [events] })
      const application = Fastify({ forceCloseConnections: true })
      yield* Effect.addFinalizer(() => Effect.promise(() => application.close()))
      application.addHook("onRequest", async (request, reply) => {
        measure(request.raw, reply.raw, () => request.routeOptions.url)
      })
      application.get("/events", (_, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, { "content-type": events }).write("data: 1\n\n")
      })
      yield* Effect.promise(() => application.listen({ port: 0, host: "127.0.0.1" }))
      const connection = yield* rawConnection((application.server.address() as AddressInfo).port)
      connection.send(requestLines("/events"))
      yield* connection.received(complete)
      connection.socket.destroy()
      assert.deepStrictEqual(yield* endedAll(registry, 1), { ended: { "GET /events 200": 1 }, timed: {} })
    })
  )
})

describe("Requests are counted once for each metric", () => {
  it.scopedLive("by any functions that measure them, unless these have metrics of other names", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const all = [
        httpMetrics({ registry }),
        httpMetrics({ registry }),
        httpMetrics({
          registry,
          names: { requests: "old_total", duration: "old_seconds" },
          metrics: { requestSize: false, responseSize: false, inProgress: false }
        })
      ]
      const port = yield* listen(
        createServer((request, response) => {
          for (const measure of all) measure(request, response, () => "/")
          response.end()
        })
      )
      yield* get(`http://127.0.0.1:${port}/`)
      assert.deepStrictEqual((yield* endedAll(registry, 1)).ended, { "GET / 200": 1 })
      assert.include(
        yield* Effect.promise(() => registry.metrics()),
        'old_total{method="GET",route="/",status="200"} 1'
      )
    })
  )
})

describe("An async function of the options has failed: it is counted, its rejection is handled, and nothing else changes", () => {
  const rejects = () => Promise.reject(new Error("too late")) as never
  const options: Readonly<Record<string, object>> = {
    exclude: { exclude: rejects },
    labels: { labelNames: ["tenant"], labels: rejects },
    longLived: { longLived: rejects },
    route: {}
  }
  for (const [what, given] of Object.entries(options)) {
    it.scopedLive(what, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const measure = httpMetrics({ registry, ...given })
        const port = yield* listen(
          createServer((request, response) => {
            measure(request, response, what === "route" ? rejects : () => "/")
            response.end()
          })
        )
        yield* get(`http://127.0.0.1:${port}/`)
        const series = what === "route" ? "GET unmatched 200" : "GET / 200"
        assert.deepStrictEqual(yield* endedAll(registry, 1), { ended: { [series]: 1 }, timed: { [series]: 1 } })
        const text = yield* Effect.promise(() => registry.metrics())
        assert.include(text, 'effect_prometheus_errors_total{operation="inc"} 1')
      })
    )
  }
})

describe("A metric of the caller's whose promises reject", () => {
  it.scopedLive("is counted as one that fails, and nothing else changes", () =>
    Effect.gen(function* () {
      const registry = new PromRegistry()
      const rejects = (): Promise<void> => Promise.reject(new Error("not written"))
      const metric = {
        inc: rejects,
        dec: rejects,
        observe: rejects,
        labels: (_: Readonly<Record<string, string>>) => ({ inc: rejects, dec: rejects, observe: rejects })
      }
      const measure = httpMetrics({ registry, metrics: { duration: metric, inProgress: metric, responseSize: metric } })
      const port = yield* listen(
        createServer((request, response) => {
          measure(request, response, () => "/")
          response.end("as it is")
        })
      )
      assert.strictEqual((yield* get(`http://127.0.0.1:${port}/`)).body, "as it is")
      assert.deepStrictEqual((yield* endedAll(registry, 1)).ended, { "GET / 200": 1 })
      const text = yield* Effect.promise(() => registry.metrics())
      for (const counted of ['{operation="inc"} 1', '{operation="dec"} 1', '{operation="observe"} 2']) {
        assert.include(text, `effect_prometheus_errors_total${counted}`)
      }
    })
  )
})
