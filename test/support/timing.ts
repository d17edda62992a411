/** Assertions about times, on a machine that also runs other programs. */
import { assert, it } from "@effect/vitest"
import { Cause, Effect, type Scope } from "effect"

/** How long, in milliseconds, a test waits for an event. No test asserts that it comes within that time. */
export const patience = 30_000

class LateError extends Error {
  override readonly name = "LateError"
}

/** Asserts that something was done in time. If not, `itInTime` retries. */
export const assertInTime = (isInTime: boolean, otherwise: string): void => {
  if (!isInTime) throw new LateError(otherwise)
}

/** Asserts that it took less than `most` milliseconds. If not, `itInTime` retries. */
export const assertWithin = (took: number, most: number, what = "it"): void =>
  assertInTime(took < most, `${what} took ${took.toFixed(0)} ms, and not less than ${most}`)

/**
 * Asserts that a scrape reached its limit while it waited for that metric. With a short limit and a thread that is held
 * up, it has not got that far, which is correct too: then `itInTime` retries.
 */
export const assertWaitedFor = (name: string, { body, status }: { body: string; status: number }, what = ""): void => {
  assertInTime(!body.startsWith("the scrape timed out before collecting "), body)
  assert.strictEqual(status, 503, what)
  assert.strictEqual(body, `the scrape timed out while waiting for ${name}\n`, what)
}

// For how long, in milliseconds, tests have blocked this thread themselves.
let ours = 0

/** Blocks this thread on purpose. Up to `most` milliseconds of it do not count as a reason to retry a test. */
export const excusedBlock = (most: number, act: () => void): void => {
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

/** If this thread was blocked for longer than this, in milliseconds, a failed test is retried. */
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
 * A test in which times are short, or measured. The best of three attempts counts: what else the machine has to
 * do can only make it slower, and what is too slow by itself is so each time. It is tried again where it was not in time,
 * or failed while this thread was held up; whatever else fails, fails at once.
 */
export const itInTime = (
  title: string,
  body: () => Effect.fn.Return<void, unknown, Scope.Scope>,
  options?: Parameters<typeof it.scopedLive>[2]
): void => it.scopedLive(title, () => bestOf(3, Effect.gen(body)), options)
