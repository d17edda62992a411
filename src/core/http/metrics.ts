/** The metrics of HTTP requests: their naming schemes, their definitions, and their sources. */
import type { Family } from "../registry/metricDefinition.js"

/** The names of the metrics in options. */
export const httpMetricNames = ["requests", "duration", "requestSize", "responseSize", "inProgress"] as const

export type HttpMetricName = (typeof httpMetricNames)[number]

export type HttpDurationUnit = "seconds" | "milliseconds"

export type UrlScheme = "http" | "https"

/** What is known of a request when it arrives. */
export interface HttpArrival {
  /** A known method, or the scheme's name for all others. */
  readonly method: string
  /** `http` if the naming scheme has no label for it. */
  readonly scheme: UrlScheme
}

/** What is known of a request when it has ended. */
export interface HttpFacts extends HttpArrival {
  /** A pattern, or the scheme's name for none. */
  readonly route: string
  readonly status: number
}

/** A label, and how its value is computed when a series is created. */
interface HttpLabelOf<Facts> {
  readonly name: string
  readonly value: (facts: Facts) => string
}

/** How the metrics and their labels are named, and which there are. */
interface HttpScheme {
  readonly metrics: (unit: HttpDurationUnit) => Readonly<Record<HttpMetricName, string>>
  /** The metrics that are created without further options. */
  readonly created: ReadonlyArray<HttpMetricName>
  readonly units: ReadonlyArray<HttpDurationUnit>
  /** The bounds of the duration, in seconds. */
  readonly durationBuckets: ReadonlyArray<number>
  /** The labels of all metrics, by their names in options. */
  readonly arrival: Readonly<Record<string, HttpLabelOf<HttpArrival>>>
  /** The further labels of all metrics except `inProgress`. */
  readonly end: Readonly<Record<string, HttpLabelOf<HttpFacts>>>
  /** The facts that distinguish the series, the most frequent differences first. Called for each request. */
  readonly distinct: (facts: HttpFacts) => Array<string | number>
  readonly otherMethod: string
  readonly unmatched: string
}

const methodOf = ({ method }: HttpArrival): string => method
const schemeOf = ({ scheme }: HttpArrival): string => scheme
const routeOf = ({ route }: HttpFacts): string => route
const statusOf = ({ status }: HttpFacts): string => String(status)

// Responses with 4xx are no errors of the server. Only 499 is one: the client left before the response was complete.
const errorOf = ({ status }: HttpFacts): string => (status >= 499 ? String(status) : "")

/** The value of `route` in outcomes and exchanges. */
export const unmatched = "unmatched"

export const httpSchemes = {
  default: {
    metrics: (unit) => ({
      requests: "http_server_requests_total",
      duration: `http_server_request_duration_${unit}`,
      requestSize: "http_server_request_size_bytes",
      responseSize: "http_server_response_size_bytes",
      inProgress: "http_server_requests_in_progress"
    }),
    created: ["requests", "duration", "inProgress"],
    units: ["seconds", "milliseconds"],
    // Between 1 and 2.5, where limits of response times often are, an interpolated quantile needs one more bound.
    durationBuckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10],
    arrival: {
      method: { name: "method", value: methodOf }
    },
    end: {
      route: { name: "route", value: routeOf },
      status: { name: "status", value: statusOf }
    },
    distinct: ({ method, route, status }) => [route, method, status],
    otherMethod: "other",
    unmatched
  },
  /** OpenTelemetry's semantic conventions, as Prometheus translates their names. */
  otel: {
    metrics: () => ({
      // Not in the conventions, and not created: it is the count of the duration.
      requests: "http_server_requests_total",
      duration: "http_server_request_duration_seconds",
      requestSize: "http_server_request_body_size_bytes",
      responseSize: "http_server_response_body_size_bytes",
      inProgress: "http_server_active_requests"
    }),
    created: ["duration", "inProgress"],
    units: ["seconds"],
    // As the conventions advise.
    durationBuckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    arrival: {
      method: { name: "http_request_method", value: methodOf },
      scheme: { name: "url_scheme", value: schemeOf }
    },
    end: {
      route: { name: "http_route", value: routeOf },
      status: { name: "http_response_status_code", value: statusOf },
      error: { name: "error_type", value: errorOf }
    },
    distinct: ({ method, route, scheme, status }) => [route, method, status, scheme],
    otherMethod: "_OTHER",
    // An attribute that is absent. For Prometheus, a label with an empty value is absent as well.
    unmatched: ""
  }
} as const satisfies Readonly<Record<string, HttpScheme>>

