/**
 * A Hono 4 application on Node.js that measures the number, duration and size of its requests by route pattern:
 * `npx tsx examples/hono.ts`
 */
import { setTimeout as sleep } from "node:timers/promises"
import { serve } from "@hono/node-server"
import { honoMetrics, httpMetrics, webHandler } from "effect-prometheus/Promises"
import { Hono } from "hono"
import { matchedRoutes } from "hono/route"
import { stream } from "hono/streaming"

const metrics = webHandler()

const application = new Hono()
// Install this first: it does not measure requests that were answered before it.
application.use(honoMetrics(httpMetrics(), matchedRoutes))

application.get("/users/me", (context) => context.text("me\n"))
application.get("/users/:id", (context) => context.text(`user ${context.req.param("id")}\n`))
application.post("/users", async (context) => context.text(await context.req.text(), 201))
application.get("/fail", () => {
  throw new Error("it failed")
})
application.get("/slow", async (context) => {
  await sleep(5_000)
  return context.text("at last\n")
})
application.get("/stream", (context) =>
  stream(context, async (body) => {
    for (const part of ["one\n", "two\n", "three\n"]) {
      await body.write(part)
      await sleep(50)
    }
  })
)

const orders = new Hono()
orders.get("/orders/:order", (context) => {
  if (context.req.param("order") === "none") throw new Error("there is no such order")
  return context.text(`order ${context.req.param("order")}\n`)
})
application.route("/shop", orders)

const version = new Hono().basePath("/v1")
version.get("/posts/:post", (context) => context.text(`post ${context.req.param("post")}\n`))
application.route("/api", version)

// Scrapes are not counted: the handler gets the request of Node.js from `env`.
application.get("/metrics", (context) => metrics(context.req.raw, context.env))
application.onError((error, context) => context.text(`${error.message}\n`, 500))

const server = serve(
  { fetch: application.fetch, port: Number(process.env["PORT"] ?? 0), hostname: "127.0.0.1" },
  ({ port }) => {
    console.log(`application: http://127.0.0.1:${port}/users/7`)
    console.log(`metrics: http://127.0.0.1:${port}/metrics`)
  }
)

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => server.close())
