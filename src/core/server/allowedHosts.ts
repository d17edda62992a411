/** The hosts that a server is asked for, and which of them it answers to. */
import type { IncomingMessage } from "node:http"
import { isIPv4 } from "node:net"
import { urlHost } from "./address.js"
import type { Refusal } from "./endpoint.js"

/** What decides about hosts. */
export interface Bound {
  /** As it was given. Undefined: all interfaces. */
  readonly host: string | undefined
  /** What it is. */
  readonly address: string
  /** Whether only those are let in who have a certificate, a password or a token. */
  readonly isGuarded: boolean
  /** Undefined: the default. */
  readonly allowedHosts: ReadonlyArray<string> | undefined
}

// The longest name has 253 letters (RFC 1035), and a port five.
const longest = 260

/** The name or address in an authority, which may have a port, in the one way in which it is compared. */
export const hostOf = (authority: string): string | undefined => {
  const url = `http://${authority}`
  if (authority.length > longest || /[\s/?#@\\]/.test(authority) || !URL.canParse(url)) return undefined
  const { hostname } = new URL(url)
  return hostname.replace(/\.$/, "")
}

/** Whether it is this machine, reached from nowhere else: a name or an address, as `hostOf` gives it. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" ||
  host.endsWith(".localhost") ||
  host === "[::1]" ||
  host.startsWith("[::ffff:7f") ||
  (isIPv4(host) && host.startsWith("127."))

const misdirected: Refusal = {
  status: 421,
  message:
    "Misdirected request: the server has no such host name. Add it to its option allowedHosts, or have the proxy send Host: localhost"
}

/**
 * Why a request for a host is refused; `undefined` if any host will do. A page of another site can have its name point to
 * this machine (DNS rebinding) and then read what a browser here may read: the request has that name. By default a server
 * that only this machine can reach, and that lets in everybody, therefore answers to names of this machine alone.
 */
export const hostRefusal = ({ address, allowedHosts, host, isGuarded }: Bound) => {
  const isOpenLoopback = !isGuarded && isLoopback(hostOf(urlHost(address)) ?? "")
  if (allowedHosts === undefined && !isOpenLoopback) return undefined
  const own = [address, host ?? ""].map((each) => hostOf(urlHost(each)))
  const allowed = new Set([...own, ...(allowedHosts ?? [])])
  const refusalOf = (authority: string): Refusal | undefined => {
    const asked = hostOf(authority)
    return asked !== undefined && (isLoopback(asked) || allowed.has(asked)) ? undefined : misdirected
  }
  // Most requests are for the same one as the last.
  let last: { readonly authority: string; readonly refusal: Refusal | undefined } | undefined
  return (request: IncomingMessage): Refusal | undefined => {
    const authority = authorityOf(request)
    // No browser leaves it out.
    if (authority === undefined || authority === "") return undefined
    if (last?.authority !== authority) last = { authority, refusal: refusalOf(authority) }
    return last.refusal
  }
}

// Where the request line has a whole URL, the header does not count (RFC 9112, section 3.2.2).
const authorityOf = ({ headers, url = "" }: IncomingMessage): string | undefined =>
  (url.startsWith("/") ? undefined : /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1]) ?? headers.host
