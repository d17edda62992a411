/** The command line arguments of the demo. */
import { parseArgs } from "node:util"
import { Data, Duration, Effect, Option } from "effect"

export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

const usage = `usage: npm run demo -- [--for "10 seconds"] [--consul]`

const refused = (message: string) => new UsageError({ message: `${message}\n${usage}` })

export const readArguments = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { values } = yield* Effect.try({
      try: () => parseArgs({ args: [...args], options: { for: { type: "string" }, consul: { type: "boolean" } } }),
      catch: (error) => refused((error as Error).message)
    })
    const duration = values.for === undefined ? undefined : yield* durationOf(values.for)
    return { duration, consul: values.consul === true }
  })

const durationOf = (text: string) =>
  Option.match(Duration.decodeUnknown(text), {
    onNone: () => refused(`--for takes a duration such as "10 seconds" or "2 minutes", not "${text}"`),
    onSome: (duration) => Effect.succeed(duration)
  })
