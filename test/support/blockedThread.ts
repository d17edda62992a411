import { Worker } from "node:worker_threads"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { fixture } from "./childProcess.js"
import { excusedBlock, patience } from "./timing.js"

/** A request that another thread sends while this one is blocked. */
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

/** A flag in shared memory that a thread sets once it has all its responses. */
const completionFlag = () => new Int32Array(new SharedArrayBuffer(4))

/** Blocks this thread. */
export const blockThread = (milliseconds: number): void =>
  excusedBlock(milliseconds, () => {
    const until = performance.now() + milliseconds
    while (performance.now() < until);
  })

/**
 * What another thread is answered in so many milliseconds, while this one does something, and until its last request is
 * answered.
 */
export const scrapeFromThread = (
  requests: ReadonlyArray<Scrape>,
  milliseconds: number,
  meanwhile: Effect.Effect<unknown> = Effect.void,
  isOver = completionFlag()
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
export const whileBlocked = (
  requests: ReadonlyArray<Scrape>,
  milliseconds: number,
  before: Effect.Effect<unknown> = Effect.void
) =>
  Effect.suspend(() => {
    const isOver = completionFlag()
    const wait = Effect.sync(() => excusedBlock(patience, () => void Atomics.wait(isOver, 0, 0, patience)))
    return scrapeFromThread(requests, milliseconds, Effect.zipRight(before, wait), isOver)
  })

/** How old the numbers of an answer are, in seconds. */
export const expositionAge = ({ body }: { readonly body: string }): number => {
  const [, age] = /^effect_prometheus_exposition_age_seconds (\S+)$/m.exec(body) ?? []
  return Number(age)
}
