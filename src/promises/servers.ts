/** Dedicated metrics servers. The implementation uses Effect, and is loaded when the first server starts. */
import type * as Redacted from "effect/Redacted"
import type { RunningServer, ServerOptions, ThreadOptions } from "./runningServer.js"

/**
 * Starts a dedicated metrics server: `/metrics`, and `/` for health checks.
 *
 * Rejects with a `MetricsServerError`, or with the error of the registration. In both cases the server is closed.
 *
 * @example
 * import { startHttpServer } from "effect-prometheus/Promises"
 *
 * const server = await startHttpServer({ host: "127.0.0.1" })
 * console.log(`metrics at ${server.url}`)
 * await server.close()
 *
 * @since 0.1.0
 * @category constructors
 */
export const startHttpServer = async (options: ServerOptions = {}): Promise<RunningServer> =>
  (await import("./runServer.js")).start(options)

/**
 * Starts a dedicated metrics server in a worker thread. HTTP, TLS and compression leave the application's event loop.
 * While that loop is blocked, the worker serves the last exposition. See `MetricsServer.makeWorker`.
 *
 * Rejects as `startHttpServer` does, and with a `MetricsServerError` that names the file if the worker cannot be started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startHttpServerInThread = async (options: ThreadOptions = {}): Promise<RunningServer> =>
  (await import("./runServer.js")).startInThread(options)

/**
 * Checks the options of `startHttpServer` and `startHttpServerInThread` without serving; see `MetricsServer.validate`.
 * Rejects with a `MetricsServerError` that names the option or the file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const validateServerOptions = async (options: ThreadOptions = {}): Promise<void> =>
  (await import("./runServer.js")).validate(options)

/**
 * Returns the salted hash of a password, for `authentication.users`; see `MetricsServer.hashPassword`. Rejects with a
 * `RangeError` for a password that the server rejects.
 *
 * @example
 * import { hashPassword } from "effect-prometheus/Promises"
 *
 * console.log(await hashPassword("correct horse battery staple"))
 *
 * @since 0.1.0
 * @category constructors
 */
export const hashPassword = async (password: string | Redacted.Redacted<string>): Promise<string> => {
  if (typeof password !== "string") {
    const { readRedacted } = await import("../effect/secrets.js")
    readRedacted()
  }
  const { hashPassword: hashed } = await import("../core/server/auth/hashPassword.js")
  return hashed(password)
}
