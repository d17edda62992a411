/**
 * What a metric must be able to do, and which labels it takes: the part of the combinators that the compiler checks,
 * the same on the Effect and on the Promise side.
 *
 * Nothing here asks for a class: prom-client 15, `@prometheus-io/client` 0.16, a labelled child of either, and an
 * object written by hand are all told apart by what they can do.
 */

/**
 * What a duration is recorded on: a histogram, a summary, or a labelled child of one. The value is in **seconds**.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observer {
  /** Records a run time, in seconds. */
  observe(seconds: number): void
}

/**
 * What an event is counted on: a counter, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counter {
  /** Counts one. */
  inc(): void
}

/**
 * What a number of things in progress is kept on: a gauge, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Gauge {
  /** One more. */
  inc(): void
  /** One less. */
  dec(): void
}

/**
 * Labels by name. Numbers become their decimal text.
 *
 * @since 0.1.0
 * @category models
 */
export interface Labels {
  readonly [name: string]: string | number
}

/**
 * The label names that a metric's own type knows: `never` for a metric without labels and for a child, `string` where
 * the compiler cannot know them, as with a prom-client 15 metric that was made without literal `labelNames`.
 *
 * @since 0.1.0
 * @category models
 */
export type LabelNames<M> = M extends { labels(labels: infer X): unknown } ? NamesOf<X> : never

// Distributes over unions: the newer client types a metric's labels as a union of partial records.
type NamesOf<X> = X extends unknown
  ? string extends keyof X
    ? [Exclude<X[keyof X], undefined>] extends [never]
      ? never
      : string
    : Extract<keyof X, string>
  : never

/**
 * Labels of any shape, also of an interface, that are not a function.
 *
 * @since 0.1.0
 * @category models
 */
export type SomeLabels = object & { readonly [Symbol.hasInstance]?: never }

/**
 * Labels that stand still, or are worked out from how the run ended.
 *
 * @since 0.1.0
 * @category models
 */
export type LabelsFrom<X> = SomeLabels | ((exit: X) => object)

/**
 * Holds for a metric that can be recorded on without labels; for any other it names, in the compiler's message, the
 * labels that are missing.
 *
 * @since 0.1.0
 * @category models
 */
export type WithoutLabels<M> = [LabelNames<M>] extends [never]
  ? unknown
  : string extends LabelNames<M>
    ? unknown
    : { readonly "this metric has labels: pass { labels } or a child": LabelNames<M> }

/**
 * Holds for a metric that takes labels; a child and a metric without label names take none.
 *
 * @since 0.1.0
 * @category models
 */
export type WithLabels<M> = [LabelNames<M>] extends [never] ? { readonly "this metric has no labels": never } : unknown

/**
 * Holds for a whole metric. A child has lost the way to its exemplars.
 *
 * @since 0.1.0
 * @category models
 */
export type Whole<M> = M extends { labels(labels: never): unknown }
  ? unknown
  : { readonly "an exemplar needs the whole metric: pass it with { labels } instead of a child": never }

/**
 * A value for each label of the metric `M`.
 *
 * @since 0.1.0
 * @category models
 */
export type LabelsOf<M> = { readonly [K in LabelNames<M>]: string | number }

/**
 * Holds for labels `O` that are exactly those of the metric `M`. TypeScript makes no excess check on what a function
 * returns: a name that the metric lacks gets the type `never` instead.
 *
 * @since 0.1.0
 * @category models
 */
export type ExactLabels<M, O> = LabelsOf<M> & { readonly [K in Exclude<keyof O, LabelNames<M>>]: never }

/**
 * Options without labels.
 *
 * @since 0.1.0
 * @category models
 */
export type Unlabelled = {
  /** None: the metric has no labels, or is a child that has them already. */
  readonly labels?: undefined
}

/**
 * Options with labels `L`.
 *
 * @since 0.1.0
 * @category models
 */
export type Labelled<L> = {
  /** A value for each label of the metric; of what is over also a function that works them out from how it ended. */
  readonly labels: L
}

/**
 * Options that ask for an exemplar only where the metric `M` is whole.
 *
 * @since 0.1.0
 * @category models
 */
export type Exemplar<M> =
  | { readonly exemplar?: undefined }
  | ({
      /** Puts `trace_id` and `span_id` of the current span on the sample, where that is sampled. Default: no exemplar. */
      readonly exemplar: "currentSpan"
    } & Whole<M>)

/**
 * The compiler's check of the entries of `instrumented`. Each is a metric, or `{ metric, …options }` with no other
 * option than `Options` has for it, and there are no other entries than those of `Options`.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckEntries<Entries, Options extends { readonly [entry: string]: string }> = {
  readonly [K in keyof Entries]: K extends keyof Options ? CheckEntry<Entries[K], Options[K]> : never
}

type CheckEntry<Entry, Keys extends string> = Entry extends { readonly metric: infer M }
  ? CheckLabels<M, Entry> & CheckExemplar<M, Entry> & { readonly [K in Exclude<keyof Entry, Keys | "metric">]: never }
  : WithoutLabels<Entry>

type CheckLabels<M, Entry> = Entry extends { readonly labels: infer L }
  ? {
      readonly metric: WithLabels<M>
      readonly labels: L extends (exit: never) => infer O ? (exit: never) => ExactLabels<M, O> : ExactLabels<M, L>
    }
  : { readonly metric: WithoutLabels<M> }

type CheckExemplar<M, Entry> = Entry extends { readonly exemplar: "currentSpan" }
  ? { readonly metric: Whole<M> }
  : unknown
