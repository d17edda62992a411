/** The service discovery of a Consul agent. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Connection } from "../../core/consul/connection.js"
import { type ConsulError, invalidOptions } from "../../core/consul/error.js"
import { checkRefusal, idOf, serviceOf, sharedId } from "../../core/consul/service.js"
import { serviceApi } from "../../core/consul/serviceApi.js"
import { readTls } from "../../core/consul/tls.js"
import { readOptions } from "../../core/util/options.js"
import { messageOf, visible } from "../../core/util/text.js"
import { readRedacted } from "../secrets.js"
import { type Discovery, type RunningServer, ServiceDiscoveryError } from "../serviceDiscovery.js"
import { attempt, callsWith } from "./calls.js"
import { keepRegistered, type RegistrationState } from "./keepRegistered.js"
import { type AgentSettings, agentOptions, type Options } from "./options.js"
import { currentToken } from "./token.js"

export const discoveryError = ({ body, cause, message, reason, status }: ConsulError): ServiceDiscoveryError =>
  new ServiceDiscoveryError({ reason, message, status, body, cause })

/** A thrown error becomes a failure with `reason: "InvalidOptions"`. */
export const checked = <A>(read: () => A): Effect.Effect<A, ServiceDiscoveryError> =>
  Effect.try({ try: read, catch: (error) => discoveryError(invalidOptions(messageOf(error))) })

/** See `ConsulAgent.make`. `servers` are those that are registered with the same options: at most one at a time. */
export const makeFor = (
  options: Options,
  servers: Set<RunningServer>
): Effect.Effect<Discovery, ServiceDiscoveryError, Scope.Scope> =>
  Effect.gen(function* () {
    readRedacted()
    const settings = yield* checked(() => {
      const read = readOptions(agentOptions, options)
      idOf(read)
      return read
    })
    const tls = yield* Effect.mapError(
      attempt(() => readTls(settings.tls)),
      discoveryError
    )
    const secrets = settings.check?.secrets ?? []
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => new Connection({ ...settings, tls, secrets })),
      (connection) => Effect.sync(() => connection.close())
    )
    return discovery(connection, settings, servers)
  })

const discovery = (connection: Connection, settings: AgentSettings, servers: Set<RunningServer>): Discovery => {
  const { check, timeout } = settings
  const id = idOf(settings)
  const states = new WeakMap<RunningServer, RegistrationState>()
  const name = `the Consul agent at ${connection.address} with the id ${visible(id)}`
  const token = currentToken(settings, connection.address)
  const register = (server: RunningServer): Effect.Effect<void, ConsulError, Scope.Scope> => {
    const refusal = checkRefusal(server, check)
    if (refusal !== undefined) return Effect.fail(invalidOptions(refusal))
    const state: RegistrationState = { isConfirmed: false }
    states.set(server, state)
    const service = serviceOf(server, settings)
    const api = serviceApi(connection, service)
    const kept = keepRegistered(
      {
        ...settings,
        call: callsWith(api, token),
        callWithOneToken: Effect.map(Effect.cached(token), (one) => callsWith(api, one)),
        service,
        sanitize: connection.sanitize,
        url: server.url,
        by: name,
        lastLook: Math.min(timeout, 500),
        ttl: check?.ttl
      },
      state
    )
    return Effect.andThen(reserveId(server, servers, id), Effect.annotateLogs(kept, "service_id", id))
  }
  return {
    name,
    register: (server) => Effect.mapError(register(server), discoveryError),
    isRegistered: (server) => Effect.sync(() => states.get(server)?.isConfirmed ?? false)
  }
}

// Reserves the id until the scope closes.
const reserveId = (
  server: RunningServer,
  servers: Set<RunningServer>,
  id: string
): Effect.Effect<void, ConsulError, Scope.Scope> =>
  Effect.suspend(() => {
    const [other] = servers
    if (other === undefined) {
      servers.add(server)
      return Effect.addFinalizer(() => Effect.sync(() => servers.delete(server)))
    }
    return Effect.fail(invalidOptions(`${other.url} and ${server.url} have ${sharedId(id)}`))
  })
