/** How a server is registered with a service discovery. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ConsulAgent from "../ConsulAgent.js"
import { running, toLog } from "../internal/edge.js"
import { ownOptions } from "../internal/options.js"
import type { Server, ServiceDiscovery, ServiceDiscoveryError } from "../ServiceDiscovery.js"

/**
 * How to register a server for `startHttpServer`: `consulAgent(…)`, or one's own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /**
   * Registers `server`. It resolves to the function that takes the registration back, called before the server stops
   * listening, or to nothing if there is nothing to take back. If it rejects, the server is closed again and
   * `startHttpServer` rejects with the same error.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: an async function that returns nothing is one of the two
  readonly register: (server: Server) => PromiseLike<(() => unknown) | void>
  /** By whom servers are registered, for the log. Default: `"service discovery"`. */
  readonly name?: string | undefined
  /** Whether `server` is registered at this moment. Default: it is once `register` has resolved. */
  readonly isRegistered?: ((server: Server) => boolean) | undefined
}

/**
 * How to register with a Consul agent: `ConsulAgent.Options`, whose `token` may be a function as well.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConsulAgentOptions extends Omit<ConsulAgent.Options, "token"> {
  /**
   * The ACL token, or a function that gives it, now or as a promise, and is called for each call to the agent, so that a
   * token can be another one later. A function that throws, or a promise that rejects, is a failure with
   * `reason: "Token"`; the text of its error is left out, as it may hold the token.
   */
  readonly token?: ConsulAgent.Token | (() => SomeToken | PromiseLike<SomeToken>) | undefined
}

type SomeToken = string | Redacted.Redacted<string>

/**
 * Registers with the local Consul agent; see `ConsulAgent.Options`. As a `serviceDiscovery` it says what it has to say to
 * the server's `log`, and called by somebody else to `console`. `register` rejects with a `ServiceDiscoveryError`
 * that names the agent's address, with the status and the body of its answer if there was one.
 *
 * @example
 * import { consulAgent, startHttpServer } from "effect-prometheus/Promises"
 *
 * export const server = startHttpServer({ port: 9464, serviceDiscovery: consulAgent({ name: "checkout" }) })
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgent = (options: ConsulAgentOptions = {}): Discovery =>
  registeringWith((servers) => ConsulAgent.makeFor(withToken(options), servers))

/**
 * The same, its connection to the agent read from the environment variables of Consul's own tools (`CONSUL_HTTP_ADDR`,
 * `CONSUL_HTTP_TOKEN`, …); what `options` give goes before them. See `ConsulAgent.fromEnv`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const consulAgentFromEnv = (options: ConsulAgentOptions = {}): Discovery =>
  registeringWith((servers) =>
    Effect.flatMap(ConsulAgent.withEnvironment(withToken(options)), (all) => ConsulAgent.makeFor(all, servers))
  )

const withToken = (given: ConsulAgentOptions): ConsulAgent.Options => {
  const options = ownOptions(given)
  const token = options?.token
  return isFunction(token)
    ? { ...options, token: Effect.tryPromise(async () => token()) }
    : (options as ConsulAgent.Options)
}

// Some effects are functions as well.
const isFunction = (token: ConsulAgentOptions["token"]): token is () => SomeToken | PromiseLike<SomeToken> =>
  typeof token === "function" && !Effect.isEffect(token)

type Service = ServiceDiscovery["Type"]

// A discovery of the library's own is used as what it is, in the server's scope and with the server's log.
const ofEffect = Symbol.for("effect-prometheus/Promises/Discovery")

/**
 * The service that a discovery stands for. One that is made of the library's own, by `...` or with it as its prototype, is
 * another one, with methods of its own.
 */
export const asService = (discovery: Discovery): Effect.Effect<Service, unknown, Scope.Scope> => {
  if (isOfEffect(discovery)) return discovery[ofEffect]
  // Called as methods: it may be an instance of a class.
  return Effect.succeed({
    name: discovery.name,
    isRegistered: (server) => Effect.sync(() => discovery.isRegistered?.(server) ?? true),
    register: (server) =>
      Effect.acquireRelease(
        Effect.tryPromise({
          try: async () => discovery.register(server),
          catch: (error) => error as ServiceDiscoveryError
        }),
        (takeBack) => Effect.promise(async () => takeBack?.())
      )
  })
}

interface OfEffect extends Discovery {
  readonly [ofEffect]: Effect.Effect<Service, unknown, Scope.Scope>
}

const isOfEffect = (discovery: Discovery): discovery is OfEffect => Object.hasOwn(discovery, ofEffect)

const registeringWith = (
  makeFor: (servers: Set<Server>) => Effect.Effect<Service, unknown, Scope.Scope>
): Discovery => {
  const make = makeFor(new Set())
  const registered = new WeakMap<Server, Service>()
  const discovery: Discovery = {
    register: async (server) => {
      const { close } = await running(
        Effect.tap(make, (service) => {
          registered.set(server, service)
          return service.register(server)
        }),
        toLog(undefined)
      )
      return close
    },
    isRegistered: (server) => Effect.runSync(registered.get(server)?.isRegistered?.(server) ?? Effect.succeed(false))
  }
  return Object.defineProperty(discovery, ofEffect, { value: make })
}
