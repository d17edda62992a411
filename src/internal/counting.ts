/** Which exits are counted as exceptions, of effects and of streams. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Exit from "effect/Exit"
import type { OnlyErrors } from "./only.js"
import { matching } from "./only.js"

/**
 * Which unsuccessful exits are counted.
 *
 * An error class, a list of them, a `_tag` or a predicate looks at each failure and each defect of the cause. `exit`
 * looks at the cause as a whole: `"failure"` and `"defect"` if it holds at least one, `"interrupt"` if it holds an
 * interruption, `"any"` whatever it holds.
 *
 * @since 0.1.0
 * @category models
 */
export type Only = OnlyErrors | { readonly exit: "failure" | "defect" | "interrupt" | "any" }

/** Whether an exit is one of those. What a predicate throws comes out of it. */
export const counting = (only: Only | undefined): ((exit: Exit.Exit<unknown, unknown>) => boolean) => {
  const counts = countingCauses(only)
  return (exit) => Exit.isFailure(exit) && counts(exit.cause)
}

const countingCauses = (only: Only | undefined): ((cause: Cause.Cause<unknown>) => boolean) => {
  if (only === undefined) return (cause) => !Cause.isInterruptedOnly(cause)
  if (typeof only === "object" && "exit" in only) {
    switch (only.exit) {
      case "failure":
        return Cause.isFailure
      case "defect":
        return Cause.isDie
      case "interrupt":
        return Cause.isInterrupted
      case "any":
        return () => true
    }
  }
  const matches = matching(only)
  return (cause) => Chunk.some(Cause.failures(cause), matches) || Chunk.some(Cause.defects(cause), matches)
}
