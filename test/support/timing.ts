/** What tests say about times, on a machine that has other things to do as well. */
import { it } from "@effect/vitest"
import type { Scope } from "effect"
import { Cause, Effect } from "effect"

/** How long, in milliseconds, a test waits for what has to come. No test says that it comes as soon as that. */
export const patience = 30_000

class LateError extends Error {
  override readonly name = "LateError"
}

/** That something was done in time. Where it was not, `itInTime` tries again. */
export const assertInTime = (isInTime: boolean, otherwise: string): void => {
  if (!isInTime) throw new LateError(otherwise)
}

/** That it took less than so many milliseconds. Where it took longer, `itInTime` tries again. */
export const assertWithin = (took: number, most: number, what = "it"): void =>
  assertInTime(took < most, `${what} took ${took.toFixed(0)} ms, and not less than ${most}`)

// For so long, in milliseconds, tests have held this thread up themselves.
let ours = 0

/** Holds this thread up on purpose, for so long at most, which is nothing that a test could be excused by. */
export const holdingUp = (most: number, act: () => void): void => {
  const start = performance.now()
  act()
  ours += Math.min(most, performance.now() - start)
}

/** How long, in milliseconds, a timer of this thread is late at most, from now on, for whatever the tests have not done. */
const watched = () => {
  const interval = 20
  let due = performance.now() + interval
  let known = ours
  let latest = 0
  const look = (): void => {
    const now = performance.now()
    latest = Math.max(latest, now - due - (ours - known))
    due = now + interval
    known = ours
  }
  const timer = setInterval(look, interval)
  return () => {
    clearInterval(timer)
    look()
    return latest
  }
}

/** Where this thread was held up for so long, in milliseconds, what went wrong may have done so for that. */
const heldUp = 300

const isLate = (cause: Cause.Cause<unknown>): boolean =>
  [...Cause.defects(cause)].some((defect) => defect instanceof LateError)

const bestOf = <A, E, R>(attempts: number, self: Effect.Effect<A, E, R | Scope.Scope>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const latest = watched()
    return Effect.catchAllCause(Effect.scoped(self) as Effect.Effect<A, E, R>, (cause) => {
      const late = latest()
      if (attempts === 1 || !(isLate(cause) || late > heldUp)) return Effect.failCause(cause)
      const [why] = Cause.pretty(cause).split("\n")
      console.log(`tried again, this thread was held up for ${late.toFixed(0)} ms at most: ${why}`)
      return bestOf(attempts - 1, self)
    }).pipe(Effect.ensuring(Effect.sync(latest)))
  })

/**
 * A test in which times are short, or measured. It is the best of three attempts that tells: what else the machine has to
 * do can only make it slower, and what is too slow by itself is so each time. It is tried again where it was not in time,
 * or failed while this thread was held up; whatever else fails, fails at once.
 */
export const itInTime = <A, E>(
  title: string,
  body: () => Effect.Effect<A, E, Scope.Scope>,
  options?: Parameters<typeof it.scopedLive>[2]
): void => it.scopedLive(title, () => bestOf(3, body()), options)
