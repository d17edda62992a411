/**
 * Measures streams: how long they run, how many elements they give, how often they fail, how many are in progress.
 *
 * A combinator takes a stream and a metric and gives back the same stream, measured: its elements, their chunks, its
 * error and its requirements come out as they went in, and nothing is pulled that nobody asks for. Each run of a stream
 * is measured by itself, also where several run at once. Its finalizers run where they would without the measurement,
 * but where the stream is made by a sequential `Stream.flatMap` and given to another one: what its inner stream acquired
 * is released after what was acquired with it there, and not before.
 * A defect of one of them comes to whoever runs the stream; where something after the combinator looks at the end, such
 * as `Stream.mapError` or `Stream.concat`, Effect loses it for most streams, measured or not.
 *
 * A **run** begins with the first pull, and has one exit: a success when the stream has ended, or when its consumer has
 * had enough of it (`Stream.take`, a sink that is done, a consumer that failed: the stream itself did not); a failure or a
 * defect when it has one of its own; an interruption when the fiber that runs it is interrupted, which is also what the
 * `return` of an async iterator made of it does, and the `cancel` of a `ReadableStream` while that waits for an element.
 * (A `cancel` while one is on its way is a consumer that failed.) What stands after the combinator in a pipe is its
 * consumer.
 *
 * A run that is left or interrupted is over when the finalizers of the stream have run, and their defects are its own. One
 * that has ended by itself is over at once, and its finalizers run when Effect gets to them, which can be much later
 * (`Stream.merge`, `Stream.broadcast`): what they release may still be in use. If one of them dies then,
 * `countExceptions` counts the run, with labels that see the defect, unless it has counted it already; `timed` has
 * observed it as it ended.
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
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import type * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import { hasProperty } from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Only } from "./internal/counting.js"
import { counting } from "./internal/counting.js"
import type {
  CheckEntries,
  Counter,
  ExactLabels,
  Exemplar,
  Gauge,
  Labelled,
  LabelsFrom,
  LabelsOf,
  Observer,
  SomeLabels,
  Unlabelled,
  WithLabels,
  WithoutLabels
} from "./internal/labels.js"
import type { Add } from "./internal/metric.js"
import { adding } from "./internal/metric.js"
import type { Plan, Instruments as PlanInstruments } from "./internal/plan.js"
import { entry, heed, planned } from "./internal/plan.js"
import type { Counting, Recording } from "./Metrics.js"
import { Run } from "./Metrics.js"
import type { MetricRegistry } from "./Registry.js"
import { Registry } from "./Registry.js"

export type { Only } from "./internal/counting.js"
export type * from "./internal/labels.js"
export type { ErrorClass, OnlyErrors } from "./internal/only.js"
export type { Counting, Recording } from "./Metrics.js"

/**
 * What elements are counted on: a counter, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface ElementCounter {
  /**
   * Counts so many elements, those of a chunk at once. If it has no parameter it is called once for each element.
   */
  inc(elements?: number): void
}

/**
 * A combinator that records on a `Metric` when the run of a stream has ended: applied to a stream, or in its pipe.
 *
 * The compiler asks for labels where the metric has them, and for no others. In a pipe, a function of labels sees the
 * exit with the error of the stream before it. Stored outside of one, a combinator with such a function fits no stream in
 * particular; write `(self) => timed(self, metric, options)` instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface Combinator<Metric, Options> {
  // The same as the last one: editors complete by the first that has as many parameters, the compiler tells of the last.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R, M extends Metric>(
    self: Stream.Stream<A, E, R>,
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & Exemplar<M>
  ): Stream.Stream<A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Stream.Stream<A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: Exit.Exit<void, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): Stream.Stream<A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Stream.Stream<A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): Stream.Stream<A, E, R>
  <M extends Metric>(
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & Exemplar<M>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <M extends Metric, O extends LabelsOf<M>, E>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: Exit.Exit<void, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
}

/**
 * A combinator that records on a `Metric` while a stream runs. There is no exit yet, so its labels stand still.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningCombinator<Metric> {
  // As in `Combinator`, for what an editor completes.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R, M extends Metric>(
    self: Stream.Stream<A, E, R>,
    metric: M & WithoutLabels<M>,
    options?: Unlabelled
  ): Stream.Stream<A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Stream.Stream<A, E, R>,
    metric: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): Stream.Stream<A, E, R>
  <M extends Metric>(
    metric: M & WithoutLabels<M>,
    options?: Unlabelled
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Labelled<O & ExactLabels<M, O>>
  ): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
}

/**
 * What `instrumented` records: any of the four, each as a metric or as `{ metric, …options }`.
 *
 * `L` is what labels may be: with `SomeLabels` they stand still, and the instruments fit streams of every type; with
 * `LabelsFrom<Exit<void, E>>` those of `duration` and `exceptions` may be worked out from the exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instruments<L> {
  /** The run time, in seconds, as by `timed`. */
  readonly duration?: Observer | ({ readonly metric: Observer } & Recording<L>) | undefined
  /** The elements, as by `countElements`. */
  readonly elements?:
    | ElementCounter
    | ({ readonly metric: ElementCounter } & { readonly labels?: SomeLabels | undefined })
    | undefined
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
  {
    duration: "labels" | "exemplar"
    elements: "labels"
    exceptions: "labels" | "exemplar" | "only"
    inprogress: "labels"
  }
