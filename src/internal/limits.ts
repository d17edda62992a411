/** What a server bears of those who connect to it. */
import type * as Duration from "effect/Duration"
import { countOption, durationOption } from "./options.js"

/**
 * What a server bears of those who connect to it. Request bodies are not read: a request
 * that has one is answered, and is the last of its connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionLimits {
  /**
   * How many connections may be open. One more takes the place of the one that has waited longest without a request that
   * is let in, or else of one that has been idle for the longest time, or else of one that has ended its side or has not
   * taken its answer for more than a second; only where each of them waits for an answer it is closed itself. An idle one
   * goes first while fewer than a quarter wait without being let in, and none of these for more than a second. Without authentication each
   * request is let in. Default: 1,000, more than those who scrape will ever have.
   */
  readonly maxConnections?: number | undefined
  /**
   * How long the request line and the headers may be together, in bytes; more are answered with 431, and so are more than
   * 100 headers. Default: 16,384, as in Node.js itself: room for some 500 `name[]` of 24 letters.
   */
  readonly maxHeaderSize?: number | undefined
  /**
   * How long a connection may take for a TLS handshake, and for the headers of a request; then it is closed, after the
   * handshake with 408. Default: 10 seconds, for headers fit the first packet.
   */
  readonly headersTimeout?: Duration.DurationInput | undefined
  /**
   * How long an answer may take to be taken once it is there; then the connection is closed. A shorter one than
   * `headersTimeout` counts for headers as well. Default: 30 seconds, enough for a slow network, and too short for a
   * client that reads a byte a second.
   */
  readonly requestTimeout?: Duration.DurationInput | undefined
}

/** Everything that is known of a limit: another key is none. */
export const knownLimits = {
  maxConnections: true,
  maxHeaderSize: true,
  headersTimeout: true,
  requestTimeout: true
} as const satisfies Record<keyof ConnectionLimits, true>

/** The same as numbers, times in milliseconds, which can be sent to a worker. */
export interface CheckedLimits {
  readonly maxConnections: number
  readonly maxHeaderSize: number
  readonly headersTimeout: number
  readonly requestTimeout: number
}

/** The limits with their defaults. It throws a `RangeError` that names the option which is none. */
export const checkedLimits = (limits: ConnectionLimits): CheckedLimits => ({
  maxConnections: countOption("maxConnections", limits.maxConnections, 1_000),
  // What goes to Node.js are whole numbers, and none without an end.
  maxHeaderSize: Math.min(countOption("maxHeaderSize", limits.maxHeaderSize, 16_384), Number.MAX_SAFE_INTEGER),
  headersTimeout: Math.ceil(durationOption("headersTimeout", limits.headersTimeout, "10 seconds")),
  requestTimeout: Math.ceil(durationOption("requestTimeout", limits.requestTimeout, "30 seconds"))
})
