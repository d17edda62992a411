/** The filter `only`, which selects the errors that count as exceptions, for the Effect and the Promise side. */
import { atOnce } from "../util/thenable.js"

/**
 * A class of errors, tested with `instanceof`.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorClass = abstract new (...args: never) => unknown

/**
 * The errors that are counted: instances of a class or of one of several classes, errors with a `_tag`, or errors for
 * which a predicate returns true.
 *
 * @since 0.1.0
 * @category models
 */
export type OnlyErrors =
  | ErrorClass
  | ReadonlyArray<ErrorClass>
  | { readonly tag: string | ReadonlyArray<string> }
  | { readonly when: (error: unknown) => boolean }

/** The filter throws what the predicate throws. Throws a `RangeError` for a value of another type. */
export const matching = (only: OnlyErrors): ((error: unknown) => boolean) => {
  if (isClass(only)) return (error) => error instanceof only
  // A copy, in which a hole of the list is undefined.
  if (Array.isArray(only) && [...only].every(isClass)) return (error) => only.some((each) => error instanceof each)
  const { tag, when } = Object(only) as { readonly tag?: unknown; readonly when?: unknown }
  if (typeof when === "function") return (error) => atOnce(Reflect.apply(when, only, [error]), "only.when")
  const tags: ReadonlyArray<unknown> = [tag].flat()
  if (tags.every((each) => typeof each === "string")) {
    return (error) => tags.some((each) => each === (error as { readonly _tag?: unknown } | null | undefined)?._tag)
  }
  throw new RangeError("only must be an error class, an array of error classes, { tag } or { when }")
}

// A predicate that stands in the place of a class is usually an arrow function, which `instanceof` rejects.
const isClass = (given: unknown): given is ErrorClass => {
  try {
    if (typeof given !== "function") return false
    return (
      given[Symbol.hasInstance] !== Function.prototype[Symbol.hasInstance] || typeof ({} instanceof given) === "boolean"
    )
  } catch {
    return false
  }
}
