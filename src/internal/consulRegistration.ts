/** A registration that heals: made, watched over, and made again where the agent lost it. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { EntryOptions, Found } from "./consulEntry.js"
import { entry, lostThePlace } from "./consulEntry.js"
import type { Trouble } from "./consulTrouble.js"
import { messageOf } from "./message.js"
import { longestTimer } from "./timer.js"

/** What is registered, and how. Times are in milliseconds. */
export interface Registering extends EntryOptions {
  /** What is registered, for the log. */
  readonly url: string
  readonly required: boolean
  readonly deregister: boolean
  /** From one look to the next; undefined: nobody looks again once it is registered. */
  readonly watchInterval: number | undefined
  /** That of the check, where the agent is to be told that all is well. */
  readonly ttl: number | undefined
}

/** What is known of a registration. */
export interface State {
  /** Whether the last look, or the last registration, found all as it should be. */
  isConfirmed: boolean
}

type Look = Effect.Effect<Found, Trouble>

/**
 * Registers; closing the scope takes the registration back. Where it is required, the first failure is that of the
 * whole; else it is told, and it goes on trying.
 */
export const registered = (options: Registering, state: State): Effect.Effect<void, Trouble, Scope.Scope> =>
  Effect.gen(function* () {
    const { deregister, required, ttl, url, watchInterval } = options
    const ours = entry(options)
    yield* Effect.addFinalizer(() => {
      state.isConfirmed = false
      return deregister ? ours.takenBack : Effect.void
    })
    state.isConfirmed = yield* Effect.as(ours.look, true).pipe(
      Effect.catchAll((trouble) =>
        required
          ? Effect.fail(trouble)
          : Effect.as(Effect.logWarning(`${trouble.message}; ${url} is not registered, and it goes on trying`), false)
      )
    )
    const oneAtATime = yield* Effect.makeSemaphore(1)
    const look = oneAtATime.withPermits(1)(told(withoutDefects(ours.look), options, state))
    if (watchInterval !== undefined) yield* Effect.forkScoped(watching(look, watchInterval, state))
    else if (!state.isConfirmed) yield* Effect.forkScoped(registering(look))
    if (ttl !== undefined) yield* Effect.forkScoped(feeding(look, options, state, ttl))
  })

// The watch is to end with the scope, and for no other reason.
const withoutDefects = (look: Look): Look =>
  Effect.catchAllDefect(look, (cause) =>
    Effect.fail<Trouble>({ reason: "Unreachable", message: `a look at the registration: ${messageOf(cause)}`, cause })
  )

// Keeps the state, and tells what changed: once, however often it is found so.
const told = (look: Look, { by, calls, url, wanted }: Registering, state: State): Look => {
  let last: "well" | "registered" | "taken" | "failing" = state.isConfirmed ? "well" : "failing"
  let wasRegistered = state.isConfirmed
  const becomes = (next: typeof last): typeof last => {
    const before = last
    last = next
    state.isConfirmed = next === "well" || next === "registered"
    return before
  }
  const failed = ({ message }: Trouble) =>
    becomes("failing") === "failing"
      ? Effect.void
      : Effect.logWarning(`${message}; whether ${url} is registered is not known, and it goes on looking`)
  const found = (outcome: Found) => {
    if (typeof outcome !== "string") {
      return becomes("taken") === "taken"
        ? Effect.void
        : Effect.logError(lostThePlace(wanted, outcome.takenBy, calls.sanitized))
    }
    const before = becomes(outcome)
    if (outcome === "well") {
      return before === "failing" || before === "taken"
        ? Effect.logInfo(`${url} is still registered by ${by}`)
        : Effect.void
    }
    const what = wasRegistered ? "registered again" : "registered"
    wasRegistered = true
    // Where each look finds it different, somebody else changes it: that is told once as well.
    return before === "registered" ? Effect.void : Effect.logInfo(`${url} ${what} by ${by}`)
  }
  return Effect.tapBoth(look, { onFailure: failed, onSuccess: found })
}

const firstPause = 1_000
const longestPause = 30_000

// With jitter, so that the instances that an agent lost at once do not come back at once.
const pause = (milliseconds: number): Effect.Effect<void> =>
  Effect.flatMap(Random.nextRange(0.9, 1.1), (factor) => Effect.sleep(milliseconds * factor))

// One second, two, four …
const backoff = (longest: number) =>
  Schedule.exponential(Math.min(firstPause, longest)).pipe(Schedule.union(Schedule.spaced(longest)), Schedule.jittered)

const registering = (look: Look): Effect.Effect<unknown> =>
  Effect.ignore(Effect.zipRight(pause(firstPause), Effect.retry(look, backoff(longestPause))))

const watching = (look: Look, interval: number, { isConfirmed }: State): Effect.Effect<unknown> => {
  // An agent that fails is not waited for longer than one that is well.
  const tried = Effect.retry(look, backoff(Math.min(interval, longestPause)))
  const every = Schedule.jitteredWith(Schedule.spaced(interval), { min: 0.9, max: 1.1 })
  const first = isConfirmed ? interval : Math.min(interval, firstPause)
  return Effect.ignore(Effect.zipRight(pause(first), Effect.repeat(tried, every)))
}

// Tells the agent that all is well, three times in the life of what it is told. An agent that does not take it may have
// lost the check, or gives the id to another: a look shows that.
const feeding = (look: Look, options: Registering, state: State, ttl: number): Effect.Effect<unknown> => {
  const { calls, url, watchInterval } = options
  let isFailing = false
  const pass = Effect.suspend(() => (state.isConfirmed ? calls.pass : Effect.void))
  const passed = Effect.catchAll(pass, () => Effect.zipRight(Effect.ignore(look), pass))
  const told = Effect.matchEffect(passed, {
    onFailure: ({ message }) => {
      const wasFailing = isFailing
      isFailing = true
      return wasFailing
        ? Effect.void
        : Effect.logWarning(`${message}; the check of ${url} turns critical unless that ends`)
    },
    onSuccess: () => {
      const wasFailing = isFailing
      isFailing = false
      return wasFailing && state.isConfirmed
        ? Effect.logInfo(`the check of ${url} is told again that all is well`)
        : Effect.void
    }
  })
  const fed = Effect.suspend(() =>
    // Where nobody else looks whether it is well again.
    state.isConfirmed || watchInterval !== undefined ? told : Effect.zipRight(Effect.ignore(look), told)
  )
  return Effect.repeat(fed, Schedule.spaced(Math.min(ttl / 3, longestTimer)))
}
