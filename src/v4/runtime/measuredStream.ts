/** Measures a stream. */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Plan } from "../../core/instrument/instruments.js"
import { isInterruptedOnly } from "../../effect/bothMajors.js"
import { type Elements, StreamRun } from "../effect/streamRun.js"

export const { isStream } = Stream

type Chunk<A> = readonly [A, ...Array<A>]

/**
 * The finalizer is added before the +1, and the +1 is one operation: every run that starts also ends, wherever the
 * stream is interrupted. The stream's own scope closes where the finalizers would have run anyway, and shows their defects.
 */
export const measured = <A, E, R>(
  self: Stream.Stream<A, E, R>,
  plan: Plan<Exit.Exit<unknown, unknown>>,
  elements: Elements | undefined
): Stream.Stream<A, E, R> =>
  Stream.fromChannel(
    Channel.fromTransform((_, outer) =>
      Effect.uninterruptibleMask((restore) => {
        let run: StreamRun<E> | undefined
        const begin = Effect.withFiber((fiber) => {
          const scope = Scope.makeUnsafe()
          run = new StreamRun<E>(plan, fiber, scope)
          const opened = restore(Channel.toPullScoped(Stream.toChannel(self), scope))
          const failed = failing(run)
          const observed = Effect.onExitPrimitive(opened, (exit) => failed(exit))
          return run.withWarnings(Effect.map(observed, watching<A, E, R>(run, elements)))
        })
        return Effect.andThen(
          Scope.addFinalizerExit(outer, (exit) => run?.left(exit) ?? Effect.void),
          begin
        )
      })
    )
  )

// Counts elements, and records the exit if the stream ends by itself, before its finalizers run.
const watching =
  <A, E, R>(run: StreamRun<E>, elements: Elements | undefined) =>
  (pull: Pull.Pull<Chunk<A>, E, void, R>): Pull.Pull<Chunk<A>, E, void, R> => {
    const failed = failing(run)
    return Effect.onExitPrimitive(pull, (exit) =>
      Exit.isSuccess(exit) ? elements && run.count(elements, exit.value.length) : failed(exit)
    )
  }

// At the end of a stream, its pull fails with `Done`. After an interruption the scope closes, which records it.
const failing =
  <E>(run: StreamRun<E>) =>
  (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined => {
    if (Exit.isSuccess(exit) || isInterruptedOnly(exit.cause)) return undefined
    run.over(Pull.isDoneCause(exit.cause) ? Exit.void : (exit as Exit.Exit<never, E>))
    return run.warnings()
  }
