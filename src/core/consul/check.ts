/** The health check of a service: its options, and its definition for the agent. */
import { type DurationInput, toMillis } from "../util/duration.js"
import type { Group, Kind, Read, Secret } from "../util/options.js"
import { checkNames, flag, isRecord, kind, optional, readOptions, required, withDefault } from "../util/options.js"
import { described, isWrapped, secretText } from "../util/secrets.js"
import { percentDecoded, shown } from "../util/text.js"
import { isHeaderValue } from "./headers.js"

// Consul writes durations as Go does: a count of nanoseconds in 64 bits.
const longestOfGo = (2 ** 63 - 1) / 1_000_000

const goDuration = (milliseconds: number): string =>
  milliseconds % 1_000 === 0 ? `${milliseconds / 1_000}s` : `${milliseconds}ms`

// In milliseconds. No timer of this process waits for these times: they may be longer than the longest timer.
const agentTime = (least: number, expected: string): Kind<DurationInput, number> =>
  kind((given, name) => {
    const milliseconds = toMillis(given)
    const refused = (must: string) => new RangeError(`${name} must be ${must}, not ${shown(given)}`)
    if (milliseconds === undefined) throw refused('a duration such as "5 seconds"')
    if (milliseconds < least) throw refused(expected)
    if (milliseconds >= longestOfGo) throw refused(`${expected}, and at most 292 years`)
    return milliseconds
  }, "duration")

const period = agentTime(Number.MIN_VALUE, "longer than 0")

// Consul raises shorter times to its minimum: https://github.com/hashicorp/consul/issues/2276
const longCritical = agentTime(60_000, "at least one minute (the minimum of Consul), or false for never")

export const checkOptions = {
  /**
   * How long the check may be critical before the agent removes the service, at least one minute, or `false` for never.
   * This removes the services of killed processes. Consul looks for such services every 30 seconds. Default: 10 minutes, so
   * that an alert on `up == 0` that waits five minutes fires before the target is gone.
   */
  deregisterCriticalServiceAfter: withDefault(
    kind<DurationInput | false, number | false>(
      (given, name) => given !== false && longCritical.check(given, name),
      "duration"
    ),
    "10 minutes"
  )
}

// An option of the other kind of check.
const other = optional(
  kind<never, undefined>((_, name) => {
    throw new RangeError(`check.ttl and ${name} exclude each other: with a TTL, the agent sends no requests`)
  })
)

const isPage = (url: unknown): url is string =>
  typeof url === "string" && /^https?:\/\//i.test(url) && URL.canParse(url)

const page = kind<string, string>((given, name) => {
  if (isPage(given)) return given
  // It may hold a password.
  throw new RangeError(`${name} must be an absolute http or https URL, but it is ${described(given)}`)
}, "string")

type Fields = ReadonlyArray<readonly [name: string, value: string]>

const header = kind<Readonly<Record<string, Secret>>, Fields>((given, name) => {
  // Others have entries of another kind, or none: a list, `Headers`, or an object that is redacted as a whole.
  if (!isRecord(given) || Symbol.iterator in given || isWrapped(given)) {
    throw new RangeError(`${name} must be an object with a string for each header name, but it is ${described(given)}`)
  }
  return Object.entries(given).map(([field, value], index) => {
    // A whole header in the place of its name has its value in it.
    if (!/^[\w!#$%&'*+.^`|~-]{1,100}$/.test(field)) {
      throw new RangeError(
        `${name}: the name of entry ${index + 1} is not a valid header name (it is ${described(field)})`
      )
    }
    const text = secretText(value, `${name}: ${field}`)
    if (isHeaderValue(text)) return [field, text] as const
    throw new RangeError(
      `${name}: ${field} contains a character that is not allowed in a header (it is ${described(value)})`
    )
  })
}, "secrets by name")

export const httpCheckOptions = {
  ...checkOptions,
  /** The URL that the agent requests; the agent must be able to reach it. Default: the server's `healthUrl`. */
  url: optional(page),
  /**
   * The headers of the agent's requests, such as credentials. Clients that may read the agent's checks can read them: use
   * credentials that give no other access. Default: none.
   */
  header: withDefault(header, {}),
  /** The time between two requests of the agent. Default: 10 seconds. */
  interval: withDefault(period, "10 seconds"),
  /** How long a request of the agent may take. Default: the agent's own, 10 seconds. */
  timeout: optional(period),
  /** Whether the agent accepts a certificate that it cannot verify, such as a self-signed one. Default: `false`. */
  tlsSkipVerify: withDefault(flag, false),
  ttl: other
}

export const ttlCheckOptions = {
  ...checkOptions,
  /**
   * How long a report of the process is valid, at least one second; with `ttl` the process reports its health, the agent
   * sends no requests, and the options of an HTTP check are refused.
   */
  ttl: required(agentTime(1_000, "at least one second")),
  url: other,
  header: other,
  interval: other,
  timeout: other,
  tlsSkipVerify: other
}

export interface ServiceCheck {
  readonly definition: (healthUrl: string) => object
  /** How long a report keeps it from turning critical, in milliseconds; undefined: the agent makes requests instead. */
  readonly ttl: number | undefined
  readonly usesHealthUrl: boolean
  readonly hasHeader: boolean
  /** What must not be in a message. */
  readonly secrets: ReadonlyArray<string>
}

export type CheckInput = Group<typeof httpCheckOptions> | Group<typeof ttlCheckOptions> | false

export const serviceCheck = kind<CheckInput, ServiceCheck | undefined>((given, name) => {
  if (given === false) return undefined
  checkNames(httpCheckOptions, given, name)
  return given["ttl"] === undefined
    ? httpCheck(readOptions(httpCheckOptions, given, name))
    : ttlCheck(readOptions(ttlCheckOptions, given, name))
}, "options")

const ttlCheck = (options: Read<typeof ttlCheckOptions>): ServiceCheck => {
  const { ttl } = options
  // The process registers itself, so it runs.
  const definition = { TTL: goDuration(ttl), Status: "passing", ...common(options) }
  return { definition: () => definition, ttl, usesHealthUrl: false, hasHeader: false, secrets: [] }
}

const httpCheck = (options: Read<typeof httpCheckOptions>): ServiceCheck => {
  const { header, interval, timeout, tlsSkipVerify, url } = options
  const rest = {
    Interval: goDuration(interval),
    ...(timeout === undefined ? {} : { Timeout: goDuration(timeout) }),
    ...(tlsSkipVerify ? { TLSSkipVerify: true } : {}),
    ...(header.length === 0 ? {} : { Header: Object.fromEntries(header.map(([name, value]) => [name, [value]])) }),
    ...common(options)
  }
  return {
    definition: (healthUrl) => ({ HTTP: url ?? healthUrl, ...rest }),
    ttl: undefined,
    usesHealthUrl: url === undefined,
    hasHeader: header.length > 0,
    secrets: [...header.map(([, value]) => value), ...secretsOf(url)]
  }
}

const common = ({ deregisterCriticalServiceAfter: after }: Read<typeof checkOptions>) =>
  after === false ? {} : { DeregisterCriticalServiceAfter: goDuration(after) }

// An agent that repeats the check repeats its user, its password, and what may be a token in its query.
const secretsOf = (url: string | undefined): ReadonlyArray<string> => {
  if (url === undefined) return []
  const { password, searchParams, username } = new URL(url)
  return [...searchParams.values(), username, password].flatMap((text) => [text, percentDecoded(text)])
}
