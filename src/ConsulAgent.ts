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
import type { AgentOptions } from "node:https"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { isWildcard } from "./internal/address.js"
import { bounded } from "./internal/bounded.js"
import { environment } from "./internal/consulEnvironment.js"
import { timerMillis } from "./internal/duration.js"
import { messageOf } from "./internal/message.js"
import { plain, textOrFile } from "./internal/secret.js"
import type { Discovery, Server } from "./ServiceDiscovery.js"
import { ServiceDiscovery, ServiceDiscoveryError } from "./ServiceDiscovery.js"

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
  /** The ACL token. It travels in `X-Consul-Token`. */
  readonly token?: string | Redacted.Redacted<string> | undefined
  /** User and password for HTTP basic authentication, as `user:password`. */
  readonly auth?: Redacted.Redacted<string> | undefined
  /** The Consul Enterprise namespace to register in. */
  readonly namespace?: string | undefined
  /** For an agent that speaks HTTPS. */
  readonly tls?: AgentTls | undefined
}

/**
 * How to trust an agent that speaks HTTPS, and how to be trusted by it. Each of `ca`, `cert` and `key` is PEM text or
 * the path of a PEM file.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentTls {
  /** The authority that signed the agent's certificate. Default: those that Node.js trusts. */
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | Redacted.Redacted<string> | undefined
  /** The name that the agent's certificate must be for. Default: the host of the address. */
  readonly serverName?: string | undefined
  /** Whether the agent's certificate is verified. Default: `true`. */
  readonly verify?: boolean | undefined
}

/**
 * The check that the agent makes of the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Check {
  /** What the agent asks for; it must be reachable from there. Default: the server's `healthUrl`. */
  readonly url?: string | undefined
  /** Default: 10 seconds. */
  readonly interval?: Duration.DurationInput | undefined
  /** Default: the agent's own, 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Whether the agent accepts a certificate that it cannot verify, such as a self-signed one. Default: `false`. */
  readonly tlsSkipVerify?: boolean | undefined
  /** How long the check may be critical before the agent forgets the service. Default: for ever. */
  readonly deregisterCriticalServiceAfter?: Duration.DurationInput | undefined
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
   * The id of the service, unique per agent: a second instance with the same id takes the place of the first. Give each
   * instance on a machine its own. Default: `name`.
   */
  readonly serviceId?: string | undefined
  /** Default: none. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Whether the registration is taken back when its scope closes. Default: `true`. */
  readonly deregister?: boolean | undefined
  /**
   * What is registered instead of what was bound. Default: the address and port that were bound; on a wildcard bind no
   * address, so that Consul uses that of its node.
   */
  readonly advertise?: { readonly address?: string | undefined; readonly port?: number | undefined } | undefined
  /** The check of the service, or `false` for none. */
  readonly check?: Check | false | undefined
  /**
   * Whether a server that cannot be registered fails. With `false` it serves, logs a warning, and goes on trying.
   * Default: `true`.
   */
  readonly required?: boolean | undefined
  /** How long the agent may take to answer. Default: 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * A service discovery that speaks to a Consul agent. It fails with `reason: "InvalidOptions"` if the address or a
 * duration is none, or a TLS file cannot be read.
 *
 * Registered is what the agent has been told and not told otherwise: it is not asked again whether it still knows.
 *
 * Its `register` fails with `reason: "Refused"` on any answer but 200, with `status` and `body`; `"Unreachable"` if
 * nobody answers; `"Timeout"` if nobody answers in time. Each message names the agent's address.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Discovery, ServiceDiscoveryError, Scope.Scope> =>
  Effect.map(connect(options), (agent) => discovery(agent, options))

/**
 * Registration with a Consul agent as a layer: see `make`. Provide it to the layer of the server.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ServiceDiscovery, ServiceDiscoveryError> =>
  Layer.scoped(ServiceDiscovery, make(options))

/**
 * The layer, its options read from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<ServiceDiscovery, ConfigError.ConfigError | ServiceDiscoveryError> =>
  Layer.scoped(ServiceDiscovery, Effect.flatMap(Config.unwrap(options), make))

/**
 * The layer, its connection to the agent read from the environment variables of Consul's own tools; what `options` give
 * goes before them. See `fromEnv`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEnv = (
  options: Options = {}
): Layer.Layer<ServiceDiscovery, ConfigError.ConfigError | ServiceDiscoveryError> =>
  Layer.scoped(
    ServiceDiscovery,
    Effect.flatMap(fromEnv, (connection) => make(withDefaults(options, connection)))
  )

/**
 * The connection to the agent as Consul's own tools read it from the environment: `CONSUL_HTTP_ADDR`,
 * `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE` (before the former), `CONSUL_HTTP_AUTH`, `CONSUL_HTTP_SSL`,
 * `CONSUL_HTTP_SSL_VERIFY`, `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME` and
 * `CONSUL_NAMESPACE`. Not read: `CONSUL_CAPATH`.
 *
 * @since 0.1.0
 * @category config
 */
