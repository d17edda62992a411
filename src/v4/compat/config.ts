/** Configs of strings and of options, and their errors. */
import * as Config from "effect/Config"
import { SourceError } from "effect/ConfigProvider"

export type { ConfigError, Wrap } from "effect/Config"

export const string: (name: string) => Config.Config<string> = Config.String

export const invalid = (_: ReadonlyArray<string>, message: string): Config.Config<never> =>
  Config.fail(new SourceError({ message }))
