/**
 * Registers a metrics server with the local Consul agent, so that Prometheus finds it through `consul_sd_configs`.
 *
 * It speaks to the agent's own API (`/v1/agent/service/register` and `/v1/agent/service/deregister/:id`), never to the
 * catalog, and gives the service an HTTP check of the server's `healthUrl`.
 *
 * @example
 * import { ConsulAgent, MetricsServer } from "effect-prometheus"
 * import { Layer, Redacted } from "effect"
 *
 * export const Metrics = MetricsServer.layer({ host: "10.0.0.7", port: 9464 }).pipe(
 *   Layer.provide(ConsulAgent.layer({ name: "checkout", tags: ["v2"], token: Redacted.make("…") }))
 * )
 *
 * @since 0.1.0
 * @module
 */
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { isWildcard } from "./internal/address.js"
import type { FromConfig } from "./internal/config.js"
import { unwrapped } from "./internal/config.js"
import { callsAbout } from "./internal/consulCalls.js"
import type { Check, CheckedCheck } from "./internal/consulCheck.js"
import { checkOf } from "./internal/consulCheck.js"
import type { Connection } from "./internal/consulConnection.js"
import { connect } from "./internal/consulConnection.js"
import { environment } from "./internal/consulEnvironment.js"
import type { AgentTls } from "./internal/consulOptions.js"
import {
  advertisedOf,
  flagOf,
  headersOf,
  knownTls,
  metaOf,
  millisOf,
  namesOf,
  tagsOf,
  targetOf,
  tlsOf,
  withoutEmpty
} from "./internal/consulOptions.js"
import type { State } from "./internal/consulRegistration.js"
import { registered } from "./internal/consulRegistration.js"
import type { Wanted } from "./internal/consulService.js"
import type { Token } from "./internal/consulToken.js"
import { tokenFor, tokenIn } from "./internal/consulToken.js"
import type { Trouble } from "./internal/consulTrouble.js"
import { invalid, knownOnly } from "./internal/consulTrouble.js"
import { messageOf } from "./internal/message.js"
import { plain } from "./internal/secret.js"
import { visible } from "./internal/visible.js"
import type { Discovery, Server } from "./ServiceDiscovery.js"
import { ServiceDiscovery, ServiceDiscoveryError } from "./ServiceDiscovery.js"

export type { FromConfig } from "./internal/config.js"
export type { Check, CheckOptions, HttpCheck, TtlCheck } from "./internal/consulCheck.js"
export type { AgentTls } from "./internal/consulOptions.js"
export type { Token } from "./internal/consulToken.js"

/**
 * Where the agent is, and how to speak to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentConnection {
  /**
   * The agent's own address: `http://host:port`, `https://host:port`, `host:port`, or `unix:///path/of/socket`. Default:
   * `http://127.0.0.1:8500`.
   */
  readonly address?: string | undefined
  /**
   * The ACL token, which travels in `X-Consul-Token`; or an effect that gives it, which is run for each call (once for
   * those at the shutdown), so that a token can be another one later. The agent itself goes on using the token of the
   * registration: with another token the service is registered again, so give the same one for as long as it is good.
   */
  readonly token?: Token | undefined
  /** User and password for HTTP basic authentication, as `user:password`. */
  readonly auth?: Redacted.Redacted<string> | undefined
  /** The Consul Enterprise namespace to register in. */
  readonly namespace?: string | undefined
  /** For an agent that speaks HTTPS. */
  readonly tls?: AgentTls | undefined
}