export const fromEnv: Effect.Effect<AgentConnection, ConfigError.ConfigError | ServiceDiscoveryError> = Effect.gen(
  function* () {
    const env = yield* environment()
    const { address = defaultAddress, ssl, tokenFile } = env
    const token =
      tokenFile === undefined
        ? env.token
        : Redacted.make((yield* readFileOf("file of CONSUL_HTTP_TOKEN_FILE", tokenFile)).trim())
    return {
      address: ssl ? address.replace(/^(http:\/\/)?(?!\w+:\/\/)/, "https://") : address,
      token,
      auth: env.auth,
      namespace: env.namespace,
      tls: { ca: env.ca, cert: env.cert, key: env.key, serverName: env.serverName, verify: env.verify }
    }
  }
)

/**
 * `options`, and what `connection` says of those that are not given.
 *
 * @internal
 */
export const withDefaults = (options: Options, connection: AgentConnection): Options => ({
  ...options,
  address: options.address ?? connection.address,
  token: options.token ?? connection.token,
  auth: options.auth ?? connection.auth,
  namespace: options.namespace ?? connection.namespace,
  tls: {
    ...connection.tls,
    ...Object.fromEntries(Object.entries(options.tls ?? {}).filter(([, value]) => value !== undefined))
  }
})

const defaultAddress = "http://127.0.0.1:8500"
const defaultTimeout = "5 seconds"

// The agent, spoken to: one call with its answer, or why there is none.
interface Agent {
  readonly call: (path: string, body?: unknown) => Effect.Effect<void, ServiceDiscoveryError>
}

const connect = (options: Options): Effect.Effect<Agent, ServiceDiscoveryError, Scope.Scope> =>
  Effect.gen(function* () {
    const address = options.address ?? defaultAddress
    const target = yield* targetOf(address)
    const tls = yield* tlsOf(options.tls)
    const httpAgent = yield* NodeHttpClient.makeAgent({ ...tls, ...target.socket })
    const client = HttpClient.withTracerDisabledWhen(
      yield* Effect.provideService(NodeHttpClient.make, NodeHttpClient.HttpAgent, httpAgent),
      () => true
    )
    const timeout = yield* millisOf("timeout", options.timeout ?? defaultTimeout)
    const check = options.check === false ? {} : (options.check ?? {})
    for (const name of ["interval", "timeout", "deregisterCriticalServiceAfter"] as const) {
      if (check[name] !== undefined) yield* millisOf(`check.${name}`, check[name])
    }
    const headers = headersOf(options)
    for (const [name, value] of Object.entries(headers)) {
      if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
        return yield* invalid(`${name} holds a character that no header can`)
    }

    const call = (path: string, body?: unknown): Effect.Effect<void, ServiceDiscoveryError> => {
      const empty = HttpClientRequest.put(`${target.origin}${path}`, { headers })
      const request = body === undefined ? empty : HttpClientRequest.bodyUnsafeJson(empty, body)
      const answer = Effect.flatMap(client.execute(request), (response) =>
        Effect.map(response.text, (text) => ({ status: response.status, text }))
      )
      return Effect.flatMap(bounded(answer, timeout), (exit) => {
        if (exit === undefined) {
          return new ServiceDiscoveryError({
            reason: "Timeout",
            message: `the Consul agent at ${address} did not answer PUT ${path} within ${timeout} ms`
          })
        }
        if (Exit.isFailure(exit)) {
          const cause = rootOf(exit.cause)
          return new ServiceDiscoveryError({
            reason: "Unreachable",
            message: `the Consul agent at ${address} cannot be reached: ${reasonOf(cause)}`,
            cause
          })
        }
        const { status, text } = exit.value
        if (status === 200) return Effect.void
        return new ServiceDiscoveryError({
          reason: "Refused",
          message: `the Consul agent at ${address} answered ${status} to PUT ${path}: ${text.trim()}`,
          status,
          body: text
        })
      })
    }
    return { call }
  })

