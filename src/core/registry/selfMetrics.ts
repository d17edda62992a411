/** What the library tells about itself, as metrics on the registry that it works for. */
import type { ScrapeReport } from "./scrapeReport.js"
import { operations } from "./warnings.js"

/** One of `scrapeErrors`. */
export type ScrapeError = (typeof scrapeErrors)[number]

/**
 * Why a scrape gets no exposition: a metric could not be read, or the registry; it took too long; too many are in flight;
 * the application does not answer its worker; or the client has closed its connection before the answer was ready.
 */
export const scrapeErrors = ["collect", "registry", "timeout", "in_flight", "stale", "client_closed"] as const

/** What happens to a request for the metrics. */
export type RequestEvent = Began | Ended | Refused

/** What is recorded of the requests for the metrics: one by one, or those of a worker all together. */
export type ScrapeEvent = RequestEvent | Gone | Reported

/** A scrape is in flight. */
interface Began {
  readonly tag: "Began"
}

/** How a scrape ended. */
export interface Outcome {
  readonly status: 200 | 499 | 500 | 503
  /** Of the body as it is sent. */
  readonly bytes: number
  /** Why there is no exposition, if there is none. */
  readonly cause: ScrapeError | undefined
}

/** It is no more; its answer is ready. */
interface Ended extends Outcome {
  readonly tag: "Ended"
  /** Since it began. */
  readonly seconds: number
}

/** A request was turned away before it became a scrape. */
interface Refused {
  readonly tag: "Refused"
  readonly status: 400 | 401 | 403 | 421 | 429 | 431 | 503
  readonly cause: ScrapeError | undefined
}

/** Whoever told of scrapes that began will not tell of their end: the worker is gone. */
interface Gone {
  readonly tag: "Gone"
}

/** What has happened in a worker since its last report. */
interface Reported {
  readonly tag: "Reported"
  readonly report: ScrapeReport
}

/** A metric of the library's own. Those with a label have all their series from the start, at 0. */
export interface OwnMetric {
  readonly type: "counter" | "gauge" | "histogram"
  readonly name: string
  readonly help: string
  readonly label?: string
  readonly values?: ReadonlyArray<string>
  readonly buckets?: ReadonlyArray<number>
  /** What a gauge is at a scrape of that registry, where nobody sets it. */
  readonly value?: (registry: object) => number
}

// How to see of the metrics servers of a registry whether they are registered.
const servers = new WeakMap<object, Set<() => boolean>>()

/** The metrics servers of a registry, each as the answer to whether it is registered now. */
export const serversOf = (registry: object): Set<() => boolean> => {
  const known = servers.get(registry) ?? new Set()
  servers.set(registry, known)
  return known
}

/** How old an exposition is. It is on no registry: the worker adds it to what it serves. */
export const ageMetric = {
  name: "effect_prometheus_exposition_age_seconds",
  help: "How old the numbers of this exposition are: 0, or the time since the main thread last answered, in seconds.",
  type: "gauge"
} as const

/** The metrics of the library's own, but for the age of an exposition, which only the worker knows. */
export const ownMetrics = {
  errors: {
    type: "counter",
    name: "effect_prometheus_errors_total",
    help: "Operations on a metric that failed and were left out, by operation.",
    label: "operation",
    values: operations
  },
  scrapes: {
    type: "counter",
    name: "effect_prometheus_scrapes_total",
    help: "Requests for the metrics, by the status code that they were answered with.",
    label: "code",
    values: ["200", "400", "401", "403", "421", "429", "431", "499", "500", "503"]
  },
  inFlight: {
    type: "gauge",
    name: "effect_prometheus_scrapes_in_flight",
    help: "Scrapes that are being answered now, this one included."
  },
  duration: {
    type: "histogram",
    name: "effect_prometheus_scrape_duration_seconds",
    help: "Time from a scrape's arrival until its answer was ready to be sent, in seconds.",
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 10]
  },
  bytes: {
    type: "counter",
    name: "effect_prometheus_scrape_response_bytes_total",
    help: "Bytes of the expositions that were answered, as they were sent."
  },
  scrapeErrors: {
    type: "counter",
    name: "effect_prometheus_scrape_errors_total",
    help: "Scrapes that got no exposition, by cause.",
    label: "cause",
    values: scrapeErrors
  },
  registered: {
    type: "gauge",
    name: "effect_prometheus_registered",
    help: "How many of the metrics servers of this registry are registered with a service discovery.",
    value: (registry) => [...serversOf(registry)].filter((isRegistered) => isRegistered()).length
  },
  overflows: {
    type: "counter",
    name: "effect_prometheus_series_overflow_total",
    help: "Recordings for which a metric had no room for another series, by metric.",
    label: "metric"
  }
} as const satisfies Readonly<Record<string, OwnMetric>>

/** The labels of each of its series. */
export const seriesOf = ({ label = "", values = [] }: OwnMetric): ReadonlyArray<Readonly<Record<string, string>>> =>
  values.map((value) => ({ [label]: value }))

/** What they are called here. */
export type OwnMetricName = keyof typeof ownMetrics

/** Those that tell of scrapes. */
export const scrapeMetrics: ReadonlyArray<OwnMetricName> = ["scrapes", "inFlight", "duration", "bytes", "scrapeErrors"]

/** Those that a metrics server tells. */
export const serverMetrics: ReadonlyArray<OwnMetricName> = [...scrapeMetrics, "registered"]

/** How many scrapes are in flight: of all endpoints of a registry, and of one of them. */
export interface Flight {
  readonly all: { scrapes: number }
  scrapes: number
}

/** Records an event; `on` does that to the metric, or leaves it if it cannot. */
export const record = (event: ScrapeEvent, flight: Flight, on: OnOwnMetric): void => {
  if (event.tag === "Reported") {
    recordReport(event.report, flight, on)
    return
  }
  if (event.tag !== "Refused") fly(flight, flightsOf(event, flight), on)
  if (event.tag === "Began" || event.tag === "Gone") return
  const { cause, status } = event
  on("scrapes", (counter) => counter.inc({ code: String(status) }))
  if (cause !== undefined) on("scrapeErrors", (counter) => counter.inc({ cause }))
  if (event.tag === "Refused") return
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

// The gauge is set, not moved: whatever became of it meanwhile, it is right again.
const fly = (flight: Flight, scrapes: number, on: OnOwnMetric): void => {
  flight.all.scrapes += scrapes - flight.scrapes
  flight.scrapes = scrapes
  on("inFlight", (gauge) => gauge.set(flight.all.scrapes))
}

/** Does something to the metric of that name, which is made if it is not there. It does not throw. */
export type OnOwnMetric = (name: OwnMetricName, act: (metric: Usable) => void) => void

/** One of the metrics, as far as it is used. */
export interface Usable {
  readonly inc: (first?: Readonly<Record<string, string>> | number, by?: number) => void
  readonly set: (value: number) => void
  readonly observe: (seconds: number) => void
}
