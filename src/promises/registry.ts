/** The registry where promise code creates metrics and counts failures. */
import { defaultRegistry } from "../core/client/promClient.js"
import type { Reporter } from "../core/instrument/instruments.js"
import { warningFor } from "../core/instrument/metricFailures.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { countError } from "../core/registry/selfMetrics.js"

/**
 * Options of every combinator.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The registry on which failures of the metric itself are counted, in `effect_prometheus_errors_total{operation}`.
   * Default: prom-client's global registry.
   */
  readonly registry?: MetricRegistry | undefined
}

export const registryOf = ({ registry }: Options): MetricRegistry => registry ?? defaultRegistry

/** A JavaScript program can pass any value. */
export const checkRegistry = (options: Options | null): void => {
  const registry = options?.registry
  if (registry === undefined) return
  const methods = ["getMetricsAsArray", "getSingleMetric", "registerMetric"] as const
  const lacks = methods.find((method) => typeof registry?.[method] !== "function")
  if (lacks !== undefined) throw new RangeError(`registry must be a registry of prom-client, but it has no ${lacks}()`)
}

/** Counts each failure, and emits a process warning for the first one. */
export const reporting = (registry: MetricRegistry | undefined): Reporter => {
  const failed: Reporter["failed"] = (operation, metric, error) => {
    countError(registryOf({ registry }), operation)
    const warning = warningFor(metric, operation, error)
    if (warning !== undefined) process.emitWarning(warning, "EffectPrometheusWarning")
  }
  return { failed, failsLater: (operation, metric) => (error) => failed(operation, metric, error) }
}
