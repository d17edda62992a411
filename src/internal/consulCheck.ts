/** The check of a service: as it is given, and as an agent is told of it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { flagOf } from "./consulOptions.js"
import { isHeaderValue } from "./consulToken.js"
import type { Trouble } from "./consulTrouble.js"
import { invalid, knownOnly } from "./consulTrouble.js"
import { messageOf } from "./message.js"
import { shown } from "./options.js"
import { described, secretText } from "./secret.js"

/**
 * What every check has.
 *
 * @since 0.1.0
 * @category models
 */
export interface CheckOptions {
  /**
   * How long the check may be critical before the agent forgets the service, which is what becomes of a process that was
   * killed: one minute or more, Consul's minimum, or `false` for never. The agent looks every 30 seconds. Default: 10
   * minutes, so that an alert on `up == 0` that waits five minutes fires before the target is gone.
   */
  readonly deregisterCriticalServiceAfter?: Duration.DurationInput | false | undefined
}

/**
 * A check that the agent makes: it asks for a page of the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpCheck extends CheckOptions {
  /** What the agent asks for; it must be reachable from there. Default: the server's `healthUrl`. */
  readonly url?: string | undefined
  /**
   * What the agent sends along, such as credentials. The agent shows it to whoever may read its configuration, so it
   * should be good for nothing else. Default: nothing.
   */
  readonly header?: Readonly<Record<string, string | Redacted.Redacted<string>>> | undefined
  /** Default: 10 seconds. */
  readonly interval?: Duration.DurationInput | undefined
  /** Default: the agent's own, 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Whether the agent accepts a certificate that it cannot verify, such as a self-signed one. Default: `false`. */
  readonly tlsSkipVerify?: boolean | undefined
  readonly ttl?: undefined
}

/**
 * A check that asks nobody: the process tells the agent that all is well, three times per `ttl`. For a server that the
 * agent cannot reach, or that it cannot show a certificate or credentials to.
 *
 * @since 0.1.0
 * @category models
 */
export interface TtlCheck extends CheckOptions {
  /** How long the agent takes the last word for good, before the check turns critical: one second or more. */
  readonly ttl: Duration.DurationInput
  readonly url?: undefined
  readonly header?: undefined
  readonly interval?: undefined
  readonly timeout?: undefined
  readonly tlsSkipVerify?: undefined
}

/**
 * The check of the service, of either kind.
 *
 * @since 0.1.0
 * @category models
 */
export type Check = HttpCheck | TtlCheck

/** A check that is all right. */
export interface CheckedCheck {
  /** As it stands in the body of a registration. */
  readonly definition: (healthUrl: string) => object
  /** In milliseconds, if the agent is to be told that all is well, instead of asking. */
  readonly ttl: number | undefined
  /** Whether it asks for the server's `healthUrl`. */
  readonly asksHealthUrl: boolean
  /** Whether it has something to show there. */
  readonly hasHeader: boolean
  readonly secrets: ReadonlyArray<string>
}

const keys = {
  url: true,
  interval: true,
  timeout: true,
  tlsSkipVerify: true,
  header: true,
  ttl: true,
  deregisterCriticalServiceAfter: true
} as const satisfies Record<keyof HttpCheck & keyof TtlCheck, true>

// The least that a duration may be, in milliseconds, and how that is told.
interface Least {
  readonly milliseconds: number
  readonly told: string
}

const aMoment: Least = { milliseconds: Number.MIN_VALUE, told: "longer than nothing" }
const shortestTtl: Least = { milliseconds: 1_000, told: "one second or more" }
// What Consul takes for it if it is shorter: https://github.com/hashicorp/consul/issues/2276
const shortestDeregistration: Least = {
  milliseconds: 60_000,
  told: "one minute or more, the minimum of Consul, or false for never"
}

/** The check that is wanted, or `undefined` for none. */
export const checkOf = (given: Check | false = {}): Effect.Effect<CheckedCheck | undefined, Trouble> =>
  Effect.gen(function* () {
    if (given === false) return undefined
    yield* knownOnly("check", given, keys)
    const { deregisterCriticalServiceAfter: after = "10 minutes" } = given
    const common: Record<string, string> = {}
    if (after !== false) {
      const milliseconds = yield* agentMillisOf("check.deregisterCriticalServiceAfter", after, shortestDeregistration)
      common["DeregisterCriticalServiceAfter"] = goDuration(milliseconds)
    }
    return given.ttl === undefined ? yield* httpCheck(given, common) : yield* ttlCheck(given, common)
  })

