/** The same types and forms for effects and for streams. */
import { instrumentsOf } from "../core/instrument/instruments.js"
import type {
  ExactLabels,
  Exemplar,
  Labelled,
  LabelsOf,
  Unlabelled,
  WithLabels,
  WithoutLabels
} from "../core/instrument/labels.js"

/**
 * A kind of program that is measured: effects, or streams. `type` is the program with the value or elements `A`, the
 * error `E` and the requirements `R`; `exit` is the exit of its run.
 *
 * @since 0.1.0
 * @category models
 */
export interface MeasuredKind {
  readonly A: unknown
  readonly E: unknown
  readonly R: unknown
  readonly type: unknown
  readonly exit: unknown
}

/**
 * The program of a kind.
 *
 * @since 0.1.0
 * @category models
 */
export type Program<K extends MeasuredKind, A, E, R> = (K & { readonly A: A; readonly E: E; readonly R: R })["type"]

type ExitOf<K extends MeasuredKind, A, E> = (K & { readonly A: A; readonly E: E })["exit"]

type ExemplarIf<Exemplars, M> = Exemplars extends true ? Exemplar<M> : unknown

/**
 * A combinator whose labels are constant. It has exemplars if `Exemplars` is `true`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConstantCombinator<K extends MeasuredKind, Metric, Options, Exemplars = false> {
  // Same as the last overload. Editors complete by the first overload with this number of parameters; the compiler
  // reports errors of the last one.
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & ExemplarIf<Exemplars, M>
  ): <A, E, R>(self: Program<K, A, E, R>) => Program<K, A, E, R>
  <A, E, R, M extends Metric>(
    self: Program<K, A, E, R>,
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & ExemplarIf<Exemplars, M>
  ): Program<K, A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Program<K, A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & ExemplarIf<Exemplars, M>
  ): Program<K, A, E, R>
  <M extends Metric>(
    metric: M & WithoutLabels<M>,
    options?: Options & Unlabelled & ExemplarIf<Exemplars, M>
  ): <A, E, R>(self: Program<K, A, E, R>) => Program<K, A, E, R>
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & ExemplarIf<Exemplars, M>
  ): <A, E, R>(self: Program<K, A, E, R>) => Program<K, A, E, R>
}

/**
 * A combinator whose labels are constant or computed from the exit.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExitCombinator<K extends MeasuredKind, Metric, Options>
  extends ConstantCombinator<K, Metric, Options, true> {
  <M extends Metric, O extends LabelsOf<M>>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<O & ExactLabels<M, O>> & Exemplar<M>
  ): <A, E, R>(self: Program<K, A, E, R>) => Program<K, A, E, R>
  <A, E, R, M extends Metric, O extends LabelsOf<M>>(
    self: Program<K, A, E, R>,
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: ExitOf<K, A, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): Program<K, A, E, R>
  <M extends Metric, O extends LabelsOf<M>, A, E>(
    metric: M & WithLabels<M>,
    options: Options & Labelled<(exit: ExitOf<K, A, E>) => O & ExactLabels<M, O>> & Exemplar<M>
  ): <R>(self: Program<K, A, E, R>) => Program<K, A, E, R>
}

/**
 * Makes a combinator of one instrument, or of all. It has both forms: with the program first, and in a pipe. The plan is
 * made once per metric, not once per program or run.
 */
export const combinatorOf =
  <Self, Instruments extends object>(
    isProgram: (value: unknown) => boolean,
    planning: (instruments: Instruments) => (self: Self) => unknown
  ) =>
  (name?: keyof Instruments) =>
  (...args: ReadonlyArray<unknown>): never => {
    const dataFirst = isProgram(args[0])
    const [first, options] = dataFirst ? args.slice(1) : args
    const apply = planning(instrumentsOf<Instruments>(name, first, options))
    return (dataFirst ? apply(args[0] as Self) : apply) as never
  }
