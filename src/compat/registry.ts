/** The registry in context. Every public module reads it. */
import * as Context from "effect/Context"
import { defaultRegistry, registryPosition } from "../core/client/promClient.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"

// Effect keeps the default of a reference on the global object, by its key. A copy of this library with another copy of
// the client needs its own default.
const key = registryPosition === 1 ? "effect-prometheus/Registry" : `effect-prometheus/Registry/${registryPosition}`

/**
 * The registry in context. Default: the global `register` of the client.
 *
 * @since 0.1.0
 * @category tags
 */
export class Registry extends Context.Reference<Registry>()(key as "effect-prometheus/Registry", {
  defaultValue: (): MetricRegistry => defaultRegistry
}) {}