// The client wraps the error of Node.js together with the request, and that holds the token: only the root goes on.
const rootOf = (cause: Cause.Cause<unknown>): unknown => {
  const error = Cause.squash(cause)
  return (error as { readonly cause?: unknown }).cause ?? messageOf(error)
}

// A name with several addresses fails once for each.
const reasonOf = (root: unknown): string =>
  root instanceof AggregateError ? root.errors.map(messageOf).join(", ") : messageOf(root)

const headersOf = ({ token, auth, namespace }: Options): Record<string, string> => ({
  ...(token === undefined ? {} : { "x-consul-token": plain(token) }),
  ...(auth === undefined ? {} : { authorization: `Basic ${Buffer.from(plain(auth)).toString("base64")}` }),
  ...(namespace === undefined ? {} : { "x-consul-namespace": namespace })
})

interface Target {
  readonly origin: string
  readonly socket: { readonly socketPath?: string }
}

const targetOf = (address: string): Effect.Effect<Target, ServiceDiscoveryError> => {
  const socketPath = /^unix:\/\/(\/.+)$/.exec(address)?.[1]
  if (socketPath !== undefined) return Effect.succeed({ origin: "http://localhost", socket: { socketPath } })
  return Effect.try({
    try: () => {
      const url = new URL(/^\w+:\/\//.test(address) ? address : `http://${address}`)
      if (/\s|^\w+:\/(?!\/)/.test(address)) throw new Error("it is no address")
      if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`${url.protocol} is not spoken`)
      return { origin: `${url.origin}${url.pathname.replace(/\/$/, "")}`, socket: {} }
    },
    catch: (cause) =>
      invalid(`address must be http://host:port, https://host:port, host:port or unix:///path, not ${address}`, cause)
  })
}

const millisOf = (name: string, given: unknown): Effect.Effect<number, ServiceDiscoveryError> => {
  const milliseconds = timerMillis(given)
  return milliseconds === undefined
    ? invalid(`${name} must be a duration such as "5 seconds", not ${String(given)}`)
    : Effect.succeed(milliseconds)
}

const invalid = (message: string, cause?: unknown) =>
  new ServiceDiscoveryError({ reason: "InvalidOptions", message: `the options of the Consul agent: ${message}`, cause })

