/** The calls of a Consul agent's API about one service. */
import { visible } from "../util/text.js"
import type { CallOptions, Connection, Request } from "./connection.js"
import { ConsulError } from "./error.js"
import type { DesiredService, RegisteredService } from "./service.js"
import { checkId, definition, parseService, showsNoCheck } from "./service.js"

/** Each call rejects with a `ConsulError`. */
export type ServiceApi = ReturnType<typeof serviceApi>

export const serviceApi = (connection: Connection, service: DesiredService) => {
  const id = encodeURIComponent(service.id)
  const check = encodeURIComponent(checkId(service.id))
  const put =
    (path: string, request: Request = {}) =>
    async (options: CallOptions): Promise<void> =>
      void (await connection.call("PUT", path, { ...request, ...options }))
  return {
    look: async (options: CallOptions): Promise<RegisteredService | undefined> => {
      const path = `/v1/agent/service/${id}`
      const { sanitized, status, text } = await connection.call("GET", path, { ...options, accepts: isUnknown })
      if (status !== 200) return undefined
      const found = parseService(text)
      if (found !== undefined) return found
      const message = `the Consul agent at ${connection.address} answered GET ${visible(path)} with a body that is not a service`
      throw new ConsulError("Refused", message, { status, body: sanitized() })
    },
    /** Whether the agent certainly has the service without its check. */
    lacksCheck: async (options: CallOptions): Promise<boolean> => {
      const path = `/v1/agent/health/service/id/${id}`
      return showsNoCheck((await connection.call("GET", path, { ...options, accepts: isOfChecks })).text, service.id)
    },
    /** A service with the same id is replaced. */
    register: put("/v1/agent/service/register", { body: definition(service) }),
    /** It is no failure if the agent does not have the service: the agent may have lost its state. */
    deregister: put(`/v1/agent/service/deregister/${id}`, { accepts: isUnknown }),
    dropCheck: put(`/v1/agent/check/deregister/${check}`),
    pass: put(`/v1/agent/check/pass/${check}`)
  }
}

// 404, and 500 for a deregistration before Consul 1.10.
const isUnknown = (status: number, text: string): boolean => status === 404 || /unknown service/i.test(text)

// The status is that of the checks: 503 if one of them is critical, 429 if one warns.
const isOfChecks = (status: number): boolean => status === 429 || status === 503
