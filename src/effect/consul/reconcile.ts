/** Checks, creates, repairs and removes the registration of one service. */
import * as Effect from "effect/Effect"
import { ConsulError } from "../../core/consul/error.js"
import type { DesiredService, RegisteredService, Sanitize } from "../../core/consul/service.js"
import { differences, isSamePlace, placeText, sharedId } from "../../core/consul/service.js"
import { visible } from "../../core/util/text.js"
import type { Call } from "./calls.js"

export interface ReconcileOptions {
  readonly call: Call
  /** For calls with a short time limit: all of them use one token. */
  readonly callWithOneToken: Effect.Effect<Call>
  readonly service: DesiredService
  readonly sanitize: Sanitize
  /** The name of the agent, for messages. */
  readonly by: string
  /** The registered service is read back and checked. */
  readonly verify: boolean
  /** The time limit of the look before the deregistration, in milliseconds. */
  readonly lastLook: number
}

/** An object: another instance has the id. */
export type Outcome = "unchanged" | "registered" | { readonly replacedBy: RegisteredService }

export class Reconciler {
  /** True as soon as a registration was sent, unless it certainly did not arrive or was refused. */
  private mayBeKnown = false
  private wasRegistered = false
  /** The other instance that had the id at the last look. */
  private replacedBy: RegisteredService | undefined
  /** The token of the registration, which the agent keeps using for the service. */
  private token: string | undefined

  constructor(private readonly options: ReconcileOptions) {}

  /**
   * Registers the service if it is missing or different. If another instance has the id, the first look replaces that
   * instance; later looks leave the id to it.
   */
  look(): Effect.Effect<Outcome, ConsulError> {
    return Effect.gen(() => this.looking())
  }

  private *looking() {
    const { call, sanitize, service } = this.options
    const { wasRegistered } = this
    const { result: known, token } = yield* call((api, options) => api.look(options))
    const isOther = known !== undefined && !isSamePlace(known, service)
    this.replacedBy = isOther && wasRegistered ? known : undefined
    if (known !== undefined && wasRegistered) {
      if (isOther) return { replacedBy: known }
      if (token === this.token && !(yield* this.isDifferent(known))) return "unchanged"
    }
    yield* this.register()
    // A check of an earlier run would continue for this one.
    if (known !== undefined && !wasRegistered && service.check === undefined) {
      yield* Effect.ignore(call((api, options) => api.dropCheck(options)))
    }
    if (isOther) yield* Effect.logWarning(replacedMessage(service, known, sanitize))
    return "registered"
  }

  /** Does nothing if another instance has the id by now. */
  deregister(): Effect.Effect<void> {
    const { callWithOneToken, lastLook: timeout, sanitize, service } = this.options
    if (!this.mayBeKnown) return Effect.void
    const leave = (other: RegisteredService) =>
      Effect.logInfo(
        `the service ${idText(service)} stays registered, because another instance has its id: ${placeText(other, sanitize)}`
      )
    return Effect.flatMap(callWithOneToken, (call) => {
      const remove = Effect.matchEffect(
        call((api, options) => api.deregister(options)),
        {
          onFailure: ({ message }) =>
            Effect.logWarning(`the service ${idText(service)} may still be registered: ${message}`),
          onSuccess: () => Effect.void
        }
      )
      const look = call((api, options) => api.look({ ...options, timeout }))
      return Effect.matchEffect(look, {
        onFailure: () => (this.replacedBy === undefined ? remove : leave(this.replacedBy)),
        // This also applies if the agent does not know the service: an unanswered registration may still arrive.
        onSuccess: ({ result: known }) => (known === undefined || isSamePlace(known, service) ? remove : leave(known))
      })
    })
  }

  private register(): Effect.Effect<void, ConsulError> {
    const before = this.mayBeKnown
    this.mayBeKnown = true
    const registered = this.options.call((api, options) => api.register(options))
    return Effect.matchEffect(registered, {
      onFailure: (error) => {
        if (error.isWithoutEffect) this.mayBeKnown = before
        return Effect.fail(error)
      },
      onSuccess: ({ token }) => {
        this.token = token
        this.wasRegistered = true
        return this.options.verify ? Effect.gen(() => this.verifying()) : Effect.void
      }
    })
  }

  private *verifying() {
    const { by, call, sanitize, service } = this.options
    const { result: known } = yield* call((api, options) => api.look(options))
    const wrong = known === undefined ? ["no service"] : differences(known, service, sanitize)
    const all = wrong.length === 0 && (yield* this.lacksCheck()) ? ["no check"] : wrong
    if (all.length === 0) return
    const message = `${by} accepted the registration of ${placeText(service)}, but shows ${all.join(", ")}`
    yield* Effect.fail(new ConsulError("NotVerified", message + sharedIdMessage(known, service, sanitize)))
  }

  private isDifferent(known: RegisteredService): Effect.Effect<boolean> {
    return differences(known, this.options.service).length > 0 ? Effect.succeed(true) : this.lacksCheck()
  }

  private lacksCheck(): Effect.Effect<boolean> {
    const { call, service } = this.options
    if (service.check === undefined) return Effect.succeed(false)
    const lacking = call((api, options) => api.lacksCheck(options))
    return Effect.match(lacking, { onFailure: () => false, onSuccess: ({ result }) => result })
  }
}

const idText = ({ id }: DesiredService): string => visible(id)

// The other server is in this process or in another one, and registered at the same time.
const sharedIdMessage = (known: RegisteredService | undefined, service: DesiredService, sanitize: Sanitize): string =>
  known === undefined || isSamePlace(known, service)
    ? ""
    : `. If ${placeText(known, sanitize)} is another server, both have ${sharedId(service.id)}`

const replacedMessage = (service: DesiredService, other: RegisteredService, sanitize: Sanitize): string =>
  `the service at ${placeText(service)} replaces the one at ${placeText(other, sanitize)}. Unless that was an earlier run of this ` +
  `instance, both have ${sharedId(service.id)}`

export const replacedByMessage = (service: DesiredService, other: RegisteredService, sanitize: Sanitize): string =>
  `the service at ${placeText(other, sanitize)} has replaced the one at ${placeText(service)}: both have ${sharedId(service.id)}`
