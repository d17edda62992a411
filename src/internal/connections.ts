/**
 * The open connections of a server: which of them is given up for another, which is read from, and which has been waited
 * for too long. Only a request that is let in protects its connection.
 */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http"
import type { Server as HttpsServer } from "node:https"
import type { Socket } from "node:net"
import { nextTick } from "node:process"
import { Places } from "./places.js"
import type { Timer } from "./timer.js"
import { clearTimeout, now, setTimeout } from "./timer.js"

/** What a connection is allowed. Times are in milliseconds. */
export interface Allowance {
  /** How many connections there may be. */
  readonly most: number
  /** How much may be kept of the requests that wait on a connection that was not let in, in bytes. */
  readonly kept: number
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
  /** Called for each request, with whether it is known to be let in. */
  readonly asked: (request: IncomingMessage, response: ServerResponse, isLetIn: boolean) => void
  /** Who asked is let in after all. */
  readonly letIn: (socket: Socket) => void
  /** Calls once the answers to all requests of a connection are written: at once if none waits. */
  readonly afterAnswers: (socket: Socket, act: () => void) => void
  /** Called where nothing more is read of a connection: what still comes is dropped, as far as it is read. */
  readonly unread: (socket: Socket) => void
  /** Ends a connection with what has been written. What a client still sends that was let in is dropped for a second. */
  readonly end: (socket: Socket) => void
  /** Writes a last text, and ends the connection as soon as that is sent. Nothing more is read of it. */
  readonly endWith: (socket: Socket, text: string) => void
}

/** A connection, and what is known of it. */
export interface Connection {
  readonly socket: Socket
  /** What its requests come on: with TLS, that is another socket, which is there after the handshake. */
  speaking: Socket | undefined
  /** Whether its last request was let in. */
  isLetIn: boolean
  /** Since when it waits without being let in, in milliseconds of `now()`. */
  since: number
  /** How many requests of it wait for their answers, or have not taken them. */
  requests: number
  /** Roughly how much memory those requests take, in bytes. */
  kept: number
  /** Since when there is an answer that it has not taken, in milliseconds of `now()`. */
  untakenSince: number | undefined
  late: Timer | undefined
  afterAnswers: (() => void) | undefined
  /** How much was dropped of what it has sent, in bytes. */
  dropped: number
}

// So many requests a connection may have sent before they are answered. Hardly anybody sends a second one; who sends them
// without an end would fill the memory: a socket that is not read from any more has a packet left that may hold many.
const mostRequests = 16

// A client that has ended its side (`nc -N`) waits for its answer for so long, in milliseconds. One that has closed its
// connection looks the same until an answer is sent, and its scrape would keep its place.
const halfClosed = 1_000

// How long a client that was let in may go on sending what is dropped, in milliseconds.
const lingering = 1_000

// How much is dropped of what such a client sends, in bytes. Its connection is not read from any more after that: a thousand
// clients that send bodies without an end would keep the thread busy with what is of no use.
const mostDropped = 262_144

// A connection is not read from while so many of its requests wait. With one request that is let in it is, so
// that it is noticed when the client leaves.
const readUpTo = { stranger: 1, letIn: 2 }

