import type { Progress } from "../util/eventLoopSlices.js"
import type { LabelTexts } from "./labelText.js"
import type { Failure, WrittenFamily } from "./render.js"

export interface RenderRequest {
  /** Undefined for all. */
  readonly names: ReadonlyArray<string> | undefined
  /**
   * Times of `now()`. The render waits for metrics until `patience`. At `at` the result is due, complete or not.
   * Default: it waits without a limit.
   */
  readonly deadline?: { readonly at: number; readonly patience: number } | undefined
  readonly cancellation?: Cancellation | undefined
}

/** An `AbortSignal` takes longer to create than the render of a small registry. */
export class Cancellation {
  onCancel: (() => void) | undefined

  constructor(public isCancelled = false) {}

  cancel(): void {
    this.isCancelled = true
    this.onCancel?.()
  }
}

/** Those that had not answered (`isWaiting`), or else the metric that would have been collected next. */
export interface TimedOut {
  readonly names: ReadonlyArray<string>
  readonly isWaiting: boolean
}

export interface RenderedBytes {
  /** Followed by `end`. The bytes are shared and must not be changed. */
  bytesOf(families: ReadonlyArray<WrittenFamily>, end: string): Promise<Uint8Array>
  /** In separate memory. */
  copyOf(families: ReadonlyArray<WrittenFamily>): Promise<Uint8Array>
}

/** In the order of the registry. */
export interface Rendered {
  readonly families: ReadonlyArray<WrittenFamily>
  readonly failures: ReadonlyArray<Failure>
  /** Undefined if the result is complete. */
  readonly stopped: TimedOut | undefined
  readonly defaults: LabelTexts | undefined
  /** How long it blocked the event loop at most, in milliseconds. */
  readonly longestBlock: number
  /** Sentences, keyed by their subject: what is left out, and counters of unknown type. */
  readonly notices: ReadonlyMap<string, string>
  /** The same object for all results of one render. */
  readonly source: RenderedBytes
  /** Called when the bytes are no longer needed. Without the call, their memory is not reused. */
  readonly done: () => void
}

export interface RenderMode {
  /** Called when this thread begins to work on the render, and when it yields or waits for metrics. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Whether its memory is reused, after `done` of each result is called. */
  readonly isServed: boolean
}
