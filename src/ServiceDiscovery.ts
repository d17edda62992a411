/**
 * Registers metrics servers with a service discovery. The interface has one required operation: `register`. `ConsulAgent`
 * is one implementation; a custom one takes a few lines.
 *
 * @example
 * import { MetricsServer, ServiceDiscovery } from "effect-prometheus"
 * import { Effect, Layer } from "effect"
 * import { rm, writeFile } from "node:fs/promises"
 *
 * const file = "/etc/prometheus/targets/checkout.json"
 *
 * // Prometheus' file_sd_configs reads such files.
 * const FileDiscovery = ServiceDiscovery.layer({
 *   name: `file ${file}`,
 *   register: ({ address }) =>
 *     Effect.acquireRelease(
 *       Effect.tryPromise({
 *         try: () => writeFile(file, JSON.stringify([{ targets: [`${address.hostname}:${address.port}`] }])),
 *         catch: (cause) =>
 *           new ServiceDiscovery.ServiceDiscoveryError({ reason: "Unreachable", message: `cannot write ${file}`, cause })
 *       }),
 *       () => Effect.promise(() => rm(file, { force: true }))
 *     )
 * })
 *
 * export const Metrics = MetricsServer.layer({ host: "10.0.0.7", port: 9464 }).pipe(Layer.provide(FileDiscovery))
 *
 * @since 0.1.0
 * @module
 */

import * as Layer from "effect/Layer"
import { Tag } from "./compat/context.js"
import type { Discovery } from "./effect/serviceDiscovery.js"

export { type Discovery, type RunningServer, ServiceDiscoveryError } from "./effect/serviceDiscovery.js"

/**
 * The service discovery in context. It is optional: without one, a server is not registered.
 *
 * @since 0.1.0
 * @category tags
 */
export class ServiceDiscovery extends Tag("effect-prometheus/ServiceDiscovery")<ServiceDiscovery, Discovery>() {}

/**
 * Provides a custom service discovery. Provide this layer *to* the layer of the server (`Layer.provide`). If the two
 * layers are only merged, the server does not see the discovery. The log line of the server at its start says whether it
 * is registered.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (discovery: Discovery): Layer.Layer<ServiceDiscovery> => Layer.succeed(ServiceDiscovery, discovery)
