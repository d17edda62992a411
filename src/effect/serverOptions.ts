/** The options of a metrics server, with types of Effect, and what is known of a running one. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { authenticationOptions } from "../core/server/auth/options.js"
import type { connectionLimits } from "../core/server/connectionLimits.js"
import type { ServeOptions } from "../core/server/handlerOptions.js"
import type { serverOptions, workerThreadOptions } from "../core/server/serverOptions.js"
import type { tlsOptions } from "../core/server/tls/options.js"
import type { Given } from "../core/util/options.js"
import type { RunningServer as Registrable } from "./serviceDiscovery.js"

/**
 * Options of a metrics server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options
  extends ServeOptions,
    ConnectionLimits,
    Given<typeof serverOptions, Redacted.Redacted<string>> {}

/**
 * Options of a metrics server in a worker thread.
 *
 * @since 0.1.0
 * @category models
 */
export interface WorkerOptions extends Options, Given<typeof workerThreadOptions> {}

/**
 * Limits of the connections of a server. Request bodies are not read: a request that has one gets its response, and is
 * the last one of its connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionLimits extends Given<typeof connectionLimits> {}

/**
 * Options of HTTPS. The key, the certificate and the authorities are each PEM text or the path of a PEM file.
 *
 * Changed files are reloaded within `reloadInterval`, for new connections; open connections keep theirs. If the files
 * cannot be used, an error that names the file is logged once, and the earlier files stay in use. Each file must be a
 * regular file of at most 4 MiB, and must be read within 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsOptions extends Given<typeof tlsOptions, Redacted.Redacted<string>> {}

/**
 * Options of authentication. A request is authorized if it has the name and password of a user (`Authorization: Basic`)
 * or a token (`Authorization: Bearer`). Other requests get 401 on every path.
 *
 * Each serving thread verifies new passwords one at a time, with a pause after each. One more may queue; others get 429
 * with `Retry-After`. The last verified password of each user is cached as a digest, and is not verified again.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthenticationOptions extends Given<typeof authenticationOptions, Redacted.Redacted<string>> {}

/**
 * A running metrics server.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunningServer extends Registrable {
  /** Whether the server is registered with a service discovery at this moment. */
  readonly isRegistered: Effect.Effect<boolean>
}
