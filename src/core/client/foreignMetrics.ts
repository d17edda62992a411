/**
 * Notices measured metrics whose registry is of another copy of a client, and is not served: they are missing in the
 * exposition of the global registry. This happens if a bundler includes the client and leaves this library out.
 *
 * Client internals: the property `registers` of a metric (prom-client 15.1, @prometheus-io/client 0.16). Without it, nothing
 * is noticed.
 */
import { oncePerProcess } from "../util/oncePerProcess.js"
import { defaultRegistry } from "./promClient.js"

interface Foreign {
  readonly name: string
  readonly registry: WeakRef<object>
}

let foreign: Foreign | undefined
const served = oncePerProcess("served registries", () => new WeakSet<object>())

/** Called for each metric that is measured. */
export const noticeMetric = (metric: object): void => {
  if (foreign !== undefined) return
  try {
    const { name, registers } = metric as { readonly name?: unknown; readonly registers?: ReadonlyArray<object> }
    const registry = Array.isArray(registers) ? registers[0] : undefined
    if (typeof name !== "string" || registry === undefined) return
    const isOwn = Object.prototype.isPrototypeOf.call(Object.getPrototypeOf(defaultRegistry), registry)
    if (!isOwn && /Registry$/.test(registry.constructor.name)) foreign = { name, registry: new WeakRef(registry) }
  } catch {
    // A metric can be any object.
  }
}

/** Called for each registry that is served. */
export const noticeServed = (registry: object): void => {
  served.add(registry)
}

let isReported = false

/** A sentence, once, for a scrape of the global registry. */
export const foreignNotice = (registry: object): string | undefined => {
  if (foreign === undefined || isReported || registry !== defaultRegistry) return undefined
  const other = foreign.registry.deref()
  if (other === undefined || served.has(other)) return undefined
  isReported = true
  return (
    `the metric ${foreign.name} is missing in this exposition: it was created with another copy of prom-client, or with ` +
    "@prometheus-io/client, whose registry is not served. Install only one, or pass that registry to the server (the " +
    'option registry, or Registry.layer); see "Two copies" in node_modules/effect-prometheus/docs/troubleshooting.md'
  )
}
