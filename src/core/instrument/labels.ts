/**
 * The methods that a metric must have, and its labels. No type requires a class: prom-client 15,
 * `@prometheus-io/client` 0.16, a labelled child of either, and a hand-written object are all distinguished by their
 * methods.
 */

/**
 * A metric that records durations: a histogram, a summary, or a labelled child of one. The value is in **seconds**.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observer {
  /** Records a run time, in seconds. */
  observe(seconds: number): void
}

/**
 * A metric that counts events: a counter, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counter {
  /** Adds one. */
  inc(): void
}

/**
 * A metric that counts things in progress: a gauge, or a labelled child of one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Gauge {
  /** Adds one. */
  inc(): void
  /** Subtracts one. */
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
 * The label names in the type of a metric: `never` for a metric without labels and for a child, `string` if the
 * compiler cannot know them, as for a prom-client 15 metric that was made without literal `labelNames`.
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
 * Labels as any object except a function. The type may be an interface.
 *
 * @since 0.1.0
 * @category models
 */
export type SomeLabels = object & { readonly [Symbol.hasInstance]?: never }

/**
 * Labels that are either constant or computed from the exit of the run.
 *
 * @since 0.1.0
 * @category models
 */
export type LabelsFrom<X> = SomeLabels | ((exit: X) => object)

/**
 * Accepts a metric that can be recorded without labels. For any other metric, the compiler's message names the missing
 * labels.
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
 * Accepts a metric with labels. Rejects a child and a metric without label names.
 *
 * @since 0.1.0
 * @category models
 */
export type WithLabels<M> = [LabelNames<M>] extends [never] ? { readonly "this metric has no labels": never } : unknown

/**
 * Accepts a metric that is not a child. A child cannot record exemplars.
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
 * Accepts labels `O` that are exactly the labels of the metric `M`. TypeScript makes no excess check on the result of a
 * function: instead, a name that the metric does not have gets the type `never`.
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
  /** No labels: the metric has none, or is a child that already has them. */
  readonly labels?: undefined
}

/**
 * Options with labels `L`.
 *
 * @since 0.1.0
 * @category models
 */
export type Labelled<L> = {
  /**
   * A value for each label of the metric. Metrics that are recorded at the end also accept a function that computes
   * them from the exit.
   */
  readonly labels: L
}

/**
 * Options that allow an exemplar only if the metric `M` is not a child.
 *
 * @since 0.1.0
 * @category models
 */
export type Exemplar<M> =
  | { readonly exemplar?: undefined }
  | ({
      /**
       * Adds `trace_id` and `span_id` of the current span to the sample, if the span is sampled. Default: no exemplar.
       */
      readonly exemplar: "currentSpan"
    } & Whole<M>)

/**
 * The compiler's check of the entries of `instrumented`. Each entry is a metric, or `{ metric, …options }` with only
 * the options that `Options` has for it. Only the entries of `Options` are allowed.
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
