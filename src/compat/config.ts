/** Configs of strings and of options, and their errors. */
import * as Config from "effect/Config"
import { InvalidData } from "effect/ConfigError"
import * as Either from "effect/Either"

export type { ConfigError } from "effect/ConfigError"

export type Wrap<A> = Config.Config.Wrap<A>

export const { string } = Config

export const invalid = (path: ReadonlyArray<string>, message: string): Config.Config<never> =>
  Config.mapOrFail(Config.succeed(undefined), () => Either.left(InvalidData([...path], message)))
