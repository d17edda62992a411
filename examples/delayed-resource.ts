/**
 * A resource that answers after its handler has returned, without Effect: `npx tsx examples/delayed-resource.ts`
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { startHttpServer, timed } from "effect-prometheus/Promises"
import { Histogram } from "prom-client"

const requestSeconds = new Histogram({ name: "req_time_seconds", help: "Time spent in requests, in seconds." })

const application = createServer((_, response) => {
  const answered = sleep(1_000).then(() => response.end("<html><body>Sorry to keep you waiting.</body></html>\n"))
  // This handler returns at once, so time the promise instead of the function: from now until it settles. `timed` returns
  // a promise with the same result. Handle errors there.
  timed(requestSeconds, answered).catch((error) => response.destroy(error))
})

const metrics = await startHttpServer({ host: "127.0.0.1", port: Number(process.env["METRICS_PORT"] ?? 0) })

application.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = application.address() as AddressInfo
  console.log(`application: http://127.0.0.1:${port}`)
  console.log(`metrics: ${metrics.url}`)
})

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    application.close()
    await metrics.close()
  })
}
