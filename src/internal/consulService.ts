/** A service as a Consul agent is told of it, and as the agent tells of it. */
import { urlHost } from "./address.js"
import { visible } from "./visible.js"

/** Where Prometheus finds a service; without an address it is at that of the agent's node. */
export interface Place {
  readonly address: string
  readonly port: number
}

/** What a service is, but for its check. */
export interface Known extends Place {
  readonly name: string
  readonly tags: ReadonlyArray<string>
  readonly meta: Readonly<Record<string, string>>
}

/** A service that is to be registered. */
export interface Wanted extends Known {
  readonly id: string
  readonly check: object | undefined
}

/** The body of `PUT /v1/agent/service/register`. */
export const definition = ({ id, name, tags, address, port, meta, check }: Wanted): object => ({
  Name: name,
  ID: id,
  Tags: tags,
  Port: port,
  Meta: meta,
  ...(address === "" ? {} : { Address: address }),
  ...(check === undefined ? {} : { Check: check })
})

/** The service in the answer to `GET /v1/agent/service/:id`, or `undefined` if it is no such answer. */
export const parsed = (text: string): Known | undefined => {
  try {
    const { Service, Tags, Address, Port, Meta } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof Service !== "string") return undefined
    return {
      name: Service,
      tags: Array.isArray(Tags) ? Tags.map(String) : [],
      address: typeof Address === "string" ? Address : "",
      port: Number(Port ?? 0),
      meta: (Meta ?? {}) as Readonly<Record<string, string>>
    }
  } catch {
    return undefined
  }
}

/** Whether the answer to `GET /v1/agent/health/service/id/:id` shows the service without the check that it should have. */
export const lacksCheck = (text: string, id: string): boolean => {
  try {
    const { Service, Checks } = JSON.parse(text) as {
      readonly Service?: unknown
      readonly Checks?: ReadonlyArray<{ readonly CheckID?: unknown }> | null
    }
    return Boolean(Service) && !(Checks ?? []).some(({ CheckID }) => CheckID === checkId(id))
  } catch {
    return false
  }
}

/** The id that the agent gives to the check of a service. */
export const checkId = (id: string): string => `service:${id}`

/** Whether both are found at the same place, and so are the same instance. */
export const isSamePlace = (one: Place, other: Place): boolean =>
  one.address === other.address && one.port === other.port

/** Makes a text of the agent fit for messages. */
export type Sanitize = (text: string) => string

/** A place as text; `sanitized` is for one that an agent has named. */
export const placeOf = ({ address, port }: Place, sanitized: Sanitize = visible): string =>
  address === "" ? `port ${port} of the agent's node` : sanitized(`${urlHost(address)}:${port}`)

/** In what a service is not what it should be, as phrases. */
export const differences = (known: Known, wanted: Known, sanitized: Sanitize): ReadonlyArray<string> =>
  aspects.flatMap(([aspect, of]) => {
    const [is, should] = [JSON.stringify(of(known)), JSON.stringify(of(wanted))]
    return is === should ? [] : [`${aspect} ${sanitized(is)} instead of ${visible(should)}`]
  })

// Tags and metadata have no order.
const aspects: ReadonlyArray<readonly [string, (service: Known) => unknown]> = [
  ["name", ({ name }) => name],
  ["tags", ({ tags }) => [...tags].sort()],
  ["address", ({ address }) => address],
  ["port", ({ port }) => port],
  ["metadata", ({ meta }) => Object.fromEntries(Object.entries(meta).sort(([a], [b]) => (a < b ? -1 : 1)))]
]
