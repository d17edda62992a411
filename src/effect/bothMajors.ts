/**
 * Operations that have other names in Effect 4 than in Effect 3. Files that use these, and otherwise only what both have,
 * run with either. `Promises` consists of such files: bundlers follow every import, and a program has only one of the two.
 *
 * Tested with effect 3.22 and 4.1.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"

/** A running fiber. */
export type Forked<A, E> = Fiber.Fiber<A, E> & { addObserver(ended: (exit: Exit.Exit<A, E>) => void): unknown }

export type Fork<R> = <A, E>(effect: Effect.Effect<A, E, R>) => Forked<A, E>

interface Effects {
  // Effect 3.
  readonly runtime?: <R>() => Effect.Effect<object, never, R>
  readonly forkDaemon?: Detach
  readonly mapInputContext?: UpdateContext
  // Effect 4.
  readonly context?: <R>() => Effect.Effect<Context.Context<R>, never, R>
  readonly runForkWith?: <R>(context: Context.Context<R>) => Fork<R>
  readonly forkDetach?: Detach
  readonly updateContext?: UpdateContext
}

type UpdateContext = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  update: (context: Context.Context<R>) => Context.Context<R>
) => Effect.Effect<A, E, R>

type Detach = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>

const effects = Effect as unknown as Effects

const missing = (): never => {
  throw new Error(
    "effect-prometheus needs effect 3.19 or later, or effect 4.1 or later; this effect is another version"
  )
}

/** Forks effects with the services, loggers and annotations of the fiber that runs this. */
export const currentFork = <R = never>(): Effect.Effect<Fork<R>, never, R> => {
  const { context, runForkWith, runtime = missing } = effects
  if (context !== undefined && runForkWith !== undefined)
    return Effect.map(context<R>(), (services) => runForkWith(services))
  const { runFork } = Runtime as unknown as { readonly runFork: (runtime: object) => Fork<R> }
  return Effect.map(runtime<R>(), runFork)
}

/** Runs outside of the current span. */
export const withoutSpan = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  (effects.mapInputContext ?? effects.updateContext ?? missing)(
    self,
    (context) => Context.omit(Tracer.ParentSpan as never)(context) as never
  )

const detached: Detach = effects.forkDaemon ?? effects.forkDetach ?? missing

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

interface Reasons {
  readonly reasons: ReadonlyArray<{
    readonly _tag: "Fail" | "Die" | "Interrupt"
    readonly error?: unknown
    readonly defect?: unknown
  }>
}

interface Causes {
  // Effect 3.
  readonly isEmpty?: Test
  readonly isFailure?: Test
  readonly isDie?: Test
  readonly isInterrupted?: Test
  readonly isInterruptedOnly?: Test
  readonly failures?: (cause: Cause.Cause<unknown>) => Iterable<unknown>
  readonly defects?: (cause: Cause.Cause<unknown>) => Iterable<unknown>
  // Effect 4.
  readonly hasFails?: Test
  readonly hasDies?: Test
  readonly hasInterrupts?: Test
}

const causes: Causes = Cause

const reasons = (cause: Cause.Cause<unknown>): Reasons["reasons"] => (cause as unknown as Reasons).reasons

/** Also of a cause without a reason. */
export const isInterruptedOnly: Test =
  causes.isInterruptedOnly ?? ((cause) => reasons(cause).every(({ _tag }) => _tag === "Interrupt"))

/** Whether it holds at least one failure. */
export const holdsFailure: Test = causes.isFailure ?? causes.hasFails ?? missing

/** Whether it holds at least one defect. */
export const holdsDefect: Test = causes.isDie ?? causes.hasDies ?? missing

/** Whether it holds at least one interruption. */
export const holdsInterruption: Test = causes.isInterrupted ?? causes.hasInterrupts ?? missing

const { defects, failures, isEmpty: isEmpty3 } = causes

export const isEmpty: Test = isEmpty3 ?? ((cause) => reasons(cause).length === 0)

export const failuresOf: (cause: Cause.Cause<unknown>) => ReadonlyArray<unknown> =
  failures === undefined
    ? (cause) => reasons(cause).flatMap((reason) => (reason._tag === "Fail" ? [reason.error] : []))
    : (cause) => [...failures(cause)]

const defectsOf: typeof failuresOf =
  defects === undefined
    ? (cause) => reasons(cause).flatMap((reason) => (reason._tag === "Die" ? [reason.defect] : []))
    : (cause) => [...defects(cause)]

/** Its failures, then its defects. */
export const errorsOf = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> => [
  ...failuresOf(cause),
  ...defectsOf(cause)
]

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
