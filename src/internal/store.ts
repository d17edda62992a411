/**
 * The shortcut to the series of prom-client's metrics.
 *
 * The client keeps them in an object, `hashMap`. Its `get()` makes a list of them first, which takes longer than to
 * write them, and of a histogram an object for every bucket. The shortcut is taken only where it leads to the same: by
 * metrics whose `get` is that of the client's own classes, once `shortcuts.ts` has shown that both ways give the same.
 * Whatever else there is (another client, a class that reads otherwise, a metric with a `collect`) is asked.
 */
import type { Sample } from "./encoder.js"
import type { HistogramInfo, StoredSeries } from "./histogram.js"

/** A metric, as it is read. */
export interface Metric {
  get(): Promise<unknown>
  getForPromString?(): Promise<unknown>
  readonly collect?: unknown
}

/** Keeps its series where the shortcut leads. */
export interface Storing<Series> {
  readonly hashMap: Readonly<Record<string, Series>>
}

/** The metrics that may take the shortcut, by the methods that read them otherwise. */
export interface Shortcuts {
  readonly samples: ReadonlySet<unknown>
  readonly histograms: ReadonlySet<unknown>
}

/** No metric takes the shortcut. */
export const noShortcuts: Shortcuts = { samples: new Set(), histograms: new Set() }

/** Whether the samples of a metric can be read from where it keeps them. */
export const keepsSamples = <M extends Metric>(metric: M, { samples }: Shortcuts): metric is M & Storing<Sample> =>
  metric.collect === undefined && samples.has(metric.get) && metric.getForPromString === undefined

/** Whether the series of a histogram can be read from where it keeps them. */
export const keepsHistogram = <M extends Metric>(
  metric: M,
  { histograms }: Shortcuts
): metric is M & HistogramInfo & Storing<StoredSeries> =>
  metric.collect === undefined && histograms.has(metric.get) && histograms.has(metric.getForPromString)

/** What a metric keeps, in pieces. A series that goes before its piece is read is left out. */
export function* storedPieces<Series>({ hashMap }: Storing<Series>, size: number): Generator<ReadonlyArray<Series>> {
  // The keys cannot be read in parts. Object.values takes longer than this and a look-up of each key.
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
