/** One measured run in a fiber: when it begins and ends, whether its exit counts, and its exemplar. */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type AnyFiber, clockOf, contextOf, forkLike, nanoseconds, spanOf } from "../compat/fiber.js"
import { Registry } from "../compat/registry.js"
import { matching, type OnlyErrors } from "../core/instrument/errorFilter.js"
import { begin, end, type InstrumentOptions, type Plan } from "../core/instrument/instruments.js"
import type { Gauge, Labels } from "../core/instrument/labels.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { errorsOf, holdsDefect, holdsFailure, holdsInterruption, isInterruptedOnly } from "./bothMajors.js"
import { FailureReporting } from "./failureReporting.js"

/** The constructor counts the start. A run also reports failures of its metrics. */
export class Run<A, E> extends FailureReporting {
  private readonly gauge: Gauge | undefined
  private readonly exemplar: Labels | undefined
  private readonly clock: Clock.Clock
  private readonly start: bigint

  constructor(
    protected readonly plan: Plan<Exit.Exit<unknown, unknown>>,
    protected readonly fiber: AnyFiber
  ) {
    super()
    this.clock = clockOf(fiber)
    this.exemplar = plan.exemplars ? currentSpan(fiber) : undefined
    this.gauge = begin(plan, this)
    this.start = plan.duration === undefined ? 0n : nanoseconds(this.clock)
  }

  record(exit: Exit.Exit<A, E>, plan = this.plan): void {
    const seconds = plan.duration === undefined ? 0 : Number(nanoseconds(this.clock) - this.start) / 1e9
    end(plan, this.gauge, seconds, exit, this.exemplar, this)
  }

  protected override registry(): MetricRegistry {
    return Context.get(contextOf(this.fiber), Registry)
  }

  // Logs with the loggers that the fiber had at the time of the failure.
  protected override forking(): (log: Effect.Effect<void>) => void {
    return forkLike(this.fiber)
  }
}

/** Of a sampled span, with OpenTelemetry's label names ("Prometheus and OpenMetrics Compatibility", Exemplars). */
export const currentSpan = (fiber: AnyFiber): Labels | undefined => {
  const span = spanOf(fiber)
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

const causes = { failure: holdsFailure, defect: holdsDefect, interrupt: holdsInterruption, any: () => true }

const countingCauses = (only: Only | undefined): ((cause: Cause.Cause<unknown>) => boolean) => {
  if (only === undefined) return (cause) => !isInterruptedOnly(cause)
  if (typeof only === "object" && only !== null && "exit" in only) {
    if (Object.hasOwn(causes, only.exit)) return causes[only.exit]
    throw new RangeError(`only.exit must be one of ${Object.keys(causes).join(", ")}`)
  }
  const matches = matching(only)
  return (cause) => errorsOf(cause).some(matches)
}