>

/**
 * Observes the run time of a stream, in **seconds**, from its first pull until it ends, once per run and on every exit:
 * success, failure, defect, interruption, and a consumer that stops early, which is a success. The time that the consumer
 * takes for the elements between is part of it.
 *
 * Time is read from Effect's `Clock`, which is monotonic.
 *
 * An observer that throws, or returns a promise that rejects, changes nothing in the stream: it is logged as a warning
 * once per metric and counted in `effect_prometheus_errors_total{operation="observe"}` of the registry in context. The
 * same holds for a function of labels that throws or is async.
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
const timed: Combinator<Observer, unknown> = combinator((metric: Observer, options?: object) => ({
  duration: { ...options, metric }
}))

/**
 * Counts the elements of a stream: +1 for each that passes here, whatever becomes of it afterwards.
 *
 * Elements pass in chunks, and stay in them: a consumer that takes three of a chunk of ten was given all ten. A counter
 * whose `inc` takes a number is called once for a chunk, another one once for each element. An empty chunk counts
 * nothing.
 *
 * A counter that throws changes nothing in the stream, and what it has not counted of that chunk is left out: it is
 * logged as a warning once per metric and counted, once a chunk, in `effect_prometheus_errors_total{operation="inc"}`.
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
const countElements: RunningCombinator<ElementCounter> = combinator((metric: ElementCounter, options?: object) => ({
  elements: { ...options, metric }
}))

/**
 * Counts the unsuccessful exits of a stream: +1 for each run whose cause holds at least one failure or defect of the
 * stream's own. An interruption alone is not an exception, nor is a failure of the consumer. `only` narrows or widens
 * what is counted.
 *
 * The exit itself passes through unchanged. A counter (or a predicate) that throws changes nothing in the stream: it is
 * logged as a warning once per metric and counted in `effect_prometheus_errors_total{operation="inc"}`.
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
const countExceptions: Combinator<Counter, Counting> = combinator((metric: Counter, options?: object) => ({
  exceptions: { ...options, metric }
}))

/**
 * Keeps the number of runs in progress: +1 with the first pull, −1 on every exit, that of a consumer that stops early
 * among them.
 *
 * It does not drift, at whichever operation an interruption arrives, as long as Effect runs the finalizers of the stream.
 * Rarely it does not: where an inner stream of a `Stream.flatMap` with `switch` or `concurrency` is interrupted in a wrong
 * moment, those of `Stream.acquireRelease` and `Stream.ensuring` are lost as well. If the +1 itself fails, no −1 follows. A
 * gauge that throws changes nothing in the stream: it is logged as a warning once per metric and counted in
 * `effect_prometheus_errors_total{operation="inc"}` or `{operation="dec"}`.
 *
 * Where other code resets the gauge meanwhile, see `Metrics.trackInprogress`.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Gauge } from "prom-client"
 *
 * const subscribers = new Gauge({ name: "subscribers", help: "Subscriptions that run now.", labelNames: ["topic"] })
 *
 * export const ticks = Stream.tick("1 second").pipe(
 *   StreamMetrics.trackInprogress(subscribers, { labels: { topic: "ticks" } })
 * )
 *
 * @since 0.1.0
 * @category combinators
 */
