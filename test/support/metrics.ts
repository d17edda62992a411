import * as PrometheusIo from "@prometheus-io/client"
import * as PromClient from "prom-client"
import type { MetricRegistry } from "../../src/Registry.js"

export type Client = typeof PromClient

/** Whether a client is the newer one, which keeps its series in private fields. */
export const isNewer = (client: object): boolean => "ClusterRegistry" in client

/**
 * The clients that the combinators serve, first the one that is installed as `prom-client`. The newer one has the
 * same classes; only its types are other ones.
 */
export const clients = [PromClient, PrometheusIo as unknown as Client].map((client) => ({
  name: isNewer(client) ? "@prometheus-io/client 0.16" : "prom-client 15",
  client
}))

/** An observer that records its values, and then throws on demand. */
export class FakeObserver {
  readonly observed: Array<number> = []
  readonly name = "fake_seconds"
  constructor(private readonly broken: { readonly observe?: () => never } = {}) {}
  observe(seconds: number) {
    this.observed.push(seconds)
    this.broken.observe?.()
  }
}

/** A counter that records how often it is called, and then throws on demand. */
export class FakeCounter {
  counted = 0
  readonly name = "fake_total"
  constructor(private readonly broken: { readonly inc?: () => never } = {}) {}
  inc() {
    this.counted += 1
    this.broken.inc?.()
  }
}

/** A gauge that records each of its values, and throws on demand. */
export class FakeGauge {
  started = 0
  readonly history: Array<number> = []
  readonly name = "fake_in_progress"
  constructor(private readonly broken: { readonly inc?: () => never; readonly dec?: () => never } = {}) {}
  get value() {
    return this.history.at(-1) ?? 0
  }
  inc() {
    this.started += 1
    this.history.push(this.value + 1)
    this.broken.inc?.()
  }
  dec() {
    this.history.push(this.value - 1)
    this.broken.dec?.()
  }
}

/** All three, hand-written. */
export const fakes = () => ({
  duration: new FakeObserver(),
  exceptions: new FakeCounter(),
  inProgress: new FakeGauge()
})

/** All three of a client, on a registry of their own. */
export const metrics = (client: Client) => {
  const registry = new client.Registry()
  const config = { help: "A metric of a test.", labelNames: ["method", "outcome"] as const, registers: [registry] }
  return {
    registry,
    duration: new client.Histogram({ ...config, name: "run_seconds" }),
    exceptions: new client.Counter({ ...config, name: "run_failures_total" }),
    inProgress: new client.Gauge({ ...config, name: "runs_in_progress" })
  }
}

/** The same with exemplars, which only a registry for OpenMetrics admits. */
export const metricsWithExemplars = (client: Client) => {
  const registry = new client.Registry<PromClient.OpenMetricsContentType>()
  registry.setContentType(client.Registry.OPENMETRICS_CONTENT_TYPE)
  const config = {
    help: "A metric of a test.",
    labelNames: ["method", "outcome"] as const,
    registers: [registry],
    enableExemplars: true
  }
  return {
    registry,
    duration: new client.Histogram({ ...config, name: "run_seconds", buckets: [1] }),
    summary: new client.Summary({ ...config, name: "run_quantiles" }),
    exceptions: new client.Counter({ ...config, name: "run_failures_total" }),
    inProgress: new client.Gauge({ ...config, name: "runs_in_progress" })
  }
}

interface Readable {
  get(): Promise<{
    readonly name: string
    readonly values: ReadonlyArray<{ readonly labels: object; readonly value: number; readonly metricName?: string }>
  }>
}

/** The series of a metric, as `name{label="value"}`; of a histogram and a summary the sums and the counts only. */
export const series = async (metric: Readable): Promise<Record<string, number>> => {
  const { name, values } = await metric.get()
  const shown = values.filter(({ labels }) => !("le" in labels) && !("quantile" in labels))
  return Object.fromEntries(
    shown.map(({ labels, metricName = name, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`)
      return [pairs.length === 0 ? metricName : `${metricName}{${pairs}}`, value]
    })
  )
}

/** The series that count: a sum of real seconds is never twice the same. */
export const counts = async (metric: Readable): Promise<Record<string, number>> =>
  Object.fromEntries(Object.entries(await series(metric)).filter(([name]) => !name.includes("_sum")))

/** What the library counted on that registry, by operation, without those at 0. */
export const errors = async (registry: MetricRegistry): Promise<Record<string, number>> => {
  const counter = registry.getSingleMetric("effect_prometheus_errors_total") as Readable | undefined
  const all = counter === undefined ? {} : await series(counter)
  return Object.fromEntries(
    Object.entries(all)
      .filter(([, value]) => value !== 0)
      .map(([name, value]) => [name.slice('effect_prometheus_errors_total{operation="'.length, -2), value])
  )
}

/** Throws that error. Each message is a new one, because metrics without a name are distinguished by their messages. */
export const throwing = (what: string) => {
  const error = new Error(`${what} ${++thrown}`)
  return (): never => {
    throw error
  }
}
/** Rejects with that error, likewise. */
export const rejecting = (what: string) => {
  const error = new Error(`${what} ${++thrown}`)
  return (): Promise<never> => Promise.reject(error)
}
let thrown = 0
