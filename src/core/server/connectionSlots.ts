/** The limited number of connections of a server, and which of them is closed for a new one. */
import { now } from "../util/realTimers.js"

export interface SlotHolder {
  isAuthorized: boolean
  /** In milliseconds of `now()`. */
  since: number
  /** Those that wait for their responses, or whose responses are not received yet. */
  requests: number
  /** In milliseconds of `now()`. Undefined: no response is ready that the client has not received. */
  responseReadySince: number | undefined
  httpSocket: { readonly readableEnded: boolean } | undefined
}

// A client that receives its response takes no longer than this, in milliseconds.
const sendTime = 1_000

// The first request of a new connection arrives within this time, in milliseconds.
const requestTime = 1_000

// The share of all slots for new connections: a new one must not be closed for the next one before its request can be
// read.
const share = 1 / 4

/**
 * Three classes, each in the order in which connections are closed: without an authorized request, the longest waiting
 * first; idle, the longest unused first; busy, whose responses are awaited or not received yet.
 */
export class ConnectionSlots<A extends SlotHolder> {
  private readonly unauthorized = new Set<A>()
  private readonly idle = new Set<A>()
  private readonly busy = new Set<A>()

  constructor(private readonly most: number) {}

  get isFull(): boolean {
    return this.unauthorized.size + this.idle.size + this.busy.size >= this.most
  }

  has(holder: A): boolean {
    return this.unauthorized.has(holder) || this.idle.has(holder) || this.busy.has(holder)
  }

  /** An idle connection has just been used, so it goes to the end. */
  put(holder: A): void {
    const current = holder.isAuthorized ? (holder.requests > 0 ? this.busy : this.idle) : this.unauthorized
    if (current.has(holder) && current !== this.idle) return
    this.release(holder)
    current.add(holder)
  }

  release(holder: A): void {
    this.unauthorized.delete(holder)
    this.idle.delete(holder)
    this.busy.delete(holder)
  }

  *all(): Iterable<A> {
    yield* this.unauthorized
    yield* this.idle
    yield* this.busy
  }

  /** `undefined` if each connection is authorized and waits for a response. */
  leastNeeded(): A | undefined {
    const [unauthorized] = this.unauthorized
    const [idle] = this.idle
    if (unauthorized === undefined || idle === undefined) return unauthorized ?? idle ?? this.slowest()
    const isOverShare = this.unauthorized.size >= share * this.most
    return isOverShare || unauthorized.since < now() - requestTime ? unauthorized : idle
  }

  // Of the busy ones: a client that has ended its side has probably left; else one that does not receive its response.
  private slowest(): A | undefined {
    const latest = now() - sendTime
    let found: A | undefined
    for (const holder of this.busy) {
      if (holder.httpSocket?.readableEnded) return holder
      const { responseReadySince = Number.POSITIVE_INFINITY } = holder
      if (responseReadySince < (found?.responseReadySince ?? latest)) found = holder
    }
    return found
  }
}
