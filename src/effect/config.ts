/** Reads options from configuration. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import { type ConfigError, invalid, string, type Wrap } from "../compat/config.js"
import { isRecord, ownOptions } from "../core/util/options.js"

export type { ConfigError } from "../compat/config.js"

/**
 * Options that are read from configuration. Each is a `Config` of its value, or of an `Option` of it, as `Config.option`
 * returns. `None` counts as an option that is not given. A group of options is read option by option, or as a whole.
 *
 * @since 0.1.0
 * @category config
 */
export type FromConfig<A> =
  | Wrap<A>
  | Config.Config<Option.Option<NonNullable<A>>>
  | ([NonNullable<A>] extends [infer T]
      ? IsGroup<T> extends true
        ? { readonly [K in keyof T]: FromConfig<T[K]> }
        : never
      : never)

// The same condition as in `Config.Wrap`.
type IsGroup<A> =
  A extends ReadonlyArray<unknown>
    ? false
    : [keyof A] extends [never]
      ? false
      : [keyof A] extends [string]
        ? true
        : false

/**
 * As `Config.unwrap`, without options that are undefined or `None`, also in groups. The result may be an empty object,
 * but not `undefined`: the options were given, even if some are missing.
 */
export const unwrapped = <A>(options: FromConfig<A>): Config.Config<A> =>
  Config.map(Config.unwrap(defined(options) as Wrap<A>), (read) => withoutOption(read) as A)

// The limit ends the walk through an object that contains itself.
const deepest = 4

const defined = (given: unknown, path: ReadonlyArray<string> = []): unknown => {
  if (Config.isConfig(given)) return given
  if (!isRecord(given) || path.length > deepest) return failed(path)
  const entries = Object.entries(ownOptions(given)).filter(([, value]) => value !== undefined)
  if (entries.length === 0) return Config.succeed({})
  if (!isGroup(given)) return failed(path)
  return Object.fromEntries(entries.map(([name, value]) => [name, defined(value, [...path, name])]))
}

// An instance of a class (a secret, a duration, a URL) is not a group of options, unless it contains configs.
const isGroup = (given: object): boolean => {
  const kind = Object.getPrototypeOf(given)
  return kind === Object.prototype || kind === null || holdsConfig(given, deepest)
}

const holdsConfig = (given: object, levels: number): boolean =>
  Object.values(ownOptions(given)).some(
    (value) => Config.isConfig(value) || (levels > 0 && isRecord(value) && holdsConfig(value, levels - 1))
  )

// The message does not show the value, because it may be a secret.
const failed = (path: ReadonlyArray<string>): Config.Config<never> =>
  invalid(path, `${path.join(".") || "the options"} must be a Config; use Config.succeed for a constant`)

// An `Option` is also an `Effect`, and some options accept effects, so it is unwrapped here.
const withoutOption = (read: unknown): unknown => {
  if (Option.isOption(read)) return withoutOption(Option.getOrUndefined(read))
  if (typeof read !== "object" || read === null || Object.getPrototypeOf(read) !== Object.prototype) return read
  return Object.fromEntries(Object.entries(read).map(([name, value]) => [name, withoutOption(value)]))
}

/** Reads each, by its name. Those that are not set are left out. */
export const optionalStrings = <K extends string>(
  names: Readonly<Record<K, string>>
): Effect.Effect<Partial<Record<K, string>>, ConfigError> => {
  const configs: Record<string, Config.Config<Option.Option<string>>> = Record.map(names, (name: string) =>
    Config.option(string(name))
  )
  return Effect.map(Config.all(configs), (read) => Record.getSomes(read) as Partial<Record<K, string>>)
}
