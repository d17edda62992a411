/** The options of the metrics of HTTP requests: the checks of the compiler, and the checks at run time. */
import type { Counter, Gauge, Labels, Observer } from "../instrument/labels.js"
import { bounds, checkNames, choice, flag, kind, optional, type Read, withDefault } from "../util/options.js"
import { atOnce } from "../util/thenable.js"
import {
  type HttpDurationUnit,
  type HttpMetricName,
  type HttpNaming,
  type HttpOwn,
  type HttpShape,
  httpFamilies,
  httpMetricNames
} from "./metrics.js"
import type { CheckHttpLabelNames, CheckHttpMetrics, CheckHttpNames, HttpNamesOption } from "./names.js"
import { checkMetricNames, labelNamesOption, namingOption } from "./names.js"

/**
 * The caller's own metrics instead of those that are created on the registry; `false` leaves a metric out.
 *
 * Each has the labels `method`, `route`, `status` (or those of `names`) and the additional labels. `inProgress` has only
 * `method`, and with the names of OpenTelemetry also the URL scheme. A metric for sizes is recorded without `sizes` as
 * well.
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

/** The caller's metrics, names and labels. `Args` is what `labels` receives. */
export type HttpCode<Names extends string, O, M, L, Args extends ReadonlyArray<unknown>> = {
  /** Your own metrics, or `false` to leave a metric out. Default: created on the registry, those of sizes with `sizes`. */
  readonly metrics?: (M & CheckHttpMetrics<M, Names, L>) | undefined
  /**
   * Other names for the metrics and for their labels: an object of names, or `"otel"` for the names and labels of
   * OpenTelemetry's semantic conventions. Default: their own names.
   */
  readonly names?: (L & CheckHttpNames<L, Names>) | undefined
} & (
  | { readonly labelNames?: undefined; readonly labels?: undefined }
  | {
      /** The names of additional labels, on all metrics except requests in progress. Default: none. */
      readonly labelNames: ReadonlyArray<Names & CheckHttpLabelNames<Names, L>>
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
   * Whether the sizes of request and response bodies are observed, in bytes. Default: `false`, because the two
   * histograms add 20 series for each method, route and status. `metrics` can leave one of them out, and a metric of your
   * own for sizes needs no `sizes`.
   */
  sizes: withDefault(flag, false),
  names: checkedLater<HttpNamesOption>('`"otel"`, or strings by name'),
  /**
   * The unit of the duration: `"seconds"`, as Prometheus recommends, or `"milliseconds"`, for existing dashboards. The
   * unit is part of the metric's default name. With the names of OpenTelemetry only seconds. Default: `"seconds"`.
   */
  durationUnit: withDefault(choice<HttpDurationUnit>("seconds", "milliseconds"), "seconds"),
  labelNames: checkedLater<ReadonlyArray<string>>("strings"),
  /**
   * The upper bounds of the buckets of the duration, in its unit. Default: 13 bounds from 0.005 to 10 seconds, which are
   * 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5 and 10. With the names of OpenTelemetry, those that its
   * conventions advise.
   */
  buckets: checkedLater<ReadonlyArray<number>>("`durationUnit`")
}

const sizeNames: ReadonlyArray<HttpMetricName> = ["requestSize", "responseSize"]

/** Throws a `RangeError` that names the option. */
export const httpShape = (options: Read<typeof httpOptions>, exemplars = false): HttpShape => {
  const { durationUnit: unit, names, sizes } = options
  const naming = namingOption(names, unit)
  const metrics = recordedOf(options.metrics, naming, sizes)
  checkMetricNames(names, options.metrics, metrics, naming)
  const labelNames = labelNamesOption(options.labelNames, naming)
  // An empty setting is read as 0, which is rejected.
  const buckets = optional(bounds(unit)).check(options.buckets, "buckets")
  return { naming, unit, metrics, labelNames, families: httpFamilies({ naming, unit, labelNames, buckets, exemplars }) }
}

const recordedOf = (own: OwnHttpMetrics, { scheme }: HttpNaming, sizes: boolean): HttpOwn => {
  const created = sizes ? [...scheme.created, ...sizeNames] : scheme.created
  return Object.fromEntries(
    httpMetricNames.map((name) => [name, own[name] ?? (created.includes(name) ? undefined : false)])
  )
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
