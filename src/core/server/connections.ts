/**
 * Which connection is closed for a new one, is read from, or has taken too long. Only an authorized request protects
 * one.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { nextTick } from "node:process"
import { clearTimeout, now, setTimeout, type Timer } from "../util/realTimers.js"
import { ConnectionSlots, type SlotHolder } from "./connectionSlots.js"

/** Times are in milliseconds. */
export interface Allowance {
  readonly maxConnections: number
  /** For the waiting requests of a connection that is not authorized. */
  readonly maxRequestBytes: number
  /** From a request until its response is received. */
  readonly responseTimeout: number
  /** From when a response is ready until it is received. */
  readonly sendTimeout: number
}

export interface Connection extends SlotHolder {
  readonly socket: Socket
  /** With TLS another socket, which exists after the handshake. */
  httpSocket: Socket | undefined
  /** Roughly. */
  requestBytes: number
  deadline: Timer | undefined
  afterResponses: (() => void) | undefined
  /** In bytes. */
  dropped: number
}

// How many requests may be sent before their responses. Hardly any client sends a second one, and an endless flow would
// fill the memory: a paused socket still has a packet that may hold many.
const mostRequests = 16

// How long a client that has ended its side (`nc -N`) waits, in milliseconds. A closed connection looks the same until
// a response is sent, and its scrape would keep its slot.
const halfClosed = 1_000

// How long data of an authorized client is dropped at the end of its connection, in milliseconds.
const lingering = 1_000

// In bytes. Then the connection is not read any more: endless bodies of a thousand clients would keep the thread busy.
const mostDropped = 262_144

// Not read from while this many of its requests wait. With one authorized request a connection is still read, so that
// the server notices when the client leaves.
const readUpTo = { unauthorized: 1, authorized: 2 }

export class Connections {
  private readonly slots: ConnectionSlots<Connection>
  private readonly byHttpSocket = new WeakMap<Socket, Connection>()

  constructor(private readonly allowance: Allowance) {
    this.slots = new ConnectionSlots(allowance.maxConnections)
  }

  accept(socket: Socket): Connection {
    const connection: Connection = {
      socket,
      httpSocket: undefined,
      isAuthorized: false,
      since: now(),
      requests: 0,
      requestBytes: 0,
      responseReadySince: undefined,
      deadline: undefined,
      afterResponses: undefined,
      dropped: 0
    }
    if (this.slots.isFull) {
      const leastNeeded = this.slots.leastNeeded() ?? connection
      this.close(leastNeeded)
      if (leastNeeded === connection) return connection
    }
    this.slots.put(connection)
    socket.on("close", () => this.forget(connection))
    return connection
  }

  attach(connection: Connection, socket: Socket): void {
    connection.httpSocket = socket
    this.byHttpSocket.set(socket, connection)
    socket.once("end", () => {
      // Its requests may still get their responses, but it looks like a client that has left.
      if (connection.requests > 0 && connection.responseReadySince === undefined) {
        this.destroyAfter(halfClosed, connection)
      }
    })
  }

  /** Called for each request. */
  onRequest(request: IncomingMessage, response: ServerResponse, isAuthorized: boolean): void {
    const { maxRequestBytes, responseTimeout, sendTimeout } = this.allowance
    const connection = this.known(request.socket)
    if (connection === undefined) return
    const size = sizeOf(request)
    const isTooMuch = !isAuthorized && connection.requests > 0 && connection.requestBytes + size > maxRequestBytes
    if (isTooMuch || connection.requests >= mostRequests) {
      this.close(connection)
      return
    }
    connection.requests += 1
    connection.requestBytes += size
    if (connection.isAuthorized && !isAuthorized) connection.since = now()
    connection.isAuthorized = isAuthorized
    this.slots.put(connection)
    this.regulateSoon(connection)
    if (connection.requests === 1) this.destroyAfter(responseTimeout, connection)
    // The response is ready, and those before it are sent.
    response.once("prefinish", () => {
      if (!this.slots.has(connection)) return
      connection.responseReadySince = now()
      this.destroyAfter(sendTimeout, connection)
    })
    response.once("close", () => this.onResponseClosed(connection, size))
  }

  /** Called when the last request of a connection turns out to be authorized. */
  authorize(socket: Socket): void {
    const connection = this.known(socket)
    if (connection === undefined) return
    connection.isAuthorized = true
    this.slots.put(connection)
    this.regulateSoon(connection)
  }

