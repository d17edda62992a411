/** Measures functions, methods and promises. */
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
} from "../internal/labels.js"
import type { OnlyErrors } from "../internal/only.js"
import { matching } from "../internal/only.js"
import type { Instruments as PlanInstruments } from "../internal/plan.js"
import { planned } from "../internal/plan.js"
import { isThenable } from "../internal/thenable.js"
import { measuredPromise, wrapper } from "../internal/wrap.js"
import type { Options } from "./registry.js"
import { reporting } from "./registry.js"

/**
 * How a measured call ended, for labels that depend on it: `{ status: "fulfilled", value }` or
 * `{ status: "rejected", reason }`. A function that returns or throws at once ends in the same two ways.
 *
 * @since 0.1.0
 * @category models
 */
export type Settled<A> = PromiseSettledResult<A>

/**
 * What `countExceptions` counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counting {
  /**
   * Which errors are counted: instances of a class or of one of several, those with a `_tag`, or those for which a
   * predicate holds. Default: all.
   */
  readonly only?: OnlyErrors | undefined
}

/**
 * What `instrumented` records: any of the three, each as a metric or as `{ metric, …options }`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<A> {
  /** The run time, in seconds, as by `timed`. */
  readonly duration?: Observer | { readonly metric: Observer; readonly labels?: LabelsFrom<Settled<A>> } | undefined
  /** The errors and rejections, as by `countExceptions`. */
  readonly exceptions?:
    | Counter
    | ({ readonly metric: Counter; readonly labels?: LabelsFrom<Settled<A>> } & Counting)
    | undefined
  /** How many are running, as by `trackInprogress`. */
  readonly inprogress?: Gauge | { readonly metric: Gauge; readonly labels?: SomeLabels } | undefined
}

