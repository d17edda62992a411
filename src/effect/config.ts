/** Options from configuration. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { isRecord, ownOptions } from "./options.js"

/**
 * Options that are read from configuration: each is a `Config` of its value, or of an `Option` of it, such as
 * `Config.option` gives, where none counts as an option that is not given. Groups of options are read one by one, or as
 * a whole.
 *
 * @since 0.1.0
 * @category config
 */
export type FromConfig<A> =
  | Config.Config.Wrap<A>
  | Config.Config<Option.Option<NonNullable<A>>>
  | ([NonNullable<A>] extends [infer T]
      ? IsGroup<T> extends true
        ? { readonly [K in keyof T]: FromConfig<T[K]> }
        : never
      : never)

// As in `Config.Wrap`.
type IsGroup<A> =
  A extends ReadonlyArray<unknown>
    ? false
    : [keyof A] extends [never]
      ? false
      : [keyof A] extends [string]
        ? true
        : false

/**
 * As `Config.unwrap` reads them, where options that are undefined or none are left out, those of options as well. Where
 * none is left the result is an empty object, not `undefined`: the options may be too few, but they were given.
 */
export const unwrapped = <A>(options: FromConfig<A>): Config.Config<A> =>
  Config.map(Config.unwrap(defined(options) as Config.Config.Wrap<A>), (read) => withoutOption(read) as A)

// No option is in more groups; an object that holds itself would have no end.
const deepest = 4

const defined = (given: unknown, path: ReadonlyArray<string> = []): unknown => {
  if (Config.isConfig(given)) return given
  if (!isRecord(given) || path.length > deepest) return failed(path)
  const entries = Object.entries(ownOptions(given)).filter(([, value]) => value !== undefined)
  if (entries.length === 0) return Config.succeed({})
  if (!isGroup(given)) return failed(path)
  return Object.fromEntries(entries.map(([name, value]) => [name, defined(value, [...path, name])]))
}

// A value with properties of its own kind (a secret, a duration, a URL) is no group of options, unless it holds some.
const isGroup = (given: object): boolean => {
  const kind = Object.getPrototypeOf(given)
  return kind === Object.prototype || kind === null || holdsConfig(given, deepest)
}

const holdsConfig = (given: object, levels: number): boolean =>
  Object.values(ownOptions(given)).some(
    (value) => Config.isConfig(value) || (levels > 0 && isRecord(value) && holdsConfig(value, levels - 1))
  )

// What it is instead may be a secret.
const failed = (path: ReadonlyArray<string>): Config.Config<never> => {
  const message = `${path.join(".") || "the options"} must be a Config: Config.succeed gives one of a value that is known`
  return Config.mapOrFail(Config.succeed(undefined), () => Either.left(ConfigError.InvalidData([...path], message)))
}

// An `Option` is also an `Effect`, which some options may be: it must not get that far.
const withoutOption = (read: unknown): unknown => {
  if (Option.isOption(read)) return withoutOption(Option.getOrUndefined(read))
  if (typeof read !== "object" || read === null || Object.getPrototypeOf(read) !== Object.prototype) return read
  return Object.fromEntries(Object.entries(read).map(([name, value]) => [name, withoutOption(value)]))
}
