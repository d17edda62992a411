/**
 * What is done around one run, on the Effect and on the Promise side alike: each side brings its clock, its exits and
 * its way to report a metric that failed.
 */
import { heldOn } from "./inProgress.js"
import type { Counter, Gauge, Labels, LabelsFrom, Observer, SomeLabels } from "./labels.js"
import type { Increment, Observe } from "./metric.js"
import { incrementing, observing } from "./metric.js"
import { isThenable } from "./thenable.js"
import type { Operation } from "./warnings.js"

/** The instruments as they are at run time; `X` is how a run ended, `Only` what narrows the exceptions. */
export interface Instruments<X, Only> {
  readonly duration?: Observer | Entry<Observer, Recording<X>> | undefined
  readonly exceptions?: Counter | Entry<Counter, Recording<X> & { readonly only?: Only | undefined }> | undefined
  readonly inprogress?: Gauge | Entry<Gauge, { readonly labels?: SomeLabels | undefined }> | undefined
}

type Entry<Metric, Options> = Options & { readonly metric: Metric }

interface Recording<X> {
  readonly labels?: LabelsFrom<X> | undefined
  readonly exemplar?: "currentSpan" | undefined
}

/** The instruments, made ready as far as they can be known before a run. */
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
  readonly inprogress: { readonly metric: Gauge; readonly child: () => Gauge } | undefined
  /** Whether one of them wants an exemplar. */
  readonly exemplars: boolean
  /** Whether one of them looks at how a run ended. */
  readonly looksAtExit: boolean
}

/** Where failures of metrics go. Its methods must not throw. */
export interface Reporter {
  /** Called for each failure. */
  failed(operation: Operation, metric: object, error: unknown): void
  /** Called where the metric returned a promise. What it returns is called if that rejects, perhaps after the run. */
  failsLater(operation: Operation, metric: object): (error: unknown) => void
}

/** Handles a rejection of what the metric returned, if that is a promise. */
export const heed = (result: unknown, operation: Operation, metric: object, reporter: Reporter): void => {
  if (result === undefined || !isThenable(result)) return
  Promise.resolve(result).catch(reporter.failsLater(operation, metric))
}

/** Makes a plan. `counting` says which ends of a run are exceptions; `others` are instruments that are no part of it. */
export const planned = <X, Only>(
  instruments: Instruments<X, Only>,
  counting: (only: Only | undefined) => (exit: X) => boolean,
  others: ReadonlyArray<string> = []
): Plan<X> => {
  const known = [...planning, ...others]
  if (typeof instruments !== "object" || instruments === null) throw new TypeError(`expected ${known.join(", ")}`)
  for (const key of Object.keys(instruments)) {
    if (!known.includes(key)) throw new TypeError(`there is no instrument ${key}: they are ${known.join(", ")}`)
  }
  const duration = entry(instruments.duration)
  const exceptions = entry(instruments.exceptions)
  const inprogress = entry(instruments.inprogress)
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
    inprogress: inprogress && { metric: inprogress.metric, child: heldOn(inprogress.metric, inprogress.labels) },
    exemplars: duration?.exemplar !== undefined || exceptions?.exemplar !== undefined,
    looksAtExit: typeof duration?.labels === "function" || exceptions !== undefined
  }
}

const planning: ReadonlyArray<string> = ["duration", "exceptions", "inprogress"]

/** An instrument as the metric with its options. */
export const entry = <Metric extends object, Options>(
  given: Metric | Entry<Metric, Options> | undefined
): Entry<Metric, Partial<Options>> | undefined =>
  given === undefined || "metric" in given
    ? (given as Entry<Metric, Options> | undefined)
    : ({ metric: given } as Entry<Metric, Partial<Options>>)

/** Counts the start of a run. What it gives back is what must be taken back at its end. */
export const begin = <X>({ inprogress }: Plan<X>, reporter: Reporter): Gauge | undefined => {
  if (inprogress === undefined) return undefined
  try {
    const gauge = inprogress.child()
    heed(gauge.inc(), "inc", inprogress.metric, reporter)
    return gauge
  } catch (error) {
    reporter.failed("inc", inprogress.metric, error)
    return undefined
  }
}

/** Records the end of a run. A metric that fails does not keep the others from being recorded, and is not tried again. */
export const end = <X>(
  { duration, exceptions, inprogress }: Plan<X>,
  gauge: Gauge | undefined,
  seconds: number,
  exit: X,
  exemplar: Labels | undefined,
  reporter: Reporter
): void => {
  if (duration !== undefined) {
    try {
      const result = duration.observe(seconds, exit, duration.exemplar ? exemplar : undefined)
      heed(result, "observe", duration.metric, reporter)
    } catch (error) {
      reporter.failed("observe", duration.metric, error)
    }
  }
  if (exceptions !== undefined) {
    try {
      if (exceptions.counts(exit)) {
        const result = exceptions.increment(exit, exceptions.exemplar ? exemplar : undefined)
        heed(result, "inc", exceptions.metric, reporter)
      }
    } catch (error) {
      reporter.failed("inc", exceptions.metric, error)
    }
  }
  leave(inprogress, gauge, reporter)
}

/** Takes back what the start of a run has counted, and records nothing else. */
export const leave = <X>(inprogress: Plan<X>["inprogress"], gauge: Gauge | undefined, reporter: Reporter): void => {
  if (inprogress === undefined || gauge === undefined) return
  try {
    heed(gauge.dec(), "dec", inprogress.metric, reporter)
  } catch (error) {
    reporter.failed("dec", inprogress.metric, error)
  }
}