/**
 * The compiler's check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  { duration: "labels"; exceptions: "labels" | "only"; inprogress: "labels" }
>

/**
 * Takes a function, or decorates a method, and gives back the same function, measured: parameters, `this`, `name`,
 * `length`, prototype, kind (async, generator), properties, symbols and types stay, and so does `new`. Results, errors
 * and rejections are the same objects.
 *
 * A call ends when the function returns or throws. Some results end later:
 *
 * - A promise ends when it settles. One with methods or properties of its own, or of a class derived from `Promise`, is
 *   returned itself. Any other is followed by a promise of the same class.
 * - A thenable whose `then` is not JavaScript's own can be lazy, as query builders are. It is returned itself, and its
 *   `then` is called when the caller calls it. It is measured once: to the end of its first `then`, or of a promise that
 *   another of its methods returns. If the caller uses it at once, the run begins with the call, else with that use. If
 *   it is never used, there is no run. Bluebird's own functions (`Bluebird.all`, `coroutine`) use its promises without a
 *   call of `then`: measure an `async` function around them.
 * - A generator, sync or async, is measured from its first `next` until it has ended, has failed or was left. If it is
 *   never read, there is no run. If it is dropped half way, it stays in progress.
 *
 * A function that takes a callback, or that returns a stream, a `Response` or another iterator, ends when it returns.
 * Measure what `util.promisify` gives for the former; `StreamMetrics` and `httpMetrics` measure streams and responses.
 *
 * An unhandled rejection stays visible, and none is added, with one exception: if a function handles a rejection itself
 * and returns the same promise, and its caller ignores that, the rejection is reported.
 *
 * As a decorator it serves both the standard (TC39) kind and `experimentalDecorators`, in any order with others; metadata
 * of `reflect-metadata` stays. On a class, a field, an accessor or a parameter it throws a `TypeError`. What depends on
 * the source text of a function (`toString()`) does not see the original.
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
 * Records on a `Metric`: given the metric alone it is a `Wrapper`; given a promise as well, it measures that promise
 * and gives back the one that follows it, or the promise itself if it has methods or properties of its own. A thenable is
 * followed by a `Promise`; its `then` is called once, at once.
 *
 * The compiler asks for labels where the metric has them, and for no others.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Extra> {
  // The same as the last one: editors complete by the first that has as many parameters, the compiler tells of the last.
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
    options: Options & Extra & Labelled<(exit: Settled<A>) => O & ExactLabels<M, O>>
  ): Promise<A>
  <A, M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Metric>(metric: M & WithoutLabels<M>, options?: Options & Extra & Unlabelled): Wrapper
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<(exit: Settled<unknown>) => O & ExactLabels<M, O>>
  ): Wrapper
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Extra & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
}

/**
 * Observes the run time in **seconds**, once per call, whether it returns, throws, resolves or rejects. Of a promise it
 * observes the time from now until it settles. Time is read from `performance.now()`, which is monotonic.
 *
 * An observer that throws, or returns a promise that rejects, changes nothing in the call: there is one process warning
 * (`process.on("warning")`) per metric, and each failure is counted in
 * `effect_prometheus_errors_total{operation="observe"}`. The same holds for a function of labels that throws or is async.
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
const timed: Combinator<Observer, unknown> = combinator((metric: Observer, options) => ({
  duration: { ...options, metric }
}))

/**
 * Counts errors: +1 for each call that throws or rejects, and for each promise that rejects. `only` narrows which. The
 * error comes through as the same object.
 *
 * A counter that throws, or returns a promise that rejects, changes nothing in the call: there is one process warning per
 * metric, and each failure is counted in `effect_prometheus_errors_total{operation="inc"}`. The same holds for a predicate
 * or a function of labels that throws or is async.
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
const countExceptions: Combinator<Counter, Counting> = combinator((metric: Counter, options) => ({
  exceptions: { ...options, metric }
}))

/**
 * Keeps the number of calls in progress: +1 before the function is called, −1 when it has returned or thrown, or when
 * its promise has settled. If the +1 itself fails, no −1 follows.
 *
 * A gauge that throws, or returns a promise that rejects, changes nothing in the call: there is one process warning per
 * metric, and each failure is counted in `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * It stays right where other code resets the gauge, removes its series or sets it to 0 or less meanwhile: the runs in
 * progress are forgotten then, and their ends take nothing off. A lower value that is set is not taken further down by
 * more runs than it counts. This needs a gauge of one of the two clients, or a child of it; a gauge that is frozen, or
 * that other code wraps, only gets `inc` and `dec`.
 *
 * @example
 * import { trackInprogress } from "effect-prometheus/Promises"
 * import { Gauge } from "prom-client"
 *
 * const running = new Gauge({ name: "uploads_in_progress", help: "Uploads that run now.", labelNames: ["to"] })
 *
 * export const upload = trackInprogress(running, { labels: { to: "archive" } })(
 *   async (body: string) => (await fetch("http://archive.example/", { method: "POST", body })).status
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInprogress: {
  // As in `Combinator`, for what an editor completes.
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
  <M extends Gauge>(gauge: M & WithoutLabels<M>, options?: Options & Unlabelled): Wrapper
  <A, M extends Gauge>(gauge: M & WithoutLabels<M>, promise: PromiseLike<A>, options?: Options & Unlabelled): Promise<A>
  <A, M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    promise: PromiseLike<A>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Promise<A>
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>>
  ): Wrapper
} = combinator((metric: Gauge, options) => ({ inprogress: { ...options, metric } }))

/**
 * Any of `timed`, `countExceptions` and `trackInprogress` at once. Each entry is a metric, or `{ metric, …options }` with
 * the options of the combinator that it stands for.
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
} = combinator((instruments: AnyInstruments) => instruments)

// Named here and not where they stand: an editor would show nothing of them where they are called by their namespace.
export { countExceptions, instrumented, timed, trackInprogress }

type AnyInstruments = PlanInstruments<Settled<unknown>, OnlyErrors>

function combinator<Metric>(instruments: (metric: Metric, options: Options | undefined) => AnyInstruments) {
  return (metric: Metric, ...rest: ReadonlyArray<unknown>): never => {
    const [promise, options] = isThenable(rest[0]) ? [rest[0], rest[1]] : [undefined, rest[0]]
    if (typeof options === "function")
      throw new TypeError("a function is measured by timed(metric)(fn), and so by its like")
    const given = options as Options | undefined
    const plan = planned(instruments(metric, given), counting)
    const reporter = reporting(given?.registry)
    const applied = promise === undefined ? wrapper(plan, reporter) : measuredPromise(promise, plan, reporter)
    return applied as never
  }
}

const counting = (only: OnlyErrors | undefined): ((exit: Settled<unknown>) => boolean) => {
  const matches = only === undefined ? () => true : matching(only)
  return (exit) => exit.status === "rejected" && matches(exit.reason)
}
