/** Measures functions, methods and promises. */
import { matching, type OnlyErrors } from "../core/instrument/errorFilter.js"
import {
  checkBeside,
  instrumentsOf,
  type Instruments as PlanInstruments,
  planned
} from "../core/instrument/instruments.js"
import type {
  CheckEntries,
  Counter,
  ExactLabels,
  Gauge,
  Labelled,
  LabelsFrom,
  LabelsOf,
  Observer,
  SomeLabels,
  Unlabelled,
  WithLabels,
  WithoutLabels
} from "../core/instrument/labels.js"
import { measuredPromise, wrapper } from "../core/instrument/promiseWrapper.js"
import { isThenable } from "../core/util/thenable.js"
import { type Options, reporting } from "./registry.js"

/**
 * The outcome of a measured call, for labels that depend on it: `{ status: "fulfilled", value }` or
 * `{ status: "rejected", reason }`. A synchronous function that returns or throws has the same two outcomes.
 *
 * @since 0.1.0
 * @category models
 */
export type Settled<A> = PromiseSettledResult<A>

/**
 * Options of `countExceptions`: which errors it counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counting {
  /**
   * Selects the errors that are counted: instances of a class or of one of several classes, errors with a `_tag`, or
   * errors for which a predicate returns true. Default: all.
   */
  readonly only?: OnlyErrors | undefined
}

/**
 * What `instrumented` records: any of the three metrics, each given as a metric or as `{ metric, …options }`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<A> {
  /** The run time in seconds, as `timed` observes it. */
  readonly duration?: Observer | { readonly metric: Observer; readonly labels?: LabelsFrom<Settled<A>> } | undefined
  /** The errors and rejections, as `countExceptions` counts them. */
  readonly exceptions?:
    | Counter
    | ({ readonly metric: Counter; readonly labels?: LabelsFrom<Settled<A>> } & Counting)
    | undefined
  /** The number of calls in progress, as `trackInProgress` keeps it. */
  readonly inProgress?: Gauge | { readonly metric: Gauge; readonly labels?: SomeLabels } | undefined
}

/**
 * Compile-time check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  { duration: "labels"; exceptions: "labels" | "only"; inProgress: "labels" }
>

/**
 * Takes a function, or decorates a method, and returns the same function, measured. Its parameters, `this`, `name`,
 * `length`, prototype, kind (async, generator), properties, symbols and types do not change, and `new` works. Results,
 * errors and rejections are the same objects.
 *
 * A call ends when the function returns or throws. Some results end later:
 *
 * - A promise ends when it settles. A promise that has its own methods or properties, or a class derived from `Promise`,
 *   is returned itself. For any other promise, the wrapper returns a new promise of the same class that follows it.
 * - A thenable whose `then` is not JavaScript's own can be lazy, as query builders are. It is returned itself, and its
 *   `then` is called only when the caller calls it. It is measured once, until its first `then` settles, or until a
 *   promise settles that another of its methods returned. If the caller uses it at once, the run begins with the call,
 *   otherwise with that first use. If it is never used, there is no run. Bluebird's own functions (`Bluebird.all`,
 *   `coroutine`) use its promises without calling `then`: wrap them in an `async` function and measure that.
 * - A generator, sync or async, is measured from its first `next` until it ends, fails or is closed early. If it is never
 *   read, there is no run. If it is abandoned without being closed, it stays in progress.
 *
 * A function that takes a callback, or that returns a stream, a `Response` or another iterator, ends when it returns. For
 * a function with a callback, measure the result of `util.promisify`. For streams and responses, use `StreamMetrics` and
 * `httpMetrics`.
 *
 * An unhandled rejection stays visible, and no new one appears, with one exception: if a function handles a rejection
 * itself and returns the same promise, and its caller ignores that promise, the rejection is reported.
 *
 * As a decorator it supports both the standard (TC39) kind and `experimentalDecorators`, in any order with other
 * decorators. Metadata of `reflect-metadata` is kept. On a class, a field, an accessor or a parameter it throws a
 * `TypeError`. `toString()` of the measured function does not return the source of the original.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wrapper {
  <F extends (...args: never) => unknown>(method: F, context: ClassMethodDecoratorContext): F
  <F extends (...args: never) => unknown>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<F>
  ): TypedPropertyDescriptor<F>
  <F extends (...args: never) => unknown>(fn: F): F
}

/**
 * Records on a `Metric` while a call runs. Its labels are constant, because the call has no outcome yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningCombinator<Metric, Extra = unknown> {
  // Same as the last overload. Editors complete by the first overload with this number of parameters; the compiler
  // reports errors of the last one.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
  <A, M extends Metric>(
    metric: M & WithoutLabels<M>,
    promise: PromiseLike<A>,
    options?: Options & Extra & Unlabelled
  ): Promise<A>
  <A, M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Metric>(metric: M & WithoutLabels<M>, options?: Options & Extra & Unlabelled): Wrapper
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
}

/**
 * Records on a `Metric`. With the metric alone, it returns a `Wrapper`. With a promise as well, it measures that promise,
 * and returns a promise that follows it, or the promise itself if that has its own methods or properties. For a thenable
 * it returns a `Promise` that follows it; its `then` is called once, immediately.
 *
 * The compiler requires labels if the metric has labels, and rejects any other labels.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Extra> extends RunningCombinator<Metric, Extra> {
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
  <A, M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Extra & Labelled<(exit: Settled<A>) => O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<(exit: Settled<unknown>) => O & ExactLabels<M, O>>
  ): Wrapper
}

/**
 * Observes the run time of a call in **seconds**, once per call, whether it returns, throws, resolves or rejects. For a
 * promise it observes the time from this call until the promise settles. Time is read from `performance.now()`, which is
 * monotonic.
 *
 * An observer that throws, or returns a promise that rejects, does not change the call. One process warning
 * (`process.on("warning")`) is emitted per metric, and each failure is counted in
 * `effect_prometheus_errors_total{operation="observe"}`. The same applies to a function of labels that throws or is
 * async.
 *
 * @example
 * import { timed } from "effect-prometheus/Promises"
 * import { Histogram } from "prom-client"
 *
 * const seconds = new Histogram({ name: "fetch_seconds", help: "Fetch time, in seconds.", labelNames: ["outcome"] })
 *
 * export const load = timed(seconds, { labels: (exit) => ({ outcome: exit.status }) })(
 *   async (url: string): Promise<string> => (await fetch(url)).text()
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const timed: Combinator<Observer, unknown> = combinator("duration")

/**
 * Counts errors: +1 for each call that throws or rejects, and for each promise that rejects. `only` selects fewer errors.
 * The error stays the same object.
 *
 * A counter that throws, or returns a promise that rejects, does not change the call. One process warning is emitted per
 * metric, and each failure is counted in `effect_prometheus_errors_total{operation="inc"}`. The same applies to a
 * predicate or a function of labels that throws or is async.
 *
 * @example
 * import { countExceptions } from "effect-prometheus/Promises"
 * import { Counter } from "prom-client"
 *
 * const failures = new Counter({ name: "parse_failures_total", help: "Texts that are no JSON." })
 *
 * export const parse = countExceptions(failures, { only: SyntaxError })((text: string): unknown => JSON.parse(text))
 *
 * @since 0.1.0
 * @category combinators
 */
