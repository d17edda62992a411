/** The options of the metrics of HTTP requests: the checks of the compiler, and the checks at run time. */
import { isFreeLabelName } from "../exposition/labelText.js"
import { isMetricName } from "../exposition/nameConflicts.js"
import type { Counter, Gauge, LabelNames, Labels, Observer } from "../instrument/labels.js"
import { bounds, checkNames, choice, flag, kind, optional, type Read, withDefault } from "../util/options.js"
import { shown } from "../util/text.js"
import { atOnce } from "../util/thenable.js"
import type {
  HttpDurationUnit,
  HttpLabel,
  HttpMetricName,
  HttpNaming,
  HttpOwn,
  HttpShape,
  httpLabels
} from "./metrics.js"
import { defaultNames, httpFamilies, httpLabelKeys, httpMetricNames } from "./metrics.js"

/**
 * The caller's own metrics instead of those that are created on the registry; `false` leaves a metric out.
 *
 * Each has the labels `method`, `route`, `status` (or their names in `names`) and the additional labels. `inProgress`
 * has only `method`. A metric for sizes is recorded without `sizes` as well.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnHttpMetrics {
  /** Counts the requests that have ended. */
  readonly requests?: Counter | false | undefined
  /** Observes the duration of requests, in seconds, or in the unit `durationUnit`. */
  readonly duration?: Observer | false | undefined
  /** Observes the sizes of request bodies, in bytes. */
  readonly requestSize?: Observer | false | undefined
  /** Observes the sizes of response bodies, in bytes. */
  readonly responseSize?: Observer | false | undefined
  /** The number of requests in progress. */
  readonly inProgress?: Gauge | false | undefined
}

/**
 * Other names for the metrics and their labels, for existing dashboards. Names that are not given keep their defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpNames extends HttpLabelNames {
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
}

type HttpLabelNames = { readonly [K in keyof typeof httpLabels]?: string | undefined }

/**
 * The name of a metric or a label with those names. `Default` is its default name.
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
 * The compiler's check of names: each is valid in Prometheus, and no two are the same. `Further` has the names of the
 * additional labels.
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
      ? { readonly "this name is already used or reserved": X }
      : X extends ForbiddenIn<What>
        ? { readonly "use only letters, digits and _, and no digit or __ at the start": What }
        : unknown

type ForbiddenIn<What> =
  | ""
  | `${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9}${string}`
  | `${string}${"-" | "." | " " | "/" | "{" | "}"}${string}`
  | (What extends "label" ? `__${string}` | `${string}:${string}` : never)

/**
 * The compiler's check of the caller's own metrics: each has exactly the recorded labels, with their names in `L`.
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

/** The caller's metrics, names and labels. `Args` is what `labels` receives. */
export type HttpCode<Names extends string, O, M, L, Args extends ReadonlyArray<unknown>> = {
  /** Your own metrics, or `false` to leave a metric out. Default: created on the registry, those of sizes with `sizes`. */
  readonly metrics?: (M & CheckHttpMetrics<M, Names, L>) | undefined
  /** Other names for the metrics and for their labels. Default: their own names. */
  readonly names?: (L & CheckHttpNames<L, Names>) | undefined
} & (
  | { readonly labelNames?: undefined; readonly labels?: undefined }
  | {
      /** The names of additional labels, on all metrics except requests in progress. Default: none. */
      readonly labelNames: ReadonlyArray<Names>
      /**
       * A function that returns the values of the additional labels. Called once, when the request has ended; in
       * `httpMetrics`, in the same asynchronous context (`AsyncLocalStorage`) as its `route`. Each new value creates a series
       * that is never removed, so do not use values that clients can choose freely. If the function throws, the labels are
       * empty strings. Default: none.
       */
      readonly labels: (...args: Args) => O & { readonly [K in Exclude<keyof O, Names>]: never }
    }
)

const abilities: Readonly<Record<HttpMetricName, ReadonlyArray<"inc" | "dec" | "observe">>> = {
  requests: ["inc"],
  duration: ["observe"],
  requestSize: ["observe"],
  responseSize: ["observe"],
  inProgress: ["inc", "dec"]
}

// Each must have the method `labels` and its recording methods.
const ownMetrics = kind<OwnHttpMetrics, OwnHttpMetrics>((given, option) => {
  checkNames(abilities, given, option)
  const own: Record<string, unknown> = {}
  for (const [name, methods] of Object.entries(abilities)) {
    const metric = given[name] as Readonly<Record<string, unknown>> | false | null | undefined
    own[name] = metric
    if (metric === undefined || metric === false) continue
    const lacks = ["labels", ...methods].find((method) => typeof metric?.[method] !== "function")
    if (lacks !== undefined)
      throw new RangeError(`${option}.${name} must be a metric or false, but it has no ${lacks}()`)
  }
  return own
}, "metrics")

