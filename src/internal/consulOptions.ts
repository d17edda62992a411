/** The options of a Consul agent, checked before anybody is asked. */
import type { AgentOptions } from "node:https"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Target } from "./consulConnection.js"
import { isHeaderValue } from "./consulToken.js"
import type { Trouble } from "./consulTrouble.js"
import { invalid } from "./consulTrouble.js"
import { timerMillis } from "./duration.js"
import { messageOf } from "./message.js"
import { plain, textOrFile } from "./secret.js"

type Secret = string | Redacted.Redacted<string>

/** A duration in milliseconds. */
export const millisOf = (name: string, given: unknown): Effect.Effect<number, Trouble> => {
  const milliseconds = timerMillis(given)
  return milliseconds === undefined
    ? Effect.fail(invalid(`${name} must be a duration such as "5 seconds", not ${String(given)}`))
    : Effect.succeed(milliseconds)
}

/** Where requests go for such an address. */
export const targetOf = (address: string): Effect.Effect<Target, Trouble> => {
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

/** What the client needs to know for an agent that speaks HTTPS. */
export const tlsOf = (
  tls:
    | {
        readonly ca?: string | undefined
        readonly cert?: string | undefined
        readonly key?: Secret | undefined
        readonly serverName?: string | undefined
        readonly verify?: boolean | undefined
      }
    | undefined
): Effect.Effect<AgentOptions, Trouble> =>
  Effect.gen(function* () {
    if (tls === undefined) return {}
    const { ca, cert, key, serverName, verify } = tls
    return {
      ...(ca === undefined ? {} : { ca: yield* pemOf("CA of the Consul agent", ca) }),
      ...(cert === undefined ? {} : { cert: yield* pemOf("certificate for the Consul agent", cert) }),
      ...(key === undefined ? {} : { key: yield* pemOf("key for the Consul agent", plain(key)) }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(verify === undefined ? {} : { rejectUnauthorized: verify })
    }
  })

const pemOf = (what: string, source: string): Effect.Effect<string, Trouble> =>
  Effect.tryPromise({
    try: () => textOrFile(what, source),
    catch: (cause) => invalid(messageOf(cause), cause)
  })

/** The headers of every request, but for the token, which is only checked here. */
export const headersOf = (given: {
  readonly token?: Secret | undefined
  readonly auth?: Redacted.Redacted<string> | undefined
  readonly namespace?: string | undefined
}): Effect.Effect<Readonly<Record<string, string>>, Trouble> => {
  const { auth, namespace, token } = given
  const headers: Record<string, string> = {
    ...(auth === undefined ? {} : { authorization: `Basic ${Buffer.from(plain(auth)).toString("base64")}` }),
    ...(namespace === undefined ? {} : { "x-consul-namespace": namespace })
  }
  const all = token === undefined ? headers : { ...headers, "x-consul-token": plain(token) }
  const wrong = Object.entries(all).find(([, value]) => !isHeaderValue(value))
  return wrong === undefined
    ? Effect.succeed(headers)
    : Effect.fail(invalid(`${wrong[0]} holds a character that no header can`))
}

/** Tags, none of which holds what Prometheus puts between them. */
export const tagsOf = (tags: ReadonlyArray<string> = []): Effect.Effect<ReadonlyArray<string>, Trouble> => {
  const wrong = tags.find((tag) => tag.includes(","))
  return wrong === undefined
    ? Effect.succeed(tags)
    : Effect.fail(
        invalid(`the tag ${JSON.stringify(wrong)} holds a comma, by which Prometheus tells one tag from the next`)
      )
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
  const count = new Set([...Object.keys(meta), ...own]).size
  if (count > mostPairs)
    return refused(`with ${own.join(" and ")} there are ${count} pairs, and at most ${mostPairs} can be`)
  for (const [key, value] of Object.entries(meta)) {
    const named = `the key ${JSON.stringify(key)}`
    if (!/^[\w-]+$/.test(key)) return refused(`${named} must consist of letters, digits, _ and -`)
    if (key.length > longestKey) return refused(`${named} is longer than ${longestKey} characters`)
    if (key.startsWith("consul-")) return refused(`${named} begins with consul-, which is Consul's own`)
    if (typeof value !== "string") return refused(`the value of ${key} must be a string`)
    if (Buffer.byteLength(value) > longestValue)
      return refused(`the value of ${key} is longer than ${longestValue} bytes`)
  }
  return Effect.succeed(meta)
}

/** Both kinds of check in one. */
export interface GivenCheck {
  readonly url?: string | undefined
  readonly interval?: unknown
  readonly timeout?: unknown
  readonly tlsSkipVerify?: boolean | undefined
  readonly header?: Readonly<Record<string, Secret>> | undefined
  readonly ttl?: unknown
  readonly deregisterCriticalServiceAfter?: unknown
}

/** A check that is all right. */
export interface Check {
  /** As it stands in the body of a registration. */
  readonly definition: (healthUrl: string) => object
  /** In milliseconds, if the agent is to be told that all is well, instead of asking. */
  readonly ttl: number | undefined
  /** Whether it asks for the server's `healthUrl`, and has nothing to show there. */
  readonly needsOpenHealth: boolean
  readonly secrets: ReadonlyArray<string>
}

// What Consul takes for it if it is shorter: https://github.com/hashicorp/consul/issues/2276
const shortestDeregistration = 60_000
const shortestTtl = 1_000

/** The check that is wanted, or `undefined` for none. */
export const checkOf = (given: GivenCheck | false = {}): Effect.Effect<Check | undefined, Trouble> =>
  Effect.gen(function* () {
    if (given === false) return undefined
    const { deregisterCriticalServiceAfter: after = "10 minutes" } = given
    const common: Record<string, string> = {}
    if (after !== false) {
      const milliseconds = yield* millisOf("check.deregisterCriticalServiceAfter", after)
      if (milliseconds < shortestDeregistration) {
        return yield* Effect.fail(
          invalid(
            `check.deregisterCriticalServiceAfter must be one minute or more, the minimum of Consul, or false; not ${String(after)}`
          )
        )
      }
      common["DeregisterCriticalServiceAfter"] = goDuration(milliseconds)
    }
    return given.ttl === undefined ? yield* httpCheck(given, common) : yield* ttlCheck(given, common)
  })

const ttlCheck = (given: GivenCheck, common: object): Effect.Effect<Check, Trouble> =>
  Effect.gen(function* () {
    const others = ["url", "interval", "timeout", "tlsSkipVerify", "header"] as const
    const other = others.find((name) => given[name] !== undefined)
    if (other !== undefined) {
      return yield* Effect.fail(
        invalid(`check.ttl and check.${other} exclude each other: with a TTL the agent asks nobody`)
      )
    }
    const ttl = yield* millisOf("check.ttl", given.ttl)
    if (ttl < shortestTtl)
      return yield* Effect.fail(invalid(`check.ttl must be one second or more, not ${String(given.ttl)}`))
    // It is the process itself that registers: it lives.
    const definition = { TTL: goDuration(ttl), Status: "passing", ...common }
    return { definition: () => definition, ttl, needsOpenHealth: false, secrets: [] }
  })

const httpCheck = (given: GivenCheck, common: object): Effect.Effect<Check, Trouble> =>
  Effect.gen(function* () {
    const { header, timeout, tlsSkipVerify, url } = given
    const interval = yield* millisOf("check.interval", given.interval ?? "10 seconds")
    const entries = Object.entries(header ?? {}).map(([name, value]) => [name, plain(value)] as const)
    const wrong = entries.find(([name, value]) => !/^[\w!#$%&'*+.^`|~-]+$/.test(name) || !isHeaderValue(value))
    if (wrong !== undefined) {
      return yield* Effect.fail(invalid(`check.header: ${wrong[0]} holds a character that no header can`))
    }
    const rest = {
      Interval: goDuration(interval),
      ...(timeout === undefined ? {} : { Timeout: goDuration(yield* millisOf("check.timeout", timeout)) }),
      ...(tlsSkipVerify === true ? { TLSSkipVerify: true } : {}),
      ...(entries.length === 0 ? {} : { Header: Object.fromEntries(entries.map(([name, value]) => [name, [value]])) }),
      ...common
    }
    return {
      definition: (healthUrl) => ({ HTTP: url ?? healthUrl, ...rest }),
      ttl: undefined,
      needsOpenHealth: url === undefined && entries.length === 0,
      secrets: entries.map(([, value]) => value)
    }
  })

const goDuration = (milliseconds: number): string =>
  milliseconds % 1_000 === 0 ? `${milliseconds / 1_000}s` : `${milliseconds}ms`
