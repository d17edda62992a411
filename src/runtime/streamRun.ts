/** One measured run of a stream. */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import type * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Registry } from "../compat/registry.js"
import { type Plan, reportRejection } from "../core/instrument/instruments.js"
import type { Add } from "../core/instrument/record.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { Run } from "../effect/run.js"

type AnyExit = Exit.Exit<unknown, unknown>

export interface Elements {
  readonly metric: object
  readonly add: Add
}

type StreamChannel<A, E, R> = Channel.Channel<Chunk.Chunk<A>, unknown, E, unknown, unknown, unknown, R>

/**
 * The finalizer is added before the +1, and the +1 is one operation: every run that starts also ends, wherever the
 * stream is interrupted. The stream's own scope closes where the finalizers would have run anyway. A handler of the
 * stream's end would run them earlier, while others still use the resources, and would lose their defects.
 */
export const measured = <A, E, R>(
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
          return run.withWarnings(opened(Channel.pipeTo(channel, watching<A, E>(run, elements)), scope))
        })
      )
      const body = Channel.flatMap(Channel.fromEffect(begin), pulling)
      return Channel.ensuringWith(body, (exit) => run?.left(exit) ?? Effect.void)
    })
  )
}

type Pull<A, E, R> = Effect.Effect<Either.Either<Chunk.Chunk<A>, unknown>, E, R>

// `toPullIn` passes the services, fiber refs and flags of the fiber where it runs to the finalizers. The finalizers need
// those of the fiber where the stream ends. So `toPullIn` runs in a fiber with default values only, which change nothing.
// It does not wait for anything.
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

// Counts elements, and records the exit if the stream ends by itself, before its finalizers run.
const watching = <A, E>(
  run: StreamRun<E>,
  elements: Elements | undefined
): Channel.Channel<Chunk.Chunk<A>, Chunk.Chunk<A>, E, E, unknown, unknown> => {
  const loop: Channel.Channel<Chunk.Chunk<A>, Chunk.Chunk<A>, E, E, unknown, unknown> = Channel.readWithCause({
    onInput: (chunk: Chunk.Chunk<A>) => {
      const passed = Channel.flatMap(Channel.write(chunk), () => loop)
      if (elements === undefined || chunk.length === 0) return passed
      try {
        reportRejection(elements.add(chunk.length), "inc", elements.metric, run)
        return passed
      } catch (error) {
        run.failed("inc", elements.metric, error)
        return Channel.flatMap(Channel.fromEffect(run.withWarnings(Effect.void)), () => passed)
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

// A run can continue in other fibers, and can end where the registry of its beginning is no longer in context.
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

  /** No more pulls: closing the scope runs the finalizers. A failure of the consumer is none of the stream. */
  left(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.flatMap(Effect.exit(Scope.close(this.scope, exit)), (closed) => {
      const { own } = this
      const interrupted = Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)
      const before = own ?? (interrupted ? Exit.failCause(interruption(exit.cause)) : Exit.void)
      const whole = Exit.zipLeft(before, closed)
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

const interruption = (cause: Cause.Cause<unknown>): Cause.Cause<never> => {
  const [first = FiberId.none, ...others] = Cause.interruptors(cause)
  return Cause.interrupt(others.reduce<FiberId.FiberId>((all, id) => FiberId.combine(all, id), first))
}
