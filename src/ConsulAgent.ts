/**
 * Registers a metrics server with the local Consul agent, so that Prometheus finds it through `consul_sd_configs`.
 *
 * It uses the API of the agent (`/v1/agent/service/register` and `/v1/agent/service/deregister/:id`), never the catalog.
 * The service gets an HTTP check of the server's `healthUrl`.
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

import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { scoped } from "./compat/layer.js"
import { variables } from "./core/consul/environment.js"
import { type ConfigError, type FromConfig, optionalStrings, unwrapped } from "./effect/config.js"
import type { AgentConnection, Options } from "./effect/consul/options.js"
import { lazily } from "./effect/lazily.js"
import { type Discovery, ServiceDiscovery, type ServiceDiscoveryError } from "./ServiceDiscovery.js"

export type { FromConfig } from "./effect/config.js"
export type {
  AgentConnection,
  AgentTls,
  Check,
  CheckOptions,
  HttpCheck,
  Options,
  Token,
  TtlCheck
} from "./effect/consul/options.js"

/**
 * Returns a service discovery that registers servers with a Consul agent. Fails with `reason: "InvalidOptions"` if an
 * option is invalid or a TLS file cannot be read.
 *
 * As with Consul's own tools, an empty or blank string counts as an option that is not given. This applies to `address`,
 * `token`, `auth`, `namespace`, the options of `tls`, `advertise.address`, and each item of `tags`. An empty or blank
 * `name`, `serviceId` or `check.url` is rejected.
 *
 * With `required: true`, `register` fails with one of these reasons. Each message names the agent's address or the option.
 * By default, only `"InvalidOptions"` is a failure; the others are logged as a warning, and further attempts follow:
 *
 * - `"Refused"`: the agent answered with a status other than 200; the error has `status` and `body`.
 * - `"Unreachable"`: the agent did not answer.
 * - `"Timeout"`: the agent did not answer in time.
 * - `"NotVerified"`: the agent shows a different service than the one that was registered.
 * - `"Token"`: the token could not be obtained.
 * - `"InvalidOptions"`: the server would reject the HTTP check, or a second server uses the same discovery, and so the
 *   `serviceId` of a running server.
 *
 * Later problems fail nothing. They are logged when they begin and when they end, and are repaired when possible.
 * `isRegistered` is the result of the last check of the registration.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Discovery, ServiceDiscoveryError, Scope.Scope> =>
  Effect.flatMap(agent, ({ makeFor }) => makeFor(options, new Set()))

// The client of the agent is loaded at first use.
const agent = lazily(() => import("./effect/consul/discovery.js"))
const environment = lazily(() => import("./effect/consul/environment.js"))

/**
 * Provides the service discovery of `make` as a layer. Provide it to the layer of the server.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ServiceDiscovery, ServiceDiscoveryError> =>
  scoped(ServiceDiscovery, make(options))

/**
 * Provides the service discovery of `make`, with options read from configuration. A `Config.option` that is not set
 * counts as an option that is not given.
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
): Layer.Layer<ServiceDiscovery, ConfigError | ServiceDiscoveryError> =>
  scoped(ServiceDiscovery, Effect.flatMap(unwrapped(options), make))

/**
 * Provides the service discovery of `make`, with the connection to the agent read from the environment variables of
 * Consul's own tools. Values in `options` take precedence. With `CONSUL_HTTP_SSL`, a given `address` also uses HTTPS. See
 * `fromEnv`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEnv = (options: Options = {}): Layer.Layer<ServiceDiscovery, ConfigError | ServiceDiscoveryError> =>
  scoped(
    ServiceDiscovery,
    Effect.flatMap(environment, ({ withEnvironment }) =>
      Effect.flatMap(withEnvironment(options, optionalStrings(variables)), make)
    )
  )

/**
 * Reads the connection to the agent from the environment variables of Consul's own tools: `CONSUL_HTTP_ADDR`,
 * `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE` (takes precedence over the former, and is read again for each call),
 * `CONSUL_HTTP_AUTH`, `CONSUL_HTTP_SSL`, `CONSUL_HTTP_SSL_VERIFY`, `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`,
 * `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME` and `CONSUL_NAMESPACE`. `CONSUL_CAPATH` is not read. Fails if one of the
 * variables is invalid.
 *
 * @since 0.1.0
 * @category config
 */
export const fromEnv: Effect.Effect<AgentConnection, ConfigError | ServiceDiscoveryError> = Effect.flatMap(
  environment,
  ({ withEnvironment }) => withEnvironment({}, optionalStrings(variables))
)
