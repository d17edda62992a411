/** The options of a metrics server, checked as far as no file has to be read. */
import { isIP } from "node:net"
import { urlHost } from "../util/address.js"
import type { Read } from "../util/options.js"
import {
  flag,
  isBlank,
  kind,
  optional,
  port,
  readOptions,
  refined,
  texts,
  time,
  valid,
  withDefault
} from "../util/options.js"
import { shown } from "../util/text.js"
import { hostOf } from "./allowedHosts.js"
import { authentication } from "./auth/options.js"
import { connectionLimits } from "./connectionLimits.js"
import { handlerOptions } from "./handlerOptions.js"
import { tls } from "./tls/options.js"
import type { TlsMaterial } from "./tls/secureContext.js"

const hostName = kind<string, string>((given, name) => {
  // Node.js takes an empty host for all interfaces; it probably comes from an environment variable that is empty.
  if (typeof given !== "string" || isBlank(given)) {
    throw new RangeError(`${name} must be a host name or an IP address, not ${shown(given)}`)
  }
  if (!given.includes("%")) return given
  throw new RangeError(`${name} must not contain a zone, which URLs do not support (RFC 3986), not ${shown(given)}`)
}, "string")

// A path that parsing a URL leaves as it is: without . and .. and an empty first segment.
const urlPath = valid<string>(
  "string",
  "be / followed by letters, digits, and - . _ ~ / (no . or .. between slashes)",
  (given) =>
    typeof given === "string" &&
    /^\/[\w\-.~][\w\-.~/]*$/.test(given) &&
    new URL(given, "http://localhost").pathname === given
)

const hostNames = refined(texts("add a host, or omit the option for the default"), (names, option) =>
  names.map((name) => {
    const isName = isIP(name.replace(/^\[(.*)\]$/, "$1")) > 0 || !/[:*%[\]]/.test(name)
    const host = isName ? hostOf(urlHost(name)) : undefined
    if (host !== undefined && host !== "") return host
    throw new RangeError(
      `${option} must contain host names or IP addresses without scheme, port or *, such as "metrics.example.com", not ${shown(name)}`
    )
  })
)

// A URL may come from another realm. As text it can be sent to a worker.
const fileOrUrl = kind<string | URL, string>((given, name) => {
  const text = typeof given === "string" ? given : (given as Partial<URL> | null)?.href
  if (typeof text === "string" && !isBlank(text)) return text
  throw new RangeError(`${name} must be a path or a URL, not ${shown(given)}`)
}, "string, URL")

export const serverOptions = {
  /** The host name or IP address to listen on, without a zone; it must not be empty. Default: all interfaces. */
  host: optional(hostName),
  /** The port; 0 takes a free one. It is not shared with other processes of `node:cluster`. Default: 0. */
  port: withDefault(port(0), 0),
  /** The path of the metrics. It begins with `/`, and is not `/` itself. Default: `/metrics`. */
  path: withDefault(urlPath, "/metrics"),
  /**
   * Whether browsers get a page on `/` that shows the metrics. It shows families, series and histograms, and charts of the
   * values that change while it is open. While it is visible, it scrapes the metrics every 5 seconds. It loads nothing from
   * other hosts. Other clients, such as health checks, get a small page. Default: `true`.
   */
  explorer: withDefault(flag, true),
  /**
   * The host names and addresses that are accepted in the header `Host`, without ports, besides `host` and loopback
   * names; requests for others get 421. Loopback names are `localhost`, `*.localhost`, `127.0.0.0/8` and `::1`. On a loopback address without
   * authentication only these are allowed by default, so that no website can read the metrics through a browser on this
   * machine (DNS rebinding). Default: every host unless on a loopback address without authentication.
   */
  allowedHosts: optional(hostNames),
  /** HTTPS: its key and certificate, and whether clients need a certificate. Default: plain HTTP. */
  tls: optional(tls),
  /** The users and tokens that are authorized. Default: every request is authorized. */
  authentication: optional(authentication),
  /**
   * How long each step of the shutdown may take: first the registration is removed, then running scrapes finish. Idle
   * connections are closed at once. Default: 5 seconds.
   */
  shutdownTimeout: withDefault(time, "5 seconds"),
  /**
   * Whether the process may end while the server is open, as after `unref()` of a server of Node.js: for a script that
   * ends by itself. Without its `close`, a registration is not removed, and a scrape can be cut. A registration with
   * Consul keeps the process alive in any case. Default: `false`.
   */
  unref: withDefault(flag, false)
}

export const workerThreadOptions = {
  /**
   * How long the application may be unresponsive before the worker serves the last exposition. The response takes at most
   * twice this time. Default: 100 milliseconds.
   */
  grace: withDefault(time, "100 millis"),
  /** How old the last exposition may be; an older one gets 503. Default: 30 seconds. */
  staleFor: withDefault(time, "30 seconds"),
  /**
   * The entry file of the worker, for bundled applications. Bundlers do not copy it; it can be copied to any place.
   * Default: the file in this package, `dist/esm/worker.mjs`.
   */
  workerUrl: optional(fileOrUrl)
}

export const workerOptions = { ...serverOptions, ...handlerOptions, ...connectionLimits, ...workerThreadOptions }

/** Times in milliseconds. */
export type ServerOptionValues = Read<typeof workerOptions>

/** With the files of `tls` read. Can be sent to a worker. */
export interface ServerSettings extends Omit<ServerOptionValues, "tls"> {
  readonly tls: TlsMaterial | undefined
}

/** Throws a `RangeError` that names an option that is unknown or wrong. */
export const readServerOptions = (options: unknown): ServerOptionValues => readOptions(workerOptions, options)
