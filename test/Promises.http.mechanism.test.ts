/** Applications that handle the request and the response in ways that the measurement must not notice. */
import {
  createServer,
  type IncomingMessage,
  ServerResponse as NodeResponse,
  request as nodeRequest,
  type ServerOptions,
  type ServerResponse
} from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Router } from "@koa/router"
import express from "express"
import Koa from "koa"
import { Registry } from "prom-client"
import { expressRoute, httpMetrics, koaRoute, nodeListener } from "../src/Promises.js"
import { inProgress, requests, responseSize, samples } from "./support/httpApps.js"

const oldExpress: typeof express = createRequire(import.meta.url)("express4")

type Measure = ReturnType<typeof httpMetrics>

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown

/** Serves it, asks the paths over one connection each, and gives back the answers. */
const asked = async (
  listener: Listener,
  paths: ReadonlyArray<string>,
  options: ServerOptions = {}
): Promise<ReadonlyArray<string>> => {
  const server = createServer(options, listener)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  const ask = (path: string) =>
    new Promise<string>((resolve) => {
      const sent = nodeRequest({ host: "127.0.0.1", port, path, agent: false }, (response) => {
        let text = `${response.statusCode} `
        response.setEncoding("utf8").on("data", (part) => {
          text += part
        })
        response.on("close", () => resolve(text))
      })
      sent.on("error", () => resolve("cut"))
      sent.end()
    })
  try {
    const answers: Array<string> = []
    for (const path of paths) answers.push(await ask(path))
    return answers
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

/** A proxy whose objects are proxies, too. */
const deep = <A extends object>(target: A): A =>
  new Proxy(target, {
    get: (own, key, receiver) => {
      const value: unknown = Reflect.get(own, key, receiver)
      if (typeof value === "function") return value.bind(own)
      return typeof value === "object" && value !== null ? deep(value) : value
    }
  })

const withoutSymbols = <A extends object>(target: A): A =>
  new Proxy(target, {
    get: (own, key, receiver) => (typeof key === "symbol" ? undefined : Reflect.get(own, key, receiver))
  })

/** With the properties that have a name. */
const copied = <A extends object>(target: A): A => {
  const copy = Object.create(Object.getPrototypeOf(target))
  for (const key of Object.getOwnPropertyNames(target)) {
    Object.defineProperty(copy, key, Object.getOwnPropertyDescriptor(target, key) as PropertyDescriptor)
  }
  return copy
}

describe("The properties that are watched can be read", () => {
  const rows = { deep, withoutSymbols, copied, derived: <A extends object>(target: A): A => Object.create(target) }
  for (const [name, make] of Object.entries(rows)) {
    it(`by what is ${name} of an Express request`, async () => {
      const registry = new Registry()
      const measure = httpMetrics({ registry })
      const application = express()
      application.use((request, response, next) => {
        measure(request, response, expressRoute(request))
        next()
      })
      application.get("/users/:id", (request, response) => {
        const { baseUrl, params, route } = make(request)
        response.send(`${params["id"]} ${baseUrl} ${(route as { path: string }).path}`)
      })
      assert.deepEqual(await asked(application, ["/users/7"]), ["200 7  /users/:id"])
      assert.deepEqual(await samples(registry, requests), ["GET /users/:id 200: 1"])
    })

    it(`by what is ${name} of a Koa context`, async () => {
      const registry = new Registry()
      const measure = httpMetrics({ registry })
      const application = new Koa()
      application.use((context, next) => {
        measure(context.req, context.res, koaRoute(context))
        return next()
      })
      const router = new Router()
      router.get("/users/:id", (context) => {
        context.body = String(make(context)["_matchedRoute"])
      })
      application.use(router.routes())
      assert.deepEqual(await asked(application.callback(), ["/users/7"]), ["200 /users/:id"])
      assert.deepEqual(await samples(registry, requests), ["GET /users/:id 200: 1"])
    })
  }
})

describe("A request is counted once, and is not in progress afterwards", () => {
  const failing =
    (end: (response: ServerResponse) => void): Parameters<typeof row>[1] =>
    (measure) =>
    (request, response) => {
      measure(request, response)
      assert.throws(() => end(response))
      response.destroy()
    }

  const row = (name: string, listener: (measure: Measure) => Listener, expected: string, path = "/") =>
    it(name, async () => {
      const registry = new Registry()
      await asked(listener(httpMetrics({ registry })), [path])
      const until = performance.now() + 5_000
      while ((await inProgress(registry)) > 0 && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      assert.deepEqual(await samples(registry, requests), expected === "" ? [] : [`GET unmatched ${expected}: 1`])
      assert.strictEqual(await inProgress(registry), 0)
    })

  row(
    "if it is frozen after it was measured",
    (measure) => (request, response) => {
      const plain = { method: "GET", url: "/", headers: {}, complete: true, on() {}, socket: request.socket }
      measure(plain as never, response)
      Object.freeze(plain)
      response.end("x")
    },
    "200"
  )
  row(
    "if it is a proxy, on a connection that is a proxy",
    (measure) => (request, response) => {
      measure(deep(request), response)
      response.end("x")
    },
    "200"
  )
  row(
    "if its response cannot be encoded",
    failing((response) => response.end("x", "bogus" as never)),
    "500"
  )
  row(
    "if its response is too long",
    failing((response) => {
      response.strictContentLength = true
      response.setHeader("content-length", 3)
      response.end("too long")
    }),
    "500"
  )
  row(
    "if a middleware fails where the head is written",
    (measure) => (request, response) => {
      measure(request, response)
      const { writeHead } = response
      response.writeHead = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
        Reflect.apply(writeHead, this, args as never)
        throw new Error("no")
      } as typeof writeHead
      assert.throws(() => response.end("x"))
      response.destroy()
    },
    "500"
  )
  row(
    "if listeners of its response are called by hand",
    (measure) => (request, response) => {
      measure(request, response)
      const listeners = response.listeners("finish")
      response.removeAllListeners("finish")
      response.once("finish", () => {
        for (const each of listeners) each()
      })
      response.end("x")
    },
    "200"
  )
  row(
    "if its response is answered twice",
    (measure) => (request, response) => {
      measure(request, response)
      response.on("error", () => {})
      response.end("x")
      response.end("y")
      assert.throws(() => response.writeHead(500))
    },
    "200"
  )
  row(
    "if the methods of its response are called through others that were taken before and after",
    (measure) => (request, response) => {
      const before = response.end
      measure(request, response)
      const after = response.end
      response.end = ((...args: ReadonlyArray<unknown>) => Reflect.apply(after, response, args)) as typeof after
      response.write("x")
      Reflect.apply(before, response, [])
    },
    "200"
  )
  row(
    "unless it is for the metrics, also if another recorder has an object that is derived from it",
    (measure) => {
      const other = httpMetrics({ registry: new Registry() })
      const listener = nodeListener({ registry: new Registry() })
      return (request, response) => {
        other(request, response)
        measure(Object.create(request), response)
        listener(request, response)
      }
    },
    ""
  )

  it("with the size of what was written in parts, by whichever method", async () => {
    const registry = new Registry()
    const measure = httpMetrics({ registry, sizes: true })
    await asked(
      (request, response) => {
        measure(request, response)
        response.write("abc")
        response.write(Buffer.from("defg"))
        response.end("hi")
      },
      ["/"]
    )
    assert.deepEqual(await samples(registry, responseSize, "_sum"), ["GET unmatched 200: 9"])
  })
})

describe("The methods of Express' responses", () => {
  type Prepare = (application: express.Express, measured: express.RequestHandler) => void

  const isOurs = (key: string | symbol): boolean =>
    typeof key === "symbol" && key.description?.startsWith("effect-prometheus") === true

  const answering: express.RequestHandler = (_, response) => {
    response.send("hello")
  }

  const rows: ReadonlyArray<readonly [name: string, prepare: Prepare, sizes: ReadonlyArray<string>]> = [
    [
      "are observed",
      (application, measured) => {
        application.use(measured).get("/a", answering)
      },
      ["GET /a 200: 5"]
    ],
    [
      "may be replaced by a middleware that keeps the former ones",
      (application, measured) => {
        application.use(measured, (_, response, next) => {
          const { end, write } = response
          response.write = ((...args: Array<never>) => Reflect.apply(write, response, args)) as typeof write
          response.end = ((...args: Array<never>) => Reflect.apply(end, response, args)) as typeof end
          next()
        })
        application.get("/a", (_, response) => {
          response.write("hello ")
          response.end("world")
        })
      },
      ["GET /a 200: 11"]
    ],
    [
      "may be replaced on the prototype of the application, before and after the first request",
      (application, measured) => {
        const { end } = application.response
        let calls = 0
        const counting = function (this: ServerResponse, ...args: Array<never>) {
          calls += 1
          return Reflect.apply(end, this, args)
        } as typeof end
        application.use(measured).get("/a", answering)
        application.get("/patch", (_, response) => {
          application.response.end = counting
          response.send("patched")
        })
        application.get("/calls", (_, response) => {
          response.send(String(calls))
        })
      },
      ["GET /a 200: 10", "GET /calls 200: 1", "GET /patch 200: 7"]
    ],
    [
      "are those of an application around, if only a mounted one is measured",
      (application, measured) => {
        const mounted = express()
        mounted.use(measured)
        application.use("/m", mounted)
        application.get("/m/a", answering)
      },
      ["GET /m/a 200: 5"]
    ],
    [
      "are observed on the measured response, but not on another one for the same request",
      (application, measured) => {
        const inner = express()
        inner.get("/a", (_, response) => {
          response.write("much longer")
          response.end("than the other")
        })
        application.use(measured).get("/a", (request, response) => {
          const other = new NodeResponse(request)
          inner(request, other as never)
          Object.setPrototypeOf(request, application.request)
          response.end("short")
        })
      },
      ["GET /a 200: 5"]
    ],
    [
      "give no size if the response has another request",
      (application, measured) => {
        application.use(measured).get("/a", (_, response) => {
          response.req = {} as never
          response.end("hello")
        })
      },
      []
    ],
    [
      "give the declared size after another copy of Express has set its own prototype",
      (application, measured) => {
        const inner = oldExpress()
        inner.get("/a", (_, response) => {
          response.send("hello")
        })
        application.use(measured).use((request, response, next) => inner(request, response, next))
      },
      ["GET /a 200: 5"]
    ],
    [
      // Newer versions of Node.js do not answer a request that is frozen as a whole.
      "may be called when the application has frozen what is known of the request",
      (application, measured) => {
        application.use(measured).get("/a", (request, response) => {
          for (const key of Object.getOwnPropertySymbols(request).filter(isOurs)) {
            Object.defineProperty(request, key, { writable: false, configurable: false })
          }
          response.end("hello")
        })
      },
      ["GET /a 200: 5"]
    ],
    [
      "may be called on a response whose request refuses to be read",
      (application, measured) => {
        application.use(measured).get("/a", (request, response) => {
          response.req = new Proxy(request, {
            get: (target, key) => {
              if (isOurs(key)) throw new Error("unexpected")
              return Reflect.get(target, key, target)
            }
          })
          response.end("hello")
        })
      },
      []
    ]
  ]
  for (const [name, prepare, sizes] of rows) {
    it(name, async () => {
      const registry = new Registry()
      const measure = httpMetrics({ registry, sizes: true })
      const application = express()
      prepare(application, (request, response, next) => {
        measure(request, response, expressRoute(request))
        next()
      })
      const paths = [
        sizes.join().includes("/m/") ? "/m/a" : "/a",
        ...(sizes.length > 1 ? ["/patch", "/a", "/calls"] : [])
      ]
      const answers = await asked(application, paths)
      assert.deepEqual(
        answers.map((answer) => answer.slice(0, 3)),
        paths.map(() => "200")
      )
      assert.deepEqual(await samples(registry, responseSize, "_sum"), sizes)
      assert.strictEqual(await inProgress(registry), 0)
    })
  }

  it("answer as before in an application that is not measured, of the same copy of Express", async () => {
    const registry = new Registry()
    const measure = httpMetrics({ registry, sizes: true })
    const measured = express()
    measured.use((request, response, next) => {
      measure(request, response, expressRoute(request))
      next()
    })
    measured.get("/a", answering)
    const other = express()
    other.get("/a", answering)
    assert.deepEqual(await asked(measured, ["/a"]), ["200 hello"])
    assert.deepEqual(await asked(other, ["/a"]), ["200 hello"])
    assert.deepEqual(await asked(measured, ["/a"]), ["200 hello"])
    assert.deepEqual(await samples(registry, requests), ["GET /a 200: 2"])
    assert.deepEqual(
      Object.keys(express.response).filter((key) => key === "end" || key === "write"),
      []
    )
  })

  it("stay those of a class of the application", async () => {
    const registry = new Registry()
    const measure = httpMetrics({ registry, sizes: true })
    class OwnResponse extends NodeResponse {}
    const listener: Listener = (request, response) => {
      measure(request, response)
      response.end("hello")
    }
    const options = { ServerResponse: OwnResponse as never }
    assert.deepEqual(await asked(listener, ["/"], options), ["200 hello"])
    assert.deepEqual(Object.getOwnPropertyNames(OwnResponse.prototype), ["constructor"])
    assert.deepEqual(await samples(registry, responseSize, "_sum"), ["GET unmatched 200: 5"])
  })
})

describe("A metric whose method is replaced", () => {
  it("may return a promise that is rejected", async () => {
    const registry = new Registry()
    const measure = httpMetrics({ registry })
    const listener: Listener = (request, response) => {
      measure(request, response)
      response.end("x")
    }
    await asked(listener, ["/"])
    let calls = 0
    for (const [name, method] of [
      [requests, "inc"],
      ["http_server_requests_in_progress", "set"]
    ] as const) {
      const metric = registry.getSingleMetric(name) as unknown as Record<string, (...args: Array<unknown>) => unknown>
      metric[method] = async () => {
        calls += 1
        throw new Error("exporter down")
      }
    }
    const unhandled: Array<unknown> = []
    const notice = (reason: unknown) => unhandled.push(reason)
    process.on("unhandledRejection", notice)
    await asked(listener, ["/"])
    await new Promise((resolve) => setTimeout(resolve, 20))
    process.off("unhandledRejection", notice)
    assert.deepEqual(unhandled, [])
    // A child of @prometheus-io/client keeps the method that it began with.
    assert.strictEqual((await samples(registry, "effect_prometheus_errors_total")).length > 0, calls > 0)
  })
})
