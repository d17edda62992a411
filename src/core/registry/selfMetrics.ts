/** The library's self-metrics: metrics about its own work, on the registry that it serves. */
import { type Collect, type MetricConfiguration, newMetric } from "../client/promClient.js"
import { beginAtZero } from "../client/recording.js"
import { failingMetrics } from "../exposition/reportedFailures.js"
import { type Operation, operations } from "../instrument/metricFailures.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { MetricRegistry } from "./metricRegistry.js"

export type ScrapeError = (typeof scrapeErrors)[number]

/**
 * A metric or the registry could not be read; it took too long; too many scrapes are in flight; the application does
 * not answer its worker; or the client closed its connection before the response was ready.
 */
export const scrapeErrors = ["collect", "registry", "timeout", "in_flight", "stale", "client_closed"] as const

/** A self-metric. A metric with label values has all their series from the start, at 0. */
interface OwnMetric {
  readonly type: "counter" | "gauge" | "histogram"
  readonly name: string
  readonly help: string
  readonly label?: string
  readonly values?: ReadonlyArray<string>
  readonly buckets?: ReadonlyArray<number>
  /** How the client sums it up over the processes of a cluster. Default: their sum. */
  readonly aggregator?: MetricConfiguration["aggregator"]
  /** The series of a gauge at a scrape of the registry. Default: the library sets the gauge. */
  readonly read?: (
    registry: object
  ) => ReadonlyArray<readonly [labels: Readonly<Record<string, string>>, value: number]>
}

/** What a metrics server knows of itself. */
export interface ServerState {
  /** Only of a server with service discovery. */
  readonly isRegistered?: () => boolean
  /** Since the Unix epoch, in seconds. Only of a server with TLS. */
  readonly certificateExpiry?: () => number
}

const servers = oncePerProcess("servers", () => new WeakMap<object, Set<ServerState>>())

/** Of the metrics servers of a registry. */
export const serversOf = (registry: object): Set<ServerState> => getOrInsert(servers, registry, () => new Set())

/** The answers of the servers that know one. */
const answers = <A>(registry: object, question: (server: ServerState) => (() => A) | undefined): ReadonlyArray<A> =>
  [...serversOf(registry)].flatMap((server) => question(server)?.() ?? [])

// Without servers that know an answer, the metric has no series.
const oneSeries = <A>(all: ReadonlyArray<A>, value: (all: ReadonlyArray<A>) => number) =>
  all.length === 0 ? [] : [[{}, value(all)] as const]

/** All self-metrics except the age of an exposition, which only the worker knows. */
export const ownMetrics = {
  errors: {
    type: "counter",
    name: "effect_prometheus_errors_total",
    help: "Failed operations on metrics, by operation.",
    label: "operation",
    values: operations
  },
  scrapes: {
    type: "counter",
    name: "effect_prometheus_scrapes_total",
    help: "Requests for metrics, by status code of the response.",
    label: "code",
    values: ["200", "400", "401", "403", "421", "429", "431", "499", "500", "503"]
  },
  inFlight: {
    type: "gauge",
    name: "effect_prometheus_scrapes_in_flight",
    help: "Scrapes in flight, including this one."
  },
  duration: {
    type: "histogram",
    name: "effect_prometheus_scrape_duration_seconds",
    help: "Time from the arrival of a scrape until its response is ready, in seconds.",
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 10]
  },
  bytes: {
    type: "counter",
    name: "effect_prometheus_scrape_response_bytes_total",
    help: "Size of all expositions as sent, after compression, in bytes."
  },
  scrapeErrors: {
    type: "counter",
    name: "effect_prometheus_scrape_errors_total",
    help: "Scrapes that returned no exposition, by cause.",
    label: "cause",
    values: scrapeErrors
  },
  collectFailed: {
    type: "gauge",
    name: "effect_prometheus_collect_failed",
    help: "1 for each metric that is missing because its last collection failed, by metric.",
    label: "metric",
    aggregator: "max",
    read: (registry) => failingMetrics(registry).map((metric) => [{ metric }, 1] as const)
  },
  registered: {
    type: "gauge",
    name: "effect_prometheus_registered",
    help: "Metrics servers of this registry that are registered with their service discovery.",
    read: (registry) =>
      oneSeries(
        answers(registry, (server) => server.isRegistered),
        (all) => all.filter(Boolean).length
      )
  },
  certificateExpiry: {
    type: "gauge",
    name: "effect_prometheus_certificate_expiry_timestamp_seconds",
    help: "End of the validity of the metrics server's TLS certificate since the Unix epoch, in seconds.",
    aggregator: "min",
    read: (registry) =>
      oneSeries(
        answers(registry, (server) => server.certificateExpiry),
        (all) => Math.min(...all)
      )
  },
  overflows: {
    type: "counter",
    name: "effect_prometheus_series_overflow_total",
    help: "Recordings beyond the series limit of a metric, by metric.",
    label: "metric"
  }
} as const satisfies Readonly<Record<string, OwnMetric>>

/** The labels of each initial series of a self-metric. */
export const seriesOf = ({ label = "", values = [] }: OwnMetric): ReadonlyArray<Readonly<Record<string, string>>> =>
  values.map((value) => ({ [label]: value }))

export type OwnMetricName = keyof typeof ownMetrics

export interface Usable {
  readonly inc: (first?: Readonly<Record<string, string>> | number, by?: number) => void
  readonly set: (value: number) => void
  readonly observe: (seconds: number) => void
}

/** Creates the metric, with all its series at 0, if it is missing. Throws what the registry throws. */
export const selfMetric = (
  registry: Pick<MetricRegistry, "registerMetric" | "getSingleMetric">,
  key: OwnMetricName
): Usable => {
  const own: OwnMetric = ownMetrics[key]
  const { aggregator, buckets, help, label, name, read, type } = own
  const existing = registry.getSingleMetric(name)
  if (existing !== undefined) return existing as Usable
  const labelNames = label === undefined ? [] : [label]
  const collect: Collect | undefined =
    read &&
    function () {
      const series = read(registry)
      this.reset()
      if (series.length === 0 && label === undefined) this.remove({})
      for (const [labels, value] of series) this.set(labels, value)
    }
  const made = newMetric({ type, name, help, labelNames, buckets, aggregator }, collect)
  beginAtZero(made, seriesOf(own), true)
  registry.registerMetric(made as never)
  return made as typeof made & Usable
}

/** Counts a failed operation on a metric. Ignores what the registry throws: the failure is logged in any case. */
export const countError = (registry: MetricRegistry, operation: Operation): void => {
  try {
    selfMetric(registry, "errors").inc({ operation })
  } catch {
    // The registry rejects the counter.
  }
}
