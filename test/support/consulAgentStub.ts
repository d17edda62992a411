import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"
import type * as ServiceDiscovery from "../../src/ServiceDiscovery.js"

/** What an agent got to hear. */
export interface Heard {
  readonly method: string
  readonly path: string
  readonly token: string | undefined
  readonly body: string
}

/** An agent that answers as it is told to, on a real socket. */
export interface ScriptedAgent {
  readonly address: string
  readonly heard: Array<Heard>
  /** Method and path of what it heard. */
  readonly seen: () => ReadonlyArray<string>
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

/** What an agent says instead of what a real one would, if it says `true`; also that is saying nothing. */
export type Script = (heard: Heard, response: ServerResponse, request: IncomingMessage) => boolean

/** An agent that behaves like Consul's as far as this library knows it, but for its script. */
export const scripted = (
  script: Script = () => false,
  tls?: { readonly key: string; readonly cert: string }
): Effect.Effect<ScriptedAgent, never, Scope.Scope> =>
  Effect.gen(function* () {
    const heard: Array<Heard> = []
    const services = new Map<string, Registered>()
    const listener: RequestListener = async (request, response) => {
      const token = request.headers["x-consul-token"]
      const one = {
        method: request.method ?? "",
        path: request.url ?? "",
        token: typeof token === "string" ? token : undefined,
        body: Buffer.concat((await request.toArray()) as Array<Buffer>).toString()
      }
      heard.push(one)
      if (script(one, response, request) === false) asAnAgent(services, one, response)
    }
    const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener)
    const goDown = (): void => {
      server.close()
      server.closeAllConnections()
    }
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () => Effect.sync(goDown)
    )
    const address = `${tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`
    return { address, heard, services, goDown, seen: () => heard.map(({ method, path }) => `${method} ${path}`) }
  })

type Services = ScriptedAgent["services"]

const asAnAgent = (services: Services, { body, method, path }: Heard, response: ServerResponse): void => {
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
export const there: ServiceDiscovery.Server = {
  address: { hostname: "127.0.0.1", port: 9464 },
  https: false,
  url: "http://127.0.0.1:9464/metrics",
  healthUrl: "http://127.0.0.1:9464/",
  isHealthOpen: true,
  needsCertificate: false
}
