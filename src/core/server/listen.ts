/** An HTTP or HTTPS server for an endpoint, on `node:http` alone, so that a worker thread loads nothing else. */
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createSecureServer, type Server as HttpsServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import { longestTimer } from "../util/duration.js"
import { inTurns } from "../util/eventLoopSlices.js"
import { clearTimeout, setTimeout, sleep, type Timer } from "../util/realTimers.js"
import { hostCheck } from "./allowedHosts.js"
import { authorizer } from "./auth/authorizer.js"
import type { Connections } from "./connections.js"
import type { Endpoint, Rejection, Resource } from "./endpoint.js"
import { Incoming, respondToStopped } from "./incomingRequest.js"
import { malformed, mostHeaders, respondToMalformed } from "./malformedRequests.js"
import { listener, type OwnServer } from "./nodeListener.js"
import { responseHeaders } from "./responseHeaders.js"
import type { ServerSettings } from "./serverOptions.js"
import { secureContext, type TlsMaterial } from "./tls/secureContext.js"
import { trackConnections } from "./trackConnections.js"

export interface ListeningServer {
  readonly hostname: string
  readonly port: number
  /** Lets running requests finish within `deadline` milliseconds, and cuts the rest. Never rejects. */
  readonly close: (deadline: number) => Promise<void>
  /** For new connections; `clientCertificate` stays. With new authorities, open ones end with their next response. */
  readonly renew: (tls: TlsMaterial) => void
}

// The number of requests per turn of the event loop, so that a flood of rejected requests does not block it.
const perTurn = 16

// How long a close waits for the close events of connections that were cut, in milliseconds.
const lastPatience = 500

/** Rejects with the error of Node.js. */
export const listen = async (settings: ServerSettings, endpoint: Endpoint): Promise<ListeningServer> => {
  const { renew, ...server } = await opened(settings, endpoint)
  return renew === undefined ? replacing(server, settings, endpoint) : { ...server, renew }
}

type Opened = Omit<ListeningServer, "renew"> & { readonly renew: ListeningServer["renew"] | undefined }

// How long to wait before the port is tried again, in milliseconds.
const retryDelay = 1_000

/** Bun cannot change the certificate of a server: a new server takes its port over, and running requests finish. */
const replacing = (first: Omit<Opened, "renew">, settings: ServerSettings, endpoint: Endpoint): ListeningServer => {
  const { hostname, port } = first
  let isClosing = false
  let current: Promise<Pick<Opened, "close">> = Promise.resolve(first)
  const open = new Set<Promise<void>>()
  const end = (server: Pick<Opened, "close">, deadline: number): void => {
    const closing = server.close(deadline).finally(() => open.delete(closing))
    open.add(closing)
  }
  const successor = async (tls: TlsMaterial): Promise<Pick<Opened, "close">> => {
    while (!isClosing) {
      try {
        return await opened({ ...settings, port, tls }, endpoint)
      } catch {
        // Another process has taken the port in between.
        await sleep(retryDelay)
      }
    }
    return { close: async () => {} }
  }
  return {
    hostname,
    port,
    close: async (deadline) => {
      isClosing = true
      end(await current, deadline)
      await Promise.all(open)
    },
    renew: (tls) => {
      current = current.then((server) => {
        end(server, settings.shutdownTimeout)
        return successor(tls)
      })
    }
  }
}

const opened = (settings: ServerSettings, endpoint: Endpoint): Promise<Opened> =>
  new Promise((resolve, reject) => {
    const { host, maxConnections, maxHeaderSize, port, requestTimeout, tls, unref } = settings
    let closing = false
    const server = newServer(settings)
    // Node.js knows only the connections that have sent a request: the others would outlive a close.
    const connections = trackConnections(server, {
      maxConnections,
      maxRequestBytes: maxHeaderSize,
      responseTimeout: Math.min(endpoint.scrapeTimeout + requestTimeout, longestTimer),
      sendTimeout: requestTimeout
    })
    const { isOutdated, renew } = renewal(server, connections, tls)
    const own = {
      headers: responseHeaders(settings),
      isClosing: ({ socket }: IncomingMessage): boolean => closing || isOutdated(socket)
    }
    const respond = responder(server, settings, endpoint, connections, own)
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      // The request was read before its connection was closed.
      if (request.socket.destroyed) {
        clear(request)
        return
      }
      respond(request, response)
      response.on("close", () => {
        // While the server closes, a connection is idle once its last request has ended.
        if (closing) server.closeIdleConnections()
      })
    })
    respondToMalformed(server, connections, own.headers, maxHeaderSize)
    respondToStopped(server, connections)
    const close = (deadline: number): Promise<void> => {
      closing = true
      return closed(server, connections, deadline)
    }
    server.once("error", reject)
    // Exclusive: processes of `node:cluster` would share the port, and each scrape would get the metrics of another one.
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject)
      // A failed accept (out of file descriptors, say) is temporary; without a listener it would end the process.
      server.on("error", () => {})
      if (unref) {
        server.unref()
        server.on("connection", (socket: Socket) => socket.unref())
      }
      const address = server.address() as AddressInfo
      resolve({ hostname: address.address, port: address.port, close, renew })
    })
  })

const closed = (server: HttpServer | HttpsServer, connections: Connections, deadline: number): Promise<void> =>
  new Promise((resolve) => {
    let late: Timer | undefined
    const cut = setTimeout(() => {
      for (const socket of connections.all()) socket.destroy()
      server.closeAllConnections()
      late = setTimeout(resolve, lastPatience)
    }, deadline)
    server.close(() => {
      clearTimeout(cut)
      clearTimeout(late)
      resolve()
    })
    server.closeIdleConnections()
    // They have sent no request.
    for (const socket of connections.silent()) socket.destroy()
  })

