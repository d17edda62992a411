/**
 * Options, each declared once. A declaration provides the type of the options (`Given`), the type of their checked
 * values (`Read`), and the defaults in `docs/options.md`. An invalid option throws a `RangeError` that names it.
 */
import { type DurationInput, timerMillis } from "./duration.js"
import { shown } from "./text.js"

/** The check of an option. `name` is the name of the option, with its group: `tls.minVersion`. */
export interface Kind<In, Out> {
  readonly check: (given: unknown, name: string) => Out
  /** The unit in the documentation: `flag`, `duration`, `bytes`. */
  readonly unit?: string | undefined
  /** The input type. The property does not exist at run time. */
  readonly input?: In
}

export interface Declared<In, Out> extends Kind<In, Out> {
  readonly need: "required" | "optional"
  readonly fallback?: unknown
}

export type OptionSet = Readonly<Record<string, Declared<unknown, unknown>>>

/** Holds for a set of options, also for an interface. */
export type OptionsOf<S> = { readonly [K in keyof S]: Declared<unknown, unknown> }

/** Each option keeps the documentation of its declaration. A secret is a text, or a text in a `Wrapper`. */
export type Given<S, Wrapper = never> = {
  readonly [K in keyof S as S[K] extends { readonly need: "required" } ? K : never]: InputOf<S[K], Wrapper>
} & {
  readonly [K in keyof S as S[K] extends { readonly need: "required" } ? never : K]?: InputOf<S[K], Wrapper> | undefined
}

export type Read<S> = { readonly [K in keyof S]: S[K] extends Kind<unknown, infer Out> ? Out : never }

type InputOf<O, Wrapper> = O extends { readonly input?: infer In }
  ? WithWrapper<Exclude<In, undefined>, Wrapper>
  : never

/** The type of a secret in a declaration. */
export interface Secret {
  readonly [secret]: never
}

declare const secret: unique symbol

/** The type of a group of options in a declaration. */
export interface Group<S> {
  readonly [optionsOf]: S
}

declare const optionsOf: unique symbol

type WithWrapper<In, Wrapper> = In extends Secret
  ? string | Wrapper
  : In extends Group<infer S>
    ? Given<S, Wrapper>
    : In extends ReadonlyArray<Secret>
      ? ReadonlyArray<string | Wrapper>
      : In extends Readonly<Record<string, Secret>>
        ? Readonly<Record<string, string | Wrapper>>
        : In

export const required = <In, Out>(kind: Kind<In, Out>): Declared<In, Out> & { readonly need: "required" } => ({
  ...kind,
  need: "required"
})

export const optional = <In, Out>({
  check,
  unit
}: Kind<In, Out>): Declared<In, Out | undefined> & { readonly need: "optional" } => ({
  unit,
  need: "optional",
  check: (given, name) => (given === undefined ? undefined : check(given, name))
})

export const withDefault = <In, Out>(
  { check, unit }: Kind<In, Out>,
  fallback: In
): Declared<In, Out> & { readonly need: "optional" } => ({
  unit,
  need: "optional",
  fallback,
  check: (given, name) => check(given === undefined ? fallback : given, name)
})

export const kind = <In, Out>(check: (given: unknown, name: string) => Out, unit?: string): Kind<In, Out> => ({
  check,
  unit
})

/** A kind whose values are not converted. `expected` is the requirement in the error, after `must`. */
export const valid = <A>(unit: string, expected: string, isValid: (given: unknown) => boolean): Kind<A, A> =>
  kind((given, name) => {
    if (isValid(given)) return given as A
    throw new RangeError(`${name} must ${expected}, not ${shown(given)}`)
  }, unit)

export const flag = valid<boolean>("boolean", "be true or false", (given) => typeof given === "boolean")

export const text = valid<string>("string", "be a string", (given) => typeof given === "string")

const isWhole = (given: unknown, least: number): boolean => Number.isSafeInteger(given) && Number(given) >= least

/** A whole number of at least 1, or `Infinity`. */
export const count = valid<number>(
  "number",
  "be a whole number of at least 1",
  (given) => given === Number.POSITIVE_INFINITY || isWhole(given, 1)
)

export const port = (least: 0 | 1): Kind<number, number> =>
  valid(
    "number",
    `be a whole number from ${least} to 65535`,
    (given) => isWhole(given, least) && Number(given) <= 65_535
  )

/** A hole in the list is an item that is undefined. */
export const isListOf = (given: unknown, isItem: (item: unknown) => boolean): given is Array<unknown> =>
  Array.isArray(given) && [...given].every((item) => isItem(item))

/** Upper bounds of buckets. `of` is their unit in the error. */
export const bounds = (of: string): Kind<ReadonlyArray<number>, ReadonlyArray<number>> => {
  const given = valid<ReadonlyArray<number>>(of, `be an array of ${of} above 0 in increasing order`, (given) => {
    let last = 0
    const isAbove = (bound: unknown): boolean => {
      const before = last
      last = Number(bound)
      return Number.isFinite(bound) && last > before
    }
    return isListOf(given, isAbove) && given.length > 0
  })
  return refined(given, (bounds) => [...bounds])
}

/** A time in milliseconds, at most some 24 days. */
export const time = kind<DurationInput, number>((given, name) => {
  const milliseconds = timerMillis(given)
  if (milliseconds !== undefined) return milliseconds
  throw new RangeError(`${name} must be a duration such as "5 seconds", not ${shown(given)}`)
}, "duration")

