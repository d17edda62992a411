/** What can be said of the metrics of HTTP requests: what the compiler checks of it, and what is checked at run time. */
import type { HttpDurationUnit, HttpLabel, HttpMetricName, HttpNaming, HttpShape } from "./httpMetrics.js"
import { defaultNames, httpFamilies } from "./httpMetrics.js"
import type { Counter, Gauge, LabelNames, Labels, Observer } from "./labels.js"
import { isFreeLabelName } from "./labelText.js"
import { isMetricName } from "./nameConflicts.js"
import { choiceOption, knownOptions, ownOptions, shown } from "./options.js"
import { atOnce } from "./thenable.js"

/**
 * Metrics of the caller's own in the place of those that are made on the registry; `false` leaves one out.
 *
 * Each has the labels `method`, `route`, `status` (or what `names` calls them) and the further ones, `inProgress` has
 * `method` alone.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnHttpMetrics {
  /** Counts the requests that have ended. */
  readonly requests?: Counter | false | undefined
  /** Observes how long they took, in seconds, or in what `durationUnit` says. */
  readonly duration?: Observer | false | undefined
  /** Observes the sizes of their bodies, in bytes. */
  readonly requestSize?: Observer | false | undefined
  /** Observes the sizes of the bodies of their answers, in bytes. */
  readonly responseSize?: Observer | false | undefined
  /** How many are being answered. */
  readonly inProgress?: Gauge | false | undefined
}

/**
 * Other names for the metrics and for their labels, for dashboards that are there already. Those that are not given keep
 * their own.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpNames {
  /** Default: `http_server_requests_total`. */
  readonly requests?: string | undefined
  /** Default: `http_server_request_duration_seconds`, or `…_milliseconds` where that is its unit. */
  readonly duration?: string | undefined
  /** Default: `http_server_request_size_bytes`. */
  readonly requestSize?: string | undefined
  /** Default: `http_server_response_size_bytes`. */
  readonly responseSize?: string | undefined
  /** Default: `http_server_requests_in_progress`. */
  readonly inProgress?: string | undefined
  /** The label of the method. Default: `method`. */
  readonly method?: string | undefined
  /** The label of the route's pattern. Default: `route`. */
  readonly route?: string | undefined
  /** The label of the status code. Default: `status`. */
  readonly status?: string | undefined
}

/**
 * What a metric or a label is called with those names. `Default` is what it is called without.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpNameIn<L, K extends string, Default extends string = K> = K extends keyof L
  ? [Exclude<L[K], undefined>] extends [never]
    ? Default
    : Extract<L[K], string>
  : Default

/**
 * The compiler's check of names: each is one that Prometheus takes, and no two are the same. `Further` are those of the
 * further labels.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckHttpNames<L, Further extends string> = {
  readonly [K in keyof L]: K extends HttpLabel
    ? CheckName<L[K], "label", Further | OtherLabels<L, K> | "le" | "quantile">
    : K extends HttpMetricName
      ? CheckName<L[K], "metric", OtherMetrics<L, K>>
      : never
}

type OtherLabels<L, K> = { readonly [P in HttpLabel]: P extends K ? never : HttpNameIn<L, P> }[HttpLabel]

// The default names are checked at run time.
type OtherMetrics<L, K> = {
  readonly [P in HttpMetricName]: P extends K ? never : HttpNameIn<L, P, never>
}[HttpMetricName]

type CheckName<X, What extends string, Taken extends string> = X extends undefined
  ? unknown
  : string extends X
    ? unknown
    : X extends Taken
      ? { readonly "this name is taken by another one": X }
      : X extends ForbiddenIn<What>
        ? { readonly "letters, digits and _, not beginning with a digit or with __": What }
        : unknown

type ForbiddenIn<What> =
  | ""
  | `${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9}${string}`
  | `${string}${"-" | "." | " " | "/" | "{" | "}"}${string}`
  | (What extends "label" ? `__${string}` | `${string}:${string}` : never)

/**
 * The compiler's check of metrics of the caller's own: each has exactly the labels that are recorded, by the names that
 * these have in `L`.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckHttpMetrics<M, Names extends string, L = unknown> = {
  readonly [K in keyof M]: K extends "inProgress"
    ? CheckNames<M[K], HttpNameIn<L, "method">>
    : K extends HttpMetricName
      ? CheckNames<M[K], { readonly [P in HttpLabel]: HttpNameIn<L, P> }[HttpLabel] | Names>
      : never
}

type CheckNames<X, Names extends string> = X extends false | undefined
  ? unknown
  : string extends LabelNames<X> | Names
    ? unknown
    : [LabelNames<X>, Names] extends [Names, LabelNames<X>]
      ? unknown
      : { readonly "this metric must have exactly these labels": Names }

const abilities: Readonly<Record<HttpMetricName, ReadonlyArray<"inc" | "dec" | "observe">>> = {
  requests: ["inc"],
  duration: ["observe"],
  requestSize: ["observe"],
  responseSize: ["observe"],
  inProgress: ["inc", "dec"]
}

/** Those, each with a method `labels` and what it must be able to do beside that. */
export const ownHttpMetrics = (given: unknown): OwnHttpMetrics => {
  if (given === undefined) return {}
  knownOptions("metrics", given, {
    requests: true,
    duration: true,
    requestSize: true,
    responseSize: true,
    inProgress: true
  })
  const own = ownOptions(given) as Readonly<Record<string, unknown>>
  for (const [name, methods] of Object.entries(abilities)) {
    const metric = own[name] as Readonly<Record<string, unknown>> | false | null | undefined
    if (metric === undefined || metric === false) continue
    const lacks = ["labels", ...methods].find((method) => typeof metric?.[method] !== "function")
    if (lacks !== undefined) throw new RangeError(`metrics.${name} must be a metric or false, but it has no ${lacks}()`)
  }
  return own as OwnHttpMetrics
}

