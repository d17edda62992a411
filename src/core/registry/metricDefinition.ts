/** What a metric is made from, whichever client it is made with: whether it can be, and whether it is there already. */
import { isFreeLabelName } from "./labelText.js"
import { messageOf } from "./message.js"
import { isMetricName } from "./nameConflicts.js"
import { booleanOption, countOption, shown } from "./options.js"

/** What a metric is made from. What is undefined is as the client has it, and any will do in one that is there. */
export interface Family {
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  readonly name: string
  readonly help: string
  readonly labelNames: ReadonlyArray<string>
  /** The upper bounds of a histogram, with or without the infinite one. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** Of a counter or a histogram. */
  readonly enableExemplars?: boolean | undefined
  /** Of a summary. */
  readonly percentiles?: ReadonlyArray<number> | undefined
  readonly maxAgeSeconds?: number | undefined
  readonly ageBuckets?: number | undefined
  /** How many series it may have beside the one for all others. Default: any number. */
  readonly maxSeries?: number | undefined
  /** The values of each label, all combinations of which are there from the start. */
  readonly series?: Readonly<Record<string, ReadonlyArray<string | number>>> | undefined
}

/** There is another metric by that name. */
export class ClashError extends Error {
  override readonly name = "ClashError"
}

/** Throws a `RangeError` that says what is wrong with what a metric is to be made from. */
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
    throw new RangeError(`name must be letters, digits, _ and :, and begin with no digit, not ${shown(name)}`)
  }
  if (typeof help !== "string" || help === "") throw new RangeError(`help must be a text that is not empty`)
  checkLabelNames(labelNames, type)
  if (buckets !== undefined) checkBuckets(buckets)
  if (percentiles !== undefined) checkPercentiles(percentiles)
  booleanOption("enableExemplars", enableExemplars, false)
  countOption("maxSeries", maxSeries, Number.POSITIVE_INFINITY)
  if (ageBuckets !== undefined) {
    if (!Number.isFinite(countOption("ageBuckets", ageBuckets, 1))) throw new RangeError("ageBuckets must be finite")
    if (maxAgeSeconds === undefined) throw new RangeError("ageBuckets is of no use without maxAgeSeconds")
  }
  if (maxAgeSeconds !== undefined && !(Number.isFinite(maxAgeSeconds) && maxAgeSeconds > 0)) {
    throw new RangeError(`maxAgeSeconds must be a number of seconds above 0, not ${shown(maxAgeSeconds)}`)
  }
}

const checkLabelNames = (labelNames: unknown, type: Family["type"]): void => {
  if (!Array.isArray(labelNames)) throw new RangeError("labelNames must be a list of texts")
  for (const name of labelNames) {
    if (!isFreeLabelName(name)) {
      const isReserved = typeof name === "string" && name.startsWith("__")
      if (isReserved) throw new RangeError(`labelNames must not begin with __, as ${name} does`)
      throw new RangeError(
        `labelNames must be of letters, digits and _, and begin with no digit: ${shown(name)} is none`
      )
    }
    if (name === reserved[type]) throw new RangeError(`labelNames must not have ${name}, which a ${type} has itself`)
  }
  const twice = labelNames.find((name, at) => labelNames.indexOf(name) !== at)
  if (twice !== undefined) throw new RangeError(`labelNames has ${twice} twice`)
}

const reserved = { counter: undefined, gauge: undefined, histogram: "le", summary: "quantile" }

const checkBuckets = (buckets: unknown): void => {
  const isList = Array.isArray(buckets) && buckets.every((bound) => typeof bound === "number")
  if (!isList) throw new RangeError("buckets must be a list of numbers")
  for (const [at, bound] of buckets.entries()) {
    const isFine = bound > (buckets[at - 1] ?? Number.NEGATIVE_INFINITY)
    if (!isFine) throw new RangeError(`buckets must increase, and from a finite number: ${shown(bound)} does not`)
  }
}

const checkPercentiles = (percentiles: unknown): void => {
  const isList = Array.isArray(percentiles) && percentiles.every((one) => typeof one === "number")
  if (!isList) throw new RangeError("percentiles must be a list of numbers")
  for (const [at, one] of percentiles.entries()) {
    if (!(one >= 0 && one <= 1)) throw new RangeError(`percentiles must be from 0 to 1, not ${shown(one)}`)
    if (percentiles.indexOf(one) !== at) throw new RangeError(`percentiles has ${one} twice`)
  }
}

/** A metric of a client, as far as its shape can be seen. */
interface Existing {
  readonly type?: unknown
  readonly labelNames?: unknown
  readonly upperBounds?: unknown
  readonly percentiles?: unknown
  readonly maxAgeSeconds?: unknown
  readonly ageBuckets?: unknown
  readonly enableExemplars?: unknown
}

// What is known of a metric that was made here stands on the metric itself: two copies of this library may meet on a
// registry.
const limit = Symbol.for("effect-prometheus/maxSeries")
const readAtScrape = Symbol.for("effect-prometheus/readAtScrape")

/** Keeps with a metric how many series it may have. */
export const markLimited = (metric: object, maxSeries: number): void => mark(metric, limit, maxSeries)

/** Keeps with a gauge that its value is none that anybody sets. */
export const markReadAtScrape = (gauge: object): void => mark(gauge, readAtScrape, true)

const mark = (metric: object, key: symbol, value: unknown): void => {
  Object.defineProperty(metric, key, { value, configurable: true })
}

/** Throws a `ClashError` that names what differs, if what the registry has by that name is another metric. */
export const checkExisting = (existing: unknown, family: Family): void => {
  const difference = readDifference(existing, family)
  if (difference !== undefined) throw new ClashError(difference)
}

// Any property of what an application has put there may throw.
const readDifference = (existing: unknown, family: Family): string | undefined => {
  try {
    return differenceOf(existing, family)
  } catch (error) {
    return `the registry has something by the name ${family.name} that cannot be read: ${messageOf(error)}`
  }
}

const differenceOf = (existing: unknown, { type, name, labelNames, ...rest }: Family): string | undefined => {
  // A registry that keeps its metrics in an object has what every object has as well.
  const kind = typeof existing === "object" && existing !== null ? (existing as Existing).type : undefined
  if (typeof kind !== "string") return `the registry has something else by the name ${name}`
  const there = existing as Existing & { readonly [limit]?: unknown; readonly [readAtScrape]?: unknown }
  if (kind !== type) return `there is a ${kind} ${name} already, which is no ${type}`
  const others = listOf(there.labelNames)
  if ([...others].sort().join() !== [...labelNames].sort().join()) {
    return `there is a ${type} ${name} already, ${labelsSaid(others, labelNames)}`
  }
  if (there[readAtScrape] === true) return `there is a ${type} ${name} already, whose value is read at each scrape`
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
    return `there is a ${type} ${name} already, with ${fact} ${said(found)} instead of ${said(wanted)}`
  }
  return undefined
}

const labelsSaid = (found: ReadonlyArray<unknown>, wanted: ReadonlyArray<string>): string =>
  found.length === 0
    ? `without the labels ${wanted.join(", ")}`
    : `with labels ${found.join(", ")} instead of ${wanted.length === 0 ? "none" : wanted.join(", ")}`

const listOf = (given: unknown): ReadonlyArray<unknown> => (Array.isArray(given) ? given : [])

// The infinite bound is one that every histogram has.
const finite = (bounds: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  bounds.at(-1) === Number.POSITIVE_INFINITY ? bounds.slice(0, -1) : bounds

const said = (value: unknown): string => (Array.isArray(value) ? `[${value.join(", ")}]` : String(value))
