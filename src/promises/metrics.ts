/** Metrics that are created once, however often the code that needs them runs. */
import type { Counter, Gauge, Histogram, Summary } from "../core/client/clientTypes.js"
import { declare } from "../core/registry/declare.js"
import type { Family } from "../core/registry/metricDefinition.js"
import type {
  CounterOptions,
  GaugeOptions,
  HistogramOptions,
  MetricOptions,
  SummaryOptions
} from "../core/registry/metricOptions.js"
import { without } from "../core/util/options.js"
import { checkRegistry, type Options, registryOf } from "./registry.js"

/**
 * Returns the counter of that name on the registry, or creates it: for code that runs again after a hot reload, in a
 * test, or in a second bundle.
 *
 * Throws a `RangeError` that names an unknown or invalid option. Throws an error if the registry has a different metric of
 * that name: one of another type, with other label names (their order does not matter), or one that differs in an option
 * that is given. Also throws if another metric has samples of the same name.
 *
 * @example
 * import { counter } from "effect-prometheus/Promises"
 *
 * export const payments = counter({ name: "payments_total", help: "Payments, by outcome.", labelNames: ["outcome"] })
 *
 * @since 0.1.0
 * @category constructors
 */
export const counter = <const Names extends string = never>(options: CounterOptions<Names> & Options): Counter<Names> =>
  onRegistry("counter", options) as Counter<Names>

/**
 * Returns the gauge of that name on the registry, or creates it, as `counter` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const gauge = <const Names extends string = never>(options: GaugeOptions<Names> & Options): Gauge<Names> =>
  onRegistry("gauge", options) as Gauge<Names>

/**
 * Returns the histogram of that name on the registry, or creates it, as `counter` does. The label `le` is reserved.
 *
 * @since 0.1.0
 * @category constructors
 */
export const histogram = <const Names extends string = never>(
  options: HistogramOptions<Names> & Options
): Histogram<Names> => onRegistry("histogram", options) as Histogram<Names>

/**
 * Returns the summary of that name on the registry, or creates it, as `counter` does. The label `quantile` is reserved.
 *
 * @since 0.1.0
 * @category constructors
 */
export const summary = <const Names extends string = never>(options: SummaryOptions<Names> & Options): Summary<Names> =>
  onRegistry("summary", options) as Summary<Names>

const onRegistry = (type: Family["type"], options: MetricOptions<string> & Options): object => {
  checkRegistry(options)
  const warn = (message: string): void => process.emitWarning(message, "EffectPrometheusWarning")
  return declare(registryOf(options ?? {}), type, without(options, "registry"), warn)
}
