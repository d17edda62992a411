/** Options from configuration. */
import * as Config from "effect/Config"

/** As `Config.unwrap` reads them, where options that are undefined are left out, those of options as well. */
export const unwrapped = <A>(options: Config.Config.Wrap<A>): Config.Config<A> =>
  Config.unwrap(withoutUndefined(options))

const withoutUndefined = <T>(given: T): T => {
  if (typeof given !== "object" || given === null || Config.isConfig(given)) return given
  const defined = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(defined.map(([name, value]) => [name, withoutUndefined(value)])) as T
}
