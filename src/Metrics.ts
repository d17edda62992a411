/**
 * Measures effects: their run time in seconds, their failures, and the number of runs in progress.
 *
 * A combinator takes an effect and a metric, and returns the same effect, measured. The value, the error and the
 * requirements of the effect do not change. The caller owns the metric. A metric can be any object that has `observe`,
 * `inc` or `dec`.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Histogram } from "prom-client"
 *
 * const requestSeconds = new Histogram({ name: "request_seconds", help: "Time spent in requests, in seconds." })
 *
 * export const handler = Effect.sleep("10 millis").pipe(Metrics.timed(requestSeconds))
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { type Instruments as PlanInstruments, planned } from "./core/instrument/instruments.js"
import type { CheckEntries, Counter, Gauge, LabelsFrom, Observer, SomeLabels } from "./core/instrument/labels.js"
import { type ConstantCombinator, combinatorOf, type ExitCombinator, type MeasuredKind } from "./effect/combinator.js"
import { counting, instrumentOptions, type Only } from "./effect/run.js"
import { measured } from "./runtime/measured.js"

export type { ErrorClass, OnlyErrors } from "./core/instrument/errorFilter.js"
export type * from "./core/instrument/labels.js"
export type { Only } from "./effect/run.js"

/**
 * Options of `timed` and `countExceptions`: the labels and the exemplar of the sample.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recording<L> {
  /** All labels of the sample. A metric that has labels requires them. */
  readonly labels?: L | undefined
  /**
   * Adds `trace_id` and `span_id` of the current span to the sample, if that span is sampled. The histogram or counter
   * must be created with `enableExemplars` and passed as a whole, not as a labelled child. Exemplars appear in
   * OpenMetrics expositions only.
   */
  readonly exemplar?: "currentSpan" | undefined
}

/**
 * Options of `countExceptions`: which exits it counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counting {
  /** Selects the unsuccessful exits that are counted. Default: those whose cause holds at least one failure or defect. */
  readonly only?: Only | undefined
}

/**
 * A combinator that records on a `Metric` when the effect ends. It takes the effect as the first argument, or it is used
 * in a pipe.
 *
 * The compiler requires labels if the metric has labels, and rejects any other labels. In a pipe, a function of labels
 * receives the exit with the types of the preceding effect. Outside of a pipe, a stored combinator with such a function
 * accepts no specific effect type. Write `(self) => timed(self, metric, options)` instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Options> extends ExitCombinator<EffectKind, Metric, Options> {}

/**
 * A combinator that records on a `Metric` while the effect runs. Its labels are constant, because there is no exit yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningCombinator<Metric> extends ConstantCombinator<EffectKind, Metric, unknown> {}

/** Effects, for the types of their combinators. */
interface EffectKind extends MeasuredKind {
  readonly type: Effect.Effect<this["A"], this["E"], this["R"]>
  readonly exit: Exit.Exit<this["A"], this["E"]>
}

/**
 * What `instrumented` records: any of the three metrics, each given as a metric or as `{ metric, …options }`.
 *
 * `L` is the type of the labels. With `SomeLabels`, labels are constant, and the instruments fit effects of every type.
 * With `LabelsFrom<Exit<A, E>>`, labels can also be computed from the exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<L> {
  /** The run time in seconds, as `timed` observes it. */
  readonly duration?: Observer | ({ readonly metric: Observer } & Recording<L>) | undefined
  /** The unsuccessful exits, as `countExceptions` counts them. */
  readonly exceptions?: Counter | ({ readonly metric: Counter } & Recording<L> & Counting) | undefined
  /** The number of runs in progress, as `trackInProgress` keeps it. */
  readonly inProgress?: Gauge | ({ readonly metric: Gauge } & { readonly labels?: SomeLabels | undefined }) | undefined
}

