/** How an exposition is served: in an application's own server, by the metrics server, and from its worker thread. */
import type { Given, Read } from "../util/options.js"
import {
  choice,
  count,
  duration,
  flag,
  isListOf,
  optional,
  readOptions,
  text,
  valid,
  withDefault
} from "../util/options.js"

const whenUnreadable = choice("fail", "continue")

export const errorPolicy = {
  /**
   * What happens when a metric cannot be read: with `"continue"` the exposition has the other metrics, and the next one
   * names the missing metric in `effect_prometheus_collect_failed{metric}`; with `"fail"` a scrape gets 500, or 503 if the
   * metric is late, with the name of the metric. Either way the failure is counted in
   * `effect_prometheus_errors_total{operation="collect"}`, and logged as an error when it begins. With `"continue"` an alert
   * rule about the missing metric never fires, so alert on `effect_prometheus_collect_failed` as well. Default:
   * `"continue"`.
   */
  onError: withDefault(whenUnreadable, "continue")
}

export const handlerOptions = {
  ...errorPolicy,
  /** Whether bodies of 1 KiB or more are sent with gzip when the request accepts it. Default: `true`. */
  compression: withDefault(flag, true),
  /**
   * The timeout of a scrape, unless Prometheus sends a shorter one. The timeout that Prometheus sends
   * (`X-Prometheus-Scrape-Timeout-Seconds`) is reduced by half a second, or by half if it is shorter than a second.
   *
   * A scrape stops waiting for metrics half a second before its timeout (a tenth of the time, if that is less), and gets
   * the other metrics. With `onError: "fail"` it waits for the whole time, and gets 503 with the names of the metrics that
   * have not responded. A scrape can stop between two families only: a `collect` that blocks the thread delays everything
   * in it. A metric that was too late is not collected again until it has responded. It is logged, counted and named as a
   * failure if the scrape waited at least one second for it, or for its whole timeout.
   *
   * Default: 30 seconds, for clients that send no timeout. Prometheus waits 10 seconds by default, and sends that.
   */
  scrapeTimeout: withDefault(duration, "30 seconds"),
  /**
   * How many scrapes may be in flight; further ones get 503 and `Retry-After`. A scrape is in flight from its arrival until
   * its response is ready. Default: 64, enough for several Prometheus servers and people at the same time.
   */
  maxScrapesInFlight: withDefault(count, 64),
  /**
   * Whether the endpoint has metrics of its own. They are `effect_prometheus_*` on the registry that it serves: scrapes by
   * code and in flight, their duration and bytes, errors by cause, and metrics that cannot be read. A metrics server with
   * a service discovery also records whether it is registered, one with TLS when its certificate expires, and a worker the
   * age of the exposition. Counters start at 0. Failures of the application's metrics are counted in
   * `effect_prometheus_errors_total` in any case. Default: `true`.
   */
  selfMetrics: withDefault(flag, true)
}

const routerPath = valid<`/${string}`>(
  "string",
  "be a path that begins with /",
  (given) => typeof given === "string" && given.startsWith("/")
)

export const mountOptions = {
  /** The path of the metrics in the router. Default: `/metrics`. */
  path: withDefault(routerPath, "/metrics"),
  ...handlerOptions
}

const familyNames = valid<ReadonlyArray<string>>("strings", "be an array of strings", (given) =>
  isListOf(given, (name) => typeof name === "string")
)

export const renderOptions = {
  /** What happens when a metric cannot be read: `"fail"`, or `"continue"` without it. Default: `"fail"`. */
  onError: withDefault(whenUnreadable, "fail"),
  /** An `Accept` header. The format is OpenMetrics 1.0.0 if the header prefers it, and text 0.0.4 in every other case. */
  accept: optional(text),
  /** The families to render, by their registered names. Default: all. */
  names: optional(familyNames)
}

/**
 * What happens when a metric cannot be read.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorPolicy extends Given<typeof errorPolicy> {}

/**
 * How to serve the exposition.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServeOptions extends Given<typeof handlerOptions> {}

/** Times in milliseconds. */
export type HandlerSettings = Read<typeof handlerOptions>

/** Throws a `RangeError` that names an option that is unknown or wrong. */
export const readHandlerOptions = (options: ServeOptions): HandlerSettings => readOptions(handlerOptions, options)
