/** The registration of a server with a service discovery. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { withinTime } from "./bothMajors.js"
import type { Discovery, RunningServer, ServiceDiscoveryError } from "./serviceDiscovery.js"

export interface Registration {
  readonly isRegistered: Effect.Effect<boolean>
  /** Whether and by which discovery, as the end of a sentence. */
  readonly summary: Effect.Effect<string>
}

// How long the start waits for the discovery's answer, in milliseconds.
const answerTime = 1_000

/** Without a service discovery. */
export const notRegistered: Registration = {
  isRegistered: Effect.succeed(false),
  summary: Effect.succeed("")
}

/**
 * The registration has its own scope, closed before the server stops accepting connections. Closing it may take up to
 * `shutdownTimeout` milliseconds.
 */
export const registration = (
  discovery: Discovery,
  server: RunningServer,
  shutdownTimeout: number
): Effect.Effect<Registration, ServiceDiscoveryError, Scope.Scope> =>
  Effect.gen(function* () {
    const name = discovery.name ?? "service discovery"
    const registered = yield* Ref.make(false)
    const scope = yield* Scope.make()
    const closing = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.annotateLogs(closeInTime(Scope.close(scope, exit), shutdownTimeout, name), "metrics_url", server.url)
    yield* Effect.addFinalizer((exit) => Effect.andThen(Ref.set(registered, false), closing(exit)))
    yield* Effect.provideService(discovery.register(server), Scope.Scope, scope)
    yield* Ref.set(registered, true)
    const { isRegistered: ask } = discovery
    // A discovery that dies counts as not registered.
    const current =
      ask === undefined
        ? Effect.succeed(true)
        : Effect.map(
            Effect.exit(Effect.suspend(() => ask.call(discovery, server))),
            (exit) => Exit.isSuccess(exit) && exit.value
          )
    const isRegistered = Effect.flatMap(Ref.get(registered), (is) => (is ? current : Effect.succeed(false)))
    const summary = Effect.map(
      withinTime(isRegistered, answerTime),
      (is) => `, ${Option.getOrElse(is, () => false) ? "" : "not yet "}registered by ${name}`
    )
    return { isRegistered, summary }
  })

const closeInTime = (close: Effect.Effect<void>, timeout: number, name: string) =>
  Effect.flatMap(withinTime(Effect.exit(close), timeout), (closed) => {
    if (Option.isNone(closed)) return Effect.logWarning(`${name} did not deregister the server within ${timeout} ms`)
    return Exit.isFailure(closed.value)
      ? Effect.logWarning(`${name} failed to deregister the server`, closed.value.cause)
      : Effect.void
  })
