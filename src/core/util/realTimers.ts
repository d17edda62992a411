/**
 * Timers and a clock that stay real. Test tools (Jest, Sinon, Vitest, `node:test`) replace those of the global scope and of
 * the modules of Node.js by fake ones, which do nothing until the test moves their clock, perhaps before this module is
 * loaded. Serving does not depend on that clock. What an application can measure or drive by a fake clock does not use
 * this module.
 */
import { performance } from "node:perf_hooks"
import { clearTimeout as clear, setTimeout as set } from "node:timers"
import { scheduler } from "node:timers/promises"

/** The longest time that a timer of Node.js waits, in milliseconds. A longer one makes a timer of 1 ms. */
export const longestTimer = 2 ** 31 - 1

/** A timer that can be cleared. */
export interface Timer {
  /** The process does not stay alive for it. */
  unref(): unknown
}

interface Waiting {
  readonly signal?: AbortSignal | undefined
  readonly ref?: boolean
}

// No test tool replaces the methods of a prototype. On Bun `scheduler` and `performance` have none.
const original = <A>(object: object, method: string): A => {
  const prototype = Object.getPrototypeOf(object)
  return (prototype[method] ?? Reflect.get(object, method)).bind(object)
}

/** Milliseconds on a monotonic clock, as of `performance.now()`. */
export const now = original<() => number>(performance, "now")

/** The next turn of the event loop. */
export const nextTurn = original<() => Promise<void>>(scheduler, "yield")

const wait = original<(milliseconds: number, options: Waiting) => Promise<void>>(scheduler, "wait")

/** Ends after so many milliseconds, or rejects when it is aborted. */
export const sleep = (milliseconds: number, signal?: AbortSignal): Promise<void> => wait(milliseconds, { signal })

/** A timer made from `sleep`: it takes longer to make than one of Node.js. */
class SlowTimer implements Timer {
  private waiting: AbortController

  constructor(
    private readonly act: () => void,
    private readonly milliseconds: number
  ) {
    this.waiting = this.begun(true)
  }

  private begun(ref: boolean): AbortController {
    const controller = new AbortController()
    wait(this.milliseconds, { signal: controller.signal, ref }).then(this.act, () => {})
    return controller
  }

  unref(): this {
    this.clear()
    this.waiting = this.begun(false)
    return this
  }

  clear(): void {
    this.waiting.abort()
  }
}

// By what they do: each test tool makes others. Bun tells of no timer.
const areReplaced = (): boolean => {
  const before = process.getActiveResourcesInfo().length
  const timer = set(() => {}, longestTimer)
  const isActive = process.getActiveResourcesInfo().length > before
  clear(timer)
  return !isActive && process.versions["bun"] === undefined
}

interface Timers {
  /** Calls `act` after so many milliseconds. */
  readonly setTimeout: (act: () => void, milliseconds: number) => Timer
  readonly clearTimeout: (timer: Timer | undefined) => void
}

// Bound to these functions: the module of Node.js is given others later.
const real: Timers = { setTimeout: set, clearTimeout: clear as Timers["clearTimeout"] }

const slow: Timers = {
  setTimeout: (act, milliseconds) => new SlowTimer(act, milliseconds),
  clearTimeout: (timer) => (timer as SlowTimer | undefined)?.clear()
}

export const { clearTimeout, setTimeout } = areReplaced() ? slow : real
