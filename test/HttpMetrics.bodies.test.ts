import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as HttpMetrics from "../src/HttpMetrics.js"
import * as Registry from "../src/Registry.js"
import { eventually } from "./support/http.js"
import { inProgress, samples } from "./support/httpApps.js"

const three = Stream.make(new Uint8Array(3))

const bodies = {
  "one chunk": three,
  "one chunk, and waits": Stream.concat(three, Stream.never),
  nothing: Stream.never,
  "one chunk, and fails": Stream.concat(three, Stream.fail("no")),
  "one chunk, and dies": Stream.concat(three, Stream.die("no")),
  failing: Stream.fail("no")
} as const

const reader = (response: Response) => {
  if (response.body === null) throw new Error("there is no body")
  return response.body.getReader()
}

const uses = {
  "is cancelled at once": async (response: Response) => response.body?.cancel(),
  "is cancelled at once, with a reason": async (response: Response) => response.body?.cancel(new Error("why")),
  "is cancelled after a chunk": async (response: Response) => {
    const reading = reader(response)
    await reading.read()
    await reading.cancel()
  },
  "is split, and both parts are cancelled": async (response: Response) => {
    await Promise.all((response.body?.tee() ?? []).map((part) => part.cancel()))
  },
  "goes to a writer that fails": async (response: Response) => {
    const fails = () => Promise.reject(new Error("full"))
    await response.body?.pipeTo(new WritableStream({ write: fails })).catch(() => {})
  },
  "is left by its loop": async (response: Response) => {
    for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>) break
  },
  "is not read when the request is aborted": async (_: Response, aborting: AbortController) => aborting.abort(),
  "is cancelled when the request was aborted": async (response: Response, aborting: AbortController) => {
    aborting.abort()
    await response.body?.cancel()
  },
  "is read": async (response: Response) => response.arrayBuffer().catch(() => {}),
  "is copied, and both copies are read": async (response: Response) => {
    await Promise.allSettled([response.clone().arrayBuffer(), response.arrayBuffer()])
  }
} as const

const expected: ReadonlyArray<readonly [keyof typeof uses, Partial<Record<keyof typeof bodies, number>>]> = [
  [
    "is cancelled at once",
    { "one chunk": 499, "one chunk, and waits": 499, nothing: 499, "one chunk, and fails": 499, failing: 500 }
  ],
  ["is cancelled at once, with a reason", { "one chunk": 499, "one chunk, and waits": 499, nothing: 499 }],
  ["is cancelled after a chunk", { "one chunk": 200, "one chunk, and waits": 499 }],
  ["is split, and both parts are cancelled", { "one chunk, and waits": 499, nothing: 499 }],
  ["goes to a writer that fails", { "one chunk, and waits": 499 }],
  ["is left by its loop", { "one chunk, and waits": 499 }],
  ["is not read when the request is aborted", { "one chunk, and waits": 499, nothing: 499 }],
  ["is cancelled when the request was aborted", { "one chunk, and waits": 499, nothing: 499 }],
  ["is read", { "one chunk": 200, "one chunk, and fails": 500, "one chunk, and dies": 500, failing: 500 }],
  ["is copied, and both copies are read", { "one chunk": 200, "one chunk, and fails": 500 }]
]

describe("The body of a web response", () => {
  const cases = expected.flatMap(([use, statuses]) =>
    Object.entries(statuses).map(([body, status]) => ({ use, body: body as keyof typeof bodies, status }))
  )
  for (const { body, status, use } of cases) {
    it.effect(`that has ${body} and ${use} is ${status}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const middleware = yield* Effect.provideService(HttpMetrics.make(), Registry.Registry, registry)
        const app = HttpRouter.get(HttpRouter.empty, "/body", HttpServerResponse.stream(bodies[body]))
        const aborting = new AbortController()
        const request = new Request("http://localhost/body", { signal: aborting.signal })
        yield* Effect.promise(async () => {
          await uses[use](await HttpApp.toWebHandler(app, middleware)(request), aborting)
        })
        yield* eventually("no request in progress", async () => (await inProgress(registry)) === 0)
        assert.deepStrictEqual(yield* Effect.promise(() => samples(registry, "http_server_requests_total")), [
          `GET /body ${status}: 1`
        ])
      })
    )
  }
})
