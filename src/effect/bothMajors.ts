/**
 * Operations that have other names in Effect 4 than in Effect 3. Files that use these, and otherwise only what both have,
 * run with either. `Promises` consists of such files: bundlers follow every import, and a program has only one of the two.
 *
 * Tested with effect 3.22 and 4.1.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"

type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

interface Effects {
  // Effect 3.
  readonly runtime?: () => Effect.Effect<object>
  readonly forkDaemon?: Detach
  // Effect 4.
  readonly context?: () => Effect.Effect<object>
  readonly runForkWith?: (context: object) => Fork
  readonly forkDetach?: Detach
}

type Detach = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>

const { context, forkDaemon, forkDetach, runForkWith, runtime }: Effects = Effect as unknown as Effects

const { runFork } = Runtime as { readonly runFork?: (runtime: object) => Fork }

const missing = (): never => {
  throw new Error(
    "this version of effect is not supported: effect-prometheus needs effect 3.19 or later, or 4.1 or later"
  )
}

/** Forks effects with the services, loggers and annotations of the fiber that runs this. */
export const currentFork: Effect.Effect<Fork> =
  runForkWith !== undefined && context !== undefined
    ? Effect.map(context(), runForkWith)
    : Effect.map((runtime ?? missing)(), runFork ?? missing)

const detached: Detach = forkDaemon ?? forkDetach ?? missing

/**
 * Runs it for at most the given milliseconds. After that, or when the caller is interrupted, it is interrupted, which is
 * not awaited: an effect that cannot be interrupted continues. In a finalizer, where nothing can be interrupted, the limit
 * holds as well.
 */
export const withinTime = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  milliseconds: number
): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(detached(Effect.interruptible(self)), (fiber) => {
      const ended = Effect.timeoutOption(Effect.interruptible(Fiber.join(fiber)), milliseconds)
      return Effect.ensuring(
        restore(ended),
        Effect.sync(() => void Effect.runFork(Fiber.interrupt(fiber)))
      )
    })
  )

type Test = (cause: Cause.Cause<unknown>) => boolean

interface Causes {
  // Effect 3.
  readonly isInterruptedOnly?: Test
  readonly isFailure?: Test
  readonly isEmpty?: Test
  // Effect 4.
  readonly hasInterruptsOnly?: Test
  readonly hasFails?: Test
}

const causes: Causes = Cause

export const isInterruptedOnly: Test = causes.isInterruptedOnly ?? causes.hasInterruptsOnly ?? missing

/** Whether it holds at least one failure. */
export const holdsFailure: Test = causes.isFailure ?? causes.hasFails ?? missing

export const isEmpty: Test =
  causes.isEmpty ?? ((cause) => (cause as { readonly reasons?: ReadonlyArray<unknown> }).reasons?.length === 0)

interface Loggers {
  // Effect 3.
  readonly replace?: (self: unknown, that: unknown) => Layer.Layer<never>
  // Effect 4.
  readonly layer?: (loggers: ReadonlyArray<unknown>) => Layer.Layer<never>
}

const { layer, replace }: Loggers = Logger as unknown as Loggers

/** In place of the default logger. */
export const loggingTo = (logger: Logger.Logger<unknown, void>): Layer.Layer<never> =>
  layer === undefined ? (replace ?? missing)(Logger.defaultLogger, logger) : layer([logger])

/** `INFO`, `WARN`, … */
export const levelName = (level: string | { readonly label: string }): string =>
  (typeof level === "string" ? level : level.label).toUpperCase()