/** What says how the metrics are made. */
interface ShapeOptions {
  readonly names?: HttpNames | undefined
  readonly durationUnit?: HttpDurationUnit | undefined
  readonly labelNames?: ReadonlyArray<string> | undefined
  readonly buckets?: ReadonlyArray<number> | undefined
}

/** How the metrics are made; `own` are those that are there already. */
export const httpShape = (options: ShapeOptions, own: OwnHttpMetrics, exemplars = false): HttpShape => {
  const unit = choiceOption("durationUnit", options.durationUnit, ["seconds", "milliseconds"], "seconds")
  const names = namesOption(options.names, own, unit)
  const labelNames = furtherLabelNames(options.labelNames, names)
  const buckets = bucketsOption(options.buckets, unit)
  return { names, unit, labelNames, families: httpFamilies({ names, unit, labelNames, buckets, exemplars }) }
}

const metricKeys = ["requests", "duration", "requestSize", "responseSize", "inProgress"] as const
const labelKeys = ["method", "route", "status"] as const

// Labels that histograms and summaries have themselves.
const reserved = ["le", "quantile"]

const namesOption = (given: unknown, own: OwnHttpMetrics, unit: HttpDurationUnit): HttpNaming => {
  const fallback = defaultNames(unit)
  if (given === undefined) return fallback
  knownOptions("names", given, knownNames)
  const chosen = ownOptions(given) as HttpNames
  const names: Record<HttpMetricName | HttpLabel, string> = { ...fallback }
  for (const key of labelKeys) {
    const name = chosen[key] ?? fallback[key]
    if (!isFreeLabelName(name)) throw new RangeError(`names.${key} must be the name of a label, not ${shown(name)}`)
    if (reserved.includes(name)) throw new RangeError(`names.${key} must not be ${name}: it has a meaning already`)
    names[key] = name
  }
  for (const key of metricKeys) {
    const name = chosen[key] ?? fallback[key]
    if (!isMetricName(name)) throw new RangeError(`names.${key} must be the name of a metric, not ${shown(name)}`)
    if (chosen[key] !== undefined && own[key] !== undefined) {
      throw new RangeError(`names.${key} has no effect beside metrics.${key}, which has a name: leave one of them out`)
    }
    names[key] = name
  }
  const other = unit === "seconds" ? "milliseconds" : "seconds"
  if (names.duration.endsWith(`_${other}`)) {
    throw new RangeError(`names.duration is ${names.duration}, but durationUnit is ${shown(unit)}`)
  }
  distinctLabels(names)
  distinctSamples(names, own)
  return names
}

const knownNames = {
  requests: true,
  duration: true,
  requestSize: true,
  responseSize: true,
  inProgress: true,
  method: true,
  route: true,
  status: true
} as const satisfies Record<keyof HttpNames, true>

const distinctLabels = (names: HttpNaming): void => {
  for (const [at, key] of labelKeys.entries()) {
    const same = labelKeys.slice(0, at).find((other) => names[other] === names[key])
    if (same !== undefined) throw new RangeError(`names.${same} and names.${key} must differ, both are ${names[key]}`)
  }
}

// A histogram has samples by three names of its own. Prometheus cannot distinguish two metrics that share one.
const distinctSamples = (names: HttpNaming, own: OwnHttpMetrics): void => {
  const taken = new Map<string, HttpMetricName>()
  for (const key of metricKeys) {
    if (own[key] !== undefined) continue
    const isHistogram = key !== "requests" && key !== "inProgress"
    for (const suffix of isHistogram ? ["", "_bucket", "_sum", "_count"] : [""]) {
      const sample = `${names[key]}${suffix}`
      const other = taken.get(sample)
      if (other !== undefined) {
        throw new RangeError(
          `names.${other} and names.${key} must differ: both would have samples by the name ${sample}`
        )
      }
      taken.set(sample, key)
    }
  }
}

