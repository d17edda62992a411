/** An HTTP or HTTPS server for an endpoint, on `node:http` alone, so that a worker thread loads nothing else. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import type { Server as HttpsServer } from "node:https"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import { admission } from "./admission.js"
import type { Connections } from "./connections.js"
import { followed } from "./connections.js"
import type { CheckedAuthentication } from "./credentials.js"
import type { Endpoint, Refusal, Target } from "./endpoint.js"
import { hostRefusal } from "./hosts.js"
import { answerUnread, Incoming } from "./incoming.js"
import type { CheckedLimits } from "./limits.js"
import type { OwnServer } from "./listener.js"
import { listener } from "./listener.js"
import { answerMalformed, malformed, mostHeaders } from "./malformed.js"
import { inTurns } from "./pace.js"
import type { TlsMaterial } from "./secureContext.js"
import { secureContext } from "./secureContext.js"
import type { Timer } from "./timer.js"
import { clearTimeout, longestTimer, setTimeout } from "./timer.js"

/** Where to listen, and how. It can be sent to a worker. */
export interface ListenOptions {
  /** Undefined: all interfaces. */
  readonly host: string | undefined
  /** 0: any free one. */
  readonly port: number
  /** Undefined: HTTP. */
  readonly tls: TlsMaterial | undefined
  /** Undefined: everybody is let in. */
  readonly authentication: CheckedAuthentication | undefined
  readonly limits: CheckedLimits
  /** As `hostOf` gives them. Undefined: the default. */
  readonly allowedHosts: ReadonlyArray<string> | undefined
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
  /**
   * Uses other keys and certificates for the connections that come from now on; who is asked for a certificate stays as
   * it is. Those that are open stay open; where the authorities are others, each of them ends with its next answer.
   */
  readonly renew: (tls: TlsMaterial) => void
}

// How many requests are answered before the event loop goes on, so that a flood of those that are refused does not hold it.
const perTurn = 16

// How long a close waits, in milliseconds, until Node.js tells that the connections that were cut are closed.
const lastPatience = 500

/** Listens. It rejects with the error of Node.js if it cannot. */
export const listen = (options: ListenOptions, endpoint: Endpoint): Promise<Running> =>
  new Promise((resolve, reject) => {
    const { host, port, tls, limits } = options
    let closing = false
    const server = newServer(options)
    // Node.js knows the connections that speak HTTP, but not those that have yet to: they would outlive a close.
    const connections = followed(server, {
      most: limits.maxConnections,
      kept: limits.maxHeaderSize,
      whole: Math.min(endpoint.scrapeTimeout + limits.requestTimeout, longestTimer),
      taking: limits.requestTimeout
    })
    const { isOutdated, renew } = renewing(server, connections, tls)
    const answer = answering(server, options, endpoint, connections, ({ socket }) => closing || isOutdated(socket))
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      // It was read before its connection was given up.
      if (request.socket.destroyed) {
        emptied(request)
        return
      }
      answer(request, response)
      response.on("close", () => {
        // A connection that ends its last request while the server closes is idle from then on, as it is known by now.
        if (closing) server.closeIdleConnections()
      })
    })
    answerMalformed(server, connections, limits.maxHeaderSize)
    answerUnread(server, connections)
    const close = (deadline: number): Promise<void> =>
      new Promise((closed) => {
        closing = true
        let late: Timer | undefined
        const cut = setTimeout(() => {
          for (const socket of connections.all()) socket.destroy()
          server.closeAllConnections()
          late = setTimeout(closed, lastPatience)
        }, deadline)
        server.close(() => {
          clearTimeout(cut)
          clearTimeout(late)
          closed()
        })
        server.closeIdleConnections()
        // There is nothing to be waited for.
        for (const socket of connections.silent()) socket.destroy()
      })
    server.once("error", reject)
    // Not a port that the processes of `node:cluster` share: a scrape would get the numbers of one of them, and of another
    // one the next time.
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject)
      // A failing accept (out of file descriptors, say) is over when it is over; unheard, it would end the process.
      server.on("error", () => {})
      const address = server.address() as AddressInfo
      resolve({ hostname: address.address, port: address.port, close, renew })
    })
  })

