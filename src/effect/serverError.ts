/** The error of a metrics server. */
import { messageOf } from "../core/util/text.js"
import { TaggedError } from "./taggedError.js"

/**
 * The metrics server could not be started. `message` names the host and the port, the file, or the option.
 *
 * `reason` is `"AddressInUse"`, `"Listen"` (any other failure to listen), `"Tls"` (the key, the certificate or the
 * authorities), `"Worker"` (the worker thread did not start), or `"InvalidOptions"`. `host` and `port` are those of the
 * options, and exist only for `"AddressInUse"` and `"Listen"`. If `host` is undefined, the server listens on all
 * interfaces.
 *
 * @since 0.1.0
 * @category errors
 */
export class MetricsServerError extends TaggedError("MetricsServerError")<{
  readonly reason: "AddressInUse" | "Listen" | "Tls" | "Worker" | "InvalidOptions"
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly message: string
  readonly cause?: unknown
}> {}

export const invalidOptions = (error: unknown): MetricsServerError =>
  new MetricsServerError({ reason: "InvalidOptions", message: messageOf(error) })