/** The names of labels beside the method, the route and the status. */
const furtherLabelNames = (given: unknown, names: HttpNaming): ReadonlyArray<string> => {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new RangeError("labelNames must be a list of texts")
  const taken = [names.method, names.route, names.status, ...reserved]
  for (const [index, name] of given.entries()) {
    if (!isFreeLabelName(name)) throw new RangeError(`labelNames must be names of labels, not ${shown(name)}`)
    if (taken.includes(name)) throw new RangeError(`labelNames must not have ${name}: it has a meaning already`)
    if (given.indexOf(name) !== index) throw new RangeError(`labelNames must not have ${name} twice`)
  }
  return [...given]
}

/** The bounds of a histogram of times, which rise. An empty setting is read as 0. */
const bucketsOption = (given: unknown, unit: HttpDurationUnit): ReadonlyArray<number> | undefined => {
  if (given === undefined) return undefined
  const rises =
    Array.isArray(given) &&
    given.length > 0 &&
    given.every((bound, index) => Number.isFinite(bound) && bound > (index === 0 ? 0 : given[index - 1]))
  if (!rises) throw new RangeError(`buckets must be numbers of ${unit} above 0 that rise, not ${shown(given)}`)
  return [...given]
}

/** A function that gives labels, which there are if and only if they have names. */
export const labelsOption = <Args extends ReadonlyArray<unknown>>(
  given: ((...args: Args) => Labels) | undefined,
  labelNames: ReadonlyArray<string>
): ((...args: Args) => Labels) | undefined => {
  if (given !== undefined && typeof given !== "function") throw new RangeError("labels must be a function")
  if ((given !== undefined) !== labelNames.length > 0) throw new RangeError("labelNames and labels need each other")
  return given && ((...args) => atOnce(given(...args), "labels"))
}

/** Whose answers last as long as their clients want. */
export interface LongLived<Args extends ReadonlyArray<unknown>> {
  readonly isLongLived:
    | ((route: string | undefined, contentType: () => string | undefined, ...args: Args) => boolean)
    | undefined
}

/** The patterns of routes and the content types in a list; or a function decides. */
export const longLivedOption = <Args extends ReadonlyArray<unknown>>(
  given: ReadonlyArray<string> | ((...args: Args) => boolean) | undefined
): LongLived<Args> => {
  if (given === undefined) return { isLongLived: undefined }
  if (typeof given === "function") {
    return { isLongLived: (_, __, ...args) => atOnce(given(...args), "longLived") }
  }
  if (!Array.isArray(given) || !given.every((entry) => typeof entry === "string" && longLivedEntry.test(entry))) {
    throw new RangeError(
      "longLived must be a function, or a list of patterns that begin with / and of content types such as text/event-stream"
    )
  }
  const routes = new Set<string>(given.filter((entry) => entry.startsWith("/")))
  const types = new Set<string>(given.filter((entry) => !entry.startsWith("/")).map((entry) => entry.toLowerCase()))
  return {
    isLongLived: (route, contentType, ..._) => {
      if (route !== undefined && routes.has(route)) return true
      return types.size > 0 && types.has(contentType() ?? "")
    }
  }
}

const longLivedEntry = /^(\/.*|[\w.+-]+\/[\w.+-]+)$/

/** Which requests are left out: by their path when they come, and by their route when it is known. */
export interface Excluding<Request> {
  readonly excludes: (request: Request, path: string) => boolean
  readonly excludesRoute: (route: string) => boolean
}

/** The path of a URL, without its query. */
export const pathOf = (url: string): string => {
  const query = url.indexOf("?")
  return query === -1 ? url : url.slice(0, query)
}

/** A path or a pattern stands for itself, one that ends in `/*` for all under it; or a function decides. */
export const excludeOption = <Request>(
  given: ReadonlyArray<string> | ((request: Request) => boolean) | undefined
): Excluding<Request> => {
  if (typeof given === "function") {
    return { excludes: (request) => atOnce(given(request), "exclude"), excludesRoute: () => false }
  }
  const list = given ?? []
  if (!Array.isArray(list) || !list.every((entry) => typeof entry === "string" && entry.startsWith("/"))) {
    throw new RangeError("exclude must be a function, or a list of paths and patterns that begin with /")
  }
  const exact = new Set<string>(list)
  const above = list.filter((entry) => entry.endsWith("/*")).map((entry) => entry.slice(0, -1))
  return {
    excludes: (_, path) => exact.has(path) || above.some((prefix) => path.startsWith(prefix)),
    excludesRoute: (route) => exact.has(route)
  }
}
