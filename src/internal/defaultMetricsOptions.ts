/** The options of the metrics of the process, checked. */
import type * as Duration from "effect/Duration"
import { ownLabelNames } from "./defaultMetricsDefinitions.js"
import { isFreeLabelName } from "./labelText.js"
import { durationOption, knownOptions, ownOptions, shown } from "./options.js"
import { generation } from "./processEvents.js"

/**
 * What the metrics of the process are called, and how they measure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** What comes before the name of each metric, such as `"checkout_"`. Default: nothing. */
  readonly prefix?: string | undefined
  /** Labels that each of the series gets. Default: none. */
  readonly labels?: { readonly [name: string]: string | number } | undefined
  /**
   * The upper bounds of the buckets of `nodejs_gc_duration_seconds`, in seconds, in increasing order and without the
   * infinite one. Default: 0.001, 0.01, 0.1, 1, 2, 5.
   */
  readonly gcDurationBuckets?: ReadonlyArray<number> | undefined
  /**
   * How often the delay of the event loop is measured, in whole milliseconds, of which there is at least one and at most a
   * minute. Default: 10 ms.
   */
  readonly eventLoopMonitoringPrecision?: Duration.DurationInput | undefined
}

/** The options, with their defaults. */
export interface Checked {
  readonly prefix: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly buckets: ReadonlyArray<number>
  /** In milliseconds. */
  readonly resolution: number
}

const known = { prefix: true, labels: true, gcDurationBuckets: true, eventLoopMonitoringPrecision: true } as const

const defaultBuckets = [0.001, 0.01, 0.1, 1, 2, 5]

/** Checks the options. It throws a `RangeError` that names the one which is none. */
export const checkedOptions = (options: Options): Checked => {
  knownOptions("options", options, known satisfies Record<keyof Options, true>)
  const { eventLoopMonitoringPrecision, gcDurationBuckets = defaultBuckets, labels, prefix = "" } = options
  if (typeof prefix !== "string" || !/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw new RangeError(`prefix must be the beginning of a metric's name, not ${shown(prefix)}`)
  }
  if (!areBounds(gcDurationBuckets)) {
    throw new RangeError(
      `gcDurationBuckets must be numbers of seconds in increasing order, not ${shown(gcDurationBuckets)}`
    )
  }
  const resolution = durationOption("eventLoopMonitoringPrecision", eventLoopMonitoringPrecision, "10 millis")
  if (!Number.isInteger(resolution) || resolution > generation) {
    throw new RangeError(
      `eventLoopMonitoringPrecision must be whole milliseconds, at most a minute, not ${shown(eventLoopMonitoringPrecision)}`
    )
  }
  return {
    prefix,
    labels: labels === undefined ? {} : checkedLabels(labels),
    buckets: [...gcDurationBuckets],
    resolution
  }
}

const areBounds = (given: unknown): given is ReadonlyArray<number> =>
  Array.isArray(given) &&
  given.length > 0 &&
  given.every((bound, at) => Number.isFinite(bound) && bound > 0 && (at === 0 || bound > given[at - 1]))

const checkedLabels = (given: unknown): Checked["labels"] => {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new RangeError(`labels must be an object with a value for each name, not ${shown(given)}`)
  }
  const labels: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(ownOptions(given) as Record<string, unknown>)) {
    if (value === undefined) continue
    if (!isFreeLabelName(name) || name === "le" || name === "quantile") {
      throw new RangeError(`labels.${name}: that is no name for a label`)
    }
    if (ownLabelNames.has(name)) throw new RangeError(`labels.${name}: a metric has a label of its own by that name`)
    if (typeof value !== "string" && typeof value !== "number") {
      throw new RangeError(`labels.${name} must be a text or a number, not ${shown(value)}`)
    }
    labels[name] = value
  }
  return labels
}
