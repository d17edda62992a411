/** One measured run in a fiber: when it begins and ends, whether its exit counts, and its exemplar. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import { matching, type OnlyErrors } from "../core/instrument/errorFilter.js"
import { begin, end, type InstrumentOptions, type Plan } from "../core/instrument/instruments.js"
import type { Gauge, Labels } from "../core/instrument/labels.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { FailureReporting } from "./failureReporting.js"
import { Registry } from "./registry.js"

/** The constructor counts the start. A run also reports failures of its metrics. */
export class Run<A, E> extends FailureReporting {
  private readonly gauge: Gauge | undefined
  private readonly exemplar: Labels | undefined
  private readonly clock: Clock.Clock
  private readonly start: bigint

  constructor(
    protected readonly plan: Plan<Exit.Exit<unknown, unknown>>,
    protected readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) {
    super()
    this.clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    this.exemplar = plan.exemplars ? currentSpan(fiber) : undefined
    this.gauge = begin(plan, this)
    this.start = plan.duration === undefined ? 0n : this.clock.unsafeCurrentTimeNanos()
  }

  readonly onFailure = (cause: Cause.Cause<E>) => this.ended(Exit.failCause(cause))

  readonly onSuccess = (value: A) => this.ended(Exit.succeed(value))

  private ended(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    this.record(exit)
    return this.afterWarnings(exit)
  }

  record(exit: Exit.Exit<A, E>, plan = this.plan): void {
    const seconds = plan.duration === undefined ? 0 : Number(this.clock.unsafeCurrentTimeNanos() - this.start) / 1e9
    end(plan, this.gauge, seconds, exit, this.exemplar, this)
  }

  protected override registry(): MetricRegistry {
    return Context.get(this.fiber.currentContext, Registry)
  }

  // Logs with the loggers that the fiber had at the time of the failure.
  protected override forking(): (log: Effect.Effect<void>) => void {
    // Without the interruption of the run, which would also interrupt the warning.
    const refs = FiberRefs.delete(this.fiber.getFiberRefs(), FiberRef.interruptedCause)
    return (log) => Effect.runFork(Effect.zipRight(Effect.setFiberRefs(refs), log))
  }
}

/**
 * The +1 is inside the mask: an interruption between the two would leave the gauge too high for ever. The end is
 * recorded in the handler of the masked body, which no interruption can skip.
 */
export const measured = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  plan: Plan<Exit.Exit<unknown, unknown>>
): Effect.Effect<A, E, R> => {
  // Outside of uninterruptible regions the mask restores to this. It is created once.
  const interruptible = Effect.interruptible(self)
  return Effect.uninterruptibleMask((restore) => {
    const run = new Run<A, E>(plan, Option.getOrThrow(Fiber.getCurrentFiber()))
    const body = restore === Effect.interruptible ? interruptible : restore(self)
    return run.afterWarnings(Effect.matchCauseEffect(body, run))
  })
}

/** Of a sampled span, with OpenTelemetry's label names ("Prometheus and OpenMetrics Compatibility", Exemplars). */
export const currentSpan = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Labels | undefined => {
  const span = fiber.currentSpan
  return span?.sampled === true ? { trace_id: span.traceId, span_id: span.spanId } : undefined
}

/**
 * Selects the unsuccessful exits that are counted.
 *
 * An error class, a list of them, a `_tag` or a predicate checks each failure and each defect of the cause. `exit` checks
 * the cause as a whole: `"failure"` and `"defect"` if it holds at least one, `"interrupt"` if it holds an interruption,
 * `"any"` for every cause.
 *
 * @since 0.1.0
 * @category models
 */
export type Only = OnlyErrors | { readonly exit: "failure" | "defect" | "interrupt" | "any" }

/** For effects and streams. */
export const instrumentOptions = {
  duration: ["labels", "exemplar"],
  exceptions: ["labels", "exemplar", "only"],
  inProgress: ["labels"]
} as const satisfies InstrumentOptions

/** Throws what a predicate throws. */
export const counting = (only: Only | undefined): ((exit: Exit.Exit<unknown, unknown>) => boolean) => {
  const counts = countingCauses(only)
  return (exit) => Exit.isFailure(exit) && counts(exit.cause)
}

const causes = { failure: Cause.isFailure, defect: Cause.isDie, interrupt: Cause.isInterrupted, any: () => true }

const countingCauses = (only: Only | undefined): ((cause: Cause.Cause<unknown>) => boolean) => {
  if (only === undefined) return (cause) => !Cause.isInterruptedOnly(cause)
  if (typeof only === "object" && only !== null && "exit" in only) {
    if (Object.hasOwn(causes, only.exit)) return causes[only.exit]
    throw new RangeError(`only.exit must be one of ${Object.keys(causes).join(", ")}`)
  }
  const matches = matching(only)
  return (cause) => Chunk.some(Cause.failures(cause), matches) || Chunk.some(Cause.defects(cause), matches)
}
