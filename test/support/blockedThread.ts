import { Worker } from "node:worker_threads"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { fixture } from "./child.js"
import { holdingUp, patience } from "./times.js"

/** What another thread asks for while this one is stuck. */
export interface Scrape {
  readonly name?: string
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Scraped {
  readonly name: string | undefined
  readonly status: number
  readonly contentType: string | undefined
  readonly body: string
  readonly milliseconds: number
  /** By how many milliseconds a timer of the scraping thread was late at most: what the machine is to blame for. */
  readonly late: number
}

type Message = "ready" | { readonly answers: ReadonlyArray<Scraped> } | { readonly error: unknown }

const message = (thread: Worker): Effect.Effect<Message, unknown> =>
  Effect.async((resume) => {
    thread.once("message", (said: Message) => resume(Effect.succeed(said)))
    thread.once("error", (error) => resume(Effect.fail(error)))
  })

/** Where a thread says that it has all its answers. */
const told = () => new Int32Array(new SharedArrayBuffer(4))

/** Holds this thread up. */
export const busy = (milliseconds: number): void =>
  holdingUp(milliseconds, () => {
    const until = performance.now() + milliseconds
    while (performance.now() < until);
  })

/**
 * What another thread is answered in so many milliseconds, while this one does something, and until its last request is
 * answered.
 */
export const elsewhere = (
  requests: ReadonlyArray<Scrape>,
  milliseconds: number,
  meanwhile: Effect.Effect<unknown> = Effect.void,
  isOver = told()
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const thread = yield* Effect.acquireRelease(
        Effect.sync(() => new Worker(fixture("scraper.js"), { workerData: { requests, milliseconds, isOver } })),
        (worker) => Effect.promise(() => worker.terminate())
      )
      assert.strictEqual(yield* message(thread), "ready")
      thread.postMessage("go")
      yield* meanwhile
      const said = yield* message(thread)
      return typeof said === "object" && "answers" in said ? said.answers : assert.fail(`no answers: ${String(said)}`)
    })
  )

/**
 * What another thread is answered in so many milliseconds while this one is stuck. Scraping begins, then `before` is
 * waited for, then this thread gets stuck; it comes back when the last request is answered, however long that takes.
 */
export const stuck = (
  requests: ReadonlyArray<Scrape>,
  milliseconds: number,
  before: Effect.Effect<unknown> = Effect.void
) =>
  Effect.suspend(() => {
    const isOver = told()
    const wait = Effect.sync(() => holdingUp(patience, () => void Atomics.wait(isOver, 0, 0, patience)))
    return elsewhere(requests, milliseconds, Effect.zipRight(before, wait), isOver)
  })

/** How old the numbers of an answer are, in seconds. */
export const ageOf = ({ body }: { readonly body: string }): number => {
  const [, age] = /^effect_prometheus_exposition_age_seconds (\S+)$/m.exec(body) ?? []
  return Number(age)
}
