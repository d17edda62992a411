/** The registry in context. Every public module reads it. */
import * as Context from "effect/Context"
import { defaultRegistry } from "../../core/client/promClient.js"
import type { MetricRegistry } from "../../core/registry/metricRegistry.js"

/**
 * The registry in context. Default: the global `register` of the client.
 *
 * @since 0.1.0
 * @category tags
 */
export const Registry: Context.Reference<MetricRegistry> = Context.Reference("effect-prometheus/Registry", {
  defaultValue: (): MetricRegistry => defaultRegistry
})

/** What a layer that provides the registry provides: nothing, as for every reference. */
export type Registry = never