/**
 * Follows the connections of a server, and keeps them to what they are allowed. A new one takes the place of the one that
 * is needed least (see `Places`), so that open connections keep no other client out. One that asks and asks
 * without waiting for its answers is closed.
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
    // On Bun it is that of `connection`.
    if (following.below(socket) === socket) return
    const key = keyOf(socket)
    const connection = handshaking.get(key)
    handshaking.delete(key)
    // It has gone already, or it was given up.
    if (connection === undefined || connection.socket.destroyed) socket.destroy()
    else following.speaks(connection, socket)
  })
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
  private readonly places: Places<Connection>
  private readonly bySpeaking = new WeakMap<Socket, Connection>()

  constructor(private readonly allowance: Allowance) {
    this.places = new Places(allowance.most)
  }

  come(socket: Socket): Connection {
    const connection: Connection = {
      socket,
      speaking: undefined,
      isLetIn: false,
      since: now(),
      requests: 0,
      kept: 0,
      untakenSince: undefined,
      late: undefined,
      afterAnswers: undefined,
      dropped: 0
    }
    if (this.places.isFull) {
      const leastNeeded = this.places.leastNeeded() ?? connection
      this.giveUp(leastNeeded)
      if (leastNeeded === connection) return connection
    }
    this.places.put(connection)
    socket.on("close", () => this.forget(connection))
    return connection
  }

  speaks(connection: Connection, socket: Socket): void {
    connection.speaking = socket
    this.bySpeaking.set(socket, connection)
    socket.once("end", () => {
      // What it asked may still be answered, but from here it looks like one that has left.
      if (connection.requests > 0 && connection.untakenSince === undefined) this.cutIn(halfClosed, connection)
    })
  }

  asked(request: IncomingMessage, response: ServerResponse, isLetIn: boolean): void {
    const connection = this.known(request.socket)
    if (connection === undefined) return
    const size = sizeOf(request)
    const isTooMuch = !isLetIn && connection.requests > 0 && connection.kept + size > this.allowance.kept
    if (isTooMuch || connection.requests >= mostRequests) {
      this.giveUp(connection)
      return
    }
    connection.requests += 1
    connection.kept += size
    if (connection.isLetIn && !isLetIn) connection.since = now()
    connection.isLetIn = isLetIn
    this.places.put(connection)
    this.regulateSoon(connection)
    if (connection.requests === 1) this.cutIn(this.allowance.whole, connection)
    // It is there, and its turn has come.
    response.once("prefinish", () => {
      if (!this.places.has(connection)) return
      connection.untakenSince = now()
      this.cutIn(this.allowance.taking, connection)
    })
    response.once("close", () => this.answered(connection, size))
  }

  letIn(socket: Socket): void {
    const connection = this.known(socket)
    if (connection === undefined) return
    connection.isLetIn = true
    this.places.put(connection)
    this.regulateSoon(connection)
  }

  afterAnswers(socket: Socket, act: () => void): void {
    const connection = this.known(socket)
    if (connection === undefined || connection.requests === 0) act()
    else {
      connection.afterAnswers = act
      socket.pause()
    }
  }

  unread(socket: Socket): void {
    const connection = this.known(socket)
    if (connection === undefined) return
    // What listens to a connection that is not paused begins to read from it.
    socket.pause()
    socket.on("data", ({ length }: Uint8Array) => {
      connection.dropped += length
      if (connection.dropped >= mostDropped) socket.pause()
    })
  }

  end(socket: Socket): void {
    const connection = this.known(socket)
    if (connection?.isLetIn !== true) {
      socket.destroySoon()
      return
    }
    // While there is something that was not read, the end of a connection can take the answer back.
    socket.end()
    socket.on("end", () => socket.destroy())
    if (connection.dropped < mostDropped) socket.resume()
    this.cutIn(lingering, connection)
  }

  endWith(socket: Socket, text: string): void {
    if (!socket.writable) {
      socket.destroySoon()
      return
    }
    socket.write(text)
    if (socket.writableLength === 0) {
      socket.destroy()
      return
    }
    // With TLS it waits until what was written before is sent, and a socket that is destroyed drops what waits.
    socket.pause()
    socket.destroySoon()
    const connection = this.known(socket)
    if (connection !== undefined) this.cutIn(lingering, connection)
  }

  *all(): Iterable<Socket> {
    for (const { socket } of this.places.all()) yield socket
  }

  *silent(): Iterable<Socket> {
    for (const { socket, speaking } of this.places.all()) if (!speaking?.bytesRead) yield socket
  }

  *answering(): Iterable<Socket> {
    for (const { requests, speaking } of this.places.all()) if (requests > 0 && speaking !== undefined) yield speaking
  }

  below(socket: Socket): Socket | undefined {
    return this.bySpeaking.get(socket)?.socket
  }

  private known(socket: Socket): Connection | undefined {
    const connection = this.bySpeaking.get(socket)
    return connection === undefined || socket.destroyed || !this.places.has(connection) ? undefined : connection
  }

  private answered(connection: Connection, size: number): void {
    connection.requests -= 1
    connection.kept -= size
    connection.untakenSince = undefined
    if (!this.places.has(connection)) return
    this.regulateSoon(connection)
    if (connection.requests > 0) {
      this.cutIn(this.allowance.whole, connection)
      return
    }
    clearTimeout(connection.late)
    this.places.put(connection)
    const { afterAnswers } = connection
    connection.afterAnswers = undefined
    afterAnswers?.()
  }

  // Not at once: where the end of a request is read, Node.js goes on reading whatever was paused before.
  private regulateSoon(connection: Connection): void {
    nextTick(() => {
      const { afterAnswers, dropped, isLetIn, requests, speaking } = connection
      if (speaking === undefined || speaking.destroyed) return
      const isFull = requests >= (isLetIn ? readUpTo.letIn : readUpTo.stranger) || dropped >= mostDropped
      const isPaused = isFull || afterAnswers !== undefined
      if (isPaused) speaking.pause()
      else if (speaking.readableFlowing !== true) speaking.resume()
    })
  }

  private cutIn(milliseconds: number, connection: Connection): void {
    clearTimeout(connection.late)
    connection.late = setTimeout(() => connection.socket.destroy(), milliseconds)
  }

  // At once: many more may come before it tells that it is closed. Both sockets: what has been read already may hold many
  // more requests, and they are on that of TLS.
  private giveUp(connection: Connection): void {
    this.forget(connection)
    connection.speaking?.destroy()
    connection.socket.destroy()
  }

  private forget(connection: Connection): void {
    clearTimeout(connection.late)
    this.places.free(connection)
  }
}

// What each text takes beside its characters, in bytes.
const perText = 32

const sizeOf = ({ rawHeaders, url = "" }: IncomingMessage): number =>
  rawHeaders.reduce((size, text) => size + text.length + perText, url.length)

// Of a TLS connection a server first gets the socket below it. Both are between the same two ends; at one of them alone,
// there may be several: a port of a client can be connected to two addresses of this machine.
const keyOf = ({ localAddress, localPort, remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
