import { EventEmitter } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { IncomingMessage as Incoming, ServerResponse as Response } from "node:http"
import { Socket } from "node:net"
import { Readable, Writable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import express from "express"
import Fastify from "fastify"
import { inject } from "light-my-request"
import { createRequest, createResponse } from "node-mocks-http"
import { Registry as PromRegistry } from "prom-client"
import supertest from "supertest"
import { expressRoute, type HttpMeasure, httpMetrics } from "../src/Promises.js"
import { countsIn, endedIn, inProgressIn, sumsIn } from "./support/httpSamples.js"

/** What is known of the requests that are measured by `act`. */
const recorded = async (act: (measure: HttpMeasure) => unknown) => {
  const registry = new PromRegistry()
  await act(httpMetrics({ registry, sizes: true }))
  const text = await registry.metrics()
  return {
    ended: endedIn(text),
    inProgress: inProgressIn(text),
    timed: countsIn(text, "http_server_request_duration_seconds"),
    sizes: sumsIn(text, "http_server_response_size_bytes"),
    failures: [...text.matchAll(/effect_prometheus_errors_total\{.*\} [1-9].*/g)].map(([line]) => line)
  }
}

/** That one request, which has ended like that. */
const once = (series: string): Omit<Awaited<ReturnType<typeof recorded>>, "sizes"> => ({
  ended: { [series]: 1 },
  inProgress: { [series.replace(/ .*/, "")]: 0 },
  timed: { [series]: 1 },
  failures: []
})

const route = () => "/things/:id"

const untilClosed = (emitter: EventEmitter) => new Promise((resolve) => emitter.once("close", resolve))

const request = (more: object = {}) => ({ method: "GET", url: "/things/1", headers: {}, ...more })

/** A response that knows no more than to count what it is given. */
const silent = (more: object = {}) => ({ statusCode: 200, write: () => true, end: () => {}, ...more })

/** A response that is nothing but an emitter, and emits that when it is ended. */
const emitting = (...events: ReadonlyArray<string>) =>
  Object.assign(
    new EventEmitter(),
    silent({
      end(this: EventEmitter) {
        for (const event of events) this.emit(event)
      }
    })
  )

/** A response of Node.js that writes to what an adapter has put in the place of a connection. */
const onto = (connection: object): Response => {
  const response = new Response(new Incoming(new Socket()))
  response.assignSocket(connection as Socket)
  return response
}

const adapter = (called: boolean) => ({
  _writableState: {},
  writable: true,
  on: () => {},
  removeListener: () => {},
  cork: () => {},
  uncork: () => {},
  write: (_: unknown, encoding: unknown, done: unknown) => {
    const callback = typeof encoding === "function" ? encoding : done
    if (called && typeof callback === "function") callback()
    return true
  }
})

const { once: _, ...withoutOnce } = EventEmitter.prototype as unknown as Record<string, unknown>

/** A request and its response, and what happens to them; both are answered 201 with 5 bytes. */
const objects: Readonly<Record<string, () => readonly [request: object, response: object]>> = {
  "no socket, a response that only finishes": () => [request(), emitting("finish")],
  "no socket, a response that only closes": () => [request(), emitting("close")],
  "a response that finishes and closes twice": () => [request(), emitting("finish", "close", "finish", "close")],
  "a response that ends without an event": () => [request(), emitting()],
  "a response that is no emitter": () => [request(), silent()],
  "a response whose listeners are never called": () => [request(), silent({ on: () => {} })],
  "a response whose emitter has no once": () => [request(), { ...silent(), ...withoutOnce }],
  "a response that says that it is finished, without an event": () => [
    request(),
    silent({
      on: () => {},
      writableFinished: false,
      end(this: { writableFinished: boolean }) {
        this.writableFinished = true
      }
    })
  ],
  "a socket that is null": () => [request({ socket: null }), silent()],
  "a socket that is a plain object": () => [request({ socket: {} }), emitting("finish")],
  "a socket that is an emitter": () => [request({ socket: new EventEmitter() }), emitting("close")],
  "a socket without once": () => [request({ socket: { on: () => {} } }), emitting("finish")],
  "a socket that says nothing of errors": () => [request({ socket: { errored: undefined } }), emitting("finish")],
  "a request without anything": () => [{ method: "GET" }, silent()],
  "a request that is frozen": () => [Object.freeze(request()), emitting("finish")],
  "a request and a response behind proxies": () => [new Proxy(request(), {}), new Proxy(emitting("finish"), {})],
  "a body of no length": () => [request({ headers: { "content-length": "many" } }), silent()],
  "a stream that is no connection": () => [
    Object.assign(new Readable({ read() {} }), request({ socket: {} })),
    Object.assign(new Writable({ write: (_chunk, _encoding, done) => done() }), { statusCode: 200 })
  ],
  "a response of Node.js that was never connected": () => [
    new Incoming(new Socket()),
    new Response(new Incoming(new Socket()))
  ],
  "a response of Node.js on a socket that is a plain object": () => [request(), onto(adapter(true))],
  "a response of Node.js on a socket that never says that it has written": () => [request(), onto(adapter(false))],
  "a response of Node.js on a stream": () => [
    request(),
    onto(new Writable({ write: (_chunk, _encoding, done) => done() }))
  ],
  "node-mocks-http": () => [createRequest({ method: "GET", url: "/things/1" }), createResponse()],
  "node-mocks-http with emitters": () => [
    createRequest({ method: "GET", url: "/things/1", eventEmitter: EventEmitter }),
    createResponse({ eventEmitter: EventEmitter })
  ],
  "node-mocks-http with a stream": () => [
    createRequest({ method: "GET", url: "/things/1" }),
    createResponse({ writableStream: Writable })
  ]
}

describe("A request and a response that no server has made are counted once, with what was sent, and are over then", () => {
  for (const [what, make] of Object.entries(objects)) {
    it(what, async () => {
      const [asked, answered] = make()
      const response = answered as ServerResponse
      if (asked instanceof Incoming) asked.method = "GET"
      const { sizes, ...ended } = await recorded(async (measure) => {
        measure(asked as IncomingMessage, response, route)
        measure(asked as IncomingMessage, response, route)
        response.statusCode = 201
        response.end("12345")
        // What is a stream finishes a little later.
        await new Promise((resolve) => setImmediate(resolve))
      })
      assert.deepStrictEqual(ended, once("GET /things/:id 201"))
      assert.deepStrictEqual(sizes, { "GET /things/:id 201": 5 })
    })
  }

  /** The status that was sent with a first part. */
  const destroyed: Readonly<Record<string, readonly [sent: number, make: () => readonly [object, object]]>> = {
    "a response that is no emitter": [201, () => [request(), silent({ destroy: () => {} })]],
    "a response whose listeners are never called": [
      201,
      () => [request(), silent({ on: () => {}, destroy: () => {} })]
    ],
    "a response of Node.js that was never connected": [
      500,
      () => [request(), new Response(new Incoming(new Socket()))]
    ],
    "a response of Node.js on a socket that is a plain object": [
      201,
      () => [request(), onto({ ...adapter(true), destroy: () => {} })]
    ],
    "a response of Node.js on a stream": [201, () => [request(), onto(new Writable({ write: () => {} }))]]
  }
  for (const [what, [sent, make]] of Object.entries(destroyed)) {
    for (const part of [undefined, "12"]) {
      it(`${what}, destroyed ${part === undefined ? "before its head" : "after a part"}`, async () => {
        const [asked, answered] = make()
        const response = answered as ServerResponse
        const { sizes, ...ended } = await recorded(async (measure) => {
          measure(asked as IncomingMessage, response, route)
          response.statusCode = 201
          if (part !== undefined) response.write(part)
          response.destroy()
          response.destroy()
          await new Promise((resolve) => setImmediate(resolve))
        })
        assert.deepStrictEqual(ended, once(`GET /things/:id ${part === undefined ? 500 : sent}`))
        assert.deepStrictEqual(sizes, {})
      })
    }
  }

  const over: Readonly<Record<string, () => readonly [request: object, response: object]>> = {
    "node-mocks-http": () => {
      const response = createResponse()
      response.status(201).end()
      return [createRequest(), response]
    },
    "a response that says that it is finished": () => [request(), silent({ statusCode: 201, finished: true })],
    "a response that says that it has ended": () => [request(), silent({ statusCode: 201, writableEnded: true })]
  }
  for (const [what, make] of Object.entries(over)) {
    it(`${what}, measured when it has been ended`, async () => {
      const [asked, answered] = make()
      const { sizes, ...ended } = await recorded((measure) => measure(asked as never, answered as never, route))
      assert.deepStrictEqual(ended, once("GET /things/:id 201"))
    })
  }
})

describe("Objects that are not requests, or cannot be measured, stay unchanged and are not in progress", () => {
  const broken = (): never => {
    throw new Error("broken")
  }
  const nothing: Readonly<Record<string, readonly [request: unknown, response: unknown]>> = {
    "nothing at all": [undefined, undefined],
    "no response": [request(), undefined],
    "a response without on and end": [request(), { statusCode: 200 }],
    "a response whose on throws": [request(), { statusCode: 200, on: broken }],
    "a request whose socket throws": [Object.defineProperty(request(), "socket", { get: broken }), silent()],
    "a request that cannot be written to": [new Proxy(request(), { set: () => false }), silent()],
    "a text": ["GET /", "200"]
  }
  for (const [what, [asked, answered]] of Object.entries(nothing)) {
    it(what, async () => {
      const { failures, ...ended } = await recorded((measure) => measure(asked as never, answered as never, route))
      assert.deepStrictEqual(ended.ended, {})
      assert.deepStrictEqual(Object.values(ended.inProgress).filter(Boolean), [])
      assert.lengthOf(failures, 1)
    })
  }

  it("an error of the application comes through a response as it is", async () => {
    const error = new Error("the application's own")
    const fails = () => {
      throw error
    }
    const response = silent({ end: fails, write: fails, writeHead: fails }) as unknown as ServerResponse
    await recorded((measure) => {
      measure(request() as never, response, route)
      for (const method of ["end", "write", "writeHead"] as const) {
        assert.throws(() => Reflect.apply(response[method], response, [200]), error)
      }
    })
  })
})

/** Ways to ask an application, and what it counts then. */
const asking: Readonly<Record<string, (measure: HttpMeasure) => Promise<Readonly<Record<string, number>>>>> = {
  "Fastify's app.inject()": async (measure) => {
    const application = Fastify()
    application.addHook("onRequest", async (request, reply) => {
      measure(request.raw, reply.raw, () => request.routeOptions.url)
    })
    application.get("/users/:id", async () => "Ada")
    application.post("/users", async (request, reply) => reply.code(201).send(request.body))
    application.get("/fail", async () => {
      throw new Error("it failed")
    })
    application.get("/stream", async () => Readable.from(["one", "two"]))
    application.get("/raw", (_, reply) => {
      reply.hijack()
      reply.raw.writeHead(202).end("by hand")
    })
    application.get("/none", async (_, reply) => reply.code(204).send())
    assert.strictEqual((await application.inject("/users/7")).body, "Ada")
    await application.inject({ method: "HEAD", url: "/users/7" })
    assert.strictEqual((await application.inject({ method: "POST", url: "/users", payload: { a: 1 } })).statusCode, 201)
    assert.strictEqual((await application.inject("/fail")).statusCode, 500)
    assert.strictEqual((await application.inject("/stream")).body, "onetwo")
    assert.strictEqual((await application.inject("/raw")).statusCode, 202)
    await application.inject("/none")
    await application.inject("/no")
    await application.close()
    return {
      "GET /users/:id 200": 1,
      "HEAD /users/:id 200": 1,
      "POST /users 201": 1,
      "GET /fail 500": 1,
      "GET /stream 200": 1,
      "GET /raw 202": 1,
      "GET /none 204": 1,
      "GET unmatched 404": 1
    }
  },
  "light-my-request": async (measure) => {
    const ask = (status: number) =>
      inject((request, response) => {
        measure(request as never, response as never, route)
        response.statusCode = status
        response.end("answer")
      }, "/things/1")
    await ask(200)
    await ask(404)
    // An answer that is destroyed is an error to who asks.
    await inject((request, response) => {
      measure(request as never, response as never, route)
      response.on("error", () => {}).destroy(new Error("no"))
    }, "/things/1").catch(() => {})
    return { "GET /things/:id 200": 1, "GET /things/:id 404": 1, "GET /things/:id 500": 1 }
  },
  "light-my-request, whose client goes away": async (measure) => {
    const client = new AbortController()
    const aborted = inject(
      (request, response) => {
        measure(request as never, response as never, route)
        client.abort()
      },
      { url: "/things/1", signal: client.signal }
    )
    await aborted.catch(() => {})
    // An answer never comes then.
    await new Promise<void>((resolve) => {
      const body = {
        method: "POST",
        payload: "a part",
        simulate: { close: true, end: false, split: false, error: false }
      } as const
      const gone = (request: EventEmitter, response: ServerResponse) => {
        measure(request as never, response, route)
        request.on("close", resolve)
        request.on("data", () => {})
      }
      void inject(gone as never, { url: "/things/1", ...body }, () => {})
    })
    return { "GET /things/:id 499": 1, "POST /things/:id 499": 1 }
  },
  "node-mocks-http, by which an application of Express is called": async (measure) => {
    const application = express()
    application.use((request, response, next) => {
      measure(request, response, expressRoute(request))
      next()
    })
    application.use(
      "/shop",
      express.Router().get("/orders/:id", (_, response) => void response.status(201).end("order"))
    )
    application.get("/users/:id", (_, response) => void response.send("Ada"))
    for (const url of ["/shop/orders/7", "/users/7"]) {
      application(createRequest({ url }), createResponse({ eventEmitter: EventEmitter }))
    }
    return { "GET /shop/orders/:id 201": 1, "GET /users/:id 200": 1 }
  },
  supertest: async (measure) => {
    const application = express()
    const closed: Array<Promise<unknown>> = []
    application.use((request, response, next) => {
      measure(request, response, expressRoute(request))
      closed.push(untilClosed(response))
      next()
    })
    application.get("/users/:id", (_, response) => void response.send("Ada"))
    await supertest(application).get("/users/7").expect(200, "Ada")
    await supertest(application).get("/users").expect(404)
    await Promise.all(closed)
    return { "GET /users/:id 200": 1, "GET unmatched 404": 1 }
  }
}

describe("Requests that a test tool makes are counted once, with what was sent, and are over then", () => {
  for (const [tool, ask] of Object.entries(asking)) {
    it(tool, async () => {
      let expected = {}
      const { ended, failures, inProgress } = await recorded(async (measure) => {
        expected = await ask(measure)
      })
      assert.deepStrictEqual(ended, expected)
      assert.deepStrictEqual(Object.values(inProgress).filter(Boolean), [])
      assert.deepStrictEqual(failures, [])
    })
  }
})
