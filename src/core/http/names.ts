/** The names of the metrics of HTTP requests: the checks of the compiler, and the checks at run time. */
import { isFreeLabelName } from "../exposition/labelText.js"
import { isMetricName } from "../exposition/nameConflicts.js"
import type { LabelNames } from "../instrument/labels.js"
import { checkNames } from "../util/options.js"
import { shown } from "../util/text.js"
import {
  type HttpDurationUnit,
  type HttpLabel,
  type HttpMetricName,
  type HttpNaming,
  type HttpOwn,
  httpLabelNames,
  httpMetricNames,
  httpNaming,
  httpSchemes
} from "./metrics.js"

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
  /** With the option `sizes`. Default: `http_server_request_size_bytes`. */
  readonly requestSize?: string | undefined
  /** With the option `sizes`. Default: `http_server_response_size_bytes`. */
  readonly responseSize?: string | undefined
  /** Default: `http_server_requests_in_progress`. */
  readonly inProgress?: string | undefined
}

interface HttpLabelNames {
  /** The label of the method. Default: `method`. */
  readonly method?: string | undefined
  /** The label of the route's pattern. Default: `route`. */
  readonly route?: string | undefined
  /** The label of the status code. Default: `status`. */
  readonly status?: string | undefined
}

/**
 * The option `names`: `"otel"` for the names and labels of OpenTelemetry's semantic conventions, or other names for those
 * of this library.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpNamesOption = HttpNames | "otel"

type Otel = (typeof httpSchemes)["otel"]

type NameIn<Labels> = {
  readonly [K in keyof Labels]: Labels[K] extends { readonly name: infer Name } ? Name : never
}[keyof Labels]

type OtelLabel = NameIn<Otel["arrival"]> | NameIn<Otel["end"]>

/** The names of the labels of all metrics but that of requests in progress. */
type EndLabels<L> = L extends "otel" ? OtelLabel : { readonly [P in HttpLabel]: HttpNameIn<L, P> }[HttpLabel]

type ArrivalLabels<L> = L extends "otel" ? NameIn<Otel["arrival"]> : HttpNameIn<L, "method">

/**
 * The compiler's check of additional label names: none is that of another label, nor one that Prometheus reserves.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckHttpLabelNames<Further extends string, L> = string extends Further | EndLabels<L>
  ? unknown
  : [Extract<Further, EndLabels<L> | Reserved>] extends [never]
    ? unknown
    : { readonly "this label name is already used or reserved": Extract<Further, EndLabels<L> | Reserved> }

type Reserved = "le" | "quantile"

/**
 * The name of a metric or a label with those names. `Default` is its default name.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpNameIn<L, K extends string, Default extends string = K> = L extends "otel"
  ? OtelNameIn<K, Default>
  : K extends keyof L
    ? [Exclude<L[K], undefined>] extends [never]
      ? Default
      : Extract<L[K], string>
    : Default

type OtelNameIn<K, Default> = K extends keyof Otel["arrival"]
  ? Otel["arrival"][K]["name"]
  : K extends keyof Otel["end"]
    ? Otel["end"][K]["name"]
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
    ? CheckName<L[K], "label", Further | OtherLabels<L, K> | Reserved>
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
    : X extends Known<Taken>
      ? { readonly "this name is already used or reserved": X }
      : X extends ForbiddenIn<What>
        ? { readonly "use only letters, digits and _, and no digit or __ at the start": What }
        : unknown

// Names that are known only at run time are checked there.
type Known<Names extends string> = string extends Names ? never : Names

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
    ? CheckNames<M[K], ArrivalLabels<L>>
    : K extends HttpMetricName
      ? CheckNames<M[K], EndLabels<L> | Names>
      : never
}

type CheckNames<X, Names extends string> = X extends false | undefined
  ? unknown
  : string extends LabelNames<X> | Names
    ? unknown
    : [LabelNames<X>, Names] extends [Names, LabelNames<X>]
      ? unknown
      : { readonly "this metric must have exactly these labels": Names }

// Labels that Prometheus reserves for histograms and summaries.
const reserved = ["le", "quantile"]

const units: Readonly<Record<HttpDurationUnit, HttpDurationUnit>> = { seconds: "milliseconds", milliseconds: "seconds" }

/** Throws a `RangeError` that names the option. */
export const namingOption = (given: unknown, unit: HttpDurationUnit): HttpNaming => {
  if (given === "otel") return otelNaming(unit)
  if (typeof given === "string") {
    throw new RangeError(`names must be "otel", or an object with names, not ${shown(given)}`)
  }
  const { default: scheme } = httpSchemes
  if (given === undefined) return httpNaming(scheme, unit)
  const labels = { ...scheme.arrival, ...scheme.end }
  checkNames({ ...labels, ...scheme.metrics(unit) }, given, "names")
  for (const key of Object.keys(labels)) checkLabelName(given[key], `names.${key}`)
  for (const key of httpMetricNames) checkMetricName(given[key], `names.${key}`)
  const naming = httpNaming(scheme, unit, given as Readonly<Record<string, string | undefined>>)
  distinctLabels(Object.keys(labels), httpLabelNames(naming))
  const { duration } = naming.metrics
  if (duration.endsWith(`_${units[unit]}`)) {
    throw new RangeError(`names.duration is ${duration}, but durationUnit is ${shown(unit)}: change one of them`)
  }
  return naming
}

