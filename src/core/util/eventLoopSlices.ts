/**
 * Long work in short pieces. All of it shares one budget per thread: however many renders run, one of them works at a time,
 * and together they give way to the event loop after every few milliseconds.
 */
import { nextTurn, now } from "./timer.js"

/** What this thread is doing about a piece of work: nothing but that, or whatever else there is. */
export type Progress = "busy" | "waiting"

// In milliseconds. Nothing else on the event loop waits for longer, but for what cannot be cut.
const longestPiece = 5

/** The time that long work may take in a turn of the event loop. */
class Budget {
  /** How long work took in this turn, in milliseconds. */
  private used = 0
  private isTaken = false
  private isTurning = false
  /** Whether the next turn may come without a turn for everything else: work that begins at once is in the middle of one. */
  private isEarly = false
  private readonly waiting: Array<() => void> = []

  /** Whether nothing is left, where `working` milliseconds are being used. */
  isUsedUp(working: number): boolean {
    return this.used + working >= longestPiece
  }

  /** Ends when it is the caller's turn, which is at once where nothing else works or waits and there is time. */
  take(): Promise<void> | undefined {
    if (!this.isTaken && this.waiting.length === 0 && !this.isUsedUp(0)) {
      this.isTaken = true
      this.isEarly = true
      return undefined
    }
    return new Promise((resolve) => void this.waiting.push(resolve))
  }

  /** The caller is done for now, after so many milliseconds. */
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
    })
  }
}

const budget = new Budget()

/** The pace of one piece of work. */
export class Pace {
  /** How often it has given way. */
  rests = 0
  private longestBefore = 0
  private since = 0
  private isWorking = false

  constructor(private readonly onProgress: (progress: Progress) => void = () => {}) {}

  /** The longest time without giving way, in milliseconds. */
  get longest(): number {
    return this.isWorking ? Math.max(this.longestBefore, now() - this.since) : this.longestBefore
  }

  /** Waits for a turn to work, if it has none. */
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

  /** Gives way to whatever else there is to do. */
  async rest(): Promise<void> {
    this.rests += 1
    this.stop()
    await this.start()
  }

  /** Does the work, up to its end or until it is time to rest. Whether it has ended. */
  ends(work: Generator<void>): boolean {
    while (!this.isOver()) if (work.next().done === true) return true
    return false
  }

  /** Does the work, and rests between some of its pieces. */
  async along<A>(work: Generator<void, A>): Promise<A> {
    for (;;) {
      if (this.isOver()) await this.rest()
      const step = work.next()
      if (step.done === true) return step.value
    }
  }

  /** The work is done, or nothing can be done about it for now. */
  stop(): void {
    if (!this.isWorking) return
    this.isWorking = false
    const worked = now() - this.since
    this.longestBefore = Math.max(this.longestBefore, worked)
    budget.give(worked)
    this.onProgress("waiting")
  }
}

/** Does one piece of work when it is its turn. */
export const paced = async <A>(work: () => A): Promise<A> => {
  const pace = new Pace()
  await pace.start()
  try {
    return work()
  } finally {
    pace.stop()
  }
}

// Who copies more bytes than this, to a socket for one, waits for a turn.
const large = 65_536

/** Does something with so many bytes, which takes its time where they are many. */
export const withBytes = <A>({ byteLength }: Uint8Array, work: () => A): A | Promise<A> =>
  byteLength > large ? paced(work) : work()

/**
 * Calls at once, but no more than so often in a turn of the event loop; the other calls follow in the next turns, in
 * their order. Whatever comes at the same time, what else the loop has to do gets its turn. A call that is over by then
 * is left out.
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
