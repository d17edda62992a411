/**
 * What is recorded of an HTTP request, on the Effect and on the Promise side alike: each side brings its clock, its
 * routes and statuses, its registry, and its way to report a metric that failed.
 */
import type { Family } from "./family.js"
import type { Gauge, Labels } from "./labels.js"
import { incrementing, observing, tracking } from "./metric.js"
import type { Reporter } from "./plan.js"
import type { Operation } from "./warnings.js"

/** What the metrics are called in options. */
export type HttpMetricName = "requests" | "duration" | "requestSize" | "responseSize" | "inProgress"

/** The labels of all but `inProgress`, which has `method` alone: the rest is not known before the request has ended. */
export const httpLabelNames = ["method", "route", "status"] as const

/** The route of what matches none. */
export const unmatched = "unmatched"

/** The bounds that OpenTelemetry's semantic conventions advise for `http.server.request.duration`, in seconds. */
export const durationBuckets: ReadonlyArray<number> = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10
]

/** From 100 bytes to 100 megabytes, in bytes. */
export const sizeBuckets: ReadonlyArray<number> = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]

/** How the metrics are made on a registry. */
export interface HttpFamilyOptions {
  /** The names of labels beside `httpLabelNames`. */
  readonly labelNames?: ReadonlyArray<string> | undefined
  /** Of the duration, in seconds. Default: `durationBuckets`. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Whether the requests and their duration take exemplars. Default: no. */
  readonly exemplars?: boolean | undefined
}

/** The metrics as they are made on a registry. */
export const httpFamilies = (options: HttpFamilyOptions = {}): Readonly<Record<HttpMetricName, Family>> => {
  const labelNames = [...httpLabelNames, ...(options.labelNames ?? [])]
  const exemplars = options.exemplars === true ? { enableExemplars: true } : {}
  return {
    requests: {
      type: "counter",
      name: "http_server_requests_total",
      help: "HTTP requests that have ended, by method, route and status code; 499 where the client went away.",
      labelNames,
      ...exemplars
    },
    duration: {
      type: "histogram",
      name: "http_server_request_duration_seconds",
      help: "Time from an HTTP request's arrival until its answer was sent or cut, in seconds.",
      labelNames,
      buckets: options.buckets ?? durationBuckets,
      ...exemplars
    },
    requestSize: {
      type: "histogram",
      name: "http_server_request_size_bytes",
      help: "Size of the bodies of HTTP requests as they are sent, in bytes, where it is known.",
      labelNames,
      buckets: sizeBuckets
    },
    responseSize: {
      type: "histogram",
      name: "http_server_response_size_bytes",
      help: "Size of the bodies of HTTP responses as they are sent, in bytes, where it is known.",
      labelNames,
      buckets: sizeBuckets
    },
    inProgress: {
      type: "gauge",
      name: "http_server_requests_in_progress",
      help: "HTTP requests that are being answered, by method.",
      labelNames: ["method"]
    }
  }
}

// Those that OpenTelemetry's semantic conventions know: of RFC 9110, PATCH (RFC 5789) and QUERY.
const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE QUERY".split(" "))

/** The method as a label. Anybody can make methods up, and each would be a series. */
export const methodLabel = (method: string): string => (methods.has(method) ? method : "other")

/**
 * Where the metrics are: asked for with each request, as a registry can have been cleared since the last one. It may
 * throw; `undefined` for one that is left out.
 */
export interface HttpSource {
  readonly metric: (name: HttpMetricName) => object | undefined
  /** Whether nobody else moves that gauge: it is set then, and right again whatever became of it meanwhile. */
  readonly ownsGauge: boolean
}

/** One of the metrics on a registry, which is made again by `make` where it is there no more. */
export const onRegistry = (
  registry: { getSingleMetric(name: string): unknown },
  family: Family,
  make: (family: Family) => object
): (() => object) => {
  let known = make(family)
  return () => {
    if (registry.getSingleMetric(family.name) !== known) known = make(family)
    return known
  }
}

