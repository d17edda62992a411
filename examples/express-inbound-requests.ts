/**
 * An Express application that counts its inbound requests, times a handler, and serves its metrics:
 * `npx tsx examples/express-inbound-requests.ts`
 */
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeListener, timed } from "effect-prometheus/Promises"
import type { NextFunction, Request, Response } from "express"
import express from "express"
import { Counter, Histogram } from "prom-client"

const inboundRequests = new Counter({
  name: "inbound_requests_total",
  help: "Inbound HTTP requests.",
  labelNames: ["endpoint", "method"]
})

const helloSeconds = new Histogram({
  name: "hello_seconds",
  help: "Time spent in greetings, in seconds.",
  labelNames: ["outcome"]
})

// Anybody can make up paths and methods, and each new label value is a new series that stays. So the label is the
// pattern of the route ("/hello/:name"), and what matches none shares one.
const countInbound = (request: Request, response: Response, next: NextFunction): void => {
  // Which route it is is known only when the router has been through.
  response.once("finish", () => {
    const pattern: unknown = request.route?.path
    const matched = typeof pattern === "string"
    inboundRequests.inc({
      endpoint: matched ? `${request.baseUrl}${pattern}` : "unmatched",
      method: matched ? request.method : "any"
    })
  })
  next()
}

const application = express()
application.use(countInbound)
// The same function comes back, so Express still knows it for a handler, and TypeScript its parameters.
application.get(
  "/hello/:name",
  timed(helloSeconds, { labels: (exit) => ({ outcome: exit.status }) })(async (request, response) => {
    if (request.params.name === "nobody") throw new Error("there is nobody to greet")
    await sleep(50)
    response.send(`hello ${request.params.name}\n`)
  })
)
application.get("/metrics", nodeListener())
// The error is still an ordinary one for Express: it was measured, not caught.
application.use((error: Error, _: Request, response: Response, __: NextFunction) => {
  response.status(500).send(`${error.message}\n`)
})

const server = application.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo
  console.log(`application: http://127.0.0.1:${port}/hello/world`)
  console.log(`metrics: http://127.0.0.1:${port}/metrics`)
})

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => server.close())
