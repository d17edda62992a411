/**
 * Measures effects: how long they run, how often they fail, how many are in progress.
 *
 * A combinator takes an effect and a metric and gives back the same effect, measured: its value, its error and its
 * requirements come out as they went in. The metric is the caller's own; anything that can `observe`, `inc` or `dec`
 * will do.
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
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Only } from "./internal/counting.js"
import { counting } from "./internal/counting.js"
import { currentSpan } from "./internal/currentSpan.js"
import type {
  CheckEntries,
  Counter,
  ExactLabels,
  Exemplar,
  Gauge,
  Labelled,
  Labels,
  LabelsFrom,
  LabelsOf,
  Observer,
  SomeLabels,
  Unlabelled,
  WithLabels,
  WithoutLabels
} from "./internal/labels.js"
import type { Plan, Instruments as PlanInstruments } from "./internal/plan.js"
import { begin, end, planned } from "./internal/plan.js"
import { Reporting } from "./internal/reporting.js"
import type { Operation } from "./internal/warnings.js"
import type { MetricRegistry } from "./Registry.js"
import { Registry, unsafeCountError } from "./Registry.js"

export type { Only } from "./internal/counting.js"
export type * from "./internal/labels.js"
export type { ErrorClass, OnlyErrors } from "./internal/only.js"

/**
 * How `timed` and `countExceptions` record.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recording<L> {
  /** The labels of the sample, whole. A metric that has labels needs them. */
  readonly labels?: L | undefined
  /**
   * Puts `trace_id` and `span_id` of the current span on the sample, if that span is sampled. It works on a histogram or
   * counter that was made with `enableExemplars` and is passed whole; exemplars appear in OpenMetrics expositions only.
   */
  readonly exemplar?: "currentSpan" | undefined
}

/**
 * What `countExceptions` counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counting {
  /** Which unsuccessful exits are counted. Default: those whose cause holds at least one failure or defect. */
  readonly only?: Only | undefined
}

/**
 * A combinator that records on a `Metric` when the effect has ended: applied to an effect, or in its pipe.
 *
 * The compiler asks for labels where the metric has them, and for no others. In a pipe, a function of labels sees the
 * exit with the types of the effect before it. Stored outside of one, a combinator with such a function fits no effect
 * in particular; write `(self) => timed(self, metric, options)` instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Options> {
  // The same as the last one: editors complete by the first that has as many parameters, the compiler tells of the last.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R, M extends Metric>(
    self: Effect.Effect<A, E, R>,
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & Exemplar<M>
  ): Effect.Effect<A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Effect.Effect<A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: Exit.Exit<A, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): Effect.Effect<A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Effect.Effect<A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): Effect.Effect<A, E, R>
  <M extends Metric>(
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & Exemplar<M>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <M extends Metric, O extends LabelsOf<M>, A, E>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: Exit.Exit<A, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * What `instrumented` records: any of the three, each as a metric or as `{ metric, …options }`.
 *
 * `L` is what labels may be: with `SomeLabels` they stand still, and the instruments fit effects of every type; with
 * `LabelsFrom<Exit<A, E>>` they may be worked out from the exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<L> {
  /** The run time, in seconds, as by `timed`. */
  readonly duration?: Observer | ({ readonly metric: Observer } & Recording<L>) | undefined
  /** The unsuccessful exits, as by `countExceptions`. */
  readonly exceptions?: Counter | ({ readonly metric: Counter } & Recording<L> & Counting) | undefined
  /** How many are running, as by `trackInprogress`. */
  readonly inprogress?: Gauge | ({ readonly metric: Gauge } & { readonly labels?: SomeLabels | undefined }) | undefined
}

