/** The options of metrics that are created on a registry. */

/**
 * Options of every metric.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricOptions<Names extends string> {
  /** The metric name: letters, digits, `_` and `:`. The first character is not a digit. */
  readonly name: string
  /**
   * Help text: what is measured, and in which unit. It may differ from the help of an existing metric, which keeps its
   * own.
   */
  readonly help: string
  /** The label names, in any order. Names that begin with `__` are reserved for Prometheus. Default: none. */
  readonly labelNames?: ReadonlyArray<Names> | undefined
  /**
   * All values of each label, if they are known. Every combination becomes a series at 0 from the start, and again after
   * `registry.resetMetrics()`. Other values can also be recorded. At most 1,000 combinations are allowed, or `maxSeries`
   * if that is given. For an existing summary, the series do not change.
   */
  readonly series?: ClosedSet<NoInfer<Names>> | undefined
  /**
   * The maximum number of series. Further label values are recorded on one additional series, whose labels all have the
   * value `overflow`, so the sum over all series stays correct. A gauge's `set` and a histogram's `zero` are skipped
   * instead, because they do not add up. Each such recording is counted in
   * `effect_prometheus_series_overflow_total{metric}`, and the first one of each metric is logged as a warning. `remove`
   * and `reset` free capacity. For a gauge, `remove` frees it only when `dec` has subtracted what `inc` added to the
   * `overflow` series, so that each `dec` finds its `inc`. Set a limit if a label value comes from outside. Default: any
   * number of series.
   */
  readonly maxSeries?: number | undefined
}

/**
 * The values of each label. For a metric without labels the type is `never`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClosedSet<Names extends string> = [Names] extends [never]
  ? never
  : { readonly [K in Names]: ReadonlyArray<string | number> }

/**
 * Options of a counter.
 *
 * @since 0.1.0
 * @category models
 */
export interface CounterOptions<Names extends string> extends MetricOptions<Names> {
  /** Whether `inc` takes one object, which may hold an exemplar. Such a counter can be on any registry. Default: no. */
  readonly enableExemplars?: boolean | undefined
}

/**
 * Options of a gauge.
 *
 * @since 0.1.0
 * @category models
 */
export interface GaugeOptions<Names extends string> extends MetricOptions<Names> {}

/**
 * Options of a histogram.
 *
 * @since 0.1.0
 * @category models
 */
export interface HistogramOptions<Names extends string> extends MetricOptions<Names> {
  /**
   * The upper bounds of the buckets, in increasing order. The bucket `+Inf` always exists. Default: those of the client,
   * 0.005 to 10.
   */
  readonly buckets?: ReadonlyArray<number> | undefined
  /**
   * Whether `observe` takes one object, which may hold an exemplar. Such a histogram can be on any registry. Default: no.
   */
  readonly enableExemplars?: boolean | undefined
}

/**
 * Options of a summary.
 *
 * @since 0.1.0
 * @category models
 */
export interface SummaryOptions<Names extends string> extends MetricOptions<Names> {
  /** The quantiles, from 0 to 1. Default: those of the client, 0.01 to 0.999. */
  readonly percentiles?: ReadonlyArray<number> | undefined
  /** How long an observation counts for the quantiles, in seconds. Default: for ever. */
  readonly maxAgeSeconds?: number | undefined
  /** The number of steps in which observations expire, if `maxAgeSeconds` is given. Default: 5. */
  readonly ageBuckets?: number | undefined
}
