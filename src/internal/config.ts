/** Options from configuration. */
import * as Config from "effect/Config"
import { ownOptions } from "./options.js"

/**
 * As `Config.unwrap` reads them, where options that are undefined are left out, those of options as well. Where none is
 * left there are still options: they may be too few, and nobody is to believe that there are none.
 */
export const unwrapped = <A>(options: Config.Config.Wrap<A>): Config.Config<A> =>
  Config.unwrap(defined(options) as Config.Config.Wrap<A>)

const defined = (given: unknown): unknown => {
  if (typeof given !== "object" || given === null || Config.isConfig(given)) return given
  const entries = Object.entries(ownOptions(given)).filter(([, value]) => value !== undefined)
  if (entries.length === 0) return Config.succeed({})
  return Object.fromEntries(entries.map(([name, value]) => [name, defined(value)]))
}
