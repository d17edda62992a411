/** Service discoveries for promises. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as ConsulAgent from "../effect/consul/options.js"
import type { RunningServer, Discovery as Service } from "../effect/serviceDiscovery.js"

/**
 * Registers the server of `startHttpServer` with a service discovery: `consulAgent(…)`, or a custom implementation.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /**
   * Registers `server`. Resolves to a function that removes the registration, or to nothing if there is nothing to
   * remove. That function is called before the server stops listening. If `register` rejects, the server is closed, and
   * `startHttpServer` rejects with the same error.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: an async function that returns nothing is one of the two
  readonly register: (server: RunningServer) => PromiseLike<(() => unknown) | void>
  /** The name of the service discovery, for the log. Default: `"service discovery"`. */
  readonly name?: string | undefined
  /** Whether `server` is registered at this moment. Default: it is once `register` has resolved. */
  readonly isRegistered?: ((server: RunningServer) => boolean) | undefined
}

/**
 * Options of the registration with a Consul agent: `ConsulAgent.Options`, except that `token` may also be a function.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConsulAgentOptions extends Omit<ConsulAgent.Options, "token"> {
  /**
   * The ACL token, or a function that returns it or a promise of it. The function is called for each call to the agent,
   * so the token can change. A function that throws, or a promise that rejects, is a failure with `reason: "Token"`. The
   * text of that error is not shown, because it may contain the token.
   */
  readonly token?: ConsulAgent.Token | (() => SomeToken | PromiseLike<SomeToken>) | undefined
}

type SomeToken = string | Redacted.Redacted<string>

export type { Service }

export type ServiceEffect = Effect.Effect<Service, unknown, Scope.Scope>

// One of the library's own discoveries runs as an Effect service, in the scope of the server and with its log.
const ofEffect = Symbol.for("effect-prometheus/Promises/Discovery")

interface OfEffect extends Discovery {
  readonly [ofEffect]: () => Promise<ServiceEffect>
}

/** Marks a discovery as one of the library's own. */
export const withService = (discovery: Discovery, load: () => Promise<ServiceEffect>): Discovery =>
  Object.defineProperty(discovery, ofEffect, { value: load })

/**
 * `undefined` for a discovery that is not the library's own. A copy of one of those (by `...`), or an object that has
 * it as its prototype, is another discovery with its own methods.
 */
export const loadService = (discovery: Discovery): Promise<ServiceEffect> | undefined =>
  isOfEffect(discovery) ? discovery[ofEffect]() : undefined

const isOfEffect = (discovery: Discovery): discovery is OfEffect => Object.hasOwn(discovery, ofEffect)
