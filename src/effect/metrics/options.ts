/** The options of Effect's metrics. */
import { flag, type Given, optional, readOptions, texts, valid, withDefault } from "../../core/util/options.js"
import type { Selection } from "./source.js"

const prefix = valid<string>(
  "string",
  "start with a letter and contain only letters, digits, _ and :",
  (given) => typeof given === "string" && /^(?:[a-zA-Z][a-zA-Z0-9_:]*)?$/.test(given)
)

const names = texts("no metric would be exposed")

const namesOrNone: typeof names = {
  ...names,
  check: (given, name) => (Array.isArray(given) && given.length === 0 ? [] : names.check(given, name))
}

export const effectOptions = {
  /** The prefix of each name: a letter, followed by letters, digits, `_` and `:`. Default: none. */
  prefix: withDefault(prefix, ""),
  /** The metrics to expose, by their names in Effect; `*` matches any characters. Default: all. */
  include: optional(names),
  /** The metrics of `include` that are not exposed, in the same syntax. Default: none. */
  exclude: withDefault(namesOrNone, []),
  /**
   * Whether Effect counts its fibers. The metrics (`effect_fiber_started`, `_active`, `_successes`, `_failures`,
   * `_lifetimes`) cost some time per fiber. The setting applies to the code to which this layer is *provided*, by
   * `Layer.provide`, `Effect.provide` or as the layer of a `ManagedRuntime`. A layer that it is merged with may not get the
   * setting, and fibers that already run do not. Default: as the runtime has it, which is on unless it was switched off.
   */
  fibers: optional(flag)
}

/** The options of Effect's metrics. */
export interface EffectOptions extends Given<typeof effectOptions> {}

export interface EffectSettings {
  readonly prefix: string
  readonly wanted: Selection
  readonly fibers: boolean | undefined
}

/** Throws a `RangeError` that names the option. */
export const readEffectOptions = (options: EffectOptions): EffectSettings => {
  const { exclude, fibers, include, prefix } = readOptions(effectOptions, options)
  const included = include && patternOf(include)
  const excluded = exclude.length === 0 ? undefined : patternOf(exclude)
  return { prefix, wanted: (name) => included?.test(name) !== false && excluded?.test(name) !== true, fibers }
}

const patternOf = (names: ReadonlyArray<string>): RegExp => {
  const patterns = names.map((name) => name.split("*").map(escaped).join("[^]*"))
  return new RegExp(`^(?:${patterns.join("|")})$`)
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")
