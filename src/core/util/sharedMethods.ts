/**
 * Replaces a method of objects that the application uses. The replacement is put in their class, once, because the engine
 * runs all code more slowly that uses an object with methods of its own: for a fiber, that is each of its steps.
 *
 * The method of the class is replaced only if it is the one that was found there first. If other code has wrapped it
 * since, or has put another one in its place, each object gets its own, so that neither undoes the work of the other.
 */

type Method = (...args: never) => unknown

interface Replaced {
  readonly original: unknown
  readonly method: unknown
}

/** Returns a function that replaces the method, or the accessor, of an object. It returns whether that is replaced. */
export const replacing = <F extends Method>(
  key: string,
  kind: "value" | "get",
  by: (original: F) => F
): ((target: object) => boolean) => {
  const classes = new WeakMap<object, Replaced>()
  const methods = new WeakSet<object>()
  // Most objects are of the class that was seen last.
  let last: object | undefined
  let method: unknown

  const make = (original: F): F => {
    const made = by(original)
    methods.add(made)
    return made
  }

  const inClass = (prototype: object, defined: PropertyDescriptor): boolean => {
    const original: unknown = defined[kind]
    const known = classes.get(prototype)
    if (!Object.hasOwn(prototype, "constructor") || (known !== undefined && known.original !== original)) return false
    const replaced = known ?? { original, method: make(original as F) }
    classes.set(prototype, replaced)
    return Reflect.defineProperty(prototype, key, { ...defined, [kind]: replaced.method })
  }

  const replace = (target: object): boolean => {
    const owner = ownerOf(target, key)
    const defined = owner && Object.getOwnPropertyDescriptor(owner, key)
    const original: unknown = defined?.[kind]
    if (defined === undefined || typeof original !== "function") return false
    if (methods.has(original)) return true
    if (owner !== target && inClass(owner as object, defined)) return true
    return Reflect.defineProperty(target, key, { ...defined, [kind]: make(original as F), configurable: true })
  }

  const isKnown = (target: object): boolean => {
    if (kind === "value") return Reflect.get(target, key) === method
    if (Object.getPrototypeOf(target) !== last || Object.hasOwn(target, key)) return false
    return last !== undefined && Object.getOwnPropertyDescriptor(last, key)?.get === method
  }

  return (target) => {
    if (method !== undefined && isKnown(target)) return true
    const isReplaced = replace(target)
    const prototype = Object.getPrototypeOf(target)
    const known = classes.get(prototype)
    if (known !== undefined) {
      last = prototype
      method = known.method
    }
    return isReplaced
  }
}

const ownerOf = (target: object, key: string): object | undefined => {
  let owner: object | null = target
  while (owner !== null && !Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner)
  return owner ?? undefined
}
