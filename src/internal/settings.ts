/** The options of a server, checked as far as no file has to be read. */
import { isIP } from "node:net"
import type * as Duration from "effect/Duration"
import { urlHost } from "./address.js"
import type { AuthenticationOptions } from "./authentication.js"
import { checkedAuthentication } from "./authentication.js"
import { timerMillis } from "./duration.js"
import { hostOf } from "./hosts.js"
import type { ConnectionLimits } from "./limits.js"
import { checkedLimits, knownLimits } from "./limits.js"
import { booleanOption, isBlank, knownOptions, listOption, shown } from "./options.js"
import type { ListenOptions } from "./server.js"
import type { ServeOptions, Serving } from "./serving.js"
import { checkedServing, knownServing } from "./serving.js"
import type { TlsOptions, TlsSources } from "./tls.js"
import { checkedTls } from "./tls.js"

/**
 * How to serve.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends ServeOptions, ConnectionLimits {
  /** The name or address to listen on. An empty one is refused, and one with a zone. Default: all interfaces. */
  readonly host?: string | undefined
  /** Default: 0, any free one. It is shared with no other process, those of `node:cluster` among them. */
  readonly port?: number | undefined
  /** Where the metrics are. It begins with `/` and is not `/` itself. Default: `/metrics`. */
  readonly path?: string | undefined
  /**
   * Whether browsers get a page on `/` that shows the metrics to people: families, series, histograms, and what changes
   * while it is open. It asks for the metrics every 5 seconds while it is looked at, as a scrape does, and for nothing
   * from elsewhere. Everybody else, health checks for one, gets the small page there. Default: `true`.
   */
  readonly explorer?: boolean | undefined
  /**
   * The host names and addresses that a request may be for, without ports; for another one it is refused with 421. Names
   * of this machine (`localhost`, `*.localhost`, `127.0.0.0/8`, `::1`) and `host` are always among them; where the default
   * is not any, they are the only ones, so that no website can read the metrics through a browser on this machine (DNS
   * rebinding). Default: any unless on a loopback address where everybody is let in.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /** Default: plain HTTP. */
  readonly tls?: TlsOptions | undefined
  /** Who is let in. Default: everybody. */
  readonly authentication?: AuthenticationOptions | undefined
  /**
   * How long each step of the shutdown may take: to take the registration back, and to let running scrapes finish before
   * they are cut. Idle connections hold nothing up. Default: 5 seconds.
   */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * How to serve from a worker thread.
 *
 * @since 0.1.0
 * @category models
 */
export interface WorkerOptions extends Options {
  /**
   * How long the main thread may show no sign of life before the worker serves the last exposition. An answer comes
   * within twice this time. Default: 100 milliseconds.
   */
  readonly grace?: Duration.DurationInput | undefined
  /** How old the last exposition may be; an older one is answered with 503. Default: 30 seconds. */
  readonly staleFor?: Duration.DurationInput | undefined
  /**
   * The entry file of the worker, as a path or a URL, for an application that was bundled: bundlers leave the file
   * behind. It can be copied. Default: the file in this package, `dist/internal/worker.mjs`.
   */
  readonly workerUrl?: string | URL | undefined
}

/** The options, with their defaults; times are in milliseconds. */
export interface Settings extends Serving {
  readonly listen: ListenOptions
  /** Where what TLS needs was read from. */
  readonly sources: TlsSources | undefined
  readonly path: string
  readonly explorer: boolean
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

// Everything that is known of an option: another key is none.
const known = {
  ...knownServing,
  ...knownLimits,
  host: true,
  port: true,
  path: true,
  explorer: true,
  allowedHosts: true,
  tls: true,
  authentication: true,
  shutdownTimeout: true,
  grace: true,
  staleFor: true,
  workerUrl: true
} as const satisfies Record<keyof WorkerOptions, true>

/** Checks the options. It throws a `RangeError` that names the one which is none. TLS is left to be read. */
export const checkedSettings = (options: WorkerOptions): Settings => {
  knownOptions("options", options, known)
  const { authentication, host, path = defaults.path, port = 0, tls, workerUrl } = options
  // Node.js takes an empty one for all interfaces, which nobody means who leaves a variable empty.
  if (host !== undefined && (typeof host !== "string" || isBlank(host))) {
    throw new RangeError(`host must be a name or an address, not ${shown(host)}`)
  }
  if (host?.includes("%")) {
    throw new RangeError(`host must have no zone, which can stand in no URL (RFC 3986), not ${shown(host)}`)
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`port must be a whole number from 0 to 65535, not ${shown(port)}`)
  }
  if (!isPath(path)) {
    throw new RangeError(
      `path must begin with / and go on with letters, digits, and - . _ ~ / (no . or .. between slashes), not ${shown(path)}`
    )
  }
  if (workerUrl !== undefined && !isFileOrUrl(workerUrl)) {
    throw new RangeError(`workerUrl must be a path or a URL, not ${shown(workerUrl)}`)
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
      limits: checkedLimits(options),
      allowedHosts: checkedHosts(options.allowedHosts)
    },
    sources: tls === undefined ? undefined : checkedTls(tls),
    path,
    explorer: booleanOption("explorer", options.explorer, true),
    shutdownTimeout: millis("shutdownTimeout"),
    grace: millis("grace"),
    staleFor: millis("staleFor")
  }
}

// A URL may be one of another realm.
const isFileOrUrl = (given: unknown): boolean =>
  typeof given === "string" ? !isBlank(given) : typeof (given as Partial<URL> | null)?.href === "string"

const checkedHosts = (given: unknown): ReadonlyArray<string> | undefined => {
  if (given === undefined) return undefined
  const names = listOption("allowedHosts", given, "name a host, or leave it out for the default")
  return names.map((name) => {
    const isName = isIP(name.replace(/^\[(.*)\]$/, "$1")) > 0 || !/[:*%[\]]/.test(name)
    const host = isName ? hostOf(urlHost(name)) : undefined
    if (host !== undefined && host !== "") return host
    throw new RangeError(
      `allowedHosts must be host names or addresses without scheme, port or *, such as "metrics.example.com", not ${shown(name)}`
    )
  })
}

// One that a request for it still has when its URL has been parsed: without . and .. and an empty first segment.
const isPath = (path: unknown): boolean =>
  typeof path === "string" && /^\/[\w\-.~][\w\-.~/]*$/.test(path) && new URL(path, "http://localhost").pathname === path