/**
 * How to register.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends AgentConnection {
  /** The name of the service. Default: `"app-metrics"`. */
  readonly name?: string | undefined
  /**
   * The id of the service, unique per agent: a second instance with the same id takes the place of the first, and both
   * say so in their logs, with both addresses. Give each instance on a machine its own. Default: `name`.
   */
  readonly serviceId?: string | undefined
  /** None may hold a comma, which is what Prometheus puts between them. Default: none. */
  readonly tags?: ReadonlyArray<string> | undefined
  /**
   * Metadata, which Prometheus has as `__meta_consul_service_metadata_<key>`: up to 64 pairs, keys of up to 128 letters,
   * digits, `_` and `-`, values of up to 512 bytes. Default: `metrics_path` and `metrics_scheme`, the path of the metrics
   * and `http` or `https`; what is given is added to these, or goes before them.
   */
  readonly meta?: Readonly<Record<string, string>> | undefined
  /**
   * Whether the registration is taken back when its scope closes. One that another instance has by then is left to it.
   * Default: `true`.
   */
  readonly deregister?: boolean | undefined
  /**
   * What is registered instead of what was bound. Default: the address and port that were bound; on a wildcard bind no
   * address, so that Consul uses that of its node.
   */
  readonly advertise?: { readonly address?: string | undefined; readonly port?: number | undefined } | undefined
  /** The check of the service, or `false` for none. Default: an HTTP check of the server's `healthUrl`. */
  readonly check?: Check | false | undefined
  /**
   * Whether a server that cannot be registered fails. With `false` it serves, logs a warning, and goes on trying.
   * Default: `true`.
   */
  readonly required?: boolean | undefined
  /** Whether what was registered is read back through the agent and compared. Default: `true`. */
  readonly verify?: boolean | undefined
  /**
   * From one look whether the agent still knows the service to the next, give or take a tenth; it is registered again
   * only if it is missing or different. After a failure the next look comes sooner: a second later, then two, four, up
   * to this time or 30 seconds. `false`: nobody looks. Default: 10 seconds.
   */
  readonly watchInterval?: Duration.DurationInput | false | undefined
  /** How long it may take to have the token for a call, and then the agent to answer. Default: 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * A service discovery that speaks to a Consul agent. It fails with `reason: "InvalidOptions"` if an option cannot be
 * right, or a TLS file cannot be read.
 *
 * An empty or blank text counts as an option that is not given, as with Consul's own tools: `address`, `token`, `auth`,
 * `namespace`, those of `tls`, `advertise.address`, and each of `tags`. An empty or blank `name`, `serviceId` or `check.url` is
 * refused.
 *
 * Its `register` fails with `reason: "Refused"` on any answer but 200, with `status` and `body`; `"Unreachable"` if
 * nobody answers; `"Timeout"` if nobody answers in time; `"NotVerified"` if the agent shows something else than what was
 * registered; `"Token"` if there is no token; `"InvalidOptions"` for an HTTP check that the server would turn away, and
 * for a second server that shares the `serviceId` of a running one because both have the same discovery. Each message
 * names the agent's address, or the option.
 *
 * What goes wrong later fails nothing: it is logged when it begins and when it is over, and mended when it can be.
 * Registered is what the last look found registered.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Discovery, ServiceDiscoveryError, Scope.Scope> =>
  makeFor(options, new Set())

/**
 * The same for the servers that share the options. Each of `servers` has a registration of its own.
 *
 * @internal
 */
export const makeFor = (
  options: Options,
  servers: Set<Server>
): Effect.Effect<Discovery, ServiceDiscoveryError, Scope.Scope> =>
  typed(
    Effect.gen(function* () {
      yield* knownOnly("options", options, known)
      const given = withoutEmpty(options)
      const settled = yield* settle(given)
      return discovery(yield* connected(given, settled), given, settled, servers)
    })
  )

/**
 * Registration with a Consul agent as a layer: see `make`. Provide it to the layer of the server.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ServiceDiscovery, ServiceDiscoveryError> =>
  Layer.scoped(ServiceDiscovery, make(options))

/**
 * The layer, its options read from configuration. A `Config.option` that is not set is an option that is not given.
 *
 * @example
 * import { ConsulAgent } from "effect-prometheus"
 * import { Config } from "effect"
 *
 * export const Discovery = ConsulAgent.layerConfig({
 *   name: Config.succeed("checkout"),
 *   token: Config.option(Config.redacted("CONSUL_TOKEN")),
 *   tags: Config.option(Config.array(Config.string(), "CONSUL_TAGS"))
 * })
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: FromConfig<Options>
): Layer.Layer<ServiceDiscovery, ConfigError.ConfigError | ServiceDiscoveryError> =>
  Layer.scoped(ServiceDiscovery, Effect.flatMap(unwrapped(options), make))

/**
 * The layer, its connection to the agent read from the environment variables of Consul's own tools; what `options` give
 * goes before them. With `CONSUL_HTTP_SSL` an `address` that is given is one of HTTPS as well. See `fromEnv`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEnv = (
  options: Options = {}
): Layer.Layer<ServiceDiscovery, ConfigError.ConfigError | ServiceDiscoveryError> =>
  Layer.scoped(ServiceDiscovery, Effect.flatMap(withEnvironment(options), make))

/**
 * The connection to the agent as Consul's own tools read it from the environment: `CONSUL_HTTP_ADDR`,
 * `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE` (before the former, and read anew for each call), `CONSUL_HTTP_AUTH`,
 * `CONSUL_HTTP_SSL`, `CONSUL_HTTP_SSL_VERIFY`, `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`,
 * `CONSUL_TLS_SERVER_NAME` and `CONSUL_NAMESPACE`. Not read: `CONSUL_CAPATH`. It fails where one of them cannot be right.
 *
 * @since 0.1.0
 * @category config
 */
