/**
 * The shortcut to the series of prom-client's metrics.
 *
 * The client keeps them in an object, `hashMap`. Its `get()` makes a list of them first, which takes longer than to
 * write them, and of a histogram an object for every bucket. The shortcut is taken only where it leads to the same: by
 * metrics whose `get` is that of the client's own classes, once metrics made for the purpose have shown that both ways
 * give the same. Whatever else there is (a newer client, a subclass, a metric with a `collect`) is read by `get()`.
 */
import type { Sample } from "./encoder.js"
import type { HistogramInfo, HistogramSeries } from "./histogram.js"

/** The classes of the client that an application uses. */
export interface Client {
  readonly Counter: new (config: Config) => Metric & { inc(labels: object, value: number): void }
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

/** A metric, as it is read. */
export interface Metric {
  get(): Promise<unknown>
  getForPromString?(): Promise<unknown>
  readonly collect?: unknown
}

interface Storing<Series> {
  readonly hashMap: Readonly<Record<string, Series>>
}

/** The metrics that may take the shortcut, by the methods that read them otherwise. */
export interface Shortcuts {
  readonly samples: ReadonlySet<unknown>
  readonly histograms: ReadonlySet<unknown>
}

/** Whether the samples of a metric can be read from where it keeps them. */
export const keepsSamples = <M extends Metric>(metric: M, { samples }: Shortcuts): metric is M & Storing<Sample> =>
  metric.collect === undefined && samples.has(metric.get)

/** Whether the series of a histogram can be read from where it keeps them. */
export const keepsHistogram = <M extends Metric>(
  metric: M,
  { histograms }: Shortcuts
): metric is M & HistogramInfo & Storing<HistogramSeries> =>
  metric.collect === undefined && histograms.has(metric.get) && histograms.has(metric.getForPromString)

/** What a metric keeps, in pieces. A series that goes before its piece is read is left out. */
export function* storedPieces<Series>({ hashMap }: Storing<Series>, size: number): Generator<ReadonlyArray<Series>> {
  // Object.values takes twice as long as to look up each of the keys.
  const keys = Object.keys(hashMap)
  for (let start = 0; start < keys.length; start += size) {
    const piece: Array<Series> = []
    const end = Math.min(start + size, keys.length)
    for (let at = start; at < end; at += 1) {
      const series = hashMap[keys[at] as string]
      if (series !== undefined) piece.push(series)
    }
    yield piece
  }
}

/** The shortcuts to the metrics of this client: none, if it keeps their series in another way. */
export const shortcutsOf = async ({ Counter, Gauge, Histogram }: Client): Promise<Shortcuts> => {
  const config = {
    name: "probe",
    help: "A metric that is never registered.",
    labelNames: ["a", "b"],
    registers: [] as []
  }
  const samples = new Set<unknown>()
  const histograms = new Set<unknown>()
  const counter = new Counter(config)
  const gauge = new Gauge(config)
  const histogram = new Histogram({ ...config, buckets: [0.5, 1, 10, Number.POSITIVE_INFINITY], enableExemplars: true })
  for (const value of [0.25, 1, 1.5, 100]) {
    const labels = { b: `${value % 1}`, a: "x" }
    counter.inc(labels, value)
    gauge.set(labels, value)
    histogram.observe({ labels, value, exemplarLabels: { trace_id: `${value}` } })
  }
  if (await givesWhatItKeeps(counter)) samples.add(counter.get)
  if (await givesWhatItKeeps(gauge)) samples.add(gauge.get)
  if (await givesItsBuckets(histogram)) histograms.add(histogram.get).add(histogram.getForPromString)
  return { samples, histograms }
}

// The same objects: then they are the same whatever becomes of them.
const givesWhatItKeeps = async (metric: Metric): Promise<boolean> => {
  const { hashMap } = metric as Metric & Partial<Storing<Sample>>
  if (typeof hashMap !== "object") return false
  const kept = Object.values(hashMap)
  const { values } = (await metric.get()) as { readonly values: ReadonlyArray<Sample> }
  return kept.length > 0 && kept.length === values.length && kept.every((sample, index) => sample === values[index])
}

const givesItsBuckets = async (metric: Metric): Promise<boolean> => {
  const { hashMap, name, upperBounds } = metric as Metric & HistogramInfo & Partial<Storing<HistogramSeries>>
  if (typeof hashMap !== "object" || metric.getForPromString === undefined) return false
  const { values } = (await metric.getForPromString()) as { readonly values: ReadonlyArray<Sample> }
  const kept = Object.values(hashMap).flatMap((series) => samplesOf(name, upperBounds, series))
  const isSame = (sample: Sample, index: number): boolean => {
    const given = values[index]
    return (
      sample.metricName === given?.metricName &&
      sample.labels?.["le"] === given?.labels?.["le"] &&
      sample.sharedLabels === given?.sharedLabels &&
      sample.value === given?.value &&
      (sample.exemplar ?? undefined) === (given?.exemplar ?? undefined)
    )
  }
  return kept.length > 0 && kept.length === values.length && kept.every(isSame)
}

// What `getForPromString` is expected to make of a series.
const samplesOf = (
  name: string,
  upperBounds: ReadonlyArray<number>,
  { bucketExemplars, bucketValues, count, labels: sharedLabels, sum }: HistogramSeries
): ReadonlyArray<Sample> => {
  let below = 0
  const buckets = upperBounds.map((bound) => {
    below += bucketValues[bound] as number
    return {
      metricName: `${name}_bucket`,
      labels: { le: bound },
      sharedLabels,
      value: below,
      exemplar: bucketExemplars?.[bound]
    }
  })
  return [
    ...buckets,
    {
      metricName: `${name}_bucket`,
      labels: { le: "+Inf" },
      sharedLabels,
      value: count,
      exemplar: bucketExemplars?.["-1"]
    },
    { metricName: `${name}_sum`, sharedLabels, value: sum },
    { metricName: `${name}_count`, sharedLabels, value: count }
  ]
}
