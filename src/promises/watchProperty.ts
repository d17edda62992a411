/** For frameworks without an event: accessors store the value, return it unchanged, and report each assignment. */
export const watchProperty = (
  target: object,
  key: PropertyKey,
  assigned: (value: unknown, before: unknown) => void
): void => {
  let current: unknown = Reflect.get(target, key)
  const set = (value: unknown): void => {
    const before = current
    current = value
    assigned(value, before)
  }
  // If it cannot be defined, nothing is reported.
  Reflect.defineProperty(target, key, { configurable: true, enumerable: true, get: () => current, set })
}
