/**
 * What is recorded of an HTTP request, on the Effect and on the Promise side alike: each side brings its clock, its
 * routes and statuses, its registry, and its way to report a metric that failed.
 */
import type { Family } from "./family.js"
import type { Held } from "./httpInProgress.js"
import { InProgress } from "./httpInProgress.js"
import { AllSeries } from "./httpSeries.js"
import type { Labels } from "./labels.js"
import type { Reporter } from "./plan.js"

/** What the metrics are called in options. */
export const httpMetricNames = ["requests", "duration", "requestSize", "responseSize", "inProgress"] as const

export type HttpMetricName = (typeof httpMetricNames)[number]

/** What the labels of all but `inProgress` are called in options: that one has `method` alone, which is known first. */
export type HttpLabel = "method" | "route" | "status"

/** In which unit durations are observed. */
export type HttpDurationUnit = "seconds" | "milliseconds"

/** The route of what matches none. */
export const unmatched = "unmatched"

/** The bounds that OpenTelemetry's semantic conventions advise for `http.server.request.duration`, in seconds. */
export const durationBuckets: ReadonlyArray<number> = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10
]

/** From 100 bytes to 100 megabytes, in bytes. */
const sizeBuckets: ReadonlyArray<number> = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]

/** The names of the metrics and of their labels. */
export type HttpNaming = Readonly<Record<HttpMetricName | HttpLabel, string>>

/** The names where none are chosen. */
export const defaultNames = (unit: HttpDurationUnit): HttpNaming => ({
  requests: "http_server_requests_total",
  duration: `http_server_request_duration_${unit}`,
  requestSize: "http_server_request_size_bytes",
  responseSize: "http_server_response_size_bytes",
  inProgress: "http_server_requests_in_progress",
  method: "method",
  route: "route",
  status: "status"
})

/** How the metrics are written. */
export interface HttpShape {
  readonly names: HttpNaming
  readonly unit: HttpDurationUnit
  /** The names of labels beside the method, the route and the status. */
  readonly labelNames: ReadonlyArray<string>
  readonly families: Readonly<Record<HttpMetricName, Family>>
}

/** How the metrics are made on a registry. */
export interface HttpFamilyOptions extends Omit<HttpShape, "families"> {
  /** Of the duration, in its unit. Default: `durationBuckets`. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Whether the requests and their duration take exemplars. Default: no. */
  readonly exemplars?: boolean | undefined
}

/** How many of those are a second. */
const perSecond: Readonly<Record<HttpDurationUnit, number>> = { seconds: 1, milliseconds: 1e3 }

/** The metrics as they are made on a registry. */
export const httpFamilies = (options: HttpFamilyOptions): HttpShape["families"] => {
  const { names, unit } = options
  const labelNames = [names.method, names.route, names.status, ...options.labelNames]
  const exemplars = options.exemplars === true ? { enableExemplars: true } : {}
  return {
    requests: {
      type: "counter",
      name: names.requests,
      help: "HTTP requests that have ended, by method, route and status code; 499 where the client went away.",
      labelNames,
      ...exemplars
    },
    duration: {
      type: "histogram",
      name: names.duration,
      help: `Time from an HTTP request's arrival until its answer was sent or cut, in ${unit}.`,
      labelNames,
      buckets: options.buckets ?? durationBuckets.map((bound) => bound * perSecond[unit]),
      ...exemplars
    },
    requestSize: {
      type: "histogram",
      name: names.requestSize,
      help: "Size of the bodies of HTTP requests as they are sent, in bytes, where it is known.",
      labelNames,
      buckets: sizeBuckets
    },
    responseSize: {
      type: "histogram",
      name: names.responseSize,
      help: "Size of the bodies of HTTP responses as they are sent, in bytes, where it is known.",
      labelNames,
      buckets: sizeBuckets
    },
    inProgress: {
      type: "gauge",
      name: names.inProgress,
      help: "HTTP requests that are being answered, by method.",
      labelNames: [names.method]
    }
  }
}

// Those that OpenTelemetry's semantic conventions know: of RFC 9110, PATCH (RFC 5789) and QUERY.
const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE QUERY".split(" "))

/** The method as a label. Anybody can make methods up, and each would be a series. */
const methodLabel = (method: string): string => (methods.has(method) ? method : "other")

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
const onRegistry = (
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

/** What two that record on the same metrics have in common, whichever metrics there are. */
export const targetOf = (metric: HttpSource["metric"]): object =>
  metric("requests") ?? metric("duration") ?? metric("responseSize") ?? metric("requestSize") ?? {}

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

/** Makes a recorder of metrics that are named and written like that. */
export const httpRecorder = (source: HttpSource, shape: HttpShape, reporter: Reporter): HttpRecorder =>
  new Recorder(source, shape, reporter)

class Recorder implements HttpRecorder {
  private readonly all: AllSeries
  readonly inProgress: InProgress
  private readonly labelNames: ReadonlyArray<string>
  private readonly perSecond: number
  // One of each recorder: what one caller decides about a request is another one's elsewhere.
  private readonly asked: object

  constructor(
    source: HttpSource,
    shape: HttpShape,
    private readonly reporter: Reporter
  ) {
    this.all = new AllSeries(source, shape, reporter)
    this.inProgress = new InProgress(source, shape, reporter)
    this.labelNames = shape.labelNames
    this.perSecond = perSecond[shape.unit]
    this.asked = { ...shape.families.requests }
  }

  begin(method: string): HttpRun {
    return new Run(this, methodLabel(method))
  }

  failed(error: unknown): void {
    this.reporter.failed("inc", this.asked, error)
  }

  record(method: string, how: HttpEnd): void {
    const { all } = this
    const { exemplar, labels, requestBytes, responseBytes, route, seconds, status } = how
    const further = this.labelNames.length === 0 ? none : this.textsOf(labels)
    const series = all.of(method, route === undefined || route === "" ? unmatched : route, status, further)
    all.write("requests", series, 1, exemplar)
    if (seconds !== undefined) all.write("duration", series, seconds * this.perSecond, exemplar)
    if (requestBytes !== undefined) all.write("requestSize", series, requestBytes, undefined)
    if (responseBytes !== undefined) all.write("responseSize", series, responseBytes, undefined)
  }

  // In the order of their names.
  private textsOf(labels: Labels | undefined): ReadonlyArray<string> {
    const { labelNames } = this
    try {
      const unknown = labels && Object.keys(labels).find((name) => !labelNames.includes(name))
      if (unknown !== undefined) this.failed(new RangeError(`there is no label ${unknown} among the labelNames`))
      return labelNames.map((name) => String(labels?.[name] ?? ""))
    } catch (error) {
      this.failed(error)
      return labelNames.map(() => "")
    }
  }
}

const none: ReadonlyArray<string> = []

class Run implements HttpRun {
  private readonly held: Held | undefined
  private isOver = false

  constructor(
    private readonly recorder: Recorder,
    private readonly method: string
  ) {
    this.held = recorder.inProgress.start(method)
  }

  end(how: HttpEnd): void {
    if (this.over()) this.recorder.record(this.method, how)
  }

  leaveOut(): void {
    this.over()
  }

  private over(): boolean {
    if (this.isOver) return false
    this.isOver = true
    if (this.held !== undefined) this.recorder.inProgress.end(this.held)
    return true
  }
}
