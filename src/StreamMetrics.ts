/**
 * Measures streams: their run time in seconds, the number of their elements, their failures, and the number of runs in
 * progress.
 *
 * A combinator takes a stream and a metric, and returns the same stream, measured. The elements, their chunks, the error
 * and the requirements do not change. The combinator pulls nothing that its consumer does not pull. Each run of a stream
 * is measured separately, also if several run at the same time.
 *
 * Finalizers run at the same point as without the measurement, with one exception: a measured stream that is made by a
 * sequential `Stream.flatMap` and used in another sequential `Stream.flatMap`. There, the resources of its inner stream
 * are released after the resources that the other `Stream.flatMap` acquired with them, and not before. A defect of a
 * finalizer reaches the code that runs the stream. If something after the combinator handles the end of the stream, such
 * as `Stream.mapError` or `Stream.concat`, Effect loses this defect for most streams, measured or not.
 *
 * A **run** begins with the first pull, and has one exit:
 *
 * - A success if the stream ended, or if its consumer stopped early: `Stream.take`, a sink that is done, or a consumer
 *   that failed while the stream itself did not.
 * - A failure or a defect if the stream itself has one.
 * - An interruption if the fiber that runs the stream is interrupted. The `return` of an async iterator made from the
 *   stream also interrupts it, and so does the `cancel` of a `ReadableStream` that waits for an element. (A `cancel`
 *   while an element is being delivered counts as a consumer that failed.)
 *
 * Everything after the combinator in a pipe is its consumer.
 *
 * A run whose consumer stopped, or that was interrupted, ends when the finalizers of the stream have run. Their defects
 * belong to the run. A run whose stream ended by itself ends at once. Its finalizers run when Effect reaches them, which
 * can be much later (`Stream.merge`, `Stream.broadcast`), because their resources may still be in use. If one of them
 * dies then, `countExceptions` counts the run, unless it has already counted it; a function of labels sees the defect.
 * `timed` has already observed the run when it ended.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Counter, Histogram } from "prom-client"
 *
 * const seconds = new Histogram({ name: "import_seconds", help: "Time spent in imports, in seconds." })
 * const rows = new Counter({ name: "import_rows_total", help: "Rows that were imported." })
 *
 * export const lines = Stream.range(1, 1000).pipe(StreamMetrics.timed(seconds), StreamMetrics.countElements(rows))
 *
 * @since 0.1.0
 * @module
 */
import type * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import { entry, type Instruments as PlanInstruments, planned } from "./core/instrument/instruments.js"
import type { CheckEntries, Counter, Gauge, LabelsFrom, Observer, SomeLabels } from "./core/instrument/labels.js"
import { adding } from "./core/instrument/record.js"
import { type ConstantCombinator, combinatorOf, type ExitCombinator, type MeasuredKind } from "./effect/combinator.js"
import { counting, instrumentOptions, type Only } from "./effect/run.js"
import type { Counting, Instruments as EffectInstruments } from "./Metrics.js"
import { isStream, measured } from "./runtime/measuredStream.js"

export type { ErrorClass, OnlyErrors } from "./core/instrument/errorFilter.js"
export type * from "./core/instrument/labels.js"
export type { Only } from "./effect/run.js"
export type { Counting, Recording } from "./Metrics.js"

/**
 * A metric that counts elements: a counter, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface ElementCounter {
  /** Adds the number of elements of one chunk. An `inc` without a parameter is called once for each element. */
  inc(elements?: number): void
}