const countExceptions: Combinator<Counter, Counting> = combinator("exceptions")

/**
 * Keeps the number of calls in progress: +1 before the function is called, −1 when it has returned or thrown, or when its
 * promise has settled. If the +1 itself fails, no −1 follows.
 *
 * A gauge that throws, or returns a promise that rejects, does not change the call. One process warning is emitted per
 * metric, and each failure is counted in `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * Other code may reset the gauge, remove its series, or set it to 0 or less during a call. The gauge then ignores the
 * calls in progress: their ends subtract nothing. Other code may also set a lower value above 0. Then the ends of the
 * calls subtract at most that value. This requires a gauge of one of the two clients, or a labelled child of it. A gauge
 * that is frozen, or that other code wraps, only gets `inc` and `dec`.
 *
 * @example
 * import { trackInProgress } from "effect-prometheus/Promises"
 * import { Gauge } from "prom-client"
 *
 * const running = new Gauge({ name: "uploads_in_progress", help: "Uploads that run now.", labelNames: ["to"] })
 *
 * export const upload = trackInProgress(running, { labels: { to: "archive" } })(
 *   async (body: string) => (await fetch("http://archive.example/", { method: "POST", body })).status
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInProgress: RunningCombinator<Gauge> = combinator("inProgress")

/**
 * Records any of `timed`, `countExceptions` and `trackInProgress` at once. Each entry is a metric, or
 * `{ metric, …options }` with the options of the corresponding combinator.
 *
 * @example
 * import { instrumented } from "effect-prometheus/Promises"
 * import { Counter, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "mail_seconds", help: "Time to send a mail, in seconds." })
 * const exceptions = new Counter({ name: "mail_failures_total", help: "Mails that were not sent.", labelNames: ["why"] })
 *
 * export const send = instrumented({ duration, exceptions: { metric: exceptions, labels: { why: "refused" } } })(
 *   async (to: string) => fetch("http://mail.example/", { method: "POST", body: to })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const instrumented: {
  <const I extends Instruments<unknown>>(instruments: I & CheckInstruments<I>, options?: Options): Wrapper
  <A, const I extends Instruments<A>>(
    instruments: I & CheckInstruments<I>,
    promise: PromiseLike<A>,
    options?: Options
  ): Promise<A>
  // Never matches: the compiler's message about labels beside the instruments.
  (
    instruments: Instruments<unknown>,
    options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never }
  ): never
} = combinator()

// Exported here and not at the declarations: with `export const`, editors show no documentation where these are called by
// their namespace.
export { countExceptions, instrumented, timed, trackInProgress }

type AnyInstruments = PlanInstruments<Settled<unknown>, OnlyErrors>

const instrumentOptions = { duration: ["labels"], exceptions: ["labels", "only"], inProgress: ["labels"] }

function combinator(name?: keyof AnyInstruments) {
  return (first: unknown, ...rest: ReadonlyArray<unknown>): never => {
    const [promise, options] = isThenable(rest[0]) ? [rest[0], rest[1]] : [undefined, rest[0]]
    if (typeof options === "function")
      throw new TypeError(
        "expected a promise or options, got a function: pass it in a second call, as in timed(metric)(fn)"
      )
    const { registry, ...own } = (options ?? {}) as Options
    if (name === undefined) checkBeside({ registry: true }, own)
    const plan = planned(instrumentsOf<AnyInstruments>(name, first, own), counting, instrumentOptions)
    const reporter = reporting(registry)
    const applied = promise === undefined ? wrapper(plan, reporter) : measuredPromise(promise, plan, reporter)
    return applied as never
  }
}

const counting = (only: OnlyErrors | undefined): ((exit: Settled<unknown>) => boolean) => {
  const matches = only === undefined ? () => true : matching(only)
  return (exit) => exit.status === "rejected" && matches(exit.reason)
}