/** The metrics of the caller's own, and for those that are not given ones on that registry, made by `make`. */
export const httpSource = (
  own: { readonly [K in HttpMetricName]?: object | false | undefined },
  registry: { getSingleMetric(name: string): unknown },
  families: Readonly<Record<HttpMetricName, Family>>,
  make: (family: Family) => object
): HttpSource => {
  const found = (name: HttpMetricName): (() => object | undefined) => {
    const given = own[name]
    if (given === undefined) return onRegistry(registry, families[name], make)
    return () => (given === false ? undefined : given)
  }
  const metrics: Readonly<Record<HttpMetricName, () => object | undefined>> = {
    requests: found("requests"),
    duration: found("duration"),
    requestSize: found("requestSize"),
    responseSize: found("responseSize"),
    inProgress: found("inProgress")
  }
  return { metric: (name) => metrics[name](), ownsGauge: own.inProgress === undefined }
}

/** How a request ended. */
export interface HttpEnd {
  /** The pattern of its route. Default: it matched none. */
  readonly route?: string | undefined
  /** The code that was sent, or 499 where the client went away before all of the answer was. */
  readonly status: number
  /** Since its arrival. Default: not observed. */
  readonly seconds?: number | undefined
  /** Of its body. Default: not observed. */
  readonly requestBytes?: number | undefined
  /** Of the answer's body. Default: not observed. */
  readonly responseBytes?: number | undefined
  /** The values of the further labels; of those that are not given the empty text. */
  readonly labels?: Labels | undefined
  /** Of the request and its duration. */
  readonly exemplar?: Labels | undefined
}

/** A request that has begun. What is called after its end does nothing. */
export interface HttpRun {
  /** Records it. */
  end(how: HttpEnd): void
  /** Takes it back, as if it had never been. */
  leaveOut(): void
}

/** Records requests, and never throws. */
export interface HttpRecorder {
  begin(method: string): HttpRun
  /** Tells of an error in what the caller works out of a request: it is as if the metric of the requests had failed. */
  failed(error: unknown): void
}

/** Makes a recorder. `labelNames` are those beside `httpLabelNames`. */
export const httpRecorder = (
  source: HttpSource,
  labelNames: ReadonlyArray<string>,
  reporter: Reporter
): HttpRecorder => {
  const requests = writing("requests", source, reporter, incrementing)
  const duration = writing("duration", source, reporter, observing)
  const requestSize = writing("requestSize", source, reporter, observing)
  const responseSize = writing("responseSize", source, reporter, observing)
  const start = starting(source, reporter)
  // One that is told of for each recorder: what is asked of the caller is another one's elsewhere.
  const asked = { ...names.requests }
  const failed = (error: unknown): void => reporter.failed("inc", asked, error)
  const record = (method: string, how: HttpEnd): void => {
    const series = seriesOf(method, how, labelNames)
    const { exemplar, labels, requestBytes, responseBytes, seconds } = how
    requests(series, (increment) => increment(undefined, exemplar))
    if (seconds !== undefined) duration(series, (observe) => observe(seconds, undefined, exemplar))
    if (requestBytes !== undefined) requestSize(series, (observe) => observe(requestBytes, undefined, undefined))
    if (responseBytes !== undefined) responseSize(series, (observe) => observe(responseBytes, undefined, undefined))
    const unknown = labels && Object.keys(labels).find((name) => !labelNames.includes(name))
    if (unknown !== undefined) failed(new RangeError(`there is no label ${unknown} among the labelNames`))
  }
  return {
    failed,
    begin(given) {
      const method = methodLabel(given)
      let takeBack = start(method)
      let isOver = false
      const over = (): boolean => {
        if (isOver) return false
        isOver = true
        takeBack?.()
        takeBack = undefined
        return true
      }
      return {
        end(how) {
          if (over()) record(method, how)
        },
        leaveOut() {
          over()
        }
      }
    }
  }
}

