/** Whether `await` would wait for the value. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> => {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false
  try {
    return typeof (value as { readonly then?: unknown }).then === "function"
  } catch {
    return false
  }
}

/** Throws for a promise, and marks the rejection of that promise as handled. */
export const atOnce = <A>(value: A, what: string): A => {
  if (!isThenable(value)) return value
  Promise.resolve(value).catch(() => {})
  throw new TypeError(`${what} returned a promise; it must be synchronous`)
}
