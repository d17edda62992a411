/** The log of the current fiber, for code outside of Effect. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type { Log } from "../core/util/log.js"

/** With the loggers and annotations of the fiber that runs this effect. */
export const currentLog: Effect.Effect<Log> = Effect.map(
  Effect.runtime<never>(),
  (runtime): Log =>
    (level, message, error) =>
      void Runtime.runFork(runtime)(error === undefined ? at[level](message) : at[level](message, Cause.die(error)))
)

/** A logger that throws must not end the fiber that logs. */
export const harmless = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllDefect(log, () => Effect.void)

const at = { info: Effect.logInfo, warn: Effect.logWarning, error: Effect.logError }