// What a failure is told of where there is no metric to name.
const names = {
  requests: { name: "http_server_requests_total" },
  duration: { name: "http_server_request_duration_seconds" },
  requestSize: { name: "http_server_request_size_bytes" },
  responseSize: { name: "http_server_response_size_bytes" },
  inProgress: { name: "http_server_requests_in_progress" }
} as const satisfies Readonly<Record<HttpMetricName, { readonly name: string }>>

interface Series {
  readonly key: string
  readonly labels: () => Labels
}

const seriesOf = (method: string, { labels, route: given, status }: HttpEnd, labelNames: ReadonlyArray<string>) => {
  const route = given === undefined || given === "" ? unmatched : given
  const further = labelNames.map((name) => String(labels?.[name] ?? ""))
  return {
    // The texts of a list stand for that list alone, and what stands after the first two spaces for the rest.
    key: `${method} ${status} ${further.length === 0 ? "" : JSON.stringify(further)}${route}`,
    labels: () => {
      const own: Record<string, string> = { method, route, status: String(status) }
      for (const [index, name] of labelNames.entries()) own[name] = further[index] ?? ""
      return own
    }
  }
}

// So many series of a metric are found without looking their labels up; an application has fewer, but for a label
// that has no end.
const mostKept = 1_000

/** How a metric is written: what is known of each series is kept, for as long as it is the same metric. */
const writing = <M extends object, Write>(
  name: "requests" | "duration" | "requestSize" | "responseSize",
  source: HttpSource,
  reporter: Reporter,
  writer: (metric: M, labels: Labels) => Write
): ((series: Series, act: (write: Write) => void) => void) => {
  const operation: Operation = name === "requests" ? "inc" : "observe"
  const kept = new Map<string, Write>()
  let known: object | undefined
  return (series, act) => {
    let metric: object | undefined = names[name]
    try {
      metric = source.metric(name)
      if (metric === undefined) return
      if (metric !== known || kept.size >= mostKept) kept.clear()
      known = metric
      let write = kept.get(series.key)
      if (write === undefined) {
        write = writer(metric as M, series.labels())
        kept.set(series.key, write)
      }
      act(write)
    } catch (error) {
      reporter.failed(operation, metric ?? names[name], error)
    }
  }
}

// How many requests are in progress by a gauge and its method, whoever counts them.
const inProgress = new WeakMap<object, Map<string, Held>>()

interface Held {
  readonly gauge: Gauge & { readonly set?: (value: number) => void }
  running: number
}

const heldBy = (metric: Gauge, method: string): Held => {
  const methods = inProgress.get(metric) ?? new Map<string, Held>()
  inProgress.set(metric, methods)
  const labels: Labels = { method }
  const held = methods.get(method) ?? { gauge: tracking(metric, labels)(), running: 0 }
  methods.set(method, held)
  return held
}

/** Counts the start of a request. What it gives back takes that back, if it was done. */
const starting = (source: HttpSource, reporter: Reporter): ((method: string) => (() => void) | undefined) => {
  const move = (held: Held, by: 1 | -1): void => {
    const { gauge } = held
    // One that fails is not counted, and so need not be taken back.
    if (source.ownsGauge && gauge.set !== undefined) gauge.set(held.running + by)
    else if (by === 1) gauge.inc()
    else gauge.dec()
    held.running += by
  }
  return (method) => {
    let metric: object | undefined = names.inProgress
    try {
      metric = source.metric("inProgress")
      if (metric === undefined) return undefined
      const held = heldBy(metric as Gauge, method)
      move(held, 1)
    } catch (error) {
      reporter.failed("inc", metric ?? names.inProgress, error)
      return undefined
    }
    const counted = metric
    return () => {
      try {
        move(heldBy(counted as Gauge, method), -1)
      } catch (error) {
        reporter.failed("dec", counted, error)
      }
    }
  }
}
