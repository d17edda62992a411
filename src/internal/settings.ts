/** The options of a server, checked as far as no file has to be read. */
import type * as Duration from "effect/Duration"
import type { AuthenticationOptions } from "./authentication.js"
import { checkedAuthentication } from "./authentication.js"
import { timerMillis } from "./duration.js"
import type { ConnectionLimits, ScrapeLimits } from "./limits.js"
import { checkedLimits, checkedScrapeLimits } from "./limits.js"
import type { ListenOptions } from "./server.js"
import type { TlsOptions, TlsSources } from "./tls.js"
import { checkedTls } from "./tls.js"

/** What is looked at, as it is given. */
export interface GivenSettings extends ConnectionLimits, ScrapeLimits {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly path?: string | undefined
  readonly tls?: TlsOptions | undefined
  readonly authentication?: AuthenticationOptions | undefined
  readonly shutdownTimeout?: Duration.DurationInput | undefined
  readonly grace?: Duration.DurationInput | undefined
  readonly staleFor?: Duration.DurationInput | undefined
}

/** The options, with their defaults; times are in milliseconds. */
export interface Settings extends ReturnType<typeof checkedScrapeLimits> {
  readonly listen: ListenOptions
  /** Where what TLS needs was read from. */
  readonly sources: TlsSources | undefined
  readonly path: string
  readonly shutdownTimeout: number
  readonly grace: number
  readonly staleFor: number
}

const defaults = {
  path: "/metrics",
  shutdownTimeout: "5 seconds",
  grace: "100 millis",
  staleFor: "30 seconds"
} as const

/** Checks the options. It throws a `RangeError` that names the one which is none. TLS is left to be read. */
export const checkedSettings = (options: GivenSettings): Settings => {
  const { authentication, host, path = defaults.path, port = 0, tls } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    const given = typeof port === "string" ? JSON.stringify(port) : String(port)
    throw new RangeError(`port must be a whole number from 0 to 65535, not ${given}`)
  }
  if (!isPath(path)) {
    throw new RangeError(
      `path must begin with / and go on with letters, digits, and - . _ ~ / (no . or .. between slashes), not ${JSON.stringify(path)}`
    )
  }
  const millis = (name: "shutdownTimeout" | "grace" | "staleFor"): number => {
    const milliseconds = timerMillis(options[name] ?? defaults[name])
    if (milliseconds !== undefined) return milliseconds
    throw new RangeError(`${name} must be a duration such as "5 seconds", not ${String(options[name])}`)
  }
  return {
    ...checkedScrapeLimits(options),
    listen: {
      host,
      port,
      tls: undefined,
      authentication: authentication === undefined ? undefined : checkedAuthentication(authentication),
      limits: checkedLimits(options)
    },
    sources: tls === undefined ? undefined : checkedTls(tls),
    path,
    shutdownTimeout: millis("shutdownTimeout"),
    grace: millis("grace"),
    staleFor: millis("staleFor")
  }
}

// One that a request for it still has when its URL has been parsed: without . and .. and an empty first segment.
const isPath = (path: string): boolean =>
  /^\/[\w\-.~][\w\-.~/]*$/.test(path) && new URL(path, "http://localhost").pathname === path