export const fromEnv: Effect.Effect<AgentConnection, ConfigError.ConfigError | ServiceDiscoveryError> = Effect.suspend(
  () => withEnvironment({})
)

/**
 * `options`, and what the environment says of those that are not given.
 *
 * @internal
 */
export const withEnvironment = (
  options: Options
): Effect.Effect<Options, ConfigError.ConfigError | ServiceDiscoveryError> =>
  Effect.gen(function* () {
    yield* typed(knownOnly("options", options, known))
    const given = withoutEmpty(options)
    if (given.tls !== undefined) yield* typed(knownOnly("tls", given.tls, knownTls))
    const env = yield* environment()
    const { address = env.address ?? defaultAddress } = given
    const fromFile = given.token !== undefined || env.tokenFile === undefined ? undefined : tokenIn(env.tokenFile)
    // Once now, so that a file that is not there shows at the start.
    if (fromFile !== undefined) yield* typed(Effect.mapError(fromFile, (error) => invalid(messageOf(error), error)))
    return {
      ...given,
      // As with Consul's own tools, also where the address says http: what travels with it is a secret.
      address:
        env.ssl && typeof address === "string" ? address.replace(/^(http:\/\/)?(?!\w+:\/\/)/, "https://") : address,
      token: given.token ?? fromFile ?? env.token,
      auth: given.auth ?? env.auth,
      namespace: given.namespace ?? env.namespace,
      tls: {
        ca: env.ca,
        cert: env.cert,
        key: env.key,
        serverName: env.serverName,
        verify: env.verify,
        ...Object.fromEntries(Object.entries(given.tls ?? {}).filter(([, value]) => value !== undefined))
      }
    }
  })

const defaultAddress = "http://127.0.0.1:8500"
const defaultName = "app-metrics"

const typed = <A, R>(effect: Effect.Effect<A, Trouble, R>): Effect.Effect<A, ServiceDiscoveryError, R> =>
  Effect.mapError(effect, (trouble) => new ServiceDiscoveryError(trouble))

// Everything that is known of an option: another key is none.
const known = {
  address: true,
  token: true,
  auth: true,
  namespace: true,
  tls: true,
  name: true,
  serviceId: true,
  tags: true,
  meta: true,
  deregister: true,
  advertise: true,
  check: true,
  required: true,
  verify: true,
  watchInterval: true,
  timeout: true
} as const satisfies Record<keyof Options, true>

// What the library says of a server in its metadata.
const metaOfServer = ({ url }: Server) => {
  const { pathname, protocol } = new URL(url)
  return { metrics_path: pathname, metrics_scheme: protocol.replace(":", "") }
}

// The options that are checked and worked out before a server is there. Times are in milliseconds.
interface Settled {
  readonly timeout: number
  readonly watchInterval: number | undefined
  readonly tags: ReadonlyArray<string>
  readonly meta: Readonly<Record<string, string>>
  readonly check: CheckedCheck | undefined
  readonly required: boolean
  readonly deregister: boolean
  readonly verify: boolean
}

const settle = (options: Options): Effect.Effect<Settled, Trouble> =>
  Effect.gen(function* () {
    const { name = defaultName, watchInterval = "10 seconds" } = options
    yield* namesOf(name, serviceIdOf(options))
    yield* advertisedOf(options.advertise)
    return {
      timeout: yield* millisOf("timeout", options.timeout ?? "5 seconds"),
      watchInterval:
        watchInterval === false ? undefined : yield* millisOf("watchInterval", watchInterval, ", or false"),
      tags: yield* tagsOf(options.tags),
      meta: yield* metaOf(options.meta, ["metrics_path", "metrics_scheme"]),
      check: yield* checkOf(options.check),
      required: yield* flagOf("required", options.required, true),
      deregister: yield* flagOf("deregister", options.deregister, true),
      verify: yield* flagOf("verify", options.verify, true)
    }
  })

