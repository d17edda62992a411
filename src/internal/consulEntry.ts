/** The one entry of a Consul agent that is ours: looked at, made, made again, and taken back. */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { Calls } from "./consulCalls.js"
import { isWithoutEffect } from "./consulConnection.js"
import type { Known, Sanitize, Wanted } from "./consulService.js"
import { differences, isSamePlace, placeOf } from "./consulService.js"
import type { Trouble } from "./consulTrouble.js"
import { visible } from "./visible.js"

/** What is registered, and with whom. */
export interface EntryOptions {
  readonly calls: Calls
  readonly wanted: Wanted
  /** By whom it is registered, for messages. */
  readonly by: string
  /** Whether what was registered is read back. */
  readonly verify: boolean
  /** How long the agent may take, in milliseconds, to say whose the entry is that is to be taken back. */
  readonly lastLook: number
}

/** What a look found: all was well, or it was registered anew, or another instance holds the id. */
export type Found = "well" | "registered" | { readonly takenBy: Known }

/** The entry. */
export interface Entry {
  /**
   * Looks whether the agent knows the service, and registers it if it is missing or different. One that another
   * instance holds is taken the first time, as by whoever registers last, and left to it later.
   */
  readonly look: Effect.Effect<Found, Trouble>
  /** Takes the registration back, unless another instance has the entry by now. */
  readonly takenBack: Effect.Effect<void>
}

// What is to be remembered from one look to the next.
interface Memory {
  /**
   * From the moment that a request is on its way the agent may know the service, whatever we hear of it; only what
   * proves that it never got there, or that it was refused, leaves things as they were.
   */
  mayBeKnown: boolean
  wasRegistered: boolean
  /** Who had the id at the last look that told, if it was another instance. */
  takenBy: Known | undefined
  /** The agent goes on using the token of the registration when it tells the servers of the service. */
  token: unknown
}

/** An entry that nobody has made yet. */
export const entry = (options: EntryOptions): Entry => {
  const memory: Memory = { mayBeKnown: false, wasRegistered: false, takenBy: undefined, token: undefined }
  return { look: look(options, memory), takenBack: Effect.suspend(() => takenBack(options, memory)) }
}

const look = (options: EntryOptions, memory: Memory): Effect.Effect<Found, Trouble> =>
  Effect.gen(function* () {
    const { calls, wanted } = options
    const { known, token } = yield* calls.look()
    const { wasRegistered } = memory
    const isOther = known !== undefined && !isSamePlace(known, wanted)
    memory.takenBy = isOther && wasRegistered ? known : undefined
    if (known !== undefined && wasRegistered) {
      if (isOther) return { takenBy: known }
      if (Equal.equals(token, memory.token) && !(yield* isDifferent(known, options))) return "well"
    }
    yield* register(options, memory)
    // That of an earlier run, which would speak for this one.
    if (known !== undefined && !wasRegistered && wanted.check === undefined) yield* Effect.ignore(calls.dropCheck)
    if (isOther) yield* Effect.logWarning(tookThePlace(wanted, known, calls.sanitized))
    return "registered"
  })

const isDifferent = (known: Known, { calls, wanted }: EntryOptions): Effect.Effect<boolean> => {
  if (differences(known, wanted, calls.sanitized).length > 0) return Effect.succeed(true)
  return wanted.check === undefined ? Effect.succeed(false) : calls.lacksCheck
}

const register = (options: EntryOptions, memory: Memory): Effect.Effect<void, Trouble> =>
  Effect.suspend(() => {
    const before = memory.mayBeKnown
    memory.mayBeKnown = true
    return Effect.matchEffect(options.calls.register, {
      onFailure: (trouble) => {
        if (isWithoutEffect(trouble)) memory.mayBeKnown = before
        return Effect.fail(trouble)
      },
      onSuccess: (token) => {
        memory.token = token
        memory.wasRegistered = true
        return options.verify ? verified(options) : Effect.void
      }
    })
  })

const verified = ({ by, calls, wanted }: EntryOptions): Effect.Effect<void, Trouble> =>
  Effect.gen(function* () {
    const { known } = yield* calls.look()
    const wrong = known === undefined ? ["it is not there"] : differences(known, wanted, calls.sanitized)
    const all = wrong.length === 0 && wanted.check !== undefined && (yield* calls.lacksCheck) ? ["no check"] : wrong
    if (all.length === 0) return
    const message = `${by} took the registration of ${placeOf(wanted)}, but does not show it so: ${all.join(", ")}`
    yield* Effect.fail<Trouble>({ reason: "NotVerified", message: message + sharing(known, wanted, calls.sanitized) })
  })

const idOf = ({ id }: Wanted): string => visible(id)

const takenBack = ({ calls, lastLook, wanted }: EntryOptions, { mayBeKnown, takenBy }: Memory): Effect.Effect<void> => {
  if (!mayBeKnown) return Effect.void
  const leave = (other: Known) =>
    Effect.logInfo(`the service ${idOf(wanted)} stays registered: it is that of ${placeOf(other, calls.sanitized)} now`)
  return Effect.flatMap(calls.withOneToken, ({ deregister, look }) => {
    const forget = Effect.catchAll(deregister, ({ message }) =>
      Effect.logWarning(`the service ${idOf(wanted)} may still be registered: ${message}`)
    )
    return Effect.matchEffect(look(lastLook), {
      onFailure: () => (takenBy === undefined ? forget : leave(takenBy)),
      // Also where it is not there: a request that nobody answered may be on its way still.
      onSuccess: ({ known }) => (known === undefined || isSamePlace(known, wanted) ? forget : leave(known))
    })
  })
}

// What registered in between is a server of this process, or another process.
const sharing = (known: Known | undefined, wanted: Wanted, sanitized: Sanitize): string =>
  known === undefined || isSamePlace(known, wanted)
    ? ""
    : `. If ${placeOf(known, sanitized)} is another server, both share the id ${idOf(wanted)}, and an agent knows one service by an id: ` +
      "choose a serviceId for each"

const tookThePlace = (wanted: Wanted, other: Known, sanitized: Sanitize): string =>
  `the id ${idOf(wanted)} was that of ${placeOf(other, sanitized)}, and is that of ${placeOf(wanted)} now: an agent knows one service ` +
  "by an id. Unless that was an earlier run of this instance, choose a serviceId for each"

/** What there is to say where another instance holds the id. */
export const lostThePlace = (wanted: Wanted, other: Known, sanitized: Sanitize): string =>
  `the id ${idOf(wanted)} is that of ${placeOf(other, sanitized)} now, and ${placeOf(wanted)} is not registered any more: an agent ` +
  "knows one service by an id. Choose a serviceId for each instance"
