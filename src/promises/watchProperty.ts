/**
 * For frameworks without an event: accessors store the value, return it unchanged, and report each assignment. All objects
 * share the functions of an accessor, because functions of its own would be created for each request.
 */
import { getOrInsert } from "../core/util/getOrInsert.js"

/** Receives the assignments of one object, and holds the values. */
export abstract class Watching {
  // A Map for each request would cost more.
  readonly values: Record<PropertyKey, unknown> = {}

  /** Whether accessors that all objects share can find this observer. Undefined before the first property is watched. */
  isFound: boolean | undefined = undefined

  abstract assigned(key: PropertyKey, to: unknown, before: unknown): void
}

// Not a symbol: a proxy of the object may hide symbols, and a copy of it may leave them out.
const watchingKey = "effect-prometheus/watching"

/** The property is a function, because a proxy of the object may wrap each object that it shows. */
interface Watched {
  readonly [watchingKey]?: () => Watching
}

export const watchingOf = (target: object): Watching | undefined => (target as Watched)[watchingKey]?.()

/** Accessors that are there already, of another observer, stay in use. If one cannot be defined, nothing is reported. */
export const watchProperty = (target: object, key: PropertyKey, watching: Watching): void => {
  const own = Object.getOwnPropertyDescriptor(target, key)
  watching.values[key] = Reflect.get(target, key)
  watching.isFound ??= isFirst(target, watching)
  const isShared = watching.isFound && own?.get === undefined
  Reflect.defineProperty(target, key, isShared ? sharedAccessor(key) : accessor(key, watching, own))
}

const isFirst = (target: object, watching: Watching): boolean => {
  if (watchingOf(target) !== undefined) return false
  Reflect.defineProperty(target, watchingKey, { value: () => watching, configurable: true, writable: true })
  return watchingOf(target) === watching
}

const shared = new Map<PropertyKey, PropertyDescriptor>()

const sharedAccessor = (key: PropertyKey): PropertyDescriptor => getOrInsert(shared, key, newShared)

// An accessor that is copied to an object without its observer is a plain property there.
const newShared = (key: PropertyKey): PropertyDescriptor & ThisType<object> => ({
  configurable: true,
  enumerable: true,
  get() {
    return watchingOf(this)?.values[key]
  },
  set(value: unknown) {
    const watching = watchingOf(this)
    if (watching !== undefined) assign(watching, key, value)
    else Reflect.defineProperty(this, key, { value, configurable: true, enumerable: true, writable: true })
  }
})

const assign = (watching: Watching, key: PropertyKey, value: unknown): void => {
  const before = watching.values[key]
  watching.values[key] = value
  watching.assigned(key, value, before)
}

// For an object that is watched by several observers.
const accessor = (key: PropertyKey, watching: Watching, own: PropertyDescriptor | undefined): PropertyDescriptor => ({
  configurable: true,
  enumerable: true,
  get(this: object) {
    return own?.get === undefined ? watching.values[key] : Reflect.apply(own.get, this, [])
  },
  set(this: object, value: unknown) {
    if (own?.set === undefined) assign(watching, key, value)
    else {
      const before: unknown = own.get === undefined ? undefined : Reflect.apply(own.get, this, [])
      watching.values[key] = value
      Reflect.apply(own.set, this, [value])
      watching.assigned(key, value, before)
    }
  }
})
