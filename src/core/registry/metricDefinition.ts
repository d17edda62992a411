/** The definition of a metric: whether it is valid, its initial series, and whether the registered metric matches. */
import type { MetricConfiguration } from "../client/promClient.js"
import { isFreeLabelName, type LabelTexts } from "../exposition/labelText.js"
import { isMetricName } from "../exposition/nameConflicts.js"
import { count, flag } from "../util/options.js"
import { messageOf, shown } from "../util/text.js"

/** For an undefined property, a new metric gets the client's default, and an existing one may have any value. */
export interface Family extends MetricConfiguration {
  /** The maximum number of series, without the overflow series. Default: any number. */
  readonly maxSeries?: number | undefined
  /** The values of each label. The series of all their combinations exist from the start. */
  readonly series?: Readonly<Record<string, ReadonlyArray<string | number>>> | undefined
}

/** The registry has another metric with that name. */
export class ClashError extends Error {
  override readonly name = "ClashError"
}

/** Throws a `RangeError` that says what is wrong. */
export const checkFamily = ({
  ageBuckets,
  enableExemplars,
  help,
  labelNames,
  maxAgeSeconds,
  ...rest
}: Family): void => {
  const { buckets, maxSeries, name, percentiles, type } = rest
  if (!isMetricName(name)) {
    throw new RangeError(
      `name must consist of letters, digits, _ and :, and not start with a digit: ${shown(name)} is invalid`
    )
  }
  if (typeof help !== "string" || help === "") throw new RangeError(`help must be a non-empty string`)
  checkLabelNames(labelNames, type)
  if (buckets !== undefined) checkBuckets(buckets)
  if (percentiles !== undefined) checkPercentiles(percentiles)
  if (enableExemplars !== undefined) flag.check(enableExemplars, "enableExemplars")
  if (maxSeries !== undefined) count.check(maxSeries, "maxSeries")
  if (ageBuckets !== undefined) {
    if (!Number.isFinite(count.check(ageBuckets, "ageBuckets"))) throw new RangeError("ageBuckets must be finite")
    if (maxAgeSeconds === undefined) throw new RangeError("ageBuckets requires maxAgeSeconds")
  }
  if (maxAgeSeconds !== undefined && !(Number.isFinite(maxAgeSeconds) && maxAgeSeconds > 0)) {
    throw new RangeError(`maxAgeSeconds must be a number of seconds above 0, not ${shown(maxAgeSeconds)}`)
  }
}

const checkLabelNames = (labelNames: unknown, type: Family["type"]): void => {
  if (!Array.isArray(labelNames)) throw new RangeError("labelNames must be an array of strings")
  for (const name of labelNames) {
    if (!isFreeLabelName(name)) {
      const isReserved = typeof name === "string" && name.startsWith("__")
      if (isReserved)
        throw new RangeError(`labelNames must not start with __, which Prometheus reserves: ${name} is invalid`)
      throw new RangeError(
        `labelNames must consist of letters, digits and _, and not start with a digit: ${shown(name)} is invalid`
      )
    }
    if (name === reserved[type])
      throw new RangeError(`labelNames must not contain ${name}: a ${type} adds this label itself`)
  }
  const twice = labelNames.find((name, at) => labelNames.indexOf(name) !== at)
  if (twice !== undefined) throw new RangeError(`labelNames contains ${twice} twice`)
}

const reserved = { counter: undefined, gauge: undefined, histogram: "le", summary: "quantile" }

const checkBuckets = (buckets: unknown): void => {
  const isList = Array.isArray(buckets) && buckets.every((bound) => typeof bound === "number")
  if (!isList) throw new RangeError("buckets must be an array of numbers")
  for (const [at, bound] of buckets.entries()) {
    const isFine = bound > (buckets[at - 1] ?? Number.NEGATIVE_INFINITY)
    if (!isFine)
      throw new RangeError(
        `buckets must be in increasing order and start with a finite number: ${shown(bound)} at index ${at} is invalid`
      )
  }
}

const checkPercentiles = (percentiles: unknown): void => {
  const isList = Array.isArray(percentiles) && percentiles.every((one) => typeof one === "number")
  if (!isList) throw new RangeError("percentiles must be an array of numbers")
  for (const [at, one] of percentiles.entries()) {
    if (!(one >= 0 && one <= 1)) throw new RangeError(`percentiles must be between 0 and 1, not ${shown(one)}`)
    if (percentiles.indexOf(one) !== at) throw new RangeError(`percentiles contains ${one} twice`)
  }
}

/** The visible properties of a client's metric. */
interface Existing {
  readonly type?: unknown
  readonly labelNames?: unknown
  readonly upperBounds?: unknown
  readonly percentiles?: unknown
  readonly maxAgeSeconds?: unknown
  readonly ageBuckets?: unknown
  readonly enableExemplars?: unknown
}

// On the metric itself, because two copies of this library may use one registry.
const limit = Symbol.for("effect-prometheus/maxSeries")
const readAtScrape = Symbol.for("effect-prometheus/readAtScrape")

export const markLimited = (metric: object, maxSeries: number): void => mark(metric, limit, maxSeries)