  /** Calls `act` at once if no request waits. */
  afterResponses(socket: Socket, act: () => void): void {
    const connection = this.known(socket)
    if (connection === undefined || connection.requests === 0) act()
    else {
      connection.afterResponses = act
      socket.pause()
    }
  }

  /** Further data is dropped, up to a limit. */
  stopReading(socket: Socket): void {
    const connection = this.known(socket)
    if (connection === undefined) return
    // A listener for data resumes a socket that is not paused.
    socket.pause()
    socket.on("data", ({ length }: Uint8Array) => {
      connection.dropped += length
      if (connection.dropped >= mostDropped) socket.pause()
    })
  }

  /** Further data of an authorized client is dropped for a second. */
  end(socket: Socket): void {
    const connection = this.known(socket)
    if (connection?.isAuthorized !== true) {
      socket.destroySoon()
      return
    }
    // Closing a connection with unread data can take the response back.
    socket.end()
    socket.on("end", () => socket.destroy())
    if (connection.dropped < mostDropped) socket.resume()
    this.destroyAfter(lingering, connection)
  }

  /** Ends the connection as soon as the text is sent. Nothing more is read of it. */
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
    // With TLS the text waits for earlier data to be sent, and a destroyed socket drops what waits.
    socket.pause()
    socket.destroySoon()
    const connection = this.known(socket)
    if (connection !== undefined) this.destroyAfter(lingering, connection)
  }

  *all(): Iterable<Socket> {
    for (const { socket } of this.slots.all()) yield socket
  }

  /** Connections that have not sent anything yet, or have not finished their handshake. */
  *silent(): Iterable<Socket> {
    for (const { socket, httpSocket } of this.slots.all()) if (!httpSocket?.bytesRead) yield socket
  }

  *responding(): Iterable<Socket> {
    for (const { requests, httpSocket } of this.slots.all())
      if (requests > 0 && httpSocket !== undefined) yield httpSocket
  }

  /** The socket below TLS, or the same socket without TLS; undefined if it has been closed. */
  tcpSocketOf(socket: Socket): Socket | undefined {
    return this.byHttpSocket.get(socket)?.socket
  }

  private known(socket: Socket): Connection | undefined {
    const connection = this.byHttpSocket.get(socket)
    return connection === undefined || socket.destroyed || !this.slots.has(connection) ? undefined : connection
  }

  private onResponseClosed(connection: Connection, size: number): void {
    connection.requests -= 1
    connection.requestBytes -= size
    connection.responseReadySince = undefined
    if (!this.slots.has(connection)) return
    this.regulateSoon(connection)
    if (connection.requests > 0) {
      this.destroyAfter(this.allowance.responseTimeout, connection)
      return
    }
    clearTimeout(connection.deadline)
    this.slots.put(connection)
    const { afterResponses } = connection
    connection.afterResponses = undefined
    afterResponses?.()
  }

  // In the next tick, because at the end of a request Node.js resumes a paused socket.
  private regulateSoon(connection: Connection): void {
    nextTick(() => {
      const { afterResponses, dropped, isAuthorized, requests, httpSocket } = connection
      if (httpSocket === undefined || httpSocket.destroyed) return
      const most = isAuthorized ? readUpTo.authorized : readUpTo.unauthorized
      const isPaused = requests >= most || dropped >= mostDropped || afterResponses !== undefined
      if (isPaused) httpSocket.pause()
      else if (httpSocket.readableFlowing !== true) httpSocket.resume()
    })
  }

  private destroyAfter(milliseconds: number, connection: Connection): void {
    clearTimeout(connection.deadline)
    connection.deadline = setTimeout(() => connection.socket.destroy(), milliseconds)
  }

  // The slot is free at once: many more connections may come before the close event. Both sockets are destroyed,
  // because data that has been read already may hold many more requests, which are on the socket of TLS.
  private close(connection: Connection): void {
    this.forget(connection)
    connection.httpSocket?.destroy()
    connection.socket.destroy()
  }

  private forget(connection: Connection): void {
    clearTimeout(connection.deadline)
    this.slots.release(connection)
  }
}

// The memory of a text besides its characters, in bytes.
const perText = 32

const sizeOf = ({ rawHeaders, url = "" }: IncomingMessage): number =>
  rawHeaders.reduce((size, text) => size + text.length + perText, url.length)