/**
 * A combinator that records on a `Metric` when the run of a stream ends. It takes the stream as the first argument, or it
 * is used in a pipe.
 *
 * The compiler requires labels if the metric has labels, and rejects any other labels. In a pipe, a function of labels
 * receives the exit with the error type of the preceding stream. Outside of a pipe, a stored combinator with such a
 * function accepts no specific stream type. Write `(self) => timed(self, metric, options)` instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Options> extends ExitCombinator<StreamKind, Metric, Options> {}

/**
 * A combinator that records on a `Metric` while a stream runs. Its labels are constant, because the run has no exit yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningCombinator<Metric> extends ConstantCombinator<StreamKind, Metric, unknown> {}

/** Streams, for the types of their combinators. */
interface StreamKind extends MeasuredKind {
  readonly type: Stream.Stream<this["A"], this["E"], this["R"]>
  readonly exit: Exit.Exit<void, this["E"]>
}

/**
 * What `instrumented` records: any of the four metrics, each given as a metric or as `{ metric, …options }`.
 *
 * `L` is the type of the labels. With `SomeLabels`, labels are constant, and the instruments fit streams of every type.
 * With `LabelsFrom<Exit<void, E>>`, the labels of `duration` and `exceptions` can also be computed from the exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<L> extends EffectInstruments<L> {
  /** The elements, as `countElements` counts them. */
  readonly elements?:
    | ElementCounter
    | ({ readonly metric: ElementCounter } & { readonly labels?: SomeLabels | undefined })
    | undefined
}

/**
 * Compile-time check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  {
    duration: "labels" | "exemplar"
    elements: "labels"
    exceptions: "labels" | "exemplar" | "only"
    inProgress: "labels"
  }
>

type AnyExit = Exit.Exit<unknown, unknown>

interface AnyInstruments extends PlanInstruments<AnyExit, Only> {
  readonly elements?: Instruments<unknown>["elements"]
}

const combinator = combinatorOf(isStream, (instruments: AnyInstruments) => {
  const plan = planned<AnyExit, Only>(instruments, counting, { ...instrumentOptions, elements: ["labels"] })
  const each = entry<ElementCounter, { readonly labels?: SomeLabels | undefined }>(instruments.elements)
  const elements = each && { metric: each.metric, add: adding(each.metric, each.labels) }
  return (self: Stream.Stream<unknown, unknown, unknown>) => measured(self, plan, elements)
})

/**
 * Observes the run time of a stream, in **seconds**, from its first pull until it ends. It is observed once per run and
 * on every exit: success, failure, defect, interruption, and a consumer that stops early, which is a success. The time
 * that the consumer spends on elements between pulls is included.
 *
 * Time is read from Effect's `Clock`, which is monotonic.
 *
 * An observer that throws, or returns a promise that rejects, does not change the stream. The failure is logged as a
 * warning once per metric, and counted in `effect_prometheus_errors_total{operation="observe"}` of the registry in
 * context. The same applies to a function of labels that throws or is async.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Exit, Stream } from "effect"
 * import { Histogram } from "prom-client"
 *
 * const seconds = new Histogram({
 *   name: "import_seconds",
 *   help: "Time spent in an import, in seconds.",
 *   labelNames: ["source", "outcome"]
 * })
 *
 * export const lines = Stream.range(1, 1000).pipe(
 *   StreamMetrics.timed(seconds, {
 *     labels: (exit) => ({ source: "orders", outcome: Exit.isSuccess(exit) ? "done" : "broken" })
 *   })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const timed: Combinator<Observer, unknown> = combinator("duration")

/**
 * Counts the elements of a stream: +1 for each element that passes the combinator, whatever happens to it afterwards.
 *
 * Elements pass in chunks, and the chunks do not change. If a consumer takes three elements of a chunk of ten, all ten
 * are counted. A counter whose `inc` takes a number is called once per chunk, any other counter once per element. An
 * empty chunk counts nothing.
 *
 * A counter that throws does not change the stream. The elements of that chunk that it has not counted are left out. The
 * failure is logged as a warning once per metric, and counted, once per chunk, in
 * `effect_prometheus_errors_total{operation="inc"}`.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Counter } from "prom-client"
 *
 * const rows = new Counter({ name: "import_rows_total", help: "Rows that were imported.", labelNames: ["source"] })
 *
 * export const lines = Stream.range(1, 1000).pipe(StreamMetrics.countElements(rows, { labels: { source: "orders" } }))
 *
 * @since 0.1.0
 * @category combinators
 */
