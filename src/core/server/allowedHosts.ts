/** The hosts that requests are for, and those that a server responds to. */
import type { IncomingMessage } from "node:http"
import { isIPv4 } from "node:net"
import { urlHost } from "../util/address.js"
import type { Rejection } from "./endpoint.js"

export interface BoundServer {
  /** Undefined: all interfaces. */
  readonly host: string | undefined
  readonly address: string
  /** Whether requests need a certificate, a password or a token. */
  readonly isGuarded: boolean
  /** Undefined: the default. */
  readonly allowedHosts: ReadonlyArray<string> | undefined
}

// The longest name has 253 letters (RFC 1035), and a port five.
const longest = 260

export const hostOf = (authority: string): string | undefined => {
  const url = `http://${authority}`
  if (authority.length > longest || /[\s/?#@\\]/.test(authority) || !URL.canParse(url)) return undefined
  const { hostname } = new URL(url)
  return hostname.replace(/\.$/, "")
}

/** `host` is in the form that `hostOf` returns. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" ||
  host.endsWith(".localhost") ||
  host === "[::1]" ||
  host.startsWith("[::ffff:7f") ||
  (isIPv4(host) && host.startsWith("127."))

const misdirected: Rejection = {
  status: 421,
  message:
    "Misdirected request: the requested host is not allowed. Add it to the option allowedHosts, or have the proxy send Host: localhost"
}

/**
 * A website can point its name to this machine (DNS rebinding) and read what a browser here can read; its requests have
 * that name. So by default a loopback address without authentication responds only to loopback names.
 */
export const hostCheck = ({ address, allowedHosts, host, isGuarded }: BoundServer) => {
  const isOpenLoopback = !isGuarded && isLoopback(hostOf(urlHost(address)) ?? "")
  if (allowedHosts === undefined && !isOpenLoopback) return undefined
  const own = [address, host ?? ""].map((each) => hostOf(urlHost(each)))
  const allowed = new Set([...own, ...(allowedHosts ?? [])])
  const rejectionOf = (authority: string): Rejection | undefined => {
    const requested = hostOf(authority)
    return requested !== undefined && (isLoopback(requested) || allowed.has(requested)) ? undefined : misdirected
  }
  // Most requests are for the same host as the last one.
  let last: { readonly authority: string; readonly rejection: Rejection | undefined } | undefined
  return (request: IncomingMessage): Rejection | undefined => {
    const authority = authorityOf(request)
    // Every browser sends it.
    if (authority === undefined || authority === "") return undefined
    if (last?.authority !== authority) last = { authority, rejection: rejectionOf(authority) }
    return last.rejection
  }
}

// If the request line has a URL, the header does not count (RFC 9112, section 3.2.2).
const authorityOf = ({ headers, url = "" }: IncomingMessage): string | undefined =>
  (url.startsWith("/") ? undefined : /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1]) ?? headers.host
