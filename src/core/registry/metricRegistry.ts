/**
 * The methods of a registry that the library calls. A `Registry` of prom-client 15 and of `@prometheus-io/client` fits,
 * whichever content type it was made for.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricRegistry {
  /** The metrics themselves, in the order of the exposition; each has a `get()`. */
  getMetricsAsArray(): ReadonlyArray<{ readonly name: string; readonly help: string; readonly type: unknown }>
  /** Adds a metric that the library creates. */
  registerMetric(metric: never): void
  /** The metric with that name, or `undefined`. */
  getSingleMetric(name: string): unknown
  /**
   * Removes the metric with that name. Both clients have this method; a registry without it keeps a metric after its
   * scope has closed.
   */
  removeSingleMetric?(name: string): void
}
