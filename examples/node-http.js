// @ts-check
/**
 * A server of `node:http` with its own table of routes, in plain JavaScript, that measures the number, duration and size
 * of its requests by route pattern: `node examples/node-http.js`
 */
import { createServer } from "node:http"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { httpMetrics, nodeListener } from "effect-prometheus/Promises"

/**
 * @typedef {import("node:http").IncomingMessage} Incoming
 * @typedef {import("node:http").ServerResponse} Outgoing
 * @typedef {(request: Incoming, response: Outgoing, parameter: string) => unknown} Handler
 */

const measure = httpMetrics()

/** @type {ReadonlyArray<readonly [method: string, pattern: string, handler: Handler]>} */
const routes = [
  ["GET", "/users/me", (_, response) => response.end("me\n")],
  ["GET", "/users/:id", (_, response, id) => response.end(`user ${id}\n`)],
  ["POST", "/users", async (request, response) => response.writeHead(201).end(await text(request))],
  [
    "GET",
    "/shop/orders/:order",
    (_, response, order) => {
      if (order === "none") throw new Error("there is no such order")
      response.end(`order ${order}\n`)
    }
  ],
  [
    "GET",
    "/fail",
    () => {
      throw new Error("it failed")
    }
  ],
  [
    "GET",
    "/slow",
    async (_, response) => {
      await sleep(5_000)
      response.end("at last\n")
    }
  ],
  [
    "GET",
    "/stream",
    async (_, response) => {
      for (const part of ["one\n", "two\n", "three\n"]) {
        response.write(part)
        await sleep(50)
      }
      response.end()
    }
  ],
  // Scrapes are not counted.
  ["GET", "/metrics", nodeListener()]
]

const table = routes.map(([method, pattern, handler]) => {
  const path = new RegExp(`^${pattern.replace(/:\w+/, "([^/]+)")}$`)
  return { method, pattern, handler, path }
})

const server = createServer(async (request, response) => {
  const [path = ""] = (request.url ?? "").split("?", 1)
  const method = request.method === "HEAD" ? "GET" : request.method
  const route = table.find((one) => one.method === method && one.path.test(path))
  measure(request, response, () => route?.pattern)
  try {
    if (route === undefined) response.writeHead(404).end("not found\n")
    else await route.handler(request, response, route.path.exec(path)?.[1] ?? "")
  } catch (error) {
    response.writeHead(500).end(`${error}\n`)
  }
})

server.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
  console.log(`application: http://127.0.0.1:${port}/users/7`)
  console.log(`metrics: http://127.0.0.1:${port}/metrics`)
})

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close())