/**
 * The compiler's check of instruments against their metrics.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckInstruments<I> = CheckEntries<
  I,
  { duration: "labels" | "exemplar"; exceptions: "labels" | "exemplar" | "only"; inprogress: "labels" }
>

/**
 * Observes the run time of an effect, in **seconds**, once per run and on every exit: success, failure, defect and
 * interruption.
 *
 * The clock starts when the effect starts to run, not when it is built; each repetition and each retry is a run of its
 * own. Time is read from Effect's `Clock`, which is monotonic.
 *
 * An observer that throws, or returns a promise that rejects, changes nothing in the effect: it is logged as a warning
 * once per metric and counted in `effect_prometheus_errors_total{operation="observe"}` of the registry in context. The
 * same holds for a function of labels that throws or is async.
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
const timed: Combinator<Observer, unknown> = combinator((metric: Observer, options?: object) => ({
  duration: { ...options, metric }
}))

/**
 * Counts the unsuccessful exits of an effect: +1 for each run whose cause holds at least one failure or defect. An
 * interruption alone is not an exception. `only` narrows or widens what is counted.
 *
 * The exit itself passes through unchanged. A counter (or a predicate) that throws changes nothing in the effect: it is
 * logged as a warning once per metric and counted in `effect_prometheus_errors_total{operation="inc"}`.
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
const countExceptions: Combinator<Counter, Counting> = combinator((metric: Counter, options?: object) => ({
  exceptions: { ...options, metric }
}))

/**
 * Keeps the number of runs in progress: +1 when the effect starts to run, −1 on every exit.
 *
 * It never drifts, at whichever operation an interruption arrives. If the +1 itself fails, no −1 follows. A gauge that
 * throws changes nothing in the effect: it is logged as a warning once per metric and counted in
 * `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * It stays right where other code resets the gauge, removes its series or sets it to 0 or less meanwhile: the runs in
 * progress are forgotten then, and their ends take nothing off. A lower value that is set is not taken further down by
 * more runs than it counts. This needs a gauge of one of the two clients, or a child of it; a gauge that is frozen, or
 * that other code wraps, only gets `inc` and `dec`.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Gauge } from "prom-client"
 *
 * const inProgress = new Gauge({ name: "jobs_in_progress", help: "Jobs that run now.", labelNames: ["queue"] })
 *
 * export const job = Effect.sleep("1 second").pipe(
 *   Metrics.trackInprogress(inProgress, { labels: { queue: "mail" } })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInprogress: {
  // As in `Combinator`, for what an editor completes.
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R, M extends Gauge>(
    self: Effect.Effect<A, E, R>,
    gauge: M & WithoutLabels<M>,
    options?: Unlabelled
  ): Effect.Effect<A, E, R>
  <A, E, R, M extends Gauge, O extends LabelsOf<M>>(
    self: Effect.Effect<A, E, R>,
    gauge: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): Effect.Effect<A, E, R>
  <M extends Gauge>(
    gauge: M & WithoutLabels<M>,
    options?: Unlabelled
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <M extends Gauge, O extends LabelsOf<M>>(
    gauge: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
} = combinator((metric: Gauge, options?: object) => ({
  inprogress: { ...options, metric }
}))

/**
 * Any of `timed`, `countExceptions` and `trackInprogress` in one pass over the effect, cheaper than the three nested.
 *
 * Each entry is a metric, or `{ metric, …options }` with the options of the combinator that it stands for. Whatever is
 * started is observed and taken back, as by each of them alone; one metric that throws does not keep the others from
 * being recorded.
 *
 * @example
 * import { Metrics } from "effect-prometheus"
 * import { Effect } from "effect"
 * import { Counter, Gauge, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "query_seconds", help: "Query time, in seconds.", labelNames: ["table"] })
 * const exceptions = new Counter({ name: "query_failures_total", help: "Queries that failed." })
 * const inprogress = new Gauge({ name: "queries_in_progress", help: "Queries that run now." })
 *
 * export const query = Effect.sleep("5 millis").pipe(
 *   Metrics.instrumented({ duration: { metric: duration, labels: { table: "users" } }, exceptions, inprogress })
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
} = combinator((instruments: AnyInstruments) => instruments)

// Named here and not where they stand: an editor would show nothing of them where they are called by their namespace.
export { countExceptions, instrumented, timed, trackInprogress }

// One combinator in its two forms. The plan is made where the metric is given, not once per effect or run.
function combinator<Metric>(instruments: (metric: Metric, options: object | undefined) => AnyInstruments) {
  return (...args: ReadonlyArray<unknown>): never => {
    const dataFirst = Effect.isEffect(args[0])
    const [metric, options] = dataFirst ? args.slice(1) : args
    const plan = planned(instruments(metric as Metric, options as object | undefined), counting)
    const apply = (self: Effect.Effect<unknown, unknown, unknown>) => measured(self, plan)
    return (dataFirst ? apply(args[0] as Effect.Effect<unknown, unknown, unknown>) : apply) as never
  }
}

type AnyExit = Exit.Exit<unknown, unknown>
type AnyInstruments = PlanInstruments<AnyExit, Only>

// The +1 stands inside the mask: before it, an interruption between the two would leave the gauge up for good. And the
// end is recorded in the handler of the masked body, which no interruption can skip.
const measured = <A, E, R>(self: Effect.Effect<A, E, R>, plan: Plan<AnyExit>): Effect.Effect<A, E, R> => {
  // What the mask restores in all but uninterruptible regions, made once.
  const interruptible = Effect.interruptible(self)
  return Effect.uninterruptibleMask((restore) => {
    const run = new Run<A, E>(plan, Option.getOrThrow(Fiber.getCurrentFiber()))
    const body = restore === Effect.interruptible ? interruptible : restore(self)
    return run.afterWarnings(Effect.matchCauseEffect(body, run))
  })
}

/**
 * One run of what is measured. It is also where its metrics' failures go.
 *
 * @internal
 */
export class Run<A, E> extends Reporting {
  private readonly gauge: Gauge | undefined
  private readonly exemplar: Labels | undefined
  private readonly clock: Clock.Clock
  private readonly start: bigint

  constructor(
    protected readonly plan: Plan<AnyExit>,
    protected readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) {
    super()
    this.clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    this.exemplar = plan.exemplars ? currentSpan(fiber) : undefined
    this.gauge = begin(plan, this)
    this.start = plan.duration === undefined ? 0n : this.clock.unsafeCurrentTimeNanos()
  }

  readonly onFailure = (cause: Cause.Cause<E>) => this.ended(Exit.failCause(cause))

  readonly onSuccess = (value: A) => this.ended(Exit.succeed(value))

  private ended(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    this.record(exit)
    return this.afterWarnings(exit)
  }

  record(exit: Exit.Exit<A, E>, plan = this.plan): void {
    const seconds = plan.duration === undefined ? 0 : Number(this.clock.unsafeCurrentTimeNanos() - this.start) / 1e9
    end(plan, this.gauge, seconds, exit, this.exemplar, this)
  }

  protected registry(): MetricRegistry {
    return Context.get(this.fiber.currentContext, Registry)
  }

  protected override counter(): (operation: Operation) => void {
    const registry = this.registry()
    return (operation) => unsafeCountError(registry, operation)
  }

  // With the loggers that it has now.
  protected override forking(): (log: Effect.Effect<void>) => void {
    const refs = this.fiber.getFiberRefs()
    return (log) => Effect.runFork(Effect.zipRight(Effect.setFiberRefs(refs), log))
  }
}