const trackInprogress: RunningCombinator<Gauge> = combinator((metric: Gauge, options?: object) => ({
  inprogress: { ...options, metric }
}))

/**
 * Any of `timed`, `countElements`, `countExceptions` and `trackInprogress` in one pass over the stream.
 *
 * Each entry is a metric, or `{ metric, …options }` with the options of the combinator that it stands for. Whatever is
 * started is observed and taken back, as by each of them alone; one metric that throws does not keep the others from
 * being recorded.
 *
 * @example
 * import { StreamMetrics } from "effect-prometheus"
 * import { Stream } from "effect"
 * import { Counter, Gauge, Histogram } from "prom-client"
 *
 * const duration = new Histogram({ name: "export_seconds", help: "Export time, in seconds.", labelNames: ["table"] })
 * const elements = new Counter({ name: "export_rows_total", help: "Rows that were exported." })
 * const exceptions = new Counter({ name: "export_failures_total", help: "Exports that failed." })
 * const inprogress = new Gauge({ name: "exports_in_progress", help: "Exports that run now." })
 *
 * export const rows = Stream.range(1, 1000).pipe(
 *   StreamMetrics.instrumented({
 *     duration: { metric: duration, labels: { table: "users" } },
 *     elements,
 *     exceptions,
 *     inprogress
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
} = combinator((instruments: AnyInstruments) => instruments)

// Named here and not where they stand: an editor would show nothing of them where they are called by their namespace.
export { countElements, countExceptions, instrumented, timed, trackInprogress }

type AnyExit = Exit.Exit<unknown, unknown>

interface AnyInstruments extends PlanInstruments<AnyExit, Only> {
  readonly elements?: Instruments<unknown>["elements"]
}

/** What is counted while the stream runs. */
interface Elements {
  readonly metric: ElementCounter
  readonly add: Add
}

// One combinator in its two forms; an effect is a stream as well. The plan is made where the metric is given, not once
// per stream or run.
function combinator<Metric>(instruments: (metric: Metric, options: object | undefined) => AnyInstruments) {
  return (...args: ReadonlyArray<unknown>): never => {
    const dataFirst = Effect.isEffect(args[0]) || hasProperty(args[0], Stream.StreamTypeId)
    const [metric, options] = dataFirst ? args.slice(1) : args
    const given = instruments(metric as Metric, options as object | undefined)
    const plan = planned<AnyExit, Only>(given, counting, ["elements"])
    const each = entry<ElementCounter, { readonly labels?: SomeLabels | undefined }>(given.elements)
    const elements = each && { metric: each.metric, add: adding(each.metric, each.labels) }
    const apply = (self: Stream.Stream<unknown, unknown, unknown>) => measured(self, plan, elements)
    return (dataFirst ? apply(args[0] as Stream.Stream<unknown, unknown, unknown>) : apply) as never
  }
}

type StreamChannel<A, E, R> = Channel.Channel<Chunk.Chunk<A>, unknown, E, unknown, unknown, unknown, R>

// The finalizer stands there before the +1 is counted, and the +1 is one operation: whatever was started is ended, at
// whichever operation the run is left. The stream runs in a scope of its own, which is closed where its finalizers would
// have run: a handler of its end would have them run before, while others still use what the stream has given them, and
// would lose their defects.
const measured = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  plan: Plan<AnyExit>,
  elements: Elements | undefined
): Stream.Stream<A, E, R> => {
  const channel: StreamChannel<A, E, R> = Stream.toChannel(self)
  return Stream.fromChannel(
    Channel.suspend(() => {
      let run: StreamRun<E> | undefined
      const begin = Effect.flatMap(Scope.make(), (scope) =>
        Effect.withFiberRuntime<Pull<A, E, R>>((fiber) => {
          run = new StreamRun(plan, fiber, scope)
          return run.told(opened(Channel.pipeTo(channel, watching<A, E>(run, elements)), scope))
        })
      )
      const body = Channel.flatMap(Channel.fromEffect(begin), pulling)
      return Channel.ensuringWith(body, (exit) => run?.left(exit) ?? Effect.void)
    })
  )
}

type Pull<A, E, R> = Effect.Effect<Either.Either<Chunk.Chunk<A>, unknown>, E, R>

