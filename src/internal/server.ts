/** An HTTP or HTTPS server for an endpoint, on `node:http` alone, so that a worker thread loads nothing else. */
import { createServer } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import type { Endpoint } from "./endpoint.js"
import { listener } from "./listener.js"

/** Where to listen, and how. It can be sent to a worker. */
export interface ListenOptions {
  /** Undefined: all interfaces. */
  readonly host: string | undefined
  /** 0: any free one. */
  readonly port: number
  /** Key and certificate as PEM text. Undefined: HTTP. */
  readonly tls: TlsMaterial | undefined
}

/** A key and its certificate, as PEM text. */
export interface TlsMaterial {
  readonly key: string
  readonly cert: string
  readonly passphrase: string | undefined
}

/** A server that listens. */
export interface Running {
  readonly hostname: string
  readonly port: number
  /**
   * Stops accepting, ends idle connections, lets running requests finish for so many milliseconds, and cuts the rest.
   * It never rejects.
   */
  readonly close: (deadline: number) => Promise<void>
}

/** Listens. It rejects with the error of Node.js if it cannot. */
export const listen = ({ host, port, tls }: ListenOptions, endpoint: Endpoint): Promise<Running> =>
  new Promise((resolve, reject) => {
    let closing = false
    const answering = listener(endpoint, { isClosing: () => closing })
    const server =
      tls === undefined
        ? createServer(answering)
        : createSecureServer({ ...pem(tls), minVersion: "TLSv1.2" }, answering)
    // Node.js knows the connections that speak HTTP, but not those that have yet to: they would outlive a close.
    const sockets = new Set<Socket>()
    server.on("connection", (socket: Socket) => {
      sockets.add(socket)
      socket.on("close", () => sockets.delete(socket))
    })
    // A connection that ends its last request while the server closes is idle from then on.
    server.on("request", (_, response) => {
      response.on("close", () => {
        if (closing) server.closeIdleConnections()
      })
    })
    const close = (deadline: number): Promise<void> =>
      new Promise((closed) => {
        closing = true
        const cut = setTimeout(() => {
          for (const socket of sockets) socket.destroy()
        }, deadline)
        server.close(() => {
          clearTimeout(cut)
          closed()
        })
        server.closeIdleConnections()
        // One that has not said anything yet has nothing to be waited for. (Below TLS, what was said does not show.)
        for (const socket of sockets) if (tls === undefined && socket.bytesRead === 0) socket.destroy()
      })
    server.once("error", reject)
    server.listen({ host, port }, () => {
      server.off("error", reject)
      // A failing accept (out of file descriptors, say) is over when it is over; unheard, it would end the process.
      server.on("error", () => {})
      const address = server.address() as AddressInfo
      resolve({ hostname: address.address, port: address.port, close })
    })
  })

const pem = ({ key, cert, passphrase }: TlsMaterial) => ({
  key,
  cert,
  ...(passphrase === undefined ? {} : { passphrase })
})
