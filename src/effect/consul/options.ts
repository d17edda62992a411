/** The options of a registration with a Consul agent, with types of Effect. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { checkOptions, httpCheckOptions, ttlCheckOptions } from "../../core/consul/check.js"
import { headerValue } from "../../core/consul/headers.js"
import { connectionOptions, isBlankText, registrationOptions, type tlsOptions } from "../../core/consul/options.js"
import { type Given, kind, optional, type Read } from "../../core/util/options.js"
import { secretText } from "../../core/util/secrets.js"

/**
 * An ACL token, or an effect that returns it.
 *
 * An effect that fails, dies, or returns nothing within `timeout` is a failure with `reason: "Token"`. The text of its
 * error is not shown, because it may contain the token. An empty or blank string means no token.
 *
 * @since 0.1.0
 * @category models
 */
export type Token = string | Redacted.Redacted<string> | Effect.Effect<string | Redacted.Redacted<string>, unknown>

/** An `Option` is also an effect, and `None` would be a failing one. */
export const givenToken = (given: unknown): unknown => {
  const token = Option.isOption(given) ? Option.getOrUndefined(given) : given
  return isBlankText(token) ? undefined : token
}

const token = kind<Token, string | Effect.Effect<unknown, unknown> | undefined>((given, name) => {
  const token = givenToken(given)
  if (token === undefined || Effect.isEffect(token)) return token as Effect.Effect<unknown, unknown> | undefined
  return headerValue(name, "x-consul-token", secretText(token, name))
}, "secret, effect")

export const tokenOptions = {
  /**
   * The ACL token, or an effect that returns it and runs for each call. For the calls of the shutdown it runs once. The
   * token is sent as `X-Consul-Token`. The agent keeps using the token of the registration: if the effect returns another
   * one, the service is registered again. So return the same token as long as it is valid. Default: none.
   */
  token: optional(token)
}

export const agentOptions = { ...registrationOptions, ...connectionOptions, ...tokenOptions }

/**
 * Options of HTTPS to the agent: the certificates to trust, and the client certificate. Each of `ca`, `cert` and `key` is
 * PEM text or the path of a PEM file.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentTls extends Given<typeof tlsOptions, Redacted.Redacted<string>> {}

/**
 * Options of the connection to the agent.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentConnection
  extends Given<typeof connectionOptions, Redacted.Redacted<string>>,
    Given<typeof tokenOptions, Redacted.Redacted<string>> {}

/**
 * Options of every check.
 *
 * @since 0.1.0
 * @category models
 */
export interface CheckOptions extends Given<typeof checkOptions> {}

/**
 * Options of an HTTP check: the agent requests a page of the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpCheck extends Given<typeof httpCheckOptions, Redacted.Redacted<string>> {}

/**
 * Options of a TTL check: the process reports to the agent three times per `ttl`. Use it for a server that the agent
 * cannot reach, or if the agent has no certificate or credentials for the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface TtlCheck extends Given<typeof ttlCheckOptions> {}

/**
 * The check of the service: an HTTP check or a TTL check.
 *
 * @since 0.1.0
 * @category models
 */
export type Check = HttpCheck | TtlCheck

/**
 * Options of the registration with an agent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends AgentConnection, Given<typeof registrationOptions, Redacted.Redacted<string>> {}

export type AgentSettings = Read<typeof agentOptions>
