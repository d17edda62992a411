/** Who has a place at a server that has so many, and who loses it to somebody who comes. */
import { now } from "./timer.js"

/** What decides about a place. */
export interface Guest {
  /** Whether its last request was let in. */
  readonly isLetIn: boolean
  /** Since when it waits without being let in, in milliseconds of `now()`. */
  readonly since: number
  /** How many requests of it wait for their answers, or have not taken them. */
  readonly requests: number
  /** Since when there is an answer that it has not taken, in milliseconds of `now()`. */
  readonly untakenSince: number | undefined
  /** What its requests come on. */
  readonly speaking: { readonly readableEnded: boolean } | undefined
}

// So long, in milliseconds, an answer may be on its way to somebody who takes it.
const onItsWay = 1_000

// So long, in milliseconds, a request may be on its way from somebody who has just connected.
const shouldHaveAsked = 1_000

// A share of all places that is for those who have just connected: one that comes must not lose its place to the next one
// before its request can be read, however many connections that were let in are idle.
const share = 1 / 4

/**
 * The places, in three classes, each in the order in which they are given up: guests that were not let in, those that
 * have waited longest first; guests that were let in and are idle, those that were used the longest time ago first; and
 * guests that are let in and wait for an answer or take it.
 */
export class Places<A extends Guest> {
  private readonly strangers = new Set<A>()
  private readonly idle = new Set<A>()
  private readonly busy = new Set<A>()

  constructor(private readonly most: number) {}

  get isFull(): boolean {
    return this.strangers.size + this.idle.size + this.busy.size >= this.most
  }

  has(guest: A): boolean {
    return this.strangers.has(guest) || this.idle.has(guest) || this.busy.has(guest)
  }

  /** Puts one in the class that it is in now, at its end unless it has been in it. An idle one has just been used. */
  put(guest: A): void {
    const its = guest.isLetIn ? (guest.requests > 0 ? this.busy : this.idle) : this.strangers
    if (its.has(guest) && its !== this.idle) return
    this.free(guest)
    its.add(guest)
  }

  free(guest: A): void {
    this.strangers.delete(guest)
    this.idle.delete(guest)
    this.busy.delete(guest)
  }

  *all(): Iterable<A> {
    yield* this.strangers
    yield* this.idle
    yield* this.busy
  }

  /** Whose place is needed least; undefined where each guest is let in and waits for an answer. */
  leastNeeded(): A | undefined {
    const [stranger] = this.strangers
    const [idle] = this.idle
    if (stranger === undefined || idle === undefined) return stranger ?? idle ?? this.slowest()
    const isStrangersTurn = this.strangers.size >= share * this.most || stranger.since < now() - shouldHaveAsked
    return isStrangersTurn ? stranger : idle
  }

  // Of those that are served: one that has ended its side has probably left; or else one that does not take its answer.
  private slowest(): A | undefined {
    const latest = now() - onItsWay
    let found: A | undefined
    for (const guest of this.busy) {
      if (guest.speaking?.readableEnded) return guest
      const { untakenSince = Number.POSITIVE_INFINITY } = guest
      if (untakenSince < (found?.untakenSince ?? latest)) found = guest
    }
    return found
  }
}
