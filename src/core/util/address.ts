/** Host names as they are bound, and as they stand in a URL. */
import { isIPv6 } from "node:net"

/** Whether it stands for all interfaces, and so for no address that somebody could connect to. */
export const isWildcard = (hostname: string): boolean => wildcards.includes(normal(hostname))

const wildcards = ["0.0.0.0", "[::]", "[::ffff:0:0]"]

// An address can be written in many ways.
const normal = (hostname: string): string => {
  const url = `http://${urlHost(hostname)}`
  return URL.canParse(url) ? new URL(url).hostname : hostname
}

/** As it stands in a URL: IPv6 in brackets (RFC 3986, section 3.2.2). */
export const urlHost = (hostname: string): string => (isIPv6(hostname) ? `[${hostname}]` : hostname)