const countElements: RunningCombinator<ElementCounter> = combinator("elements")

/**
 * Counts the unsuccessful exits of a stream: +1 for each run whose cause holds at least one failure or defect of the
 * stream itself. An interruption alone is not an exception, nor is a failure of the consumer. `only` selects fewer or
 * more exits.
 *
 * The exit itself does not change. A counter or a predicate that throws does not change the stream. The failure is logged
 * as a warning once per metric, and counted in `effect_prometheus_errors_total{operation="inc"}`.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Counter } from "prom-client"
 *
 * const failures = new Counter({ name: "import_failures_total", help: "Imports that failed." })
 *
 * export const lines = Stream.fail(new RangeError("too many rows")).pipe(
 *   StreamMetrics.countExceptions(failures, { only: RangeError })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const countExceptions: Combinator<Counter, Counting> = combinator("exceptions")

/**
 * Keeps the number of runs in progress: +1 with the first pull, −1 on every exit, including a consumer that stops early.
 *
 * The value does not drift, at whichever operation an interruption arrives, as long as Effect runs the finalizers of the
 * stream. Rarely Effect does not: if the inner stream of a `Stream.flatMap` with `switch` or `concurrency` is interrupted
 * at certain moments, the finalizers of `Stream.acquireRelease` and `Stream.ensuring` are lost as well. If the +1 itself
 * fails, no −1 follows. A gauge that throws does not change the stream. The failure is logged as a warning once per
 * metric, and counted in `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * If other code resets the gauge during a run, see `Metrics.trackInProgress`.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Gauge } from "prom-client"
 *
 * const subscribers = new Gauge({ name: "subscribers", help: "Subscriptions that run now.", labelNames: ["topic"] })
 *
 * export const ticks = Stream.tick("1 second").pipe(
 *   StreamMetrics.trackInProgress(subscribers, { labels: { topic: "ticks" } })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInProgress: RunningCombinator<Gauge> = combinator("inProgress")

/**
 * Records any of `timed`, `countElements`, `countExceptions` and `trackInProgress` in one pass over the stream.
 *
 * Each entry is a metric, or `{ metric, …options }` with the options of the corresponding combinator. Each metric has the
 * same guarantees as with its own combinator: every run that starts is observed, and its +1 is subtracted. If one metric
 * throws, the others are still recorded.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Counter, Gauge, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "export_seconds", help: "Export time, in seconds.", labelNames: ["table"] })
 * const elements = new Counter({ name: "export_rows_total", help: "Rows that were exported." })
 * const exceptions = new Counter({ name: "export_failures_total", help: "Exports that failed." })
 * const inProgress = new Gauge({ name: "exports_in_progress", help: "Exports that run now." })
 *
 * export const rows = Stream.range(1, 1000).pipe(
 *   StreamMetrics.instrumented({
 *     duration: { metric: duration, labels: { table: "users" } },
 *     elements,
 *     exceptions,
 *     inProgress
 *   })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const instrumented: {
  <const I extends Instruments<SomeLabels>>(
    instruments: I & CheckInstruments<I>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R, const I extends Instruments<LabelsFrom<Exit.Exit<void, E>>>>(
    self: Stream.Stream<A, E, R>,
    instruments: I & CheckInstruments<I>
  ): Stream.Stream<A, E, R>
  <E, const I extends Instruments<LabelsFrom<Exit.Exit<void, E>>>>(
    instruments: I & CheckInstruments<I>
  ): <A, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  // Never matches: the compiler's message about labels beside the instruments.
  (
    instruments: Instruments<SomeLabels>,
    options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never }
  ): never
} = combinator()

// Exported here and not at the declarations: with `export const`, editors show no documentation where these are called by
// their namespace.
export { countElements, countExceptions, instrumented, timed, trackInProgress }
