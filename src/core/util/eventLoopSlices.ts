/** Divides long work. All work of a thread shares one budget: one piece at a time, a few milliseconds per turn. */

import { oncePerProcess } from "./oncePerProcess.js"
import { nextTurn, now } from "./realTimers.js"

/** The state of a piece of work in this thread: `busy` while it runs, `waiting` while other work may run. */
export type Progress = "busy" | "waiting"

// In milliseconds. No other work on the event loop waits longer, except for work that cannot be divided.
const longestPiece = 5

/** The time that long work may take in a turn of the event loop. */
class Budget {
  /** How long work took in this turn, in milliseconds. */
  private used = 0
  private isTaken = false
  private isTurning = false
  /** The next `nextTurn` may resolve before other work had its turn, because work has started in the middle of one. */
  private isEarly = false
  private readonly waiting: Array<() => void> = []

  /** Whether the budget is used up, if the current work has taken `working` milliseconds. */
  isUsedUp(working: number): boolean {
    return this.used + working >= longestPiece
  }

  /** `undefined` if the caller may work immediately: no other work runs or waits, and the budget is not used up. */
  take(): Promise<void> | undefined {
    if (!this.isTaken && this.waiting.length === 0 && !this.isUsedUp(0)) {
      this.isTaken = true
      this.isEarly = true
      return undefined
    }
    return new Promise((resolve) => void this.waiting.push(resolve))
  }

  /** Ends the caller's work for now, after this number of milliseconds. */
  give(milliseconds: number): void {
    this.used += milliseconds
    this.isTaken = false
    this.next()
    this.turn()
  }

  private next(): void {
    if (this.isTaken || this.isUsedUp(0)) return
    const resolve = this.waiting.shift()
    if (resolve === undefined) return
    this.isTaken = true
    this.isEarly = true
    resolve()
  }

  private turn(): void {
    if (this.isTurning) return
    this.isTurning = true
    void nextTurn().then(() => {
      this.isTurning = false
      if (this.isEarly) {
        this.isEarly = false
        return this.turn()
      }
      this.used = 0
      this.next()
      // Work that starts here starts with the turn.
      this.isEarly = false
    })
  }
}

const budget = oncePerProcess("budget of the event loop", () => new Budget())

export class Pace {
  rests = 0
  private longestBefore = 0
  private since = 0
  private isWorking = false

  constructor(private readonly onProgress: (progress: Progress) => void = () => {}) {}

  /** The longest time without a yield, in milliseconds. */
  get longest(): number {
    return this.isWorking ? Math.max(this.longestBefore, now() - this.since) : this.longestBefore
  }

  /** Does nothing if this work is running. */
  async start(): Promise<void> {
    if (this.isWorking) return
    await budget.take()
    this.isWorking = true
    this.since = now()
    this.onProgress("busy")
  }

  /** Whether it is time to rest. */
  isOver(): boolean {
    return !this.isWorking || budget.isUsedUp(now() - this.since)
  }

  async rest(): Promise<void> {
    this.rests += 1
    this.stop()
    await this.start()
  }

  /** Does the work until it ends or it is time to rest. Returns whether it has ended. */
  ends(work: Generator<void>): boolean {
    while (!this.isOver()) if (work.next().done === true) return true
    return false
  }

  /** Does the work to its end, and rests between its pieces where necessary. */
  async along<A>(work: Generator<void, A>): Promise<A> {
    for (;;) {
      if (this.isOver()) await this.rest()
      const step = work.next()
      if (step.done === true) return step.value
    }
  }

  /** Stops the work: it has ended, or it waits for something. */
  stop(): void {
    if (!this.isWorking) return
    this.isWorking = false
    const worked = now() - this.since
    this.longestBefore = Math.max(this.longestBefore, worked)
    budget.give(worked)
    this.onProgress("waiting")
  }
}

export const paced = async <A>(work: () => A): Promise<A> => {
  const pace = new Pace()
  await pace.start()
  try {
    return work()
  } finally {
    pace.stop()
  }
}

// A caller that copies more bytes than this, for example to a socket, waits for the budget.
const large = 65_536

/** Does work on these bytes. For many bytes, it waits for the budget. */
export const withBytes = <A>({ byteLength }: Uint8Array, work: () => A): A | Promise<A> =>
  byteLength > large ? paced(work) : work()

/**
 * Calls at once, but at most `most` times in a turn of the event loop, so that other work gets its turn. Further calls
 * follow in the next turns, in their order, without those for which `isOver` returns true by then.
 */
export const inTurns = <A extends ReadonlyArray<unknown>>(
  most: number,
  call: (...given: A) => void,
  isOver: (...given: A) => boolean
): ((...given: A) => void) => {
  const waiting: Array<A> = []
  let calls = 0
  const made = (given: A): void => {
    if (calls === 0) void nextTurn().then(next)
    calls += 1
    call(...given)
  }
  const next = (): void => {
    calls = 0
    while (calls < most) {
      const given = waiting.shift()
      if (given === undefined) return
      if (!isOver(...given)) made(given)
    }
  }
  return (...given) => {
    if (isOver(...given)) return
    if (calls < most && waiting.length === 0) made(given)
    else waiting.push(given)
  }
}
