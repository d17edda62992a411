/**
 * Reads one metric of a client: directly, from where the client stores its series, or by its public methods. `get()` of
 * prom-client first makes a list of the series, which takes longer than writing them, and for a histogram an object for
 * every bucket. The direct read is used only for metrics whose `get` is that of the client's own classes and that have
 * no `collect`, after `directReadCheck.ts` has shown that both ways return the same.
 *
 * Client internals: tested with prom-client 15.1 and @prometheus-io/client 0.16.
 * - `hashMap` of prom-client: the series of a metric by their labels, with `bucketValues` and `bucketExemplars` for a
 *   histogram. If it is missing or different, the check notices it, and metrics are read by the public methods.
 * - `getForPromString`, from which the clients render their histograms. It does not copy the labels for every bucket,
 *   but puts them in `sharedLabels`. A metric without it is read by `get()`.
 * - `upperBounds` of a histogram. Without them, a histogram is written as samples.
 */
import type { LabelValues } from "../exposition/labelText.js"
import type {
  CollectedFamily,
  Exemplar,
  FamilyHead,
  FamilyReader,
  FamilySnapshot,
  HistogramSeries,
  Layout,
  Sample
} from "../exposition/model.js"
import { NotSeriesShapedError, pieceSize } from "../exposition/model.js"
import { shown } from "../util/text.js"

export interface ClientMetric {
  get(): Promise<unknown>
  getForPromString?(): Promise<unknown>
  readonly collect?: unknown
}

/** Where the direct read finds the series. */
export interface Storing<Series> {
  readonly hashMap: Readonly<Record<string, Series>>
}

/** As prom-client stores it. */
export interface StoredSeries {
  /** Missing for a series without labels that was set to zero. */
  readonly labels?: LabelValues | undefined
  /** By the bound as text, not cumulative. */
  readonly bucketValues: Readonly<Record<string, number>>
  readonly sum: number
  readonly count: number
  /** The exemplar of a value above all bounds has the key -1. */
  readonly bucketExemplars?: Readonly<Record<string, Exemplar | null>> | undefined
}

export interface ClientSample extends Sample {
  /** Those that all samples of a series share, if the client does not copy them for each sample. */
  readonly sharedLabels?: LabelValues | undefined
}

/** The methods (`get`, `getForPromString`) whose metrics can be read directly instead. */
export interface DirectReads {
  readonly samples: ReadonlySet<unknown>
  readonly histograms: ReadonlySet<unknown>
}

export const noDirectReads: DirectReads = { samples: new Set(), histograms: new Set() }

const storesSamples = (metric: ClientMetric, { samples }: DirectReads): metric is ClientMetric & Storing<Sample> =>
  metric.collect === undefined && samples.has(metric.get) && metric.getForPromString === undefined

const storesHistogram = (
  metric: ClientMetric,
  { histograms }: DirectReads
): metric is ClientMetric & Storing<StoredSeries> & { readonly upperBounds: ReadonlyArray<number> } =>
  metric.collect === undefined && histograms.has(metric.get) && histograms.has(metric.getForPromString)

/** Not a class: when all objects of a class are gone, as after each render, the engine discards its compiled code. */
export const metricReader = (
  metric: ClientMetric,
  head: FamilyHead,
  mayTakeTime: boolean,
  directReads: DirectReads
): FamilyReader => ({
  name: head.name,
  help: head.help,
  type: head.type,
  identity: metric,
  mayTakeTime,
  read: (layout) => readDirectly(metric, head, layout, directReads),
  collect: () => collected(metric)
})

const readDirectly = (
  metric: ClientMetric,
  { help, name, type }: FamilyHead,
  layout: Layout,
  directReads: DirectReads
): FamilySnapshot | undefined => {
  if (storesSamples(metric, directReads)) return { name, help, type, samples: storedPieces(metric) }
  if (layout === "samples" || !storesHistogram(metric, directReads)) return undefined
  const upperBounds = withoutInfinity(metric.upperBounds)
  return { name, help, type, upperBounds, series: storedSeries(metric, upperBounds.map(String)) }
}

const collected = async (metric: ClientMetric): Promise<CollectedFamily> => {
  const answer = (await (metric.getForPromString === undefined ? metric.get() : metric.getForPromString())) as Given
  const given = metric.collect === undefined ? answer : copied(answer)
  return {
    type: () => given.type,
    read: ({ name, type }, layout) => {
      const { help, values } = given
      if (!Array.isArray(values)) throw new TypeError(`its get() must return an array of values, not ${shown(values)}`)
      const bounds = type === "histogram" && layout === "series" ? boundsOf(metric) : undefined
      if (bounds === undefined) return { name, help, type, samples: samplePieces(values) }
      return { name, help, type, upperBounds: withoutInfinity(bounds), series: seriesPieces(values, name, bounds) }
    }
  }
}

// A bucket with the bound Infinity is the bucket +Inf, which every histogram has.
const withoutInfinity = (upperBounds: ReadonlyArray<number>): ReadonlyArray<number> =>
  String(upperBounds.at(-1)) === "Infinity" ? upperBounds.slice(0, -1) : upperBounds

