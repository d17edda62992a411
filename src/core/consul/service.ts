/** A service: as it is to be registered, as the agent shows it, and how the two differ. */
import { isWildcard, urlHost } from "../util/address.js"
import { isRecord, type Read } from "../util/options.js"
import { visible } from "../util/text.js"
import type { ServiceCheck } from "./check.js"
import { type registrationOptions, serviceId } from "./options.js"

/** Without an address it is at the address of the agent's node. */
export interface Place {
  readonly address: string
  readonly port: number
}

type Answer = Readonly<Record<string, unknown>>

interface Field<A> {
  /** Its name in messages. */
  readonly phrase: string
  readonly of: (options: Registration, target: MetricsTarget) => A
  /** Its part of the body of a registration. */
  readonly write: (value: A) => object
  readonly read: (answer: Answer) => A
  /** What is compared. Default: the value. */
  readonly compared?: (value: A) => unknown
}

const field = <A>(of: Field<A>): Field<A> => of

/** The fields of a service, one row each, in the order of the body of a registration. */
const fields = {
  name: field<string>({
    phrase: "name",
    of: ({ name }) => name,
    write: (Name) => ({ Name }),
    read: ({ Service }) => String(Service)
  }),
  tags: field<ReadonlyArray<string>>({
    phrase: "tags",
    of: ({ tags }) => tags,
    write: (Tags) => ({ Tags }),
    read: ({ Tags }) => (Array.isArray(Tags) ? Tags.map(String) : []),
    // They have no order.
    compared: (tags) => [...tags].sort()
  }),
  address: field<string>({
    phrase: "address",
    of: ({ advertise }, { address: { hostname } }) => advertise?.address ?? (isWildcard(hostname) ? "" : hostname),
    write: (Address) => (Address === "" ? {} : { Address }),
    read: ({ Address }) => (typeof Address === "string" ? Address : "")
  }),
  port: field<number>({
    phrase: "port",
    of: ({ advertise }, { address }) => advertise?.port ?? address.port,
    write: (Port) => ({ Port }),
    read: ({ Port }) => Number(Port ?? 0)
  }),
  meta: field<Readonly<Record<string, string>>>({
    phrase: "metadata",
    of: ({ meta }, { url }) => {
      const { pathname, protocol } = new URL(url)
      return { metrics_path: pathname, metrics_scheme: protocol.replace(":", ""), ...meta }
    },
    write: (Meta) => ({ Meta }),
    read: ({ Meta }) => (Meta ?? {}) as Readonly<Record<string, string>>,
    // It has no order.
    compared: (meta) => Object.fromEntries(Object.entries(meta).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

type Fields = typeof fields
type Value<F> = F extends Field<infer A> ? A : never

export type RegisteredService = { readonly [K in keyof Fields]: Value<Fields[K]> }

const all = Object.entries(fields) as ReadonlyArray<readonly [keyof Fields, Field<unknown>]>

const fieldsBy = (value: (field: Field<unknown>) => unknown): RegisteredService =>
  Object.fromEntries(all.map(([name, field]) => [name, value(field)])) as unknown as RegisteredService

export interface DesiredService extends RegisteredService {
  readonly id: string
  readonly check: object | undefined
}

export interface MetricsTarget {
  readonly address: { readonly hostname: string; readonly port: number }
  readonly url: string
  readonly healthUrl: string
  readonly isHealthOpen?: boolean
  readonly needsCertificate?: boolean
}

type Registration = Read<typeof registrationOptions>

/** Throws a `RangeError` if the name, which is the default, cannot be an id. */
export const idOf = (options: Pick<Registration, "serviceId" | "name">): string =>
  serviceId.check(options.serviceId ?? options.name, "serviceId")

export const serviceOf = (target: MetricsTarget, options: Registration): DesiredService => ({
  id: idOf(options),
  ...fieldsBy(({ of }) => of(options, target)),
  check: options.check?.definition(target.healthUrl)
})

/** Why the server would refuse the requests of the check, and what to do; `undefined` if it would not. */
export const checkRefusal = (
  { healthUrl, isHealthOpen, needsCertificate }: MetricsTarget,
  check: ServiceCheck | undefined
): string | undefined => {
  if (check?.usesHealthUrl !== true) return undefined
  const refused = `the server would reject the health check of ${healthUrl}, because the agent sends no`
  if (needsCertificate === true) {
    return `${refused} certificate: set check.ttl; or set check.url, if the agent has a certificate (enable_agent_tls_for_checks)`
  }
  return isHealthOpen !== false || check.hasHeader
    ? undefined
    : `${refused} credentials: set check.ttl or check.header, or set openHealthPage on the server`
}

/** The body of `PUT /v1/agent/service/register`. */
export const definition = (service: DesiredService): object =>
  Object.assign(
    { ID: service.id },
    ...all.map(([name, { write }]) => write(service[name])),
    service.check === undefined ? {} : { Check: service.check }
  )

/** The service in the answer to `GET /v1/agent/service/:id`, or `undefined` if the answer has none. */
export const parseService = (text: string): RegisteredService | undefined => {
  const answer = parseObject(text)
  return typeof answer["Service"] === "string" ? fieldsBy(({ read }) => read(answer)) : undefined
}

/** Whether the answer to `GET /v1/agent/health/service/id/:id` shows the service without its check. */
export const showsNoCheck = (text: string, id: string): boolean => {
  const { Service, Checks } = parseObject(text)
  const checks: unknown = Checks ?? []
  return Boolean(Service) && Array.isArray(checks) && !checks.some((check) => check?.CheckID === checkId(id))
}

const parseObject = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(text)
    return isRecord(parsed) ? parsed : {}
  } catch {
    return {}
  }
}

/** The id that the agent gives to the check of a service. */
export const checkId = (id: string): string => `service:${id}`

/** The same place means the same instance. */
export const isSamePlace = (one: Place, another: Place): boolean =>
  one.address === another.address && one.port === another.port

/** Makes a text of the agent fit for messages. */
export type Sanitize = (text: string) => string

/** A place as text; `sanitize` is for one that the agent shows. */
export const placeText = ({ address, port }: Place, sanitize: Sanitize = visible): string =>
  address === "" ? `port ${port} of the agent's node` : sanitize(`${urlHost(address)}:${port}`)

/** The end of a message about two servers that share the id of a service. */
export const sharedId = (id: string): string =>
  `the same service id ${visible(id)}, but an agent keeps one service per id: set a different serviceId for each`

export const differences = (
  registered: RegisteredService,
  desired: RegisteredService,
  sanitize: Sanitize = visible
): ReadonlyArray<string> =>
  all.flatMap(([name, { compared = (value: unknown) => value, phrase }]) => {
    const [found, expected] = [JSON.stringify(compared(registered[name])), JSON.stringify(compared(desired[name]))]
    return found === expected ? [] : [`${phrase} ${sanitize(String(found))} instead of ${visible(String(expected))}`]
  })
