/** Runs effects for promises: a value with its scope, and a log function instead of Effect's loggers. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { toConsole } from "../core/util/log.js"
import { messageOf } from "../core/util/text.js"
import { isEmpty, levelName, loggingTo } from "./bothMajors.js"

/**
 * Receives the log lines of a server.
 *
 * @since 0.1.0
 * @category models
 */
export type Log = (level: "info" | "warn" | "error", message: string) => void

export const toLog = (log: Log | false = toConsole): Layer.Layer<never> =>
  loggingTo(
    Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      const level = levels.get(levelName(logLevel))
      if (log === false || level === undefined) return
      const text = [message].flat().map(String).join(" ")
      try {
        const said: unknown = log(level, isEmpty(cause) ? text : `${text}: ${messageOf(Cause.squash(cause))}`)
        Promise.resolve(said).catch(() => {})
      } catch {
        // A log that throws, or that is async and rejects, must not stop the server.
      }
    })
  )

// Others are not logged.
const levels = new Map<string, Parameters<Log>[0]>([
  ["INFO", "info"],
  ["WARN", "warn"],
  ["ERROR", "error"],
  ["FATAL", "error"]
])

/** Rejects with the error as it is, not with a fiber failure. */
export const promised = async <A, E>(effect: Effect.Effect<A, E>): Promise<A> => {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
  return exit.value
}

/** The scope is open until `close`, which may be called twice. Throws an error as it is, not a fiber failure. */
export const running = async <A, E>(
  effect: Effect.Effect<A, E, Scope.Scope>,
  logger: Layer.Layer<never>
): Promise<{ readonly value: A; readonly close: () => Promise<void> }> => {
  const scope = Effect.runSync(Scope.make())
  const closing = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.runPromise(Effect.provide(Scope.close(scope, exit), logger))
  const exit = await Effect.runPromiseExit(Effect.provide(Effect.provideService(effect, Scope.Scope, scope), logger))
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
