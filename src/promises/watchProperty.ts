/**
 * For frameworks without an event: accessors store the value, return it unchanged, and report each assignment. Accessors
 * that are there already, of another observer, stay in use.
 */
export const watchProperty = (
  target: object,
  key: PropertyKey,
  assigned: (value: unknown, before: unknown) => void
): void => {
  const own = Object.getOwnPropertyDescriptor(target, key)
  let current: unknown = Reflect.get(target, key)
  const get = (): unknown => (own?.get === undefined ? current : Reflect.apply(own.get, target, []))
  const set = (value: unknown): void => {
    const before = get()
    current = value
    if (own?.set !== undefined) Reflect.apply(own.set, target, [value])
    assigned(value, before)
  }
  // If it cannot be defined, nothing is reported.
  Reflect.defineProperty(target, key, { configurable: true, enumerable: true, get, set })
}
