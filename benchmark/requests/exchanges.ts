/** The requests of the row `http-requests`, and how they are sent over sockets. */
import { connect } from "node:net"
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

/**
 * Sends that many requests over eight keep-alive connections, and goes on in the list where it has ended. It reads of a
 * response no more than it needs, so that it is never slower than the server.
 */
export const sender = (port: number, all: ReadonlyArray<Exchange>) => {
  const texts = all.map(({ method, path }) => {
    const length = method === "GET" ? "" : "content-length: 0\r\n"
    return `${method} ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n${length}\r\n`
  })
  let next = 0
  return async (count: number): Promise<void> => {
    let left = count
    const work = () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect(port, host)
        let at = 0
        let received = ""
        const send = (): void => {
          if (left === 0) {
            socket.destroy()
            resolve()
            return
          }
          left -= 1
          at = next++ % all.length
          received = ""
          socket.write(texts[at] as string)
        }
        socket.setEncoding("latin1")
        socket.once("connect", send)
        socket.on("data", (text) => {
          received += text
          if (!isWhole(received)) return
          const { method, path, status } = all[at] as Exchange
          if (received.startsWith(`HTTP/1.1 ${status} `)) send()
          else socket.destroy(new Error(`${method} ${path} got ${received.slice(0, 12)}`))
        })
        socket.once("error", reject)
        socket.once("close", () => reject(new Error("the server closed a connection")))
      })
    await Promise.all(Array.from({ length: connections }, work))
  }
}

// Each body is "ok", with its length or in one chunk.
const isWhole = (response: string): boolean => response.endsWith("\r\n\r\nok") || response.endsWith("\r\n0\r\n\r\n")