/** An option whose user checks it. */
export const checkedLater = <A>(unit: string) => optional(kind<A, A>((given) => given as A, unit))

/** The options that the middleware of `@effect/platform` and the listener of Node.js have in common. */
export const httpOptions = {
  metrics: withDefault(ownMetrics, {}),
  /**
   * Whether the sizes of request and response bodies are observed, in bytes. Default: `false`, because the two histograms
   * add 20 series for each method, route and status. `metrics` can leave one of them out, and a metric of your own for
   * sizes needs no `sizes`.
   */
  sizes: withDefault(flag, false),
  names: checkedLater<HttpNames>("strings by name"),
  /**
   * The unit of the duration: `"seconds"`, as Prometheus recommends, or `"milliseconds"`, for existing dashboards. The
   * unit is part of the metric's default name. Default: `"seconds"`.
   */
  durationUnit: withDefault(choice<HttpDurationUnit>("seconds", "milliseconds"), "seconds"),
  labelNames: checkedLater<ReadonlyArray<string>>("strings"),
  /**
   * The upper bounds of the buckets of the duration, in its unit. Default: 13 bounds from 0.005 to 10 seconds, which are
   * 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5 and 10.
   */
  buckets: checkedLater<ReadonlyArray<number>>("`durationUnit`")
}

/** Throws a `RangeError` that names the option. */
export const httpShape = (options: Read<typeof httpOptions>, exemplars = false): HttpShape => {
  const { durationUnit: unit } = options
  const metrics = recorded(options.metrics, options.sizes)
  const names = namesOption(options.names, options.metrics, metrics, unit)
  const labelNames = extraLabelNames(options.labelNames, names)
  // An empty setting is read as 0, which is rejected.
  const buckets = optional(bounds(unit)).check(options.buckets, "buckets")
  const families = httpFamilies({ names, unit, labelNames, buckets, exemplars })
  return { names, unit, metrics, labelNames, families }
}

const recorded = (own: OwnHttpMetrics, sizes: boolean): HttpOwn =>
  sizes ? own : { ...own, requestSize: own.requestSize ?? false, responseSize: own.responseSize ?? false }

// Labels that Prometheus reserves for histograms and summaries.
const reserved = ["le", "quantile"]

const namesOption = (given: unknown, own: OwnHttpMetrics, metrics: HttpOwn, unit: HttpDurationUnit): HttpNaming => {
  const fallback = defaultNames(unit)
  if (given === undefined) return fallback
  checkNames(fallback, given, "names")
  const chosen = given as HttpNames
  const names: Record<HttpMetricName | HttpLabel, string> = { ...fallback }
  for (const key of httpLabelKeys) {
    const name = chosen[key] ?? fallback[key]
    if (!isFreeLabelName(name)) throw new RangeError(`names.${key} must be a valid label name, not ${shown(name)}`)
    if (reserved.includes(name))
      throw new RangeError(`names.${key} must not be ${name}: Prometheus reserves this label name`)
    names[key] = name
  }
  for (const key of httpMetricNames) {
    const name = chosen[key] ?? fallback[key]
    if (!isMetricName(name)) throw new RangeError(`names.${key} must be a valid metric name, not ${shown(name)}`)
    if (chosen[key] !== undefined && own[key] !== undefined) {
      throw new RangeError(`names.${key} has no effect together with metrics.${key}: remove one of them`)
    }
    if (chosen[key] !== undefined && metrics[key] === false) {
      throw new RangeError(`names.${key} has no effect without sizes: set sizes to true, or remove the name`)
    }
    names[key] = name
  }
  const other = unit === "seconds" ? "milliseconds" : "seconds"
  if (names.duration.endsWith(`_${other}`)) {
    throw new RangeError(`names.duration is ${names.duration}, but durationUnit is ${shown(unit)}: change one of them`)
  }
  distinctLabels(names)
  distinctSamples(names, metrics)
  return names
}

const distinctLabels = (names: HttpNaming): void => {
  for (const [at, key] of httpLabelKeys.entries()) {
    const same = httpLabelKeys.slice(0, at).find((other) => names[other] === names[key])
    if (same !== undefined) throw new RangeError(`names.${same} and names.${key} must differ: both are ${names[key]}`)
  }
}

