/** The requests of the row `http-requests`, and how they are sent over sockets. */
import { Agent, request } from "node:http"
import { host } from "../load.js"

export interface Size {
  readonly routes: number
  /** Each route is requested with that many methods and statuses. */
  readonly methods: number
  readonly statuses: number
}

/** One series per route and metric. */
export const ordinary: Size = { routes: 20, methods: 1, statuses: 1 }

/** 10,000 series per metric. */
export const large: Size = { routes: 100, methods: 5, statuses: 20 }

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const

/** The patterns of the routes. A handler answers with the status that the path asks for. */
export const patterns = ({ routes }: Size): ReadonlyArray<`/things${number}/:status`> =>
  Array.from({ length: routes }, (_, index) => `/things${index}/:status` as const)

export interface Exchange {
  readonly method: string
  readonly path: string
  readonly status: number
}

export const exchanges = (size: Size): ReadonlyArray<Exchange> =>
  methods
    .slice(0, size.methods)
    .flatMap((method) =>
      Array.from({ length: size.statuses }, (_, at) => (at === 0 ? 200 : 220 + at)).flatMap((status) =>
        patterns(size).map((pattern) => ({ method, path: pattern.replace(":status", String(status)), status }))
      )
    )

const connections = 8

/** Sends that many requests over eight keep-alive connections, and goes on in the list where it has ended. */
export const sender = (port: number, all: ReadonlyArray<Exchange>) => {
  let next = 0
  const send = ({ method, path, status }: Exchange, agent: Agent) =>
    new Promise<void>((resolve, reject) => {
      const sent = request({ host, port, agent, method, path }, (response) => {
        response.resume()
        response.once("error", reject)
        response.once("end", () => {
          if (response.statusCode === status) resolve()
          else reject(new Error(`${method} ${path} got ${response.statusCode}`))
        })
      })
      sent.once("error", reject)
      sent.end()
    })
  return async (count: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: connections })
    let left = count
    const work = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        const exchange = all[next++ % all.length]
        if (exchange !== undefined) await send(exchange, agent)
      }
    }
    await Promise.all(Array.from({ length: connections }, work))
    agent.destroy()
  }
}
