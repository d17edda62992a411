/** The exemplar of what a fiber does now. */
import type * as Fiber from "effect/Fiber"
import type { Labels } from "./labels.js"

/**
 * The ids of its span, if that is sampled, by the names that OpenTelemetry gives them in exemplars ("Prometheus and
 * OpenMetrics Compatibility", Exemplars).
 */
export const currentSpan = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Labels | undefined => {
  const span = fiber.currentSpan
  return span?.sampled === true ? { trace_id: span.traceId, span_id: span.spanId } : undefined
}
