/** Thenables: what `await` would wait for. */

/** Whether `await` would wait for it. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> => {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false
  try {
    return typeof (value as { readonly then?: unknown }).then === "function"
  } catch {
    return false
  }
}

/** Gives `value` back, unless it is a promise: then it throws, and the rejection of that promise is taken as handled. */
export const atOnce = <A>(value: A, what: string): A => {
  if (!isThenable(value)) return value
  Promise.resolve(value).catch(() => {})
  throw new TypeError(`${what} returned a promise, but its result is needed at once: use a function that is not async`)
}
