/** The options that limit the connections of a server. */
import { count, duration, refined, withDefault } from "../util/options.js"

// Node.js takes whole milliseconds.
const wholeMillis = refined(duration, Math.ceil)

// Node.js takes no infinite size.
const bytes = {
  ...refined(count, (bytes) => Math.min(bytes, Number.MAX_SAFE_INTEGER)),
  unit: "bytes"
}

export const connectionLimits = {
  /**
   * How many connections may be open; a further one replaces the one that is needed least. That is the connection that has
   * waited longest without an authorized request; else the one that has been idle for the longest time; else one whose
   * client has ended its side, or has not read its response for more than a second. If every connection waits for a
   * response, the new one is closed. An idle connection is closed first while fewer than a quarter of all connections wait
   * without an authorized request, and none of these has waited for more than a second. Without authentication every
   * request is authorized. Default: 1,000, more than the clients that scrape.
   */
  maxConnections: withDefault(count, 1_000),
  /**
   * How long the request line and the headers may be together; longer ones get 431, and so do more than 100 headers.
   * Default: 16,384, the default of Node.js; enough for about 500 `name[]` of 24 letters.
   */
  maxHeaderSize: withDefault(bytes, 16_384),
  /**
   * How long a TLS handshake, or the headers of a request, may take. After this time the connection is closed; if headers
   * are missing, with 408. Default: 10 seconds, because headers fit into the first packet.
   */
  headersTimeout: withDefault(wholeMillis, "10 seconds"),
  /**
   * How long a client may take to receive a response that is ready. After this time the connection is closed. If it is
   * shorter than `headersTimeout`, it also limits the headers. Default: 30 seconds, enough for a slow network, and too short
   * for a client that reads one byte per second.
   */
  requestTimeout: withDefault(wholeMillis, "30 seconds")
}
