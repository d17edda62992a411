/**
 * Timers and a clock that stay real. Test tools (Jest, Sinon, Vitest, `node:test`) replace those of the global scope
 * and of Node.js, perhaps before this module is loaded, and fake timers do nothing until the test moves its clock.
 * Times that an application can measure or control with a fake clock do not use this module.
 */
import { performance } from "node:perf_hooks"
import { clearTimeout as clear, setTimeout as set } from "node:timers"
import { scheduler } from "node:timers/promises"
import { longestTimer } from "./duration.js"

export interface Timer {
  unref(): unknown
}

// No test tool replaces the methods of a prototype. On Bun, these prototypes have no such methods.
const original = <A>(object: object, method: string): A => {
  const prototype = Object.getPrototypeOf(object)
  return (prototype[method] ?? Reflect.get(object, method)).bind(object)
}

/** Milliseconds on a monotonic clock, as returned by `performance.now()`. */
export const now = original<() => number>(performance, "now")

export const nextTurn = original<() => Promise<void>>(scheduler, "yield")

const wait = original<
  (milliseconds: number, options: { signal?: AbortSignal | undefined; ref?: boolean }) => Promise<void>
>(scheduler, "wait")

export const sleep = (milliseconds: number, signal?: AbortSignal): Promise<void> => wait(milliseconds, { signal })

/** A timer based on `scheduler.wait`. It takes longer to create than a timer of Node.js. */
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

// By their behaviour, because each test tool makes different ones. Bun lists no timers as active resources.
const areReplaced = (): boolean => {
  const before = process.getActiveResourcesInfo().length
  const timer = set(() => {}, longestTimer)
  const isActive = process.getActiveResourcesInfo().length > before
  clear(timer)
  return !isActive && process.versions["bun"] === undefined
}

interface Timers {
  readonly setTimeout: (act: () => void, milliseconds: number) => Timer
  readonly clearTimeout: (timer: Timer | undefined) => void
}

// Bound to these functions, because test tools later replace those of the module of Node.js.
const real: Timers = { setTimeout: set, clearTimeout: clear as Timers["clearTimeout"] }

const slow: Timers = {
  setTimeout: (act, milliseconds) => new SlowTimer(act, milliseconds),
  clearTimeout: (timer) => (timer as SlowTimer | undefined)?.clear()
}

export const { clearTimeout, setTimeout } = areReplaced() ? slow : real