// Who is let in is answered at once, and overtakes all others: these wait for their turn, verified or refused.
const answering = (
  server: HttpServer | HttpsServer,
  { allowedHosts, authentication, host, tls }: ListenOptions,
  endpoint: Endpoint,
  connections: Connections,
  isClosing: OwnServer["isClosing"]
) => {
  const isOver = ({ socket }: IncomingMessage): boolean => socket.destroyed
  const admitted = admission(tls, authentication)
  const isGuarded = authentication !== undefined || tls?.clientCertificate === "required"
  let byHost: ReturnType<typeof hostRefusal>
  server.once("listening", () => {
    const { address } = server.address() as AddressInfo
    byHost = hostRefusal({ host, address, isGuarded, allowedHosts })
  })
  const unfit = (request: IncomingMessage): Refusal | undefined => malformed(request) ?? byHost?.(request)
  const refusal = async (request: IncomingMessage, target: Target): Promise<Refusal | undefined> => {
    const refused = unfit(request) ?? (await admitted?.refusal(request, target))
    // Not so the page that is open to everybody.
    if (refused === undefined && admitted?.knows(request) !== false) connections.letIn(request.socket)
    return refused
  }
  const letIn = inTurns(perTurn, listener(endpoint, { isClosing, refusal: undefined }), isOver)
  const others = inTurns(perTurn, listener(endpoint, { isClosing, refusal }), isOver)
  return (request: IncomingMessage, response: ServerResponse): void => {
    const isLetIn = unfit(request) === undefined && admitted?.knows(request) !== false
    connections.asked(request, response, isLetIn)
    if (isLetIn) trim(request)
    const answer = request.socket.destroyed ? emptied : isLetIn ? letIn : others
    answer(request, response)
  }
}

// Node.js keeps the requests of a connection until it is closed, which it is when all that there is has been read of all.
const emptied = (request: IncomingMessage): void => {
  request.rawHeaders.length = 0
  request.headers = {}
  request.url = ""
}

// While a request waits, nothing is kept that its answer does not depend on.
const trim = (request: IncomingMessage): void => {
  const { accept, "accept-encoding": encoding, "x-prometheus-scrape-timeout-seconds": timeout } = request.headers
  request.rawHeaders.length = 0
  request.headers = {
    ...(accept === undefined ? {} : { accept }),
    ...(encoding === undefined ? {} : { "accept-encoding": encoding }),
    ...(timeout === undefined ? {} : { "x-prometheus-scrape-timeout-seconds": timeout })
  }
}

// How often Node.js looks for those that take too long, in milliseconds.
const looking = 1_000

const newServer = ({ limits, tls }: ListenOptions): HttpServer | HttpsServer => {
  const { headersTimeout, maxHeaderSize, requestTimeout } = limits
  const http = {
    IncomingMessage: Incoming,
    // Both are refused by us, in our words.
    requireHostHeader: false,
    maxHeaderSize,
    headersTimeout: Math.min(headersTimeout, requestTimeout),
    requestTimeout,
    connectionsCheckingInterval: Math.min(looking, headersTimeout)
  }
  if (tls === undefined) return limited(createServer(http))
  const server = createSecureServer({
    ...http,
    // As `node:http` has it by itself.
    allowHalfOpen: true,
    // Those who name the protocol that they will speak may name each that is answered (`curl --http1.0`).
    ALPNProtocols: ["http/1.1", "http/1.0"],
    ...secureContext(tls),
    handshakeTimeout: headersTimeout,
    requestCert: tls.clientCertificate !== "none",
    rejectUnauthorized: tls.clientCertificate === "required"
  })
  // A handshake takes much more of the server than of the client.
  server.on("secureConnection", (socket) => socket.disableRenegotiation?.())
  return limited(server)
}

// One more header than there may be, so that it shows. A client that has ended its side (`nc -N`) is answered, and its
// connection ends with the answer; Node.js would end it without one. Not so on Bun, which then says nothing of clients that
// leave.
const limited = <A extends HttpServer>(server: A): A =>
  Object.assign(server, { maxHeadersCount: mostHeaders + 1, httpAllowHalfOpen: process.versions["bun"] === undefined })

// Those who were let in by authorities that are not the same any more come back, and are asked again. The authorities of
// a connection are those of the time when it came: whoever is done with the handshake only now was let in by them too.
const renewing = (server: HttpServer | HttpsServer, connections: Connections, tls: TlsMaterial | undefined) => {
  let authorities = tls?.ca
  const asking = new WeakMap<Socket, string | undefined>()
  const isOutdated = (socket: Socket): boolean => {
    const below = connections.below(socket)
    return below === undefined || asking.get(below) !== authorities
  }
  server.on("connection", (socket: Socket) => asking.set(socket, authorities))
  server.on("secureConnection", (socket: Socket) => {
    if (isOutdated(socket)) socket.destroy()
  })
  return {
    isOutdated,
    renew: (renewed: TlsMaterial): void => {
      if (!("setSecureContext" in server)) return
      server.setSecureContext(secureContext(renewed))
      authorities = renewed.ca
    }
  }
}
