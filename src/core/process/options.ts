import { isFreeLabelName } from "../exposition/labelText.js"
import { isMetricName } from "../exposition/nameConflicts.js"
import {
  bounds,
  duration,
  type Given,
  kind,
  type Read,
  readOptions,
  refined,
  valid,
  withDefault
} from "../util/options.js"
import { shown } from "../util/text.js"
import { ownLabelNames } from "./definitions.js"
import { generation } from "./events.js"

type LabelValues = { readonly [name: string]: string | number }

const prefix = valid<string>(
  "string",
  "be a valid start of a metric name",
  (given) => given === "" || isMetricName(given)
)

const labels = kind<LabelValues, LabelValues>((given, option) => {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new RangeError(`${option} must be an object with a value for each label, not ${shown(given)}`)
  }
  const checked: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (!isFreeLabelName(name) || name === "le" || name === "quantile") {
      throw new RangeError(`${option}.${name}: this label name is invalid or reserved`)
    }
    if (ownLabelNames.has(name))
      throw new RangeError(`${option}.${name}: a process metric already has a label with this name`)
    if (typeof value !== "string" && typeof value !== "number") {
      throw new RangeError(`${option}.${name} must be a string or a number, not ${shown(value)}`)
    }
    checked[name] = value
  }
  return checked
}, "strings by name")

const precision = refined(duration, (milliseconds, name) => {
  if (Number.isInteger(milliseconds) && milliseconds <= generation) return milliseconds
  throw new RangeError(`${name} must be a whole number of milliseconds, at most one minute, not ${milliseconds}`)
})

export const processOptions = {
  /** The prefix of each name, such as `"checkout_"`. Default: none. */
  prefix: withDefault(prefix, ""),
  /** Labels that are added to each series. Default: none. */
  labels: withDefault(labels, {}),
  /**
   * The upper bounds of the buckets of `nodejs_gc_duration_seconds`. They are in seconds, in increasing order, without
   * `+Inf`. Default: 0.001, 0.01, 0.1, 1, 2, 5.
   */
  gcDurationBuckets: withDefault(bounds("seconds"), [0.001, 0.01, 0.1, 1, 2, 5]),
  /**
   * How often the delay of the event loop is measured, in whole milliseconds, at most a minute. Default: 10 milliseconds.
   */
  eventLoopMonitoringPrecision: withDefault(precision, "10 millis")
}

/**
 * The names of the process metrics, and how they are measured.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Given<typeof processOptions> {}

/** The precision is in milliseconds. */
export type ProcessSettings = Read<typeof processOptions>

/** Throws a `RangeError` that names the option. */
export const readProcessOptions = (options: Options): ProcessSettings => readOptions(processOptions, options)
