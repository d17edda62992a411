/**
 * A Fastify 5 application that measures the number, duration and size of its requests by route pattern:
 * `npx tsx examples/fastify.ts`
 */
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { httpMetrics, nodeListener } from "effect-prometheus/Promises"
import Fastify from "fastify"

const measure = httpMetrics()
const metrics = nodeListener()

// Closing does not wait for open client connections.
const application = Fastify({ forceCloseConnections: true })
// A hook of the root instance runs for all plugins, and also for requests without a matching route.
application.addHook("onRequest", async (request, reply) => {
  measure(request.raw, reply.raw, () => request.routeOptions.url)
})

application.get("/users/me", async () => "me\n")
application.get<{ Params: { id: string } }>("/users/:id", async (request) => `user ${request.params.id}\n`)
application.post("/users", async (request, reply) => {
  reply.code(201)
  return request.body
})
application.get("/fail", async () => {
  throw new Error("it failed")
})
application.get("/slow", async () => {
  await sleep(5_000)
  return "at last\n"
})
application.get("/stream", async () =>
  Readable.from(
    (async function* () {
      for (const part of ["one\n", "two\n", "three\n"]) {
        yield part
        await sleep(50)
      }
    })()
  )
)

application.register(
  async (shop) => {
    shop.get<{ Params: { order: string } }>("/orders/:order", async (request) => {
      if (request.params.order === "none") throw new Error("there is no such order")
      return `order ${request.params.order}\n`
    })
  },
  { prefix: "/shop" }
)

// Scrapes are not counted. The listener sends the response itself, so Fastify must not.
application.get("/metrics", (request, reply) => {
  reply.hijack()
  metrics(request.raw, reply.raw)
})

const url = await application.listen({ port: Number(process.env["PORT"] ?? 0), host: "127.0.0.1" })
console.log(`application: ${url}/users/7`)
console.log(`metrics: ${url}/metrics`)

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => application.close())
