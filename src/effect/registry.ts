/** The registry in context. Every public module reads it. */
import * as Context from "effect/Context"
import { defaultRegistry } from "../core/client/promClient.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"

/**
 * The registry in context. Default: prom-client's global `register`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Registry extends Context.Reference<Registry>()("effect-prometheus/Registry", {
  defaultValue: (): MetricRegistry => defaultRegistry
}) {}
