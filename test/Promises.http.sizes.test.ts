import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as HttpMetrics from "../src/HttpMetrics.js"
import { httpMetrics } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { listen } from "./support/httpApps.js"
import { eventually } from "./support/httpClient.js"
import { clients } from "./support/metrics.js"

type Measured = Registry.MetricRegistry & { metrics(): Promise<string> }

type Seen = (request: IncomingMessage, response: ServerResponse) => void

/** A server whose requests are measured, by both sides. Its handler has read the request, and answers with 5 bytes. */
const sides: Readonly<
  Record<string, (registry: Measured, options: object, seen: Seen) => Effect.Effect<string, never, Scope.Scope>>
> = {
  httpMetrics: (registry, options, seen) => {
    const measure = httpMetrics({ registry, ...options })
    const server = createServer((request, response) => {
      measure(request, response, () => "/orders")
      seen(request, response)
      request.resume().on("end", () => response.end("12345"))
    })
    return Effect.acquireRelease(
      Effect.async<string>((resume) => {
        server.listen(0, "127.0.0.1", () =>
          resume(Effect.succeed(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
        )
      }),
      () => Effect.sync(() => server.close().closeAllConnections())
    )
  },
  HttpMetrics: (registry, options, seen) => {
    const router = HttpRouter.empty.pipe(
      HttpRouter.post(
        "/orders",
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const { response } = request as unknown as { readonly response: ServerResponse }
          seen(request.source as IncomingMessage, response)
          yield* request.text
          return HttpServerResponse.text("12345")
        })
      )
    )
    return Effect.flatMap(
      Effect.orDie(Effect.provideService(HttpMetrics.makeMiddleware(options), Registry.Registry, registry)),
      (middleware) => listen(HttpServer.serve(router, middleware) as never)
    )
  }
}

/** Sends one request with a body of unknown length, and returns the families of sizes with their sums. */
const sizesOf = (side: string, registry: Measured, options: object, seen: Seen = () => {}) =>
  Effect.gen(function* () {
    const url = yield* (sides[side] ?? assert.fail("no side"))(registry, options, seen)
    yield* Effect.promise(() =>
      fetch(`${url}/orders`, {
        method: "POST",
        body: new Blob(["1234567"]).stream(),
        duplex: "half"
      } as RequestInit).then((response) => response.text())
    )
    yield* eventually("the request has ended", async () =>
      (await registry.metrics()).includes('http_server_requests_total{method="POST",route="/orders",status="200"} 1')
    )
    const text = yield* Effect.promise(() => registry.metrics())
    const sums = text.split("\n").flatMap((line) => {
      const [, name, sum] = /^(\w*size\w*)_sum\{.*\} (\d+)$/.exec(line) ?? []
      return name === undefined ? [] : [[name, Number(sum)]]
    })
    assert.lengthOf(
      text.split("\n").filter((line) => /^# TYPE \w*size/.test(line)),
      sums.length
    )
    return Object.fromEntries(sums) as Readonly<Record<string, number>>
  })

const request = "http_server_request_size_bytes"
const response = "http_server_response_size_bytes"

for (const side of Object.keys(sides)) {
  describe(`The sizes of bodies in ${side}`, () => {
    for (const { client, name } of clients) {
      const own = (registry: unknown) =>
        new client.Histogram({
          name: "own_size_bytes",
          help: "Sizes, in bytes.",
          labelNames: ["method", "route", "status"],
          registers: [registry as never]
        })
      const cases: Readonly<Record<string, readonly [options: (registry: unknown) => object, expected: object]>> = {
        "are not observed by default": [() => ({}), {}],
        "are observed if the option says so": [() => ({ sizes: true }), { [request]: 7, [response]: 5 }],
        "are observed but for one that is left out": [
          () => ({ sizes: true, metrics: { requestSize: false } }),
          { [response]: 5 }
        ],
        "are observed on the caller's own metric of requests": [
          (registry) => ({ metrics: { requestSize: own(registry) } }),
          { own_size_bytes: 7 }
        ],
        "are observed on the caller's own metric of responses, also if the option says no": [
          (registry) => ({ sizes: false, metrics: { responseSize: own(registry) } }),
          { own_size_bytes: 5 }
        ],
        "are observed on the caller's own metric and on a created one": [
          (registry) => ({ sizes: true, metrics: { responseSize: own(registry) } }),
          { [request]: 7, own_size_bytes: 5 }
        ],
        "have the names of the options": [
          () => ({ sizes: true, names: { requestSize: "my_request_size_bytes" } }),
          { my_request_size_bytes: 7, [response]: 5 }
        ]
      }
      for (const [title, [options, expected]] of Object.entries(cases)) {
        it.scopedLive(`${title} (${name})`, () =>
          Effect.gen(function* () {
            const registry = new client.Registry() as unknown as Measured
            assert.deepStrictEqual(yield* sizesOf(side, registry, options(registry)), expected)
          })
        )
      }
    }

    const { client } = clients[0] ?? assert.fail("no client")

    it.scopedLive.each<readonly [object, boolean]>([
      [{}, false],
      [{ sizes: true }, true],
      [{ sizes: true, metrics: { requestSize: false } }, false]
    ])("leave the methods of a request as they are if none is observed: %j", ([options, isCounted]) =>
      Effect.gen(function* () {
        let isReplaced: boolean | undefined
        yield* sizesOf(side, new client.Registry() as unknown as Measured, options, (request) => {
          isReplaced = Object.hasOwn(request, "push")
        })
        assert.strictEqual(isReplaced, isCounted)
      })
    )
  })
}

describe("The methods of a response", () => {
  const { client } = clients[0] ?? assert.fail("no client")

  it.scopedLive.each<readonly [object, boolean]>([
    [{}, false],
    [{ sizes: true }, true]
  ])("are replaced by HttpMetrics only for its size: %j", ([options, isCounted]) =>
    Effect.gen(function* () {
      let replaced: ReadonlyArray<string> | undefined
      yield* sizesOf("HttpMetrics", new client.Registry() as unknown as Measured, options, (_, response) => {
        replaced = ["end", "write", "writeHead"].filter((name) => Object.hasOwn(response, name))
      })
      assert.deepStrictEqual(replaced, isCounted ? ["end", "write", "writeHead"] : [])
    })
  )
})
