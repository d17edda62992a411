/** The options of a server, checked as far as no file has to be read. */
import type * as Duration from "effect/Duration"
import type { AuthenticationOptions } from "./authentication.js"
import { checkedAuthentication } from "./authentication.js"
import { timerMillis } from "./duration.js"
import type { ConnectionLimits } from "./limits.js"
import { checkedLimits } from "./limits.js"
import { shown } from "./options.js"
import type { ListenOptions } from "./server.js"
import type { GivenServing } from "./serving.js"
import { checkedServing } from "./serving.js"
import type { TlsOptions, TlsSources } from "./tls.js"
import { checkedTls } from "./tls.js"

/** What is looked at, as it is given. */
export interface GivenSettings extends ConnectionLimits, GivenServing {
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
export interface Settings extends ReturnType<typeof checkedServing> {
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
  // Node.js takes an empty one for all interfaces, which nobody means who leaves a variable empty.
  if (host !== undefined && (typeof host !== "string" || host === "")) {
    throw new RangeError(`host must be a name or an address, not ${shown(host)}`)
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`port must be a whole number from 0 to 65535, not ${shown(port)}`)
  }
  if (!isPath(path)) {
    throw new RangeError(
      `path must begin with / and go on with letters, digits, and - . _ ~ / (no . or .. between slashes), not ${shown(path)}`
    )
  }
  const millis = (name: "shutdownTimeout" | "grace" | "staleFor"): number => {
    const milliseconds = timerMillis(options[name] ?? defaults[name])
    if (milliseconds !== undefined) return milliseconds
    throw new RangeError(`${name} must be a duration such as "5 seconds", not ${shown(options[name])}`)
  }
  return {
    ...checkedServing(options),
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
const isPath = (path: unknown): boolean =>
  typeof path === "string" && /^\/[\w\-.~][\w\-.~/]*$/.test(path) && new URL(path, "http://localhost").pathname === path
