/** Measures the requests of an app. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { AnyFiber } from "../../compat/fiber.js"
import { awaitingResponse } from "../../compat/http/handlers.js"
import type { AnyResponse, App } from "../../compat/http/platform.js"
import { begun, type RequestRun } from "../../effect/http/exchange.js"
import type { Measuring } from "../../effect/http/measuring.js"

// As in `Metrics`, the +1 and the handler of the end are in one uninterruptible region. A server starts in one.
export const measured =
  (measuring: Measuring) =>
  <E, R>(app: App<E, R>): App<E, R> => {
    const around =
      (body: App<E, R>) =>
      (fiber: AnyFiber): App<E, R> => {
        const run = begun(fiber, measuring)
        return run === undefined ? body : awaitingResponse(fiber, run, observed(body, run))
      }
    const protectedBody = around(app)
    const masked = Effect.uninterruptible(Effect.withFiberRuntime(around(Effect.interruptible(app))))
    return Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
      RuntimeFlags.interruption(runtimeFlags) ? masked : protectedBody(fiber)
    )
  }

const observed = <E, R>(body: App<E, R>, run: RequestRun): App<E, R> => {
  const ended = (exit: Exit.Exit<AnyResponse, E>): Effect.Effect<AnyResponse, E> => {
    const before = run.ended(exit)
    return before === undefined ? exit : Effect.flatMap(before, () => exit)
  }
  return Effect.matchCauseEffect(body, {
    onFailure: (cause: Cause.Cause<E>) => ended(Exit.failCause(cause)),
    onSuccess: (response) => ended(Exit.succeed(response))
  })
}
