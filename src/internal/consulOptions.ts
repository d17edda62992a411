/** The options of a Consul agent, checked before anybody is asked. */
import type { AgentOptions } from "node:https"
import { isIPv6 } from "node:net"
import type { SecureContextOptions } from "node:tls"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isWildcard } from "./address.js"
import type { Target } from "./consulConnection.js"
import type { Token } from "./consulToken.js"
import { isHeaderValue } from "./consulToken.js"
import type { Trouble } from "./consulTrouble.js"
import { invalid, knownOnly } from "./consulTrouble.js"
import { timerMillis } from "./duration.js"
import { messageOf } from "./message.js"
import { booleanOption, isBlank, ownOptions, shown } from "./options.js"
import { described, plain, secretText, textOrFile } from "./secret.js"
import { certificatesOf, pemTrouble } from "./tls.js"

type Secret = string | Redacted.Redacted<string>

interface Texts {
  readonly address?: string | undefined
  readonly token?: Token | undefined
  readonly auth?: Redacted.Redacted<string> | undefined
  readonly namespace?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  readonly advertise?: Advertised | undefined
  readonly tls?: AgentTls | undefined
}

/**
 * The options without texts that are empty or blank, which count as not given, as with Consul's own tools. So does a token that
 * is `None`: it would be an effect that fails.
 */
export const withoutEmpty = <A extends Texts>(options: A): A => {
  const given = ownOptions(options)
  const token = Option.isOption(given.token) ? Option.getOrUndefined(given.token) : given.token
  const { address, advertise, auth, namespace, tags, tls } = given
  return {
    ...given,
    ...textsOf({ address, token, auth, namespace }),
    ...(Array.isArray(tags) ? { tags: tags.filter((tag) => !isEmpty(tag)) } : {}),
    ...(isObject(advertise) ? { advertise: textsOf(ownOptions(advertise)) } : {}),
    ...(isObject(tls) ? { tls: textsOf(ownOptions(tls)) } : {})
  }
}

const isObject = (given: unknown): given is object => typeof given === "object" && given !== null

const textsOf = <A extends object>(given: A): A =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [name, isEmpty(value) ? undefined : value])) as A

const isEmpty = (value: unknown): boolean =>
  (typeof value === "string" || Redacted.isRedacted(value)) && isBlankText(plain("ConsulAgent.token", value))

const isBlankText = (text: unknown): boolean => typeof text === "string" && isBlank(text)

/** A duration in milliseconds. */
export const millisOf = (name: string, given: unknown, orElse = ""): Effect.Effect<number, Trouble> => {
  const milliseconds = timerMillis(given)
  return milliseconds === undefined
    ? Effect.fail(invalid(`${name} must be a duration such as "5 seconds", not ${shown(given)}`))
    : milliseconds === 0
      ? Effect.fail(invalid(`${name} must be longer than nothing${orElse}`))
      : Effect.succeed(milliseconds)
}

/** Yes or no. */
export const flagOf = (name: string, given: unknown, fallback: boolean): Effect.Effect<boolean, Trouble> =>
  Effect.try({ try: () => booleanOption(name, given, fallback), catch: (error) => invalid(messageOf(error)) })

