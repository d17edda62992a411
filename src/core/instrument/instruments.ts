/** Records one run on the instruments. Each side has its own clock, exits and reports of failed metrics. */
import { noticeMetric } from "../client/foreignMetrics.js"
import { checkNames as checkOptionNames, hint, isRecord } from "../util/options.js"
import { isThenable } from "../util/thenable.js"
import { gaugeOfRuns } from "./inProgress.js"
import type { Counter, Gauge, Labels, LabelsFrom, Observer, SomeLabels } from "./labels.js"
import type { Operation } from "./metricFailures.js"
import { type Increment, incrementing, type Observe, observing } from "./record.js"

/** The instruments at run time. `X` is the exit of a run; `Only` is the type of the filter of exceptions. */
export interface Instruments<X, Only> {
  readonly duration?: Observer | Entry<Observer, Recording<X>> | undefined
  readonly exceptions?: Counter | Entry<Counter, Recording<X> & { readonly only?: Only | undefined }> | undefined
  readonly inProgress?: Gauge | Entry<Gauge, { readonly labels?: SomeLabels | undefined }> | undefined
}

type Entry<Metric, Options> = Options & { readonly metric: Metric }

interface Recording<X> {
  readonly labels?: LabelsFrom<X> | undefined
  readonly exemplar?: "currentSpan" | undefined
}

/** The instruments, prepared as far as possible before a run. */
export interface Plan<X> {
  readonly duration: { readonly metric: Observer; readonly exemplar: boolean; readonly observe: Observe<X> } | undefined
  readonly exceptions:
    | {
        readonly metric: Counter
        readonly exemplar: boolean
        readonly counts: (exit: X) => boolean
        readonly increment: Increment<X>
      }
    | undefined
  readonly inProgress: { readonly metric: Gauge; readonly child: () => Gauge } | undefined
  readonly exemplars: boolean
  readonly looksAtExit: boolean
}

/** Its methods must not throw. */
export interface Reporter {
  failed(operation: Operation, metric: object, error: unknown): void
  /** Called if the metric returned a promise. The result is called if that rejects, perhaps after the run. */
  failsLater(operation: Operation, metric: object): (error: unknown) => void
}

export const reportRejection = (result: unknown, operation: Operation, metric: object, reporter: Reporter): void => {
  if (result === undefined || !isThenable(result)) return
  Promise.resolve(result).catch(reporter.failsLater(operation, metric))
}

/**
 * What a combinator was given: the instruments themselves, or the metric and the options of the one by `name`. Throws a
 * `RangeError` for options beside the instruments.
 */
export const instrumentsOf = <I extends object>(name: keyof I | undefined, first: unknown, options: unknown): I => {
  if (name !== undefined) return { [name]: { ...(options as object | undefined), metric: first } } as I
  if (options !== undefined) checkBeside({}, options)
  return first as I
}

/** The options beside the instruments of `instrumented`. */
export const checkBeside = (known: object, options: unknown): void => {
  if (isRecord(options) && "labels" in options) {
    throw new RangeError("labels belong to an entry of instrumented: { duration: { metric, labels } }")
  }
  checkOptionNames(known, options)
}

/** The instruments that a program can have, each with the names of its options. */
export type InstrumentOptions = Readonly<Record<string, ReadonlyArray<string>>>

/** `counting` selects the exits that are exceptions. Throws a `RangeError` for an instrument or an option that is unknown. */
export const planned = <X, Only>(
  instruments: Instruments<X, Only>,
  counting: (only: Only | undefined) => (exit: X) => boolean,
  options: InstrumentOptions
): Plan<X> => {
  checkNames(instruments, options)
  const duration = entry(instruments.duration)
  const exceptions = entry(instruments.exceptions)
  const inProgress = entry(instruments.inProgress)
  for (const given of [duration, exceptions, inProgress]) if (given !== undefined) noticeMetric(given.metric)
  return {
    duration: duration && {
      metric: duration.metric,
      exemplar: duration.exemplar !== undefined,
      observe: observing(duration.metric, duration.labels)
    },
    exceptions: exceptions && {
      metric: exceptions.metric,
      exemplar: exceptions.exemplar !== undefined,
      counts: counting(exceptions.only),
      increment: incrementing(exceptions.metric, exceptions.labels)
    },
    inProgress: inProgress && { metric: inProgress.metric, child: gaugeOfRuns(inProgress.metric, inProgress.labels) },
    exemplars: duration?.exemplar !== undefined || exceptions?.exemplar !== undefined,
    looksAtExit: typeof duration?.labels === "function" || exceptions !== undefined
  }
}

const checkNames = (instruments: object, options: InstrumentOptions): void => {
  const all = Object.keys(options)
  if (typeof instruments !== "object" || instruments === null) {
    throw new RangeError(`expected an object with ${all.join(", ")}`)
  }
  for (const [name, given] of Object.entries(instruments)) {
    const known = Object.hasOwn(options, name) ? options[name] : undefined
    if (known === undefined) throw new RangeError(`unknown instrument ${name}${hint(name, all, "instruments")}`)
    if (typeof given !== "object" || given === null || !("metric" in given)) continue
    const unknown = Object.keys(given).find((key) => key !== "metric" && !known.includes(key))
    if (unknown !== undefined) {
      throw new RangeError(`unknown option ${unknown} of ${name}${hint(unknown, known)}`)
    }
  }
}

/** An instrument in the form of a metric with its options. */
export const entry = <Metric extends object, Options>(
  given: Metric | Entry<Metric, Options> | undefined
): Entry<Metric, Partial<Options>> | undefined =>
  given === undefined || "metric" in given
    ? (given as Entry<Metric, Options> | undefined)
    : ({ metric: given } as Entry<Metric, Partial<Options>>)

/** Returns the gauge to decrement at the end. */
export const begin = <X>({ inProgress }: Plan<X>, reporter: Reporter): Gauge | undefined => {
  if (inProgress === undefined) return undefined
  try {
    const gauge = inProgress.child()
    reportRejection(gauge.inc(), "inc", inProgress.metric, reporter)
    return gauge
  } catch (error) {
    reporter.failed("inc", inProgress.metric, error)
    return undefined
  }
}

/** A metric that fails does not prevent others from being recorded. It is not retried. */
export const end = <X>(
  { duration, exceptions, inProgress }: Plan<X>,
  gauge: Gauge | undefined,
  seconds: number,
  exit: X,
  exemplar: Labels | undefined,
  reporter: Reporter
): void => {
  if (duration !== undefined) {
    try {
      const result = duration.observe(seconds, exit, duration.exemplar ? exemplar : undefined)
      reportRejection(result, "observe", duration.metric, reporter)
    } catch (error) {
      reporter.failed("observe", duration.metric, error)
    }
  }
  if (exceptions !== undefined) {
    try {
      if (exceptions.counts(exit)) {
        const result = exceptions.increment(exit, exceptions.exemplar ? exemplar : undefined)
        reportRejection(result, "inc", exceptions.metric, reporter)
      }
    } catch (error) {
      reporter.failed("inc", exceptions.metric, error)
    }
  }
  leave(inProgress, gauge, reporter)
}

/** Undoes what the start of a run has counted, and records nothing else. */
export const leave = <X>(inProgress: Plan<X>["inProgress"], gauge: Gauge | undefined, reporter: Reporter): void => {
  if (inProgress === undefined || gauge === undefined) return
  try {
    reportRejection(gauge.dec(), "dec", inProgress.metric, reporter)
  } catch (error) {
    reporter.failed("dec", inProgress.metric, error)
  }
}
