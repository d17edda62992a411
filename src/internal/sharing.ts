/** One run for all who ask for the same at the same time. */

/** Those who share a run. */
export class Sharers {
  private count = 0

  /** One more. */
  join(): void {
    this.count += 1
  }

  /** One of them needs what came of the run no more. Whether that was the last of them. */
  leave(): boolean {
    this.count -= 1
    return this.count === 0
  }
}

interface Run {
  readonly sharers: Sharers
  readonly result: Promise<unknown>
}

const running = new WeakMap<object, Map<string, Run>>()

/**
 * What `run` gives, or a run for the same `key` of the same `owner` that is not over yet; a failure reaches all who wait
 * for it. It begins with the next turn of the event loop, so that requests which have arrived together share it.
 */
export const shared = <A>(owner: object, key: string, run: (sharers: Sharers) => Promise<A>): Promise<A> => {
  const runs = running.get(owner) ?? new Map<string, Run>()
  running.set(owner, runs)
  const { sharers, result } = runs.get(key) ?? start(runs, key, run)
  sharers.join()
  return result as Promise<A>
}

const start = (runs: Map<string, Run>, key: string, run: (sharers: Sharers) => Promise<unknown>): Run => {
  const sharers = new Sharers()
  const result = new Promise((resolve) => setImmediate(resolve))
    .then(() => run(sharers))
    .finally(() => runs.delete(key))
  const started = { sharers, result }
  runs.set(key, started)
  return started
}
