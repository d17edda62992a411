/** What is read of the metrics in Effect's registry. Only Effect's types say that the values have these types. */
import type { Tag } from "./names.js"

export interface EffectMetric {
  readonly name: unknown
  /** Undefined if it is unknown. */
  readonly kind: "counter" | "frequency" | "gauge" | "histogram" | "summary" | undefined
  readonly tags: ReadonlyArray<Tag>
  readonly description: string | undefined
  /** A counter that never decreases. */
  readonly isIncremental: boolean
  /** Of a histogram. */
  readonly boundaries: ReadonlyArray<number>
  /** Why it cannot be read, as the end of a sentence. */
  readonly trouble: string | undefined
  readonly hook: Hook
}

export interface Hook {
  readonly get: () => State
}

/** Each kind has some of these. */
export interface State {
  /** Of a counter, or the number of observations. */
  readonly count?: number | bigint
  /** Of a gauge. */
  readonly value?: number | bigint
  readonly occurrences?: Iterable<readonly [occurrence: unknown, count: number]>
  /** Cumulative. */
  readonly buckets?: ReadonlyArray<readonly [bound: number, count: number]>
  readonly sum?: number
  /** Sorted. */
  readonly quantiles?: ReadonlyArray<readonly [quantile: number, value: number | undefined]>
}

/** A registry of Effect, by which those that expose it share what they compute. */
export interface EffectRegistry {
  readonly identity: object
  /** Whether metrics can be removed from it. */
  readonly canShrink: boolean
  readonly content: () => Content
  /** Throws if the metric has values that the types do not allow. */
  readonly metricOf: (entry: Entry) => EffectMetric
}

export interface Content {
  readonly entries: Iterable<Entry>
  readonly size: number
}

/** With the same key and the same value, it is the same metric. */
export type Entry = readonly [key: unknown, value: unknown]
