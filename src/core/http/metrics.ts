/** The metrics of HTTP requests: their names, their definitions, and their sources. */
import type { Family } from "../registry/metricDefinition.js"

/** The names of the metrics in options. */
export const httpMetricNames = ["requests", "duration", "requestSize", "responseSize", "inProgress"] as const

export type HttpMetricName = (typeof httpMetricNames)[number]

/** By their names in options, with their default names. `inProgress` has only `method`, which is known first. */
export const httpLabels = {
  /** The label of the method. Default: `method`. */
  method: "method",
  /** The label of the route's pattern. Default: `route`. */
  route: "route",
  /** The label of the status code. Default: `status`. */
  status: "status"
} as const

export type HttpLabel = keyof typeof httpLabels

/** The labels in the order of their values. */
export const httpLabelKeys = Object.keys(httpLabels) as ReadonlyArray<HttpLabel>

export const httpEndLabels = httpLabelKeys.filter((key): key is HttpEndLabel => key !== "method" && key !== "route")

type HttpEndLabel = Exclude<HttpLabel, "method" | "route">

export type HttpEndValues = Readonly<Record<HttpEndLabel, string | number>>

export type HttpDurationUnit = "seconds" | "milliseconds"

export const unmatched = "unmatched"

/** In seconds. Between 1 and 2.5, where limits of response times often are, an interpolated quantile needs one more bound. */
export const durationBuckets: ReadonlyArray<number> = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10
]

/** From 100 bytes to 100 megabytes, in bytes. */
const sizeBuckets: ReadonlyArray<number> = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]

export type HttpNaming = Readonly<Record<HttpMetricName | HttpLabel, string>>

export const defaultNames = (unit: HttpDurationUnit): HttpNaming => ({
  requests: "http_server_requests_total",
  duration: `http_server_request_duration_${unit}`,
  requestSize: "http_server_request_size_bytes",
  responseSize: "http_server_response_size_bytes",
  inProgress: "http_server_requests_in_progress",
  ...httpLabels
})

/** `undefined`: created on the registry. */
export type HttpOwn = { readonly [K in HttpMetricName]?: object | false | undefined }

export interface HttpShape {
  readonly names: HttpNaming
  readonly unit: HttpDurationUnit
  /** The caller's own metrics. `false` for a metric that is left out. */
  readonly metrics: HttpOwn
  /** The names of labels in addition to method, route and status. */
  readonly labelNames: ReadonlyArray<string>
  readonly families: Readonly<Record<HttpMetricName, Family>>
}

export interface HttpFamilyOptions extends Omit<HttpShape, "families" | "metrics"> {
  /** The buckets of the duration, in its unit. Default: `durationBuckets`. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Whether the metrics of requests and durations accept exemplars. Default: no. */
  readonly exemplars?: boolean | undefined
}

export const perSecond: Readonly<Record<HttpDurationUnit, number>> = { seconds: 1, milliseconds: 1e3 }

export const httpFamilies = (options: HttpFamilyOptions): HttpShape["families"] => {
  const { names, unit } = options
  const labelNames = [...httpLabelKeys.map((key) => names[key]), ...options.labelNames]
  const exemplars = options.exemplars === true ? { enableExemplars: true } : {}
  return {
    requests: {
      type: "counter",
      name: names.requests,
      help: "Completed HTTP requests, by method, route and status code (499: the client closed the connection).",
      labelNames,
      ...exemplars
    },
    duration: {
      type: "histogram",
      name: names.duration,
      help: `Time from the arrival of an HTTP request until its response is sent or aborted, in ${unit}.`,
      labelNames,
      buckets: options.buckets ?? durationBuckets.map((bound) => bound * perSecond[unit]),
      ...exemplars
    },
    requestSize: {
      type: "histogram",
      name: names.requestSize,
      help: "Size of HTTP request bodies as sent, if known, in bytes.",
      labelNames,
      buckets: sizeBuckets
    },
    responseSize: {
      type: "histogram",
      name: names.responseSize,
      help: "Size of HTTP response bodies as sent, if known, in bytes.",
      labelNames,
      buckets: sizeBuckets
    },
    inProgress: {
      type: "gauge",
      name: names.inProgress,
      help: "HTTP requests in progress, by method.",
      labelNames: [names.method]
    }
  }
}

/** `metric` is called at each request, because the registry may have been cleared. May throw. `undefined`: left out. */
export interface HttpSource {
  readonly metric: (name: HttpMetricName) => object | undefined
  /** Whether only this library changes the gauge. It is then set, so it is correct again after any other change. */
  readonly ownsGauge: boolean
}

/** `make` creates the metric again if it is no longer on the registry. */
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

/** Provides the caller's own metrics. For the others, it provides metrics on the registry, created by `make`. */
export const httpSource = (
  own: HttpOwn,
  registry: { getSingleMetric(name: string): unknown },
  families: Readonly<Record<HttpMetricName, Family>>,
  make: (family: Family) => object
): HttpSource => {
  const found = (name: HttpMetricName): (() => object | undefined) => {
    const given = own[name]
    if (given === undefined) return onRegistry(registry, families[name], make)
    return () => (given === false ? undefined : given)
  }
  const metrics = new Map(httpMetricNames.map((name) => [name, found(name)]))
  return { metric: (name) => metrics.get(name)?.(), ownsGauge: own.inProgress === undefined }
}

/** Identifies the metrics: recorders of the same metrics have the same target, whichever metrics are left out. */
export const targetOf = (metric: HttpSource["metric"]): object =>
  metric("requests") ?? metric("duration") ?? metric("responseSize") ?? metric("requestSize") ?? {}
