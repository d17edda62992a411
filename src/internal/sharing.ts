/** One run for all who ask for the same at the same time. */

const running = new WeakMap<object, Map<string, Promise<unknown>>>()

/**
 * What `run` gives, or a run for the same `key` of the same `owner` that is not over yet; a failure reaches all who wait
 * for it. It begins with the next turn of the event loop, so that requests which have arrived together share it.
 */
export const shared = <A>(owner: object, key: string, run: () => Promise<A>): Promise<A> => {
  const runs = running.get(owner) ?? new Map<string, Promise<unknown>>()
  running.set(owner, runs)
  const other = runs.get(key)
  if (other !== undefined) return other as Promise<A>
  const result = new Promise((resolve) => setImmediate(resolve)).then(run).finally(() => runs.delete(key))
  runs.set(key, result)
  return result
}
