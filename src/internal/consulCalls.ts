/** What is asked of a Consul agent, about one service. */
import * as Effect from "effect/Effect"
import type { Answer, Connection } from "./consulConnection.js"
import type { Known, Wanted } from "./consulService.js"
import { checkId, definition, lacksCheck, parsed } from "./consulService.js"
import type { Trouble } from "./consulTrouble.js"
import { visible } from "./visible.js"

type Token = Answer["token"]

/** What a look shows. */
interface Looked {
  readonly known: Known | undefined
  readonly token: Token
}

/** The calls. A `timeout` in milliseconds goes before that of the connection. */
export interface Calls {
  /** The service that the agent knows by this id, if any, and the token that it was asked with. */
  readonly look: (timeout?: number) => Effect.Effect<Looked, Trouble>
  /** Whether the agent knows the service, but no check of it. That is only known for certain where it is true. */
  readonly lacksCheck: Effect.Effect<boolean>
  /** Registers, and gives the token that the agent goes on using for the service. */
  readonly register: Effect.Effect<Token, Trouble>
  readonly deregister: Effect.Effect<void, Trouble>
  /** Takes the check of the service away, and leaves the service. */
  readonly dropCheck: Effect.Effect<void, Trouble>
  /** Tells the agent that all is well, for a check with a TTL. */
  readonly pass: Effect.Effect<void, Trouble>
  /** Makes a text of the agent fit for messages: short, in one line, and without secrets. */
  readonly sanitized: (text: string) => string
  /** The same calls with one token for all of them, for those that have to be made soon. */
  readonly withOneToken: Effect.Effect<Calls>
}

/** The calls about a service. */
export const callsAbout = (connection: Connection, wanted: Wanted): Calls => {
  const { address, call, sanitized } = connection
  const id = encodeURIComponent(wanted.id)
  const check = encodeURIComponent(checkId(wanted.id))
  const service = `/v1/agent/service/${id}`
  return {
    sanitized,
    look: (timeout) =>
      call("GET", service, { timeout, isGood: isUnknown }).pipe(
        Effect.flatMap(({ status, text, token, told }): Effect.Effect<Looked, Trouble> => {
          if (status !== 200) return Effect.succeed({ known: undefined, token: undefined })
          const known = parsed(text)
          if (known !== undefined) return Effect.succeed({ known, token })
          const message = `the Consul agent at ${address} answered GET ${visible(service)} with what is no service`
          return Effect.fail<Trouble>({ reason: "Refused", message, status, body: told() })
        })
      ),
    // The status is that of the checks, and 503 where one of them is critical.
    lacksCheck: call("GET", `/v1/agent/health/service/id/${id}`, { isGood: isOfChecks }).pipe(
      Effect.map(({ text }) => lacksCheck(text, wanted.id)),
      Effect.orElseSucceed(() => false)
    ),
    register: Effect.map(call("PUT", "/v1/agent/service/register", { body: definition(wanted) }), ({ token }) => token),
    // One that is gone already is what was wanted: the agent lost its state, or somebody was faster.
    deregister: Effect.asVoid(call("PUT", `/v1/agent/service/deregister/${id}`, { isGood: isUnknown })),
    dropCheck: Effect.asVoid(call("PUT", `/v1/agent/check/deregister/${check}`)),
    pass: Effect.asVoid(call("PUT", `/v1/agent/check/pass/${check}`)),
    withOneToken: Effect.map(connection.withOneToken, (one) => callsAbout(one, wanted))
  }
}

// 404, and 500 for a deregistration before Consul 1.10.
const isUnknown = (status: number, text: string): boolean => status === 404 || /unknown service/i.test(text)

const isOfChecks = (status: number): boolean => status === 429 || status === 503