const ttlCheck = (given: TtlCheck, common: object): Effect.Effect<CheckedCheck, Trouble> =>
  Effect.gen(function* () {
    const others = ["url", "interval", "timeout", "tlsSkipVerify", "header"] as const
    const other = others.find((name) => given[name] !== undefined)
    if (other !== undefined) {
      return yield* Effect.fail(
        invalid(`check.ttl and check.${other} exclude each other: with a TTL the agent asks nobody`)
      )
    }
    const ttl = yield* agentMillisOf("check.ttl", given.ttl, shortestTtl)
    // It is the process itself that registers: it lives.
    const definition = { TTL: goDuration(ttl), Status: "passing", ...common }
    return { definition: () => definition, ttl, asksHealthUrl: false, hasHeader: false, secrets: [] }
  })

const httpCheck = (given: HttpCheck, common: object): Effect.Effect<CheckedCheck, Trouble> =>
  Effect.gen(function* () {
    const { timeout, url } = given
    if (url !== undefined && !isPage(url)) {
      // It may hold a password.
      return yield* Effect.fail(invalid(`check.url must be a whole URL of http or https, but it is ${described(url)}`))
    }
    const skipsVerification = yield* flagOf("check.tlsSkipVerify", given.tlsSkipVerify, false)
    const interval = yield* agentMillisOf("check.interval", given.interval ?? "10 seconds")
    const header = yield* headerOf(given.header)
    const rest = {
      Interval: goDuration(interval),
      ...(timeout === undefined ? {} : { Timeout: goDuration(yield* agentMillisOf("check.timeout", timeout)) }),
      ...(skipsVerification ? { TLSSkipVerify: true } : {}),
      ...(header.length === 0 ? {} : { Header: Object.fromEntries(header.map(([name, value]) => [name, [value]])) }),
      ...common
    }
    return {
      definition: (healthUrl) => ({ HTTP: url ?? healthUrl, ...rest }),
      ttl: undefined,
      asksHealthUrl: url === undefined,
      hasHeader: header.length > 0,
      secrets: [...header.map(([, value]) => value), ...secretsOf(url)]
    }
  })

// An agent that repeats the check repeats its user, its password, and what may be a token in its query.
const secretsOf = (url: string | undefined): ReadonlyArray<string> => {
  if (url === undefined) return []
  const { password, searchParams, username } = new URL(url)
  return [...searchParams.values(), username, password].flatMap((text) => [text, decoded(text)])
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const isPage = (url: unknown): boolean => typeof url === "string" && /^https?:\/\//i.test(url) && URL.canParse(url)

const headerOf = (
  header: HttpCheck["header"] = {}
): Effect.Effect<ReadonlyArray<readonly [string, string]>, Trouble> => {
  // Others have entries of another kind, or none: a list, `Headers`, or an object that is redacted as a whole.
  if (typeof header !== "object" || header === null || Symbol.iterator in header || Redacted.isRedacted(header)) {
    const message = `check.header must be an object with a text for each name, but it is ${described(header)}`
    return Effect.fail(invalid(message))
  }
  return Effect.try({
    try: () =>
      Object.entries(header).map(([name, value], index) => [nameOf(name, index), fieldOf(name, value)] as const),
    catch: (error) => invalid(messageOf(error))
  })
}

// A whole header in the place of its name has its value in it.
const nameOf = (name: string, index: number): string => {
  if (/^[\w!#$%&'*+.^`|~-]{1,100}$/.test(name)) return name
  throw new RangeError(
    `check.header: the name of entry ${index + 1} must be that of a header, but it is ${described(name)} that is none`
  )
}

const fieldOf = (name: string, value: unknown): string => {
  const text = secretText("ConsulAgent.check.header", value, `check.header: ${name}`)
  if (isHeaderValue(text)) return text
  throw new RangeError(`check.header: ${name} holds a character that no header can (it is ${described(value)})`)
}

// A duration of Go is a count of nanoseconds in 64 bits.
const longestOfGo = (2 ** 63 - 1) / 1_000_000

// No timer of ours waits for these, so that they may be longer than one can.
const agentMillisOf = (name: string, given: unknown, least = aMoment): Effect.Effect<number, Trouble> => {
  const refused = (must: string) => Effect.fail(invalid(`${name} must be ${must}; not ${shown(given)}`))
  const decoded = Option.map(Duration.decodeUnknown(given), Duration.toMillis)
  if (Option.isNone(decoded)) return refused('a duration such as "5 seconds"')
  const milliseconds = decoded.value
  if (milliseconds < least.milliseconds) return refused(least.told)
  return milliseconds < longestOfGo ? Effect.succeed(milliseconds) : refused(`${least.told}, and at most 292 years`)
}

const goDuration = (milliseconds: number): string =>
  milliseconds % 1_000 === 0 ? `${milliseconds / 1_000}s` : `${milliseconds}ms`
