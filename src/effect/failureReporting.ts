/** Where the failures of metrics go while a fiber is measured: counted at once, and logged as soon as the fiber can. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Reporter } from "./plan.js"
import type { Operation } from "./warnings.js"
import { warningFor } from "./warnings.js"

/** Takes failures, and keeps what is to be logged of them. */
export abstract class Reporting implements Reporter {
  private warnings: Effect.Effect<void> | undefined

  /** What counts failures of the present. It must not throw. */
  protected abstract counter(): (operation: Operation) => void

  failed(operation: Operation, metric: object, error: unknown): void {
    this.counter()(operation)
    const log = warning(operation, metric, error)
    if (log !== undefined) this.warnings = this.warnings === undefined ? log : Effect.zipRight(this.warnings, log)
  }

  failsLater(operation: Operation, metric: object): (error: unknown) => void {
    const count = this.counter()
    const fork = this.forking()
    return (error) => {
      count(operation)
      const log = warning(operation, metric, error)
      if (log !== undefined) fork(log)
    }
  }

  /** How something is logged when the fiber that was measured may have ended. */
  protected forking(): (log: Effect.Effect<void>) => void {
    return Effect.runFork
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

const warning = (operation: Operation, metric: object, error: unknown): Effect.Effect<void> | undefined => {
  const text = warningFor(metric, operation, error)
  return text === undefined ? undefined : Effect.logWarning(text, Cause.die(error))
}
