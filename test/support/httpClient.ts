import { type Agent, type IncomingHttpHeaders, request as plainRequest } from "node:http"
import { request as secureRequest } from "node:https"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { patience } from "./timing.js"

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  readonly body: string
  readonly milliseconds: number
  /** Whether it came over a connection that had been used before. */
  readonly reused: boolean
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The certificate to trust. */
  readonly ca?: string | undefined
  /** The server is asked under this name, whatever the address in the URL. */
  readonly servername?: string
  /** What the client shows itself with. */
  readonly key?: string
  readonly cert?: string
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3"
  /** Whose connections to use. Default: one of its own. */
  readonly agent?: Agent
  /** Closes the connection. */
  readonly signal?: AbortSignal
}

/** One request on a connection of its own. It rejects if there is no whole answer. */
export const ask = (url: string, options: AskOptions = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const start = performance.now()
    const request = url.startsWith("https:") ? secureRequest : plainRequest
    const sent = request(url, { agent: false, ...options, timeout: patience }, (response) => {
      const parts: Array<Buffer> = []
      response.on("data", (part: Buffer) => parts.push(part))
      response.on("error", reject)
      response.on("end", () => {
        const bytes = Buffer.concat(parts)
        const { headers, statusCode: status = 0 } = response
        const milliseconds = performance.now() - start
        resolve({ status, headers, bytes, body: bytes.toString(), milliseconds, reused: sent.reusedSocket })
      })
    })
    sent.on("error", reject)
    sent.on("timeout", () => sent.destroy(new Error(`no answer from ${url}`)))
    sent.end()
  })

/** The same as an effect. A missing response is a defect: a test that expects one uses `isFree`. */
export const get = (url: string, options: AskOptions = {}): Effect.Effect<Answer> =>
  Effect.promise(() => ask(url, options))

/** The status of the response; without one, the code of the error. */
export const outcome = (url: string, options: AskOptions = {}): Effect.Effect<number | string> =>
  Effect.promise(() =>
    ask(url, options).then(
      ({ status }) => status,
      (error: NodeJS.ErrnoException) => error.code ?? error.message
    )
  )

/** Whether the port is free. */
export const isFree = (port: number, host = "127.0.0.1"): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    const over = (free: boolean): void => {
      socket.destroy()
      resolve(free)
    }
    socket.on("connect", () => over(false))
    socket.on("error", () => over(true))
  })

export const assertFree = (port: number, host?: string): Effect.Effect<void> =>
  Effect.promise(async () => assert.isTrue(await isFree(port, host), `port ${port} is still listened on`))

/** Asks again and again until it holds. */
export const eventually = (what: string, holds: () => Promise<boolean>): Effect.Effect<void> =>
  Effect.promise(async () => {
    const until = performance.now() + patience
    while (!(await holds())) {
      assert.isBelow(performance.now(), until, `not in time: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })

/** A connection that sends only the given text. */
export interface RawConnection {
  readonly socket: Socket
  readonly send: (text: string) => void
  /** All that came, once it is what is waited for. */
  readonly received: (enough: (text: string) => boolean) => Effect.Effect<string>
  readonly closed: Effect.Effect<void>
}

interface From {
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
}

export const rawConnection = (port: number, host = "127.0.0.1", from: From = {}) =>
  Effect.acquireRelease(
    Effect.async<RawConnection>((resume) => {
      const socket = connect({ port, host, ...from }, () => resume(Effect.succeed(raw(socket))))
      socket.on("error", () => {})
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const raw = (socket: Socket): RawConnection => {
  let text = ""
  const listeners = new Set<() => void>()
  socket.on("data", (part) => {
    text += part.toString()
    for (const listener of listeners) listener()
  })
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  const received = (enough: (text: string) => boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`only this came: ${JSON.stringify(text)}`)), patience)
      const look = (): void => {
        if (!enough(text)) return
        clearTimeout(late)
        listeners.delete(look)
        resolve(text)
      }
      listeners.add(look)
      look()
    })
  return {
    socket,
    send: (sent) => socket.write(sent),
    received: (enough) => Effect.promise(() => received(enough)),
    closed: Effect.promise(() => closed)
  }
}

/** A request in wire format. */
export const requestLines = (target: string, headers = ""): string =>
  `GET ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`

/** Occupies the given port, or any free one, for as long as the scope lasts, without responding. */
export const unusedListener = (port = 0): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer((socket) => socket.destroy())
        server.on("error", (error) => resume(Effect.die(error)))
        server.listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    ),
    (server) => (server.address() as AddressInfo).port
  )
