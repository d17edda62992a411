/** HTTP with a Consul agent: one call with its answer, or why it failed. */
import { type Agent, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http"
import { type AgentOptions, Agent as HttpsAgent, request as httpsRequest } from "node:https"
import { clearTimeout, setTimeout } from "../util/realTimers.js"
import { harmless } from "../util/redaction.js"
import { messageOf, visible } from "../util/text.js"
import { ConsulError } from "./error.js"
import type { AgentAddress } from "./options.js"

/** Where the agent is and how to connect to it, with all files read. */
export interface ConnectionSettings {
  readonly address: AgentAddress
  readonly tls: AgentOptions
  readonly auth: string | undefined
  readonly namespace: string | undefined
  /** How long an answer may take, in milliseconds. */
  readonly timeout: number
  /** What must not be in a message, also if the agent repeats it. */
  readonly secrets: ReadonlyArray<string>
}

export interface CallOptions {
  readonly token?: string | undefined
  readonly signal?: AbortSignal
  /** How long the answer may take, in milliseconds. Default: the timeout of the connection. */
  readonly timeout?: number | undefined
}

export interface Request extends CallOptions {
  readonly body?: object
  /** Which answers are accepted beside 200. */
  readonly accepts?: (status: number, text: string) => boolean
}

export interface Answer {
  readonly status: number
  /** The body as it came: what is read from it must not depend on secrets. */
  readonly text: string
  readonly sanitized: () => string
}

// In bytes. An answer about one service has some thousand; but anything may answer at the address, without an end.
const longestAnswer = 1_048_576

// In milliseconds. Calls come in bursts; after a longer time the agent may have closed the connection.
const longestIdle = 1_000

/** Every answer but 200, and those that a call accepts, is a failure. */
export class Connection {
  private readonly agent: Agent
  private readonly send: typeof httpsRequest
  private readonly headers: Readonly<Record<string, string>>
  private readonly ownSecrets: ReadonlyArray<string>
  /** Of the last call as well: the agent may still repeat its token in an answer to the next one. */
  private secrets: ReadonlyArray<string>

  constructor(private readonly settings: ConnectionSettings) {
    const { address, auth, namespace, secrets, tls } = settings
    const isSecure = address.origin.startsWith("https:")
    const options = { keepAlive: true, timeout: longestIdle }
    this.agent = isSecure ? new HttpsAgent({ ...options, ...tls }) : new HttpAgent(options)
    this.send = isSecure ? httpsRequest : httpRequest
    this.headers = {
      ...(auth === undefined ? {} : { authorization: `Basic ${base64(auth)}` }),
      ...(namespace === undefined ? {} : { "x-consul-namespace": namespace })
    }
    this.ownSecrets = [...secrets, ...secretsOf(auth)]
    this.secrets = this.ownSecrets
  }

  get address(): string {
    return this.settings.address.text
  }

  close(): void {
    this.agent.destroy()
  }

  readonly sanitize = (text: string): string => harmless(text, this.secrets)

  /** Rejects with a `ConsulError`. */
  async call(method: "GET" | "PUT", path: string, request: Request): Promise<Answer> {
    const { accepts, timeout = this.settings.timeout, token } = request
    this.secrets = token === undefined ? this.ownSecrets : [...this.ownSecrets, token]
    const { address, secrets } = this
    const sanitize = (text: string): string => harmless(text, secrets)
    const name = `${method} ${visible(path)}`
    const limit = timeLimit(timeout, request.signal)
    const failed = (what: string) => (error: unknown) => {
      throw limit.isOver()
        ? new ConsulError("Timeout", `the Consul agent at ${address} did not answer ${name} within ${timeout} ms`)
        : unreachable(what, error, sanitize)
    }
    try {
      const response = await this.response(method, path, request, limit.signal).catch(
        failed(`the Consul agent at ${address} cannot be reached`)
      )
      const text = await textOf(response).catch(failed(`the answer of the Consul agent at ${address} cannot be read`))
      const { statusCode: status = 0 } = response
      if (status === 200 || accepts?.(status, text) === true) return { status, text, sanitized: () => sanitize(text) }
      const body = sanitize(text)
      const message = `the Consul agent at ${address} answered ${status} to ${name}: ${body}`
      throw new ConsulError("Refused", message, { status, body })
    } finally {
      limit.clear()
    }
  }

  private response(method: string, path: string, { body, token }: Request, signal: AbortSignal) {
    const { origin, socketPath } = this.settings.address
    const json = body === undefined ? undefined : JSON.stringify(body)
    const headers = {
      ...this.headers,
      ...(token === undefined ? {} : { "x-consul-token": token }),
      ...(json === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(json) })
    }
    const options = { agent: this.agent, method, headers, signal }
    return new Promise<IncomingMessage>((resolve, reject) => {
      this.send(`${origin}${path}`, socketPath === undefined ? options : { ...options, socketPath })
        .on("error", reject)
        .on("response", resolve)
        .end(json)
    })
  }
}

const timeLimit = (milliseconds: number, other: AbortSignal | undefined) => {
  const controller = new AbortController()
  const abort = (): void => controller.abort()
  let isOver = false
  const timer = setTimeout(() => {
    isOver = true
    abort()
  }, milliseconds)
  other?.addEventListener("abort", abort, { once: true })
  const clear = (): void => {
    clearTimeout(timer)
    other?.removeEventListener("abort", abort)
  }
  return { signal: controller.signal, isOver: () => isOver, clear }
}

const base64 = (text: string): string => Buffer.from(text).toString("base64")

// An agent may repeat the password without the user, and the header with or without its scheme.
const secretsOf = (auth: string | undefined): ReadonlyArray<string> =>
  auth === undefined ? [] : [auth, auth.slice(auth.indexOf(":") + 1), `Basic ${base64(auth)}`, base64(auth)]

const textOf = async (response: IncomingMessage): Promise<string> => {
  const parts: Array<Buffer> = []
  let length = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.byteLength
    if (length > longestAnswer) throw new Error(`it is longer than ${longestAnswer} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString("utf8")
}

// An error of Node.js may hold what the agent sent: only its code and its sanitized message go on.
const unreachable = (what: string, error: unknown, sanitize: (text: string) => string): ConsulError => {
  // A name with several addresses fails once for each.
  const all: ReadonlyArray<unknown> = error instanceof AggregateError ? error.errors : [error]
  const errors = all.map((one) => sanitizedError(one, sanitize))
  const message = `${what}: ${errors.map((one) => one.message).join(", ")}`
  const cause = errors.length === 1 ? errors[0] : new AggregateError(errors, what)
  return new ConsulError("Unreachable", message, { cause })
}

const sanitizedError = (error: unknown, sanitize: (text: string) => string): Error => {
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  const sanitized = new Error(sanitize(messageOf(error)))
  return typeof code === "string" && /^\w{1,64}$/.test(code) ? Object.assign(sanitized, { code }) : sanitized
}