// `toPullIn` gives the services, fiber refs and flags of where it runs to the finalizers, which are to find those of the
// end: it runs where all of them are the defaults, which change nothing. It does not wait for anything.
const opened = <A, E, R>(channel: StreamChannel<A, E, R>, scope: Scope.Scope): Effect.Effect<Pull<A, E, R>> => {
  const pull = Channel.toPullIn(channel, scope) as Effect.Effect<Pull<A, E, R>>
  return Effect.runFork(pull).unsafePoll() ?? Effect.dieMessage("a channel was not opened at once")
}

const pulling = <A, E, R>(pull: Pull<A, E, R>): StreamChannel<A, E, R> => {
  const loop: StreamChannel<A, E, R> = Channel.flatMap(
    Channel.fromEffect(pull),
    Either.match({
      onLeft: (done): StreamChannel<A, E, R> => Channel.succeed(done),
      onRight: (chunk) => Channel.flatMap(Channel.write(chunk), () => loop)
    })
  )
  return loop
}

// Counts what passes, chunk by chunk, and looks at how the stream ends by itself. Its finalizers have not run by then.
const watching = <A, E>(
  run: StreamRun<E>,
  elements: Elements | undefined
): Channel.Channel<Chunk.Chunk<A>, Chunk.Chunk<A>, E, E, unknown, unknown> => {
  const loop: Channel.Channel<Chunk.Chunk<A>, Chunk.Chunk<A>, E, E, unknown, unknown> = Channel.readWithCause({
    onInput: (chunk: Chunk.Chunk<A>) => {
      const passed = Channel.flatMap(Channel.write(chunk), () => loop)
      if (elements === undefined || chunk.length === 0) return passed
      try {
        heed(elements.add(chunk.length), "inc", elements.metric, run)
        return passed
      } catch (error) {
        run.failed("inc", elements.metric, error)
        return Channel.flatMap(Channel.fromEffect(run.told(Effect.void)), () => passed)
      }
    },
    onFailure: (cause) => {
      run.over(Exit.failCause(cause))
      return Channel.failCause(cause)
    },
    onDone: (done) => {
      run.over(Exit.void)
      return Channel.succeed(done)
    }
  })
  return loop
}

// One run of a measured stream, which can go on in other fibers than the one where it began, and end where the registry
// of its beginning is no longer in context.
class StreamRun<E> extends Run<void, E> {
  private readonly context: Context.Context<never> | undefined
  private own: Exit.Exit<void, E> | undefined

  constructor(
    plan: Plan<AnyExit>,
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    private readonly scope: Scope.CloseableScope
  ) {
    super(plan, fiber)
    this.context = fiber.currentContext
  }

  protected override registry(): MetricRegistry {
    return this.context === undefined ? super.registry() : Context.get(this.context, Registry)
  }

  /** The stream has ended by itself. */
  over(exit: Exit.Exit<void, E>): void {
    if (this.own !== undefined) return
    this.own = exit
    this.record(exit)
  }

  /** Nobody will pull any more: its finalizers run. What is the consumer's failure is not the stream's. */
  left(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.flatMap(Effect.exit(Scope.close(this.scope, exit)), (closed) => {
      const { own } = this
      const interrupted = Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)
      const before = own ?? (interrupted ? Exit.failCause(interruption(exit.cause)) : Exit.void)
      const whole = Exit.zipLeft(before, closed)
      if (own === undefined) this.over(whole)
      else if (Exit.isFailure(closed)) this.recordLate(own, whole)
      return this.told(closed)
    })
  }

  // It was timed when it ended, and nobody could know. It is one failure, also if it was counted as one then.
  private recordLate(own: Exit.Exit<void, E>, whole: Exit.Exit<void, E>): void {
    const { exceptions } = this.plan
    if (exceptions === undefined) return
    const counts = (exit: AnyExit) => exceptions.counts(exit) && !exceptions.counts(own)
    this.record(whole, {
      ...this.plan,
      duration: undefined,
      exceptions: { ...exceptions, counts },
      inprogress: undefined
    })
  }

  told<A, R>(next: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> {
    return this.afterWarnings(next as Effect.Effect<A, E, R>) as Effect.Effect<A, never, R>
  }
}

const interruption = (cause: Cause.Cause<unknown>): Cause.Cause<never> => {
  const [first = FiberId.none, ...others] = Cause.interruptors(cause)
  return Cause.interrupt(others.reduce<FiberId.FiberId>((all, id) => FiberId.combine(all, id), first))
}