/** Where requests go for such an address. */
export const targetOf = (address: string): Effect.Effect<Target, Trouble> => {
  const none = () =>
    invalid(
      `address must be http://host:port, https://host:port, host:port or unix:///path, not ${shownAddress(address)}`
    )
  if (typeof address !== "string") return Effect.fail(none())
  const socketPath = /^unix:\/\/(\/.+)$/.exec(address)?.[1]
  if (socketPath !== undefined) return Effect.succeed({ origin: "http://localhost", socket: { socketPath } })
  // It stands in every message, and what is behind a ? would be dropped.
  if (/[@?#]/.test(address)) {
    return Effect.fail(
      invalid(
        "address must have no user, password, query or fragment: give those who ask for a password auth, or token"
      )
    )
  }
  return Effect.try({
    try: () => {
      const url = new URL(/^\w+:\/\//.test(address) ? address : `http://${address}`)
      if (/[\s\p{Cc}]|^\w+:\/(?!\/)/u.test(address)) throw new Error("it is no address")
      if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`${url.protocol} is not spoken`)
      // Such as quotes that a variable has kept.
      if (!/^(?:\[[\da-f:.]+\]|[\w.-]{1,255})$/i.test(url.hostname)) throw new Error("it has no host")
      return { origin: `${url.origin}${url.pathname.replace(/\/$/, "")}`, socket: {} }
    },
    catch: none
  })
}

// It may hold a password, also where it is so wrong that its parts are not known. This form has no place for one.
const passwordless =
  /^(?:(?:https?|ftp|tcp|grpc|unix|consul):)?\/{0,3}(?:\[[\da-f:.]{0,45}\]|[\w.-]{0,255})(?::\d{0,5})?\/?$/i

const shownAddress = (address: unknown): string =>
  typeof address === "string" && passwordless.test(address) ? shown(address) : described(address)

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
  /** The certificate that the agent is shown; it needs `key`. Default: none. */
  readonly cert?: string | undefined
  /** The private key of that certificate, redacted or not. */
  readonly key?: string | Redacted.Redacted<string> | undefined
  /** The name that the agent's certificate must be for. Default: the host of the address. */
  readonly serverName?: string | undefined
  /** Whether the agent's certificate is verified. Default: `true`. */
  readonly verify?: boolean | undefined
}

/** Everything that is known of an option of TLS: another key is none. */
export const knownTls = {
  ca: true,
  cert: true,
  key: true,
  serverName: true,
  verify: true
} as const satisfies Record<keyof AgentTls, true>

/** What the client needs to know for an agent that speaks HTTPS. */
export const tlsOf = (tls: AgentTls | undefined): Effect.Effect<AgentOptions, Trouble> =>
  Effect.gen(function* () {
    if (tls === undefined) return {}
    yield* knownOnly("tls", tls, knownTls)
    const { ca, cert, key, serverName } = tls
    if (serverName !== undefined && typeof serverName !== "string") {
      return yield* Effect.fail(invalid(`tls.serverName must be a name, not ${shown(serverName)}`))
    }
    if ((cert === undefined) !== (key === undefined)) {
      return yield* Effect.fail(invalid("tls.cert and tls.key need each other"))
    }
    const pem = {
      ...(ca === undefined ? {} : { ca: yield* pemOf("CA of the Consul agent", "ca", ca) }),
      ...(cert === undefined ? {} : { cert: yield* pemOf("certificate for the Consul agent", "cert", cert) }),
      ...(key === undefined ? {} : { key: yield* pemOf("key for the Consul agent", "key", key) })
    }
    const rejectUnauthorized = yield* flagOf("tls.verify", tls.verify, true)
    yield* usable(pem)
    return { ...pem, rejectUnauthorized, ...(serverName === undefined ? {} : { servername: serverName }) }
  })

const usable = (pem: SecureContextOptions & { readonly ca?: string }): Effect.Effect<unknown, Trouble> =>
  Object.keys(pem).length === 0
    ? Effect.void
    : Effect.tryPromise({
        try: async () => {
          // OpenSSL leaves out what it cannot read.
          if (pem.ca !== undefined) certificatesOf(pem.ca)
          // To import it makes a list of all root certificates.
          const { createSecureContext } = await import("node:tls")
          createSecureContext(pem)
        },
        // Without its cause: what is thrown may repeat the key.
        catch: (cause) => invalid(`tls: the ${Object.keys(pem).join(", ")} cannot be used: ${pemTrouble(cause)}`)
      })

const pemOf = (what: string, option: "ca" | "cert" | "key", given: unknown): Effect.Effect<string, Trouble> =>
  Effect.tryPromise({
    try: () => textOrFile({ what, option: `ConsulAgent.tls.${option}`, given }),
    catch: (cause) => invalid(messageOf(cause), cause)
  })

/** Fails for a name or an id that no service can have. */
export const namesOf = (name: string, serviceId: string): Effect.Effect<void, Trouble> => {
  if (typeof name !== "string" || isEmpty(name)) return Effect.fail(invalid("name must be a text that is not empty"))
  // What no path can hold, or what leads to another one: the service could be registered, and never be taken back.
  return typeof serviceId !== "string" || isEmpty(serviceId) || /^\.{1,2}$|\p{Surrogate}/u.test(serviceId)
    ? Effect.fail(invalid(`serviceId must be a text that can stand in a path, not ${shown(serviceId)}`))
    : Effect.void
}

