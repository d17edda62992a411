import { Effect, type Exit, Fiber, FiberId, Scheduler } from "effect"

/** Interrupts a fiber when it is about to do the `k`th operation of all that run here, or another one in its place. */
class InterruptingAt implements Scheduler.Scheduler {
  reached = false
  instead: Fiber.RuntimeFiber<unknown, unknown> | undefined
  private operations = 0
  private yielding: Fiber.RuntimeFiber<unknown, unknown> | undefined

  constructor(private readonly k: number) {}

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>) {
    this.operations += 1
    if (this.operations !== this.k) return Scheduler.defaultScheduler.shouldYield(fiber)
    this.reached = true
    this.yielding = fiber
    return 0
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>) {
    if (fiber !== undefined && fiber === this.yielding) {
      this.yielding = undefined
      const interrupted = this.instead ?? fiber
      interrupted.unsafeInterruptAsFork(FiberId.none)
    }
    Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
  }
}

/**
 * Runs it again and again, interrupted at one operation after the other, until it ends before it gets there. `whole`
 * interrupts the program whichever of its fibers is at that operation: those that Effect forks for itself, as for each run
 * of a stream, cannot be interrupted from outside, and waiting for them would never end.
 */
export const interruptedEverywhere = <A>(
  make: () => {
    readonly program: Effect.Effect<unknown, unknown>
    readonly result: (exit: Exit.Exit<unknown, unknown>) => A
  },
  { whole = false } = {}
): Effect.Effect<ReadonlyArray<A>> =>
  Effect.gen(function* () {
    const results: Array<A> = []
    while (true) {
      const { program, result } = make()
      const scheduler = new InterruptingAt(results.length + 1)
      const fiber = Effect.runFork(program, { scheduler, immediate: false })
      if (whole) scheduler.instead = fiber
      const exit = yield* Fiber.await(fiber)
      if (!scheduler.reached) return results
      results.push(result(exit))
    }
  })

/** A small generator of numbers in [0, 1), the same ones for the same seed (mulberry32). */
export const seeded = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

/** Yields at random operations, so that other fibers and interruptions can come between any two. */
export class YieldingAtRandom implements Scheduler.Scheduler {
  constructor(
    protected readonly random: () => number,
    private readonly howOften = 0.02
  ) {}

  shouldYield() {
    return this.random() < this.howOften ? (0 as const) : (false as const)
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>) {
    Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
  }
}

/** Yields at random operations, and interrupts a fiber, at most once, at a random yield. */
export class InterruptingAtRandom extends YieldingAtRandom {
  readonly interrupted = new Set<Fiber.RuntimeFiber<unknown, unknown>>()

  override scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>) {
    if (fiber !== undefined && !this.interrupted.has(fiber) && this.random() < 0.15) {
      this.interrupted.add(fiber)
      fiber.unsafeInterruptAsFork(FiberId.none)
    }
    Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
  }
}

/** Yields at random operations, and interrupts that one fiber at a random yield of whichever. */
export class InterruptingOneAtRandom extends YieldingAtRandom {
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined

  override scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>) {
    if (this.fiber !== undefined && this.random() < 0.1) {
      this.fiber.unsafeInterruptAsFork(FiberId.none)
      this.fiber = undefined
    }
    Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
  }
}
