import { isIPv6 } from "node:net"
import { isWildcard } from "../util/address.js"
import type { Declared, OptionSet, Secret } from "../util/options.js"
import {
  duration,
  durationOrFalse,
  flag,
  group,
  isBlank,
  isListOf,
  isRecord,
  kind,
  optional,
  port,
  text,
  valid,
  withDefault
} from "../util/options.js"
import { described, revealed, secret } from "../util/secrets.js"
import { shown, visible } from "../util/text.js"
import { type CheckInput, serviceCheck } from "./check.js"
import { headerValue } from "./headers.js"

/** Whether it is a text, or a secret in a wrapper, that is empty or blank. */
export const isBlankText = (given: unknown): boolean => {
  const text = revealed(given)
  return typeof text === "string" && isBlank(text)
}

// An empty or blank text counts as an option that is not given, as with Consul's own tools.
const unlessBlank = <D extends Declared<unknown, unknown>>(option: D): D => ({
  ...option,
  check: (given: unknown, name: string) => option.check(isBlankText(given) ? undefined : given, name)
})

export interface AgentAddress {
  /** As it was given, for messages. */
  readonly text: string
  readonly origin: string
  readonly socketPath: string | undefined
}

/** The address of an agent on this machine with the default configuration. */
export const defaultAddress = "http://127.0.0.1:8500"