const connected = (options: Options, { check, timeout }: Settled): Effect.Effect<Connection, Trouble, Scope.Scope> =>
  Effect.gen(function* () {
    const { address = defaultAddress, auth, namespace, token } = options
    const headers = yield* headersOf({ auth, namespace, token: Effect.isEffect(token) ? undefined : token })
    const target = yield* targetOf(address)
    const shownAddress = visible(address)
    return yield* connect({
      address: shownAddress,
      headers,
      timeout,
      target,
      tls: yield* tlsOf(options.tls),
      token: tokenFor(token, shownAddress),
      secrets: [...(check?.secrets ?? []), ...secretsOf(auth, headers)]
    })
  })

// An agent may repeat the password without the user, and the header as it was sent.
const secretsOf = (auth: Options["auth"], { authorization = "" }: Readonly<Record<string, string>>) => {
  if (auth === undefined) return []
  const text = String(plain("ConsulAgent.auth", auth))
  return [text, text.slice(text.indexOf(":") + 1), authorization, authorization.replace(/^Basic /, "")]
}

const discovery = (connection: Connection, options: Options, settled: Settled, servers: Set<Server>): Discovery => {
  const { check, deregister, required, timeout, verify, watchInterval } = settled
  const states = new WeakMap<Server, State>()
  const name = `the Consul agent at ${connection.address} with the id ${visible(serviceIdOf(options))}`
  const register = (server: Server): Effect.Effect<void, ServiceDiscoveryError, Scope.Scope> => {
    const closed = check?.asksHealthUrl === true ? whyClosed(server, check) : undefined
    if (closed !== undefined) return typed(Effect.fail(closed))
    const state: State = { isConfirmed: false }
    states.set(server, state)
    const wanted = wantedOf(server, options, settled)
    const registering = {
      calls: callsAbout(connection, wanted),
      wanted,
      url: server.url,
      by: name,
      required,
      deregister,
      verify,
      lastLook: Math.min(timeout, 500),
      watchInterval,
      ttl: check?.ttl
    }
    return typed(Effect.zipRight(alone(server, servers, wanted.id), registered(registering, state)))
  }
  return { name, register, isRegistered: (server) => Effect.sync(() => states.get(server)?.isConfirmed ?? false) }
}

// From here on, until its scope closes.
const alone = (server: Server, servers: Set<Server>, id: string): Effect.Effect<void, Trouble, Scope.Scope> =>
  Effect.suspend(() => {
    const [other] = servers
    if (other === undefined) {
      servers.add(server)
      return Effect.addFinalizer(() => Effect.sync(() => servers.delete(server)))
    }
    const both = `${other.url} and ${server.url}`
    return Effect.fail(
      invalid(
        `${both} share the id ${visible(id)}, and an agent knows one service by an id: give each of the two servers options of ` +
          "its own, with its own serviceId"
      )
    )
  })

const serviceIdOf = ({ serviceId, name = defaultName }: Options): string => serviceId ?? name

// Why the server would turn the agent's check away, if it would.
const whyClosed = (server: Server, { hasHeader }: CheckedCheck): Trouble | undefined => {
  const why = `the agent's check of ${server.healthUrl} would be turned away for want of`
  if (server.needsCertificate === true) {
    return invalid(
      `${why} a certificate: give check.ttl; or check.url, where the agent shows one (enable_agent_tls_for_checks)`
    )
  }
  return server.isHealthOpen === false && !hasHeader
    ? invalid(`${why} credentials: give check.ttl or check.header, or openHealthPage to the server`)
    : undefined
}

const wantedOf = (server: Server, options: Options, { check, meta, tags }: Settled): Wanted => {
  const { hostname, port } = server.address
  const { advertise, name = defaultName } = options
  return {
    id: serviceIdOf(options),
    name,
    tags,
    address: advertise?.address ?? (isWildcard(hostname) ? "" : hostname),
    port: advertise?.port ?? port,
    meta: { ...metaOfServer(server), ...meta },
    check: check?.definition(server.healthUrl)
  }
}