type Default = (typeof httpSchemes)["default"]

/** The labels that can have other names. */
export type HttpLabel = keyof Default["arrival"] | keyof Default["end"]

/** A naming scheme with the caller's names for its metrics and labels. The labels are in the order of their declaration. */
export interface HttpNaming {
  readonly scheme: HttpScheme
  readonly metrics: Readonly<Record<HttpMetricName, string>>
  readonly arrival: ReadonlyArray<HttpLabelOf<HttpArrival>>
  readonly end: ReadonlyArray<HttpLabelOf<HttpFacts>>
}

/** `names` has the caller's names of metrics and labels. */
export const httpNaming = (
  scheme: HttpScheme,
  unit: HttpDurationUnit,
  names: Readonly<Record<string, string | undefined>> = {}
): HttpNaming => {
  const metrics = { ...scheme.metrics(unit) }
  for (const key of httpMetricNames) metrics[key] = names[key] ?? metrics[key]
  const named = <Facts>(labels: Readonly<Record<string, HttpLabelOf<Facts>>>) =>
    Object.entries(labels).map(([key, { name, value }]) => ({ name: names[key] ?? name, value }))
  return { scheme, metrics, arrival: named(scheme.arrival), end: named(scheme.end) }
}

/** The first of the metrics that are recorded. Errors that concern no certain metric are reported for it. */
export const firstFamily = ({ families, metrics }: Pick<HttpShape, "families" | "metrics">): Family =>
  families[httpMetricNames.find((name) => metrics[name] !== false) ?? "requests"]

/** The names of the labels, without additional ones. */
export const httpLabelNames = ({ arrival, end }: HttpNaming): ReadonlyArray<string> =>
  [...arrival, ...end].map(({ name }) => name)

export const labelsOf = <Facts>(labels: ReadonlyArray<HttpLabelOf<Facts>>, facts: Facts): Record<string, string> => {
  const values: Record<string, string> = {}
  for (const { name, value } of labels) values[name] = value(facts)
  return values
}

/** From 100 bytes to 100 megabytes, in bytes. */
const sizeBuckets: ReadonlyArray<number> = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]

/** `undefined`: created on the registry. */
export type HttpOwn = { readonly [K in HttpMetricName]?: object | false | undefined }

export interface HttpShape {
  readonly naming: HttpNaming
  readonly unit: HttpDurationUnit
  /** The caller's own metrics. `false` for a metric that is left out. */
  readonly metrics: HttpOwn
  /** The names of labels in addition to those of the naming. */
  readonly labelNames: ReadonlyArray<string>
  readonly families: Readonly<Record<HttpMetricName, Family>>
}

export interface HttpFamilyOptions extends Omit<HttpShape, "families" | "metrics"> {
  /** The buckets of the duration, in its unit. Default: those of the naming scheme. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Whether the metrics of requests and durations accept exemplars. Default: no. */
  readonly exemplars?: boolean | undefined
}

export const perSecond: Readonly<Record<HttpDurationUnit, number>> = { seconds: 1, milliseconds: 1e3 }

export const httpFamilies = (options: HttpFamilyOptions): HttpShape["families"] => {
  const { naming, unit } = options
  const { metrics: names, scheme } = naming
  const labelNames = [...httpLabelNames(naming), ...options.labelNames]
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
      buckets: options.buckets ?? scheme.durationBuckets.map((bound) => bound * perSecond[unit]),
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
      help: `HTTP requests in progress, by ${Object.keys(scheme.arrival).join(" and ")}.`,
      labelNames: naming.arrival.map(({ name }) => name)
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
  { families, metrics: own }: Pick<HttpShape, "families" | "metrics">,
  registry: { getSingleMetric(name: string): unknown },
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
