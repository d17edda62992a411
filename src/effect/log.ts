/** The log of the current fiber, for code outside of Effect. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Log } from "../core/util/log.js"
import { currentFork } from "./bothMajors.js"

/** With the loggers and annotations of the fiber that runs this effect. */
export const currentLog: Effect.Effect<Log> = Effect.map(
  currentFork(),
  (fork): Log =>
    (level, message, error) =>
      void fork(error === undefined ? at[level](message) : at[level](message, Cause.die(error)))
)

/** A logger that throws must not end the fiber that logs. */
export const harmless = (log: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.matchCauseEffect(log, { onFailure: () => Effect.void, onSuccess: () => Effect.void })

const at = { info: Effect.logInfo, warn: Effect.logWarning, error: Effect.logError }
