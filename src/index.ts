/**
 * Exports one namespace per module. Each module can also be imported alone:
 * `import * as Metrics from "effect-prometheus/Metrics"`.
 *
 * @since 0.1.0
 * @module
 */

export * as ConsulAgent from "./ConsulAgent.js"
export * as DefaultMetrics from "./DefaultMetrics.js"
export * as EffectMetrics from "./EffectMetrics.js"
export * as Exposition from "./Exposition.js"
export * as HttpMetrics from "./HttpMetrics.js"
export * as Metrics from "./Metrics.js"
export * as MetricsServer from "./MetricsServer.js"
export * as Promises from "./Promises.js"
export * as Registry from "./Registry.js"
export * as ServiceDiscovery from "./ServiceDiscovery.js"
export * as StreamMetrics from "./StreamMetrics.js"
