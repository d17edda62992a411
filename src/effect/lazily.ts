/** Loads modules at first use. */
import * as Effect from "effect/Effect"

/** `load` returns the modules, or a promise of them until they are loaded. */
export const lazily = <A>(load: () => A | Promise<A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const loaded = load()
    return loaded instanceof Promise ? Effect.promise(() => loaded) : Effect.succeed(loaded)
  })