const otelNaming = (unit: HttpDurationUnit): HttpNaming => {
  const { otel } = httpSchemes
  if (!otel.units.some((one) => one === unit)) {
    throw new RangeError(`durationUnit must be ${otel.units.join(" or ")} with names: "otel", not ${shown(unit)}`)
  }
  return httpNaming(otel, unit)
}

const checkLabelName = (name: unknown, option: string): void => {
  if (name === undefined) return
  if (!isFreeLabelName(name)) throw new RangeError(`${option} must be a valid label name, not ${shown(name)}`)
  if (reserved.includes(name))
    throw new RangeError(`${option} must not be ${name}: Prometheus reserves this label name`)
}

const checkMetricName = (name: unknown, option: string): void => {
  if (name !== undefined && !isMetricName(name)) {
    throw new RangeError(`${option} must be a valid metric name, not ${shown(name)}`)
  }
}

const distinctLabels = (keys: ReadonlyArray<string>, names: ReadonlyArray<string>): void => {
  for (const [at, name] of names.entries()) {
    const same = names.indexOf(name)
    if (same < at) throw new RangeError(`names.${keys[same]} and names.${keys[at]} must differ: both are ${name}`)
  }
}

/** `own` has the caller's metrics, and `recorded` also which others are left out. Throws a `RangeError`. */
export const checkMetricNames = (given: unknown, own: HttpOwn, recorded: HttpOwn, { metrics }: HttpNaming): void => {
  const chosen = given as Partial<Record<HttpMetricName, unknown>> | undefined
  for (const key of httpMetricNames) {
    if (chosen?.[key] === undefined) continue
    if (own[key] !== undefined) {
      throw new RangeError(`names.${key} has no effect together with metrics.${key}: remove one of them`)
    }
  }
  distinctSamples(metrics, recorded)
}

// A histogram has three sample names of its own, and Prometheus cannot distinguish metrics that share one.
const distinctSamples = (names: HttpNaming["metrics"], recorded: HttpOwn): void => {
  const taken = new Map<string, HttpMetricName>()
  for (const key of httpMetricNames) {
    if (recorded[key] !== undefined) continue
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

/** The additional label names. Throws a `RangeError` that names the option. */
export const labelNamesOption = (given: unknown, naming: HttpNaming): ReadonlyArray<string> => {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new RangeError("labelNames must be an array of strings")
  const taken = [...httpLabelNames(naming), ...reserved]
  for (const [index, name] of given.entries()) {
    if (!isFreeLabelName(name))
      throw new RangeError(`labelNames must contain only valid label names, not ${shown(name)}`)
    if (taken.includes(name))
      throw new RangeError(`labelNames must not contain ${name}: this label name is already used or reserved`)
    if (given.indexOf(name) !== index) throw new RangeError(`labelNames contains ${name} twice`)
  }
  return [...given]
}
