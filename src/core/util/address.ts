import { isIPv6 } from "node:net"

/** A client cannot connect to such an address. */
export const isWildcard = (hostname: string): boolean => wildcards.includes(normal(hostname))

const wildcards = ["0.0.0.0", "[::]", "[::ffff:0:0]"]

// An address has many notations.
const normal = (hostname: string): string => {
  const url = `http://${urlHost(hostname)}`
  return URL.canParse(url) ? new URL(url).hostname : hostname
}

/** IPv6 addresses have brackets in URLs (RFC 3986, section 3.2.2). */
export const urlHost = (hostname: string): string => (isIPv6(hostname) ? `[${hostname}]` : hostname)
