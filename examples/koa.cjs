// @ts-check
/**
 * A Koa 3 application in CommonJS, with `@koa/router` and `koa-mount`, that measures the number, duration and size of its
 * requests by route pattern: `node examples/koa.cjs`
 */
const { PassThrough } = require("node:stream")
const { text } = require("node:stream/consumers")
const { setTimeout: sleep } = require("node:timers/promises")
const { Router } = require("@koa/router")
const { httpMetrics, koaRoute, nodeListener } = require("effect-prometheus/Promises")
const Koa = require("koa")
const mount = require("koa-mount")

const measure = httpMetrics()
const metrics = nodeListener()

const application = new Koa()
// Install this first: it does not measure requests that were answered before it.
application.use((context, next) => {
  measure(context.req, context.res, koaRoute(context))
  return next()
})

const router = new Router()
router.get("/users/me", (context) => {
  context.body = "me\n"
})
router.get("/users/:id", (context) => {
  context.body = `user ${context.params["id"]}\n`
})
router.post("/users", async (context) => {
  context.status = 201
  context.body = await text(context.req)
})
router.get("/fail", () => {
  throw new Error("it failed")
})
router.get("/slow", async (context) => {
  await sleep(5_000)
  context.body = "at last\n"
})
router.get("/stream", async (context) => {
  const stream = new PassThrough()
  context.body = stream
  const write = async () => {
    for (const part of ["one\n", "two\n", "three\n"]) {
      stream.write(part)
      await sleep(50)
    }
    stream.end()
  }
  write()
})

const orders = new Router()
orders.get("/orders/:order", (context) => {
  if (context.params["order"] === "none") throw new Error("there is no such order")
  context.body = `order ${context.params["order"]}\n`
})
router.use("/shop", orders.routes())

// Scrapes are not counted. The listener sends the response itself, so Koa must not.
router.get("/metrics", (context) => {
  context.respond = false
  metrics(context.req, context.res)
})
application.use(router.routes())

const posts = new Router()
posts.get("/posts/:post", (context) => {
  context.body = `post ${context.params["post"]}\n`
})
// Each mount is a separate route.
application.use(mount("/v1", posts.routes()))
application.use(mount("/v2", posts.routes()))
// Without a listener, Koa prints each error.
application.silent = true

const server = application.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
  console.log(`application: http://127.0.0.1:${port}/users/7`)
  console.log(`metrics: http://127.0.0.1:${port}/metrics`)
})

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close())
