/** Reads a registry, metric by metric, and encodes it. One metric that fails does not keep the others from being read. */
import type { Family } from "./encoder.js"
import { clashing, encode, someLabels } from "./encoder.js"
import type { Format } from "./negotiation.js"

/** What is asked of a registry here. */
export interface Readable {
  getMetricsAsArray(): ReadonlyArray<Named>
  getSingleMetric(name: string): unknown
}

interface Named {
  readonly name: string
  readonly type: unknown
}

/** What the thread is doing about a scrape. */
export type Progress = "busy" | "waiting"

/** Families in the order of the registry, and the metrics that could not be read. */
export interface Rendered {
  readonly families: ReadonlyArray<EncodedFamily>
  readonly failures: ReadonlyArray<Failure>
  /** How long this thread worked on it without giving way, about, in milliseconds. */
  readonly busyFor: number
  /** Counters that cannot be a counter in OpenMetrics, because a family has the name that would be theirs there. */
  readonly clashes: ReadonlyMap<string, string>
}

/** One family as text, under the name that it is registered by. */
export interface EncodedFamily {
  readonly name: string
  readonly text: string
}

/** A metric that could not be read, and what it threw. */
export interface Failure {
  readonly name: string
  readonly metric: object
  readonly error: unknown
}

/**
 * Renders the metrics with those `names`, or all of them. It rejects only if the registry itself cannot be read.
 * `onProgress` is told when this thread begins to work on it without giving way, and when it only waits for metrics that
 * are collected asynchronously.
 */
export const render = async (
  registry: Readable,
  { format, names }: { readonly format: Format; readonly names: ReadonlyArray<string> | undefined },
  onProgress: (progress: Progress) => void = () => {}
): Promise<Rendered> => {
  const registered = registry.getMetricsAsArray().map((metric) => ({
    metric,
    name: registeredName(registry, metric),
    type: metric.type
  }))
  const clashes = clashing(registered)
  const wanted = names === undefined ? undefined : new Set(names)
  const chosen = wanted === undefined ? registered : registered.filter(({ name }) => wanted.has(name))
  // Both clients keep them there, and offer no way to read them that does not read every metric as well.
  const defaults = someLabels((registry as { readonly _defaultLabels?: unknown })._defaultLabels)
  const families: Array<EncodedFamily> = []
  const failures: Array<Failure> = []
  onProgress("busy")
  const begun = performance.now()
  const reading = Promise.all(chosen.map(({ metric }) => settled(metric)))
  const started = performance.now()
  // What the clients read, they read at once; only a `collect` can still be waiting when the event loop goes on.
  const waiting = setImmediate(() => onProgress("waiting"))
  const read = await reading
  clearImmediate(waiting)
  onProgress("busy")
  const encoding = performance.now()
  chosen.forEach(({ metric, name }, index) => {
    const result = read[index] as PromiseSettledResult<Family>
    try {
      if (result.status === "rejected") throw result.reason
      families.push({ name, text: encode({ ...result.value, name }, format, defaults, clashes) })
    } catch (error) {
      failures.push({ name, metric, error })
    }
  })
  return { families, failures, clashes, busyFor: started - begun + (performance.now() - encoding) }
}

// When prom-client renders OpenMetrics itself, it takes `_total` off the counters for good. The registry still knows
// each of them by the name that it was given.
const registeredName = (registry: Readable, metric: Named): string => {
  if (metric.type !== "counter") return metric.name
  const name = `${metric.name}_total`
  return registry.getSingleMetric(name) === metric ? name : metric.name
}

const settled = async (metric: object): Promise<PromiseSettledResult<Family>> => {
  try {
    return { status: "fulfilled", value: await (metric as { get(): Promise<Family> }).get() }
  } catch (reason) {
    return { status: "rejected", reason }
  }
}
