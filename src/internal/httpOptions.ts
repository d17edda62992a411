/** What can be said of the metrics of HTTP requests: what the compiler checks of it, and what is checked at run time. */
import type { HttpMetricName } from "./httpMetrics.js"
import { httpLabelNames } from "./httpMetrics.js"
import type { Counter, Gauge, LabelNames, Observer } from "./labels.js"
import { knownOptions, ownOptions, shown } from "./options.js"

/**
 * Metrics of the caller's own in the place of those that are made on the registry; `false` leaves one out.
 *
 * Each has the labels `method`, `route`, `status` and the further ones, `inProgress` has `method` alone.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnHttpMetrics {
  /** Counts the requests that have ended. */
  readonly requests?: Counter | false | undefined
  /** Observes how long they took, in seconds. */
  readonly duration?: Observer | false | undefined
  /** Observes the sizes of their bodies, in bytes. */
  readonly requestSize?: Observer | false | undefined
  /** Observes the sizes of the bodies of their answers, in bytes. */
  readonly responseSize?: Observer | false | undefined
  /** How many are being answered. */
  readonly inProgress?: Gauge | false | undefined
}

/**
 * The compiler's check of metrics of the caller's own: each has exactly the labels that are recorded.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckHttpMetrics<M, Names extends string> = {
  readonly [K in keyof M]: K extends "inProgress"
    ? CheckNames<M[K], "method">
    : K extends HttpMetricName
      ? CheckNames<M[K], (typeof httpLabelNames)[number] | Names>
      : never
}

type CheckNames<X, Names extends string> = X extends false | undefined
  ? unknown
  : string extends LabelNames<X>
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

/** The names of labels beside `httpLabelNames`. */
export const furtherLabelNames = (given: unknown): ReadonlyArray<string> => {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new RangeError("labelNames must be a list of texts")
  for (const [index, name] of given.entries()) {
    if (typeof name !== "string" || !/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name.startsWith("__")) {
      throw new RangeError(`labelNames must be names of labels, not ${shown(name)}`)
    }
    if (reserved.has(name)) throw new RangeError(`labelNames must not have ${name}: it has a meaning already`)
    if (given.indexOf(name) !== index) throw new RangeError(`labelNames must not have ${name} twice`)
  }
  return [...given]
}

const reserved: ReadonlySet<string> = new Set([...httpLabelNames, "le", "quantile"])

/** The bounds of a histogram in seconds, which rise. */
export const bucketsOption = (given: unknown): ReadonlyArray<number> | undefined => {
  if (given === undefined) return undefined
  const rises =
    Array.isArray(given) &&
    given.length > 0 &&
    given.every((bound, index) => Number.isFinite(bound) && (index === 0 || bound > given[index - 1]))
  if (!rises) throw new RangeError(`buckets must be numbers of seconds that rise, not ${shown(given)}`)
  return [...given]
}

/** A function that gives labels, which there are if and only if they have names. */
export const labelsOption = <F>(given: F | undefined, labelNames: ReadonlyArray<string>): F | undefined => {
  if (given !== undefined && typeof given !== "function") throw new RangeError("labels must be a function")
  if ((given !== undefined) !== labelNames.length > 0) throw new RangeError("labelNames and labels need each other")
  return given
}

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
  if (typeof given === "function") return { excludes: (request) => given(request), excludesRoute: () => false }
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
