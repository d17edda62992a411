/**
 * Checks, with metrics created for this purpose, that the direct read returns the same as a client's public methods.
 * Until the check has ended, and if the results differ, metrics are read by the public methods.
 * It runs when an endpoint is created, so that the first scrape neither waits for it nor runs code for the first time;
 * without an endpoint, after the first exposition.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16. The check depends on the same
 * internals as `metricReader.ts`. If a client cannot create a metric, or a metric never answers, nothing is read
 * directly.
 */
import type { RegistryReader, Sample } from "../exposition/model.js"
import { renderAlone } from "../exposition/singleFlight.js"
import { textOf as decoded } from "../exposition/writer.js"
import { nextTurn } from "../util/realTimers.js"
import type { ClientMetric, ClientSample, DirectReads, StoredSeries, Storing } from "./metricReader.js"
import { noDirectReads } from "./metricReader.js"
import { type CollectedMetric, type NewMetric, newMetric } from "./promClient.js"
import type { WithExemplars } from "./recording.js"
import { type ClientRegistry, readerOf } from "./registryReader.js"

let known = noDirectReads

let checking: Promise<void> | undefined

export const registryReader = (registry: ClientRegistry): RegistryReader => readerOf(registry, known)

/** Once per process, and not before the next turn of the event loop. */
export const checkDirectReads = (): Promise<void> => {
  checking ??= nextTurn()
    .then(() => directReadsOf())
    .then(
      (found) => {
        known = found
      },
      () => {}
    )
  return checking
}

// Enough series for the engine to compile the code of a render.
const probes = 64

type ProbeMetric = ClientMetric & NewMetric & WithExemplars & Pick<CollectedMetric, "set">

const directReadsOf = async (): Promise<DirectReads> => {
  const common = { help: "A metric that is never registered.", labelNames: ["a", "b"], enableExemplars: true }
  const counter = newMetric({ ...common, type: "counter", name: "probe_total" }) as ProbeMetric
  const gauge = newMetric({ ...common, type: "gauge", name: "probe" }) as ProbeMetric
  const buckets = [0.5, 1, 10, Number.POSITIVE_INFINITY]
  const histogram = newMetric({ ...common, type: "histogram", name: "probe", buckets }) as ProbeMetric
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
    [0.25, 1, ...Array.from({ length: probes }, (_, at) => at / probes)],
    [1.5, 100]
  ]) {
    for (const value of values) change(value)
    for (const metric of [counter, gauge, histogram]) {
      await nextTurn()
      if (await givesTheSame(metric, { samples, histograms })) continue
      for (const found of [samples, histograms]) {
        found.delete(metric.get)
        found.delete(metric.getForPromString)
      }
    }
  }
  return { samples, histograms }
}

// The direct read comes first: a public method might make the metric store what it has not stored before.
const givesTheSame = async (metric: ClientMetric, directReads: DirectReads): Promise<boolean> => {
  const direct = await textOf(metric, directReads)
  const asked = await textOf(metric, noDirectReads)
  return direct !== undefined && direct === asked && (await givesWhatItStores(metric))
}

const textOf = async (metric: ClientMetric, directReads: DirectReads): Promise<string | undefined> => {
  const registry: ClientRegistry = { getMetricsAsArray: () => [metric], getSingleMetric: () => undefined }
  const reader = readerOf(registry, directReads)
  const rendered = await renderAlone(reader, "openmetrics", { names: undefined }, { isServed: false })
  if (rendered === undefined || rendered.failures.length > 0) return undefined
  return decoded(await rendered.source.bytesOf(rendered.families, ""))
}

// If both ways return the same objects, samples or at least labels, they do so after each change as well.
const givesWhatItStores = async (metric: ClientMetric): Promise<boolean> => {
  const stored = new Set<unknown>()
  const { hashMap } = metric as ClientMetric & Storing<Sample | StoredSeries>
  for (const series of Object.values(hashMap)) stored.add(series).add(series.labels ?? series)
  const { values } = (await (metric.getForPromString?.() ?? metric.get())) as {
    readonly values: ReadonlyArray<ClientSample>
  }
  return values.every((sample) => stored.has(sample) || stored.has(sample.sharedLabels))
}
