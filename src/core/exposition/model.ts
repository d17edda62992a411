/** The model between metrics and formats: sources provide `FamilyReader`s; encoders use only their snapshots. */

import { oncePerProcess } from "../util/oncePerProcess.js"
import type { LabelValues } from "./labelText.js"

export interface FamilyHead {
  readonly name: string
  readonly help: string
  /** Any value but the four Prometheus types is written as unknown (`untyped` in the text format). */
  readonly type: unknown
}

export interface SeriesLabels {
  /** Default: the name of the family. */
  readonly metricName?: string | undefined
  readonly labels?: LabelValues | undefined
}

export interface Sample extends SeriesLabels {
  readonly value: number
  readonly exemplar?: Exemplar | null | undefined
}

/** As the clients store it. The timestamp is in seconds. */
export interface Exemplar {
  readonly labelSet: LabelValues
  /** The clients set it to null if they rejected the labels. */
  readonly value: number | null
  readonly timestamp?: number | undefined
}

export interface HistogramSeries {
  /** Without `le`. */
  readonly labels: LabelValues | undefined
  /** Cumulative, in the order of the upper bounds; the bucket `+Inf` is last. */
  readonly buckets: ReadonlyArray<number>
  readonly sum: number
  readonly count: number
  /** In the same order. */
  readonly exemplars?: ReadonlyArray<Exemplar | null | undefined> | undefined
}

/** A render can yield to the event loop after each piece. A piece is valid until the next one is read. */
export type Pieces<A> = Iterable<ReadonlyArray<A>>

export const pieceSize = 256

export interface SampleSnapshot extends FamilyHead {
  readonly samples: Pieces<Sample>
}

/** All series have the same buckets. */
export interface HistogramSnapshot extends FamilyHead {
  /** Increasing, without `+Inf`. */
  readonly upperBounds: ReadonlyArray<number>
  readonly series: Pieces<HistogramSeries>
}

export type FamilySnapshot = SampleSnapshot | HistogramSnapshot

/**
 * Histograms are read as series where possible, which is faster; as samples if their series do not fit the template
 * (see `NotSeriesShapedError`). All other families are read as samples in both cases.
 */
export type Layout = "series" | "samples"

export interface FamilyReader extends FamilyHead {
  /** The same object for each exposition. It is the key of cached texts and shared collections. */
  readonly identity: object
  /** Undefined if the values must be collected first. Throws what the metric throws. */
  read(layout: Layout): FamilySnapshot | undefined
  /** For a metric that may need time. */
  readonly collect?: (() => Promise<CollectedFamily>) | undefined
  /** If so, collecting starts before any family is written. */
  readonly mayTakeTime?: boolean | undefined
}

export interface CollectedFamily {
  /** Throws if the metric returned nothing that has a type. */
  type(): unknown
  /** Throws if they are not the values of a metric. */
  read(family: Pick<FamilyHead, "name" | "type">, layout: Layout): FamilySnapshot
}

export interface UnreadableMetric {
  /** If the name is unknown, its position on the registry, in words. */
  readonly name: string
  readonly error: unknown
}

export interface RegistryContents {
  readonly families: ReadonlyArray<FamilyReader>
  readonly unreadable: ReadonlyArray<UnreadableMetric>
  /** Not yet checked. */
  readonly defaultLabels: unknown
}

export interface RegistryReader {
  /** The key of everything that belongs to it, such as shared renders and buffers. */
  readonly registry: object
  /** Throws if the registry does not provide its content. */
  read(): Generator<void, RegistryContents>
}

/** The histogram is written as samples instead. */
export const NotSeriesShapedError = oncePerProcess("NotSeriesShapedError", () => class extends Error {})