/**
 * Compile-time check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  { duration: "labels" | "exemplar"; exceptions: "labels" | "exemplar" | "only"; inProgress: "labels" }
>

const combinator = combinatorOf(Effect.isEffect, (instruments: PlanInstruments<Exit.Exit<unknown, unknown>, Only>) => {
  const plan = planned(instruments, counting, instrumentOptions)
  return (self: Effect.Effect<unknown, unknown, unknown>) => measured(self, plan)
})

/**
 * Observes the run time of an effect, in **seconds**, once per run and on every exit: success, failure, defect and
 * interruption.
 *
 * The clock starts when the effect starts to run, not when it is built. Each repetition and each retry is a separate run.
 * Time is read from Effect's `Clock`, which is monotonic.
 *
 * An observer that throws, or returns a promise that rejects, does not change the effect. The failure is logged as a
 * warning once per metric, and counted in `effect_prometheus_errors_total{operation="observe"}` of the registry in
 * context. The same applies to a function of labels that throws or is async.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect, Exit } from "effect"
 * import { Histogram } from "prom-client"
 *
 * const seconds = new Histogram({
 *   name: "job_seconds",
 *   help: "Time spent in a job, in seconds.",
 *   labelNames: ["queue", "outcome"]
 * })
 *
 * export const job = Effect.sleep("1 second").pipe(
 *   Metrics.timed(seconds, {
 *     labels: (exit) => ({ queue: "mail", outcome: Exit.isSuccess(exit) ? "sent" : "lost" })
 *   })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const timed: Combinator<Observer, unknown> = combinator("duration")

/**
 * Counts the unsuccessful exits of an effect: +1 for each run whose cause holds at least one failure or defect. An
 * interruption alone is not an exception. `only` selects fewer or more exits.
 *
 * The exit itself does not change. A counter or a predicate that throws does not change the effect. The failure is logged
 * as a warning once per metric, and counted in `effect_prometheus_errors_total{operation="inc"}`.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Counter } from "prom-client"
 *
 * const failures = new Counter({ name: "payment_failures_total", help: "Payments that failed." })
 *
 * export const pay = Effect.fail(new RangeError("too much")).pipe(
 *   Metrics.countExceptions(failures, { only: RangeError })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const countExceptions: Combinator<Counter, Counting> = combinator("exceptions")

/**
 * Keeps the number of runs in progress: +1 when the effect starts to run, −1 on every exit.
 *
 * The value never drifts, at whichever operation an interruption arrives. If the +1 itself fails, no −1 follows. A gauge
 * that throws does not change the effect. The failure is logged as a warning once per metric, and counted in
 * `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * Other code may reset the gauge, remove its series, or set it to 0 or less during a run. The gauge then ignores the runs
 * in progress: their ends subtract nothing. Other code may also set a lower value above 0. Then the ends of the runs
 * subtract at most that value. This requires a gauge of one of the two clients, or a labelled child of it. A gauge that
 * is frozen, or that other code wraps, only gets `inc` and `dec`.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Gauge } from "prom-client"
 *
 * const inProgress = new Gauge({ name: "jobs_in_progress", help: "Jobs that run now.", labelNames: ["queue"] })
 *
 * export const job = Effect.sleep("1 second").pipe(
 *   Metrics.trackInProgress(inProgress, { labels: { queue: "mail" } })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInProgress: RunningCombinator<Gauge> = combinator("inProgress")

/**
 * Records any of `timed`, `countExceptions` and `trackInProgress` in one pass over the effect. This costs less than
 * nesting the three.
 *
 * Each entry is a metric, or `{ metric, …options }` with the options of the corresponding combinator. Each metric has the
 * same guarantees as with its own combinator: every run that starts is observed, and its +1 is subtracted. If one metric
 * throws, the others are still recorded.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Counter, Gauge, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "query_seconds", help: "Query time, in seconds.", labelNames: ["table"] })
 * const exceptions = new Counter({ name: "query_failures_total", help: "Queries that failed." })
 * const inProgress = new Gauge({ name: "queries_in_progress", help: "Queries that run now." })
 *
 * export const query = Effect.sleep("5 millis").pipe(
 *   Metrics.instrumented({ duration: { metric: duration, labels: { table: "users" } }, exceptions, inProgress })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const instrumented: {
  <const I extends Instruments<SomeLabels>>(
    instruments: I & CheckInstruments<I>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R, const I extends Instruments<LabelsFrom<Exit.Exit<A, E>>>>(
    self: Effect.Effect<A, E, R>,
    instruments: I & CheckInstruments<I>
  ): Effect.Effect<A, E, R>
  <A, E, const I extends Instruments<LabelsFrom<Exit.Exit<A, E>>>>(
    instruments: I & CheckInstruments<I>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  // Never matches: the compiler's message about labels beside the instruments.
  (
    instruments: Instruments<SomeLabels>,
    options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never }
  ): never
} = combinator()

// Exported here and not at the declarations: with `export const`, editors show no documentation where these are called by
// their namespace.
export { countExceptions, instrumented, timed, trackInProgress }
