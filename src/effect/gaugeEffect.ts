/** A gauge whose value is an effect, run when a scrape reads it. */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import { bounded } from "./bounded.js"
import { messageOf } from "./message.js"
import { shown } from "./options.js"
import { clearTimeout, setTimeout } from "./timer.js"

/** A gauge of a client, as far as it is used. */
export interface SettableGauge {
  set(labels: object, value: number): void
  reset(): void
  remove(labels: object): void
}

/** What the effect may give: a number, or one for each of these labels. */
export type ScrapeValue = number | ReadonlyArray<{ readonly labels: object; readonly value: number }>

interface Run {
  readonly answer: Promise<void>
  fiber: Fiber.RuntimeFiber<Exit.Exit<ScrapeValue, unknown>> | undefined
  isLate: boolean
}

/** Runs an effect for each scrape, for those at the same time once, until it is closed. */
export class ScrapeValues<R> {
  private readonly effect: Effect.Effect<Exit.Exit<ScrapeValue, unknown>, never, R>
  private run: Run | undefined
  private isClosed = false
  private hasWarned = false

  constructor(
    value: Effect.Effect<ScrapeValue, unknown, R>,
    private readonly runtime: Runtime.Runtime<R>,
    private readonly hasLabels: boolean,
    private readonly milliseconds: number
  ) {
    // A scrape is no part of what the application traces, and it was not asked for where the gauge was made.
    const untraced = Effect.mapInputContext(Effect.withTracerEnabled(value, false), withoutSpan<R>)
    this.effect = Effect.exit(Effect.interruptible(untraced))
  }

  /** Sets the gauge to the value. It rejects if there is none, or none in time. */
  read(gauge: SettableGauge): Promise<void> {
    if (this.isClosed) {
      setNone(gauge)
      return Promise.resolve()
    }
    if (this.run === undefined) return this.begin(gauge)
    if (!this.run.isLate) return this.run.answer
    return Promise.reject(new Error("its value was not there in time for an earlier scrape, and has not ended since"))
  }

  /** Ends what is running, which is waited for no longer than for a value. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    const fiber = this.run?.fiber
    return fiber === undefined ? Effect.void : Effect.asVoid(bounded(Fiber.interrupt(fiber), this.milliseconds))
  })

  private begin(gauge: SettableGauge): Promise<void> {
    const { promise, reject, resolve } = deferred()
    const run: Run = { answer: promise, fiber: undefined, isLate: false }
    // Before it runs: it may end at once.
    this.run = run
    const fiber = Runtime.runFork(this.runtime)(this.effect)
    run.fiber = fiber
    const late = setTimeout(() => {
      run.isLate = true
      reject(new Error(`its value was not there within ${this.milliseconds} ms`))
      fiber.unsafeInterruptAsFork(FiberId.none)
    }, this.milliseconds)
    // A process that has nothing else to wait for does not go on for this.
    late.unref()
    fiber.addObserver((exit) => {
      clearTimeout(late)
      this.run = undefined
      if (run.isLate) return
      try {
        this.set(gauge, Exit.flatten(exit))
        resolve()
      } catch (error) {
        reject(error)
      }
    })
    return promise
  }

  private set(gauge: SettableGauge, exit: Exit.Exit<ScrapeValue, unknown>): void {
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
      this.leaveOut(gauge, `its value must be a list of labels and values, not ${shown(value)}`)
    else this.setOne(gauge, {}, value)
  }

  // What is no number, or has other labels, is left out; the rest is served.
  private setOne(gauge: SettableGauge, labels: object, value: unknown): void {
    try {
      gauge.set(labels, (typeof value === "bigint" ? Number(value) : value) as number)
    } catch (error) {
      this.leaveOut(gauge, this.hasLabels ? messageOf(error) : `its value must be a number, not ${shown(value)}`)
    }
  }

  private leaveOut(gauge: SettableGauge, why: string): void {
    if (!this.hasLabels) gauge.remove({})
    if (this.hasWarned) return
    this.hasWarned = true
    const name = String((gauge as { readonly name?: unknown }).name)
    Runtime.runFork(this.runtime)(Effect.logWarning(`metric ${name}: a value is left out, as ${why}`))
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

// A gauge without labels is 0 when it is reset.
const setNone = (gauge: SettableGauge): void => {
  gauge.reset()
  gauge.remove({})
}

const withoutSpan = <R>(context: Context.Context<R>): Context.Context<R> =>
  Context.omit(Tracer.ParentSpan as never)(context) as Context.Context<R>
