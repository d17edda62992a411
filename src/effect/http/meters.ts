/** The metrics of HTTP requests for `@effect/platform`: their options, and their registries. */

import type * as Context from "effect/Context"
import type { HttpServerRequest } from "../../compat/http/platform.js"
import { firstFamily, type HttpSource, httpSource } from "../../core/http/metrics.js"
import { checkedLater, excludeOption, httpOptions, httpShape, labelsOption } from "../../core/http/options.js"
import { observedSizes, partsOf } from "../../core/http/parts.js"
import { type HttpRecorder, httpRecorder } from "../../core/http/recorder.js"
import { getOrCreate } from "../../core/registry/getOrCreate.js"
import type { MetricRegistry } from "../../core/registry/metricRegistry.js"
import { choice, type Given as GivenOptions, optional, readOptions } from "../../core/util/options.js"
import { FailureReporting } from "../failureReporting.js"
import type { Measuring, Meter, MeterPart } from "./measuring.js"

export const middlewareOptions = {
  /**
   * Requests that are not recorded: route patterns (`"/users/:id"`) and paths (`"/health"`, or `"/internal/*"` for all
   * paths below it), or a predicate that is called when a request arrives. Default: none. Requests for the metrics that
   * `Exposition` serves are always left out.
   *
   * A path is known when the request arrives. A pattern with parameters is known only after the response: until then the
   * request counts as in progress.
   */
  exclude: checkedLater<ReadonlyArray<string> | ((request: HttpServerRequest) => boolean)>("strings"),
  /**
   * `"currentSpan"` adds the trace of each request as an exemplar. These are `trace_id` and `span_id` of the request's
   * span, if it is sampled, on the number and the duration of requests. Exemplars appear in OpenMetrics expositions only.
   * Existing metrics, and metrics of the caller, accept exemplars only if they were created with `enableExemplars`.
   * Default: none.
   */
  exemplar: optional(choice("currentSpan")),
  ...httpOptions,
  labels: checkedLater<NonNullable<Measuring["labels"]>>("function")
}

export type Given = GivenOptions<typeof middlewareOptions>

export type MiddlewareSettings = ReturnType<typeof readMiddlewareOptions>

/** Throws a `RangeError` that names the option. */
export const readMiddlewareOptions = (given: Given) => {
  const options = readOptions(middlewareOptions, given)
  const exemplar = options.exemplar !== undefined
  const shape = httpShape(options, exemplar)
  return {
    ...shape,
    labels: labelsOption(options.labels, shape.labelNames),
    exemplar,
    ...excludeOption<HttpServerRequest>(options.exclude)
  }
}

/** By the registry in context. If it cannot hold the metrics, that is reported like a metric that fails. */
export const meters = (
  { excludesRoute, ...shape }: MiddlewareSettings,
  registryIn: (context: Context.Context<never>) => MetricRegistry
): ((context: Context.Context<never>) => Meter) => {
  const all = new WeakMap<MetricRegistry, Meter>()
  const meterOn = (registry: MetricRegistry): Meter => {
    const reporting = new MeterReporting(registry)
    const warnings = () => reporting.warnings()
    try {
      const source = httpSource(shape, registry, (family) => getOrCreate(registry, family))
      const meter = meterOf(source, (its) => httpRecorder(its, shape, reporting), { excludesRoute, warnings })
      all.set(registry, meter)
      return meter
    } catch (error) {
      reporting.failed("inc", firstFamily(shape), error)
      return meterOf(noSource, () => noRecorder, { excludesRoute, warnings })
    }
  }
  return (context) => {
    const registry = registryIn(context)
    return all.get(registry) ?? meterOn(registry)
  }
}

const meterOf = (
  source: HttpSource,
  recorderOf: (source: HttpSource) => HttpRecorder,
  common: Pick<Meter, "excludesRoute" | "warnings">
): Meter => {
  const parts = partsOf<MeterPart>(source, (its, names) => ({
    recorder: recorderOf(its),
    ...observedSizes(names),
    ...common
  }))
  return { ...parts.whole, ...parts, source }
}

const noSource: HttpSource = { metric: () => undefined, ownsGauge: false }

const noRecorder: HttpRecorder = {
  hasUrlScheme: false,
  methodLabel: (method) => method,
  begun: () => undefined,
  ended: () => {},
  record: () => {},
  failed: () => {}
}

class MeterReporting extends FailureReporting {
  constructor(private readonly own: MetricRegistry) {
    super()
  }

  protected override registry(): MetricRegistry {
    return this.own
  }
}
