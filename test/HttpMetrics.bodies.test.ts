import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, flow, identity, Stream } from "effect"
import { Registry as PromRegistry } from "prom-client"
import type * as HttpMetrics from "../src/HttpMetrics.js"
import { awaitIdle, measuring, samplesOf } from "./support/httpApps.js"

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

const counted = (body: Effect.Effect<HttpServerResponse.HttpServerResponse>, around: HttpMetrics.Middleware) =>
  Effect.gen(function* () {
    const registry = new PromRegistry()
    const middleware = yield* measuring(registry)
    const app = HttpRouter.get(HttpRouter.empty, "/body", body)
    const handler = HttpApp.toWebHandler(app, flow(around, middleware))
    const { status } = yield* Effect.promise(() => handler(new Request("http://localhost/body")))
    yield* awaitIdle(registry)
    assert.deepStrictEqual(yield* samplesOf(registry, "http_server_requests_total"), [`GET /body ${status}: 1`])
    return status
  })

const unmakeable = { headers: { "x-name": "two\nlines" } }
const timedOut = Effect.succeed(HttpServerResponse.empty({ status: 504 }))

/** A web handler may return another response than the one it was given. */
const answers: ReadonlyArray<
  readonly [string, number, Effect.Effect<HttpServerResponse.HttpServerResponse>, HttpMetrics.Middleware?]
> = [
  ["a Response of its own", 404, Effect.sync(() => HttpServerResponse.raw(new Response("no", { status: 404 })))],
  ["an invalid header", 500, HttpServerResponse.text("text", unmakeable)],
  ["such a header, and a stream", 500, Effect.succeed(HttpServerResponse.stream(three, unmakeable))],
  ["a stream where no body can be", 500, Effect.succeed(HttpServerResponse.stream(three, { status: 204 }))],
  [
    "an endless stream where no body can be",
    500,
    Effect.succeed(HttpServerResponse.stream(Stream.never, { status: 304 }))
  ],
  [
    "nothing, and is interrupted by what answers in its place, too late",
    503,
    Effect.never,
    (app) => Effect.raceFirst(app, Effect.zipRight(Effect.yieldNow(), timedOut))
  ]
]

describe("The answer of a web handler is counted as what is sent, where it has", () => {
  for (const [what, status, body, around = identity] of answers) {
    it.effect(what, () => Effect.map(counted(body, around), (sent) => assert.strictEqual(sent, status)))
  }
})

describe("The body of a web response", () => {
  const cases = expected.flatMap(([use, statuses]) =>
    Object.entries(statuses).map(([body, status]) => ({ use, body: body as keyof typeof bodies, status }))
  )
  for (const { body, status, use } of cases) {
    it.effect(`that has ${body} and ${use} is ${status}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const middleware = yield* measuring(registry)
        const app = HttpRouter.get(HttpRouter.empty, "/body", HttpServerResponse.stream(bodies[body]))
        const aborting = new AbortController()
        const request = new Request("http://localhost/body", { signal: aborting.signal })
        yield* Effect.promise(async () => {
          await uses[use](await HttpApp.toWebHandler(app, middleware)(request), aborting)
        })
        yield* awaitIdle(registry)
        assert.deepStrictEqual(yield* samplesOf(registry, "http_server_requests_total"), [`GET /body ${status}: 1`])
      })
    )
  }
})
