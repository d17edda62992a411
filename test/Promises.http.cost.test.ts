import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, type Scope } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import { httpMetrics, webHandler } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { eventually } from "./support/httpClient.js"
import { root } from "./support/snippets.js"

/** Sends a request and awaits its answer, whose status is the first part of the path. */
type Send = (method: string, path: string) => Promise<unknown>

const sides: Readonly<
  Record<string, (registry: PromRegistry, options: object) => Effect.Effect<Send, never, Scope.Scope>>
> = {
  httpMetrics: (registry, options) => {
    const measure = httpMetrics({ registry, ...options })
    const server = createServer((request, response) => {
      measure(request, response, () => request.url)
      response.writeHead(Number(request.url?.split("/")[1])).end("answer")
    })
    return Effect.map(
      Effect.acquireRelease(
        Effect.async<number>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
        }),
        () => Effect.sync(() => server.close().closeAllConnections())
      ),
      (port) => async (method, path) => (await fetch(`http://127.0.0.1:${port}${path}`, { method })).text()
    )
  },
  HttpMetrics: (registry, options) =>
    Effect.sync(() => {
      const answer = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
        HttpServerResponse.text("answer", { status: Number(url.split("/")[1]) })
      )
      const router = ["/200/a", "/200/b", "/404/a"].reduce(
        (routes, path) => HttpRouter.all(routes, path as "/", answer),
        HttpRouter.empty as HttpRouter.HttpRouter
      )
      const handler = HttpApp.toWebHandler(router, HttpMetrics.middleware(options))
      const context = Context.make(Registry.Registry, registry)
      return async (method, path) => (await handler(new Request(`http://test${path}`, { method }), context)).text()
    })
}

/** The samples of requests in an exposition, as Prometheus gets it: not those of the library, which every process has once. */
const samples = async (registry: PromRegistry): Promise<ReadonlyArray<string>> => {
  const text = await (await webHandler({ registry, selfMetrics: false })(new Request("http://test/metrics"))).text()
  return text.split("\n").filter((line) => line.startsWith("http_server_"))
}

const sum = (lines: ReadonlyArray<string>): number =>
  lines
    .filter((line) => line.includes("_request_duration_") && line.includes("_count{"))
    .reduce((total, line) => total + Number(line.split(" ").at(-1)), 0)

/** How many samples there are once that many requests have ended. */
const samplesAfter = (registry: PromRegistry, many: number) =>
  Effect.zipRight(
    eventually(`${many} requests have ended`, async () => sum(await samples(registry)) === many),
    Effect.promise(async () => (await samples(registry)).length)
  )

const costs: ReadonlyArray<readonly [title: string, options: object, each: number, method: number]> = [
  ["none", {}, 17, 1],
  ["`sizes: true`", { sizes: true }, 37, 1],
  ["`buckets: [0.1, 0.5, 2.5]`", { buckets: [0.1, 0.5, 2.5] }, 7, 1],
  ['`names: "otel"`', { names: "otel" }, 17, 1],
  ['`names: "otel"`, `sizes: true`', { names: "otel", sizes: true }, 37, 1]
]

for (const [side, serving] of Object.entries(sides)) {
  describe(`The series of ${side}`, () => {
    for (const [title, options, each, method] of costs) {
      it.scopedLive(`with these options are ${each} for each route and status: ${title}`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const send = yield* serving(registry, options)
          const counts: Array<number> = []
          for (const [verb, path] of [
            ["GET", "/200/a"],
            ["GET", "/200/b"],
            ["GET", "/404/a"],
            ["POST", "/200/a"],
            ["GET", "/200/a"]
          ] as const) {
            yield* Effect.promise(() => send(verb, path))
            counts.push(yield* samplesAfter(registry, counts.length + 1))
          }
          const added = counts.map((count, at) => count - (counts[at - 1] ?? 0))
          assert.deepStrictEqual(added, [each + method, each, each, each + method, 0])
        })
      )
    }

    it.scopedLive.each([
      ["seconds", [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10]],
      ["milliseconds", [5, 10, 25, 50, 100, 250, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000]]
    ] as const)("have these buckets of the duration by default, in %s: %j", ([durationUnit, bounds]) =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const send = yield* serving(registry, { durationUnit })
        yield* Effect.promise(() => send("GET", "/200/a"))
        yield* samplesAfter(registry, 1)
        const found = (yield* Effect.promise(() => samples(registry))).flatMap((line) => {
          const [, bound] = /_bucket\{.*le="([\d.]+)"/.exec(line) ?? []
          return bound === undefined ? [] : [Number(bound)]
        })
        assert.deepStrictEqual(found, [...bounds])
      })
    )
  })
}

describe("The documentation", () => {
  const text = readFileSync(join(root, "docs/frameworks.md"), "utf8")

  it("says what a route costs, with the figures that are counted here", () => {
    const [, section = ""] = text.split("## What a route costs\n")
    const rows = [...(section.split("\n## ")[0] ?? "").matchAll(/^\| (.+) \| (\d+) \| (\d+) \|$/gm)]
    assert.deepStrictEqual(
      rows.map(([, title, each, method]) => [title, Number(each), Number(method)]),
      costs.map(([title, , each, method]) => [title, each, method])
    )
  })

  it("multiplies them for a service", () => {
    const series = (each: number, instances: number) => (40 * 3 * each * instances).toLocaleString("en-US")
    assert.include(text, `are ${series(17, 1)} series on one instance, and ${series(17, 10)} on ten`)
    assert.include(text, `(with \`sizes\`, ${series(37, 10)})`)
  })
})
