/** The five metrics of HTTP requests, recorded with prom-client alone: what a middleware by hand does at least. */
import * as promClient from "prom-client"

const labelNames = ["method", "route", "status"]
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10]
const sizeBuckets = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]

export interface HandEnd {
  readonly method: string
  readonly route: string
  readonly status: number
  readonly start: number
  readonly requestBytes: number
  readonly responseBytes: number
}

export interface HandMetrics {
  /** Returns the start, for the end. */
  begin(method: string): number
  end(how: HandEnd): void
}

/** All five, or the number and the duration of requests alone. */
export const handMetrics = (all = true): HandMetrics => {
  const histogram = (name: string, buckets: ReadonlyArray<number>) =>
    new promClient.Histogram({ name, help: name, labelNames, buckets: [...buckets] })
  const total = new promClient.Counter({ name: "requests_total", help: "Requests.", labelNames })
  const seconds = histogram("request_seconds", durationBuckets)
  const received = histogram("request_bytes", sizeBuckets)
  const sent = histogram("response_bytes", sizeBuckets)
  const running = new promClient.Gauge({ name: "in_progress", help: "Running.", labelNames: ["method"] })
  return {
    begin: (method) => {
      if (all) running.inc({ method })
      return performance.now()
    },
    end: ({ method, route, status, start, requestBytes, responseBytes }) => {
      const labels = { method, route, status }
      total.inc(labels)
      seconds.observe(labels, (performance.now() - start) / 1e3)
      if (!all) return
      running.dec({ method })
      received.observe(labels, requestBytes)
      sent.observe(labels, responseBytes)
    }
  }
}
