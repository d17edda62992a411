/** The library's self-metrics: metrics about its own work, on the registry that it serves. */
import { type Collect, newMetric } from "../client/promClient.js"
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

export interface Outcome {
  readonly status: 200 | 499 | 500 | 503
  /** The size of the body as sent. */
  readonly bytes: number
  /** Why there is no exposition; undefined for an exposition. */
  readonly cause: ScrapeError | undefined
}

/** A scrape begins, and ends when its response is ready. A rejected request does not become a scrape. */
export type RequestEvent =
  | { readonly tag: "Began" }
  | ({ readonly tag: "Ended"; readonly seconds: number } & Outcome)
  | {
      readonly tag: "Rejected"
      readonly status: 400 | 401 | 403 | 421 | 429 | 431 | 503
      readonly cause: ScrapeError | undefined
    }

type Gone = { readonly tag: "Gone" }

/** If the worker is gone, the scrapes that it has in flight will not be reported as ended. */
export type ScrapeEvent = RequestEvent | Gone | { readonly tag: "Reported"; readonly report: ScrapeReport }

/** The requests for the metrics that a worker has received since its last report. It can be sent to another thread. */
export interface ScrapeReport {
  readonly inFlight: number
  readonly scrapes: ReadonlyArray<readonly [status: number, times: number]>
  readonly errors: ReadonlyArray<readonly [cause: ScrapeError, times: number]>
  readonly bytes: number
  readonly durations: ReadonlyArray<DurationCount>
}

export type DurationCount = readonly [seconds: number, times: number]

/** A self-metric. A metric with label values has all their series from the start, at 0. */
interface OwnMetric {
  readonly type: "counter" | "gauge" | "histogram"
  readonly name: string
  readonly help: string
  readonly label?: string
  readonly values?: ReadonlyArray<string>
  readonly buckets?: ReadonlyArray<number>
  /** The series of a gauge at a scrape of the registry. Default: the library sets the gauge. */
  readonly read?: (
    registry: object
  ) => ReadonlyArray<readonly [labels: Readonly<Record<string, string>>, value: number]>
}

/** What a metrics server knows of itself. */
export interface ServerState {
  /** Undefined for a server without service discovery. */
  readonly isRegistered?: (() => boolean) | undefined
  /** Since the Unix epoch, in seconds. Undefined for a server without TLS. */
  readonly certificateExpiry?: (() => number) | undefined
}

const servers = oncePerProcess("servers", () => new WeakMap<object, Set<ServerState>>())

/** The metrics servers of a registry. */
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

type OwnMetricName = keyof typeof ownMetrics

export const scrapeMetrics: ReadonlyArray<OwnMetricName> = [
  "scrapes",
  "inFlight",
  "duration",
  "bytes",
  "scrapeErrors",
  "collectFailed"
]

export const serverMetrics: ReadonlyArray<OwnMetricName> = [...scrapeMetrics, "registered", "certificateExpiry"]

/** How many scrapes are in flight: of all endpoints of a registry, and of one endpoint. */
interface Flight {
  readonly all: { scrapes: number }
  scrapes: number
}

/** Records an event. `on` applies an action to a metric, or ignores it if the metric is not available. */
const record = (event: ScrapeEvent, flight: Flight, on: OnOwnMetric): void => {
  if (event.tag === "Reported") {
    recordReport(event.report, flight, on)
    return
  }
  if (event.tag !== "Rejected") fly(flight, flightsOf(event, flight), on)
  if (event.tag === "Began" || event.tag === "Gone") return
  const { cause, status } = event
  on("scrapes", (counter) => counter.inc({ code: String(status) }))
  if (cause !== undefined) on("scrapeErrors", (counter) => counter.inc({ cause }))
  if (event.tag === "Rejected") return
  on("duration", (histogram) => histogram.observe(event.seconds))
  on("bytes", (counter) => counter.inc(event.bytes))
}

const recordReport = (report: ScrapeReport, flight: Flight, on: OnOwnMetric): void => {
  fly(flight, report.inFlight, on)
  for (const [status, times] of report.scrapes) on("scrapes", (counter) => counter.inc({ code: String(status) }, times))
  for (const [cause, times] of report.errors) on("scrapeErrors", (counter) => counter.inc({ cause }, times))
  if (report.bytes > 0) on("bytes", (counter) => counter.inc(report.bytes))
  on("duration", (histogram) => {
    for (const [seconds, times] of report.durations) {
      for (let time = 0; time < times; time += 1) histogram.observe(seconds)
    }
  })
}

const flightsOf = ({ tag }: RequestEvent | Gone, { scrapes }: Flight): number => {
  if (tag === "Gone") return 0
  return tag === "Began" ? scrapes + 1 : scrapes - 1
}

// The gauge is set and not incremented, so it is correct again after any other change.
const fly = (flight: Flight, scrapes: number, on: OnOwnMetric): void => {
  flight.all.scrapes += scrapes - flight.scrapes
  flight.scrapes = scrapes
  on("inFlight", (gauge) => gauge.set(flight.all.scrapes))
}

/** Applies an action to the metric with that key, and creates the metric if it is missing. It does not throw. */
type OnOwnMetric = (name: OwnMetricName, act: (metric: Usable) => void) => void

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
  const { buckets, help, label, name, read, type } = own
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
  const made = newMetric({ type, name, help, labelNames, buckets }, collect)
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

export type ScrapeRecorder = (event: ScrapeEvent) => void

const flights = oncePerProcess("scrapes in flight", () => new WeakMap<MetricRegistry, { scrapes: number }>())

/** Creates the self-metrics now, and again at a scrape if necessary: the registry may have been cleared or reset. */
export const scrapeRecorder = (
  registry: MetricRegistry,
  { selfMetrics }: { readonly selfMetrics: boolean },
  metrics: ReadonlyArray<OwnMetricName> = scrapeMetrics
): ScrapeRecorder => {
  const on: OnOwnMetric = (name, act) => {
    try {
      act(selfMetric(registry, name))
    } catch {
      // The registry rejects it, or has another metric with that name. The scrape continues.
    }
  }
  const names: ReadonlyArray<OwnMetricName> = selfMetrics ? ["errors", ...metrics] : ["errors"]
  const series = names.map((name) => ({ name, all: seriesOf(ownMetrics[name]) }))
  const begin = (): void => {
    for (const { name, all } of series) {
      on(name, (metric) => {
        for (const labels of all) metric.inc(labels, 0)
      })
    }
  }
  begin()
  const flight: Flight = { all: getOrInsert(flights, registry, () => ({ scrapes: 0 })), scrapes: 0 }
  return (event) => {
    if (event.tag === "Began" || event.tag === "Reported") begin()
    if (selfMetrics) record(event, flight, on)
  }
}
