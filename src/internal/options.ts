/** Options, as they were given, as numbers; one that is none is named. */
import { timerMillis } from "./duration.js"
import { visible } from "./visible.js"

/** So many milliseconds. */
export const durationOption = (name: string, given: unknown, fallback: string): number => {
  const milliseconds = timerMillis(given ?? fallback)
  if (milliseconds !== undefined && milliseconds > 0) return milliseconds
  throw new RangeError(`${name} must be a duration such as "5 seconds", not ${shown(given)}`)
}

/** A whole number of at least 1, or `Infinity`. */
export const countOption = (name: string, given: unknown, fallback: number): number => {
  const count = given ?? fallback
  if (count === Number.POSITIVE_INFINITY || (Number.isSafeInteger(count) && Number(count) >= 1)) return Number(count)
  throw new RangeError(`${name} must be a whole number of at least 1, not ${shown(given)}`)
}

/** Whether a setting is there, but says nothing. */
export const isBlank = (text: string): boolean => text.trim() === ""

/** One of those. */
export const choiceOption = <A extends string>(
  name: string,
  given: unknown,
  choices: ReadonlyArray<A>,
  fallback: A
): A => {
  const chosen = choices.find((choice) => choice === (given ?? fallback))
  if (chosen !== undefined) return chosen
  throw new RangeError(`${name} must be ${choices.map(shown).join(" or ")}, not ${shown(given)}`)
}

/** Yes or no. */
export const booleanOption = (name: string, given: unknown, fallback: boolean): boolean => {
  const chosen = given ?? fallback
  if (typeof chosen === "boolean") return chosen
  throw new RangeError(`${name} must be true or false, not ${shown(given)}`)
}

/** A list of texts that is not empty, nor any of them. */
export const listOption = (name: string, given: unknown, ifEmpty: string): ReadonlyArray<string> => {
  if (!Array.isArray(given) || !given.every((item) => typeof item === "string" && item !== "")) {
    throw new RangeError(`${name} must be a list of texts`)
  }
  if (given.length === 0) throw new RangeError(`${name} must not be empty: ${ifEmpty}`)
  return given
}

/**
 * The options as an object's own, those among them that an instance of a class has by inheritance: to take some of them
 * apart with `...` would lose these. Its methods are no options. What is no object with options stays as it is, to be
 * refused where it is looked at.
 */
export const ownOptions = <A>(given: A): A => {
  if (!isRecord(given)) return given
  const own: Record<string, unknown> = {}
  for (const name of namesOf(given)) own[name] = given[name]
  return own as A
}

/** The same without some of them. */
export const without = <A extends object, K extends string & keyof A>(
  given: A,
  ...names: ReadonlyArray<K>
): Omit<A, K> => {
  const own = ownOptions(given)
  if (isRecord(own)) for (const name of names) delete own[name]
  return own
}

/** Whether it is an object that may have options. */
export const isRecord = (given: unknown): given is Record<string, unknown> =>
  typeof given === "object" && given !== null && !Array.isArray(given)

// What is its own; and of its classes, what can be enumerated or has a getter. What every object has is at the root.
const namesOf = (given: object): Iterable<string> => {
  const names = new Set(Object.keys(given))
  for (let at = above(given); at !== null && above(at) !== null; at = above(at)) {
    for (const [name, { enumerable, get }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (enumerable === true || get !== undefined) names.add(name)
    }
  }
  return names
}

const above = (given: object): object | null => Object.getPrototypeOf(given)

/** Nothing but those options. An unknown one would leave off what was meant, and nobody would notice. */
export const knownOptions = (what: string, given: unknown, known: Readonly<Record<string, true>>): void => {
  if (!isRecord(given)) {
    const kind = Array.isArray(given) ? "a list" : given === null ? "null" : typeof given
    throw new RangeError(`${what} must be an object with options, not ${kind}`)
  }
  const prefix = what === "options" ? "" : `${what}.`
  for (const key of namesOf(given)) {
    if (given[key] === undefined || Object.hasOwn(known, key)) continue
    // What is no name at all may be a value that got into its place.
    if (!/^[A-Za-z][A-Za-z_-]{0,39}$/.test(key)) {
      throw new RangeError(`${what} has an unknown option, whose name (${key.length} characters) may be a value`)
    }
    const meant = Object.keys(known).find((name) => isNear(key.toLowerCase(), name.toLowerCase()))
    const hint = meant === undefined ? "" : `; is ${prefix}${meant} meant?`
    throw new RangeError(`there is no option ${prefix}${key}${hint}`)
  }
}

// At most a letter in four is other, missing or too much, or has changed places with the next one.
const isNear = (a: string, b: string): boolean => {
  const most = Math.max(a.length, b.length) / 4
  return Math.abs(a.length - b.length) <= most && distance(a, b) <= most
}

const distance = (a: string, b: string): number => {
  let earlier: ReadonlyArray<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j += 1) {
      const replaced = (row[j] ?? 0) + (letter === b[j] ? 0 : 1)
      const isSwapped = i > 0 && j > 0 && letter === b[j - 1] && a[i - 1] === b[j]
      const swapped = isSwapped ? (earlier[j - 1] ?? 0) + 1 : replaced
      next.push(Math.min(replaced, swapped, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    earlier = row
    row = next
  }
  return row[b.length] ?? 0
}

/** What was given, for a message: in one line, and cut where it is long. */
export const shown = (given: unknown): string => {
  if (typeof given === "string") return quoted(given)
  try {
    return visible(String(given))
  } catch {
    // An object without a prototype has no text, and a method of its own can throw anything.
    return "an object"
  }
}

const longestShown = 200

const quoted = (text: string): string => {
  const cut = visible(JSON.stringify(text.slice(0, longestShown)), Number.POSITIVE_INFINITY)
  return text.length > longestShown ? `${cut}… (${text.length} characters)` : cut
}
