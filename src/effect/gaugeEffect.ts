/** A gauge whose value is an effect, which runs when a scrape reads the gauge. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { CollectedMetric } from "../core/client/promClient.js"
import { clearTimeout, setTimeout } from "../core/util/realTimers.js"
import { messageOf, shown } from "../core/util/text.js"
import { type Fork, type Forked, withinTime, withoutSpan } from "./bothMajors.js"

export type ScrapeValue = number | ReadonlyArray<{ readonly labels: object; readonly value: number }>

interface Run {
  readonly answer: Promise<void>
  fiber: Forked<Exit.Exit<ScrapeValue, unknown>, never> | undefined
  isLate: boolean
}

/** Simultaneous scrapes share one run. */
export class ScrapeValues<R> {
  private readonly effect: Effect.Effect<Exit.Exit<ScrapeValue, unknown>, never, R>
  private run: Run | undefined
  private isClosed = false
  private hasWarned = false

  constructor(
    value: Effect.Effect<ScrapeValue, unknown, R>,
    private readonly fork: Fork<R>,
    private readonly hasLabels: boolean,
    private readonly milliseconds: number
  ) {
    // A scrape is not part of the application's traces, and its parent is not the span in which the gauge was created.
    this.effect = Effect.exit(Effect.interruptible(withoutSpan(Effect.withTracerEnabled(value, false))))
  }

  /** Rejects if the effect returns no value, or not in time. */
  read(gauge: CollectedMetric): Promise<void> {
    if (this.isClosed) {
      setNone(gauge)
      return Promise.resolve()
    }
    if (this.run === undefined) return this.begin(gauge)
    if (!this.run.isLate) return this.run.answer
    return Promise.reject(new Error("its effect timed out in an earlier scrape and is still running"))
  }

  /** Waits as long as for a value at most. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    const fiber = this.run?.fiber
    if (fiber === undefined) return Effect.void
    return Effect.asVoid(withinTime(Fiber.interrupt(fiber), this.milliseconds))
  })

  private begin(gauge: CollectedMetric): Promise<void> {
    const { promise, reject, resolve } = deferred()
    const run: Run = { answer: promise, fiber: undefined, isLate: false }
    // Set before the effect runs, because it may end synchronously.
    this.run = run
    const fiber = this.fork(this.effect)
    run.fiber = fiber
    const late = setTimeout(() => {
      run.isLate = true
      reject(new Error(`its effect did not end within ${this.milliseconds} ms`))
      Effect.runFork(Fiber.interrupt(fiber))
    }, this.milliseconds)
    // This timer does not keep the process alive.
    late.unref()
    fiber.addObserver((exit) => {
      clearTimeout(late)
      this.run = undefined
      if (run.isLate) return
      try {
        this.set(gauge, Exit.isSuccess(exit) ? exit.value : Exit.failCause(exit.cause))
        resolve()
      } catch (error) {
        reject(error)
      }
    })
    return promise
  }

  private set(gauge: CollectedMetric, exit: Exit.Exit<ScrapeValue, unknown>): void {
    if (this.isClosed) {
      setNone(gauge)
      return
    }
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
    const { value } = exit
    gauge.reset()
    if (this.hasLabels && Array.isArray(value)) {
      for (const each of value) this.setOne(gauge, each?.labels, each?.value)
    } else if (this.hasLabels)
      this.leaveOut(gauge, `its value must be an array of labels and values, not ${shown(value)}`)
    else this.setOne(gauge, {}, value)
  }

  // A value that is not a number, or that has other labels, is left out. The others are served.
  private setOne(gauge: CollectedMetric, labels: object, value: unknown): void {
    try {
      gauge.set(labels, (typeof value === "bigint" ? Number(value) : value) as number)
    } catch (error) {
      this.leaveOut(gauge, this.hasLabels ? messageOf(error) : `its value must be a number, not ${shown(value)}`)
    }
  }

  private leaveOut(gauge: CollectedMetric, why: string): void {
    if (!this.hasLabels) gauge.remove({})
    if (this.hasWarned) return
    this.hasWarned = true
    const name = String((gauge as { readonly name?: unknown }).name)
    this.fork(Effect.logWarning(`metric ${name}: a value is left out: ${why}`))
  }
}

const deferred = () => {
  let resolve: () => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<void>((fulfil, refuse) => {
    resolve = fulfil
    reject = refuse
  })
  return { promise, resolve, reject }
}

// `reset` sets a gauge without labels to 0.
const setNone = (gauge: CollectedMetric): void => {
  gauge.reset()
  gauge.remove({})
}
