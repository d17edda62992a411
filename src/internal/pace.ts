/** Long work in short pieces: it gives way to the event loop between them, and tells when it does. */
import { nextTurn, now } from "./timer.js"

/** What this thread is doing about a piece of work: nothing but that, or whatever else there is. */
export type Progress = "busy" | "waiting"

// In milliseconds. Nothing else on the event loop waits for longer, but for what cannot be cut.
const longestPiece = 5

/** The pace of one piece of work, which begins at once. */
export class Pace {
  /** The longest time without giving way, in milliseconds. */
  longest = 0
  private since = 0

  constructor(private readonly onProgress: (progress: Progress) => void) {
    this.goOn()
  }

  /** Does the work, and lets the event loop do what else it has to do between some of its pieces. */
  async along<A>(work: Generator<void, A>): Promise<A> {
    for (let step = work.next(); ; step = work.next()) {
      if (step.done === true) return step.value
      if (now() - this.since < longestPiece) continue
      this.stop()
      await nextTurn()
      this.goOn()
    }
  }

  /** Waits. The event loop goes on meanwhile, unless what it waits for is there already. */
  async waitFor<A>(promise: Promise<A>): Promise<A> {
    let isHere = false
    let goesOn = false
    void nextTurn().then(() => {
      if (isHere) return
      goesOn = true
      this.stop()
    })
    try {
      return await promise
    } finally {
      isHere = true
      if (goesOn) this.goOn()
    }
  }

  /** The work is done, or nothing can be done about it for now. */
  stop(): void {
    this.longest = Math.max(this.longest, now() - this.since)
    this.onProgress("waiting")
  }

  private goOn(): void {
    this.since = now()
    this.onProgress("busy")
  }
}

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
