/**
 * A metrics server in a worker thread, which answers while the application is blocked:
 * `npx tsx examples/server-in-a-thread.ts`
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { startHttpServerInThread, timed } from "effect-prometheus/Promises"
import { Histogram } from "prom-client"

const reportSeconds = new Histogram({ name: "report_seconds", help: "Time spent on a report, in seconds." })

// This function blocks the event loop: meanwhile the thread does nothing else and accepts no request. A measured sync
// function stays sync.
const report = timed(reportSeconds)((seconds: number): string => {
  const end = performance.now() + seconds * 1e3
  while (performance.now() < end) Math.random()
  return `computed for ${seconds} seconds\n`
})

const application = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? "/", "http://localhost")
  response.end(report(Number(searchParams.get("seconds") ?? 3)))
})

// While the thread above is blocked, the worker serves the exposition of the last scrape. Its age is the metric
// effect_prometheus_exposition_age_seconds, so that an alert can distinguish a blocked application from an idle one.
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
