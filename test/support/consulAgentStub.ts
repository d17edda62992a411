import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { createServer as createSecureServer } from "node:https"
import { Effect, type Scope } from "effect"
import type * as ServiceDiscovery from "../../src/ServiceDiscovery.js"
import { listen } from "./listen.js"

/** A request that an agent received. */
export interface RecordedRequest {
  readonly method: string
  readonly path: string
  readonly token: string | undefined
  readonly body: string
}

/** An agent with scripted responses, on a real socket. */
export interface ConsulAgentStub {
  readonly address: string
  readonly requests: Array<RecordedRequest>
  /** Method and path of each request. */
  readonly requestLines: () => ReadonlyArray<string>
  /** The services that it knows, by id: as they were registered, or as a test puts them there. */
  readonly services: Map<string, Registered>
  /** Listens no more, and hangs up. */
  readonly goDown: () => void
}

/** The body of a registration. */
export interface Registered {
  readonly ID: string
  readonly Name: string
  readonly Tags?: ReadonlyArray<string>
  readonly Address?: string
  readonly Port: number
  readonly Meta?: Readonly<Record<string, string>>
  readonly Check?: Readonly<Record<string, unknown>>
}

/** Responds in place of a real agent if it returns `true`; it may also send nothing. */
export type Script = (received: RecordedRequest, response: ServerResponse, request: IncomingMessage) => boolean

/** Starts an agent that behaves like Consul's as far as this library uses it, except for its script. */
export const startConsulAgentStub = (
  script: Script = () => false,
  tls?: { readonly key: string; readonly cert: string }
): Effect.Effect<ConsulAgentStub, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<RecordedRequest> = []
    const services = new Map<string, Registered>()
    const listener: RequestListener = async (request, response) => {
      const token = request.headers["x-consul-token"]
      const one = {
        method: request.method ?? "",
        path: request.url ?? "",
        token: typeof token === "string" ? token : undefined,
        body: Buffer.concat((await request.toArray()) as Array<Buffer>).toString()
      }
      requests.push(one)
      if (script(one, response, request) === false) asAnAgent(services, one, response)
    }
    const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener)
    const goDown = (): void => {
      server.close()
      server.closeAllConnections()
    }
    const address = `${tls === undefined ? "http" : "https"}://127.0.0.1:${yield* listen(server)}`
    return {
      address,
      requests,
      services,
      goDown,
      requestLines: () => requests.map(({ method, path }) => `${method} ${path}`)
    }
  })

type Services = ConsulAgentStub["services"]

const asAnAgent = (services: Services, { body, method, path }: RecordedRequest, response: ServerResponse): void => {
  const say = (status: number, answer: unknown = "") =>
    response.writeHead(status).end(typeof answer === "string" ? answer : JSON.stringify(answer))
  const [, verb, id = ""] = /^(.+?)(?:\/((?:service:|service%3A)?[^/]*))?$/.exec(`${method} ${path}`) ?? []
  const key = decodeURIComponent(id).replace(/^service:/, "")
  const known = services.get(key)
  switch (verb) {
    case "PUT /v1/agent/service": {
      const registered = JSON.parse(body) as Registered
      services.set(registered.ID, registered)
      return void say(200)
    }
    case "PUT /v1/agent/service/deregister":
      return void say(services.delete(key) ? 200 : 404)
    case "PUT /v1/agent/check/pass":
      return void (known?.Check?.["TTL"] === undefined ? say(404, "unknown check") : say(200))
    case "GET /v1/agent/service":
      return void (known === undefined ? say(404, `unknown service ID: ${key}`) : say(200, shown(known)))
    case "GET /v1/agent/health/service/id": {
      const checks = known?.Check === undefined ? [] : [{ CheckID: `service:${key}` }]
      return void say(known === undefined ? 404 : 200, {
        Service: known === undefined ? null : shown(known),
        Checks: checks
      })
    }
    default:
      return void say(404, "what?")
  }
}

const shown = ({ Check: _, Name, Address = "", Meta = {}, Tags = [], ...rest }: Registered) => ({
  ...rest,
  Service: Name,
  Address,
  Meta,
  Tags
})

/** A server that a discovery may register. Nothing listens there. */
export const there: ServiceDiscovery.RunningServer = {
  address: { hostname: "127.0.0.1", port: 9464 },
  https: false,
  url: "http://127.0.0.1:9464/metrics",
  healthUrl: "http://127.0.0.1:9464/",
  isHealthOpen: true,
  needsCertificate: false
}