// A histogram has three sample names of its own, and Prometheus cannot distinguish metrics that share one.
const distinctSamples = (names: HttpNaming, own: HttpOwn): void => {
  const taken = new Map<string, HttpMetricName>()
  for (const key of httpMetricNames) {
    if (own[key] !== undefined) continue
    const isHistogram = key !== "requests" && key !== "inProgress"
    for (const suffix of isHistogram ? ["", "_bucket", "_sum", "_count"] : [""]) {
      const sample = `${names[key]}${suffix}`
      const other = taken.get(sample)
      if (other !== undefined) {
        throw new RangeError(
          `names.${other} and names.${key} must differ: both would have samples with the name ${sample}`
        )
      }
      taken.set(sample, key)
    }
  }
}

const extraLabelNames = (given: unknown, names: HttpNaming): ReadonlyArray<string> => {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new RangeError("labelNames must be an array of strings")
  const taken = [...httpLabelKeys.map((key) => names[key]), ...reserved]
  for (const [index, name] of given.entries()) {
    if (!isFreeLabelName(name))
      throw new RangeError(`labelNames must contain only valid label names, not ${shown(name)}`)
    if (taken.includes(name))
      throw new RangeError(`labelNames must not contain ${name}: this label name is already used or reserved`)
    if (given.indexOf(name) !== index) throw new RangeError(`labelNames contains ${name} twice`)
  }
  return [...given]
}

/** A function that returns labels. It must be given if and only if `labelNames` is given. */
export const labelsOption = <Args extends ReadonlyArray<unknown>>(
  given: ((...args: Args) => Labels) | undefined,
  labelNames: ReadonlyArray<string>
): ((...args: Args) => Labels) | undefined => {
  if (given !== undefined && typeof given !== "function") throw new RangeError("labels must be a function")
  if ((given !== undefined) !== labelNames.length > 0)
    throw new RangeError("labelNames and labels must be set together")
  return given && ((...args) => atOnce(given(...args), "labels"))
}

/** Selects long-lived responses, which last as long as their clients want. */
export interface LongLived<Args extends ReadonlyArray<unknown>> {
  readonly isLongLived:
    | ((route: string | undefined, contentType: () => string | undefined, ...args: Args) => boolean)
    | undefined
}

/** A list of route patterns and content types, or a function that decides. */
export const longLivedOption = <Args extends ReadonlyArray<unknown>>(
  given: ReadonlyArray<string> | ((...args: Args) => boolean) | undefined
): LongLived<Args> => {
  if (given === undefined) return { isLongLived: undefined }
  if (typeof given === "function") {
    return { isLongLived: (_, __, ...args) => atOnce(given(...args), "longLived") }
  }
  if (!Array.isArray(given) || !given.every((entry) => typeof entry === "string" && longLivedEntry.test(entry))) {
    throw new RangeError(
      "longLived must be a function, or an array of patterns that start with / and content types such as text/event-stream"
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

/** Selects the requests that are left out: by their path on arrival, and by their route when it is known. */
export interface Excluding<Request> {
  /** `url` is that of the request, with its query. Undefined if no request is left out. */
  readonly excludes: ((request: Request, url: string) => boolean) | undefined
  readonly excludesRoute: (route: string) => boolean
}

const pathOf = (url: string): string => {
  const query = url.indexOf("?")
  return query === -1 ? url : url.slice(0, query)
}

/** An entry that ends in `/*` matches all paths under it; any other entry matches only itself. */
export const excludeOption = <Request>(
  given: ReadonlyArray<string> | ((request: Request) => boolean) | undefined
): Excluding<Request> => {
  if (typeof given === "function") {
    return { excludes: (request) => atOnce(given(request), "exclude"), excludesRoute: () => false }
  }
  const list = given ?? []
  if (!Array.isArray(list) || !list.every((entry) => typeof entry === "string" && entry.startsWith("/"))) {
    throw new RangeError("exclude must be a function, or an array of paths and patterns that start with /")
  }
  const exact = new Set<string>(list)
  if (exact.size === 0) return { excludes: undefined, excludesRoute: () => false }
  const above = list.filter((entry) => entry.endsWith("/*")).map((entry) => entry.slice(0, -1))
  return {
    excludes: (_, url) => {
      const path = pathOf(url)
      return exact.has(path) || above.some((prefix) => path.startsWith(prefix))
    },
    excludesRoute: (route) => exact.has(route)
  }
}