// A series that is removed before its piece is read is left out.
function* storedPieces<Series>({ hashMap }: Storing<Series>): Generator<ReadonlyArray<Series>> {
  // The keys cannot be read in parts. Object.values takes longer than Object.keys and a look-up of each key.
  const keys = Object.keys(hashMap)
  for (let start = 0; start < keys.length; start += pieceSize) {
    const piece: Array<Series> = []
    const end = Math.min(start + pieceSize, keys.length)
    for (let at = start; at < end; at += 1) {
      const series = hashMap[keys[at] as string]
      if (series !== undefined) piece.push(series)
    }
    yield piece
  }
}

function* storedSeries(
  metric: Storing<StoredSeries>,
  bounds: ReadonlyArray<string>
): Generator<ReadonlyArray<HistogramSeries>> {
  // A piece is written before the next one is read, so its buckets are used again.
  const buckets: Array<Array<number>> = []
  for (const piece of storedPieces(metric)) {
    yield piece.map((stored, at) => {
      buckets[at] ??= []
      return seriesOf(stored, bounds, buckets[at])
    })
  }
}

const seriesOf = (
  { bucketExemplars, bucketValues, count, labels, sum }: StoredSeries,
  bounds: ReadonlyArray<string>,
  buckets: Array<number>
): HistogramSeries => {
  let below = 0
  for (let at = 0; at < bounds.length; at += 1) {
    below += bucketValues[bounds[at] as string] as number
    buckets[at] = below
  }
  buckets[bounds.length] = count
  const exemplars = bucketExemplars && [
    ...bounds.map((bound) => bucketExemplars[bound]),
    bucketExemplars["-1"] ?? bucketExemplars["Infinity"]
  ]
  return { labels, buckets, sum, count, exemplars }
}

/** The result of `get()` or `getForPromString()`. */
interface Given extends Pick<FamilyHead, "help" | "type"> {
  readonly values: ReadonlyArray<ClientSample>
}

// Samples of a counter or a gauge are the client's own: the next collection could change them before they are written.
const copied = (given: Given): Given => {
  if (given.type !== "counter" && given.type !== "gauge") return given
  return { ...given, values: given.values.map((sample) => ({ ...sample })) }
}

const boundsOf = (metric: object): ReadonlyArray<number> | undefined => {
  const { upperBounds } = metric as { readonly upperBounds?: unknown }
  return Array.isArray(upperBounds) ? upperBounds : undefined
}

function* samplePieces(samples: ReadonlyArray<ClientSample>): Generator<ReadonlyArray<Sample>> {
  for (let start = 0; start < samples.length; start += pieceSize) {
    yield samples.slice(start, start + pieceSize).map(withAllLabels)
  }
}

const withAllLabels = (sample: ClientSample): Sample =>
  sample.sharedLabels === undefined ? sample : { ...sample, labels: { ...sample.labels, ...sample.sharedLabels } }

interface Line {
  readonly metricName: string
  /** Undefined for the sum and the count. */
  readonly bound: unknown
}

// Throws if the samples are not complete series with those bounds, one after the other.
function* seriesPieces(
  samples: ReadonlyArray<ClientSample>,
  name: string,
  upperBounds: ReadonlyArray<number>
): Generator<ReadonlyArray<HistogramSeries>> {
  const lines: ReadonlyArray<Line> = [
    ...[...upperBounds, "+Inf"].map((bound) => ({ metricName: `${name}_bucket`, bound })),
    { metricName: `${name}_sum`, bound: undefined },
    { metricName: `${name}_count`, bound: undefined }
  ]
  const finite = withoutInfinity(upperBounds).length
  let piece: Array<HistogramSeries> = []
  for (let at = 0; at < samples.length; at += lines.length) {
    piece.push(seriesAt(samples, at, lines, finite))
    if (piece.length < pieceSize) continue
    yield piece
    piece = []
  }
  yield piece
}

// `finite` buckets, the bucket with the bound Infinity if there is one, the bucket +Inf, the sum and the count.
const seriesAt = (
  samples: ReadonlyArray<ClientSample>,
  at: number,
  lines: ReadonlyArray<Line>,
  finite: number
): HistogramSeries => {
  const labels = samples[at]?.sharedLabels
  const values: Array<number> = []
  let exemplars: Array<ClientSample["exemplar"]> | undefined
  for (let line = 0; line < lines.length; line += 1) {
    const { bound, metricName } = lines[line] as Line
    const sample = samples[at + line]
    const isOfSeries = sample?.metricName === metricName && sample.sharedLabels === labels
    if (!isOfSeries || !isBound(sample.labels, bound) || typeof sample.value !== "number") {
      throw new NotSeriesShapedError()
    }
    values.push(sample.value)
    if (sample.exemplar) {
      exemplars ??= []
      exemplars[Math.min(line, finite)] = sample.exemplar
    }
  }
  const [sum, count] = values.splice(-2) as [number, number]
  if (values.at(-1) !== values[finite]) throw new NotSeriesShapedError()
  values.length = finite + 1
  return { labels, buckets: values, sum, count, exemplars }
}

// `le` is the only label and has that value; without a bound there are no labels.
const isBound = (labels: LabelValues | undefined, bound: unknown): boolean => {
  for (const name in labels) if (name !== "le" || bound === undefined) return false
  return labels?.["le"] === bound
}
