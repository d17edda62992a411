/** An HTTP or HTTPS server for an endpoint, on `node:http` alone, so that a worker thread loads nothing else. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { followed } from "./connections.js"
import type { Endpoint } from "./endpoint.js"
import type { CheckedLimits } from "./limits.js"
import { listener } from "./listener.js"
import { longestTimer } from "./timer.js"

/** Where to listen, and how. It can be sent to a worker. */
export interface ListenOptions {
  /** Undefined: all interfaces. */
  readonly host: string | undefined
  /** 0: any free one. */
  readonly port: number
  /** Key and certificate as PEM text. Undefined: HTTP. */
  readonly tls: TlsMaterial | undefined
  readonly limits: CheckedLimits
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
export const listen = (options: ListenOptions, endpoint: Endpoint): Promise<Running> =>
  new Promise((resolve, reject) => {
    const { host, port, tls, limits } = options
    let closing = false
    const answering = listener(endpoint, { isClosing: () => closing, refusal: undefined })
    const server = newServer(options)
    // Node.js knows the connections that speak HTTP, but not those that have yet to: they would outlive a close.
    const connections = followed(server, {
      most: limits.maxConnections,
      whole: Math.min(endpoint.scrapeTimeout + limits.requestTimeout, longestTimer),
      taking: limits.requestTimeout
    })
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      response.on("close", () => {
        // A connection that ends its last request while the server closes is idle from then on.
        if (closing) server.closeIdleConnections()
      })
      answering(request, response)
    })
    // Bodies are not asked for.
    server.on("checkContinue", (request, response) => server.emit("request", request, response))
    const close = (deadline: number): Promise<void> =>
      new Promise((closed) => {
        closing = true
        const cut = setTimeout(() => {
          for (const socket of connections.all()) socket.destroy()
        }, deadline)
        server.close(() => {
          clearTimeout(cut)
          closed()
        })
        server.closeIdleConnections()
        // One that has not said anything yet has nothing to be waited for. (Below TLS, what was said does not show.)
        for (const socket of connections.all()) if (tls === undefined && socket.bytesRead === 0) socket.destroy()
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

// How often Node.js looks for those that take too long, in milliseconds.
const looking = 1_000

const newServer = ({ limits, tls }: ListenOptions): HttpServer | HttpsServer => {
  const { headersTimeout, maxHeaderSize, requestTimeout } = limits
  const http = {
    maxHeaderSize,
    headersTimeout: Math.min(headersTimeout, requestTimeout),
    requestTimeout,
    connectionsCheckingInterval: Math.min(looking, headersTimeout)
  }
  if (tls === undefined) return createServer(http)
  return createSecureServer({ ...http, ...pem(tls), handshakeTimeout: headersTimeout, minVersion: "TLSv1.2" })
}

const pem = ({ key, cert, passphrase }: TlsMaterial) => ({
  key,
  cert,
  ...(passphrase === undefined ? {} : { passphrase })
})
