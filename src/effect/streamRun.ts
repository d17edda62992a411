/** One measured run of a stream, from its first pull until its finalizers have run. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { followed, interruptionsOf } from "../compat/cause.js"
import { type AnyFiber, contextOf } from "../compat/fiber.js"
import { Registry } from "../compat/registry.js"
import { type Plan, reportRejection } from "../core/instrument/instruments.js"
import type { Add } from "../core/instrument/record.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { holdsInterruption } from "./bothMajors.js"
import { Run } from "./run.js"

type AnyExit = Exit.Exit<unknown, unknown>

type CloseableScope = Parameters<typeof Scope.close>[0]

export interface Elements {
  readonly metric: object
  readonly add: Add
}

// A run can continue in other fibers, and can end where the registry of its beginning is no longer in context.
export class StreamRun<E> extends Run<void, E> {
  private readonly context: Context.Context<never> | undefined
  private own: Exit.Exit<void, E> | undefined

  constructor(
    plan: Plan<AnyExit>,
    fiber: AnyFiber,
    private readonly scope: CloseableScope
  ) {
    super(plan, fiber)
    this.context = contextOf(fiber)
  }

  protected override registry(): MetricRegistry {
    return this.context === undefined ? super.registry() : Context.get(this.context, Registry)
  }

  /** Counts the elements of a chunk. If the metric fails, the result logs it. */
  count({ add, metric }: Elements, elements: number): Effect.Effect<void> | undefined {
    if (elements === 0) return undefined
    try {
      reportRejection(add(elements), "inc", metric, this)
      return undefined
    } catch (error) {
      this.failed("inc", metric, error)
      return this.withWarnings(Effect.void)
    }
  }

  /** The stream has ended by itself. */
  over(exit: Exit.Exit<void, E>): void {
    if (this.own !== undefined) return
    this.own = exit
    this.record(exit)
  }

  /** No more pulls: closing the scope runs the finalizers. A failure of the consumer is none of the stream. */
  left(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.flatMap(Effect.exit(Scope.close(this.scope, exit)), (closed) => {
      const { own } = this
      const interrupted = Exit.isFailure(exit) && holdsInterruption(exit.cause)
      const before = own ?? (interrupted ? Exit.failCause(interruptionsOf(exit.cause)) : Exit.void)
      const whole = withFinalizers(before, closed)
      if (own === undefined) this.over(whole)
      else if (Exit.isFailure(closed)) this.recordLate(own, whole)
      return this.withWarnings(closed)
    })
  }

  // The duration was observed before this defect. The run counts as one exception at most, so it is not counted again.
  private recordLate(own: Exit.Exit<void, E>, whole: Exit.Exit<void, E>): void {
    const { exceptions } = this.plan
    if (exceptions === undefined) return
    const counts = (exit: AnyExit) => exceptions.counts(exit) && !exceptions.counts(own)
    this.record(whole, {
      ...this.plan,
      duration: undefined,
      exceptions: { ...exceptions, counts },
      inProgress: undefined
    })
  }

  withWarnings<A, R>(next: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> {
    return this.afterWarnings(next as Effect.Effect<A, E, R>) as Effect.Effect<A, never, R>
  }
}

const withFinalizers = <E>(exit: Exit.Exit<void, E>, closed: Exit.Exit<void>): Exit.Exit<void, E> => {
  if (Exit.isSuccess(closed)) return exit
  return Exit.isSuccess(exit) ? closed : Exit.failCause(followed(exit.cause, closed.cause))
}