const address = kind<string, AgentAddress>((given, name) => {
  const refused = () =>
    new RangeError(
      `${name} must be http://host:port, https://host:port, host:port or unix:///path, not ${shownAddress(given)}`
    )
  if (typeof given !== "string") throw refused()
  const text = visible(given)
  const socketPath = /^unix:\/\/(\/.+)$/.exec(given)?.[1]
  if (socketPath !== undefined) return { text, origin: "http://localhost", socketPath }
  // Every message names the address, and no request contains what follows a ?.
  if (/[@?#]/.test(given)) {
    throw new RangeError(
      `${name} must not contain a user, password, query or fragment: set auth to user:password, and token to a token`
    )
  }
  const whole = /^\w+:\/\//.test(given) ? given : `http://${given}`
  const url = /[\s\p{Cc}]|^\w+:\/(?!\/)/u.test(given) || !URL.canParse(whole) ? undefined : new URL(whole)
  // The host may have quotes that an environment variable has kept.
  const isUsable = /^https?:$/.test(url?.protocol ?? "") && isUrlHost(url?.hostname ?? "")
  if (url === undefined || !isUsable) throw refused()
  return { text, origin: `${url.origin}${url.pathname.replace(/\/$/, "")}`, socketPath }
}, "string")

const isUrlHost = (hostname: string): boolean => /^(?:\[[\da-f:.]+\]|[\w.-]{1,255})$/i.test(hostname)

// A wrong address may hold a password anywhere. This form has no place for one.
const passwordless =
  /^(?:(?:https?|ftp|tcp|grpc|unix|consul):)?\/{0,3}(?:\[[\da-f:.]{0,45}\]|[\w.-]{0,255})(?::\d{0,5})?\/?$/i

const shownAddress = (given: unknown): string =>
  typeof given === "string" && passwordless.test(given) ? shown(given) : described(given)

// The type is checked where the file is read.
const pem = kind<string, unknown>((given) => given, "PEM, path")

export const tlsOptions = {
  /** The authority that signed the agent's certificate. Default: those that Node.js trusts. */
  ca: unlessBlank(optional(pem)),
  /** The client certificate for the agent; it needs `key`. Default: none. */
  cert: unlessBlank(optional(pem)),
  /** The private key of the client certificate, redacted or not. Default: none. */
  key: unlessBlank(optional(kind<Secret, unknown>((given) => given, "PEM, path, secret"))),
  /** The name that the agent's certificate must be for. Default: the host of the address. */
  serverName: unlessBlank(optional(text)),
  /** Whether the agent's certificate is verified. Default: `true`. */
  verify: withDefault(flag, true)
}

export const connectionOptions = {
  /**
   * The address of the agent: `http://host:port`, `https://host:port`, `host:port` or `unix:///path/of/socket`. Default:
   * `http://127.0.0.1:8500`.
   */
  address: unlessBlank(withDefault(address, defaultAddress)),
  /** `user:password`, for HTTP basic authentication. Default: none. */
  auth: unlessBlank(optional(secret)),
  /** The namespace of Consul Enterprise to register in. Default: none. */
  namespace: unlessBlank(
    optional(kind<string, string>((given, name) => headerValue(name, "x-consul-namespace", given), "string"))
  ),
  /** HTTPS to the agent: the authority to trust, and the client certificate. Default: none. */
  tls: optional(group(tlsOptions))
} satisfies OptionSet

const serviceName = kind<string, string>((given, name) => {
  if (typeof given === "string" && !isBlank(given)) return given
  throw new RangeError(`${name} must be a non-empty string`)
}, "string")

// With . or .. or half of a surrogate pair in its path, the service could be registered and never be removed.
export const serviceId = valid<string>(
  "string",
  "be a non-empty string that is valid in a URL path",
  (given) => typeof given === "string" && !isBlank(given) && !/^\.{1,2}$|\p{Surrogate}/u.test(given)
)

const tags = kind<ReadonlyArray<string>, ReadonlyArray<string>>((given, name) => {
  if (!isListOf(given, (tag) => typeof tag === "string")) throw new RangeError(`${name} must be an array of strings`)
  const texts = given as ReadonlyArray<string>
  const wrong = texts.find((tag) => tag.includes(","))
  if (wrong === undefined) return texts.filter((tag) => !isBlank(tag))
  throw new RangeError(`the tag ${shown(wrong)} contains a comma, which Prometheus uses to separate tags`)
}, "strings")

export const ownMetadata = ["metrics_path", "metrics_scheme"] as const

// https://developer.hashicorp.com/consul/docs/services/configuration/services-configuration-reference#meta
const mostPairs = 64
const longestKey = 128
const longestValue = 512

type Texts = Readonly<Record<string, string>>

const metadata = kind<Texts, Texts>((given, name) => {
  if (!isRecord(given)) throw new RangeError(`${name} must be an object with a string for each key`)
  const count = new Set([...Object.keys(given), ...ownMetadata]).size
  if (count > mostPairs) {
    throw new RangeError(
      `${name}: with ${ownMetadata.join(" and ")} it has ${count} pairs; at most ${mostPairs} are allowed`
    )
  }
  for (const [key, value] of Object.entries(given)) checkPair(name, key, value)
  return given as Texts
}, "strings by name")

const checkPair = (name: string, key: string, value: unknown): void => {
  const refused = (why: string) => new RangeError(`${name}: ${why}`)
  const keyName = `the key ${shown(key)}`
  if (!/^[\w-]+$/.test(key)) throw refused(`${keyName} must consist of letters, digits, _ and -`)
  if (key.length > longestKey) throw refused(`${keyName} is longer than ${longestKey} characters`)
  if (key.startsWith("consul-")) throw refused(`${keyName} starts with consul-, which Consul reserves`)
  if (typeof value !== "string") throw refused(`the value of ${key} must be a string, not ${shown(value)}`)
  if (Buffer.byteLength(value) > longestValue) throw refused(`the value of ${key} is longer than ${longestValue} bytes`)
}

// No host name has these characters: they are of a URL, of a wildcard, or of the zone of one machine.
const isHost = (text: string): boolean => !/[\s/?#@*[\]%]/.test(text) && (isIPv6(text) || !text.includes(":"))

const host = valid<string>(
  "string",
  "be a host name or an IP address to connect to",
  (given) => typeof given === "string" && !isWildcard(given) && isHost(given)
)

/** What is registered instead of the address that the server is bound to. */
export const advertiseOptions = {
  /**
   * The host name or IP address to register. Default: the address that was bound; on a wildcard address none, so that
   * Consul uses the address of its node.
   */
  address: unlessBlank(optional(host)),
  /** The port to register. Default: the port that was bound. */
  port: optional(port(1))
}

export const registrationOptions = {
  /** The name of the service. Default: `"app-metrics"`. */
  name: withDefault(serviceName, "app-metrics"),
  /**
   * The id of the service; it must be unique per agent. If two instances share an id, the newer one replaces the older,
   * and both log both addresses. Give each instance on a machine its own id. Default: `name`.
   */
  serviceId: optional(serviceId),
  /** The tags of the service; a tag must not have a comma. Prometheus joins the tags by commas. Default: none. */
  tags: withDefault(tags, []),
  /**
   * Metadata of the service, for relabelling in Prometheus; given pairs are added to the default, or replace it. In
   * Prometheus they are `__meta_consul_service_metadata_<key>`. Consul allows 64 pairs, keys of up to 128 letters, digits,
   * `_` and `-`, and values of up to 512 bytes. Default: `metrics_path` and `metrics_scheme`, which are the path of the
   * metrics and `http` or `https`.
   */
  meta: withDefault(metadata, {}),
  /**
   * Whether the service is deregistered when the server stops. If another instance has taken the id by then, its
   * registration stays. Default: `true`.
   */
  deregister: withDefault(flag, true),
  /** Another address or port to register. Default: the address and port that were bound. */
  advertise: optional(group(advertiseOptions)),
  /** The health check of the service, or `false` for none. Default: an HTTP check of the server's `healthUrl`. */
  check: withDefault(serviceCheck, {} as CheckInput),
  /**
   * Whether the server fails to start if it cannot be registered; with `false` it serves, logs a warning, and tries again.
   * A wrong token is then only that warning and `effect_prometheus_registered 0`. Invalid options always fail the start.
   * Default: `false`.
   */
  required: withDefault(flag, false),
  /** Whether each registration is read back from the agent and compared. Default: `true`. */
  verify: withDefault(flag, true),
  /**
   * The time between two checks of the registration, or `false` for no checks. It varies by up to 10 %, so that instances
   * do not check at the same time. The service is registered again only if the agent does not have it, or has different
   * data for it. After a failure the next check comes within a second, and further ones at growing intervals that do not
   * exceed this time. Default: 10 seconds.
   */
  watchInterval: withDefault(durationOrFalse, "10 seconds"),
  /** How long the token for a call may take, and then how long the agent's response may take. Default: 5 seconds. */
  timeout: withDefault(duration, "5 seconds")
} satisfies OptionSet
