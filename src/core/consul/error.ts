export type Reason = "Unreachable" | "Timeout" | "Refused" | "NotVerified" | "Token" | "InvalidOptions"

interface Details {
  readonly status?: number
  readonly body?: string
  readonly cause?: unknown
}

/** The message names the agent's address or the option, and holds no secret. */
export class ConsulError extends Error {
  override readonly name = "ConsulError"
  readonly status: number | undefined
  /** Fit for messages. */
  readonly body: string | undefined

  constructor(
    readonly reason: Reason,
    message: string,
    { body, cause, status }: Details = {}
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.status = status
    this.body = body
  }

  /** Whether the agent certainly did nothing: the request did not reach it, or the agent refused it. */
  get isWithoutEffect(): boolean {
    if (this.reason === "Token") return true
    if (this.reason === "Refused") return this.status !== undefined && this.status >= 400 && this.status < 500
    const errors: ReadonlyArray<unknown> = this.cause instanceof AggregateError ? this.cause.errors : [this.cause]
    return errors.every((error) => {
      const { code } = (error ?? {}) as NodeJS.ErrnoException
      return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENOENT"
    })
  }
}

export const invalidOptions = (message: string, cause?: unknown): ConsulError =>
  new ConsulError("InvalidOptions", `invalid options of the Consul agent: ${message}`, { cause })
