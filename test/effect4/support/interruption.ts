/** The same as `test/support/interruption.ts`, for the schedulers of Effect 4. */
import { Effect, type Exit, Fiber, Scheduler } from "effect"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Calls `yields` when a fiber that is told to yield is about to be scheduled. */
abstract class Yielding extends Scheduler.MixedScheduler {
  private yielding: AnyFiber | undefined

  protected abstract isToYield(fiber: AnyFiber): boolean

  protected yields(_: AnyFiber): void {}

  override shouldYield(fiber: AnyFiber): boolean {
    if (!this.isToYield(fiber)) return false
    this.yielding = fiber
    return true
  }

  override makeDispatcher() {
    const dispatcher = super.makeDispatcher()
    const { scheduleTask } = dispatcher
    dispatcher.scheduleTask = (task, priority) => {
      const fiber = this.yielding
      this.yielding = undefined
      if (fiber !== undefined) this.yields(fiber)
      scheduleTask.call(dispatcher, task, priority)
    }
    return dispatcher
  }
}

/** Interrupts a fiber when it is about to do the `k`th operation of all that run here, or another one in its place. */
class InterruptingAt extends Yielding {
  reached = false
  instead: AnyFiber | undefined
  private operations = 0

  constructor(private readonly k: number) {
    super()
  }

  protected override isToYield(fiber: AnyFiber): boolean {
    this.operations += 1
    return this.operations === this.k || fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  protected override yields(fiber: AnyFiber): void {
    if (this.operations !== this.k) return
    this.reached = true
    ;(this.instead ?? fiber).interruptUnsafe()
  }
}

const most = 20_000

/** Runs it again and again, interrupted at one operation after the other, until it ends before it gets there. */
export const interruptedEverywhere = <A>(
  make: () => {
    readonly program: Effect.Effect<unknown, unknown>
    readonly result: (exit: Exit.Exit<unknown, unknown>) => A
  },
  { whole = false } = {}
): Effect.Effect<ReadonlyArray<A>> =>
  Effect.gen(function* () {
    const results: Array<A> = []
    while (results.length < most) {
      const { program, result } = make()
      const scheduler = new InterruptingAt(results.length + 1)
      // The first operation begins when the fiber is known.
      const fiber = Effect.runFork(Effect.andThen(Effect.yieldNow, program), { scheduler })
      if (whole) scheduler.instead = fiber
      const exit = yield* Fiber.await(fiber)
      if (!scheduler.reached) return results
      results.push(result(exit))
    }
    return yield* Effect.die(new Error("the program never ends before it is interrupted"))
  })

export { seeded } from "../../support/interruption.js"

/** Yields at random operations, so that other fibers and interruptions can come between any two. */
export class YieldingAtRandom extends Yielding {
  constructor(
    protected readonly random: () => number,
    private readonly howOften = 0.02
  ) {
    super()
  }

  protected override isToYield(): boolean {
    return this.random() < this.howOften
  }
}

/** Yields at random operations, and interrupts a fiber, at most once, at a random yield. */
export class InterruptingAtRandom extends YieldingAtRandom {
  readonly interrupted = new Set<AnyFiber>()

  protected override yields(fiber: AnyFiber): void {
    if (this.interrupted.has(fiber) || this.random() >= 0.15) return
    this.interrupted.add(fiber)
    fiber.interruptUnsafe()
  }
}

/** Yields at random operations, and interrupts that one fiber at a random yield of whichever. */
export class InterruptingOneAtRandom extends YieldingAtRandom {
  fiber: AnyFiber | undefined

  protected override yields(): void {
    if (this.fiber === undefined || this.random() >= 0.1) return
    this.fiber.interruptUnsafe()
    this.fiber = undefined
  }
}
