/** Records the events of scrapes in the library's self-metrics. */
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { MetricRegistry } from "./metricRegistry.js"
import { type OwnMetricName, ownMetrics, type ScrapeError, selfMetric, seriesOf, type Usable } from "./selfMetrics.js"

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
