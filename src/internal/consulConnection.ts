/** HTTP with a Consul agent: one call with its answer, or why there is none. */
import type { AgentOptions } from "node:https"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { bounded } from "./bounded.js"
import type { CurrentToken } from "./consulToken.js"
import type { Trouble } from "./consulTrouble.js"
import { messageOf } from "./message.js"
import { harmless } from "./redaction.js"
import { visible } from "./visible.js"

/** Where the agent is and how to speak to it, checked, and with all files read. */
export interface ConnectionOptions {
  /** As it was given, for messages. */
  readonly address: string
  readonly target: Target
  readonly tls: AgentOptions
  readonly token: CurrentToken
  readonly headers: Readonly<Record<string, string>>
  /** How long it may take to have the token, and then a call, unless that says otherwise; in milliseconds. */
  readonly timeout: number
  /** What an agent that repeats it must not bring into a message. */
  readonly secrets: ReadonlyArray<string>
}

/** Where requests go. */
export interface Target {
  readonly origin: string
  readonly socket: { readonly socketPath?: string }
}

/** An answer, and the token that it was given for. */
export interface Answer {
  readonly status: number
  /** As it came: what is read from it must not depend on what is a secret. */
  readonly text: string
  /** As it may be shown: short, in one line, and without secrets. */
  readonly told: () => string
  readonly token: Redacted.Redacted<string> | undefined
}

/** What a call may say beyond its path; `timeout` is in milliseconds. */
export interface CallOptions {
  readonly body?: unknown
  readonly timeout?: number | undefined
  /** Which answers but 200 are as good. */
  readonly isGood?: (status: number, text: string) => boolean
}

/** The agent, spoken to. Every answer but 200, and those that the call says, is a failure. */
export interface Connection {
  readonly address: string
  readonly call: (method: "GET" | "PUT", path: string, options?: CallOptions) => Effect.Effect<Answer, Trouble>
  /** Makes a text of the agent fit for messages: short, in one line, and without secrets. */
  readonly sanitized: (text: string) => string
  /** The same with one token for all calls, for those that have to be done soon. */
  readonly withOneToken: Effect.Effect<Connection>
}

/** A client of the agent, which lives as long as the scope. */
export const connect = (options: ConnectionOptions): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { address, target } = options
    const httpAgent = yield* NodeHttpClient.makeAgent({ ...options.tls, ...target.socket })
    const client = HttpClient.withTracerDisabledWhen(
      yield* Effect.provideService(NodeHttpClient.make, NodeHttpClient.HttpAgent, httpAgent),
      () => true
    )
    const answered = (request: HttpClientRequest.HttpClientRequest, sanitized: Sanitize) =>
      client.execute(request).pipe(
        Effect.catchAllCause((cause) =>
          Effect.fail(unreachable(`the Consul agent at ${address} cannot be reached`, cause, sanitized))
        ),
        Effect.bindTo("response"),
        Effect.bind("text", ({ response }) =>
          Effect.catchAllCause(response.text, (cause) =>
            Effect.fail(unreachable(`the answer of the Consul agent at ${address} cannot be read`, cause, sanitized))
          )
        ),
        HttpIncomingMessage.withMaxBodySize(Option.some(longestAnswer))
      )
    // What the last call was made with: the agent may still repeat it in an answer to the next one.
    let secrets = options.secrets
    const sanitized = (text: string): string => harmless(text, secrets)
    const withTokens = (tokens: CurrentToken): Connection => ({
      address,
      sanitized,
      call: (method, path, { body, isGood, timeout = options.timeout } = {}) =>
        Effect.flatMap(tokens, (token) => {
          const what = `${method} ${visible(path)}`
          const { headers, secrets: own } = withToken(options, token)
          secrets = own
          const sanitizedFor = (text: string): string => harmless(text, own)
          const empty = HttpClientRequest.make(method)(`${target.origin}${path}`, { headers })
          const request = body === undefined ? empty : HttpClientRequest.bodyUnsafeJson(empty, body)
          const exchange = Effect.flatMap(answered(request, sanitizedFor), ({ response: { status }, text }) =>
            status === 200 || isGood?.(status, text) === true
              ? Effect.succeed({ status, text, told: () => sanitizedFor(text), token })
              : Effect.fail(refused(address, what, status, sanitizedFor(text)))
          )
          return Effect.flatMap(bounded(exchange, timeout), (exit) => exit ?? Effect.fail(late(address, what, timeout)))
        }),
      withOneToken: Effect.map(Effect.cached(tokens), withTokens)
    })
    return withTokens(tokenInTime(options))
  })

// How long an answer may be, in bytes: about one service, it has a few thousand at most. Whoever answers at the address may
// be somebody else, and never end.
const longestAnswer = 1_048_576

const tokenInTime = ({ address, timeout, token }: ConnectionOptions): CurrentToken =>
  Effect.flatMap(
    bounded(token, timeout),
    (exit) =>
      exit ??
      Effect.fail<Trouble>({
        reason: "Token",
        message: `there is no token for the Consul agent at ${address}: none within ${timeout} ms`
      })
  )

const withToken = ({ headers, secrets }: ConnectionOptions, token: Redacted.Redacted<string> | undefined) => {
  if (token === undefined) return { headers, secrets }
  const value = Redacted.value(token)
  return { headers: { ...headers, "x-consul-token": value }, secrets: [...secrets, value] }
}

const refused = (address: string, what: string, status: number, body: string): Trouble => ({
  reason: "Refused",
  message: `the Consul agent at ${address} answered ${status} to ${what}: ${body}`,
  status,
  body
})

const late = (address: string, what: string, timeout: number): Trouble => ({
  reason: "Timeout",
  message: `the Consul agent at ${address} did not answer ${what} within ${timeout} ms`
})

type Sanitize = Connection["sanitized"]

// The client wraps the error of Node.js together with the request, and that holds the token; and the error of Node.js may
// hold what the agent said: of the root only the code and the message go on.
const unreachable = (what: string, all: Cause.Cause<unknown>, sanitized: Sanitize): Trouble => {
  const error = Cause.squash(all)
  const root = (error as { readonly cause?: unknown }).cause ?? error
  const roots: ReadonlyArray<unknown> = root instanceof AggregateError ? root.errors : [root]
  // A name with several addresses fails once for each.
  const errors = roots.map((one) => rootOf(one, sanitized))
  const [first] = errors
  return {
    reason: "Unreachable",
    message: `${what}: ${errors.map(({ message }) => message).join(", ")}`,
    cause: errors.length === 1 ? first : new AggregateError(errors, what)
  }
}

const rootOf = (root: unknown, sanitized: Sanitize): Error => {
  const { code } = (root ?? {}) as NodeJS.ErrnoException
  const error = new Error(sanitized(messageOf(root)))
  return typeof code === "string" && /^\w{1,64}$/.test(code) ? Object.assign(error, { code }) : error
}

/** Whether the agent did nothing of what it was asked for: it never heard of it, or it said no. */
export const isWithoutEffect = ({ reason, status, cause }: Trouble): boolean => {
  if (reason === "Token") return true
  if (reason === "Refused") return status !== undefined && status >= 400 && status < 500
  const errors: ReadonlyArray<unknown> = cause instanceof AggregateError ? cause.errors : [cause]
  return errors.every((error) => {
    const { code } = (error ?? {}) as NodeJS.ErrnoException
    return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENOENT"
  })
}
