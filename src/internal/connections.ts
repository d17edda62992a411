/** The open connections of a server: which of them is given up for another, and which has been waited for too long. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import type { Timer } from "./timer.js"
import { clearTimeout, now, setTimeout } from "./timer.js"

/** What a connection is allowed. Times are in milliseconds. */
export interface Allowance {
  /** How many connections there may be. */
  readonly most: number
  /** How long an answer may take from its request until it is taken, whatever it waits for. */
  readonly whole: number
  /** How long it may take to be taken, once it is there. */
  readonly taking: number
}

/** The connections of a server. */
export interface Connections {
  readonly all: () => Iterable<Socket>
  /** Those that have not said anything yet, or are not done with their handshake. */
  readonly silent: () => Iterable<Socket>
  /** The connection below TLS, or the same one without it; undefined if it has been given up. */
  readonly below: (socket: Socket) => Socket | undefined
}

interface Connection {
  readonly socket: Socket
  /** What its requests come on: with TLS, that is another socket, which is there after the handshake. */
  speaking: Socket | undefined
  /** How many requests of it wait for their answers, or have not taken them. */
  requests: number
  /** Since when there is an answer that it has not taken, in milliseconds of `now()`. */
  untakenSince: number | undefined
  late: Timer | undefined
}

// So long, in milliseconds, an answer may be on its way to somebody who takes it.
const onItsWay = 1_000

// So many requests a connection may have sent before they are answered. Hardly anybody sends a second one; who sends them
// without an end would fill the memory, because Node.js stops reading for answers that wait to be taken, but not for
// requests that wait for their turn.
const mostRequests = 16

/**
 * Follows the connections of a server, and keeps them to what they are allowed. A new one takes the place of the one that
 * has been idle, or silent, for the longest time, or else does not take its answer, so that those who hold connections
 * open keep nobody else out. One that asks and asks without waiting for its answers is closed.
 */
export const followed = (server: HttpServer | HttpsServer, allowance: Allowance): Connections => {
  const following = new Following(allowance)
  const isSecure = "setSecureContext" in server
  const handshaking = new Map<string, Connection>()
  server.on("connection", (socket: Socket) => {
    const connection = following.come(socket)
    if (!isSecure) return following.speaks(connection, socket)
    const key = keyOf(socket)
    handshaking.set(key, connection)
    socket.on("close", () => {
      if (handshaking.get(key) === connection) handshaking.delete(key)
    })
  })
  server.on("secureConnection", (socket: Socket) => {
    const key = keyOf(socket)
    const connection = handshaking.get(key)
    handshaking.delete(key)
    // It has gone already, or it was given up.
    if (connection === undefined || connection.socket.destroyed) socket.destroy()
    else following.speaks(connection, socket)
  })
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => following.asked(socket, response))
  // Node.js takes a connection for idle as soon as it has an answer for it, although that may not be taken yet.
  const closeIdle = server.closeIdleConnections.bind(server)
  server.closeIdleConnections = () => {
    const answering = [...following.answering()]
    for (const socket of answering) socket.destroy = () => socket
    closeIdle()
    for (const socket of answering) Reflect.deleteProperty(socket, "destroy")
  }
  return following
}

class Following implements Connections {
  /** Those that have not been used for the longest time come first. */
  private readonly connections = new Set<Connection>()
  private readonly bySpeaking = new WeakMap<Socket, Connection>()

  constructor(private readonly allowance: Allowance) {}

  come(socket: Socket): Connection {
    const connection: Connection = {
      socket,
      speaking: undefined,
      requests: 0,
      untakenSince: undefined,
      late: undefined
    }
    if (this.connections.size >= this.allowance.most) {
      const leastNeeded = firstIdle(this.connections) ?? slowest(this.connections) ?? connection
      // At once: many more may come before it tells that it is closed.
      this.forget(leastNeeded)
      leastNeeded.socket.destroy()
      if (leastNeeded === connection) return connection
    }
    this.connections.add(connection)
    socket.on("close", () => this.forget(connection))
    return connection
  }

  speaks(connection: Connection, socket: Socket): void {
    connection.speaking = socket
    this.bySpeaking.set(socket, connection)
  }

  asked(socket: Socket, response: ServerResponse): void {
    const connection = this.bySpeaking.get(socket)
    if (connection === undefined || socket.destroyed || !this.connections.has(connection)) return
    if (connection.requests >= mostRequests) {
      // Both: what has been read already may hold many more requests, and they are on that of TLS.
      socket.destroy()
      connection.socket.destroy()
      return
    }
    connection.requests += 1
    if (connection.requests === 1) this.cutIn(this.allowance.whole, connection)
    // It is there, and its turn has come.
    response.once("prefinish", () => {
      if (!this.connections.has(connection)) return
      connection.untakenSince = now()
      this.cutIn(this.allowance.taking, connection)
    })
    response.once("close", () => this.answered(connection))
  }

  *all(): Iterable<Socket> {
    for (const { socket } of this.connections) yield socket
  }

  *silent(): Iterable<Socket> {
    for (const { socket, speaking } of this.connections) if (!speaking?.bytesRead) yield socket
  }

  *answering(): Iterable<Socket> {
    for (const { requests, speaking } of this.connections) if (requests > 0 && speaking !== undefined) yield speaking
  }

  below(socket: Socket): Socket | undefined {
    return this.bySpeaking.get(socket)?.socket
  }

  private answered(connection: Connection): void {
    connection.requests -= 1
    connection.untakenSince = undefined
    if (!this.connections.has(connection)) return
    if (connection.requests > 0) {
      this.cutIn(this.allowance.whole, connection)
      return
    }
    clearTimeout(connection.late)
    this.connections.delete(connection)
    this.connections.add(connection)
  }

  private cutIn(milliseconds: number, connection: Connection): void {
    clearTimeout(connection.late)
    connection.late = setTimeout(() => connection.socket.destroy(), milliseconds)
  }

  private forget(connection: Connection): void {
    clearTimeout(connection.late)
    this.connections.delete(connection)
  }
}

const firstIdle = (connections: Iterable<Connection>): Connection | undefined => {
  for (const connection of connections) if (connection.requests === 0) return connection
  return undefined
}

const slowest = (connections: Iterable<Connection>): Connection | undefined => {
  const latest = now() - onItsWay
  let found: Connection | undefined
  for (const connection of connections) {
    const { untakenSince = Number.POSITIVE_INFINITY } = connection
    if (untakenSince < (found?.untakenSince ?? latest)) found = connection
  }
  return found
}

// Of a TLS connection a server first gets the socket below it. Both are between the same two ends; at one of them alone,
// there may be several: a port of a client can be connected to two addresses of this machine.
const keyOf = ({ localAddress, localPort, remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
