/**
 * An Express 5 application that measures the number, duration and size of its requests by route pattern:
 * `npx tsx examples/express.ts`
 */
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { expressRoute, httpMetrics, nodeListener } from "effect-prometheus/Promises"
import type { NextFunction, Request, Response } from "express"
import express from "express"

const measure = httpMetrics()

const application = express()
// Install this first: it does not measure requests that were answered before it.
application.use((request, response, next) => {
  measure(request, response, expressRoute(request))
  next()
})

application.get("/users/me", (_, response) => void response.send("me\n"))
application.get("/users/:id", (request, response) => void response.send(`user ${request.params.id}\n`))
application.post("/users", express.text(), (request, response) => void response.status(201).send(request.body))
application.get("/fail", () => {
  throw new Error("it failed")
})
application.get("/slow", async (_, response) => {
  await sleep(5_000)
  response.send("at last\n")
})
application.get("/stream", async (_, response) => {
  for (const part of ["one\n", "two\n", "three\n"]) {
    response.write(part)
    await sleep(50)
  }
  response.end()
})

const orders = express.Router()
orders.get("/orders/:order", (request, response) => {
  if (request.params.order === "none") throw new Error("there is no such order")
  response.send(`order ${request.params.order}\n`)
})
application.use("/shop", orders)

const posts = express.Router()
posts.get("/posts/:post", (request, response) => void response.send(`post ${request.params.post}\n`))
application.use("/api/v1/users/:user", posts)
// The pattern of a mounted handler is its mount path.
application.use("/graphql", (_, response) => void response.json({ data: null }))

// Scrapes are not counted.
application.get("/metrics", nodeListener())
application.use((error: Error, _: Request, response: Response, __: NextFunction) => {
  response.status(500).send(`${error.message}\n`)
})

const server = application.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo
  console.log(`application: http://127.0.0.1:${port}/users/7`)
  console.log(`metrics: http://127.0.0.1:${port}/metrics`)
})

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => server.close())