/** The headers of every request, but for the token, which is only checked here. */
export const headersOf = (given: {
  readonly token?: Secret | undefined
  readonly auth?: Redacted.Redacted<string> | undefined
  readonly namespace?: string | undefined
}): Effect.Effect<Readonly<Record<string, string>>, Trouble> => {
  const { auth, namespace, token } = given
  return Effect.try({
    try: () => {
      if (token !== undefined) sendable("token", "x-consul-token", secretText("ConsulAgent.token", token))
      if (namespace !== undefined) sendable("namespace", "x-consul-namespace", namespace)
      return {
        ...(auth === undefined ? {} : { authorization: `Basic ${base64(secretText("ConsulAgent.auth", auth))}` }),
        ...(namespace === undefined ? {} : { "x-consul-namespace": namespace })
      }
    },
    catch: (error) => invalid(messageOf(error))
  })
}

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const sendable = (option: string, header: string, value: unknown): void => {
  if (typeof value === "string" && isHeaderValue(value)) return
  throw new RangeError(
    `${option} (sent as ${header}) must be a text that a header can hold, but it is ${described(value)}`
  )
}

/** Tags, none of which holds what Prometheus puts between them. */
export const tagsOf = (tags: ReadonlyArray<string> = []): Effect.Effect<ReadonlyArray<string>, Trouble> => {
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string")) {
    return Effect.fail(invalid("tags must be a list of texts"))
  }
  const wrong = tags.find((tag) => tag.includes(","))
  return wrong === undefined
    ? Effect.succeed(tags)
    : Effect.fail(invalid(`the tag ${shown(wrong)} holds a comma, by which Prometheus tells one tag from the next`))
}

// https://developer.hashicorp.com/consul/docs/services/configuration/services-configuration-reference#meta
const mostPairs = 64
const longestKey = 128
const longestValue = 512

/** Metadata that an agent takes, with so many pairs of the library's own beside it. */
export const metaOf = (
  meta: Readonly<Record<string, string>> = {},
  own: ReadonlyArray<string>
): Effect.Effect<Readonly<Record<string, string>>, Trouble> => {
  const refused = (why: string) => Effect.fail(invalid(`meta: ${why}`))
  if (typeof meta !== "object" || meta === null || Array.isArray(meta)) {
    return refused("it must be an object with a text for each key")
  }
  const count = new Set([...Object.keys(meta), ...own]).size
  if (count > mostPairs)
    return refused(`with ${own.join(" and ")} there are ${count} pairs, and at most ${mostPairs} can be`)
  for (const [key, value] of Object.entries(meta)) {
    const named = `the key ${shown(key)}`
    if (!/^[\w-]+$/.test(key)) return refused(`${named} must consist of letters, digits, _ and -`)
    if (key.length > longestKey) return refused(`${named} is longer than ${longestKey} characters`)
    if (key.startsWith("consul-")) return refused(`${named} begins with consul-, which is Consul's own`)
    if (typeof value !== "string") return refused(`the value of ${key} must be a string, not ${shown(value)}`)
    if (Buffer.byteLength(value) > longestValue)
      return refused(`the value of ${key} is longer than ${longestValue} bytes`)
  }
  return Effect.succeed(meta)
}

interface Advertised {
  readonly address?: string | undefined
  readonly port?: number | undefined
}

const advertisedKeys = { address: true, port: true } as const satisfies Record<keyof Advertised, true>

// What no name has: it would be that of a URL, or stand for many, or for an interface of one machine.
const isHost = (address: string): boolean =>
  !/[\s/?#@*[\]%]/.test(address) && (isIPv6(address) || !address.includes(":"))

/** What is registered instead of what was bound. */
export const advertisedOf = (advertise: Advertised = {}): Effect.Effect<Advertised, Trouble> =>
  Effect.gen(function* () {
    yield* knownOnly("advertise", advertise, advertisedKeys)
    const { address = "", port = 1 } = advertise
    if (typeof address !== "string" || isWildcard(address) || !isHost(address)) {
      return yield* Effect.fail(invalid(`advertise.address must be one to connect to, not ${shown(address)}`))
    }
    if (Number.isInteger(port) && port >= 1 && port <= 65_535) return advertise
    return yield* Effect.fail(invalid(`advertise.port must be a whole number from 1 to 65535, not ${shown(port)}`))
  })
