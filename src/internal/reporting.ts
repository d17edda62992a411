/** Where the failures of metrics go while a fiber is measured: counted at once, and logged as soon as the fiber can. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Reporter } from "./plan.js"
import type { Operation } from "./warnings.js"
import { warningFor } from "./warnings.js"

/** Takes failures, and keeps what is to be logged of them. */
export abstract class Reporting implements Reporter {
  private warnings: Effect.Effect<void> | undefined

  /** One of these has failed. It must not throw. */
  protected abstract counted(operation: Operation): void

  failed(operation: Operation, metric: object, error: unknown): void {
    this.counted(operation)
    const warning = warningFor(metric, operation, error)
    if (warning === undefined) return
    const log = Effect.logWarning(warning, Cause.die(error))
    this.warnings = this.warnings === undefined ? log : Effect.zipRight(this.warnings, log)
  }

  /** Logs what has failed since it was asked last, if anything has, and goes on with `next`. */
  afterWarnings<A, E, R>(next: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const { warnings } = this
    if (warnings === undefined) return next
    this.warnings = undefined
    // A logger that dies must not change the outcome either.
    return Effect.zipRight(
      Effect.catchAllCause(warnings, () => Effect.void),
      next
    )
  }
}