const tlsOf = (tls: AgentTls | undefined): Effect.Effect<AgentOptions, ServiceDiscoveryError> =>
  Effect.gen(function* () {
    if (tls === undefined) return {}
    const { ca, cert, key, serverName, verify } = tls
    return {
      ...(ca === undefined ? {} : { ca: yield* readFileOf("CA of the Consul agent", ca) }),
      ...(cert === undefined ? {} : { cert: yield* readFileOf("certificate for the Consul agent", cert) }),
      ...(key === undefined ? {} : { key: yield* readFileOf("key for the Consul agent", plain(key)) }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(verify === undefined ? {} : { rejectUnauthorized: verify })
    }
  })

const readFileOf = (what: string, source: string): Effect.Effect<string, ServiceDiscoveryError> =>
  Effect.tryPromise({
    try: () => textOrFile(what, source),
    catch: (cause) => invalid(messageOf(cause), cause)
  })

const discovery = (agent: Agent, options: Options): Discovery => {
  const id = serviceIdOf(options)
  const name = describe(options)
  const registered = new WeakSet<Server>()
  const forget = agent.call(`/v1/agent/service/deregister/${encodeURIComponent(id)}`).pipe(
    // It is gone already: the agent lost its state, or somebody was faster. (404, and 500 before Consul 1.10.)
    Effect.catchIf(
      ({ status, body }) => status === 404 || /unknown service/i.test(body ?? ""),
      () => Effect.void
    ),
    Effect.catchAll((error) => Effect.logWarning(`the service ${id} may still be registered: ${error.message}`))
  )
  const register = (server: Server): Effect.Effect<void, ServiceDiscoveryError, Scope.Scope> =>
    Effect.gen(function* () {
      // From the moment that a request is on its way the agent may know the service, whatever we hear of it; only what
      // proves that it never got there, or that it was refused, leaves things as they were.
      let mayBeKnown = false
      const attempt = Effect.suspend(() => {
        const before = mayBeKnown
        mayBeKnown = true
        return agent.call("/v1/agent/service/register", definition(id, server, options)).pipe(
          Effect.tapError((error) =>
            Effect.sync(() => {
              if (isWithoutEffect(error)) mayBeKnown = before
            })
          )
        )
      }).pipe(Effect.tap(() => Effect.sync(() => registered.add(server))))
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          registered.delete(server)
          return mayBeKnown && (options.deregister ?? true) ? forget : Effect.void
        })
      )
      if (options.required ?? true) return yield* attempt
      yield* Effect.catchAll(attempt, (error) =>
        Effect.logWarning(`${error.message}; the server is not registered, and goes on trying`).pipe(
          Effect.zipRight(
            Effect.retry(attempt, retries()).pipe(
              Effect.zipRight(Effect.logInfo(`${server.url} registered by ${name}`)),
              Effect.forkScoped
            )
          )
        )
      )
    })
  return { name, register, isRegistered: (server) => Effect.sync(() => registered.has(server)) }
}

const isWithoutEffect = ({ reason, status, cause }: ServiceDiscoveryError): boolean => {
  if (reason === "Refused") return status !== undefined && status >= 400 && status < 500
  const errors: ReadonlyArray<unknown> = cause instanceof AggregateError ? cause.errors : [cause]
  return errors.every((error) => {
    const { code } = (error ?? {}) as NodeJS.ErrnoException
    return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENOENT"
  })
}

const defaultName = "app-metrics"

const serviceIdOf = ({ serviceId, name = defaultName }: Options): string => serviceId ?? name

// Who registers what, for the log.
const describe = (options: Options): string =>
  `the Consul agent at ${options.address ?? defaultAddress} with the id ${serviceIdOf(options)}`

// Made when it is wanted: loading the library is to take no time for it.
const retries = () =>
  Schedule.exponential("1 second").pipe(Schedule.union(Schedule.spaced("30 seconds")), Schedule.jittered)

// The body of PUT /v1/agent/service/register.
const definition = (id: string, server: Server, { name = defaultName, tags = [], advertise, check }: Options) => {
  const { hostname, port } = server.address
  const address = advertise?.address ?? (isWildcard(hostname) ? undefined : hostname)
  return {
    Name: name,
    ID: id,
    Tags: tags,
    Port: advertise?.port ?? port,
    ...(address === undefined ? {} : { Address: address }),
    ...(check === false ? {} : { Check: checkDefinition(server, check ?? {}) })
  }
}

const checkDefinition = (server: Server, check: Check) => ({
  HTTP: check.url ?? server.healthUrl,
  Interval: goDuration(check.interval ?? "10 seconds"),
  ...(check.timeout === undefined ? {} : { Timeout: goDuration(check.timeout) }),
  ...(check.tlsSkipVerify === true ? { TLSSkipVerify: true } : {}),
  ...(check.deregisterCriticalServiceAfter === undefined
    ? {}
    : { DeregisterCriticalServiceAfter: goDuration(check.deregisterCriticalServiceAfter) })
})

const goDuration = (duration: Duration.DurationInput): string => {
  const milliseconds = Duration.toMillis(duration)
  return milliseconds % 1_000 === 0 ? `${milliseconds / 1_000}s` : `${milliseconds}ms`
}
