/** The open connections of a server: which of them is given up for another, and which has been waited for too long. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"

/** What a connection is allowed. Times are in milliseconds. */
export interface Allowance {
  /** How many connections there may be. */
  readonly most: number
  /** How long an answer may take from its request until it is taken, whatever it waits for. */
  readonly whole: number
  /** How long it may take to be taken, once it is there. */
  readonly taking: number
}

/** The connections of a server; those that have not been used for the longest time come first. */
export interface Connections {
  readonly all: () => Iterable<Socket>
}

interface Connection {
  readonly key: unknown
  readonly socket: Socket
  /** How many requests of it wait for their answers, or have not taken them. */
  requests: number
  /** What they came on: with TLS, that is another socket. */
  answering: Socket | undefined
  /** Since when there is an answer that it has not taken, in milliseconds of `performance.now()`. */
  untakenSince: number | undefined
  late: NodeJS.Timeout | undefined
}

// So long, in milliseconds, an answer may be on its way to somebody who takes it.
const onItsWay = 1_000

/**
 * Follows the connections of a server, and keeps them to what they are allowed. A new one takes the place of the one that
 * has been idle, or silent, for the longest time, or else does not take its answer, so that those who hold connections
 * open keep nobody else out.
 */
export const followed = (server: HttpServer | HttpsServer, { most, taking, whole }: Allowance): Connections => {
  const connections = new Map<unknown, Connection>()

  const forget = (connection: Connection): void => {
    clearTimeout(connection.late)
    if (connections.get(connection.key) === connection) connections.delete(connection.key)
  }
  const cutIn = (milliseconds: number, connection: Connection): void => {
    clearTimeout(connection.late)
    connection.late = setTimeout(() => connection.socket.destroy(), milliseconds)
  }
  const answered = (connection: Connection): void => {
    connection.requests -= 1
    connection.untakenSince = undefined
    if (connections.get(connection.key) !== connection) return
    if (connection.requests > 0) {
      cutIn(whole, connection)
      return
    }
    clearTimeout(connection.late)
    connection.answering = undefined
    connections.delete(connection.key)
    connections.set(connection.key, connection)
  }

  server.on("connection", (socket: Socket) => {
    const connection: Connection = {
      key: keyOf(socket),
      socket,
      requests: 0,
      answering: undefined,
      untakenSince: undefined,
      late: undefined
    }
    if (connections.size >= most) {
      const leastNeeded = firstIdle(connections.values()) ?? slowest(connections.values()) ?? connection
      // At once: many more may come before it tells that it is closed.
      forget(leastNeeded)
      leastNeeded.socket.destroy()
      if (leastNeeded === connection) return
    }
    connections.set(connection.key, connection)
    socket.on("close", () => forget(connection))
  })
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(keyOf(socket))
    if (connection === undefined) return
    connection.requests += 1
    connection.answering = socket
    if (connection.requests === 1) cutIn(whole, connection)
    // It is there, and its turn has come.
    response.once("prefinish", () => {
      if (connections.get(connection.key) !== connection) return
      connection.untakenSince = performance.now()
      cutIn(taking, connection)
    })
    response.once("close", () => answered(connection))
  })
  // Node.js takes a connection for idle as soon as it has an answer for it, although that may not be taken yet.
  const closeIdle = server.closeIdleConnections.bind(server)
  server.closeIdleConnections = () => {
    const answering = [...connections.values()].flatMap((connection) => connection.answering ?? [])
    for (const socket of answering) socket.destroy = () => socket
    closeIdle()
    for (const socket of answering) Reflect.deleteProperty(socket, "destroy")
  }
  return {
    *all() {
      for (const { socket } of connections.values()) yield socket
    }
  }
}

const firstIdle = (connections: Iterable<Connection>): Connection | undefined => {
  for (const connection of connections) if (connection.requests === 0) return connection
  return undefined
}

const slowest = (connections: Iterable<Connection>): Connection | undefined => {
  const latest = performance.now() - onItsWay
  let found: Connection | undefined
  for (const connection of connections) {
    const { untakenSince = Number.POSITIVE_INFINITY } = connection
    if (untakenSince < (found?.untakenSince ?? latest)) found = connection
  }
  return found
}

// Of a TLS connection a server first gets the socket below it. Both have the same address and port at the other end,
// unless that has gone already.
const keyOf = (socket: Socket): unknown => {
  const { remoteAddress, remotePort } = socket
  return remoteAddress === undefined ? socket : `${remoteAddress} ${remotePort}`
}
