// @ts-check
/** A small application for compose.yml, with its metrics on a port of its own: `node checkout.mjs` */
import { createServer } from "node:http"
import { httpMetrics, startHttpServer } from "effect-prometheus/Promises"
import { collectDefaultMetrics } from "prom-client"

collectDefaultMetrics()

const measure = httpMetrics()

const application = createServer((request, response) => {
  const isOrder = request.method === "GET" && request.url === "/"
  measure(request, response, () => (isOrder ? "/" : undefined))
  response.writeHead(isOrder ? 200 : 404).end(isOrder ? "thank you\n" : "not found\n")
})

// Both listen on all interfaces of the container, so that other containers reach them.
application.listen(Number(process.env["PORT"] ?? 3000))
const metrics = await startHttpServer({ port: Number(process.env["METRICS_PORT"] ?? 9464) })

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    application.close()
    metrics.close()
  })
}