// Authorized requests get their responses before all others, which wait in a queue of their own.
const responder = (
  server: HttpServer | HttpsServer,
  { allowedHosts, authentication, host, tls }: ServerSettings,
  endpoint: Endpoint,
  connections: Connections,
  own: Omit<OwnServer, "authorize">
) => {
  const isClosed = ({ socket }: IncomingMessage): boolean => socket.destroyed
  const auth = authorizer(tls, authentication)
  const isGuarded = authentication !== undefined || tls?.clientCertificate === "required"
  let byHost: ReturnType<typeof hostCheck>
  server.once("listening", () => {
    const { address } = server.address() as AddressInfo
    byHost = hostCheck({ host, address, isGuarded, allowedHosts })
  })
  const unfit = (request: IncomingMessage): Rejection | undefined => malformed(request) ?? byHost?.(request)
  const authorize = async (request: IncomingMessage, resource: Resource): Promise<Rejection | undefined> => {
    const rejection = unfit(request) ?? (await auth?.authorize(request, resource))
    // A request for the open health page protects no connection.
    if (rejection === undefined && auth?.isKnown(request) !== false) connections.authorize(request.socket)
    return rejection
  }
  const authorized = inTurns(perTurn, listener(endpoint, { ...own, authorize: undefined }), isClosed)
  const others = inTurns(perTurn, listener(endpoint, { ...own, authorize }), isClosed)
  return (request: IncomingMessage, response: ServerResponse): void => {
    const isAuthorized = unfit(request) === undefined && auth?.isKnown(request) !== false
    connections.onRequest(request, response, isAuthorized)
    if (isAuthorized) trim(request)
    const respond = request.socket.destroyed ? clear : isAuthorized ? authorized : others
    respond(request, response)
  }
}

// Node.js keeps the requests of a connection in memory until it is closed, which is after all its data has been parsed.
const clear = (request: IncomingMessage): void => {
  request.rawHeaders.length = 0
  request.headers = {}
  request.url = ""
}

// While a request waits, only the headers that its response depends on stay in memory.
const trim = (request: IncomingMessage): void => {
  const { accept, "accept-encoding": encoding, "x-prometheus-scrape-timeout-seconds": timeout } = request.headers
  request.rawHeaders.length = 0
  request.headers = {
    ...(accept === undefined ? {} : { accept }),
    ...(encoding === undefined ? {} : { "accept-encoding": encoding }),
    ...(timeout === undefined ? {} : { "x-prometheus-scrape-timeout-seconds": timeout })
  }
}

// How often Node.js checks the timeouts of connections, in milliseconds.
const checkInterval = 1_000

const newServer = ({
  headersTimeout,
  maxHeaderSize,
  requestTimeout,
  tls
}: ServerSettings): HttpServer | HttpsServer => {
  const http = {
    IncomingMessage: Incoming,
    // The host and the number of headers are checked by this library.
    requireHostHeader: false,
    maxHeaderSize,
    headersTimeout: Math.min(headersTimeout, requestTimeout),
    requestTimeout,
    connectionsCheckingInterval: Math.min(checkInterval, headersTimeout)
  }
  if (tls === undefined) return limited(createServer(http))
  const server = createSecureServer({
    ...http,
    // The default of `node:http`.
    allowHalfOpen: true,
    // Clients that name their protocol may name HTTP/1.0 as well (`curl --http1.0`).
    ALPNProtocols: ["http/1.1", "http/1.0"],
    ...secureContext(tls),
    handshakeTimeout: headersTimeout,
    requestCert: tls.clientCertificate !== "none",
    rejectUnauthorized: tls.clientCertificate === "required"
  })
  // A handshake costs the server much more than the client.
  server.on("secureConnection", (socket) => socket.disableRenegotiation?.())
  return limited(server)
}

// One header more than allowed is parsed, so that it is noticed. A client that has ended its side (`nc -N`) gets its
// response, which Node.js would not send. Bun does not say when such a client leaves.
const limited = <A extends HttpServer>(server: A): A =>
  Object.assign(server, { maxHeadersCount: mostHeaders + 1, httpAllowHalfOpen: process.versions["bun"] === undefined })

// Clients that earlier authorities have verified must connect again. The authorities of a connection are those at its
// begin: its handshake uses them, even if it ends later.
const renewal = (server: HttpServer | HttpsServer, connections: Connections, tls: TlsMaterial | undefined) => {
  let authorities = tls?.ca
  const verifiedBy = new WeakMap<Socket, string | undefined>()
  const isOutdated = (socket: Socket): boolean => {
    const tcpSocket = connections.tcpSocketOf(socket)
    return tcpSocket === undefined || verifiedBy.get(tcpSocket) !== authorities
  }
  server.on("connection", (socket: Socket) => verifiedBy.set(socket, authorities))
  server.on("secureConnection", (socket: Socket) => {
    if (isOutdated(socket)) socket.destroy()
  })
  return {
    isOutdated,
    renew:
      tls !== undefined && !("setSecureContext" in server)
        ? undefined
        : (renewed: TlsMaterial): void => {
            if ("setSecureContext" in server) server.setSecureContext(secureContext(renewed))
            authorities = renewed.ca
          }
  }
}
