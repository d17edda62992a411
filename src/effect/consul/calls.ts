/** Calls to a Consul agent as effects, each with its token. */
import * as Effect from "effect/Effect"
import type { CallOptions } from "../../core/consul/connection.js"
import { ConsulError } from "../../core/consul/error.js"
import type { ServiceApi } from "../../core/consul/serviceApi.js"
import type { CurrentToken } from "./token.js"

/** Also returns the token that was used. */
export type Call = <A>(
  send: (api: ServiceApi, options: CallOptions) => Promise<A>
) => Effect.Effect<{ readonly result: A; readonly token: string | undefined }, ConsulError>

export const callsWith =
  (api: ServiceApi, token: CurrentToken): Call =>
  (send) =>
    Effect.flatMap(token, (token) =>
      Effect.map(
        attempt((signal) => send(api, { token, signal })),
        (result) => ({ result, token })
      )
    )

/** A `ConsulError` of the core is a failure, every other error a defect. */
export const attempt = <A>(run: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, ConsulError> =>
  Effect.matchEffect(Effect.tryPromise({ try: (signal) => run(signal), catch: (error) => error }), {
    onFailure: (error) => (error instanceof ConsulError ? Effect.fail(error) : Effect.die(error)),
    onSuccess: Effect.succeed
  })
