/** The registration of a server with a service discovery, whichever that is. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { bounded } from "./bounded.js"

/** What is asked of a service discovery. */
export interface Registering<Server, E> {
  readonly register: (server: Server) => Effect.Effect<void, E, Scope.Scope>
  readonly name?: string | undefined
  readonly isRegistered?: ((server: Server) => Effect.Effect<boolean>) | undefined
}

/** Whether a server is registered. */
export interface Registration {
  readonly isRegistered: Effect.Effect<boolean>
  /** By whom, as the end of a sentence. */
  readonly told: Effect.Effect<string>
}

/** Nobody was there to register with. */
export const notRegistered: Registration = {
  isRegistered: Effect.succeed(false),
  told: Effect.succeed("not registered: no service discovery was provided to it")
}

/**
 * Registers for as long as the scope lasts. The registration has a scope of its own, closed before the server stops
 * accepting, and given up on after so many milliseconds.
 */
export const registration = <Server, E>(
  discovery: Registering<Server, E>,
  server: Server,
  shutdownTimeout: number
): Effect.Effect<Registration, E, Scope.Scope> =>
  Effect.gen(function* () {
    const name = discovery.name ?? "service discovery"
    const registered = yield* Ref.make(false)
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) =>
      Effect.zipRight(Ref.set(registered, false), closedInTime(scope, exit, shutdownTimeout, name))
    )
    yield* Scope.extend(discovery.register(server), scope)
    yield* Ref.set(registered, true)
    const { isRegistered: ask } = discovery
    // A discovery that cannot say so knows of no registration.
    const current =
      ask === undefined
        ? Effect.succeed(true)
        : Effect.catchAllDefect(
            Effect.suspend(() => ask.call(discovery, server)),
            () => Effect.succeed(false)
          )
    const isRegistered = Effect.flatMap(Ref.get(registered), (is) => (is ? current : Effect.succeed(false)))
    const told = Effect.map(isRegistered, (is) => (is ? `registered by ${name}` : `not yet registered by ${name}`))
    return { isRegistered, told }
  })

const closedInTime = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>, timeout: number, name: string) =>
  Effect.flatMap(bounded(Scope.close(scope, exit), timeout), (closed) => {
    if (closed === undefined)
      return Effect.logWarning(`${name} did not take the registration back within ${timeout} ms`)
    return Exit.isFailure(closed)
      ? Effect.logWarning(`${name} could not take the registration back`, closed.cause)
      : Effect.void
  })
