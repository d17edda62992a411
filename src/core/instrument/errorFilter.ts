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

/** Throws what the predicate throws. */
export const matching = (only: OnlyErrors): ((error: unknown) => boolean) => {
  if (typeof only === "function") return (error) => error instanceof only
  if (typeof only !== "object" || only === null) throw notOnly()
  if ("when" in only) return (error) => atOnce(only.when(error), "only.when")
  if ("tag" in only) {
    const tags = new Set(typeof only.tag === "string" ? [only.tag] : only.tag)
    return (error) => {
      const tag = (error as { readonly _tag?: unknown } | null | undefined)?._tag
      return typeof tag === "string" && tags.has(tag)
    }
  }
  if (!Array.isArray(only) || !only.every((errorClass) => typeof errorClass === "function")) throw notOnly()
  return (error) => only.some((errorClass) => error instanceof errorClass)
}

const notOnly = () => new RangeError("only must be an error class, an array of error classes, { tag } or { when }")
