/**
 * A metrics server in a worker thread, which answers while the application is stuck:
 * `npx tsx examples/server-in-a-thread.ts`
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { startHttpServerInThread, timed } from "effect-prometheus/Promises"
import { Histogram } from "prom-client"

const reportSeconds = new Histogram({ name: "report_seconds", help: "Time spent on a report, in seconds." })

// It computes without ever giving way, so nothing else happens in this thread meanwhile: no request is even accepted.
// A function that is not async stays so when it is timed.
const report = timed(reportSeconds)((seconds: number): string => {
  const end = performance.now() + seconds * 1e3
  while (performance.now() < end) Math.random()
  return `computed for ${seconds} seconds\n`
})

const application = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? "/", "http://localhost")
  response.end(report(Number(searchParams.get("seconds") ?? 3)))
})

// While the thread above is stuck, the numbers are those of the last scrape. How old they are is a metric of its own,
// effect_prometheus_exposition_age_seconds, so that an alert can tell a stuck application from a quiet one.
const metrics = await startHttpServerInThread({
  host: "127.0.0.1",
  port: Number(process.env["METRICS_PORT"] ?? 0),
  staleFor: "1 minute"
})

application.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  const { port } = application.address() as AddressInfo
  console.log(`to block the application for 3 seconds: curl 'http://127.0.0.1:${port}/report?seconds=3'`)
  console.log(`and meanwhile, in another terminal: curl ${metrics.url}`)
})

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    application.close()
    await metrics.close()
  })
}
