/**
 * Whether the shortcut to the series of a client leads to the same as its public face: metrics made for the purpose are
 * rendered in both ways. Until that is known, and where it does not, there is no shortcut.
 *
 * It is looked at when an endpoint is made, so that the first scrape neither waits for it nor meets code that has never
 * run; or else after the first exposition.
 */
import type { Sample } from "./encoder.js"
import type { StoredSeries } from "./histogram.js"
import type { SharingSample } from "./histogramSamples.js"
import type { Readable } from "./render.js"
import { renderAlone } from "./sharing.js"
import type { Metric, Shortcuts, Storing } from "./store.js"
import { noShortcuts } from "./store.js"
import { nextTurn } from "./timer.js"
import { textOf as decoded } from "./writer.js"

/** The classes of the client that an application uses. */
export interface Client {
  readonly Counter: new (config: Config) => Metric & { inc(data: object): void }
  readonly Gauge: new (config: Config) => Metric & { set(labels: object, value: number): void }
  readonly Histogram: new (config: Config) => Metric & { observe(data: object): void }
}

interface Config {
  readonly name: string
  readonly help: string
  readonly labelNames: Array<string>
  readonly registers: []
  readonly buckets?: Array<number>
  readonly enableExemplars?: boolean
}

let known = noShortcuts

let looking: Promise<void> | undefined

/** The shortcuts that are known to lead to the same. */
export const knownShortcuts = (): Shortcuts => known

/**
 * Looks for the shortcuts to the metrics of the client, once for all and not before the next turn of the event loop. A
 * client that cannot make a metric, or never answers for one, has none.
 */
export const lookForShortcuts = (client: Client): Promise<void> => {
  looking ??= nextTurn()
    .then(() => shortcutsOf(client))
    .then(
      (found) => {
        known = found
      },
      () => {}
    )
  return looking
}

const shortcutsOf = async ({ Counter, Gauge, Histogram }: Client): Promise<Shortcuts> => {
  const common = { help: "A metric that is never registered.", labelNames: ["a", "b"], registers: [] as [] }
  const counter = new Counter({ ...common, name: "probe_total", enableExemplars: true })
  const gauge = new Gauge({ ...common, name: "probe" })
  const buckets = [0.5, 1, 10, Number.POSITIVE_INFINITY]
  const histogram = new Histogram({ ...common, name: "probe", buckets, enableExemplars: true })
  const change = (value: number): void => {
    const labels = { b: `${value % 1}`, a: "x" }
    const exemplarLabels = { trace_id: `${value}` }
    counter.inc({ labels, value, exemplarLabels })
    gauge.set(labels, value)
    histogram.observe({ labels, value, exemplarLabels })
  }
  const samples = new Set<unknown>([counter.get, gauge.get])
  const histograms = new Set<unknown>([histogram.get, histogram.getForPromString])
  for (const values of [
    [0.25, 1],
    [1.5, 100]
  ]) {
    for (const value of values) change(value)
    for (const metric of [counter, gauge, histogram]) {
      await nextTurn()
      if (await leadsToTheSame(metric, { samples, histograms })) continue
      for (const found of [samples, histograms]) {
        found.delete(metric.get)
        found.delete(metric.getForPromString)
      }
    }
  }
  return { samples, histograms }
}

// First by the shortcut: to ask a metric might make it keep what it has not kept before.
const leadsToTheSame = async (metric: Metric, shortcuts: Shortcuts): Promise<boolean> => {
  const byShortcut = await textOf(metric, shortcuts)
  const asked = await textOf(metric, noShortcuts)
  return byShortcut !== undefined && byShortcut === asked && (await givesWhatItKeeps(metric))
}

const textOf = async (metric: Metric, shortcuts: Shortcuts): Promise<string | undefined> => {
  const registry: Readable = { getMetricsAsArray: () => [metric], getSingleMetric: () => undefined }
  const rendered = await renderAlone(registry, "openmetrics", { names: undefined }, { shortcuts, isServed: false })
  if (rendered === undefined || rendered.failures.length > 0) return undefined
  return decoded(await rendered.source.bytesOf(rendered.families, ""))
}

// The same objects, samples or at least labels: then they are the same whatever becomes of them.
const givesWhatItKeeps = async (metric: Metric): Promise<boolean> => {
  const kept = new Set<unknown>()
  const { hashMap } = metric as Metric & Storing<Sample | StoredSeries>
  for (const series of Object.values(hashMap)) kept.add(series).add(series.labels ?? series)
  const { values } = (await (metric.getForPromString?.() ?? metric.get())) as {
    readonly values: ReadonlyArray<SharingSample>
  }
  return values.every((sample) => kept.has(sample) || kept.has(sample.sharedLabels))
}
