/** The options for Effect's metrics. */
import type { Wanted } from "./effectSource.js"
import { booleanOption, knownOptions, listOption, shown } from "./options.js"

/**
 * Which of Effect's metrics are exposed, and how.
 *
 * @since 0.1.0
 * @category models
 */
export interface EffectOptions {
  /** What each name begins with. It begins with a letter, and has letters, digits, `_` and `:`. Default: nothing. */
  readonly prefix?: string | undefined
  /** The metrics to expose, by the names that Effect knows; `*` stands for any characters. Default: all. */
  readonly include?: ReadonlyArray<string> | undefined
  /** Those among them not to expose, in the same way. Default: none. */
  readonly exclude?: ReadonlyArray<string> | undefined
  /**
   * Whether Effect counts its fibers (`effect_fiber_started`, `_active`, `_successes`, `_failures`, `_lifetimes`), which
   * takes some time for each of them. It is switched on or off for what the layer is *provided* to, by `Layer.provide`,
   * `Effect.provide` or as that of a `ManagedRuntime`; whether a layer that it is merged with notices is not certain, and
   * fibers that run already do not. Default: as the runtime has it, and unless it was switched off that is on.
   */
  readonly fibers?: boolean | undefined
}

/** The options, checked. */
export interface EffectSettings {
  readonly prefix: string
  readonly wanted: Wanted
  readonly fibers: boolean | undefined
}

// Everything that is known of an option: another key is none.
const known = { prefix: true, include: true, exclude: true, fibers: true } as const satisfies Record<
  keyof EffectOptions,
  true
>

/** Checks the options. It throws a `RangeError` that names the one which is none. */
export const checkedEffectOptions = (options: EffectOptions): EffectSettings => {
  knownOptions("options", options, known)
  const { exclude = [], fibers, include, prefix = "" } = options
  if (typeof prefix !== "string" || !/^(?:[a-zA-Z][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw new RangeError(
      `prefix must begin with a letter and go on with letters, digits, _ and :, not ${shown(prefix)}`
    )
  }
  const included = include === undefined ? undefined : patternOf("include", include)
  const excluded = Array.isArray(exclude) && exclude.length === 0 ? undefined : patternOf("exclude", exclude)
  return {
    prefix,
    wanted: (name) => included?.test(name) !== false && excluded?.test(name) !== true,
    fibers: fibers === undefined ? undefined : booleanOption("fibers", fibers, true)
  }
}

const patternOf = (option: string, given: unknown): RegExp => {
  const names = listOption(option, given, "no metric would be exposed")
  const patterns = names.map((name) => name.split("*").map(escaped).join("[^]*"))
  return new RegExp(`^(?:${patterns.join("|")})$`)
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")
