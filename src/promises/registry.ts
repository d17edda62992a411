/** Where metrics are made and failures of theirs are counted, beside code that is no effect. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Reporter } from "../internal/plan.js"
import { warningFor } from "../internal/warnings.js"
import type { MetricRegistry } from "../Registry.js"
import { Registry, unsafeCountError } from "../Registry.js"

/**
 * What every combinator takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where failures of the metric itself are counted, in `effect_prometheus_errors_total{operation}`. Default:
   * prom-client's global registry.
   */
  readonly registry?: MetricRegistry | undefined
}

/** The registry of the options, or the one that is used by default. */
export const registryOf = ({ registry }: Options): MetricRegistry => registry ?? Context.get(Context.empty(), Registry)

/** Refuses what is no registry, which a program in JavaScript may give. */
export const checkRegistry = (options: Options | null): void => {
  const registry = options?.registry
  if (registry === undefined) return
  const methods = ["getMetricsAsArray", "getSingleMetric", "registerMetric"] as const
  const lacks = methods.find((method) => typeof registry?.[method] !== "function")
  if (lacks !== undefined) throw new RangeError(`registry must be a registry of prom-client, but it has no ${lacks}()`)
}

/** Runs `effect` on the registry of the options. What is no options at all is for the server to refuse. */
export const onRegistry = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: Options | null
): Effect.Effect<A, E, R> => {
  const registry = options?.registry
  return registry === undefined ? effect : Effect.provideService(effect, Registry, registry)
}

/** Tells of a metric that failed by a process warning, once, and counts each failure. */
export const reporting = (registry: MetricRegistry | undefined): Reporter => {
  const failed: Reporter["failed"] = (operation, metric, error) => {
    unsafeCountError(registryOf({ registry }), operation)
    const warning = warningFor(metric, operation, error)
    if (warning !== undefined) process.emitWarning(warning, "EffectPrometheusWarning")
  }
  return { failed, failsLater: (operation, metric) => (error) => failed(operation, metric, error) }
}
