/** Where effects meet promises: a value with the scope that it lives in, and a log that knows nothing of fibers. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Scope from "effect/Scope"
import { messageOf } from "./message.js"

/**
 * Takes what a server has to say.
 *
 * @since 0.1.0
 * @category models
 */
export type Log = (level: "info" | "warn" | "error", message: string) => void

const toConsole: Log = (level, message) => console[level](`effect-prometheus: ${message}`)

/** Puts `log` in the place of Effect's own logger. */
export const toLog = (log: Log | false = toConsole): Layer.Layer<never> =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ cause, logLevel, message }) => {
      if (log === false || LogLevel.lessThan(logLevel, LogLevel.Info)) return
      const text = [message].flat().map(String).join(" ")
      try {
        const said: unknown = log(
          levelOf(logLevel),
          Cause.isEmpty(cause) ? text : `${text}: ${messageOf(Cause.squash(cause))}`
        )
        Promise.resolve(said).catch(() => {})
      } catch {
        // A log that throws, or one that is asynchronous and rejects, is nothing for the server to fall for.
      }
    })
  )

const levelOf = (level: LogLevel.LogLevel) => {
  if (LogLevel.lessThan(level, LogLevel.Warning)) return "info"
  return level === LogLevel.Warning ? "warn" : "error"
}

/**
 * Runs `effect` and keeps its scope open until `close`, which can be called twice. An error is thrown as it is, not
 * wrapped in what a fiber says of it.
 */
export const running = async <A, E>(
  effect: Effect.Effect<A, E, Scope.Scope>,
  logger: Layer.Layer<never>
): Promise<{ readonly value: A; readonly close: () => Promise<void> }> => {
  const scope = Effect.runSync(Scope.make())
  const closing = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.runPromise(Effect.provide(Scope.close(scope, exit), logger))
  const exit = await Effect.runPromiseExit(Effect.provide(Scope.extend(effect, scope), logger))
  if (Exit.isFailure(exit)) {
    await closing(exit)
    throw Cause.squash(exit.cause)
  }
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    closed ??= closing(Exit.void)
    return closed
  }
  return { value: exit.value, close }
}
