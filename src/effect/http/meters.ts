/** The metrics of HTTP requests as an application of `@effect/platform` has them: their options, and their registries. */
import type * as Context from "effect/Context"
import type { Family } from "./family.js"
import type { HttpDurationUnit, HttpMetricName, HttpRecorder, HttpSource } from "./httpMetrics.js"
import { httpMetricNames, httpRecorder, httpSource } from "./httpMetrics.js"
import type { Measuring, Meter } from "./httpMiddleware.js"
import type { HttpNames, OwnHttpMetrics } from "./httpOptions.js"
import { excludeOption, httpShape, labelsOption, ownHttpMetrics } from "./httpOptions.js"
import { choiceOption, knownOptions, ownOptions } from "./options.js"
import { Reporting } from "./reporting.js"
import type { Operation } from "./warnings.js"

/** The options as they are at run time. */
export interface Given {
  readonly labelNames?: ReadonlyArray<string> | undefined
  readonly labels?: Measuring["labels"]
  readonly exclude?: Parameters<typeof excludeOption>[0]
  readonly metrics?: OwnHttpMetrics | undefined
  readonly names?: HttpNames | undefined
  readonly durationUnit?: HttpDurationUnit | undefined
  readonly buckets?: ReadonlyArray<number> | undefined
  readonly exemplar?: "currentSpan" | undefined
}

const known = {
  labelNames: true,
  labels: true,
  exclude: true,
  metrics: true,
  names: true,
  durationUnit: true,
  buckets: true,
  exemplar: true
} as const satisfies Record<keyof Given, true>

/** The same, checked. It throws a `RangeError` that names the option which is none. */
export type Checked = ReturnType<typeof checked>

export const checked = (given: Given) => {
  knownOptions("options", given, known)
  const options = ownOptions(given)
  const exemplar = options.exemplar !== undefined
  if (exemplar) choiceOption("exemplar", options.exemplar, ["currentSpan"], "currentSpan")
  const metrics = ownHttpMetrics(options.metrics)
  const shape = httpShape(options, metrics, exemplar)
  return {
    ...shape,
    labels: labelsOption(options.labels, shape.labelNames),
    metrics,
    exemplar,
    ...excludeOption<Parameters<Measuring["excludes"]>[0]>(options.exclude as never)
  }
}

/** What is asked of a registry. */
export interface On<R> {
  readonly registryIn: (context: Context.Context<never>) => R
  /** The metric of that family, made if it is not there. It may throw. */
  readonly make: (registry: R, family: Family) => object
  readonly countError: (registry: R, operation: Operation) => void
}

/**
 * Finds the metrics by the registry that a request has in its context. Where they cannot be made there, that is told as
 * of a metric that fails, and nothing is recorded.
 */
export const meters = <R extends { getSingleMetric(name: string): unknown }>(
  { metrics, ...shape }: Checked,
  { countError, make, registryIn }: On<R>
): ((context: Context.Context<never>) => Meter) => {
  const all = new WeakMap<R, Meter>()
  const meterOn = (registry: R): Meter => {
    const reporting = new MeterReporting((operation) => countError(registry, operation))
    const afterWarnings: Meter["afterWarnings"] = (next) => reporting.afterWarnings(next)
    try {
      const source = httpSource(metrics, registry, shape.families, (family) => make(registry, family))
      const meter = meterOf(source, (its) => httpRecorder(its, shape, reporting), afterWarnings)
      all.set(registry, meter)
      return meter
    } catch (error) {
      reporting.failed("inc", shape.families.requests, error)
      const meter: Meter = { recorder: noRecorder, target: () => undefined, beside: () => meter, afterWarnings }
      return meter
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
  afterWarnings: Meter["afterWarnings"]
): Meter => {
  const target: Meter["target"] = (name) => {
    try {
      return source.metric(name)
    } catch {
      // To record on it reports that.
      return undefined
    }
  }
  const names = httpMetricNames.filter((name) => target(name) !== undefined)
  const parts = new Map<string, Meter>()
  const meter: Meter = {
    recorder: recorderOf(source),
    target,
    afterWarnings,
    beside: (others) => {
      if (others.length === 0) return meter
      const left = names.filter((name) => !others.some((other) => other.meter.target(name) === target(name)))
      if (left.length === names.length) return meter
      if (left.length === 0) return undefined
      const known = parts.get(left.join())
      if (known !== undefined) return known
      const metric = (name: HttpMetricName) => (left.includes(name) ? source.metric(name) : undefined)
      const part = { ...meter, recorder: recorderOf({ ...source, metric }) }
      parts.set(left.join(), part)
      return part
    }
  }
  return meter
}

const noRecorder: HttpRecorder = {
  begin: () => ({ end: () => {}, leaveOut: () => {} }),
  failed: () => {}
}

class MeterReporting extends Reporting {
  constructor(private readonly count: (operation: Operation) => void) {
    super()
  }

  protected override counter(): (operation: Operation) => void {
    return this.count
  }
}
