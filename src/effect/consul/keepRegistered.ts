/** Keeps a registration: watches it, and registers again if the agent lost it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { ConsulError } from "../../core/consul/error.js"
import { longestTimer } from "../../core/util/duration.js"
import { messageOf } from "../../core/util/text.js"
import { holdsFailure, isInterruptedOnly } from "../bothMajors.js"
import { type Outcome, type ReconcileOptions, Reconciler, replacedByMessage } from "./reconcile.js"

/** Times are in milliseconds. */
export interface KeepRegisteredOptions extends ReconcileOptions {
  /** Of the metrics, for the log. */
  readonly url: string
  readonly required: boolean
  readonly deregister: boolean
  /** Undefined: no looks after the registration. */
  readonly watchInterval: number | undefined
  /** Undefined: the check has no TTL. */
  readonly ttl: number | undefined
}

export interface RegistrationState {
  /** The last look or registration succeeded and found the desired service. */
  isConfirmed: boolean
}

// It registers if necessary.
type Look = Effect.Effect<Outcome, ConsulError>

/**
 * Keeps the registration until the scope closes, which deregisters it. If the registration is required, the first
 * failure fails the effect. Otherwise it is logged, the effect succeeds, and further attempts follow.
 */
export const keepRegistered = (
  options: KeepRegisteredOptions,
  state: RegistrationState
): Effect.Effect<void, ConsulError, Scope.Scope> =>
  Effect.gen(function* () {
    const { deregister, required, service, url, watchInterval } = options
    const reconciler = new Reconciler(options)
    yield* Effect.addFinalizer(() => {
      state.isConfirmed = false
      return deregister ? Effect.annotateLogs(reconciler.deregister(), "service_id", service.id) : Effect.void
    })
    state.isConfirmed = yield* Effect.as(reconciler.look(), true).pipe(
      Effect.matchEffect({
        onFailure: (error) =>
          required
            ? Effect.fail(error)
            : Effect.as(Effect.logWarning(`${error.message}; ${url} is not registered; retrying`), false),
        onSuccess: Effect.succeed
      })
    )
    const look = yield* oneAtATime(logged(withoutDefects(reconciler.look()), options, state))
    if (watchInterval !== undefined || !state.isConfirmed) {
      yield* Effect.forkScoped(watch(look, watchInterval, state))
    }
    if (options.ttl !== undefined) yield* Effect.forkScoped(heartbeat(look, options, options.ttl, state))
  })

// A defect must not end the watch; only the scope does.
const withoutDefects = (look: Look): Look =>
  Effect.matchCauseEffect(look, {
    onFailure: (cause) => {
      if (holdsFailure(cause) || isInterruptedOnly(cause)) return Effect.failCause(cause)
      const defect = Cause.squash(cause)
      const message = `cannot check the registration: ${messageOf(defect)}`
      return Effect.fail(new ConsulError("Unreachable", message, { cause: defect }))
    },
    onSuccess: Effect.succeed
  })

// The watch and the heartbeat may look at the same time. The queue has one place, which is used while one of them does.
const oneAtATime = <A, E>(run: Effect.Effect<A, E>): Effect.Effect<Effect.Effect<A, E>> =>
  Effect.map(Queue.bounded<void>(1), (running) =>
    Effect.acquireUseRelease(
      Effect.interruptible(Queue.offer(running, undefined)),
      () => run,
      () => Queue.take(running)
    )
  )

// Each change is logged once, however often a look finds it.
const logged = (look: Look, { by, sanitize, service, url }: KeepRegisteredOptions, state: RegistrationState): Look => {
  let last: "unchanged" | "registered" | "replaced" | "failing" = state.isConfirmed ? "unchanged" : "failing"
  let wasRegistered = state.isConfirmed
  /** Whether the last outcome was a different one. */
  const becomes = (next: typeof last): boolean => {
    const isNew = last !== next
    last = next
    state.isConfirmed = next === "unchanged" || next === "registered"
    return isNew
  }
  const onFailure = ({ message }: ConsulError) =>
    becomes("failing") ? Effect.logWarning(`${message}; ${url} may not be registered; retrying`) : Effect.void
  const onSuccess = (outcome: Outcome) => {
    if (typeof outcome !== "string") {
      return becomes("replaced")
        ? Effect.logError(replacedByMessage(service, outcome.replacedBy, sanitize))
        : Effect.void
    }
    const wasConfirmed = state.isConfirmed
    // If another program keeps changing the service, each look finds a difference. This is also logged once.
    if (!becomes(outcome)) return Effect.void
    if (outcome === "unchanged") {
      return wasConfirmed ? Effect.void : Effect.logInfo(`${url} is still registered by ${by}`)
    }
    const what = wasRegistered ? "registered again" : "registered"
    wasRegistered = true
    return Effect.logInfo(`${url} is ${what} by ${by}`)
  }
  return Effect.matchEffect(look, {
    onFailure: (error) => Effect.andThen(onFailure(error), Effect.fail(error)),
    onSuccess: (outcome) => Effect.as(onSuccess(outcome), outcome)
  })
}

const firstPause = 1_000
const longestPause = 30_000

// The jitter prevents that instances which the agent lost at the same time all return at the same time.
const pause = (milliseconds: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) => Effect.sleep(milliseconds * (0.9 + random / 5)))

// Retries after one second, then two, then four …
const retried = <A>(look: Effect.Effect<A, ConsulError>, next: number, longest: number): Effect.Effect<A> =>
  Effect.matchEffect(look, {
    onFailure: () => Effect.andThen(pause(Math.min(next, longest)), retried(look, 2 * next, longest)),
    onSuccess: Effect.succeed
  })

// Without an interval, the watch ends with the first success.
const watch = (look: Look, interval: number | undefined, { isConfirmed }: RegistrationState) => {
  // The pause after a failure is at most the pause after a success.
  const longest = Math.min(interval ?? longestPause, longestPause)
  const first = isConfirmed && interval !== undefined ? interval : Math.min(longest, firstPause)
  const tried = retried(look, firstPause, longest)
  const looks = interval === undefined ? tried : Effect.forever(Effect.andThen(tried, pause(interval)))
  return Effect.andThen(pause(first), looks)
}

// Three reports per TTL. If the agent refuses one, it may have lost the check, or another instance may have the id. A
// look finds out.
const heartbeat = (
  look: Look,
  { call, url, watchInterval }: KeepRegisteredOptions,
  ttl: number,
  state: RegistrationState
): Effect.Effect<unknown> => {
  let isFailing = false
  const pass = Effect.suspend(() =>
    state.isConfirmed ? Effect.asVoid(call((api, options) => api.pass(options))) : Effect.void
  )
  const passed = Effect.matchEffect(pass, {
    onFailure: () => Effect.andThen(Effect.ignore(look), pass),
    onSuccess: Effect.succeed
  })
  const report = Effect.matchEffect(passed, {
    onFailure: ({ message }) => {
      if (isFailing) return Effect.void
      isFailing = true
      return Effect.logWarning(`${message}; the check of ${url} becomes critical if this continues`)
    },
    onSuccess: () => {
      const wasFailing = isFailing
      isFailing = false
      return wasFailing && state.isConfirmed ? Effect.logInfo(`the check of ${url} passes again`) : Effect.void
    }
  })
  const beat = Effect.suspend(() =>
    // Without a watch, only this look detects that the registration is correct again.
    state.isConfirmed || watchInterval !== undefined ? report : Effect.andThen(Effect.ignore(look), report)
  )
  return Effect.forever(Effect.andThen(beat, Effect.sleep(Math.min(ttl / 3, longestTimer))))
}
