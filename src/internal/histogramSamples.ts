/** The samples of a histogram as the clients hand them out, put together to series, or as they are written one by one. */
import type { Sample } from "./encoder.js"
import type { HistogramInfo } from "./histogram.js"
import { IrregularError } from "./histogram.js"
import type { LabelValues } from "./labelText.js"

/** A sample as the clients hand it out where they make no copy of the labels for each of them. */
export interface SharingSample extends Sample {
  /** Those that all samples of a series share. */
  readonly sharedLabels?: LabelValues | undefined
}

/** A series as a client tells of it: its buckets, the one up to infinity, the sum and the count. */
export interface SampledSeries {
  readonly labels: LabelValues | undefined
  readonly samples: ReadonlyArray<SharingSample>
  /** Where its samples begin among those. */
  readonly first: number
}

/** The series that these samples are of, in pieces. It throws where they are no series with those bounds. */
export function* seriesOf(
  samples: ReadonlyArray<SharingSample>,
  { name, upperBounds }: HistogramInfo,
  size: number
): Generator<ReadonlyArray<SampledSeries>> {
  const lines = [
    ...[...upperBounds, "+Inf"].map((bound) => ({ metricName: `${name}_bucket`, bound })),
    { metricName: `${name}_sum`, bound: undefined },
    { metricName: `${name}_count`, bound: undefined }
  ]
  let piece: Array<SampledSeries> = []
  for (let at = 0; at < samples.length; ) {
    const labels = samples[at]?.sharedLabels
    piece.push({ labels, samples, first: at })
    for (const { bound, metricName } of lines) {
      const sample = samples[at]
      const isOfSeries = sample?.metricName === metricName && sample.sharedLabels === labels
      if (!isOfSeries || !isBound(sample.labels, bound) || typeof sample.value !== "number") {
        throw new IrregularError()
      }
      at += 1
    }
    if (piece.length < size) continue
    yield piece
    piece = []
  }
  yield piece
}

// Whether the bound is the only label, and where there is none, whether there are no labels.
const isBound = (labels: LabelValues | undefined, bound: unknown): boolean => {
  for (const name in labels) if (name !== "le" || bound === undefined) return false
  return labels?.["le"] === bound
}

/** A sample with all of its labels, as it would be if none were shared. */
export const withOwnLabels = (sample: SharingSample): Sample =>
  sample.sharedLabels === undefined ? sample : { ...sample, labels: { ...sample.labels, ...sample.sharedLabels } }