/** A time in milliseconds, longer than 0 and at most some 24 days. */
export const duration = kind<DurationInput, number>((given, name) => {
  const milliseconds = time.check(given, name)
  if (milliseconds > 0) return milliseconds
  throw new RangeError(`${name} must be a duration above 0, such as "5 seconds", not ${shown(given)}`)
}, "duration")

/** Undefined for `false`, which means never. */
export const durationOrFalse = kind<DurationInput | false, number | undefined>(
  (given, name) => (given === false ? undefined : duration.check(given, name)),
  "duration"
)

export const choice = <const A extends string>(...choices: ReadonlyArray<A>): Kind<A, A> =>
  valid("string", `be ${choices.map((each) => JSON.stringify(each)).join(" or ")}`, (given) =>
    choices.includes(given as A)
  )

/** A list of texts, at least one, none of them empty. `ifEmpty` says in the error what an empty list would mean. */
export const texts = (ifEmpty: string) =>
  kind<ReadonlyArray<string>, ReadonlyArray<string>>((given, name) => {
    if (!isListOf(given, (item) => typeof item === "string" && item !== "")) {
      throw new RangeError(`${name} must be an array of non-empty strings`)
    }
    if (given.length === 0) throw new RangeError(`${name} must not be empty: ${ifEmpty}`)
    return given as ReadonlyArray<string>
  }, "strings")

/** A kind whose value is checked or converted further. */
export const refined = <In, Value, Out>(
  { check, unit }: Kind<In, Value>,
  refine: (value: Value, name: string) => Out
): Kind<In, Out> => ({ unit, check: (given, name) => refine(check(given, name), name) })

export const group = <S extends OptionsOf<S>>(set: S): Kind<Group<S>, Read<S>> => ({
  unit: "options",
  check: (given, name) => readOptions(set, given, name)
})

/** Throws a `RangeError` for an invalid or unknown option: a misspelt one would otherwise be ignored. */
export const readOptions = <S extends OptionsOf<S>>(set: S, given: unknown, name = "options"): Read<S> => {
  checkNames(set, given, name)
  const prefix = name === "options" ? "" : `${name}.`
  const read: Record<string, unknown> = {}
  for (const [key, { check }] of Object.entries<Declared<unknown, unknown>>(set))
    read[key] = check(given[key], `${prefix}${key}`)
  return read as Read<S>
}

/** Throws a `RangeError` for unknown options, and for a value that is not an object. Only names of the set count. */
export function checkNames(
  set: object,
  given: unknown,
  name = "options"
): asserts given is Readonly<Record<string, unknown>> {
  if (!isRecord(given)) {
    const found = Array.isArray(given) ? "a list" : given === null ? "null" : typeof given
    throw new RangeError(`${name} must be an object with options, not ${found}`)
  }
  for (const key of namesOf(given)) {
    if (given[key] === undefined || Object.hasOwn(set, key)) continue
    // A key that does not look like an option name may be a value in the wrong place.
    if (!/^[A-Za-z][A-Za-z_-]{0,39}$/.test(key)) {
      throw new RangeError(
        `${name} has an unknown option; its name (${key.length} characters) is not shown, because it may be a secret`
      )
    }
    const whole = name === "options" ? key : `${name}.${key}`
    throw new RangeError(`unknown option ${whole}${hint(key, Object.keys(set))}`)
  }
}

/** The end of an error about an unknown name: the known name that it may stand for, and all of them. */
export const hint = (name: string, known: ReadonlyArray<string>, what = "options"): string => {
  const [nearest] = known
    .map((other) => ({ other, distance: differingLetters(name, other) }))
    .filter(({ distance, other }) => distance <= Math.min(2, other.length / 2))
    .sort((one, other) => one.distance - other.distance)
  return `${nearest === undefined ? "" : ` (did you mean ${nearest.other}?)`}; the ${what} are ${known.join(", ")}`
}

// How many letters only one of them has, in any order and case: 0 for transposed letters, 1 for a missing one, 2 for a
// wrong one.
const differingLetters = (one: string, other: string): number => {
  const rest = [...other.toLowerCase()]
  const surplus = [...one.toLowerCase()].filter((letter) => {
    const at = rest.indexOf(letter)
    if (at >= 0) rest.splice(at, 1)
    return at < 0
  })
  return surplus.length + rest.length
}

export const isRecord = (given: unknown): given is Record<string, unknown> =>
  typeof given === "object" && given !== null && !Array.isArray(given)

export const isBlank = (text: string): boolean => text.trim() === ""

/**
 * Copies inherited options as well: spreading an instance of a class with `...` would lose them. Methods of the class
 * are not options. A value that is not an object is returned as it is; a later check rejects it.
 */
export const ownOptions = <A>(given: A): A => {
  if (!isRecord(given)) return given
  const own: Record<string, unknown> = {}
  for (const name of namesOf(given)) own[name] = given[name]
  return own as A
}

export const without = <A extends object, K extends string & keyof A>(
  given: A,
  ...names: ReadonlyArray<K>
): Omit<A, K> => {
  const own = ownOptions(given)
  if (isRecord(own)) for (const name of names) delete own[name]
  return own
}

// Own keys, and inherited ones that are enumerable or have a getter, but not those that every object has.
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
