/** Reads the connection to a Consul agent from the environment. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { environmentOf, readTokenFile, secureAddress, type Values } from "../../core/consul/environment.js"
import { invalidOptions } from "../../core/consul/error.js"
import { defaultAddress, isBlankText, tlsOptions } from "../../core/consul/options.js"
import { checkNames, ownOptions } from "../../core/util/options.js"
import { messageOf } from "../../core/util/text.js"
import { readRedacted } from "../secrets.js"
import type { ServiceDiscoveryError } from "../serviceDiscovery.js"
import { checked, discoveryError } from "./discovery.js"
import { agentOptions, givenToken, type Options } from "./options.js"

/** Adds the variables, for options that are not given. With `CONSUL_HTTP_SSL`, a given `address` also uses HTTPS. */
export const withEnvironment = <E>(
  options: Options,
  variables: Effect.Effect<Values, E>
): Effect.Effect<Options, E | ServiceDiscoveryError> =>
  Effect.gen(function* () {
    readRedacted()
    const given: Options = yield* checked(() => {
      checkNames(agentOptions, options)
      const own = ownOptions<Options>(options)
      if (own.tls !== undefined) checkNames(tlsOptions, own.tls, "tls")
      return own
    })
    const values = yield* variables
    const env = yield* checked(() => environmentOf(values))
    const { auth, namespace, tls = {} } = given
    const address = orElse(given.address, env.address ?? defaultAddress)
    return {
      ...given,
      address: env.ssl && typeof address === "string" ? secureAddress(address) : address,
      token: (givenToken(given.token) as Options["token"]) ?? (yield* tokenOf(env)),
      auth: orElse(auth, redacted(env.auth)),
      namespace: orElse(namespace, env.namespace),
      tls: {
        ca: orElse(tls.ca, env.ca),
        cert: orElse(tls.cert, env.cert),
        key: orElse(tls.key, redacted(env.key)),
        serverName: orElse(tls.serverName, env.serverName),
        verify: orElse(tls.verify, env.verify)
      }
    }
  })

// The token file takes precedence over the token.
const tokenOf = ({ token, tokenFile }: ReturnType<typeof environmentOf>) => {
  if (tokenFile === undefined) return Effect.succeed(redacted(token))
  const read = Effect.tryPromise({ try: () => readTokenFile(tokenFile), catch: (error) => error })
  // The file is also read now, so a missing file fails the start.
  return Effect.mapBoth(read, {
    onFailure: (error) => discoveryError(invalidOptions(messageOf(error), error)),
    onSuccess: () => Effect.map(read, Redacted.make)
  })
}

const orElse = <A, B>(given: A, fallback: B) => (given === undefined || isBlankText(given) ? fallback : given)

const redacted = (text: string | undefined) => (text === undefined ? undefined : Redacted.make(text))
