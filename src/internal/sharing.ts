/** One run for all who ask for the same at the same time. */
import { nextTurn } from "./timer.js"

interface Run {
  /** How many wait for what comes of it, or use it. */
  sharers: number
  readonly result: Promise<unknown>
}

const running = new WeakMap<object, Map<string, Run>>()

// The next turn, once for all runs that begin with it. They begin together, so that what one of them waits for at once can
// serve the others as well.
let turn: Promise<void> | undefined

const sameTurn = (): Promise<void> => {
  turn ??= nextTurn().then(() => {
    turn = undefined
  })
  return turn
}

/**
 * What `run` gives, or a run for the same `key` of the same `owner` that is not over yet; a failure reaches all who wait
 * for it. It begins with the next turn of the event loop, so that requests which have arrived together share it.
 *
 * `run` is given what each of those who share it calls at most once, when it needs what came of it no more: that says
 * whether it was the last of them.
 */
export const shared = <A>(owner: object, key: string, run: (leave: () => boolean) => Promise<A>): Promise<A> => {
  const runs = running.get(owner) ?? new Map<string, Run>()
  running.set(owner, runs)
  const joined = runs.get(key) ?? started(runs, key, run)
  joined.sharers += 1
  return joined.result as Promise<A>
}

const started = (runs: Map<string, Run>, key: string, run: (leave: () => boolean) => Promise<unknown>): Run => {
  const leave = (): boolean => {
    made.sharers -= 1
    return made.sharers === 0
  }
  const result = sameTurn()
    .then(() => run(leave))
    .finally(() => runs.delete(key))
  const made = { sharers: 0, result }
  runs.set(key, made)
  return made
}
