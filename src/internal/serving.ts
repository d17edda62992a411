/** How an exposition is served, whoever serves it. */
import type * as Duration from "effect/Duration"
import { booleanOption, choiceOption, countOption, durationOption, knownOptions } from "./options.js"

/**
 * What becomes of an exposition when a metric cannot be read.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorPolicy {
  /**
   * `"fail"` (default): there is no exposition, a scrape is answered with 500, and the metric is named. `"continue"`: the
   * metric is left out and the others are exposed. Either way it is counted in
   * `effect_prometheus_errors_total{operation="collect"}`, and logged as an error when it begins to fail.
   */
  readonly onError?: "fail" | "continue" | undefined
}

/**
 * How to serve the exposition.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServeOptions extends ErrorPolicy {
  /** Whether a body of 1 KiB or more is sent with gzip when the request accepts it. Default: `true`. */
  readonly compression?: boolean | undefined
  /**
   * How long a scrape may take; then it is answered with 503, and what it waited for is named. Where the request says how
   * long it waits itself (`X-Prometheus-Scrape-Timeout-Seconds`), that less half a second is the limit, if it is shorter;
   * of less than a second it is the half.
   *
   * With `onError: "continue"` metrics are waited for up to half a second less, or a tenth where that is shorter, and the
   * others are served. Work stops between two families only: a `collect` that blocks the thread delays everything in it.
   * A metric that has been given up on is not asked again until it has answered; it is logged and counted as a failure if
   * it had a second, or all of this time.
   *
   * Default: 30 seconds, for Prometheus waits 10 by default and says so, and nobody waits much longer.
   */
  readonly scrapeTimeout?: Duration.DurationInput | undefined
  /**
   * How many scrapes may be in flight, from when they arrive until their answer is ready; more are answered with 503 and
   * `Retry-After`. Default: 64, for some Prometheus servers and people ask at the same time, and more are a mistake.
   */
  readonly maxScrapesInFlight?: number | undefined
  /**
   * Whether the endpoint tells about itself, in metrics `effect_prometheus_*` on the registry that it serves: scrapes by
   * code, in flight, their duration and bytes, and errors by cause; a metrics server also whether it is registered, and
   * from a worker how old the numbers are. They are there from the start, at 0. What goes wrong with the metrics of the
   * application is counted in `effect_prometheus_errors_total` all the same. Default: `true`.
   */
  readonly selfMetrics?: boolean | undefined
}

/** The same with its defaults, times in milliseconds. */
export interface Serving {
  readonly onError: "fail" | "continue"
  readonly compression: boolean
  readonly scrapeTimeout: number
  readonly maxScrapesInFlight: number
  readonly selfMetrics: boolean
}

/** Everything that is known of an option: another key is none. */
export const knownServing = {
  onError: true,
  compression: true,
  scrapeTimeout: true,
  maxScrapesInFlight: true,
  selfMetrics: true
} as const satisfies Record<keyof ServeOptions, true>

/** Checks the options. It throws a `RangeError` that names the one which is none. */
export const checkedServing = (options: ServeOptions): Serving => ({
  onError: choiceOption("onError", options.onError, ["fail", "continue"], "fail"),
  compression: booleanOption("compression", options.compression, true),
  scrapeTimeout: durationOption("scrapeTimeout", options.scrapeTimeout, "30 seconds"),
  maxScrapesInFlight: countOption("maxScrapesInFlight", options.maxScrapesInFlight, 64),
  selfMetrics: booleanOption("selfMetrics", options.selfMetrics, true)
})

/**
 * The same where there are no others: whoever gives `authentication` to a handler, which knows nothing of it, must not
 * believe that it is looked at.
 */
export const onlyServing = (options: ServeOptions): Serving => {
  knownOptions("options", options, knownServing)
  return checkedServing(options)
}
