/** Measures a stream. */
import * as Channel from "effect/Channel"
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { hasProperty } from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Plan } from "../core/instrument/instruments.js"
import { type Elements, StreamRun } from "../effect/streamRun.js"

/** An effect is also a stream. */
export const isStream = (value: unknown): boolean => Effect.isEffect(value) || hasProperty(value, Stream.StreamTypeId)

type AnyExit = Exit.Exit<unknown, unknown>

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
      const warning = elements && run.count(elements, chunk.length)
      return warning === undefined ? passed : Channel.flatMap(Channel.fromEffect(warning), () => passed)
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