/** Marks a gauge whose value is read at each scrape and never set. */
export const markReadAtScrape = (gauge: object): void => mark(gauge, readAtScrape, true)

const mark = (metric: object, key: symbol, value: unknown): void => {
  Object.defineProperty(metric, key, { value, configurable: true })
}

/** Throws a `ClashError` that names the difference, if the metric on the registry does not match the definition. */
export const checkExisting = (existing: unknown, family: Family): void => {
  const difference = readDifference(existing, family)
  if (difference !== undefined) throw new ClashError(difference)
}

// Any property of an object that an application has put there may throw.
const readDifference = (existing: unknown, family: Family): string | undefined => {
  try {
    return differenceOf(existing, family)
  } catch (error) {
    return `the metric ${family.name} on the registry cannot be read: ${messageOf(error)}`
  }
}

const differenceOf = (existing: unknown, { type, name, labelNames, ...rest }: Family): string | undefined => {
  // A registry that stores its metrics in an object also returns properties that every object has.
  const kind = typeof existing === "object" && existing !== null ? (existing as Existing).type : undefined
  if (typeof kind !== "string") return `the registry has an object with the name ${name} that is not a metric`
  const there = existing as Existing & { readonly [limit]?: unknown; readonly [readAtScrape]?: unknown }
  if (kind !== type) return `${name} is already registered as a ${kind}, not as a ${type}`
  const others = listOf(there.labelNames)
  if ([...others].sort().join() !== [...labelNames].sort().join()) {
    return `the ${type} ${name} is already registered ${labelsSaid(others, labelNames)}`
  }
  if (there[readAtScrape] === true)
    return `the ${type} ${name} is already registered, and an effect computes its value at each scrape`
  const { buckets, enableExemplars, maxSeries, percentiles } = rest
  const facts: ReadonlyArray<readonly [name: string, wanted: unknown, found: unknown]> = [
    ["buckets", buckets && finite(buckets), finite(listOf(there.upperBounds))],
    ["percentiles", percentiles && [...percentiles], listOf(there.percentiles)],
    ["maxAgeSeconds", rest.maxAgeSeconds, there.maxAgeSeconds],
    ["ageBuckets", rest.ageBuckets, there.ageBuckets],
    ["enableExemplars", enableExemplars, there.enableExemplars === true],
    ["maxSeries", maxSeries, there[limit] ?? Number.POSITIVE_INFINITY]
  ]
  for (const [fact, wanted, found] of facts) {
    if (wanted === undefined || said(wanted) === said(found)) continue
    return `the ${type} ${name} is already registered with ${fact} ${said(found)} instead of ${said(wanted)}`
  }
  return undefined
}

const labelsSaid = (found: ReadonlyArray<unknown>, wanted: ReadonlyArray<string>): string =>
  found.length === 0
    ? `without the labels ${wanted.join(", ")}`
    : `with labels ${found.join(", ")} instead of ${wanted.length === 0 ? "none" : wanted.join(", ")}`

const listOf = (given: unknown): ReadonlyArray<unknown> => (Array.isArray(given) ? given : [])

// Every histogram has the infinite bound.
const finite = (bounds: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  bounds.at(-1) === Number.POSITIVE_INFINITY ? bounds.slice(0, -1) : bounds

const said = (value: unknown): string => (Array.isArray(value) ? `[${value.join(", ")}]` : String(value))

/** The default limit of combinations for a metric without `maxSeries`. */
const mostCombinations = 1_000

/** In the order of the labels. Throws a `RangeError` for too many combinations, or for a label without values. */
export const combinations = ({ labelNames, maxSeries, series }: Family): ReadonlyArray<LabelTexts> => {
  if (series === undefined) return []
  if (typeof series !== "object" || series === null)
    throw new RangeError("series must be an object with an array of values for each label")
  for (const name of Object.keys(series)) {
    if (!labelNames.includes(name))
      throw new RangeError(`series contains the label ${name}, which is not in labelNames`)
  }
  const lists = labelNames.map((name) => [name, valuesOf(name, series[name])] as const)
  if (lists.length === 0) throw new RangeError("series requires labelNames")
  const most = maxSeries ?? mostCombinations
  const count = lists.reduce((product, [, values]) => product * values.length, 1)
  if (count > most) {
    const why = maxSeries === undefined ? "; set maxSeries to allow more" : " (maxSeries)"
    throw new RangeError(`series has ${count} combinations of label values, but at most ${most} are allowed${why}`)
  }
  let all: ReadonlyArray<LabelTexts> = [{}]
  for (const [name, values] of lists) {
    all = all.flatMap((labels) => values.map((value) => ({ ...labels, [name]: value })))
  }
  return all
}

const valuesOf = (name: string, values: unknown): ReadonlyArray<string> => {
  const isList = Array.isArray(values) && values.length > 0
  if (!isList) throw new RangeError(`series.${name} must be a non-empty array`)
  for (const value of values) {
    if (typeof value === "string" || typeof value === "number") continue
    throw new RangeError(`series.${name} must contain only strings and numbers, not ${shown(value)}`)
  }
  return [...new Set(values.map(String))]
}
